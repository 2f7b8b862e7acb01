"""The evaluation protocol: what a hit is, and the figures of a row of the results table.

A hit is a great-circle distance <= radius (see `geo`). Every photo counts: one that could not be
read or located has distance NaN and is a miss at every radius, in the median and the mean as far
away as the Earth allows, with score 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from nogps.earth import geo

Points = NDArray[np.float64]  # latitude and longitude, shape (n, 2); NaN where there is no guess

MEANS = ("median_km", "mean_km", "geoguessr")


@dataclass(frozen=True)
class Row:
    """One line of the results table."""

    name: str
    n: int
    hits: dict[str, float]  # percent within each of geo.RADII_KM, in the right class, and more
    intervals: dict[str, tuple[float, float]]  # Wilson 95 %, percent
    median_km: float
    mean_km: float
    geoguessr: float
    more: dict[str, float] = field(default_factory=dict)  # what only a model can tell

    def to_json(self) -> dict:
        """The row as metrics/eval.json holds it, without what is not finite."""
        figures = {**self.hits, **{key: getattr(self, key) for key in MEANS}, **self.more}
        return {
            "n": self.n,
            **{key: round(value, 6) for key, value in figures.items() if math.isfinite(value)},
            "ci95": {key: [round(end, 6) for end in ends] for key, ends in self.intervals.items()},
        }

    @classmethod
    def from_json(cls, name: str, figures: dict) -> Row:
        """The row that `to_json` wrote."""
        intervals = {key: (low, high) for key, (low, high) in figures["ci95"].items()}
        hits = {key: figures[key] for key in intervals}
        means = {key: figures[key] for key in MEANS}
        known = {"n", "ci95", *MEANS, *intervals}
        more = {key: value for key, value in figures.items() if key not in known}
        return cls(name, figures["n"], hits, intervals, **means, more=more)


@lru_cache(maxsize=10_000)  # many regions and bins hold as few photos
def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share, in percent (Wilson 1927)."""
    low, high = binomtest(hits, n).proportion_ci(method="wilson")
    return 100 * float(low), 100 * float(high)


def row(
    name: str,
    distance: NDArray[np.float64],
    more: dict[str, float] | None = None,
    **also: NDArray[np.bool_],
) -> Row:
    """The table's line for distances in km, shape (n,), NaN for photos without an answer.

    `also` are further hits by name, such as `right_class`; `more` are numbers that stand with them.
    """
    n = len(distance)
    counted = np.where(np.isnan(distance), geo.FARTHEST_KM, distance)
    hit = {key: distance <= radius for key, radius in geo.RADII_KM.items()} | also
    within = {key: int(np.count_nonzero(each)) for key, each in hit.items()}
    return Row(
        name,
        n,
        {key: 100 * hits / n for key, hits in within.items()},
        {key: wilson(hits, n) for key, hits in within.items()},
        float(np.median(counted)),
        float(counted.mean()),
        float(np.where(np.isnan(distance), 0.0, geo.geoguessr_score(counted)).mean()),
        more or {},
    )


def balanced(label: NDArray[np.int64], right: NDArray[np.bool_]) -> float:
    """Percent in the right class, each class with the same say; photos outside (-1) left out."""
    inside = label >= 0
    if not inside.any():
        return math.nan
    count = np.bincount(label[inside])
    hits = np.bincount(label[inside], weights=right[inside])
    return float(100 * (hits[count > 0] / count[count > 0]).mean())


def positions(table: pd.DataFrame, prefix: str = "") -> Points:
    """Latitude and longitude of each row."""
    return table[[f"{prefix}latitude", f"{prefix}longitude"]].to_numpy(dtype=np.float64)


def distance_column(row: str) -> str:
    """The column of the predictions with the distances (km, NaN for a miss) of a row by name."""
    return "distance_km" if row == "model" else f"{row}_km"
