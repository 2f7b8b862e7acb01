"""SQLite files that lose nothing when the process is killed, and whose errors are sentences."""

import errno
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from nogps.base.errors import InputError

PATIENCE_S = 600  # for other processes that write
_SYSTEM_ERRORS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
    sqlite3.SQLITE_IOERR: errno.EIO,
}


class Database:
    """A SQLite file, made if it is not there; several threads and processes may use it.

    It is closed when nobody holds it any more. With `durable` every statement is on the disk when
    it returns; without, a power failure (not a kill) may lose the last ones, and writing is faster.
    InputError: the file is damaged. OSError: it cannot be written, or the disk is full.
    """

    tables: ClassVar[str]  # SQL that makes them
    remedy: ClassVar[str]  # what to do when the file is damaged
    durable: ClassVar[bool] = True

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors():
            self._connection = sqlite3.connect(
                path, PATIENCE_S, isolation_level=None, check_same_thread=False
            )
            self.close = weakref.finalize(self, self._connection.close)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if self.durable else 'NORMAL'}")
            self._connection.executescript(self.tables)

    def rows(self, query: str, values: Sequence = ()) -> list[tuple]:
        """All rows that a statement returns."""
        with self._lock, self._errors():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Several statements of which all take effect or none; others wait meanwhile."""
        with self._lock, self._errors(), self._connection:  # commits, or rolls back
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            number = _SYSTEM_ERRORS.get(error.sqlite_errorcode & 0xFF)
            if error.sqlite_errorcode == sqlite3.SQLITE_IOERR_SHMSIZE:
                number = errno.ENOSPC
            if number:
                raise OSError(number, os.strerror(number), str(self._path)) from error
            raise InputError(f"{self._path} is damaged ({error}); {self.remedy}") from error
