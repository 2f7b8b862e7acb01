"""Stage sample: which photos there are, where each was taken, who owns it, how to fetch it.

Writes data/candidates.parquet, a row a photo, and metrics/sample.json. What a search has found so
far lies in data/.fetched, so it goes on where it was stopped. Photos and owners named in the file
`exclude` are left out, and with a photo all others of its owner. The rest is thinned out by
the limits of `sampling`, and sampling.photos are drawn, evenly or by sampling.weights.
"""

from dataclasses import asdict, fields

import numpy as np
import pandas as pd

from nogps.acquire.candidate import Candidate
from nogps.acquire.exclude import Excluded
from nogps.acquire.limits import Thinning, draw
from nogps.base.errors import InputError
from nogps.base.files import replacing
from nogps.pipeline import paths, run
from nogps.pipeline.open_source import is_open, limits, open_source, photos_wanted, region_weights
from nogps.pipeline.params import Params


def sample(params: Params) -> None:
    """List the photos of the source."""
    weights = region_weights(params)
    excluded = Excluded.read(params.exclude)
    with open_source(params) as (source, _):
        candidates = list(source.candidates())
        counts = source.counted()
    kept = candidates
    if not is_open(params):  # whose search has kept to the list and to the limits
        kept = excluded.without(candidates)
        counts["excluded"] = len(candidates) - len(kept)
        kept, left = thinned(params, kept)
        counts |= left
    if not kept:
        raise InputError(
            f"source: {params.source} has no photo that matches, is within the limits of sampling "
            "and is not excluded; ask for more"
        )
    found = table(kept)
    if not is_open(params):
        found = drawn(params, found, weights)
    with replacing(paths.CANDIDATES) as path:
        found.to_parquet(path, index=False)
    people = found["owner"].replace("", pd.NA).nunique()
    counts |= {"not_drawn": len(kept) - len(found), "candidates": len(found)}
    run.write_metrics("sample", counts | {"owners": people, "dollars": 0.0})
    print(f"{len(found)} candidates of {people} owners in {paths.CANDIDATES}")


def thinned(params: Params, found: list[Candidate]) -> tuple[list[Candidate], dict]:
    """The photos within the limits of sampling, and how many are not, by the reason."""
    thinning = Thinning(limits(params))
    if not thinning.limits:
        return found, {}
    by_chance = np.random.default_rng(params.seed).permutation(len(found))
    taken = sorted(number for number in by_chance if thinning.takes(found[number]))
    return [found[number] for number in taken], asdict(thinning.left)


def table(found: list[Candidate]) -> pd.DataFrame:
    """A row a candidate."""
    columns = {
        field.name: [getattr(each, field.name) for each in found] for field in fields(Candidate)
    }
    numbers = dict.fromkeys(("heading", "field_of_view"), "float64")
    return pd.DataFrame(columns).astype(numbers)


def drawn(params: Params, found: pd.DataFrame, weights: dict[str, float] | None) -> pd.DataFrame:
    """As many of the candidates as are wanted."""
    photos = photos_wanted(params)
    if weights and photos >= len(found):
        raise InputError(
            f"sampling.photos: {photos} keeps all {len(found)} candidates, and there is nothing to "
            "weigh; keep fewer, or have more of them to choose from"
        )
    return found.iloc[draw(found["latitude"], found["longitude"], photos, weights, params.seed)]


if __name__ == "__main__":
    run.main(sample, __doc__)
