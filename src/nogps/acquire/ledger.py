"""What is known of each URL, and the bytes on their way into a block.

Both outlive a process that is killed at any moment.
"""

import errno
import hashlib
import json
import os
import tarfile
import weakref
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from nogps.acquire.candidate import Fetched
from nogps.acquire.database import Database
from nogps.photos.shards import ByteRange
from nogps.photos.status import Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of one URL, or what became of a candidate."""

    url: str
    status: str
    shard: str = ""
    offset: int = 0
    size: int = 0
    width: int = 0
    height: int = 0
    sha256: str = ""


class Ledger(Database):
    """What is known of each URL, in SQLite: it survives being killed at any moment."""

    tables = """
    CREATE TABLE IF NOT EXISTS outcome (
        url TEXT PRIMARY KEY, status TEXT, shard TEXT, "offset" INT, size INT, width INT,
        height INT, sha256 TEXT
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS published (shard TEXT PRIMARY KEY);
    CREATE INDEX IF NOT EXISTS by_shard ON outcome (shard);
    CREATE INDEX IF NOT EXISTS by_sha256 ON outcome (sha256);
    """
    remedy = "remove it, and what it knew of is fetched again"

    def __init__(self, scratch: Path):
        super().__init__(scratch / "ledger.sqlite")
        for shard in self.shards():
            if not (scratch / shard).exists():
                self.forget(shard)

    def get(self, urls: list[str]) -> dict[str, Outcome]:
        """Outcomes by URL, of those of these URLs that are known."""
        query = "SELECT * FROM outcome WHERE url IN (SELECT value FROM json_each(?))"
        return {row[0]: Outcome(*row) for row in self.rows(query, [json.dumps(urls)])}

    def kept(self, sha256: str) -> ByteRange | None:
        """Where bytes with this SHA-256 lie, whatever their URL."""
        query = """SELECT shard, "offset", size FROM outcome WHERE sha256 = ? AND shard != ''"""
        rows = self.rows(query + " LIMIT 1", [sha256])
        return ByteRange(*rows[0]) if rows else None

    def put(self, outcomes: list[Outcome]) -> None:
        """Write down what is known now, all of it or nothing."""
        marks = ",".join("?" * len(fields(Outcome)))
        with self.transaction() as database:
            database.executemany(f"REPLACE INTO outcome VALUES ({marks})", map(astuple, outcomes))

    def shards(self) -> list[str]:
        """All shards that some photo lies in."""
        rows = self.rows("SELECT DISTINCT shard FROM outcome WHERE shard != ''")
        return [shard for (shard,) in rows]

    def publish(self, shards: list[str]) -> None:
        """Note that these shards were among the outs."""
        query = "INSERT OR IGNORE INTO published SELECT value FROM json_each(?)"
        self.rows(query, [json.dumps(shards)])

    def published(self) -> set[str]:
        """All shards that ever were among the outs."""
        return {shard for (shard,) in self.rows("SELECT shard FROM published")}

    def forget(self, shard: str) -> None:
        """Note that a shard was removed: its photos' outcomes stay known, their bytes are gone."""
        query = """UPDATE outcome SET shard = '', "offset" = 0 WHERE shard = ?"""
        self.rows(query, [shard])


class Spool:
    """What came for some URLs, one write each: a kill loses nothing that has arrived.

    A tar whose members are named by status and the digest of their URL.
    """

    def __init__(self, path: Path):
        self.path = path
        self.arrived: dict[str, tuple[str, int, int]] = {}  # status, offset, size by digest
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        weakref.finalize(self, os.close, self._file)
        self._end = 0
        length = os.fstat(self._file).st_size
        while self._end + tarfile.BLOCKSIZE <= length:
            header = os.pread(self._file, tarfile.BLOCKSIZE, self._end)
            try:
                member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
            except tarfile.HeaderError:
                break  # the machine went down while it wrote this one
            offset = self._end + tarfile.BLOCKSIZE
            if offset + member.size > length:
                break  # the run was killed while it wrote this one
            status, digest = member.name.split("/")
            self.arrived[digest] = (status, offset, member.size)
            self._end = offset + _padded(member.size)

    def add(self, url: str, fetched: Fetched) -> None:
        """Append what came for a URL, in one write."""
        member = tarfile.TarInfo(f"{fetched.status}/{digest_of(url)}")
        member.size = len(fetched.body)
        record = member.tobuf(tarfile.USTAR_FORMAT) + fetched.body
        record += bytes(_padded(len(record)) - len(record))
        if os.pwrite(self._file, record, self._end) < len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        offset = self._end + tarfile.BLOCKSIZE
        self.arrived[digest_of(url)] = (str(fetched.status), offset, member.size)
        self._end += len(record)

    def read(self, url: str) -> Fetched:
        """What came for a URL, read back from the file."""
        status, offset, size = self.arrived[digest_of(url)]
        return Fetched(Status(status), os.pread(self._file, size, offset))

    def drop(self, url: str) -> None:
        """Forget what came for a URL, which is in a block now; the last one removes the file."""
        del self.arrived[digest_of(url)]
        self.end_if_empty()

    def end_if_empty(self) -> None:
        """Remove the file if there is nothing in it."""
        if not self.arrived:
            self.path.unlink()


def unfetched(urls: list[str], scratch: Path) -> list[str]:
    """Those of these URLs of which nothing is known in a scratch folder."""
    if not scratch.exists():
        return urls
    arrived = set().union(*(Spool(path).arrived for path in scratch.glob("spool-*.tar")))
    known = Ledger(scratch).get(urls)
    return [url for url in urls if url not in known and digest_of(url) not in arrived]


def digest_of(url: str) -> str:
    """A name for a URL that a file can have."""
    return hashlib.sha256(url.encode()).hexdigest()


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
