"""Error analysis: what a model gets wrong, counted from the predictions of `measure`.

Every share is percent, with its Wilson 95 % interval in the columns `..._low` and `..._high`.
"""

from itertools import pairwise

import numpy as np
import pandas as pd

from nogps.earth.geo import RADII_KM
from nogps.evaluate.protocol import wilson


def confused_pairs(predictions: pd.DataFrame, most: int) -> pd.DataFrame:
    """The pairs of classes that most photos of the one were put into the other.

    A row a pair, at most `most`: label, guess_label, `photos` of the first that were put into the
    second, `of` how many (answered or not), `share`, `back` how many of the second in the first.
    """
    inside = predictions[predictions["label"] >= 0]
    of = inside["label"].value_counts()
    wrong = inside[(inside["guess_label"] >= 0) & (inside["guess_label"] != inside["label"])]
    photos = wrong.groupby(["label", "guess_label"]).size()
    pairs = photos.rename("photos").reset_index()
    pairs = pairs.sort_values("photos", ascending=False, kind="stable").head(most)
    pairs["of"] = of.reindex(pairs["label"]).to_numpy(dtype=int)
    other_way = list(zip(pairs["guess_label"], pairs["label"], strict=True))
    pairs["back"] = [int(photos.get(pair, 0)) for pair in other_way]
    return _with_share(pairs, "photos", "of").reset_index(drop=True)


def attractors(predictions: pd.DataFrame, classes: pd.DataFrame, most: int) -> pd.DataFrame:
    """The classes into which most photos of elsewhere were put; outside every class is elsewhere.

    A row a class, at most `most`: label, `wrong` photos put there, `right` ones, `share` of all
    wrong answers, and `train_share` of the training photos.
    """
    answered = predictions[predictions["guess_label"] >= 0]
    is_wrong = answered["guess_label"] != answered["label"]
    wrong = answered.loc[is_wrong, "guess_label"].value_counts().rename("wrong")
    cells = wrong.rename_axis("label").reset_index()
    cells = cells.sort_values(["wrong", "label"], ascending=[False, True]).head(most)
    right = answered.loc[~is_wrong, "label"].value_counts()
    cells["right"] = right.reindex(cells["label"], fill_value=0).to_numpy(dtype=int)
    cells["of"] = int(is_wrong.sum())
    photos = classes["photos"].to_numpy()
    cells["train_share"] = 100 * photos[cells["label"]] / photos.sum()
    return _with_share(cells, "wrong", "of").reset_index(drop=True)


def by_nearest_train(predictions: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by how far the nearest training photo was taken.

    A row a range of distances that holds photos: `above_km` < distance <= `up_to_km` (the first
    holds 0 too), and what `accuracy` gives.
    """
    nearest = predictions["nearest_train_km"].to_numpy()
    rows = []
    for above, up_to in pairwise([-np.inf, *RADII_KM.values(), np.inf]):
        chosen = predictions["distance_km"][(nearest > above) & (nearest <= up_to)]
        if len(chosen):
            rows.append({"above_km": max(above, 0.0), "up_to_km": up_to, **accuracy(chosen)})
    return pd.DataFrame(rows)


def by_confidence(predictions: pd.DataFrame, groups: int = 5) -> pd.DataFrame:
    """Accuracy of equally large groups of the answered photos, the least confident first.

    A row a group: `from` and `to`, its lowest and highest confidence, and what `accuracy` gives.
    """
    answered = predictions.dropna(subset="confidence").sort_values("confidence", kind="stable")
    rows = []
    for chosen in np.array_split(np.arange(len(answered)), groups):
        if len(chosen):
            group = answered.iloc[chosen]
            ends = {"from": group["confidence"].iloc[0], "to": group["confidence"].iloc[-1]}
            rows.append({**ends, **accuracy(group["distance_km"])})
    return pd.DataFrame(rows)


def accuracy(distance: pd.Series) -> dict[str, float]:
    """How many photos, and percent within each radius, of distances in km; NaN is a miss."""
    row: dict[str, float] = {"n": len(distance)}
    for key, radius in RADII_KM.items():
        hits = int((distance <= radius).sum())
        row[key] = 100 * hits / len(distance)
        row[f"{key}_low"], row[f"{key}_high"] = wilson(hits, len(distance))
    return row


def reliability(predictions: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """How often the most probable class is right, by how probable it was said to be.

    Over the answered photos inside a class, in bins of equal width (Guo et al. 2017). A row a bin
    that holds photos: n, `confidence` its mean in percent, `right` photos, `share` of them.
    """
    known = predictions[predictions["label"] >= 0].dropna(subset="confidence")
    right = known["label"] == known["guess_label"]
    inside = np.minimum((known["confidence"].to_numpy() * bins).astype(int), bins - 1)
    table = pd.DataFrame({"confidence": 100 * known["confidence"], "right": right})
    table = table.groupby(inside).agg(
        n=("right", "size"), confidence=("confidence", "mean"), right=("right", "sum")
    )
    return _with_share(table, "right", "n").reset_index(drop=True)


def expected_calibration_error(bins: pd.DataFrame) -> float:
    """The mean gap in percentage points between confidence and right in bins; NaN without one."""
    if bins.empty:
        return float("nan")
    return float(np.average((bins["confidence"] - bins["share"]).abs(), weights=bins["n"]))


def coverage(predictions: pd.DataFrame) -> pd.DataFrame:
    """Whether the radii hold what they promise, over the answered photos.

    A row a radius: `promised` percent, its median `radius_km`, n, `within` photos that it holds,
    `share` of them; no row without an answer.
    """
    rows = []
    for promised in (50, 90):
        radius = predictions[f"radius_{promised}_km"]
        within = int((predictions["distance_km"] <= radius).sum())  # NaN without an answer: never
        rows.append((promised, radius.median(), radius.count(), within))
    table = pd.DataFrame(rows, columns=["promised", "radius_km", "n", "within"])
    return _with_share(table[table["n"] > 0], "within", "n")


def _with_share(table: pd.DataFrame, hits: str, of: str) -> pd.DataFrame:
    ends = [wilson(int(k), int(n)) for k, n in zip(table[hits], table[of], strict=True)]
    low, high = np.array(ends).reshape(-1, 2).T
    return table.assign(share=100 * table[hits] / table[of], share_low=low, share_high=high)
