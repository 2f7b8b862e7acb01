"""Sets of photos that exist already, in the layouts in which they are handed out.

OSV-5M (train.csv or test.csv, and zips in images/), Im2GPS and Im2GPS3k (file names of Flickr
with the owner in them, a table of IMG_ID, AUTHOR, LAT, LON), YFCC4k (info.txt, rows of YFCC100M).
"""

import io
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote_plus

import numpy as np
from numpy.typing import NDArray
from tqdm.contrib.concurrent import thread_map

from nogps.acquire.candidate import Candidate, as_number
from nogps.acquire.exclude import FLICKR_NAME
from nogps.acquire.sources import archive, osv5m
from nogps.acquire.sources.archive import FolderCounts, Images, on_globe
from nogps.base.errors import InputError
from nogps.rights.licences import licence_of

PLACES = "_places365"  # at the end of the names of such tables
PLACES_REQUIRED = ("IMG_ID", "LAT", "LON")
COMPARED = 20  # photos whose own positions are asked for the order of LAT and LON
CLOSE = 0.1  # degrees

INFO = "info.txt"
# Columns of YFCC100M.
ID, OWNER, NAME, TAKEN, TITLE, LONGITUDE, LATITUDE = 1, 3, 4, 5, 8, 12, 13
PAGE, LICENCE, LICENCE_URL = 15, 17, 18


def of_table(table: Path, counts: FolderCounts) -> Iterator[Candidate]:
    """The photos of a set whose table is named: OSV-5M's, or one with IMG_ID, LAT and LON."""
    tables = Images(table.parent, {}, {table.name: None})
    with tables.csv_table(table.name) as reader:
        columns = list(reader.fieldnames or [])
    if "IMG_ID" not in columns:
        return osv5m.candidates(table, columns, counts)
    return iter(_places(tables, table.name, archive.beside, counts))


def listed(photos: Images, counts: FolderCounts) -> list[Candidate] | None:
    """The photos of a set whose table lies with them, in a folder or a zip; None without one."""
    names = sorted(name for name in photos.tables if name.lower().endswith(f"{PLACES}.csv"))
    if INFO in photos.tables:
        with photos.open_table(INFO) as lines:
            fields = _yfcc_rows(photos.root / INFO, lines)
        if fields:
            found = [(f"{row[ID]}.jpg", _yfcc_candidate(row)) for row in fields]
            photos = archive.with_zips(photos, (file for file, _ in found))
            return _matched(photos.root / INFO, found, photos, counts)
    if len(names) > 1:
        raise InputError(
            f"folder.path: {photos.root} holds {' and '.join(names)}; name the one that you mean"
        )
    return _places(photos, names[0], archive.with_zips, counts) if names else None


def by_name(candidate: Candidate, file: str) -> Candidate:
    """A candidate with what a file name of Im2GPS3k says, where nothing else said it."""
    named = FLICKR_NAME.fullmatch(_file(file))
    return _on_flickr(candidate, *named.groups()) if named else candidate


def _on_flickr(candidate: Candidate, photo: str, owner: str) -> Candidate:
    page = f"https://www.flickr.com/photos/{owner}/{photo}/" if owner else ""
    return replace(
        candidate,
        owner=candidate.owner or owner,
        page_url=candidate.page_url or page,
        flickr_id=photo,
    )


def _matched(
    table: Path, rows: Iterable[tuple[str, Candidate]], photos: Images, counts: FolderCounts
) -> list[Candidate]:
    """The rows of a table, given with their files' names, whose photos are there and can be read.

    The files' bytes are named by their hash, for which they are read. Positions may be impossible.
    """
    there: dict[str, str] = {}
    for name in sorted(photos.found):
        there.setdefault(_file(name), name)
    met: dict[str, Candidate] = {}
    for file, candidate in rows:
        if file not in there:
            counts.not_there += 1
        elif file in met:
            counts.repeated += 1
        else:
            met[file] = candidate
    if not met:
        raise InputError(
            f"{table}: of the {counts.not_there} photos it lists none is there; put them beside "
            "it, into a folder images there, or into a zip there"
        )
    counts.not_listed += len(photos.found) - len(met)
    counts.unreadable += photos.unreadable
    placed = {file: each for file, each in met.items() if on_globe(each)}
    counts.without_position += len(met) - len(placed)
    names = [there[file] for file in placed]
    addresses = thread_map(photos.address, names, desc="reading photos", disable=None)
    counts.unreadable += addresses.count(None)
    return [
        replace(candidate, url=url)
        for candidate, url in zip(placed.values(), addresses, strict=True)
        if url
    ]


# --- Im2GPS3k and others with a table of IMG_ID, AUTHOR, LAT, LON


def _places(
    tables: Images, name: str, find: Callable[[Images, Iterable[str]], Images], counts: FolderCounts
) -> list[Candidate]:
    """The photos of a table of IMG_ID, LAT, LON and perhaps AUTHOR; `find` says which are there."""
    table = tables.root / name
    with tables.csv_table(name, PLACES_REQUIRED) as reader:
        columns = ("IMG_ID", "AUTHOR", "LAT", "LON")
        rows = [[(row.get(column) or "").strip() for column in columns] for row in reader]
    files = [_file(photo_id) for photo_id, *_ in rows]
    photos = find(tables, files)
    positions = np.array([[as_number(row[2]), as_number(row[3])] for row in rows])
    if rows and _exchanged(files, positions, photos):
        print(
            f"{table}: its LAT and LON are exchanged, LAT holds longitudes; they are read so",
            file=sys.stderr,
        )
        positions = positions[:, ::-1]
    found = []
    placed = zip(rows, files, positions.tolist(), strict=True)
    for (photo_id, author, *_), file, (latitude, longitude) in placed:
        candidate = by_name(Candidate(photo_id, "folder", latitude, longitude, author, ""), file)
        stem = PurePosixPath(file).stem
        found.append((file, _on_flickr(candidate, stem, author) if stem.isdigit() else candidate))
    return _matched(table, found, photos, counts)


def _exchanged(files: list[str], positions: NDArray, photos: Images) -> bool:
    """Whether the columns LAT and LON hold each other's values, as in a table that goes about.

    A latitude beyond 90 degrees proves it; where there is none in either column, the photos' own
    positions decide, if they have any, and else the names of the columns.
    """
    beyond = (np.abs(positions) > 90).sum(axis=0)
    if beyond.any():
        return bool(beyond[0] > beyond[1])
    there = {_file(name): name for name in photos.found}
    known = [number for number, file in enumerate(files) if file in there]
    for_it = against = 0
    for each in known[:: max(1, len(known) // COMPARED)]:
        with warnings.catch_warnings(action="ignore"):  # Pillow's, of damaged headers
            _, metadata = photos.inspect(there[files[each]])
        if metadata.position:
            apart = np.abs(np.array(metadata.position) - [positions[each], positions[each][::-1]])
            as_named, otherwise = apart.max(axis=1) < CLOSE
            for_it += bool(otherwise and not as_named)
            against += bool(as_named and not otherwise)
    return for_it > against


# --- YFCC4k


def _yfcc_rows(table: Path, lines: BinaryIO) -> list[list[str]]:
    """The rows of an info.txt; none if it is another file of that name."""
    rows = []
    text = io.TextIOWrapper(lines, "utf-8", errors="replace", newline="\n")
    for number, line in enumerate(text, start=1):
        row = line.rstrip("\r\n").split("\t")
        if len(row) > LATITUDE and row[ID].isdigit():
            rows.append(row)
        elif number == 1:
            return []
        elif line.strip():
            raise InputError(
                f"{table} line {number}: is no row of YFCC100M with an id, a longitude and a "
                "latitude; fetch the file again or remove the row"
            )
    return rows


def _yfcc_candidate(row: list[str]) -> Candidate:
    row = row + [""] * (LICENCE_URL + 1 - len(row))
    address = row[LICENCE_URL].strip()
    named = re.search(r"creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)", address)
    licence = licence_of(f"cc-{named[1]}-{named[2]}") if named else None
    return Candidate(
        photo_id=row[ID],
        source="folder",
        latitude=as_number(row[LATITUDE]),
        longitude=as_number(row[LONGITUDE]),
        owner=_decoded(row[OWNER]),
        url="",
        taken_at=_moment(row[TAKEN]),
        licence=licence.name if licence else _decoded(row[LICENCE]),
        page_url=row[PAGE].strip(),
        author=_decoded(row[NAME]),
        title=_decoded(row[TITLE]),
        licence_url=address,
        flickr_id=row[ID],
    )


def _decoded(text: str) -> str:
    return " ".join(unquote_plus(text).split())


def _moment(text: str) -> str:
    with suppress(ValueError):
        return datetime.fromisoformat(_decoded(text)[:19]).isoformat()
    return ""


def _file(name: str) -> str:
    return PurePosixPath(name).name
