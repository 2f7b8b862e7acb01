"""Which photos to keep: the parameters of sampling, limits, and the weights of regions."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, Field

from nogps.acquire.area import Region
from nogps.acquire.candidate import Candidate
from nogps.base.errors import InputError
from nogps.base.settings import Count, CountOrZero, Level, Section
from nogps.earth import s2
from nogps.earth.geo import EARTH_RADIUS_KM, distance_km, to_unit_vectors


def _region(value: object) -> object:
    box = isinstance(value, list) and [type(each) in (int, float) for each in value] == 4 * [True]
    if not (box or isinstance(value, str)):
        raise ValueError(
            "input should be 'world', [west, south, east, north] in degrees, or a GeoJSON file"
        )
    return value


class Sampling(Section):
    """Which photos of any source are kept; None is the source's own limit."""

    region: Annotated[
        Literal["world"] | tuple[float, float, float, float] | Path, BeforeValidator(_region)
    ]
    """Where photos may lie: the world, [west, south, east, north] in degrees, or a GeoJSON file."""
    places: Literal["population", "land", "weights"]
    """How panoramax, commons and mapillary are asked: where people live, over land, by weights."""
    cell_level: Level
    """S2 level of the cells that are asked and that `per_cell` counts in; 11: about 5 km."""
    photos: CountOrZero | None
    """Most photos kept; 0: all."""
    per_cell: CountOrZero | None
    """Most photos of one cell; 0: any number."""
    per_owner: CountOrZero | None
    """Most photos of one owner; 0: any number."""
    per_sequence: CountOrZero | None
    """Most photos of one drive or walk; 0: any number."""
    spacing_m: Annotated[float, Field(ge=0)] | None
    """Least distance in metres between two photos; 0: none."""
    taken_from: date | None
    """First day on which a kept photo was taken."""
    taken_to: date | None
    """Last day on which a kept photo was taken."""
    weights: str
    """A copy of an earlier metrics/regions.csv, to draw more where its model was worst."""
    licences: Annotated[
        list[Literal["CC0", "public domain", "CC BY", "CC BY-SA", "Licence Ouverte"]],
        Field(min_length=1),
    ]
    """Licences of photos that panoramax, commons and mapillary may give."""
    calls: Count
    """Most questions of one search of panoramax, commons or mapillary."""


FOLD = "val"  # the test fold must not steer what is trained on


def read_weights(path: Path) -> dict[str, float]:
    """Weights by region, an S2 token, from eval's validation rows; InputError if there are none."""
    try:
        # As text: pandas would take the token 47e9 for a number, and 05 for 5.
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except OSError as error:
        raise InputError(
            f"sampling.weights: {path} cannot be read ({error.strerror}); name a copy of "
            "metrics/regions.csv"
        ) from None
    except ValueError:
        raise _garbled(path, "is not a CSV file") from None
    lacking = {"fold", "region", "weight"} - set(table.columns)
    if lacking:
        raise _garbled(path, f"has no column {min(lacking)}")
    table = table[table["fold"] == FOLD]
    if table.empty:
        raise _garbled(path, f"has no row of the fold {FOLD}")
    weight = pd.to_numeric(table["weight"], errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~((weight > 0) & np.isfinite(weight))
    if wrong.any():
        raise _garbled(path, f"has the weight {table['weight'].iloc[wrong.argmax()]!r}")
    if table["region"].duplicated().any():
        raise _garbled(path, f"has two rows of the fold {FOLD} for one region")
    try:
        levels = s2.level([s2.from_token(token) for token in table["region"]])
    except InputError as error:
        raise _garbled(path, f"names a region that is none: {str(error).split(';')[0]}") from None
    if len(set(levels.tolist())) > 1:
        raise _garbled(path, "has regions of several S2 levels")
    return dict(zip(table["region"], weight.tolist(), strict=True))


def _garbled(path: Path, what: str) -> InputError:
    return InputError(
        f"sampling.weights: {path} {what}; copy metrics/regions.csv of an earlier run again"
    )


@dataclass(frozen=True)
class Limits:
    """Which photos may be kept; 0, "" and the world are no limit."""

    region: Region = field(default_factory=Region)
    taken_from: str = ""  # ISO dates, both included; with one, photos without a date are out
    taken_to: str = ""
    cell_level: int = 11  # S2 level of the cells that `per_cell` is about
    per_cell: int = 0
    per_owner: int = 0
    per_sequence: int = 0
    spacing_m: float = 0.0

    def __bool__(self) -> bool:
        """Whether there is any limit at all."""
        most = (self.per_cell, self.per_owner, self.per_sequence, self.spacing_m)
        return self.region.shape is not None or any((self.taken_from, self.taken_to, *most))


REASONS: tuple[str, ...] = ("outside_region", "outside_time")
REASONS += ("over_cell", "over_owner", "over_sequence", "too_near")


class Thinning:
    """Thins out photos: takes one after the other, as long as the limits allow.

    `rejections` counts those left out, each for the first of REASONS.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.rejections = dict.fromkeys(REASONS, 0)
        self._counts: Counter[tuple[str, object]] = Counter()
        self._near: dict[tuple[int, int, int], list[Candidate]] = {}

    def takes(self, photo: Candidate) -> bool:
        """Whether this photo is taken; then it counts."""
        reason = self._rejection_reason(photo)
        if reason:
            self.rejections[reason] += 1
            return False
        self._counts.update(self._keys(photo))
        if self.limits.spacing_m:
            self._near.setdefault(self._block(photo), []).append(photo)
        return True

    def _rejection_reason(self, photo: Candidate) -> str:
        limits = self.limits
        if not limits.region.contains(photo.latitude, photo.longitude)[0]:
            return "outside_region"
        day = photo.taken_at[:10]
        if limits.taken_from and not day >= limits.taken_from:
            return "outside_time"
        if limits.taken_to and not "" < day <= limits.taken_to:
            return "outside_time"
        for key in self._keys(photo):
            if self._counts[key] >= getattr(limits, f"per_{key[0]}"):
                return f"over_{key[0]}"
        if limits.spacing_m and any(self._close(photo, other) for other in self._around(photo)):
            return "too_near"
        return ""

    def _keys(self, photo: Candidate) -> list[tuple[str, object]]:
        """What a photo counts for: the names of limits, and whose they are."""
        keys: list[tuple[str, object]] = []
        if self.limits.per_cell:
            leaf = s2.cell_ids([photo.latitude], [photo.longitude])
            keys.append(("cell", int(s2.parent(leaf, self.limits.cell_level)[0])))
        if self.limits.per_owner and photo.owner:
            keys.append(("owner", photo.owner))
        if self.limits.per_sequence and photo.sequence:
            keys.append(("sequence", photo.sequence))
        return keys

    def _block(self, photo: Candidate) -> tuple[int, int, int]:
        """The cube, no narrower than the spacing, that a photo lies in on a globe in space."""
        scale = 1000 * EARTH_RADIUS_KM / max(1.0, self.limits.spacing_m)
        x, y, z = (to_unit_vectors(photo.latitude, photo.longitude) * scale).tolist()
        return math.floor(x), math.floor(y), math.floor(z)

    def _around(self, photo: Candidate) -> Iterator[Candidate]:
        x, y, z = self._block(photo)
        for dx, dy, dz in itertools.product((-1, 0, 1), repeat=3):
            yield from self._near.get((x + dx, y + dy, z + dz), ())

    def _close(self, one: Candidate, other: Candidate) -> bool:
        here, there = (one.latitude, one.longitude), (other.latitude, other.longitude)
        if one.source == "streetview" and here == there and one.heading != other.heading:
            return False  # directions of one panorama
        return 1000 * float(distance_km(*here, *there)) < self.limits.spacing_m
