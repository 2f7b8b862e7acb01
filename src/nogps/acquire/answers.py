"""Answers that are kept in a SQLite file, so that nothing is asked twice."""

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

from nogps.acquire.database import Database

TABLE = "CREATE TABLE IF NOT EXISTS answer (question BLOB PRIMARY KEY, answer BLOB)"


class AnswerCache:
    """JSON values by what was asked (JSON, too), on the disk alone; with no path it stays empty."""

    def __init__(self, path: Path | None):
        remedy = "remove it, and what it held is asked again"
        self._database = Database(path, TABLE, remedy, durable=False) if path else None

    def get(self, question: Any) -> Any:
        """The answer to a question, or None where none is kept."""
        if self._database is None:
            return None
        query = "SELECT answer FROM answer WHERE question = ?"
        kept = self._database.rows(query, [_digest(question)])
        try:
            return json.loads(zlib.decompress(kept[0][0])) if kept else None
        except (zlib.error, ValueError, TypeError):
            return None  # it is damaged

    def put(self, question: Any, answer: Any) -> None:
        """Keep an answer; it replaces an earlier one."""
        if self._database is not None:
            kept = zlib.compress(json.dumps(answer, separators=(",", ":")).encode())
            self._database.rows("REPLACE INTO answer VALUES (?, ?)", [_digest(question), kept])


def _digest(question: Any) -> bytes:
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).digest()
