"""The evaluation protocol: distances, hits, intervals.

A hit is a great-circle distance <= radius (see `geo`). Every photo counts: one that could not be
read or located has distance NaN and is a miss at every radius, in the median and the mean as far
away as the Earth allows, with score 0.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nogps.earth import geo

Points = NDArray[np.float64]  # latitude and longitude, shape (n, 2); NaN where there is no guess


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


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share, in percent (Wilson 1927)."""
    z = 1.959963984540054
    share = hits / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((centre + sign * spread) / (1 + z * z / n) for sign in (-1, 1))
    # Exactly so at the ends, where rounding would leave a trace.
    return 100 * low if hits else 0.0, 100 * high if hits < n else 100.0


def row(
    name: str,
    distance: NDArray[np.float64],
    more: dict[str, float] | None = None,
    **also: NDArray[np.bool_],
) -> Row:
    """The table's line for distances in km, shape (n,), NaN for photos without an answer.

    `also` are further hits by name, such as `right_class`: whether truth and guess lie in the same
    class. `more` are numbers that stand with the row.
    """
    n = len(distance)
    counted = np.where(np.isnan(distance), geo.FARTHEST_KM, distance)
    within = {
        key: int(np.count_nonzero(distance <= radius)) for key, radius in geo.RADII_KM.items()
    }
    within |= {key: int(np.count_nonzero(hit)) for key, hit in also.items()}
    return Row(
        name=name,
        n=n,
        hits={key: 100 * hits / n for key, hits in within.items()},
        intervals={key: wilson(hits, n) for key, hits in within.items()},
        median_km=float(np.median(counted)),
        mean_km=float(counted.mean()),
        geoguessr=float(np.where(np.isnan(distance), 0.0, geo.geoguessr_score(counted)).mean()),
        more=more or {},
    )


def numbers(row: Row) -> dict:
    """A row as JSON holds it: percent, kilometres, and the 95 % intervals."""
    figures = {**row.hits, "median_km": row.median_km, "mean_km": row.mean_km}
    figures |= {"geoguessr": row.geoguessr, **row.more}
    return {
        "n": row.n,
        **{key: round(value, 6) for key, value in figures.items() if math.isfinite(value)},
        "ci95": {key: [round(end, 6) for end in ends] for key, ends in row.intervals.items()},
    }


def balanced(label: NDArray[np.int64], right: NDArray[np.bool_]) -> float:
    """Percent in the right class, each class with the same say; photos outside (-1) left out."""
    inside = label >= 0
    if not inside.any():
        return math.nan
    count = np.bincount(label[inside])
    hits = np.bincount(label[inside], weights=right[inside])
    return float(100 * (hits[count > 0] / count[count > 0]).mean())


def distances(truth: Points, guess: Points) -> NDArray[np.float64]:
    """Kilometres between truths and guesses, NaN where there is no guess."""
    return geo.distance_km(truth[:, 0], truth[:, 1], guess[:, 0], guess[:, 1])
