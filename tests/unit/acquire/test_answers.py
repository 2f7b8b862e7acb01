import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nogps.acquire.answers import AnswerCache
from nogps.acquire.database import Database
from nogps.base.errors import InputError, system_error
from tests.kept import damage_answers
from tests.project import ROOT


class Numbers(Database):
    tables = "CREATE TABLE IF NOT EXISTS t (x)"


def test_answers_outlive_the_cache_and_are_told_apart(tmp_path):
    cache = AnswerCache(tmp_path / "deep" / "answers.sqlite")
    cache.put(["box", 1], {"photos": {"ä": [1, 2.5, None]}})
    cache.put({"b": 1, "a": 2}, False)
    again = AnswerCache(tmp_path / "deep" / "answers.sqlite")
    assert again.get(["box", 1]) == {"photos": {"ä": [1, 2.5, None]}}
    assert again.get({"a": 2, "b": 1}) is False
    assert again.get(["box", 2]) is None
    again.put(["box", 1], "newer")
    assert cache.get(["box", 1]) == "newer"


def test_a_killed_process_loses_no_answer(tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from nogps.acquire.answers import AnswerCache
cache = AnswerCache(Path({str(tmp_path)!r}) / "answers.sqlite")
for number in range(200):
    cache.put(number, number)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT / "src")})
    cache = AnswerCache(tmp_path / "answers.sqlite")
    assert [cache.get(number) for number in range(200)] == list(range(200))


def test_the_file_may_be_deleted(tmp_path):
    """Whatever a killed run has left beside it."""
    cache = AnswerCache(tmp_path / "answers.sqlite")
    cache.put("a", 1)
    (tmp_path / "answers.sqlite").unlink()
    again = AnswerCache(tmp_path / "answers.sqlite")
    assert again.get("a") is None
    again.put("a", 2)
    assert AnswerCache(tmp_path / "answers.sqlite").get("a") == 2


def test_several_threads_may_ask(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")

    def work(number: int) -> int:
        cache.put(number % 50, number % 50)
        return cache.get(number % 50)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(400))) == [number % 50 for number in range(400)]


def test_a_damaged_answer_counts_as_none(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    cache.put("a", [1, 2, 3])
    damage_answers(tmp_path / "answers.sqlite")
    assert cache.get("a") is None


def test_a_damaged_file_is_told_in_a_sentence(tmp_path):
    (tmp_path / "answers.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match=r"answers\.sqlite is damaged .*; remove it, and what it"):
        AnswerCache(tmp_path / "answers.sqlite")


def test_a_file_that_cannot_be_had_is_told_in_a_sentence(tmp_path):
    (tmp_path / "answers.sqlite").mkdir()
    with pytest.raises(OSError) as caught:
        AnswerCache(tmp_path / "answers.sqlite")
    assert system_error(caught.value).startswith("Permission denied at ")
    with pytest.raises(OSError, match="File exists"):
        AnswerCache(Path(__file__) / "answers.sqlite")


def test_a_full_disk_is_told_as_such_and_undoes_what_was_begun(tmp_path):
    database = Numbers(tmp_path / "a.sqlite")
    database.rows("PRAGMA max_page_count = 3")
    with pytest.raises(OSError) as caught, database.transaction() as rows:
        rows.execute("INSERT INTO t VALUES (1)")
        rows.execute("INSERT INTO t VALUES (zeroblob(100000))")
    assert system_error(caught.value).startswith(f"the disk is full at {tmp_path}")
    assert database.rows("SELECT count(*) FROM t") == [(0,)]


def test_another_writer_is_waited_for(tmp_path):
    one, other = Numbers(tmp_path / "a.sqlite"), Numbers(tmp_path / "a.sqlite")
    with ThreadPoolExecutor() as pool:
        with one.transaction() as rows:
            later = pool.submit(other.rows, "INSERT INTO t VALUES (2)")
            with pytest.raises(TimeoutError):
                later.result(timeout=0.2)
            rows.execute("INSERT INTO t VALUES (1)")
        later.result(timeout=30)
    assert one.rows("SELECT x FROM t ORDER BY rowid") == [(1,), (2,)]
    one.close()
    with pytest.raises(sqlite3.ProgrammingError):
        one._connection.execute("SELECT 1")
