"""All parameters of params.yaml, checked before anything runs."""

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, create_model

from nogps.acquire import download, limits
from nogps.acquire.sources import SOURCES, source_type
from nogps.base.errors import InputError
from nogps.base.settings import Count, CountOrZero, Level, Section, Share
from nogps.dataset.settings import Cells, Split
from nogps.photos import panorama
from nogps.train.settings import TrainSettings


def _world(text: str) -> str:
    if not re.fullmatch(r"simulated|real|https?://[^/?#]+", text):
        raise ValueError("input should be 'simulated', 'real' or http://host:port")
    return text


class Simulated(Section):
    """How large the simulated planet is, and how badly its hosts behave."""

    photos: Count
    """Photos that exist on the simulated planet."""
    faults: dict[str, Share]
    """Kinds of misbehaviour, each with the share of the requests that meet it."""


class Eval(Section):
    """What is measured beside the test fold."""

    benchmarks: list[Path]
    """Folders, zips and tables of photos to measure the model on, read as `folder.path` is."""
    together: Literal["none", "owner"]
    """owner: photos of one owner are answered as one place."""
    region_level: Level
    """S2 level of the regions in metrics/regions.csv; 2: about 2,000 km."""


class Machine(Section):
    """What runs where. No out of a stage depends on these, so none names them in dvc.yaml."""

    push_to: str | None
    """Remote to which `dvc push` sends what the stages write; null: the default; nowhere: none."""
    workers: CountOrZero
    """Processes that decode photos."""
    launch: str
    """Command that starts train and eval, such as `torchrun --nproc-per-node 4`."""
    usd_per_hour: Annotated[float, Field(ge=0)]
    """What the machine costs in dollars an hour, for metrics/train.json."""


# A section for each source, named as it is.
sections: dict[str, Any] = {name: source_type(name).settings for name in SOURCES}
SourceSections: Any = create_model("SourceSections", __base__=Section, **sections)


class Params(TrainSettings, Machine, SourceSections):
    """All of params.yaml, checked."""

    source: Literal[tuple(SOURCES)]  # type: ignore[valid-type]
    """Where the photos come from."""
    world: Annotated[str, AfterValidator(_world)]
    """simulated: a planet on this machine; real: the internet; http://...: hosts that stand in."""
    budget_usd: Annotated[float, Field(ge=0)]
    """Most dollars that paid calls may ever cost in this world."""
    exclude: Path
    """File of photos and owners that are never sampled, a line each."""
    simulated: Simulated
    sampling: limits.Sampling
    panorama: panorama.Settings
    download: download.Settings
    split: Split
    partition: Literal["adaptive", "north_south", "fixed_level"]
    """How the globe is cut into classes: adaptive is PlaNet's, fixed_level one level of S2."""
    cells: Cells
    eval: Eval


def read_params(path: Path = Path("params.yaml")) -> Params:
    """Params from a YAML file; InputError names the first key that is wrong."""
    content = _read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no parameters; restore it with git")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_problem(error)}") from None


def stages_by_parameter(path: Path = Path("dvc.yaml")) -> dict[str, list[str]]:
    """The stages that depend on each parameter or section of params.yaml, by dvc.yaml."""
    found: dict[str, list[str]] = {}
    for stage, content in _read_yaml(path)["stages"].items():
        templates = re.findall(r"\$\{(\w+)", json.dumps(content))
        for name in dict.fromkeys([*content.get("params", []), *templates]):
            if name not in Machine.model_fields:
                found.setdefault(name, []).append(stage)
    return found


def check_stages(path: Path = Path("dvc.yaml")) -> None:
    """InputError if dvc.yaml does not say which stages depend on each parameter."""
    stages = stages_by_parameter(path)
    for name in stages.keys() - Params.model_fields:
        raise InputError(f"{path}: stage {stages[name][0]} names `{name}`, which is no parameter")
    for name in Params.model_fields.keys() - Machine.model_fields:
        missing = "sample" if name in SOURCES else "any stage"
        if name not in stages or (name in SOURCES and "sample" not in stages[name]):
            what = f"`{name}` is not under params of {missing}, so a change of it would run nothing"
            raise InputError(f"{path}: {what}; add it there")


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} is not here; run this from the root of the repository") from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place else ""
        raise InputError(f"{path} is not valid YAML{line}; mend it and run again") from None


def origin(params: Params) -> str:
    """Where the photos come from, in words."""
    if source_type(params.source).local:
        return params.source
    return f"{params.source}, {params.world}"


def synthetic(params: Params) -> bool:
    """Whether this program draws the photos, so that nobody owns them."""
    return params.world == "simulated" and source_type(params.source).on_planet


def _first_problem(error: ValidationError) -> str:
    problems = [(".".join(map(str, each["loc"])), each) for each in error.errors()]
    missing = [name for name, each in problems if each["type"] == "missing"]
    # A misspelt key is both missing and unknown: the unknown one says more.
    problems.sort(key=lambda problem: problem[1]["type"] != "extra_forbidden")
    name, problem = problems[0]
    if problem["type"] == "missing":
        return f"`{name}` is missing; give it a value, or restore the file with git"
    if problem["type"] == "extra_forbidden":
        known = (missing, list(Params.model_fields))
        close = [each for names in known for each in difflib.get_close_matches(name, names, n=1)]
        hint = f"did you mean `{close[0]}`?" if close else "remove it"
        return f"`{name}` is not a parameter; {hint}"
    reason = problem["msg"].removeprefix("Value error, ")
    return f"`{name}` is {problem['input']!r}: {reason[0].lower()}{reason[1:]}"
