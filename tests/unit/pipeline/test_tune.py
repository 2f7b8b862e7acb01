import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nogps.base.errors import InputError
from nogps.pipeline import tune
from nogps.pipeline.params import Params, read_params
from tests.project import PARAMS


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


class Trials:
    """Stands in for DVC: a trial scores what its learning rate is worth, below 1e-4 it fails."""

    def __init__(self):
        self.given: dict[str, dict[str, float]] = {}  # the settings of each that came to a score
        self.failed: list[str] = []
        self.killed: list[str] = []
        self.left = 10**6  # trials until the search is stopped

    def dvc(self, *arguments, stdout=None, **options) -> int:
        if arguments[0] == "repro":
            return 0
        self.left -= 1
        name = arguments[arguments.index("--name") + 1]
        if self.left < 0:
            self.killed.append(name)
            raise KeyboardInterrupt
        settings = [b for a, b in pairwise(arguments) if a == "-S"]
        values = {key: float(value) for key, value in (each.split("=") for each in settings)}
        if values["lr"] < 1e-4:
            stdout.write("train:  3%|#  | 1/9\ntrain: lr: too small\nERROR: failed\n\n")
            self.failed.append(name)
            return 1
        self.given[name] = values
        return 0

    def exp_show(self) -> list[dict]:
        # A killed one stays, with what its copy held: the score of an earlier training.
        killed = [(name, 9e9, "Running") for name in self.killed if name not in self.given]
        scores = ((name, -abs(values["lr"] - 1e-3)) for name, values in self.given.items())
        found = [(None, 9e9, None), *killed, *((*each, None) for each in scores)]
        return [dict(zip(("Experiment", tune.SCORE, "State"), each, strict=True)) for each in found]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Makes a new project to search in, each with trials of its own."""

    def made(name: str) -> Trials:
        trials = Trials()
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        shutil.copy(PARAMS, "params.yaml")
        stages = {stage: {"outs": []} for stage in ("sample", "pack", "split", "cells")}
        Path("dvc.lock").write_text(json.dumps({"stages": stages}))
        monkeypatch.setattr(tune, "git", lambda *arguments: "")
        monkeypatch.setattr(tune, "dvc", trials.dvc)
        monkeypatch.setattr(tune, "exp_show", trials.exp_show)
        return trials

    return made


SPACE = ["lr=1e-5:1e-2", "epochs=1:9"]


def test_settings_are_drawn_alike_however_often_the_search_is_stopped(project, capsys):
    undisturbed = project("undisturbed")
    tune.main(SPACE, 14)  # the first ten are random
    assert len(undisturbed.given) + len(undisturbed.failed) == 14
    assert len({values["lr"] for values in undisturbed.given.values()}) > 8
    said = capsys.readouterr().out.split("\n", 1)

    stopped = project("stopped")
    for _ in range(13):
        stopped.left = 1
        with pytest.raises(KeyboardInterrupt):
            tune.main(SPACE, 14)
    capsys.readouterr()
    stopped.left = 1
    tune.main(SPACE, 14)
    assert (stopped.given, stopped.failed) == (undisturbed.given, undisturbed.failed)
    again = capsys.readouterr().out.split("\n", 1)
    assert "0 of 14 trials are done" in said[0] and "13 of 14 trials are done" in again[0]
    assert again[1] == said[1]  # what became of each, and the best


def test_a_larger_search_adds_to_what_is_there(project, capsys):
    trials = project("one")
    tune.main(SPACE, 5)
    done = trials.given | dict.fromkeys(trials.failed)
    trials.left = 2
    tune.main(SPACE, 7)
    assert len(trials.given) + len(trials.failed) == 7
    assert done.items() <= (trials.given | dict.fromkeys(trials.failed)).items()


def test_a_trial_that_failed_says_why_and_is_not_run_again(project, capsys):
    trials = project("one")
    tune.main(SPACE, 6)
    [*failed] = trials.failed
    assert failed and trials.given
    said = capsys.readouterr().out
    assert said.count("failed: lr: too small\n") == len(failed)
    assert f"{len(trials.given)} trials by {tune.SCORE}, {len(failed)} failed" in said
    tune.main(SPACE, 6)
    assert trials.failed == failed


def test_a_search_in_which_everything_fails_ends(project):
    trials = project("one")
    for count in (tune.HOPELESS, tune.HOPELESS + 1):  # the reason may have been mended meanwhile
        log = rf"models/\.tune/tune-\w+-0{count - 1}\.log"
        with pytest.raises(InputError, match=rf"all {count} trials failed; see {log}"):
            tune.main(["lr=1e-6:1e-5"], 20)
        assert len(trials.failed) == count
