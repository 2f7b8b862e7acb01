import os
import subprocess
import sys

import pytest

from nogps.acquire.budget import Budget, OverBudget, Price
from tests.project import ROOT


def purse(tmp_path, budget=1.0, usd=0.007, free=0) -> Budget:
    return Budget(tmp_path / "deep" / "paid.csv", budget, Price(usd, free))


def test_the_stop_comes_before_the_call_that_would_cost_too_much(tmp_path):
    paying = purse(tmp_path, budget=0.021)
    for number in range(3):
        paying.charge(f"photo {number}")
    with pytest.raises(OverBudget, match=r"budget_usd is 0.021 and 0.02 of it are spent"):
        paying.charge("photo 3")
    assert paying.spent_usd == pytest.approx(0.021)
    assert paying.calls.total() == 3


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
    journal = tmp_path / "deep/paid.csv"
    lines = journal.read_text().splitlines()
    journal.write_text("".join(f"2020-01{line[7:]}\n" for line in lines))
    later = purse(tmp_path, free=1)
    later.charge("c")
    assert later.spent_usd == pytest.approx(0.007)


def test_a_killed_process_forgets_no_call(tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from nogps.acquire.budget import Price, Budget
purse = Budget(Path({str(tmp_path)!r}) / "deep/paid.csv", 100, Price(0.007))
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


def test_half_a_line_is_a_call_all_the_same(tmp_path):
    purse(tmp_path).charge("a")
    journal = tmp_path / "deep/paid.csv"
    with journal.open("a") as lines:
        lines.write("2026-11,ab")
    paying = purse(tmp_path)
    assert paying.spent_usd == pytest.approx(0.014)
    paying.charge("b")
    assert purse(tmp_path).spent_usd == pytest.approx(0.021)
    assert len(journal.read_text().splitlines()) == 3


def test_the_journal_does_not_tell_what_was_asked_for(tmp_path):
    purse(tmp_path).charge("https://maps.googleapis.com/?key=AIzaSecret")
    assert "AIza" not in (tmp_path / "deep/paid.csv").read_text()
