"""Stage sample: which photos there are, where each was taken, who owns it, how to fetch it.

Writes data/candidates.parquet, a row a photo, and metrics/sample.json. What a search has found so
far lies in data/.fetched, so it goes on where it was stopped. Photos and owners named in the file
`exclude` are left out, and with a photo all others of its owner. The rest is thinned out by
the limits of `sampling`, and sampling.photos are drawn, evenly or by sampling.weights.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from nogps.acquire.area import Region
from nogps.acquire.candidates import sample_photos, table_of, within_limits
from nogps.acquire.exclude import Excluded
from nogps.acquire.limits import Limits, read_weights
from nogps.acquire.service import SearchSpec
from nogps.acquire.sources import source_type
from nogps.base.errors import InputError
from nogps.base.files import replacing
from nogps.pipeline import paths, run
from nogps.pipeline.open_source import open_source
from nogps.pipeline.params import Params


def sample(params: Params) -> None:
    """List the photos of the source."""
    search = search_spec(params)
    with open_source(params, search) as (source, _):
        kept = list(source.candidates())
        counts = source.counted()
    by_area = source_type(params.source).by_area  # then the search has kept to list and limits
    if not by_area:
        kept, left = within_limits(kept, search)
        counts |= left
    if not kept:
        raise InputError(
            f"source: {params.source} has no photo that matches, is within the limits of sampling "
            "and is not excluded; ask for more"
        )
    candidates = table_of(kept)
    if not by_area:
        candidates = sample_photos(candidates, search)
    with replacing(paths.CANDIDATES) as path:
        candidates.to_parquet(path, index=False)
    owners = candidates["owner"].replace("", pd.NA).nunique()
    counts |= {"not_drawn": len(kept) - len(candidates), "candidates": len(candidates)}
    run.write_metrics("sample", **counts, owners=owners, dollars=0.0)
    print(f"{len(candidates)} candidates of {owners} owners in {paths.CANDIDATES}")


def search_spec(params: Params) -> SearchSpec:
    """What `sampling` asks for, with the source's own limits where that says null."""
    sampling, own = params.sampling, source_type(params.source).own_limits
    if sampling.taken_from and sampling.taken_to and sampling.taken_from > sampling.taken_to:
        raise InputError(
            f"sampling.taken_from ({sampling.taken_from}) is after sampling.taken_to "
            f"({sampling.taken_to}); swap them"
        )
    given: dict[str, Any] = {**own, **sampling.model_dump(exclude_none=True)}
    limited = ("per_cell", "per_owner", "per_sequence", "spacing_m")
    photos = given.get("photos", 0)
    return SearchSpec(
        weights=_region_weights(params, photos),
        limits=Limits(
            Region.read(sampling.region),
            str(sampling.taken_from or ""),
            str(sampling.taken_to or ""),
            sampling.cell_level,
            **{name: given.get(name, 0) for name in limited},
        ),
        licences=frozenset(sampling.licences),
        places=sampling.places,
        photos=photos,
        calls=sampling.calls,
        seed=params.seed,
        excluded=Excluded.read(params.exclude),
    )


def _region_weights(params: Params, photos: int) -> dict[str, float]:
    """The weights in the file that sampling.weights names, if any."""
    sampling, by_area = params.sampling, source_type(params.source).by_area
    if by_area and bool(sampling.weights) != (sampling.places == "weights"):
        raise InputError(
            "sampling.places and sampling.weights belong together: set places: weights and "
            "weights: to a copy of metrics/regions.csv, or neither"
        )
    if not sampling.weights:
        return {}
    path = Path(sampling.weights)
    if path.resolve() == paths.REGIONS.resolve():
        raise InputError(
            f"sampling.weights: {path} is written anew by each run; copy it and name the copy"
        )
    if not by_area and not photos:
        raise InputError(
            "sampling.weights: without sampling.photos all candidates are kept and there is "
            "nothing to weigh; say how many to keep"
        )
    return read_weights(path)


if __name__ == "__main__":
    run.main(sample, __doc__)
