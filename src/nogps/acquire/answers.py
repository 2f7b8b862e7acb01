"""Answers that are kept in a SQLite file, so that nothing is asked twice."""

import hashlib
import json
import zlib
from typing import Any

from nogps.acquire.database import Database


class AnswerCache(Database):
    """JSON values by what was asked (JSON, too), on the disk alone."""

    tables = "CREATE TABLE IF NOT EXISTS answer (question BLOB PRIMARY KEY, answer BLOB)"
    remedy = "remove it, and what it held is asked again"
    durable = False

    def get(self, question: Any) -> Any:
        """The answer to a question, or None where none is kept."""
        query = "SELECT answer FROM answer WHERE question = ?"
        kept = self.rows(query, [_digest(question)])
        try:
            return json.loads(zlib.decompress(kept[0][0])) if kept else None
        except (zlib.error, ValueError, TypeError):
            return None  # it is damaged

    def put(self, question: Any, answer: Any) -> None:
        """Keep an answer; it replaces an earlier one."""
        kept = zlib.compress(json.dumps(answer, separators=(",", ":")).encode())
        self.rows("REPLACE INTO answer VALUES (?, ?)", [_digest(question), kept])


def _digest(question: Any) -> bytes:
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).digest()
