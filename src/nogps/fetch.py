"""Fetch every candidate once into tar shards, and account for each of them.

Work goes on in a scratch folder that outlives a killed run:

    scratch/<block>.tar, <block>.parquet   a finished block of candidates: photos, and what became
                                           of each candidate
    scratch/loose/<sha256 of a url>        photos of the block in progress

A block is written in the candidates' order, so the shards are a function of the candidates and
of the bytes received, however many threads there were and however often it was interrupted.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from nogps import images, store
from nogps.files import replacing
from nogps.sources import Source, Status


@dataclass(frozen=True)
class Outcome:
    """What became of one candidate."""

    photo_id: str
    url: str
    status: str
    shard: str = ""
    offset: int = 0
    size: int = 0
    width: int = 0
    height: int = 0
    sha256: str = ""

    @property
    def place(self) -> store.Place:
        """Where its bytes lie."""
        return store.Place(self.shard, self.offset, self.size)


def fetch_all(
    candidates: pd.DataFrame,
    source: Source,
    scratch: Path,
    folder: Path,
    *,
    threads: int,
    min_side: int,
) -> pd.DataFrame:
    """Fetch what `scratch` does not hold yet; then fill `folder` with shards and their index.

    One row a candidate, in their order: photo_id, status, shard, offset, size, width, height,
    sha256. Photos with a side under `min_side` pixels are too_small; of photos with the same
    bytes all but the first are duplicates.
    """
    fetcher = _Fetcher(source, scratch, min_side)
    wanted = list(zip(candidates["photo_id"], candidates["url"], strict=True))
    blocks: list[str] = []
    outcomes: list[Outcome] = []
    bar = tqdm(total=len(wanted), desc="download", unit="photo")
    pool = ThreadPoolExecutor(threads)
    try:
        for start in range(0, len(wanted), store.SHARD_SIZE):
            block = wanted[start : start + store.SHARD_SIZE]
            name = fetcher.block(block, pool, bar)
            blocks.append(name)
            outcomes += _read_block(scratch, name)
    finally:
        pool.shutdown(cancel_futures=True)  # what is under way is kept, the rest not begun
        bar.close()
    return _publish(scratch, folder, blocks, outcomes)


class _Fetcher:
    def __init__(self, source: Source, scratch: Path, min_side: int):
        self.source = source
        self.scratch = scratch
        self.loose = scratch / "loose"
        self.min_side = min_side
        self.loose.mkdir(parents=True, exist_ok=True)
        self.shards = store.Shards(scratch)
        self.known = {each.url: each for each in _finished(scratch)}
        self.seen: set[str] = set()  # sha256 of the photos kept so far

    def block(self, wanted: list[tuple[str, str]], pool: ThreadPoolExecutor, bar: tqdm) -> str:
        """Fetch a block unless it is there already; return its name."""
        fetched = []
        for outcome in pool.map(lambda each: self.outcome(*each), wanted):
            fetched.append(outcome)
            bar.update()
        settled = [self.without_twins(outcome) for outcome in fetched]
        content = repr([(each.photo_id, each.url, str(each.status)) for each in settled])
        name = hashlib.sha256(content.encode()).hexdigest()[:32]
        if not (self.scratch / f"{name}.parquet").exists():
            self.write(name, settled)
        for _, url in wanted:
            self.loose_path(url).unlink(missing_ok=True)
        return name

    def outcome(self, photo_id: str, url: str) -> Outcome:
        """From an earlier run where it settled the matter, else from the source."""
        known = self.known.get(url)
        if known and known.status in (Status.OK, Status.TOO_SMALL, Status.DUPLICATE):
            large_enough = min(known.width, known.height) >= self.min_side
            if known.status == Status.OK:
                status = Status.OK if large_enough else Status.TOO_SMALL
                return replace(known, photo_id=photo_id, status=status)
            if large_enough == (known.status == Status.DUPLICATE):
                return replace(known, photo_id=photo_id)
        elif known and known.status != Status.FAILED:
            return replace(known, photo_id=photo_id)
        return self.fetch(photo_id, url)

    def fetch(self, photo_id: str, url: str) -> Outcome:
        path = self.loose_path(url)
        body = path.read_bytes() if path.exists() else b""
        if not body:
            fetched = self.source.fetch(url)
            if fetched.status is not Status.OK:
                return Outcome(photo_id, url, fetched.status)
            body = fetched.body
            with replacing(path, durable=False) as temporary:
                temporary.write_bytes(body)
        try:
            width, height = images.size_of(body)
        except images.BadImage:
            return Outcome(photo_id, url, Status.NOT_AN_IMAGE)
        status = Status.OK if min(width, height) >= self.min_side else Status.TOO_SMALL
        return Outcome(photo_id, url, status, width=width, height=height, sha256=store.sha256(body))

    def without_twins(self, outcome: Outcome) -> Outcome:
        """The same, but a duplicate if an earlier candidate has the same bytes."""
        if outcome.status == Status.OK and outcome.sha256 in self.seen:
            return replace(outcome, status=Status.DUPLICATE)
        if outcome.status == Status.DUPLICATE and outcome.sha256 not in self.seen:
            # Its twin is no candidate any more, and only the twin's bytes were kept.
            outcome = self.fetch(outcome.photo_id, outcome.url)
        if outcome.status == Status.OK:
            self.seen.add(outcome.sha256)
        return outcome

    def write(self, name: str, outcomes: list[Outcome]) -> None:
        kept = [each for each in outcomes if each.status == Status.OK]
        places = store.write_shard(self.scratch / f"{name}.tar", map(self.member, kept))
        where = {each.url: place for each, place in zip(kept, places, strict=True)}
        rows = [replace(each, **asdict(where.get(each.url, store.NOWHERE))) for each in outcomes]
        with replacing(self.scratch / f"{name}.parquet") as path:
            pd.DataFrame([asdict(each) for each in rows]).to_parquet(path, index=False)

    def member(self, outcome: Outcome) -> tuple[str, bytes]:
        if outcome.shard:
            body = self.shards.read(outcome.place)
        else:
            body = self.loose_path(outcome.url).read_bytes()
        return store.member_name(outcome.photo_id, images.suffix_of(body)), body

    def loose_path(self, url: str) -> Path:
        return self.loose / hashlib.sha256(url.encode()).hexdigest()


def _read_block(scratch: Path, name: str) -> list[Outcome]:
    table = pd.read_parquet(scratch / f"{name}.parquet")
    return [Outcome(*row) for row in table.itertuples(index=False, name=None)]


def _finished(scratch: Path) -> Iterator[Outcome]:
    for path in sorted(scratch.glob("*.parquet")):
        yield from _read_block(scratch, path.stem)


def _publish(
    scratch: Path, folder: Path, blocks: list[str], outcomes: list[Outcome]
) -> pd.DataFrame:
    """Give the finished blocks their places among the outs, and forget all others."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    shard_of = {}
    for number, name in enumerate(blocks):
        shard_of[f"{name}.tar"] = store.shard_name(number)
        _link(scratch / f"{name}.tar", folder / store.shard_name(number))
    for path in scratch.iterdir():
        if path.is_file() and path.stem not in blocks:
            path.unlink()
    index = pd.DataFrame([asdict(each) for each in outcomes]).drop(columns="url")
    index["shard"] = index["shard"].map(shard_of).fillna("")
    store.write_index(folder, index)
    return index


def _link(existing: Path, new: Path) -> None:
    try:
        os.link(existing, new)  # the same bytes under two names: no second copy on the disk
    except OSError:
        shutil.copyfile(existing, new)
