"""A copy of this repository in a temporary folder, for tests that run its stages for real."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from planet.keys import GOOGLE_KEY, KEY, MAPILLARY_TOKEN, SECRET, SIGNING_SECRET
from tests.pictures import encoded, picture

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "tests/params.yaml"  # as they come with the project; those at the root are yours

KEYS = (KEY, SECRET, GOOGLE_KEY, SIGNING_SECRET, MAPILLARY_TOKEN)

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


def shown_below(heading: str) -> str:
    """The first module in Python below a heading of docs/extending.md."""
    page = (ROOT / "docs/extending.md").read_text("utf-8").split(f"\n## {heading}\n")[1]
    [module, *_] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return module


@dataclass
class Project:
    root: Path
    output: str = ""  # of the command that a test is about
    seconds: dict[str, float] = field(default_factory=dict)  # that each stage took

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
    shutil.copy2(PARAMS, root / "params.yaml")
    project = Project(root)
    project.git("init", "-q", "-b", "main")
    project.set(**{**SMALL, **params})
    project.commit("as it is")
    return project


def planet_log(project: Project) -> list[dict]:
    """All that the project's planet was asked, in order."""
    lines = []
    for path in sorted((project.root / "data/.fetched").glob("*/planet.jsonl")):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return lines


def served(project: Project, what: str) -> Counter:
    """How often each picture left the planet whole."""
    return Counter(
        entry["path"]
        for entry in planet_log(project)
        if entry["what"] == what and entry["status"] == 200 and not entry["fault"]
    )


def read(project: Project, name: str) -> dict:
    return json.loads((project.root / "metrics" / f"{name}.json").read_text())


def index_of(project: Project) -> pd.DataFrame:
    return pd.read_parquet(project.root / "data/photos/index.parquet")


def answers(project: Project, *whats: str) -> int:
    """How many of these the planet has given, good or bad; cheap, to be asked again and again."""
    logs = [path.read_text() for path in (project.root / "data/.fetched").glob("*/planet.jsonl")]
    return sum(log.count(f'"what": "{what}"') for log in logs for what in whats)


def killed(project: Project, stage: str, after: float, *whats: str) -> None:
    """Run a stage and kill it, without a chance to tidy up, once so many answers were given."""
    running = subprocess.Popen(
        [sys.executable, ROOT / f"src/{stage}.py"],
        cwd=project.root,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while answers(project, *whats) <= after and running.poll() is None:
        time.sleep(0.05)
    assert running.poll() is None, "it ended before it was to be killed"
    running.send_signal(signal.SIGKILL)
    running.wait()


def files_with_keys(project: Project) -> list[Path]:
    """All that a run has left in the clone that holds one of the planet's keys."""
    left = [path for path in project.root.rglob("*") if path.is_file()]
    # The planet's own code holds its keys.
    left = [path for path in left if "src" not in path.relative_to(project.root).parts]
    assert len(left) > 10
    return [path for path in left for each in KEYS if each.encode() in path.read_bytes()]


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
