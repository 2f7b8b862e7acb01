"""A search that is killed and goes on, by real DVC."""

import json
import os
import signal
import subprocess
import sys
import time

import yaml

from tests.project import Project, environment, fill_folder, make_project

SEARCH = (
    sys.executable,
    "-m",
    "nogps",
    "tune",
    "--trials",
    "3",
    "lr=1e30,0.01",
    "weight_decay=0.01:0.3",
)


def test_killed_again_and_again_a_search_comes_to_its_trials(tmp_path):
    project = make_project(
        tmp_path / "clone", source="folder", backbone="shufflenet_v2_x0_5", cells__min_photos=4
    )
    fill_folder(project.root / "data/folder")
    project.dvc("repro", "cells")
    # Of an earlier training, as any clone has; a trial that dies soon has it in its copy.
    (project.root / "metrics/train.json").write_text('{"val_geoguessr": 4999.0}')
    project.commit("the data")

    # The search alone dies: its trial lives on, is waited for, and not run again.
    first, running = start(project, trial=0)
    running.kill()
    running.wait()
    # Now the trial dies with it, and is run again.
    second, running = start(project, trial=1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    # And at once, before DVC has removed what an earlier training wrote.
    _, running = start(project, trial=1, copied=True)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    third = project.run(*SEARCH).stdout

    assert ": 0 of 3 trials are done" in first.read_text()
    assert "waiting for a trial that is still running" in second.read_text()
    assert ": 1 of 3 trials are done" in second.read_text()
    assert ": 1 of 3 trials are done" in third
    assert "2 trials by val_geoguessr, 1 failed" in third
    assert "failed: lr: at 1e+30 the loss became" in second.read_text() + third

    shown = json.loads(project.dvc("exp", "show", "--json"))[1]["experiments"]
    assert [each["executor"] for each in shown] == [None, None]
    scores = {}
    for each in shown:
        data = each["revs"][0]["data"]
        assert data["params"]["params.yaml"]["data"]["lr"] == 0.01
        scores[each["name"]] = data["metrics"]["metrics/train.json"]["data"]["val_geoguessr"]
    table = [line.split()[:2] for line in third.split("failed\n\n")[1].splitlines()[:2]]
    assert dict(table) == {name: f"{score:.1f}" for name, score in scores.items()}
    assert float(table[0][1]) >= float(table[1][1])
    best = table[0][0]
    assert f"dvc exp apply {best} " in third

    # Neither the workspace nor the test fold has been touched, and nothing is left over.
    assert project.git("status", "--short") == ""
    assert not (project.root / "models/model.pt").exists()
    assert not (project.root / "data/predictions.parquet").exists()
    assert not list((project.root / ".dvc/tmp/exps/standalone").glob("tmp*"))
    again = project.run(*SEARCH).stdout
    assert ": 3 of 3 trials are done" in again
    assert again.split("failed\n\n")[1] == third.split("failed\n\n")[1]

    # It applies all there is, and complains that eval, which never ran here, has left nothing.
    project.dvc("exp", "apply", best, check=False)
    assert yaml.safe_load((project.root / "params.yaml").read_text())["lr"] == 0.01
    assert (project.root / "models/model.pt").exists()
    assert project.dvc("status", "train").strip().endswith("up to date.")


def start(project: Project, trial: int, copied: bool = False):
    """Begin or go on; what it prints, and the process, once this trial trains, or has its copy."""
    runs = project.root / ".dvc/tmp/exps/standalone/run"
    before = set(runs.glob("*/*.run"))
    said = project.root.parent / f"said-{trial}{copied}"
    with said.open("w") as output:
        running = subprocess.Popen(
            SEARCH,
            cwd=project.root,
            env=environment() | {"PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    while running.poll() is None:
        logs = list((project.root / "models/.tune").glob(f"*-{trial:02d}.log"))
        if copied and set(runs.glob("*/*.run")) - before:
            return said, running
        if not copied and logs and "Running stage 'train'" in logs[0].read_text():
            return said, running
        time.sleep(0.05)
    raise AssertionError(said.read_text())
