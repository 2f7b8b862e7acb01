"""Stage download: fetch each candidate once into tar shards; account for every one.

Writes data/photos/shard-*.tar (the original bytes), data/photos/index.parquet (a row a candidate
with its status), data/attribution.csv (whom to credit for each photo) and metrics/download.json.
What it has fetched and paid so far lies in data/.fetched, so it goes on where it was stopped, and
fetches no photo twice.
"""

import sys
from collections import Counter
from urllib.parse import urlsplit

import pandas as pd

from nogps.acquire.budget import OverBudget
from nogps.acquire.candidate import Status
from nogps.acquire.download import gather
from nogps.acquire.ledger import unfetched
from nogps.base.errors import InputError
from nogps.photos import shards
from nogps.pipeline import paths, run
from nogps.pipeline.open_source import crawl_rate, is_open, open_source, purse, scratch
from nogps.pipeline.params import Params, drawn
from nogps.rights import credits, licences

FETCHED = [status for status in Status if status is not Status.UNREADABLE]  # pack finds those
ANGLES = ["heading", "field_of_view"]  # of a picture that may be a panorama


def download(params: Params) -> None:
    """Fetch what is not there yet."""
    columns = ["photo_id", "url", "owner", *ANGLES]
    candidates = pd.read_parquet(paths.CANDIDATES, columns=columns)
    if params.source == "streetview":
        _tell_price(params, candidates)
    elif is_open(params):
        _tell_size(params, candidates)
    with open_source(params) as (source, http):
        try:
            index = gather(
                candidates,
                source,
                scratch(params),
                paths.PHOTOS,
                http=http(),
                min_side=params.download.min_side,
            )
        except OverBudget:
            calls, dollars = _paid(params, candidates)
            bill = {"candidates": len(candidates), "calls": calls, "dollars": dollars}
            run.write_metrics("download", bill)
            raise
    # All that pack needs to know, so that it does not run again when owners or positions change.
    shards.write_index(paths.PHOTOS, index.join(candidates[ANGLES]))
    photos = pd.read_parquet(paths.CANDIDATES, columns=[*credits.COLUMNS, "url"])
    photos = photos[photos["photo_id"].isin(index.loc[index["status"] == Status.OK, "photo_id"])]
    credited = credits.table(photos)
    credits.write(paths.ATTRIBUTION, credited)
    counts = index["status"].value_counts()
    calls, dollars = _paid(params, candidates)
    run.write_metrics(
        "download",
        {
            "candidates": len(index),
            "status": {status: int(counts.get(status, 0)) for status in FETCHED},
            "megabytes": round(float(index.loc[index["shard"] != "", "size"].sum()) / 1e6, 3),
            "calls": calls,  # that are paid for, ever, for these candidates
            "dollars": dollars,
        },
    )
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    print(f"{len(index)} candidates: {told}")
    _check_enough(params, counts, told)
    missing = credits.without_credit(credited)
    if missing and not drawn(params):
        print(f"{missing:,} photos lack an author or a link, though their licence asks for both")
    model = licences.for_model(photos, drawn=drawn(params))
    print(f"photos under {licences.counted(photos['licence'])}")
    print(f"a model that learns from them must carry: {model}")
    if drawn(params):
        print(f"if they were real photos: {licences.for_model(photos)}")


def _tell_size(params: Params, candidates: pd.DataFrame) -> None:
    """Before anything is fetched: how much it will be, and for how long."""
    missing = unfetched(candidates["url"].tolist(), scratch(params))
    hosts = Counter(urlsplit(url).netloc for url in missing)
    how = crawl_rate(params)
    words = f"{len(missing):,} of {len(candidates):,} pictures to fetch"
    if missing:
        megabytes = len(missing) * how.kilobytes / 1000
        size = f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
        minutes = max(hosts.values()) / how.per_second / 60
        words += f" from {len(hosts)} hosts: roughly {size}"
        if params.world != "simulated":
            words += f", {max(1, round(minutes))} minutes at least, so as not to be a burden"
    print(f"{words}; 0 dollars", flush=True)


def _tell_price(params: Params, candidates: pd.DataFrame) -> None:
    """Before any call is paid: what all of them will cost."""
    missing = len(unfetched(candidates["url"].tolist(), scratch(params)))
    with purse(params) as paying:
        estimate, left = paying.estimate(missing), params.budget_usd - paying.spent_usd
        print(
            f"{missing:,} of {len(candidates):,} photos to fetch: about {estimate:.2f} dollars at "
            f"{params.streetview.usd_per_1000:g} a thousand; of budget_usd "
            f"{params.budget_usd:g}, {paying.spent_usd:.2f} are spent"
        )
        if estimate > left > 0:
            print(
                f"that is more than is left: it will stop after {left:.2f} dollars, before the "
                f"set is whole; fewer streetview.locations would do with it"
            )
        sys.stdout.flush()


def _paid(params: Params, candidates: pd.DataFrame) -> tuple[int, float]:
    """Calls ever paid for these candidates, and the dollars they cost."""
    if params.source != "streetview":
        return 0, 0.0
    with purse(params) as paying:
        return paying.spent_on(candidates["url"])


def _check_enough(params: Params, counts: pd.Series, told: str) -> None:
    if not counts.get(Status.OK):
        raise InputError(
            f"not one of {counts.sum()} candidates could be fetched ({told}); look at "
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
