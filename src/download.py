"""Stage download: fetch each candidate once into tar shards; account for every one.

Writes data/photos/shard-*.tar (the original bytes), data/photos/index.parquet (a row a candidate
with its status) and metrics/download.json. What it has fetched so far lies in data/.fetched, so
it goes on where it was stopped, and fetches no photo twice.
"""

import pandas as pd

import stage
from nogps.errors import InputError
from nogps.fetch import fetch_all
from nogps.sources import Status
from source import open_source, scratch


def download(params: stage.Params) -> None:
    """Fetch what is not there yet."""
    candidates = pd.read_parquet(stage.CANDIDATES)
    with open_source(params) as source:
        index = fetch_all(
            candidates,
            source,
            scratch(params),
            stage.PHOTOS,
            threads=params.download.threads,
            min_side=params.download.min_side,
        )
    counts = index["status"].value_counts()
    stage.write_metrics(
        "download",
        {
            "candidates": len(index),
            "status": {status: int(counts.get(status, 0)) for status in Status},
            "megabytes": round(float(index["size"].sum()) / 1e6, 3),
            "dollars": 0.0,
        },
    )
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    print(f"{len(index)} candidates: {told}")
    if counts.get(Status.FAILED):
        print("to try those that failed again: dvc repro --force --single-item download")
    if not counts.get(Status.OK):
        raise InputError(
            f"not one of {len(index)} candidates could be fetched ({told}); look at "
            f"{stage.PHOTOS}/index.parquet"
        )


if __name__ == "__main__":
    stage.main(download, __doc__)
