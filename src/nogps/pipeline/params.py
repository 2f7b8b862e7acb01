"""All parameters of params.yaml, checked before anything runs."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError

from nogps.acquire import download, limits
from nogps.acquire.sources import commons, flickr, folder, mapillary, panoramax, streetview
from nogps.base.errors import InputError
from nogps.base.settings import Count, CountOrZero, Level, Section
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
    faults: dict[str, Annotated[float, Field(ge=0, le=1)]]


class Eval(Section):
    """What is measured beside the test fold."""

    benchmarks: list[Path]
    together: Literal["none", "owner"]
    region_level: Level


class Params(TrainSettings):
    """All of params.yaml, checked."""

    source: Literal["flickr", "streetview", "panoramax", "commons", "mapillary", "folder"]
    world: Annotated[str, AfterValidator(_world)]
    budget_usd: Annotated[float, Field(ge=0)]
    push_to: str | None
    exclude: Path
    simulated: Simulated
    folder: folder.Settings
    flickr: flickr.Settings
    streetview: streetview.Settings
    panoramax: panoramax.Settings
    commons: commons.Settings
    mapillary: mapillary.Settings
    sampling: limits.Sampling
    panorama: panorama.Settings
    download: download.Settings
    split: Split
    partition: Literal["adaptive", "north_south", "fixed_level"]
    cells: Cells
    workers: CountOrZero
    usd_per_hour: Annotated[float, Field(ge=0)]
    launch: str
    eval: Eval


def read_params(path: Path = Path("params.yaml")) -> Params:
    """Params from a YAML file; InputError names the first key that is wrong."""
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} is not here; run this from the root of the repository") from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place else ""
        raise InputError(f"{path} is not valid YAML{line}; mend it and run again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no parameters; restore it with git")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_problem(error)}") from None


def origin(params: Params) -> str:
    """Where the photos come from, in words."""
    if params.source == "folder":
        return "folder"
    return f"{params.source}, {params.world}"


def drawn(params: Params) -> bool:
    """Whether this program draws the photos, so that nobody owns them."""
    return params.source != "folder" and params.world == "simulated"


def _first_problem(error: ValidationError) -> str:
    # A misspelt key is both missing and unknown: the unknown one says more.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"`{name}` is missing; give it a value, or restore the file with git"
    if problem["type"] == "extra_forbidden":
        missing = [
            ".".join(str(part) for part in other["loc"])
            for other in problems
            if other["type"] == "missing"
        ]
        close = difflib.get_close_matches(name, missing, n=1) or difflib.get_close_matches(
            name, list(Params.model_fields), n=1
        )
        hint = f"did you mean `{close[0]}`?" if close else "remove it"
        return f"`{name}` is not a parameter; {hint}"
    reason = problem["msg"].removeprefix("Value error, ")
    return f"`{name}` is {problem['input']!r}: {reason[0].lower()}{reason[1:]}"
