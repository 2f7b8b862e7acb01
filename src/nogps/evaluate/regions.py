"""Accuracy in each region of the Earth, and the weights by which more photos are drawn there."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nogps.earth import geo, s2
from nogps.evaluate.analysis import accuracy

PRIOR = 20  # photos with the overall score that each region is given beside its own
MOST = 4.0  # times as often as the average, or as seldom, that a region is asked for


def by_region(
    latitude: ArrayLike, longitude: ArrayLike, distance_km: ArrayLike, level: int
) -> pd.DataFrame:
    """A row for each S2 cell of `level` that holds photos, sorted by `region`, its token.

    `latitude` and `longitude` are where photos were taken, in degrees, `distance_km` how far off
    the guesses are, NaN where there is none: a miss with score 0. Each of shape (n,).

    Columns: region; latitude, longitude (the spherical mean of its photos); what `accuracy` gives;
    geoguessr (mean score); weight (see `weights`).
    """
    latitude, longitude = s2.positions(latitude, longitude)
    distance = np.asarray(distance_km, dtype=np.float64)
    score = np.where(np.isnan(distance), 0.0, geo.geoguessr_score(distance))
    ids, region = np.unique(s2.parent(s2.cell_ids(latitude, longitude), level), return_inverse=True)
    rows = []
    for number, cell in enumerate(ids):
        inside = region == number
        mean = geo.spherical_mean(latitude[inside], longitude[inside])
        row = {"region": s2.to_token(cell), "latitude": mean[0], "longitude": mean[1]}
        row |= accuracy(pd.Series(distance[inside]))
        rows.append({**row, "geoguessr": float(score[inside].mean())})
    table = pd.DataFrame(rows)
    return table.assign(weight=weights(table["n"].to_numpy(), table["geoguessr"].to_numpy()))


def weights(n: NDArray[np.int64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much more often a photo of each region should be drawn; the mean over photos is 1.

    From the photos `n` and mean scores of the regions, shape (regions,). A region's score is first
    drawn towards the overall one, as if PRIOR more of its photos had that, so that few photos move
    it little. A region with half the overall score gets twice the weight, within a factor of MOST.
    """
    overall = np.average(score, weights=n)
    if overall == 0:
        return np.ones(len(n))
    shrunk = (n * score + PRIOR * overall) / (n + PRIOR)
    weight = np.clip(overall / shrunk, 1 / MOST, MOST)
    return weight / np.average(weight, weights=n)
