"""Stage sample: which photos there are, where each was taken, who owns it, how to fetch it.

Writes data/candidates.parquet, a row a photo, and metrics/sample.json. What a search has found so
far lies in data/.fetched, so it goes on where it was stopped. Photos and owners named in the file
`exclude` are left out, and with a photo all others of its owner. Of the rest, sampling.photos are
drawn, evenly or by sampling.weights.
"""

from dataclasses import fields
from pathlib import Path

import pandas as pd

import stage
from nogps import sampling
from nogps.errors import InputError
from nogps.files import replacing
from nogps.sources import Candidate
from nogps.sources.exclude import Excluded
from source import open_source


def sample(params: stage.Params) -> None:
    """List the photos of the source."""
    weights = region_weights(params)
    excluded = Excluded.read(params.exclude)
    with open_source(params) as (source, _):
        candidates = list(source.candidates())
        counts = source.counted()
    owners = (excluded.owners | {each.owner for each in candidates if excluded.names(each)}) - {""}
    kept = [each for each in candidates if not excluded.names(each) and each.owner not in owners]
    if not kept:
        raise InputError(
            f"source: {params.source} has no photo that matches and is not excluded; ask for more"
        )
    found = pd.DataFrame(
        {field.name: [getattr(each, field.name) for each in kept] for field in fields(Candidate)}
    )
    found["heading"] = found["heading"].astype("float64")
    if weights and params.sampling.photos >= len(found):
        raise InputError(
            f"sampling.photos: {params.sampling.photos} keeps all {len(found)} candidates, and "
            "there is nothing to weigh; keep fewer, or have more of them to choose from"
        )
    drawn = sampling.draw(
        found["latitude"], found["longitude"], params.sampling.photos, weights, params.seed
    )
    found = found.iloc[drawn]
    with replacing(stage.CANDIDATES) as path:
        found.to_parquet(path, index=False)
    people = found["owner"].replace("", pd.NA).nunique()
    counts |= {
        "excluded": len(candidates) - len(kept),
        "not_drawn": len(kept) - len(found),
        "candidates": len(found),
    }
    stage.write_metrics("sample", counts | {"owners": people, "dollars": 0.0})
    print(f"{len(found)} candidates of {people} owners in {stage.CANDIDATES}")


def region_weights(params: stage.Params) -> dict[str, float] | None:
    """The weights that sampling.weights names, if any."""
    if not params.sampling.weights:
        return None
    path = Path(params.sampling.weights)
    if path.resolve() == stage.REGIONS.resolve():
        raise InputError(
            f"sampling.weights: {path} is written anew by each run; copy it and name the copy"
        )
    if params.sampling.photos == 0:
        raise InputError(
            "sampling.weights: with sampling.photos at 0 all candidates are kept and there is "
            "nothing to weigh; say how many to keep"
        )
    return sampling.read_weights(path)


if __name__ == "__main__":
    stage.main(sample, __doc__)
