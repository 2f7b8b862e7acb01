"""Which of the candidates to keep: evenly, or more where an earlier model was worst."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nogps import s2
from nogps.errors import InputError

FOLD = "val"  # the test fold must not steer what is trained on


def read_weights(path: Path) -> dict[str, float]:
    """Weights by region, an S2 token, from the validation rows of what eval wrote.

    Raises:
        InputError: the file is not there, or is no such table.
    """
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


def draw(
    latitude: ArrayLike,
    longitude: ArrayLike,
    photos: int,
    weights: Mapping[str, float] | None,
    seed: int,
) -> NDArray[np.int64]:
    """Indices, increasing, of so many of the candidates at these positions in degrees (n,).

    Drawn without replacement, one after the other, each time in proportion to the weight of the
    region that a candidate lies in (S2 tokens of one level); 1 in regions that `weights` does not
    know, and everywhere without it. With more `photos` the same seed draws the same ones and more;
    0, or as many as there are, takes all.

    Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006: the largest
    u ** (1 / weight) for u uniform, which are the smallest -log(u) / weight.

    Raises:
        InputError: a position is off the globe.
    """
    latitude, longitude = s2.positions(latitude, longitude)
    if photos == 0 or photos >= len(latitude):
        return np.arange(len(latitude))
    weight = np.ones(len(latitude))
    if weights:
        known = np.array([s2.from_token(token) for token in weights])
        regions = s2.parent(s2.cell_ids(latitude, longitude), s2.level(known[:1]))
        by_region = dict(zip(known.tolist(), weights.values(), strict=True))
        weight = np.array([by_region.get(region, 1.0) for region in regions.tolist()])
    keys = np.random.default_rng(seed).standard_exponential(len(latitude)) / weight
    return np.sort(np.argsort(keys, kind="stable")[:photos])
