import hashlib
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import pytest

from nogps.acquire.budget import Budget, OverBudget
from nogps.base.errors import InputError
from tests.project import ROOT


def purse(tmp_path, budget=1.0, usd=0.007, free=0) -> Budget:
    return Budget(tmp_path / "deep" / "paid.sqlite", budget, usd, free)


def test_the_stop_comes_before_the_call_that_would_cost_too_much(tmp_path):
    paying = purse(tmp_path, budget=0.021)
    for number in range(3):
        paying.charge(f"photo {number}")
    with pytest.raises(OverBudget, match=r"budget_usd is 0.021 and 0.02 of it are spent"):
        paying.charge("photo 3")
    assert paying.spent_usd == pytest.approx(0.021)
    assert paying.calls == 3


def test_what_was_spent_is_known_after_a_restart(tmp_path):
    first = purse(tmp_path)
    for number in range(5):
        first.charge(f"photo {number}")
    again = purse(tmp_path)
    assert again.spent_usd == pytest.approx(0.035)
    again.charge("photo 4")
    assert again.spent_on(["photo 4", "photo 0", "another"]) == (3, 0.021)
    assert purse(tmp_path).spent_usd == pytest.approx(0.042)


def test_an_earlier_price_stays_what_it_was(tmp_path):
    purse(tmp_path, usd=0.5).charge("a")
    assert purse(tmp_path, usd=0.1).spent_on(["a"]) == (1, 0.5)


def test_a_budget_of_nothing_allows_nothing_but_what_is_free(tmp_path):
    with pytest.raises(OverBudget):
        purse(tmp_path, budget=0).charge("a")
    paying = purse(tmp_path, budget=0, free=2)
    paying.charge("a")
    purse(tmp_path, budget=0, free=2).charge("b")
    with pytest.raises(OverBudget):
        purse(tmp_path, budget=0, free=2).charge("c")


def test_estimates_count_what_is_left_for_free(tmp_path):
    paying = purse(tmp_path, free=10)
    assert paying.estimate(5) == 0
    assert paying.estimate(1010) == pytest.approx(7)
    for number in range(4):
        paying.charge(str(number))
    assert paying.estimate(7) == pytest.approx(0.007)


def test_the_free_ones_are_counted_by_the_month(tmp_path, monkeypatch):
    paying = purse(tmp_path, budget=1, free=1)
    paying.charge("a")
    paying.charge("b")
    assert paying.spent_usd == pytest.approx(0.007)
    with closing(sqlite3.connect(tmp_path / "deep/paid.sqlite")) as record, record:
        record.execute("UPDATE month SET month = '2020-01'")
    later = purse(tmp_path, free=1)
    later.charge("c")
    assert later.spent_usd == pytest.approx(0.007)


def test_a_killed_process_forgets_no_call(tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from nogps.acquire.budget import Budget
purse = Budget(Path({str(tmp_path)!r}) / "deep/paid.sqlite", 100, 0.007)
for number in range(100):
    purse.charge(str(number))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    )
    assert purse(tmp_path).spent_usd == pytest.approx(0.7)


def test_two_processes_share_one_budget(tmp_path):
    one, other = purse(tmp_path, budget=0.021), purse(tmp_path, budget=0.021)
    one.charge("a")
    other.charge("b")
    one.charge("c")
    for each in (one, other):
        with pytest.raises(OverBudget):
            each.charge("d")
        assert each.spent_usd == pytest.approx(0.021)


def test_two_threads_share_one_budget(tmp_path):
    paying = purse(tmp_path, budget=0.07)

    def pay(number: int) -> bool:
        try:
            paying.charge(str(number))
        except OverBudget:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(pay, range(40))) == 10
    assert paying.spent_usd == pytest.approx(0.07)


def test_a_call_that_cannot_be_written_down_is_not_paid(tmp_path):
    paying = purse(tmp_path, usd=0.5, budget=100)
    paying.charge("a")
    paying.rows("PRAGMA max_page_count = 1")
    made = 1
    with pytest.raises(OSError, match="No space left"):
        for made in range(1, 1000):
            paying.charge(f"b{made}")
    assert paying.spent_usd == pytest.approx(0.5 * made)
    assert purse(tmp_path).calls == made


def test_a_damaged_record_of_money_is_told_in_a_sentence(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/paid.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match=r"paid\.sqlite is damaged .*; put back a copy"):
        purse(tmp_path)


# --- the journal of earlier versions ---


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "deep/paid.csv"
    path.parent.mkdir()
    digest = hashlib.sha256(b"a").hexdigest()[:20]
    path.write_text(f"2026-01,{digest},0.007000\n2026-02,{digest},0.500000\n")
    return path


def test_what_an_earlier_version_spent_is_not_forgotten(tmp_path, journal):
    for _ in range(2):  # it is counted once
        paying = purse(tmp_path)
        assert (paying.calls, paying.spent_usd) == (2, pytest.approx(0.507))
        assert paying.spent_on(["a", "b"]) == (2, 0.507)
    with journal.open("a") as lines:  # somebody went back to it in between
        lines.write("2026-03,0123456789,0.007000\n")
    purse(tmp_path).charge("b")
    assert (purse(tmp_path).calls, purse(tmp_path).spent_usd) == (4, pytest.approx(0.521))
    assert len(journal.read_text().splitlines()) == 3


def test_free_calls_of_an_earlier_version_count(tmp_path, journal):
    journal.write_text(f"{datetime.now(UTC):%Y-%m},0123456789,0.000000\n" * 3)
    assert purse(tmp_path, free=4).estimate(2) == pytest.approx(0.007)


def test_half_a_line_is_a_call_all_the_same(tmp_path, journal):
    with journal.open("a") as lines:
        lines.write("2026-11,ab")
    assert purse(tmp_path).spent_usd == pytest.approx(0.514)
    with journal.open("a") as lines:  # as an earlier version goes on
        lines.write("\n2026-11,0123456789,0.007000\n")
    assert (purse(tmp_path).calls, purse(tmp_path).spent_usd) == (4, pytest.approx(0.521))


def test_the_record_does_not_tell_what_was_asked_for(tmp_path):
    purse(tmp_path).charge("https://maps.googleapis.com/?key=AIzaSecret")
    for path in (tmp_path / "deep").iterdir():
        assert b"AIza" not in path.read_bytes()
