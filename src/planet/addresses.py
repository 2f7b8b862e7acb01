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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nogps.base.files import replacing
from nogps.earth.towns import Town, towns

ADDRESSES = 12_000
KM_PER_DEGREE = 111.195

# Where the seats are, and as what the county's file comes.
_COUNTIES = {
    "los_angeles": (34.05, -118.24, "csv"),
    "san_diego": (32.72, -117.16, "csv"),
    "santa_clara": (37.34, -121.89, "csv"),
    "sacramento": (38.58, -121.49, "csv"),
    "alameda": (37.80, -122.27, "csv without hash"),
    "orange": (33.75, -117.87, "csv with geom"),
    "riverside": (33.95, -117.40, "geojson"),
    "fresno": (36.74, -119.79, "geojson"),
}
_LARGEST = (
    "Los Angeles, San Diego, San Jose, San Francisco, Fresno, Sacramento, Long Beach, Oakland, "
    "Bakersfield, Anaheim, Riverside, Santa Ana, Stockton, Chula Vista, Irvine, Fremont, "
    "San Bernardino, Fontana, Modesto, Oxnard, Moreno Valley, Huntington Beach, Glendale, "
    "Santa Clarita, Santa Rosa, Oceanside, Garden Grove, Rancho Cucamonga, Ontario, Hollywood, "
    "Elk Grove, Corona, Lancaster, Palmdale, Hayward, Salinas, Sunnyvale, Pomona, Escondido, "
    "Valencia"
)
TOWNS = frozenset(_LARGEST.split(", "))
_CITY = "Los Angeles"  # it has a file of its own besides
_STREETS = [
    "Main",
    "Oak",
    "Maple",
    "Cedar",
    "Pine",
    "Mission",
    "Valley",
    "Ocean",
    "Park",
    "Lake",
    "Hill",
    "Sunset",
    "Olive",
    "Walnut",
    "Elm",
    "Washington",
    "Lincoln",
    "Jefferson",
    "Franklin",
    "Grant",
    "Alvarado",
    "Figueroa",
    "Valencia",
    "Castro",
    "Sierra",
    "Laurel",
]
_TYPES = ["St", "St", "Ave", "Ave", "Blvd", "Dr", "Ln", "Way", "Ct"]
_COLUMNS = [
    "LON",
    "LAT",
    "NUMBER",
    "STREET",
    "UNIT",
    "CITY",
    "DISTRICT",
    "REGION",
    "POSTCODE",
    "ID",
    "HASH",
]


@dataclass(frozen=True)
class Address:
    """One row of a file."""

    latitude: float  # degrees, 7 decimals
    longitude: float
    number: str
    street: str
    unit: str
    city: str
    postcode: str

    @property
    def digest(self) -> str:
        """The 16 hexadecimal digits that OpenAddresses gives a row."""
        return hashlib.sha1(repr(self).encode()).hexdigest()[:16]


def write_addresses(folder: Path, seed: int) -> list[Path]:
    """Write the files of this seed below `folder` unless they are there; returns their paths."""
    place = folder / f"seed-{seed}"
    writers: dict[str, Callable[[str, Sequence[Address]], bytes]] = {}
    for county, (_, _, form) in _COUNTIES.items():
        ending = ".geojson.gz" if form == "geojson" else ".zip"
        writers[county + ending] = _WRITERS[form]
    writers["city_of_los_angeles.zip"] = _zipped
    paths = [place / name for name in sorted(writers)]
    if all(path.exists() for path in paths):
        return paths
    files = _files(seed)
    for path in paths:
        source = path.name.partition(".")[0]
        with replacing(path, durable=False) as temporary:
            temporary.write_bytes(writers[path.name](source, files[source]))
    return paths


def _files(seed: int) -> dict[str, list[Address]]:
    """All addresses by the file that they are in."""
    towns = _towns()
    weights = [town.population**0.7 for town in towns]
    files: dict[str, list[Address]] = {county: [] for county in _COUNTIES}
    for town, weight in zip(towns, weights, strict=True):
        rng = random.Random(f"streets {seed} {town.name}")
        addresses = _around(rng, town, round(ADDRESSES * weight / sum(weights)))
        files[_county(town)] += addresses
        if town.name == _CITY:
            files["city_of_los_angeles"] = [_again(rng, each) for each in addresses]
    return files


def _towns() -> list[Town]:
    """The largest towns of California; those of the same names lie further east."""
    here = (town for town in towns() if town.country == "United States" and town.longitude < -114)
    return [town for town in here if town.name in TOWNS]


def _county(town: Town) -> str:
    def away(county: str) -> float:
        latitude, longitude, _ = _COUNTIES[county]
        return math.hypot(town.latitude - latitude, 0.8 * (town.longitude - longitude))

    return min(_COUNTIES, key=away)


def _around(rng: random.Random, town: Town, count: int) -> list[Address]:
    """So many addresses along streets around the centre of a town."""
    reach_km = min(5.0, 1 + town.population / 400_000)
    grid = rng.uniform(0, 90)  # how the streets of the town are turned
    postcode = str(rng.randrange(90_000, 96_000))
    addresses: list[Address] = []
    while len(addresses) < count:
        addresses += _street(rng, town, reach_km, grid, postcode)
    return addresses[:count]


def _street(
    rng: random.Random, town: Town, reach_km: float, grid: float, postcode: str
) -> list[Address]:
    name = f"{rng.choice(_STREETS)} {rng.choice(_TYPES)}"
    direction = math.radians(grid + rng.choice([0, 90]))
    away, bearing = reach_km * math.sqrt(rng.random()), 2 * math.pi * rng.random()
    north, east = away * math.cos(bearing), away * math.sin(bearing)
    number = rng.randrange(1, 60) * 100
    addresses = []
    for house in range(rng.randrange(6, 30)):
        number += rng.randrange(2, 12)
        side = 0.012 if number % 2 else -0.012  # km from the middle of the street
        along = 0.025 * house + 0.005 * rng.random()
        latitude, longitude = _at(
            town,
            north + along * math.cos(direction) - side * math.sin(direction),
            east + along * math.sin(direction) + side * math.cos(direction),
        )
        units = [f"Apt {unit}" for unit in range(1, 4)] if rng.random() < 0.04 else [""]
        for unit in units:
            row = Address(latitude, longitude, str(number), name, unit, town.name, postcode)
            addresses.append(row)
    return addresses


def _at(town: Town, north_km: float, east_km: float) -> tuple[float, float]:
    wide = KM_PER_DEGREE * math.cos(math.radians(town.latitude))
    return (
        round(town.latitude + north_km / KM_PER_DEGREE, 7),
        round(town.longitude + east_km / wide, 7),
    )


def _again(rng: random.Random, address: Address) -> Address:
    """The address as the city lists it: a few metres away, and in capitals."""
    return replace(
        address,
        latitude=round(address.latitude + rng.uniform(-1e-4, 1e-4), 7),
        longitude=round(address.longitude + rng.uniform(-1e-4, 1e-4), 7),
        street=address.street.upper(),
        unit=address.unit.upper(),
        city=address.city.upper(),
    )


# --- formats ---


def _zipped(source: str, addresses: Sequence[Address], columns: Sequence[str] = _COLUMNS) -> bytes:
    """A zip with a CSV and, as GDAL wants it, a description."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(columns)
    for address in addresses:
        row = _row(address)
        writer.writerow([row[column] for column in columns])
    members = {f"us/ca/{source}.csv": table.getvalue(), f"us/ca/{source}.vrt": _vrt(source)}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members.items():
            member = zipfile.ZipInfo(name)  # of 1980, so that the bytes are always the same
            member.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(member, text)
    return archive.getvalue()


def _row(address: Address) -> dict[str, str]:
    return {
        "GEOM": f"POINT({address.longitude:.7f} {address.latitude:.7f})",
        "LON": f"{address.longitude:.7f}",
        "LAT": f"{address.latitude:.7f}",
        "NUMBER": address.number,
        "STREET": address.street,
        "UNIT": address.unit,
        "CITY": address.city,
        "DISTRICT": "",
        "REGION": "CA",
        "POSTCODE": address.postcode,
        "ID": "",
        "HASH": address.digest,
    }


def _without_hash(source: str, addresses: Sequence[Address]) -> bytes:
    return _zipped(source, addresses, _COLUMNS[:-1])


def _with_geom(source: str, addresses: Sequence[Address]) -> bytes:
    return _zipped(source, addresses, ["GEOM", *_COLUMNS[2:]])


def _vrt(source: str) -> str:
    return (
        "<OGRVRTDataSource>\n"
        f'  <OGRVRTLayer name="{source}">\n'
        f"    <SrcDataSource>{source}.csv</SrcDataSource>\n"
        "    <GeometryType>wkbPoint</GeometryType>\n"
        "    <LayerSRS>EPSG:4326</LayerSRS>\n"
        '    <GeometryField encoding="PointFromColumns" x="LON" y="LAT"/>\n'
        "  </OGRVRTLayer>\n"
        "</OGRVRTDataSource>\n"
    )


def _geojson(_source: str, addresses: Sequence[Address]) -> bytes:
    """A feature on each line; every hundredth has no position, and one a wrong one."""
    lines = []
    for index, address in enumerate(addresses):
        position = [address.longitude, address.latitude] if index != 7 else [0, 0]
        geometry = {"type": "Point", "coordinates": position}
        row = _row(address)
        names = ["HASH", *_COLUMNS[2:-1]]
        properties = {name.lower(): row[name] for name in names} | {"accuracy": ""}
        feature = {
            "type": "Feature",
            "properties": properties,
            "geometry": geometry if index % 100 != 50 else None,
        }
        lines.append(json.dumps(feature) + "\n")
    return gzip.compress("".join(lines).encode(), mtime=0)


_WRITERS = {
    "csv": _zipped,
    "csv without hash": _without_hash,
    "csv with geom": _with_geom,
    "geojson": _geojson,
}
