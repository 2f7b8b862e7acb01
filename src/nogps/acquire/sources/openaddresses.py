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
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from nogps.acquire.area import geojson_point
from nogps.acquire.candidate import known_position
from nogps.acquire.http import json_dict
from nogps.base.errors import InputError
from nogps.earth import s2
from nogps.earth.geo import EARTH_RADIUS_KM, distance_km

ENDINGS = (".zip", ".csv", ".csv.gz", ".geojson", ".geojson.gz")
REPEATED_WITHIN_KM = 0.1  # the same number and street this near is the same address

_OTHER_LAYER = re.compile(r"-(buildings|parcels|centerlines)[-.]")
_POINT = re.compile(r"\s*(?:SRID=\d+;)?POINT\s*(?:ZM?|M)?\s*\(\s*(\S+)\s+([^\s)]+)", re.IGNORECASE)
_NAMELESS = 0
_ROWS_AT_ONCE = 1 << 16  # rows between two movements of the bar

# Degrees (NaN: none), and the hash of number and street.
ROW = np.dtype([("latitude", "f8"), ("longitude", "f8"), ("name", "i8")])
Found = tuple[tuple[float, float] | None, Any, Any]  # position in degrees, number and street


def read_addresses(paths: Sequence[Path]) -> tuple[NDArray[np.float64], dict[str, int]]:
    """The positions in OpenAddresses files: zip, CSV or GeoJSON with one Feature a line.

    A directory stands for all such files below it. In zips and directories the layers other
    than addresses are skipped. The result does not depend on the order of the files.

    City and county files overlap. An address is repeated if its number and street (whatever
    their case, spacing and unit) are also those of an address at most 100 m away, which is kept
    or itself stands near such a one; or if its position is another's to 1e-6 degrees.

    Returns latitude and longitude in degrees (n, 2), each once, from south to north; and counts:
    addresses_rows = n + addresses_without_position + addresses_repeated.
    """
    files = _files(paths)
    parts, rows = [], 0
    size = sum(file.stat().st_size for file in files)
    with tqdm(total=size, desc="reading addresses", unit="B", unit_scale=True, disable=None) as bar:
        for file in files:
            found = _read_file(file, bar)
            parts.append(found[~np.isnan(found["latitude"])])
            rows += found.size
            if not parts[-1].size:
                raise InputError(
                    f"{file}: none of its {found.size} rows has a position; remove it or give "
                    "another"
                )
    addresses = np.concatenate(parts)
    distinct = _distinct(addresses)
    return distinct, {
        "addresses_rows": rows,
        "addresses_without_position": rows - addresses.size,
        "addresses_repeated": addresses.size - len(distinct),
    }


def draw_evenly(
    addresses: NDArray[np.float64], count: int, seed: int, region_km: float = 0.0
) -> NDArray[np.float64]:
    """`count` of the positions (n, 2) drawn without replacement; all if fewer.

    With `region_km` the draws take turns over regions, the S2 cells of the level whose width is
    nearest to it, taken as 10,000 km / 2^level: every region that has addresses left gives one,
    in random order, before any gives another. Otherwise every address is as likely.

    The first k of a draw are the draw of k with the same addresses, seed and regions.
    """
    order = np.random.default_rng(seed).permutation(np.lexsort(addresses.T[::-1]))
    if region_km:
        level = int(np.clip(round(math.log2(10_000 / region_km)), 0, s2.MAX_LEVEL))
        regions = pd.Series(s2.parent(s2.cell_ids(*addresses[order].T), level))
        turns = regions.groupby(regions).cumcount()  # addresses of the same region before it
        order = order[np.argsort(turns.to_numpy(), kind="stable")]
    return addresses[order[:count]]


def _files(paths: Sequence[Path]) -> list[Path]:
    if not paths:
        raise InputError("no address files are given; give OpenAddresses files or directories")
    files: list[Path] = []
    kinds = " or ".join(ENDINGS)
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: is not there; give an OpenAddresses file or a directory")
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        found = [each for each in below if each.is_file() and _is_addresses(each, ENDINGS)]
        if not found:
            raise InputError(f"{path}: no {kinds} file; give such files as downloaded")
        files += found
    return files


def _is_addresses(name: str | Path, endings: tuple[str, ...]) -> bool:
    base = PurePosixPath(name).name.lower()
    return base.endswith(endings) and base[0] != "." and not _OTHER_LAYER.search(base)


def _read_file(path: Path, bar: tqdm) -> NDArray:
    """The rows of a file (ROW); `bar` counts its bytes."""
    try:
        with path.open("rb") as raw:
            return np.fromiter(_rows(path, raw, bar), ROW)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise InputError(
            f"{path}: is damaged or not the {path.suffix} file that its name says ({error}); "
            "check that you may read it, or download it again"
        ) from error


def _rows(path: Path, raw: BinaryIO, bar: tqdm) -> Iterator[tuple[float, float, int]]:
    before, rows = bar.n, 0
    for name, where, stream in _tables(path, raw):
        read = _csv_rows if name.lower().endswith(".csv") else _geojson_rows
        # What is not UTF-8 can only be in a name.
        with io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="") as lines:
            for position, number, street in read(where, lines):
                latitude, longitude = position or (math.nan, math.nan)
                yield latitude, longitude, _name(number, street)
                rows += 1
                if rows % _ROWS_AT_ONCE == 0:
                    bar.update(before + raw.tell() - bar.n)
    bar.update(before + path.stat().st_size - bar.n)


def _tables(path: Path, raw: BinaryIO) -> Iterator[tuple[str, str, IO[bytes] | gzip.GzipFile]]:
    """The tables in a file: name, what to call it in an error, and bytes."""
    if path.name.lower().endswith(".gz"):
        with gzip.open(raw) as stream:
            yield path.stem, str(path), stream
    elif not path.name.lower().endswith(".zip"):
        yield path.name, str(path), raw
    else:
        with zipfile.ZipFile(raw) as archive:
            layers = (".csv", ".geojson")
            names = [name for name in archive.namelist() if _is_addresses(name, layers)]
            if not names:
                raise InputError(
                    f"{path}: holds no addresses (.csv or .geojson); give a zip that does"
                )
            for name in names:
                with archive.open(name) as stream:
                    yield name, f"{path} ({name})", stream


def _csv_rows(where: str, lines: io.TextIOWrapper) -> Iterator[Found]:
    reader = csv.reader(lines)
    try:
        header = [column.strip().upper() for column in next(reader, [])]
        wanted, nothing = ("LON", "LAT", "GEOM", "NUMBER", "STREET"), [""] * (len(header) + 1)
        # A column that is missing is read past the end of each row.
        picked = itemgetter(*([*header, column].index(column) for column in wanted))
        plain = {"LON", "LAT"} <= set(header)
        if not plain and "GEOM" not in header:
            raise InputError(
                f'{where}: has no columns LON and LAT, nor GEOM, among "{", ".join(header)}"; '
                "give the file as downloaded"
            )
        for row in reader:
            if len(row) < 2 and not "".join(row).strip():
                continue  # a blank line
            longitude, latitude, geometry, number, street = picked(row + nothing)
            if not plain:
                point = _POINT.match(geometry)
                longitude, latitude = point.groups() if point else ("", "")
            yield known_position(latitude, longitude), number, street
    except csv.Error as error:
        raise InputError(
            f"{where}: the row up to line {reader.line_num} is not CSV ({error}); download it again"
        ) from error


def _geojson_rows(where: str, lines: io.TextIOWrapper) -> Iterator[Found]:
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
        properties = json_dict(feature.get("properties"))
        position = geojson_point(feature.get("geometry"))
        yield position, properties.get("number"), properties.get("street")


def _name(number: object, street: object) -> int:
    """64 bits that stand for an address's number and street; _NAMELESS unless it has both."""
    number = " ".join(str(number or "").casefold().split())
    street = " ".join(str(street or "").casefold().split())
    return hash((number, street)) if number and street else _NAMELESS


def _distinct(rows: NDArray) -> NDArray[np.float64]:
    """The positions (n, 2) that repeat no address: first by name and distance, then by position."""
    rows = rows[np.lexsort((rows["longitude"], rows["latitude"], rows["name"]))]
    name, places = rows["name"], np.column_stack([rows["latitude"], rows["longitude"]])
    reach = math.degrees(REPEATED_WITHIN_KM / EARTH_RADIUS_KM) * 1.001
    repeated = np.zeros(len(rows), dtype=bool)
    row, back = np.flatnonzero(name != _NAMELESS), 0
    while row.size:  # equal names stand together, from south to north: look ever further back
        back += 1
        row = row[row >= back]
        row = row[name[row] == name[row - back]]
        row = row[places[row, 0] - places[row - back, 0] <= reach]
        apart = distance_km(*places[row].T, *places[row - back].T)
        repeated[row[apart <= REPEATED_WITHIN_KM]] = True
        row = row[apart > REPEATED_WITHIN_KM]
    places = places[~repeated]
    places = places[np.lexsort(places.T[::-1])]
    rounded = np.rint(places * 1e6).astype(np.int64) @ [1_000_000_000, 1]
    return places[np.unique(rounded, return_index=True)[1]]
