"""OSV-5M, read where it lies: its train.csv or test.csv, and its pictures in images/train or test.

The table has 4.9 million rows and the zips 259 GB, of which people have some: rows are read a part
at a time, and of the pictures only the zips' directories, when they are listed.
"""

import itertools
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv
from tqdm import tqdm

from nogps.acquire.candidate import Candidate, as_number, moment_of
from nogps.acquire.sources import archive
from nogps.acquire.sources.archive import FolderCounts, Images, Member, on_globe
from nogps.acquire.sources.mapillary import LICENCE
from nogps.base.errors import InputError
from nogps.photos.files import image_files

REQUIRED = ("id", "latitude", "longitude")
TEXTS = ("sequence", "captured_at", "creator_username", "creator_id")  # may be missing
SETS = ("train", "test")
BLOCK = 8 << 20  # bytes of the table at a time
# Where a picture lies; 32 bytes of memory for each of five millions.
PICTURE = np.dtype(
    [("id", "i8"), ("folder", "i4"), ("offset", "i8"), ("size", "i8"), ("crc32", "u4")]
)
EXTRACTED = Member(-1, 0, 0)  # of a picture that is a file of its own


def candidates(table: Path, columns: list[str], counts: FolderCounts) -> Iterator[Candidate]:
    """The rows of train.csv or test.csv whose picture is there, in their order.

    `columns` are all that the table has. A picture is a member of a zip or a file of its own.
    """
    for column in REQUIRED:
        if column not in columns:
            raise InputError(
                f'folder.path: {table} has no column "{column}" among "{", ".join(columns)}"; name '
                "OSV-5M's train.csv or test.csv, a table with IMG_ID, LAT and LON, or a folder"
            )
    texts = [each for each in TEXTS if each in columns]
    folders, pictures = _pictures(table.parent, f"images/{table.stem}", counts)
    if not len(pictures):
        raise InputError(
            f"{table}: there are no pictures in {table.parent / 'images' / table.stem}; put "
            "OSV-5M's numbered zips there, some or all"
        )
    return _rows(table, texts, folders, pictures, counts)


def check_no_root(folder: Path) -> None:
    """InputError if a folder holds OSV-5M: it could mean either table, and millions of files."""
    for name in SETS:
        if (folder / f"{name}.csv").is_file() and (folder / "images" / name).is_dir():
            raise InputError(
                f"folder.path: {folder} holds OSV-5M; name its train.csv or its test.csv instead"
            )


def _rows(
    table: Path, texts: list[str], folders: list[str], pictures: NDArray, counts: FolderCounts
) -> Iterator[Candidate]:
    known, met = np.ascontiguousarray(pictures["id"]), np.zeros(len(pictures), dtype=bool)
    for batch in _batches(table, texts):
        ids = batch["id"]
        whole = pc.match_substring_regex(ids, r"^[0-9]{1,18}$")
        number = pc.cast(pc.if_else(whole, ids, "-1"), pa.int64()).to_numpy()
        at = np.minimum(np.searchsorted(known, number), len(pictures) - 1)
        there = known[at] == number
        counts.not_there += int((~there).sum())
        rows = batch.filter(pa.array(there)).to_pylist()
        for place, row in zip(at[there].tolist(), rows, strict=True):
            if met[place]:
                counts.repeated += 1
                continue
            met[place] = True
            candidate = _candidate(row, _address(table.parent, folders, pictures[place]))
            if not on_globe(candidate):
                counts.without_position += 1
            elif not candidate.url:
                counts.unreadable += 1
            else:
                yield candidate
    if not met.any():
        raise InputError(
            f"{table}: lists none of the {len(pictures)} pictures in images/{table.stem}; put the "
            "zips there that belong to this table"
        )
    counts.not_listed -= int(met.sum())


def _batches(table: Path, texts: list[str]) -> Iterator[pa.RecordBatch]:
    """The columns that we need, a part of the rows at a time. No text means nothing: NA is one."""
    types = dict.fromkeys(("id", *texts), pa.string())
    types |= dict.fromkeys(("latitude", "longitude"), pa.float64())
    try:
        with csv.open_csv(
            table,
            csv.ReadOptions(block_size=BLOCK),
            csv.ParseOptions(newlines_in_values=True),
            csv.ConvertOptions(include_columns=list(types), column_types=types),
        ) as reader:
            yield from tqdm(reader, desc="reading table", unit="block", disable=None)
    except pa.ArrowInvalid as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{table}: is damaged ({reason}); fetch it again") from None


def _pictures(root: Path, below: str, counts: FolderCounts) -> tuple[list[str], NDArray]:
    """The folders that pictures lie in, and the pictures (PICTURE), sorted by id.

    Of a picture that lies there twice, the first folder's; the others are not listed.
    """
    folders: dict[str, int] = {}
    parts = []
    extracted, unreadable = image_files(root / below)
    files = Images(root / below, dict.fromkeys(extracted), {}, unreadable)
    zips = tqdm(sorted((root / below).glob("*.zip")), desc="listing zips", disable=None)
    for photos in itertools.chain([files], map(archive.members, zips)):
        counts.unreadable += photos.unreadable
        counts.not_listed += len(photos.found)
        place = f"{photos.root.relative_to(root).as_posix()}/"
        rows = []
        for name, member in sorted(photos.found.items()):
            file = name.rpartition("/")[2]
            if re.fullmatch(r"[1-9][0-9]{0,17}\.jpg|0\.jpg", file):
                folder = folders.setdefault(place + name.removesuffix(file), len(folders))
                rows.append((int(file[:-4]), folder, *(member or EXTRACTED)))
        parts.append(np.array(rows, PICTURE))
    pictures = np.concatenate(parts)
    return list(folders), pictures[np.unique(pictures["id"], return_index=True)[1]]


def _address(root: Path, folders: list[str], picture: NDArray) -> str:
    """What `archive.read` takes; "" if the picture has gone since.

    Of an extracted picture its size says enough: by their ids they are always the same.
    """
    number, folder, offset, size, crc32 = picture.tolist()
    path = f"{folders[folder]}{number}.jpg"
    if offset >= 0:
        return archive.address(path, Member(offset, size, crc32))
    with suppress(OSError):
        return f"{archive.quoted(path)}#size={(root / path).stat().st_size}"
    return ""


def _candidate(row: dict, url: str) -> Candidate:
    number, author = int(row["id"]), row.get("creator_username", "")
    return Candidate(
        photo_id=str(number),
        source="folder",
        latitude=as_number(row["latitude"]),
        longitude=as_number(row["longitude"]),
        owner=_whole(row.get("creator_id", "")) or author,
        url=url,
        taken_at=moment_of(row.get("captured_at", "")),
        licence=LICENCE.name,
        page_url=f"https://www.mapillary.com/app/?pKey={number}",
        author=author,
        licence_url=LICENCE.url,
        sequence=row.get("sequence", ""),
    )


def _whole(text: str) -> str:
    """A whole number as digits, that pandas wrote as a float: 111336221091714.0, or 1.1e+16."""
    if re.fullmatch(r"\d+(\.0*)?", text):
        return text.split(".")[0]
    try:
        return str(int(float(text)))
    except (ValueError, OverflowError):
        return "" if text.lower() == "nan" else text
