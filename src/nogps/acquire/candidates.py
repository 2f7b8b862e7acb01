"""Lists of candidates: limits, draws, and the table of them."""

from dataclasses import fields
from operator import attrgetter

import numpy as np
import pandas as pd

from nogps.acquire.area import region_weights
from nogps.acquire.candidate import Candidate
from nogps.acquire.limits import Thinning
from nogps.acquire.service import SearchSpec
from nogps.base.errors import InputError
from nogps.earth import s2


def within_limits(
    found: list[Candidate], search: SearchSpec
) -> tuple[list[Candidate], dict[str, int]]:
    """The candidates that are neither excluded nor over a limit, and the numbers of the others.

    Which of those that share a limit are kept is drawn by the seed.
    """
    kept = search.excluded.without(found)
    left = {"excluded": len(found) - len(kept)}
    if not search.limits:
        return kept, left
    thinning = Thinning(search.limits)
    by_chance = np.random.default_rng(search.seed).permutation(len(kept))
    taken = sorted(number for number in by_chance if thinning.takes(kept[number]))
    return [kept[number] for number in taken], left | thinning.rejections


def sample_photos(table: pd.DataFrame, search: SearchSpec) -> pd.DataFrame:
    """As many rows of a table of candidates, in its order, as photos are wanted; 0 takes all.

    Drawn without replacement, one after the other, each time in proportion to the weight of the
    region that a candidate lies in; 1 in regions without one. With more photos the same seed draws
    the same ones and more.

    Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006: the largest
    u ** (1 / weight) for u uniform, which are the smallest -log(u) / weight.
    """
    if search.weights and search.photos >= len(table):
        raise InputError(
            f"sampling.photos: {search.photos} keeps all {len(table)} candidates, and there is "
            "nothing to weigh; keep fewer, or have more of them to choose from"
        )
    latitude, longitude = s2.positions(table["latitude"], table["longitude"])
    if search.photos == 0 or search.photos >= len(table):
        return table
    weight = region_weights(latitude, longitude, search.weights) if search.weights else 1.0
    keys = np.random.default_rng(search.seed).standard_exponential(len(table)) / weight
    return table.iloc[np.sort(np.argsort(keys, kind="stable")[: search.photos])]


def table_of(found: list[Candidate]) -> pd.DataFrame:
    """A row a candidate, a column a field of Candidate."""
    names = [each.name for each in fields(Candidate)]
    table = pd.DataFrame(map(attrgetter(*names), found), columns=names)
    return table.astype(dict.fromkeys(("heading", "field_of_view"), "float64"))
