"""Search settings of train; every trial is a DVC experiment, judged on the validation fold.

A trial trains in a copy of the repository (`dvc exp run --temp`), so the workspace stays as it
is, and the test fold is never read. What became of each trial is kept in models/.tune: stopped
or killed, the same command goes on, and a larger --trials adds to what is there. A search belongs
to one commit, with the changes to the code and the settings not searched that were there. Prints
the best trials at the end, and the command that takes one.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import optuna
import yaml
from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from nogps.base.errors import InputError
from nogps.base.settings import Section
from nogps.pipeline.params import Params, read_params
from nogps.train.settings import TrainSettings

SCORE = "val_geoguessr"
FOLDER = Path("models/.tune")  # git ignores it
HOPELESS = 3  # so many failures and nothing else end a search

Space = dict[str, BaseDistribution]
Values = dict[str, str | int | float]

EXAMPLES = """\
  nogps tune --trials 20                           the learning rate alone
  nogps tune lr=1e-4:1e-2 weight_decay=0.01:0.3    two ranges
  nogps tune lr=1e-4:1e-2 epochs=4:12:linear batch_size=32,64,128

A range is searched on a logarithmic scale where its ends are a factor of 10 or more apart;
LOW:HIGH:log and LOW:HIGH:linear say it outright. With commas between, values are choices.
"""


def search(arguments: list[str], trials: int) -> None:
    """Run trials until there are `trials` of them, then print the best."""
    params = read_params()
    space = parse_space(arguments, params)
    if params.weights not in ("none", "imagenet") and not Path(params.weights).is_absolute():
        raise InputError("weights: give the whole path, as trials run in copies of the repository")
    if dvc("repro", "cells"):
        raise InputError("dvc repro cells failed; mend what it says and run this again")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with one_at_a_time() as lock:
        study = optuna.create_study(
            study_name=search_name(params, space),
            storage=f"sqlite:///{FOLDER / 'trials.db'}",
            direction="maximize",
            load_if_exists=True,
        )
        done = len(finished(study, space))
        print(f"{study.study_name}: {done} of {trials} trials are done; logs in {FOLDER}/")
        while len(finished(study, space)) < trials:
            run_trial(study, *next_trial(study, space, params.seed), lock)
            stop_if_hopeless(study, space)
    report(study, space)


def parse_space(arguments: list[str], params: Params) -> Space:
    """What to draw each setting from: NAME=LOW:HIGH, NAME=LOW:HIGH:log, or NAME=A,B,C.

    Raises:
        InputError: an argument is none of these, or train would not take such a value.
    """
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
        if len(choices) > 1:
            for choice in choices:
                check_value(params, name, choice)
            space[name] = CategoricalDistribution(choices)
            continue
        low, high = ends(argument, text)
        check_value(params, name, low)
        check_value(params, name, high)
        log = text.endswith(":log") or (0 < 10 * low <= high and not text.endswith(":linear"))
        if isinstance(settings[name], int):
            space[name] = IntDistribution(int(low), int(high), log=log)
        else:
            space[name] = FloatDistribution(low, high, log=log)
    return space


def ends(argument: str, text: str) -> tuple[float, float]:
    """The two ends of a range."""
    try:
        low, high = map(float, re.sub(r":(log|linear)$", "", text).split(":"))
        if low < high and (low > 0 or not text.endswith(":log")):
            return low, high
    except ValueError:
        pass
    raise InputError(
        f"{argument}: neither a range nor choices; write lr=1e-5:1e-2, lr=1e-5:1e-2:linear "
        "or batch_size=32,64"
    )


def of_training(params: Params) -> Values:
    """The settings that train depends on and no stage before it, as they are now."""
    settings: Values = {}
    for name in TrainSettings.model_fields.keys() - {"seed", "image_size"}:
        value = getattr(params, name)
        if isinstance(value, Section):
            settings |= {f"{name}.{key}": each for key, each in value}
        else:
            settings[name] = value
    return dict(sorted(settings.items()))


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
        git("rev-parse", "HEAD"),  # DVC keeps experiments under their commit
        git("diff", "HEAD", "--", "dvc.yaml", "src"),
        sorted(f"{name} {distribution}" for name, distribution in space.items()),
        {name: value for name, value in of_training(params).items() if name not in space},
        [params.seed, params.image_size],
        [stages[name]["outs"] for name in ("sample", "pack", "split", "cells")],
    ]
    return "tune-" + hashlib.sha256(json.dumps(content).encode()).hexdigest()[:6]


@contextmanager
def one_at_a_time() -> Iterator[TextIO]:
    """The lock of the searches here.

    A trial inherits it: one that outlives its killed search is waited for, not run twice.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for a trial that is still running here", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def finished(study: Study, space: Space) -> list[FrozenTrial]:
    """The trials that are done, well or badly."""
    return [
        trial
        for trial in study.trials
        if trial.state.is_finished() and trial.params.keys() == space.keys()
    ]


def next_trial(study: Study, space: Space, seed: int) -> tuple[int, Values]:
    """The number and settings of the trial that was running when the search died, or of a new one.

    Every trial has a sampler with a seed of its own, so that it does not matter how often a
    search is stopped.
    """
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        if trial.params.keys() == space.keys():
            return trial.number, trial.params
        study.tell(trial.number, state=TrialState.FAIL)  # killed while its settings were drawn
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    drawn = study.ask(space)
    return drawn.number, drawn.params


def run_trial(study: Study, number: int, values: Values, lock: TextIO) -> None:
    """Train as an experiment, unless it is there already; keep its score, or that it failed."""
    name = trial_name(study, number)
    print(f"{name}: {written(values)}", end=" ", flush=True)
    if experiment_score(name) is None:
        remove_copy(name)
        settings = [part for each in written(values).split() for part in ("-S", each)]
        with log_path(name).open("w") as log:
            dvc(
                *("exp", "run", "--temp", "--single-item", "--name", name, *settings, "train"),
                stdout=log,
                stderr=log,
                pass_fds=[lock.fileno()],
            )
    score = experiment_score(name)
    if score is None:
        study.tell(number, state=TrialState.FAIL)
        print(f"failed: {failure(name)}", flush=True)
    else:
        study.tell(number, score)
        print(f"score {score:.1f}, the best is {study.best_value:.1f}", flush=True)


def trial_name(study: Study, number: int) -> str:
    """The name of a trial's experiment."""
    return f"{study.study_name}-{number:02d}"


def written(values: Values) -> str:
    """Settings as they are typed; of a rate, three digits are enough."""
    texts = {
        name: f"{value:.3g}" if isinstance(value, float) else value
        for name, value in values.items()
    }
    return " ".join(f"{name}={text}" for name, text in texts.items())


def experiment_score(name: str) -> float | None:
    """The score of an experiment, None if there is no such experiment."""
    for ref in git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}").split():
        return json.loads(git("show", f"{ref}:metrics/train.json"))[SCORE]
    return None


def remove_copy(name: str) -> None:
    """Remove what a killed trial left, which DVC would show as running for ever."""
    for path in Path(".dvc/tmp/exps/standalone/run").glob("*/*.run"):
        run = json.loads(path.read_text())
        if run["name"] == name:
            shutil.rmtree(run["root_dir"], ignore_errors=True)


def log_path(name: str) -> Path:
    """The file that holds what a trial printed."""
    return FOLDER / f"{name}.log"


def failure(name: str) -> str:
    """Why a trial failed: the sentence of train, or else the last line of its log."""
    lines = [line for line in log_path(name).read_text().splitlines() if line.strip()]
    said = [line.removeprefix("train: ") for line in lines if re.match(r"train: (?!.*%\|)", line)]
    return (said or lines or ["no word"])[-1]


def stop_if_hopeless(study: Study, space: Space) -> None:
    """InputError if the first trials have all failed."""
    states = [trial.state for trial in finished(study, space)]
    if len(states) >= HOPELESS and TrialState.COMPLETE not in states:
        name = trial_name(study, finished(study, space)[-1].number)
        raise InputError(f"all {len(states)} trials failed; see {log_path(name)}")


def report(study: Study, space: Space) -> None:
    """Print the best trials and what to do with them."""
    trials = finished(study, space)
    good = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not good:
        raise InputError(f"no trial came to a score; see the logs in {FOLDER}")
    good.sort(key=lambda trial: trial.value or 0.0, reverse=True)
    print(f"\n{len(good)} trials by {SCORE}, {len(trials) - len(good)} failed\n")
    for trial in good[:10]:
        print(f"{trial_name(study, trial.number)}  {trial.value:7.1f}  {written(trial.params)}")
    shown = "|".join(f"^{name}$" for name in space)
    print(
        f"\ndvc exp apply {trial_name(study, good[0].number)}    # take the best; dvc repro then "
        f"measures it\n"
        f"dvc exp show --drop '.*' --keep 'Exp|{SCORE}|{shown}'    # all, side by side\n\n"
        "The best of many scores flatters: the validation photos chose these settings. Measure on "
        "the\ntest fold once, when you are done searching."
    )


def dvc(*arguments: str, **options: Any) -> int:
    """Run DVC with this Python first on the path; its exit status."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PATH": path},
        **options,
    ).returncode


def git(*arguments: str) -> str:
    """What git prints."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise InputError(
            f"git {arguments[0]} failed, and experiments need a repository: {done.stderr.strip()}"
        )
    return done.stdout


def main(argv: list[str] | None = None) -> None:
    """Run `nogps tune`; what the user did wrong comes out as one sentence."""
    parser = argparse.ArgumentParser(
        prog="nogps tune",
        description=__doc__,
        epilog="examples:\n" + EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "space",
        nargs="*",
        default=["lr=1e-5:1e-2"],
        metavar="NAME=RANGE",
        help="what to search (lr=1e-5:1e-2 if nothing is said)",
    )
    parser.add_argument("--trials", type=int, default=20, help="how many in all (20)")
    arguments = parser.parse_args(argv)
    try:
        search(arguments.space, arguments.trials)
    except InputError as error:
        sys.exit(f"nogps tune: {error}")
    except KeyboardInterrupt:
        print("\nnogps tune: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
