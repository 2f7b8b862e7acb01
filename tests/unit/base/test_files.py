import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from nogps.base.files import exclusive_lock
from tests.project import ROOT


@contextmanager
def another_process(folder):
    """Another process that holds the lock of a folder until somebody closes its input."""
    program = f"""
import sys
from pathlib import Path
from nogps.base.files import exclusive_lock
with exclusive_lock(Path({str(folder)!r})):
    print("locked", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "locked\n"
        yield process


def work(folder) -> str:
    with exclusive_lock(folder):
        return "done"


@pytest.mark.parametrize("end", ["close", "kill"])
def test_only_one_process_works_in_a_folder(end, tmp_path, capsys):
    with another_process(tmp_path) as other, ThreadPoolExecutor() as pool:
        second = pool.submit(work, tmp_path)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.5)
        other.kill() if end == "kill" else other.stdin.close()
        assert second.result(timeout=30) == "done"
    assert capsys.readouterr().out == f"waiting for another run that uses {tmp_path}\n"


def test_a_lock_that_a_dead_process_left_is_no_lock(tmp_path, capsys):
    with another_process(tmp_path / "deep") as other:
        other.kill()
        other.wait()
    assert (tmp_path / "deep/lock").exists()
    assert work(tmp_path / "deep") == "done"
    assert work(tmp_path / "deep") == "done"
    assert capsys.readouterr().out == ""


def test_an_error_gives_the_lock_back(tmp_path, capsys):
    with pytest.raises(ValueError), exclusive_lock(tmp_path):
        raise ValueError
    assert work(tmp_path) == "done"
    assert capsys.readouterr().out == ""


def test_children_do_not_inherit_the_lock(tmp_path, capsys):
    with exclusive_lock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert work(tmp_path) == "done"
    assert capsys.readouterr().out == ""
    child.communicate(b"\n")
