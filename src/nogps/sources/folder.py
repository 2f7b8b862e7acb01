"""A directory of photos, located by its photos.csv or by what the cameras wrote."""

import asyncio
import csv
import difflib
import hashlib
import math
import os
import posixpath
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote_to_bytes

from tqdm.contrib.concurrent import thread_map

from nogps.errors import InputError
from nogps.exif import Metadata, read_metadata
from nogps.fetch import Polite
from nogps.sources import Candidate, Fetched, Status

TABLE = "photos.csv"
REQUIRED_COLUMNS = ("file", "latitude", "longitude")
OPTIONAL_COLUMNS = ("owner", "heading", "taken_at", "licence", "page_url")
EXTENSIONS = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif", ".tif", ".tiff"}


@dataclass
class Folder:
    """Photos under `path`: a `sources.Source`.

    With `path`/photos.csv, the photos are its rows: `file` (relative to it), `latitude`,
    `longitude`, and optionally `owner`, `heading`, `taken_at`, `licence`, `page_url`. Without
    it, they are all image files that carry a position (see `exif.read_metadata`). Hidden files
    and directories are skipped; links to directories are not followed.

    A candidate's `url` names the file's bytes by their SHA-256, so that a photo that changes
    is another candidate. The counts say what `candidates` met.
    """

    path: Path
    without_position: int = field(default=0, init=False)  # images left out
    not_listed: int = field(default=0, init=False)  # images that photos.csv does not name
    unreadable: int = field(default=0, init=False)  # files and directories; missing files too

    def candidates(self) -> Iterator[Candidate]:
        """The photos, sorted by `photo_id`: the file's path below the folder.

        A file that photos.csv lists and that is not there is a candidate all the same; `fetch`
        says what became of it.

        Raises:
            InputError: the directory, photos.csv or a row of it is wrong, or nothing is left.
        """
        self.without_position = self.not_listed = self.unreadable = 0
        if not (os.access(self.path, os.R_OK | os.X_OK) and self.path.is_dir()):
            raise InputError(
                f"folder.path: {self.path} is not a directory that you may read; "
                "give the one that holds your photos"
            )
        table = self.path / TABLE
        found = self._listed(table) if table.exists() else self._located()
        return iter(sorted(found, key=lambda candidate: candidate.photo_id))

    def counted(self) -> dict[str, int]:
        """What the last listing left out or could not read."""
        return {
            "without_position": self.without_position,
            "not_listed": self.not_listed,
            "unreadable": self.unreadable,
        }

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The bytes of a photo, as they were when it was listed; FAILED if they changed since."""
        return await asyncio.to_thread(self.read, url)

    def read(self, url: str) -> Fetched:
        """The same, without waiting for others."""
        file, _, digest = url.partition("#sha256=")
        try:
            body = (self.path / os.fsdecode(unquote_to_bytes(file))).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return Fetched(Status.GONE)
        except OSError:
            return Fetched(Status.FAILED)
        if hashlib.sha256(body).hexdigest() != digest:
            return Fetched(Status.FAILED)
        return Fetched(Status.OK, body)

    def _listed(self, table: Path) -> list[Candidate]:
        rows = _read_table(table)
        digests = thread_map(
            _sha256, [self.path / file for file in rows], desc="reading photos", disable=None
        )
        missing = digests.count(None)
        if missing == len(rows):
            raise InputError(
                f"{table}: none of the {missing} files it lists can be read under {self.path}; "
                "write each file relative to photos.csv"
            )
        found, unreadable = image_files(self.path)
        self.not_listed = len(set(found) - set(rows))
        self.unreadable += missing + unreadable
        return [
            replace(candidate, url=_url(file, digest))
            for (file, candidate), digest in zip(rows.items(), digests, strict=True)
        ]

    def _located(self) -> list[Candidate]:
        files, self.unreadable = image_files(self.path)
        with warnings.catch_warnings():
            # Pillow remarks on each damaged header; what cannot be read is counted below.
            warnings.simplefilter("ignore")
            inspected = thread_map(
                _inspect, [self.path / file for file in files], desc="reading photos", disable=None
            )
        found = []
        for file, (digest, metadata) in zip(files, inspected, strict=True):
            if digest is None:
                self.unreadable += 1
            elif metadata.position is None:
                self.without_position += 1
            else:
                found.append(_located_candidate(file, digest, metadata))
        if not found:
            raise InputError(
                f"folder.path: no photos with a position under {self.path} ({len(files)} images); "
                "give a photos.csv (file, latitude, longitude) or photos with GPS EXIF"
            )
        return found


def image_files(folder: Path) -> tuple[list[str], int]:
    """Paths of all image files, relative to the folder; and how many directories are unreadable.

    Hidden files and directories are skipped; links to directories are not followed.
    """
    files, errors = [], []
    for directory, subdirectories, names in os.walk(folder, onerror=errors.append):
        subdirectories[:] = [name for name in subdirectories if not name.startswith(".")]
        below = PurePosixPath(Path(directory).relative_to(folder).as_posix())
        files += [
            str(below / name)
            for name in names
            if not name.startswith(".") and PurePosixPath(name).suffix.lower() in EXTENSIONS
        ]
    return files, len(errors)


def _located_candidate(file: str, digest: str, metadata: Metadata) -> Candidate:
    latitude, longitude = metadata.position
    return Candidate(
        # Names need not be UTF-8, parquet must be.
        photo_id=os.fsencode(file).decode(errors="backslashreplace"),
        source="folder",
        latitude=latitude,
        longitude=longitude,
        owner=metadata.owner,
        url=_url(file, digest),
        taken_at=metadata.taken_at,
        heading=metadata.heading,
    )


def _inspect(path: Path) -> tuple[str | None, Metadata]:
    with suppress(OSError):
        return _sha256(path), read_metadata(path)
    return None, Metadata()


def _sha256(path: Path) -> str | None:
    with suppress(OSError), path.open("rb") as photo:
        return hashlib.file_digest(photo, "sha256").hexdigest()
    return None


def _url(file: str, digest: str | None) -> str:
    quoted = quote(os.fsencode(file))
    return f"{quoted}#sha256={digest}" if digest else quoted


def _read_table(table: Path) -> dict[str, Candidate]:
    """The rows of photos.csv by file, their urls still empty."""
    listed: dict[str, Candidate] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            _check_columns(table, reader.fieldnames or [])
            for row in reader:
                where = f"{table} line {reader.line_num}"
                candidate = _row_candidate(where, row)
                if candidate.photo_id in listed:
                    raise InputError(f"{where}: {candidate.photo_id} is there twice; keep one row")
                listed[candidate.photo_id] = candidate
    except OSError as error:
        raise InputError(
            f"{table}: cannot be read ({error.strerror}); check that it is a file you may read"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{table}: is not UTF-8; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise InputError(
            f"{table}: the row after line {reader.line_num} is not CSV ({error}); check its quotes"
        ) from error
    if not listed:
        raise InputError(f"{table}: lists no photos; add a row for each")
    return listed


def _check_columns(table: Path, columns: Sequence[str]) -> None:
    unknown = {
        name.lower(): name for name in columns if name not in REQUIRED_COLUMNS + OPTIONAL_COLUMNS
    }
    for column in REQUIRED_COLUMNS:
        if column not in columns:
            near = difflib.get_close_matches(column, unknown, n=1, cutoff=0.4)
            remedy = f'rename "{unknown[near[0]]}"' if near else "add it"
            raise InputError(
                f'{table}: there is no column "{column}" among "{", ".join(columns)}"; {remedy}'
            )


def _row_candidate(where: str, row: dict[str, str]) -> Candidate:
    if None in row:
        raise InputError(f"{where}: more values than columns; quote a value that has a comma")
    text = {column: (row.get(column) or "").strip() for column in REQUIRED_COLUMNS}
    optional = {column: (row.get(column) or "").strip() for column in OPTIONAL_COLUMNS}
    heading = optional.pop("heading")
    return Candidate(
        photo_id=_path_below(where, text["file"]),
        source="folder",
        latitude=_number(where, "latitude", text["latitude"], 90),
        longitude=_number(where, "longitude", text["longitude"], 180),
        heading=_number(where, "heading", heading, 360) % 360 if heading else None,
        url="",
        **optional,
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
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= largest:
        raise InputError(
            f'{where}: {column} "{text}" is not a number from -{largest} to {largest}; '
            "correct it or remove the row"
        )
    return value
