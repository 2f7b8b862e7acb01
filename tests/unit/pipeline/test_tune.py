import json
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest
import yaml
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from nogps.base.errors import InputError
from nogps.pipeline import tune
from nogps.pipeline.params import Params, read_params
from tests.project import PARAMS, Project, environment, fill_folder, make_project


@pytest.fixture
def params() -> Params:
    return read_params(PARAMS)


def test_what_is_searched_is_typed_plainly(params):
    space = tune.parse_space(
        [
            "lr=1e-5:1e-2",
            "weight_decay=0.1:0.3",
            "epochs=2:40:linear",
            "patience=2:4:log",
            "batch_size=16,64",
            "augment.crop=0.1:1",
            "loss=softmax,smoothed",
        ],
        params,
    )
    assert space == {
        "lr": FloatDistribution(1e-5, 1e-2, log=True),
        "weight_decay": FloatDistribution(0.1, 0.3),
        "epochs": IntDistribution(2, 40),
        "patience": IntDistribution(2, 4, log=True),
        "batch_size": CategoricalDistribution(["16", "64"]),
        "augment.crop": FloatDistribution(0.1, 1, log=True),
        "loss": CategoricalDistribution(["softmax", "smoothed"]),
    }


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("lr", "neither a range nor choices"),
        ("lr=1e-3", "neither a range nor choices"),
        ("lr=1e-2:1e-5", "neither a range nor choices"),
        ("lr=low:high", "neither a range nor choices"),
        ("lr=1e-5:1e-2:cubic", "neither a range nor choices"),
        ("weight_decay=0:1:log", "neither a range nor choices"),
        ("lr=0:1", "lr: 0.0 will not do: input should be greater than 0"),
        ("epochs=1:2.5", "epochs: 2.5 will not do"),
        ("batch_size=16,many", "batch_size: many will not do"),
        ("augment.crop=0.5:2", "augment.crop: 2.0 will not do"),
        ("augment=0.5:2", "augment: not a setting of train alone"),
        ("rate=1e-5:1e-2", "rate: not a setting of train alone"),
        # These change the photos or the folds as well.
        ("image_size=64,128", "image_size: not a setting of train alone"),
        ("seed=0:9", "seed: not a setting of train alone"),
    ],
)
def test_what_cannot_be_searched_is_said_before_anything_runs(params, argument, said):
    with pytest.raises(InputError, match=said) as raised:
        tune.parse_space([argument], params)
    assert "\n" not in str(raised.value)


def test_settings_are_drawn_alike_however_often_the_search_is_stopped():
    space = {"lr": FloatDistribution(1e-5, 1e-2, log=True), "epochs": IntDistribution(1, 9)}

    def drawn(stops: bool) -> list[tune.Values]:
        storage = optuna.storages.InMemoryStorage()
        study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
        for _ in range(14):  # the first ten are random
            number, values = tune.next_trial(study, space, seed=3)
            if stops:
                study = optuna.load_study(study_name="s", storage=storage)
                assert tune.next_trial(study, space, seed=3) == (number, values)
            study.tell(number, -abs(values["lr"] - 1e-3))
        return [trial.params for trial in study.trials]

    undisturbed = drawn(stops=False)
    assert drawn(stops=True) == undisturbed
    assert len({values["lr"] for values in undisturbed}) == 14


def test_a_trial_that_died_while_its_settings_were_drawn_does_not_count():
    space = {"lr": FloatDistribution(1e-5, 1e-2, log=True), "epochs": IntDistribution(1, 9)}
    study = optuna.create_study(direction="maximize")
    study.ask({"lr": space["lr"]})
    number, values = tune.next_trial(study, space, seed=0)
    assert number == 1
    assert values.keys() == space.keys()
    assert tune.finished(study, space) == []
    study.tell(number, state=TrialState.FAIL)
    assert [trial.number for trial in tune.finished(study, space)] == [1]


def test_a_search_in_which_everything_fails_ends():
    space = {"lr": FloatDistribution(1, 2)}
    study = optuna.create_study(study_name="s", direction="maximize")
    for _ in range(tune.HOPELESS):
        tune.stop_if_hopeless(study, space)
        study.tell(study.ask(space), state=TrialState.FAIL)
    with pytest.raises(InputError, match=r"all 3 trials failed; see models/\.search/s-02\.log"):
        tune.stop_if_hopeless(study, space)
    study.tell(study.ask(space), 1.0)
    tune.stop_if_hopeless(study, space)


SEARCH = (
    sys.executable,
    "-m",
    "nogps.pipeline.tune",
    "--trials",
    "3",
    "lr=1e30,0.01",
    "weight_decay=0.01:0.3",
)


def test_killed_twice_a_search_comes_to_its_trials(tmp_path):
    project = make_project(
        tmp_path / "clone", source="folder", backbone="shufflenet_v2_x0_5", cells__min_photos=4
    )
    fill_folder(project.root / "data/folder")
    project.dvc("repro", "cells")
    project.commit("the data")

    # The search alone dies: its trial lives on, is waited for, and not run again.
    first, running = start(project, trial=0)
    running.kill()
    running.wait()
    # Now the trial dies with it, and is run again.
    second, running = start(project, trial=1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    third = project.run(*SEARCH).stdout

    assert ": 0 of 3 trials are done" in first.read_text()
    assert "waiting for a trial that is still running" in second.read_text()
    assert ": 0 of 3 trials are done" in second.read_text()
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


def start(project: Project, trial: int):
    """Begin or go on; what it prints, and the process, once this trial trains."""
    said = project.root.parent / f"said-{trial}"
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
        logs = list((project.root / "models/.search").glob(f"*-{trial:02d}.log"))
        if logs and "Running stage 'train'" in logs[0].read_text():
            return said, running
        time.sleep(0.05)
    raise AssertionError(said.read_text())
