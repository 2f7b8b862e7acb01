"""Search settings of train; every trial is a DVC experiment, judged on the validation fold.

A trial trains in a copy of the repository (`dvc exp run --temp`), so the workspace stays as it
is, and the test fold is never read. The experiments hold the scores, models/.tune the logs of
trials and which failed: stopped or killed, the same command goes on, and a larger --trials adds
to what is there. A search belongs to one commit, with the changes to the code and the settings
not searched that were there. Prints the best trials at the end, and the command that takes one.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import optuna
import pandas as pd
import yaml
from dvc.api import exp_show
from optuna import Study, Trial, distributions
from optuna.trial import TrialState
from pydantic import ValidationError

from nogps.base.errors import InputError
from nogps.pipeline.params import Params, read_params
from nogps.train.settings import TrainSettings

SCORE = "val_geoguessr"
FOLDER = Path("models/.tune")  # git ignores it
HOPELESS = 3  # so many failures and nothing else end a search

Space = dict[str, distributions.BaseDistribution]

EXAMPLES = """\
examples:
  nogps tune --trials 20                           the learning rate alone
  nogps tune lr=1e-4:1e-2 weight_decay=0.01:0.3    two ranges
  nogps tune lr=1e-4:1e-2 epochs=4:12:linear batch_size=32,64,128

A range is searched on a logarithmic scale where its ends are a factor of 10 or more apart;
LOW:HIGH:log and LOW:HIGH:linear say it outright. With commas between, values are choices.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """What `nogps tune` takes."""
    parser.epilog = EXAMPLES
    add, default = parser.add_argument, ["lr=1e-5:1e-2"]
    told = "what to search (lr=1e-5:1e-2 if nothing is said)"
    add("space", nargs="*", default=default, metavar="NAME=RANGE", help=told)
    add("--trials", type=int, default=20, help="how many in all (20)")


def main(space: list[str], trials: int) -> None:
    """Run trials until there are `trials` of them, then print the best."""
    params = read_params()
    searched = parse_space(space, params)
    if params.weights not in ("none", "imagenet") and not Path(params.weights).is_absolute():
        raise InputError("weights: give the whole path, as trials run in copies of the repository")
    if dvc("repro", "cells"):
        raise InputError("dvc repro cells failed; mend what it says and run this again")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name=search_name(params, searched), direction="maximize")
    names = [f"{study.study_name}-{number:02d}" for number in range(trials)]
    with one_at_a_time() as lock:
        scores = finished(study.study_name)
        done = sum(name in scores for name in names)
        print(f"{study.study_name}: {done} of {trials} trials are done; logs in {FOLDER}/")
        print("when stopped, the same command goes on from there", flush=True)
        for number, name in enumerate(names):
            # With seeds of their own, all draw the same however often a search is stopped.
            study.sampler = optuna.samplers.TPESampler(seed=params.seed + number)
            trial = study.ask(searched)
            print(f"{name}: {written(trial.params)}", end=" ", flush=True)
            is_new = name not in scores
            if is_new:
                scores[name] = run_trial(name, written(trial.params), lock)
            tell(study, trial, name, scores[name])
            if is_new and len(scores) >= HOPELESS and set(scores.values()) == {None}:
                raise InputError(f"all {len(scores)} trials failed; see {FOLDER / name}.log")
    report(study, names)


def parse_space(arguments: list[str], params: Params) -> Space:
    """What to draw each setting from: NAME=LOW:HIGH, NAME=LOW:HIGH:log, or NAME=A,B,C."""
    settings = of_training(params)
    space: Space = {}
    for argument in arguments:
        name, _, text = argument.partition("=")
        if name not in settings:
            raise InputError(
                f"{name}: not a setting of train alone, which is what a search may change; "
                f"choose from {', '.join(settings)}"
            )
        choices = text.split(",")
        between = ends(argument, text) if len(choices) == 1 else None
        for value in between or choices:
            check_value(params, name, value)
        if not between:
            space[name] = distributions.CategoricalDistribution(choices)
            continue
        low, high = between
        log = text.endswith(":log") or (0 < 10 * low <= high and not text.endswith(":linear"))
        if isinstance(settings[name], int):
            space[name] = distributions.IntDistribution(int(low), int(high), log=log)
        else:
            space[name] = distributions.FloatDistribution(low, high, log=log)
    return space


def ends(argument: str, text: str) -> tuple[float, float]:
    """The two ends of a range."""
    with suppress(ValueError):
        low, high = map(float, re.sub(r":(log|linear)$", "", text).split(":"))
        if low < high and (low > 0 or not text.endswith(":log")):
            return low, high
    raise InputError(
        f"{argument}: neither a range nor choices; write lr=1e-5:1e-2, lr=1e-5:1e-2:linear "
        "or batch_size=32,64"
    )


def of_training(params: Params) -> dict[str, Any]:
    """The settings that train depends on and no stage before it, as they are now."""
    names = TrainSettings.model_fields.keys() - {"seed", "image_size"}
    [settings] = pd.json_normalize(params.model_dump(include=names)).to_dict("records")
    return dict(sorted((str(name), value) for name, value in settings.items()))


def check_value(params: Params, name: str, value: str | float) -> None:
    """InputError if params.yaml may not hold this value."""
    section, _, key = name.partition(".")
    settings = params.model_dump()
    settings[section] = settings[section] | {key: value} if key else value
    try:
        Params.model_validate(settings)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise InputError(f"{name}: {value} will not do: {reason[0].lower()}{reason[1:]}") from None


def search_name(params: Params, space: Space) -> str:
    """A name for all that a score depends on beside the settings searched."""
    stages = yaml.safe_load(Path("dvc.lock").read_text())["stages"]
    content = [
        optuna.__version__,  # another one may draw other settings
        git("rev-parse", "HEAD"),  # DVC keeps experiments under their commit
        git("diff", "HEAD", "--", "dvc.yaml", "src"),
        sorted(f"{name} {distribution}" for name, distribution in space.items()),
        {name: value for name, value in of_training(params).items() if name not in space},
        [params.seed, params.image_size],
        [stages[name]["outs"] for name in ("sample", "pack", "split", "cells")],
    ]
    return "tune-" + hashlib.sha256(json.dumps(content).encode()).hexdigest()[:6]


def one_at_a_time() -> TextIO:
    """The lock of the searches here, held until it is closed.

    A trial inherits it: one that outlives its killed search is waited for, not run twice.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = (FOLDER / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("waiting for a trial that is still running here", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def finished(search: str) -> dict[str, float | None]:
    """The score of each trial that is done, by its name; None if it failed."""
    found: dict[str, float | None] = {each.stem: None for each in FOLDER.glob(f"{search}*.failed")}
    for each in exp_show():
        name, score = str(each["Experiment"]), each.get(SCORE)
        # A killed trial is "Running" for ever, with the score that lay in its copy: an earlier one.
        if name.startswith(search) and each["State"] != "Running" and isinstance(score, float):
            found[name] = score
    return found


def run_trial(name: str, settings: str, lock: TextIO) -> float | None:
    """Train as an experiment; its score, None if it failed, which is kept too."""
    # What a killed trial left DVC would show as running for ever.
    for path in Path(".dvc/tmp/exps/standalone/run").glob("*/*.run"):
        run = json.loads(path.read_text())
        if run["name"] == name:
            shutil.rmtree(run["root_dir"], ignore_errors=True)
    options = [part for each in settings.split() for part in ("-S", each)]
    command = ["exp", "run", "--temp", "--single-item", "--name", name, *options, "train"]
    with (FOLDER / f"{name}.log").open("w") as log:
        dvc(*command, stdout=log, stderr=log, pass_fds=[lock.fileno()])
    score = finished(name).get(name)
    if score is None:
        (FOLDER / f"{name}.failed").touch()
    return score


def tell(study: Study, trial: Trial, name: str, score: float | None) -> None:
    """Tell the study, and who reads along, what became of a trial."""
    if score is not None:
        study.tell(trial, score)
        print(f"score {score:.1f}, the best is {study.best_value:.1f}", flush=True)
        return
    study.tell(trial, state=TrialState.FAIL)
    path = FOLDER / f"{name}.log"
    log = path.read_text().splitlines() if path.exists() else []
    # The sentence of train, or else the last line.
    said = [line.removeprefix("train: ") for line in log if re.match(r"train: (?!.*%\|)", line)]
    print(f"failed: {(said or list(filter(str.strip, log)) or ['no word'])[-1]}", flush=True)


def written(values: dict[str, Any]) -> str:
    """Settings as they are typed; of a rate, three digits are enough."""
    texts = (f"{value:.3g}" if isinstance(value, float) else value for value in values.values())
    return " ".join(map("{}={}".format, values, texts))


def report(study: Study, names: list[str]) -> None:
    """Print the best trials and what to do with them."""
    good = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    if not good:
        raise InputError(f"no trial came to a score; see the logs in {FOLDER}")
    good.sort(key=lambda trial: trial.value or 0.0, reverse=True)
    print(f"\n{len(good)} trials by {SCORE}, {len(study.trials) - len(good)} failed\n")
    for trial in good[:10]:
        print(f"{names[trial.number]}  {trial.value:7.1f}  {written(trial.params)}")
    shown = "|".join(f"^{name}$" for name in good[0].params)
    print(
        f"\ndvc exp apply {names[good[0].number]}    # take the best; dvc repro then measures it\n"
        f"dvc exp show --drop '.*' --keep 'Exp|{SCORE}|{shown}'    # all, side by side\n\n"
        "The best of many scores flatters: the validation photos chose these settings. Measure on "
        "the\ntest fold once, when you are done searching."
    )


def dvc(*arguments: str, **options: Any) -> int:
    """Run DVC with this Python first on the path; its exit status."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = os.environ | {"PATH": path}
    return subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, **options).returncode


def git(*arguments: str) -> str:
    """What git prints."""
    command = ["git", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", error)
        raise InputError(f"git {arguments[0]} failed, and experiments need it: {said}") from None
