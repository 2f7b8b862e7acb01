"""Made-up addresses around the real towns of California, as files of OpenAddresses.

The files have what real ones have: two formats, three headers, a city that is also in its
county's file, several units at one position, and a few rows without a position or with a wrong
one. A county is the surroundings of its seat here.
"""

import csv
import gzip
import hashlib
import io
import json
import math
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nogps.base.files import replacing
from nogps.earth.towns import Town, towns
from planet.photos import DATA, KM_PER_DEGREE

ADDRESSES = 12_000

_NAMES = "LON LAT NUMBER STREET UNIT CITY DISTRICT REGION POSTCODE ID HASH"
_COLUMNS = _NAMES.split()
_WITH_GEOM = ["GEOM", *_COLUMNS[2:]]
# Where the seats are, and the columns of the county's CSV; without any it comes as GeoJSON.
_COUNTIES: dict[str, tuple[float, float, list[str]]] = {
    "los_angeles": (34.05, -118.24, _COLUMNS),
    "san_diego": (32.72, -117.16, _COLUMNS),
    "santa_clara": (37.34, -121.89, _COLUMNS),
    "sacramento": (38.58, -121.49, _COLUMNS),
    "alameda": (37.80, -122.27, _COLUMNS[:-1]),
    "orange": (33.75, -117.87, _WITH_GEOM),
    "riverside": (33.95, -117.40, []),
    "fresno": (36.74, -119.79, []),
}
_CITY = "city_of_los_angeles"  # it has a file of its own besides
_TYPES = "St St Ave Ave Blvd Dr Ln Way Ct"


class Address(NamedTuple):
    """One row of a file."""

    latitude: float  # degrees, 7 decimals
    longitude: float
    number: str
    street: str
    unit: str
    city: str
    postcode: str


def write_addresses(folder: Path, seed: int) -> list[Path]:
    """Write the files of this seed below `folder` unless they are there; returns their paths."""
    columns = {county: names for county, (_, _, names) in _COUNTIES.items()} | {_CITY: _COLUMNS}
    place = folder / f"seed-{seed}"
    paths = [
        place / f"{source}.{'zip' if names else 'geojson.gz'}" for source, names in columns.items()
    ]
    if not all(path.exists() for path in paths):
        files = _files(seed)
        for (source, names), path in zip(columns.items(), paths, strict=True):
            rows = [_row(address) for address in files[source]]
            with replacing(path, durable=False) as temporary:
                temporary.write_bytes(_zipped(source, rows, names) if names else _geojson(rows))
    return sorted(paths)


def _files(seed: int) -> dict[str, list[Address]]:
    # Towns of the same names lie further east.
    west = (town for town in towns() if town.country == "United States" and town.longitude < -114)
    largest = [town for town in west if town.name in DATA["cities"]]
    weights = [town.population**0.7 for town in largest]
    files: dict[str, list[Address]] = {county: [] for county in _COUNTIES}
    for town, weight in zip(largest, weights, strict=True):
        rng = random.Random(f"streets {seed} {town.name}")
        addresses = _around(rng, town, round(ADDRESSES * weight / sum(weights)))
        away = {
            county: math.hypot(town.latitude - latitude, 0.8 * (town.longitude - longitude))
            for county, (latitude, longitude, _) in _COUNTIES.items()
        }
        files[min(away, key=away.__getitem__)] += addresses
        if town.name == "Los Angeles":
            files[_CITY] = [_again(rng, each) for each in addresses]
    return files


def _around(rng: random.Random, town: Town, count: int) -> list[Address]:
    """So many addresses along streets around the centre of a town."""
    reach_km = min(5.0, 1 + town.population / 400_000)
    grid = rng.uniform(0, 90)  # how the streets of the town are turned
    postcode = str(rng.randrange(90_000, 96_000))
    wide = KM_PER_DEGREE * math.cos(math.radians(town.latitude))
    addresses: list[Address] = []
    while len(addresses) < count:
        street = f"{rng.choice(DATA['streets'])} {rng.choice(_TYPES.split())}"
        direction = math.radians(grid + rng.choice([0, 90]))
        ahead, aside = math.cos(direction), math.sin(direction)
        away, bearing = reach_km * math.sqrt(rng.random()), 2 * math.pi * rng.random()
        north, east = away * math.cos(bearing), away * math.sin(bearing)
        number = rng.randrange(1, 60) * 100
        for house in range(rng.randrange(6, 30)):
            number += rng.randrange(2, 12)
            side = 0.012 if number % 2 else -0.012  # km from the middle of the street
            along = 0.025 * house + 0.005 * rng.random()
            latitude = town.latitude + (north + along * ahead - side * aside) / KM_PER_DEGREE
            longitude = town.longitude + (east + along * aside + side * ahead) / wide
            place = round(latitude, 7), round(longitude, 7), str(number), street
            units = [f"Apt {unit}" for unit in range(1, 4)] if rng.random() < 0.04 else [""]
            addresses += [Address(*place, unit, town.name, postcode) for unit in units]
    return addresses[:count]


def _again(rng: random.Random, address: Address) -> Address:
    """The address as the city lists it: a few metres away, and in capitals."""
    latitude, longitude = (round(each + rng.uniform(-1e-4, 1e-4), 7) for each in address[:2])
    number, *words = address[2:6]
    return Address(latitude, longitude, number, *map(str.upper, words), address.postcode)


# --- formats ---


def _row(address: Address) -> dict[str, str]:
    """An address by column; the hash has the 16 digits that OpenAddresses gives a row."""
    position = [f"{address.longitude:.7f}", f"{address.latitude:.7f}"]
    digest = hashlib.sha1(repr(address).encode()).hexdigest()[:16]
    values = [*position, *address[2:6], "", "CA", address.postcode, "", digest]
    row = dict(zip(_COLUMNS, values, strict=True))
    return row | {"GEOM": f"POINT({' '.join(position)})"}


def _zipped(source: str, rows: Sequence[dict[str, str]], columns: Sequence[str]) -> bytes:
    """A zip with a CSV and, as GDAL wants it, a description."""
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    description = Path(__file__).with_suffix(".vrt").read_text().format(source=source)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for ending, text in (("csv", table.getvalue()), ("vrt", description)):
            # Of 1980, so that the bytes are always the same.
            file.writestr(zipfile.ZipInfo(f"us/ca/{source}.{ending}"), text, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def _geojson(rows: Sequence[dict[str, str]]) -> bytes:
    """A feature on each line; every hundredth has no position, and one a wrong one."""
    lines = []
    for index, row in enumerate(rows):
        position = [float(row["LON"]), float(row["LAT"])] if index != 7 else [0, 0]
        geometry = {"type": "Point", "coordinates": position} if index % 100 != 50 else None
        properties = {name.lower(): row[name] for name in ("HASH", *_COLUMNS[2:-1])}
        feature = {"type": "Feature", "properties": properties | {"accuracy": ""}}
        lines.append(json.dumps(feature | {"geometry": geometry}) + "\n")
    return gzip.compress("".join(lines).encode(), mtime=0)
