"""Answers that a search has kept: reading and damaging them."""

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

from nogps.acquire.answers import AnswerCache


class NoAnswers(AnswerCache):
    """Keeps nothing, so that all is asked."""

    def __init__(self):
        pass

    def get(self, question: Any) -> Any:
        return None

    def put(self, question: Any, answer: Any) -> None:
        pass


def kept_answers(path: Path) -> list[bytes]:
    """The JSON of each answer in an AnswerCache's file."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT answer FROM answer").fetchall()
    return [zlib.decompress(row) for (row,) in rows]


def damage_answers(path: Path) -> None:
    """Cut each answer of an AnswerCache's file in half."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE answer SET answer = substr(answer, 1, length(answer) / 2)")
