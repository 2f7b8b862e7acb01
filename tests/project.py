"""A copy of this repository in a temporary folder, for tests that run its stages for real."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from tests.test_images import encoded, picture

ROOT = Path(__file__).parents[1]

# Small and quick, but every stage has something to do.
SMALL = {
    "simulated.photos": 700,
    "image_size": 32,
    "cells.min_photos": 8,
    "cells.max_photos": 40,
    "epochs": 2,
    "workers": 0,
    "batch_size": 16,
}


@dataclass
class Project:
    root: Path
    output: str = ""

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a command here with our Python first on the PATH, stderr with stdout."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        if check:
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}"
        return done

    def dvc(self, *arguments: str, check: bool = True) -> str:
        return self.run("dvc", *arguments, check=check).stdout

    def stage(self, name: str, check: bool = True) -> subprocess.CompletedProcess:
        return self.run(sys.executable, f"src/{name}.py", check=check)

    def stages(self, *names: str) -> None:
        for name in names:
            self.stage(name)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).stdout

    def set(self, **values) -> None:
        """Change params.yaml; `__` in a name stands for the dot."""
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for name, value in values.items():
            *sections, key = name.replace("__", ".").split(".")
            section = params
            for each in sections:
                section = section[each]
            assert key in section
            section[key] = value
        path.write_text(yaml.safe_dump(params))

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def copy(self, root: Path) -> "Project":
        # Unlike shutil, cp keeps hard links, by which photos are on the disk once.
        subprocess.run(["cp", "-a", self.root, root], check=True)
        return Project(root)


def environment() -> dict[str, str]:
    binaries = Path(sys.executable).parent
    people = {
        f"GIT_{who}_{what}": f"tester{'@localhost' * (what == 'EMAIL')}"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    return (
        os.environ
        | people
        | {
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "COLUMNS": "250",
        }
    )


def make_project(root: Path, **params) -> Project:
    """The files that git knows or would take, as they are now, in a repository of their own."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    (root / "dvc.lock").unlink(missing_ok=True)
    project = Project(root)
    project.git("init", "-q", "-b", "main")
    project.set(**{**SMALL, **params})
    project.commit("as it is")
    return project


def fill_folder(folder: Path, places: int = 12, photos: int = 10) -> None:
    """Photos of a few places, each of its own colour, and their photos.csv."""
    rng = np.random.default_rng(0)
    rows = ["file,latitude,longitude,owner"]
    for place in range(places):
        latitude, longitude = rng.uniform(-60, 60), rng.uniform(-170, 170)
        for number in range(photos):
            name = f"{place}/{number}.jpg"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(encoded(picture(96, 72, seed=place * 100 + number)))
            jitter = rng.normal(0, 0.2, size=2)
            rows.append(
                f"{name},{latitude + jitter[0]:.6f},{longitude + jitter[1]:.6f},{place}-{number}"
            )
    (folder / "photos.csv").write_text("\n".join(rows) + "\n")
