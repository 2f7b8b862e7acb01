"""Positions of addresses from OpenAddresses files, and draws that spread evenly over a region."""

import csv
import gzip
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from nogps.base.errors import InputError
from nogps.earth import s2
from nogps.earth.geo import EARTH_RADIUS_KM, distance_km

ENDINGS = (".zip", ".csv", ".csv.gz", ".geojson", ".geojson.gz")
REPEATED_WITHIN_KM = 0.1  # the same number and street this near is the same address

_OTHER_LAYER = re.compile(r"-(buildings|parcels|centerlines)[-.]")
_POINT = re.compile(r"\s*(?:SRID=\d+;)?POINT\s*(?:ZM?|M)?\s*\(\s*(\S+)\s+([^\s)]+)", re.IGNORECASE)
_NOWHERE = (math.nan, math.nan)
_NAMELESS = 0
_ROWS_AT_ONCE = 1 << 16  # rows between two movements of the bar; pairs compared at once

# Degrees (NaN: none), and the hash of number and street.
ROW = np.dtype([("latitude", "f8"), ("longitude", "f8"), ("name", "i8")])
Row = tuple[float, float, int]


@dataclass(frozen=True)
class Addresses:
    """Positions in degrees, each once, from south to north, and what became of the rows.

    `counts`: "addresses_rows" read = positions kept + "addresses_without_position" +
    "addresses_repeated".
    """

    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    counts: dict[str, int]


def read_addresses(paths: Sequence[Path]) -> Addresses:
    """The positions in OpenAddresses files: zip, CSV or GeoJSON with one Feature a line.

    A directory stands for all such files below it. In zips and directories the layers other
    than addresses are skipped. The result does not depend on the order of the files.

    City and county files overlap. An address is repeated if its number and street (whatever
    their case, spacing and unit) are also those of an address at most 100 m away, which is kept
    or itself stands near such a one; or if its position is another's to 1e-6 degrees.

    Raises:
        InputError: `paths` is empty, or a file is missing, damaged, or has no positions.
    """
    files = _files(paths)
    parts, rows = [], 0
    size = sum(file.stat().st_size for file in files)
    with tqdm(total=size, desc="reading addresses", unit="B", unit_scale=True, disable=None) as bar:
        for file in files:
            end = bar.n + file.stat().st_size
            found = _read_file(file, bar)
            located = found[_located(found)]
            if not located.size:
                raise InputError(
                    f"{file}: none of its {found.size} rows has a position; remove it or give "
                    "another"
                )
            bar.update(end - bar.n)
            parts.append(located)
            rows += found.size
    addresses = np.concatenate(parts)
    latitude, longitude = _distinct(*(addresses[column] for column in ROW.names or ()))
    counts = {
        "addresses_rows": rows,
        "addresses_without_position": rows - addresses.size,
        "addresses_repeated": addresses.size - latitude.size,
    }
    return Addresses(latitude, longitude, counts)


def draw_evenly(
    addresses: Addresses, count: int, seed: int, region_km: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latitudes and longitudes of `count` addresses drawn without replacement; all if fewer.

    With `region_km` the draws take turns over regions, the S2 cells of the level whose width is
    nearest to it, taken as 10,000 km / 2^level: every region that has addresses left gives one,
    in random order, before any gives another. Otherwise every address is as likely.

    The first k of a draw are the draw of k with the same addresses, seed and regions.
    """
    if count < 0 or not 0 <= region_km < math.inf:
        raise InputError(
            f"count is {count} and region_km {region_km}; give numbers that are not negative"
        )
    order = np.lexsort((addresses.longitude, addresses.latitude))
    order = np.random.Generator(np.random.PCG64(seed)).permutation(order)
    if region_km:
        level = int(np.clip(round(math.log2(10_000 / region_km)), 0, s2.MAX_LEVEL))
        cells = s2.cell_ids(addresses.latitude[order], addresses.longitude[order])
        regions = pd.Series(s2.parent(cells, level))
        turns = regions.groupby(regions).cumcount()  # addresses of the same region before it
        order = order[np.argsort(turns.to_numpy(), kind="stable")]
    drawn = order[:count]
    return addresses.latitude[drawn], addresses.longitude[drawn]


def _files(paths: Sequence[Path]) -> list[Path]:
    if not paths:
        raise InputError("no address files are given; give OpenAddresses files or directories")
    files, kinds = [], " or ".join(ENDINGS)
    for path in paths:
        if path.is_dir():
            below = [file for file in path.rglob("*") if _is_addresses(file, ENDINGS)]
            below = sorted(file for file in below if file.is_file())
            if not below:
                raise InputError(f"{path}: holds no {kinds} file; put address files in it")
            files += below
        elif not path.exists():
            raise InputError(f"{path}: is not there; give an OpenAddresses file or a directory")
        elif not path.name.lower().endswith(ENDINGS):
            raise InputError(f"{path}: is no {kinds} file; give one as downloaded")
        else:
            files.append(path)
    return files


def _is_addresses(name: str | Path, endings: tuple[str, ...]) -> bool:
    base = PurePosixPath(name).name.lower()
    return base.endswith(endings) and base[0] != "." and not _OTHER_LAYER.search(base)


def _read_file(path: Path, bar: tqdm) -> NDArray:
    """The rows of a file (ROW); `bar` counts its bytes."""
    try:
        with path.open("rb") as raw:
            return np.fromiter(_followed(_rows(path, raw), raw, bar), ROW)
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError) as error:
        raise InputError(
            f"{path}: is damaged or not the {path.suffix} file that its name says ({error}); "
            "download it again"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check that it is a file you may read"
        ) from error


def _followed(rows: Iterator[Row], raw: BinaryIO, bar: tqdm) -> Iterator[Row]:
    before = bar.n
    for number, row in enumerate(rows, start=1):
        yield row
        if number % _ROWS_AT_ONCE == 0:
            bar.update(before + raw.tell() - bar.n)


def _located(rows: NDArray) -> NDArray[np.bool_]:
    """Which rows have a position; NaN is none."""
    latitude, longitude = rows["latitude"], rows["longitude"]
    on_globe = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)
    return on_globe & ((latitude != 0) | (longitude != 0))


def _rows(path: Path, raw: BinaryIO) -> Iterator[Row]:
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(raw) as archive:
            layers = (".csv", ".geojson")
            names = [name for name in archive.namelist() if _is_addresses(name, layers)]
            if not names:
                raise InputError(
                    f"{path}: holds no addresses (.csv or .geojson); give a zip that does"
                )
            for name in names:
                with archive.open(name) as stream:
                    yield from _table_rows(f"{path} ({name})", name, stream)
    elif path.name.lower().endswith(".gz"):
        with gzip.open(raw) as stream:
            yield from _table_rows(str(path), path.stem, stream)
    else:
        yield from _table_rows(str(path), path.name, raw)


def _table_rows(where: str, name: str, stream: IO[bytes] | gzip.GzipFile) -> Iterator[Row]:
    read = _csv_rows if name.lower().endswith(".csv") else _geojson_rows
    # What is not UTF-8 can only be in a name.
    with io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="") as lines:
        yield from read(where, lines)


def _csv_rows(where: str, lines: io.TextIOWrapper) -> Iterator[Row]:
    reader = csv.reader(lines)
    try:
        header = [column.strip().upper() for column in next(reader, [])]
        # A column that is missing is read past the end of each row.
        lon, lat, geom, number, street = (
            header.index(column) if column in header else len(header)
            for column in ("LON", "LAT", "GEOM", "NUMBER", "STREET")
        )
        plain = max(lon, lat) < len(header)
        if not plain and geom == len(header):
            raise InputError(
                f'{where}: has no columns LON and LAT, nor GEOM, among "{", ".join(header)}"; '
                "give the file as downloaded"
            )
        for row in reader:
            if len(row) < 2 and not "".join(row).strip():
                continue  # a blank line
            row += [""] * (len(header) + 1 - len(row))
            try:
                if plain:
                    longitude, latitude = float(row[lon]), float(row[lat])
                else:
                    point = _POINT.match(row[geom])
                    longitude, latitude = map(float, point.groups()) if point else _NOWHERE
            except ValueError:  # no number
                latitude, longitude = _NOWHERE
            yield latitude, longitude, _name(row[number], row[street])
    except csv.Error as error:
        raise InputError(
            f"{where}: the row up to line {reader.line_num} is not CSV ({error}); download it again"
        ) from error


def _geojson_rows(where: str, lines: io.TextIOWrapper) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        try:
            feature = json.loads(line)
        except (ValueError, RecursionError):
            feature = None
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            raise InputError(
                f"{where} line {number}: is not a GeoJSON Feature; "
                "give a file that has one on each line, as downloaded"
            )
        latitude, longitude = _NOWHERE
        try:
            if feature["geometry"]["type"] == "Point":
                longitude, latitude = map(float, feature["geometry"]["coordinates"][:2])
        except (LookupError, TypeError, ValueError, OverflowError):
            pass  # no geometry, or not one of numbers
        properties = feature.get("properties")
        if not isinstance(properties, dict):
            properties = {}
        yield latitude, longitude, _name(properties.get("number"), properties.get("street"))


def _name(number: object, street: object) -> int:
    """64 bits that stand for an address's number and street; _NAMELESS unless it has both."""
    number = " ".join(str(number or "").casefold().split())
    street = " ".join(str(street or "").casefold().split())
    return hash((number, street)) if number and street else _NAMELESS


def _distinct(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64], name: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The positions that repeat no address: first by name and distance, then by position."""
    order = np.lexsort((longitude, latitude, name))
    latitude, longitude, name = latitude[order], longitude[order], name[order]
    reach = math.degrees(REPEATED_WITHIN_KM / EARTH_RADIUS_KM) * 1.001
    repeated = np.zeros(name.size, dtype=bool)
    for start in range(0, name.size, _ROWS_AT_ONCE):
        # Equal names stand together, from south to north: look ever further back.
        row = start + np.arange(min(_ROWS_AT_ONCE, name.size - start))
        row = row[name[row] != _NAMELESS]
        back = 0
        while row.size:
            back += 1
            row = row[row >= back]
            row = row[name[row] == name[row - back]]
            row = row[latitude[row] - latitude[row - back] <= reach]
            apart = distance_km(
                latitude[row], longitude[row], latitude[row - back], longitude[row - back]
            )
            repeated[row[apart <= REPEATED_WITHIN_KM]] = True
            row = row[apart > REPEATED_WITHIN_KM]
    latitude, longitude = latitude[~repeated], longitude[~repeated]
    place = np.rint(latitude * 1e6).astype(np.int64) * 1_000_000_000
    place += np.rint(longitude * 1e6).astype(np.int64)
    order = np.lexsort((longitude, latitude, place))
    order = order[np.diff(place[order], prepend=np.iinfo(np.int64).min) != 0]
    return latitude[order], longitude[order]
