"""Photos in tar shards with an index beside them.

A shard is an ordinary tar in WebDataset's naming, the same bytes for the same photos. The index,
a parquet table, says where each photo's bytes lie, so any photo can be read by itself.
"""

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterable
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
SHARD_SIZE = 1000  # photos


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


def pack(
    photo_ids: list[str], read: Callable[[str], bytes], folder: Path, side: int
) -> pd.DataFrame:
    """Write every photo once more, `side` pixels high or wide, into shards; return the index.

    One row a photo in the order given: photo_id, status (ok or unreadable), reason, shard,
    offset, size, width, height, phash. `read` gives a photo's original bytes.
    """

    def packed(photo_id: str) -> images.Packed | images.BadImage:
        try:
            return images.pack(read(photo_id), side)
        except images.BadImage as error:
            return error

    rows = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as threads,
        tqdm(total=len(photo_ids), desc="pack", unit="photo") as bar,
    ):
        for number, start in enumerate(range(0, len(photo_ids), SHARD_SIZE)):
            block = photo_ids[start : start + SHARD_SIZE]
            results = {}
            for photo_id, result in zip(block, threads.map(packed, block), strict=True):
                results[photo_id] = result
                bar.update()
            good = {key: each for key, each in results.items() if isinstance(each, images.Packed)}
            members = [(member_name(key, ".jpg"), each.jpeg) for key, each in good.items()]
            where = dict(zip(good, write_shard(folder / shard_name(number), members), strict=True))
            rows += [_packed_row(key, results[key], where.get(key, NOWHERE)) for key in block]
    index = pd.DataFrame(rows)
    write_index(folder, index)
    return index


def _packed_row(photo_id: str, result: images.Packed | images.BadImage, place: Place) -> dict:
    good = isinstance(result, images.Packed)
    return {
        "photo_id": photo_id,
        "status": "ok" if good else "unreadable",
        "reason": "" if good else str(result),
        **asdict(place),
        "width": result.width if good else 0,
        "height": result.height if good else 0,
        "phash": result.phash if good else b"",
    }


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
