"""Stage sample: which photos there are, where each was taken, who owns it, how to fetch it.

Writes data/candidates.parquet, a row a photo, and metrics/sample.json.
"""

from dataclasses import asdict

import pandas as pd

import stage
from nogps.errors import InputError
from nogps.files import replacing
from source import open_source


def sample(params: stage.Params) -> None:
    """List the photos of the source."""
    with open_source(params) as source:
        found = pd.DataFrame([asdict(candidate) for candidate in source.candidates()])
        counts = source.counted()
    if found.empty:
        raise InputError(f"source: {params.source} has no photo that matches; ask for more")
    found["heading"] = found["heading"].astype("float64")
    with replacing(stage.CANDIDATES) as path:
        found.to_parquet(path, index=False)
    owners = found["owner"].replace("", pd.NA).nunique()
    counts |= {"candidates": len(found), "owners": owners, "dollars": 0.0}
    stage.write_metrics("sample", counts)
    print(f"{len(found)} candidates of {owners} owners in {stage.CANDIDATES}")


if __name__ == "__main__":
    stage.main(sample, __doc__)
