"""The stages in this process, on a folder that holds no more than their parameters.

Quicker than tests.project, which copies the repository and starts processes.
"""

import contextlib
import io
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import yaml
from filelock import FileLock

from tests.project import PARAMS, ROOT, SMALL, Project

STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])


class InProcess(Project):
    """A project whose stages run in this process."""

    def stage(self, name: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a stage as its script does: exit code, and what it printed on either stream."""
        script, said, code = str(ROOT / f"src/{name}.py"), io.StringIO(), 0
        with (
            contextlib.chdir(self.root),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            mock.patch.object(sys, "argv", [script]),
        ):
            try:
                runpy.run_path(script, run_name="__main__")
            except SystemExit as ended:
                code = ended.code or 0
        if isinstance(code, str):  # Python prints it and ends with 1
            said.write(code)
            code = 1
        assert not (check and code), f"{name}\n{said.getvalue()[-4000:]}"
        return subprocess.CompletedProcess([script], code, said.getvalue())

    def copy(self, root: Path) -> "InProcess":
        return InProcess(super().copy(root).root)


def make_folder(root: Path, **params) -> InProcess:
    """A folder with the stages and small parameters, as make_project has them, and nothing else."""
    for name in ("data", "models", "metrics"):
        (root / name).mkdir(parents=True)
    (root / "params.yaml").write_bytes(PARAMS.read_bytes())
    shutil.copy2(ROOT / "dvc.yaml", root)
    (root / "data/exclude.txt").touch()
    project = InProcess(root)
    project.set(**{**SMALL, **params})
    return project


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> InProcess:
    """All stages, run once on the simulated planet for all workers; to be read, not changed."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    project = InProcess(shared / "finished")
    with FileLock(shared / "finished.lock"):
        if not project.root.exists():
            begun = make_folder(shared / "begun", simulated__photos=300)
            begun.stages(*STAGES)
            begun.root.rename(project.root)
    return project
