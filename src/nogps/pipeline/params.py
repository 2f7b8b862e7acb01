"""All parameters of params.yaml, checked before anything runs."""

import difflib
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nogps.base.errors import InputError


class Section(BaseModel):
    """A mapping of params.yaml in which every key is known and has a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[int, Field(ge=0, le=30)]


def _world(text: str) -> str:
    if not re.fullmatch(r"simulated|real|https?://[^/?#]+", text):
        raise ValueError("input should be 'simulated', 'real' or http://host:port")
    return text


def _region(value: object) -> object:
    box = isinstance(value, list) and [type(each) in (int, float) for each in value] == 4 * [True]
    if not (box or isinstance(value, str)):
        raise ValueError(
            "input should be 'world', [west, south, east, north] in degrees, or a GeoJSON file"
        )
    return value


class Simulated(Section):
    """How large the simulated planet is, and how badly its hosts behave."""

    photos: Count
    faults: dict[str, Annotated[float, Field(ge=0, le=1)]]


class Folder(Section):
    """Where the source `folder` looks."""

    path: Path


class Flickr(Section):
    """What the source `flickr` asks for."""

    terms: Annotated[list[str], Field(min_length=1)]
    excluded_terms: list[str]
    uploaded_from: date
    uploaded_to: date
    accuracy: Annotated[int, Field(ge=1, le=16)]
    licences: list[Annotated[int, Field(ge=0, le=16)]]
    size: Literal["l", "c", "z", "m", "n", "s"]
    max_photos: CountOrZero


class StreetView(Section):
    """What the source `streetview` asks for, and what that costs."""

    addresses: list[Path]
    locations: Count
    region_km: Annotated[float, Field(ge=0)]
    headings: Annotated[int, Field(ge=1, le=36)]
    size: Annotated[int, Field(ge=64, le=640)]
    fov: Annotated[int, Field(ge=10, le=120)]
    pitch: Annotated[int, Field(ge=-90, le=90)]
    radius_m: Count
    terms_accepted: bool
    usd_per_1000: Annotated[float, Field(ge=0)]
    free_a_month: CountOrZero


class Panoramax(Section):
    """What the source `panoramax` fetches."""

    size: Literal["sd", "hd"]


class Commons(Section):
    """What the source `commons` takes."""

    width: Literal[330, 500, 960, 1280, 1920]
    uncertain: bool


class Mapillary(Section):
    """What the source `mapillary` takes."""

    positions: Literal["computed", "original"]
    width: Literal[256, 1024, 2048]


class Sampling(Section):
    """Which photos of any source are kept; None is the source's own limit."""

    region: Annotated[
        Literal["world"] | tuple[float, float, float, float] | Path, BeforeValidator(_region)
    ]
    places: Literal["population", "land", "weights"]
    cell_level: Level
    photos: CountOrZero | None
    per_cell: CountOrZero | None
    per_owner: CountOrZero | None
    per_sequence: CountOrZero | None
    spacing_m: Annotated[float, Field(ge=0)] | None
    taken_from: date | None
    taken_to: date | None
    weights: str
    licences: Annotated[
        list[Literal["CC0", "public domain", "CC BY", "CC BY-SA", "Licence Ouverte"]],
        Field(min_length=1),
    ]
    calls: Count


class Panorama(Section):
    """How pictures of all 360 degrees become photos."""

    headings: Annotated[int, Field(ge=1, le=36)]
    fov: Annotated[int, Field(ge=10, le=120)]
    pitch: Annotated[int, Field(ge=-90, le=90)]


class Download(Section):
    """How photos are fetched."""

    connections: Annotated[int, Field(ge=1, le=64)]
    min_side: Count
    max_failed: Annotated[float, Field(ge=0, le=1)]


class Split(Section):
    """How photos are divided into folds."""

    val: Annotated[float, Field(gt=0, lt=0.5)]
    test: Annotated[float, Field(gt=0, lt=0.5)]
    place_level: Annotated[int, Field(ge=-1, le=30)]
    near_duplicate_bits: Annotated[int, Field(ge=-1, le=15)]


class Cells(Section):
    """Limits of the cells."""

    min_photos: Count
    max_photos: Count
    min_level: Level
    max_level: Level


class Augment(Section):
    """How training photos are varied."""

    crop: Annotated[float, Field(gt=0, le=1)]
    colour: Annotated[float, Field(ge=0, lt=1)]
    mirror: bool
    erase: Share


class Eval(Section):
    """What is measured beside the test fold."""

    benchmarks: list[Path]
    together: Literal["none", "owner"]
    region_level: Level


class Params(Section):
    """All of params.yaml, checked."""

    seed: CountOrZero
    source: Literal["flickr", "streetview", "panoramax", "commons", "mapillary", "folder"]
    world: Annotated[str, AfterValidator(_world)]
    budget_usd: Annotated[float, Field(ge=0)]
    push_to: str | None
    exclude: Path
    simulated: Simulated
    folder: Folder
    flickr: Flickr
    streetview: StreetView
    panoramax: Panoramax
    commons: Commons
    mapillary: Mapillary
    sampling: Sampling
    panorama: Panorama
    download: Download
    split: Split
    partition: Literal["adaptive", "north_south", "fixed_level"]
    cells: Cells
    backbone: str
    weights: str
    image_size: Annotated[int, Field(ge=32, le=1024)]
    loss: Literal["softmax", "smoothed", "multilabel", "hierarchical"]
    smoothing_km: Annotated[float, Field(gt=0)]
    class_balance: Share
    decoding: Literal["densest", "class_mean", "class_centre"]
    epochs: CountOrZero
    head_epochs: CountOrZero
    batch_size: Annotated[int, Field(ge=2)]
    lr: Annotated[float, Field(gt=0)]
    head_lr: Annotated[float, Field(gt=0)]
    first_layers_lr: Annotated[float, Field(gt=0, le=1)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    head_weight_decay: Annotated[float, Field(ge=0)]
    averaging: Annotated[float, Field(ge=0, lt=1)]
    start_share: Share
    augment: Augment
    precision: Literal["auto", "bf16", "fp32"]
    patience: Count
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
