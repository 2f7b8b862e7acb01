"""Photos in tar shards with an index beside them.

A shard is an ordinary tar in WebDataset's naming, the same bytes for the same photos. The index,
a parquet table, says where each photo's bytes lie, so any photo can be read by itself.
"""

import hashlib
import io
import math
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from nogps import images
from nogps.files import replacing

INDEX = "index.parquet"
SHARD_SIZE = 1000  # candidates


@dataclass(frozen=True)
class Place:
    """Where a photo's bytes lie: `size` bytes of file `shard`, from `offset`."""

    shard: str
    offset: int
    size: int


NOWHERE = Place("", 0, 0)


def shard_name(number: int) -> str:
    """The file name of a shard."""
    return f"shard-{number:05d}.tar"


def member_name(photo_id: str, suffix: str) -> str:
    """A tar member name for a photo: no dots but the last, as WebDataset asks."""
    stem = photo_id.rsplit(".", 1)[0] if "." in photo_id else photo_id
    return re.sub(r"[^A-Za-z0-9_/@-]", "_", stem).strip("/") + suffix


def write_shard(path: Path, photos: Iterable[tuple[str, bytes]]) -> list[Place]:
    """Write (member name, bytes) pairs as one tar, atomically; say where each one lies."""
    places = []
    with (
        replacing(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name, body in photos:
            member = tarfile.TarInfo(name)  # owner, mode and time stay at fixed defaults
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
            padded = -(-len(body) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            places.append(Place(path.name, tar.offset - padded, len(body)))
    return places


def write_index(folder: Path, index: pd.DataFrame) -> None:
    """Write the index of the shards in a folder."""
    with replacing(folder / INDEX) as path:
        index.to_parquet(path, index=False)


def read_index(folder: Path) -> pd.DataFrame:
    """The index of the shards in a folder, a row a photo."""
    return pd.read_parquet(folder / INDEX)


class Shards:
    """Random access to the photos of a folder of shards.

    Holds one open file per shard and no photo. It can be sent to other processes.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._files: dict[str, int] = {}

    def read(self, place: Place) -> bytes:
        """The bytes of one photo. Safe to call from many threads."""
        file = self._files.get(place.shard)
        if file is None:
            file = self._files.setdefault(
                place.shard, os.open(self.folder / place.shard, os.O_RDONLY)
            )
        return os.pread(file, place.size, place.offset)

    def __getstate__(self) -> dict:
        return {"folder": self.folder, "_files": {}}


def places(index: pd.DataFrame) -> list[Place]:
    """The Place of each row of an index."""
    return [
        Place(shard, int(offset), int(size))
        for shard, offset, size in zip(index["shard"], index["offset"], index["size"], strict=True)
    ]


@dataclass(frozen=True)
class Photo:
    """A packed photo: a candidate, or what is seen of it in one direction."""

    photo_id: str  # the candidate's, and for a direction more behind it
    packed: images.Packed | images.BadImage
    heading: float = math.nan  # degrees clockwise from north of its middle; NaN: unknown
    bearing: float = math.nan  # ... from the middle of its panorama; NaN: it is the candidate


def whole(candidate_id: str, body: bytes, side: int) -> list[Photo]:
    """The one photo that a candidate is."""
    return [Photo(candidate_id, images.pack(body, side))]


def pack(
    candidate_ids: list[str],
    read: Callable[[str], bytes],
    folder: Path,
    side: int,
    photos_of: Callable[[str, bytes, int], list[Photo]] = whole,
) -> pd.DataFrame:
    """Write every photo once more, `side` pixels high or wide, into shards; return the index.

    One row a photo, those of a candidate together, in the order given: photo_id, candidate_id,
    status (ok or unreadable), reason, shard, offset, size, width, height, phash, heading, bearing
    (see Photo). `read` gives a candidate's original bytes, `photos_of` makes photos of them. A
    candidate that cannot be read is one row, under its own id.
    """

    def packed(candidate_id: str) -> list[Photo]:
        try:
            return photos_of(candidate_id, read(candidate_id), side)
        except images.BadImage as error:
            return [Photo(candidate_id, error)]

    rows = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as threads,
        tqdm(total=len(candidate_ids), desc="pack", unit="photo") as bar,
    ):
        for number, start in enumerate(range(0, len(candidate_ids), SHARD_SIZE)):
            block = candidate_ids[start : start + SHARD_SIZE]
            results, members = [], []
            for candidate_id, photos in zip(block, threads.map(packed, block), strict=True):
                for photo in photos:
                    results.append((candidate_id, photo))
                    if isinstance(photo.packed, images.Packed):
                        direction = photo.photo_id.removeprefix(candidate_id)
                        name = member_name(candidate_id, f"{direction}.jpg")
                        members.append((name, photo.packed.jpeg))
                bar.update()
            where = iter(write_shard(folder / shard_name(number), members))
            rows += [_packed_row(*each, where) for each in results]
    index = pd.DataFrame(rows)
    write_index(folder, index)
    return index


def _packed_row(candidate_id: str, photo: Photo, where: Iterator[Place]) -> dict:
    packed = photo.packed
    good = isinstance(packed, images.Packed)
    return {
        "photo_id": photo.photo_id,
        "candidate_id": candidate_id,
        "status": "ok" if good else "unreadable",
        "reason": "" if good else str(packed),
        **asdict(next(where) if good else NOWHERE),
        "width": packed.width if good else 0,
        "height": packed.height if good else 0,
        "phash": packed.phash if good else b"",
        "heading": photo.heading,
        "bearing": photo.bearing,
    }


def read_photos(packed: Path, candidates: Path, splits: Path | None = None) -> pd.DataFrame:
    """The packed photos, a row each: the index of a folder, with what the candidates' table says.

    `heading` is the photo's own. With `splits`, a table of photo_id and fold, they have a fold.
    """
    photos = with_candidates(read_index(packed), pd.read_parquet(candidates))
    if splits:
        photos = photos.merge(pd.read_parquet(splits), on="photo_id", validate="one_to_one")
    return photos


def with_candidates(index: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """An index of packed photos, each with the columns of its candidate but the heading."""
    known = candidates.drop(columns="heading").rename(columns={"photo_id": "candidate_id"})
    return index.merge(known, on="candidate_id", validate="many_to_one")


def phashes(index: pd.DataFrame) -> NDArray[np.uint64]:
    """The perceptual hashes of packed photos, shape (n, 4).

    A photo that could not be read has no hash; its id stands in, so that it is like no other.
    """
    rows = [
        phash or hashlib.sha256(photo_id.encode()).digest()
        for phash, photo_id in zip(index["phash"], index["photo_id"], strict=True)
    ]
    return np.frombuffer(b"".join(rows), dtype=np.uint64).reshape(-1, 4)


def sha256(body: bytes) -> str:
    """Hex digest of a photo's bytes."""
    return hashlib.sha256(body).hexdigest()
