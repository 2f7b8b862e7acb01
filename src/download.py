"""Stage download: fetch each candidate once into tar shards; account for every one.

Writes data/photos/shard-*.tar (the original bytes), data/photos/index.parquet (a row a candidate
with its status), data/attribution.csv (whom to credit for each photo) and metrics/download.json.
What it has fetched and paid so far lies in data/.fetched, so it goes on where it was stopped, and
fetches no photo twice.
"""

import pandas as pd

from nogps.acquire.budget import OverBudget
from nogps.acquire.candidate import Status
from nogps.acquire.download import gather
from nogps.base.errors import InputError
from nogps.photos import shards
from nogps.pipeline import paths, run
from nogps.pipeline.open_source import open_source, scratch
from nogps.pipeline.params import Params, synthetic
from nogps.rights import credits, licences

FETCHED = [status for status in Status if status is not Status.UNREADABLE]  # pack finds those
ANGLES = ["heading", "field_of_view"]  # of a picture that may be a panorama


def download(params: Params) -> None:
    """Fetch what is not there yet."""
    columns = ["photo_id", "url", "owner", *ANGLES]
    candidates = pd.read_parquet(paths.CANDIDATES, columns=columns)
    index, calls, dollars = _fetched(params, candidates)
    # All that pack needs to know, so that it does not run again when owners or positions change.
    shards.write_index(paths.PHOTOS, index.join(candidates[ANGLES]))
    photos = pd.read_parquet(paths.CANDIDATES, columns=[*credits.COLUMNS, "url"])
    photos = photos[photos["photo_id"].isin(index.loc[index["status"] == Status.OK, "photo_id"])]
    credited = credits.table(photos)
    credits.write(paths.ATTRIBUTION, credited)
    counts = index["status"].value_counts()
    run.write_metrics(
        "download",
        candidates=len(index),
        status={status: counts.get(status, 0) for status in FETCHED},
        megabytes=round(float(index.loc[index["shard"] != "", "size"].sum()) / 1e6, 3),
        calls=calls,  # that are paid for, ever, for these candidates
        dollars=dollars,
    )
    _check_enough(params, counts)
    missing = credits.without_credit(credited)
    if missing and not synthetic(params):
        print(f"{missing:,} photos lack an author or a link, though their licence asks for both")
    print(f"photos under {licences.counted(photos['licence'])}")
    model = licences.for_model(photos, synthetic=synthetic(params))
    print(f"a model that learns from them must carry: {model}")
    if synthetic(params):
        print(f"if they were real photos: {licences.for_model(photos)}")


def _fetched(params: Params, candidates: pd.DataFrame) -> tuple[pd.DataFrame, int, float]:
    """What became of each candidate, the calls ever paid for them, and their cost in dollars."""
    urls, folder, side = candidates["url"].tolist(), scratch(params), params.download.min_side
    with open_source(params) as (source, http):
        if forecast := source.forecast(urls, folder):
            print(forecast, flush=True)
        try:
            index = gather(candidates, source, folder, paths.PHOTOS, http=http(), min_side=side)
        except OverBudget:
            calls, dollars = source.paid(urls)
            run.write_metrics("download", candidates=len(urls), calls=calls, dollars=dollars)
            raise
        return index, *source.paid(urls)


def _check_enough(params: Params, counts: pd.Series) -> None:
    """Print what became of the candidates; InputError where too many failed."""
    statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
    print(f"{counts.sum()} candidates: {statuses}")
    if not counts.get(Status.OK):
        raise InputError(
            f"not one of {counts.sum()} candidates could be fetched ({statuses}); look at "
            f"{paths.PHOTOS}/index.parquet"
        )
    failed = counts.get(Status.FAILED, 0)
    if failed > params.download.max_failed * counts.sum():
        raise InputError(
            f"{failed} of {counts.sum()} photos failed this time; run the same command again to "
            "try those (nothing else is fetched again), or allow more with download.max_failed"
        )
    if failed:
        print("to try those that failed again: dvc repro --force --single-item download")


if __name__ == "__main__":
    run.main(download, __doc__)
