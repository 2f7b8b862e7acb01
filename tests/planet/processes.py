"""Programs of the planet, run in processes of their own."""

import subprocess
import sys

from tests.project import ROOT

SOURCES = ROOT / "src"


def told_by_two_processes(program: str) -> set[str]:
    """What a program prints, hashing text in one way or in another."""
    return {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=SOURCES,
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": str(SOURCES)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in ("1", "2")
    }
