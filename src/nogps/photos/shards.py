"""Photos in tar shards with an index beside them.

A shard is an ordinary tar in WebDataset's naming, the same bytes for the same photos. The index,
a parquet table, says where each photo's bytes lie, so any photo can be read by itself.
"""

import io
import os
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nogps.base.files import replacing

INDEX = "index.parquet"
SHARD_SIZE = 1000  # candidates


@dataclass(frozen=True)
class ByteRange:
    """Where a photo's bytes lie: `size` bytes of file `shard`, from `offset`."""

    shard: str
    offset: int
    size: int


NO_BYTES = ByteRange("", 0, 0)


def shard_name(number: int) -> str:
    """The file name of the shard with this number, such as shard-00007.tar."""
    return f"shard-{number:05d}.tar"


def member_name(photo_id: str, suffix: str) -> str:
    """A tar member name for a photo: no dots but the last, as WebDataset asks."""
    stem = photo_id.rsplit(".", 1)[0]
    return re.sub(r"[^A-Za-z0-9_/@-]", "_", stem).strip("/") + suffix


def write_shard(path: Path, photos: Iterable[tuple[str, bytes]]) -> list[ByteRange]:
    """Write (member name, bytes) pairs as one tar, atomically; say where each one lies."""
    byte_ranges = []
    with (
        replacing(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name, body in photos:
            member = tarfile.TarInfo(name)  # owner, mode and time stay at fixed defaults
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
            padded = -(-len(body) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            byte_ranges.append(ByteRange(path.name, tar.offset - padded, len(body)))
    return byte_ranges


def write_index(folder: Path, index: pd.DataFrame) -> None:
    """Write the index of the shards in a folder, a row a photo."""
    with replacing(folder / INDEX) as path:
        index.to_parquet(path, index=False)


def read_index(folder: Path) -> pd.DataFrame:
    """What `write_index` wrote."""
    return pd.read_parquet(folder / INDEX)


class Shards:
    """Random access to a folder of shards; it holds open files, and can be sent to processes."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._files: dict[str, int] = {}

    def read(self, byte_range: ByteRange) -> bytes:
        """The bytes of one photo. Safe to call from many threads."""
        name = byte_range.shard
        if name not in self._files:
            self._files.setdefault(name, os.open(self.folder / name, os.O_RDONLY))
        return os.pread(self._files[name], byte_range.size, byte_range.offset)

    def __getstate__(self) -> dict:
        return {"folder": self.folder, "_files": {}}


def byte_ranges(index: pd.DataFrame) -> list[ByteRange]:
    """The ByteRange of each row of an index."""
    columns = (index[name].tolist() for name in ("shard", "offset", "size"))
    return [ByteRange(*row) for row in zip(*columns, strict=True)]
