"""Stage sample: which photos there are, where each was taken, who owns it, how to fetch it.

Writes data/candidates.parquet, a row a photo, and metrics/sample.json. What a search has found so
far lies in data/.fetched, so it goes on where it was stopped. Photos and owners named in the file
`exclude` are left out, and with a photo all others of its owner. The rest is thinned out by
the limits of `sampling`, and sampling.photos are drawn, evenly or by sampling.weights.
"""

import pandas as pd

from nogps.acquire.candidates import sample_photos, table_of, within_limits
from nogps.acquire.sources import source_type
from nogps.base.errors import InputError
from nogps.base.files import replacing
from nogps.pipeline import paths, run
from nogps.pipeline.open_source import open_source
from nogps.pipeline.params import Params
from nogps.pipeline.sampling import search_spec


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


if __name__ == "__main__":
    run.main(sample, __doc__)
