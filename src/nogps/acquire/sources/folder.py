"""A folder or zip of photos, located by photos.csv, a set's table or what the cameras wrote."""

import asyncio
import os
import posixpath
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm.contrib.concurrent import thread_map

from nogps.acquire.candidate import Candidate, Fetched, as_number
from nogps.acquire.http import Polite
from nogps.acquire.source import Source, SourceType
from nogps.acquire.sources import archive, osv5m, sets
from nogps.acquire.sources.archive import FolderCounts, Images
from nogps.base.errors import InputError
from nogps.base.settings import Section


class Settings(Section):
    """Where the source `folder` looks."""

    path: Path
    """A folder, zip or table of photos; `nogps sets` says which are known."""


TABLE = "photos.csv"
REQUIRED_COLUMNS = ("file", "latitude", "longitude")
OPTIONAL_COLUMNS = ("owner", "heading", "taken_at", "licence", "page_url")


@dataclass
class Folder(Source):
    """Photos under `path`, a folder or zip, or of the set whose table it is.

    With photos.csv in it, the photos are its rows. With the table of a set that we know (see
    `sources.sets`), they are that set. Without either, they are all image files that carry a
    position (see `exif.read_metadata`). A candidate's `url` names the file's bytes (see
    `sources.archive`), so that a photo that changes is another candidate.
    """

    path: Path
    counts: FolderCounts = field(default_factory=FolderCounts, init=False)

    def candidates(self) -> Iterator[Candidate]:
        """The photos, sorted by `photo_id`: the file's path below the folder, or the set's own id.

        OSV-5M's come in the order of its table. What photos.csv lists and is not there is a
        candidate all the same. Raises InputError where the path, a table or a row of it is wrong,
        or nothing is left.
        """
        self.counts = FolderCounts()
        kind = self.path.suffix.lower()
        if self.path.is_file() and kind == ".csv":
            return sets.of_table(self.path, self.counts)
        if self.path.is_file() and kind == ".zip":
            photos = archive.in_zip(self.path)
        elif self.path.is_dir() and os.access(self.path, os.R_OK | os.X_OK):
            osv5m.check_no_root(self.path)
            photos = archive.in_folder(self.path)
        else:
            raise InputError(
                f"folder.path: {self.path} is not a directory that you may read; "
                "give the one that holds your photos, a .zip of photos or the .csv of a set"
            )
        found = self._listed(photos) if TABLE in photos.tables else sets.listed(photos, self.counts)
        if found is None:
            found = self._located(photos)
        return iter(sorted(found, key=lambda candidate: candidate.photo_id))

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The bytes of a photo, as they were when it was listed; FAILED if they changed since."""
        return await asyncio.to_thread(self.read, url)

    def read(self, url: str) -> Fetched:
        """What `fetch` returns, without asyncio."""
        named = self.path.suffix.lower() == ".csv" and not self.path.is_dir()
        return archive.read(self.path.parent if named else self.path, url)

    def _listed(self, photos: Images) -> list[Candidate]:
        rows = _read_table(photos)
        addresses = thread_map(photos.address, rows, desc="reading photos", disable=None)
        missing = addresses.count(None)
        if missing == len(rows):
            raise InputError(
                f"{photos.root / TABLE}: none of the {missing} files it lists can be read under "
                f"{self.path}; write each file relative to photos.csv"
            )
        self.counts.not_listed = len(set(photos.found) - set(rows))
        self.counts.unreadable = missing + photos.unreadable
        return [
            sets.by_name(replace(candidate, url=url or archive.quoted(file)), file)
            for (file, candidate), url in zip(rows.items(), addresses, strict=True)
        ]

    def _located(self, photos: Images) -> list[Candidate]:
        self.counts.unreadable = photos.unreadable
        # Pillow remarks on each damaged header; what cannot be read is counted below.
        with warnings.catch_warnings(action="ignore"):
            inspected = thread_map(
                photos.inspect, photos.found, desc="reading photos", disable=None
            )
        found = []
        for file, (url, metadata) in zip(photos.found, inspected, strict=True):
            if url is None:
                self.counts.unreadable += 1
            elif metadata.position is None:
                self.counts.without_position += 1
            else:
                # Names need not be UTF-8, parquet must be.
                photo_id = os.fsencode(file).decode(errors="backslashreplace")
                located = Candidate(photo_id, "folder", *metadata.position, metadata.owner, url)
                located = replace(located, taken_at=metadata.taken_at, heading=metadata.heading)
                found.append(sets.by_name(located, file))
        if not found:
            raise InputError(
                f"folder.path: no photos with a position under {self.path} ({len(photos.found)} "
                "images); give a photos.csv (file, latitude, longitude), the table of a set or "
                "photos with GPS EXIF"
            )
        return found


SOURCE = SourceType(Settings, lambda context: Folder(context.settings.path), local=True)


def name_of(path: Path) -> str:
    """What a set of photos is called, by its path: osv5m for /data/osv5m/test.csv."""
    if path.is_dir() or path.suffix.lower() not in (".csv", ".zip"):
        return path.resolve().name
    stem = path.stem.removesuffix(sets.PLACES)
    return path.parent.resolve().name if stem in osv5m.SETS else stem


def _read_table(photos: Images) -> dict[str, Candidate]:
    """The rows of photos.csv by file, their urls still empty."""
    table = photos.root / TABLE
    listed: dict[str, Candidate] = {}
    with photos.csv_table(TABLE, REQUIRED_COLUMNS, OPTIONAL_COLUMNS) as reader:
        for row in reader:
            where = f"{table} line {reader.line_num}"
            candidate = _row_candidate(where, row)
            if candidate.photo_id in listed:
                raise InputError(f"{where}: {candidate.photo_id} is there twice; keep one row")
            listed[candidate.photo_id] = candidate
    if not listed:
        raise InputError(f"{table}: lists no photos; add a row for each")
    return listed


def _row_candidate(where: str, row: dict[str, str]) -> Candidate:
    if None in row:
        raise InputError(f"{where}: more values than columns; quote a value that has a comma")
    columns = REQUIRED_COLUMNS + OPTIONAL_COLUMNS
    text = {column: (row.get(column) or "").strip() for column in columns}
    return Candidate(
        _path_below(where, text["file"]),
        "folder",
        _number(where, "latitude", text["latitude"], 90),
        _number(where, "longitude", text["longitude"], 180),
        heading=_number(where, "heading", text["heading"], 360) % 360 if text["heading"] else None,
        url="",
        owner=text["owner"],
        taken_at=text["taken_at"],
        licence=text["licence"],
        page_url=text["page_url"],
    )


def _path_below(where: str, text: str) -> str:
    file = posixpath.normpath(text)
    if file in (".", "..") or file.startswith(("/", "../")) or "\0" in file:
        raise InputError(
            f'{where}: file "{text}" is not a path below the folder; '
            "write it relative to photos.csv"
        )
    return file


def _number(where: str, column: str, text: str, largest: int) -> float:
    value = as_number(text)
    if not abs(value) <= largest:
        raise InputError(
            f'{where}: {column} "{text}" is not a number from -{largest} to {largest}; '
            "correct it or remove the row"
        )
    return value
