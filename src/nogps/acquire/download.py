"""Fetch every candidate once into tar shards, and account for each of them.

Work goes on in a scratch folder that outlives a killed run:

    ledger.sqlite     a row for each URL whose matter is settled
    <block>.tar       the photos of a finished block of candidates, in their order
    spool-<n>.tar     what came for a block in progress, in the order of arrival

A block is written in the candidates' order, so the shards are a function of the candidates and
of the bytes received, however many connections there were and however often it was interrupted.
The shards are the blocks under another name (hard links), and so are DVC's copies of them: the
photos are on the disk once.
"""

import asyncio
import hashlib
import os
import shutil
from collections import Counter, deque
from contextlib import AsyncExitStack
from dataclasses import asdict, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field
from tqdm import tqdm

from nogps.acquire.candidate import Fetched
from nogps.acquire.http import Polite, Unavailable
from nogps.acquire.ledger import Ledger, Outcome, Spool, digest_of
from nogps.acquire.source import Source
from nogps.base import coroutines
from nogps.base.errors import InputError
from nogps.base.settings import Count, Section
from nogps.photos import images, shards
from nogps.photos.status import Status


class Settings(Section):
    """How photos are fetched."""

    connections: Annotated[int, Field(ge=1, le=64)]
    """Photos fetched from one host at the same time."""
    min_side: Count
    """Shortest side in pixels of a photo that is kept; smaller ones are `too_small`."""
    max_failed: Annotated[float, Field(ge=0, le=1)]
    """Share of the photos that may have failed for the next stages to begin."""


BLOCKS_AHEAD = 2  # that may be fetched while the slowest photo of an earlier one is awaited
OWNERS_OF_A_PLACEHOLDER = 5  # so many people do not take the same picture


def gather(
    candidates: pd.DataFrame,
    source: Source,
    scratch: Path,
    folder: Path,
    *,
    http: Polite,
    min_side: int,
) -> pd.DataFrame:
    """Fetch what `scratch` does not hold yet; then fill `folder` with shards and their index.

    `candidates` has the columns photo_id, url and owner. One row a candidate comes back, in their
    order: photo_id, url, status, shard, offset, size, width, height, sha256. Photos with a side
    under `min_side` pixels are too_small; of photos with the same bytes all but the first are
    duplicates; bytes that the source knows as a placeholder, or that came for many owners, are
    placeholders wherever they came from.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(scratch)
    work = _Gathering(source, scratch, ledger, min_side, http)
    index = coroutines.run(work.run(candidates))
    _unmask_placeholders(index, candidates["owner"])
    return _publish(scratch, folder, ledger, index)


class _Gathering:
    def __init__(self, source: Source, scratch: Path, ledger: Ledger, min_side: int, http: Polite):
        self.source = source
        self.scratch = scratch
        self.ledger = ledger
        self.min_side = min_side
        self.http = http
        self.shards = shards.Shards(scratch)
        self.spooled: dict[str, Spool] = {}  # by the digest of a URL
        self.spools = 0
        for path in sorted(scratch.glob("spool-*.tar")):
            self.spools = max(self.spools, int(path.stem.removeprefix("spool-")) + 1)
            spool = Spool(path)
            self.spooled.update(dict.fromkeys(spool.arrived, spool))
            spool.end_if_empty()
        self.seen: set[bytes] = set()  # digests of the photos kept so far
        self.counts: Counter[str] = Counter()
        self.bytes = 0  # fetched in this run
        self.room = asyncio.Semaphore(4 * http.connections)  # photos in memory at a time
        self.refusal: InputError | None = None  # why nothing more is asked for

    async def run(self, candidates: pd.DataFrame) -> pd.DataFrame:
        tables, columns = [], [each.name for each in fields(Outcome)]
        size = shards.SHARD_SIZE
        blocks = [candidates.iloc[at : at + size] for at in range(0, len(candidates), size)]
        underway: deque[asyncio.Task] = deque()
        with tqdm(total=len(candidates), desc="download", unit="photo") as self.bar:
            async with self.http, AsyncExitStack() as stack:
                stack.push_async_callback(coroutines.end, underway)
                for number, block in enumerate(blocks):
                    for ahead in blocks[number + len(underway) : number + 1 + BLOCKS_AHEAD]:
                        task = asyncio.create_task(self.fetch_all(ahead["url"].tolist()))
                        underway.append(task)
                    fetched = await underway.popleft()
                    if self.refusal:
                        await asyncio.gather(*underway)  # what is under way is paid for
                        raise self.refusal
                    settled = await self.settle(block["photo_id"].tolist(), fetched)
                    table = pd.DataFrame(map(attrgetter(*columns), settled), columns=columns)
                    table.insert(0, "photo_id", block["photo_id"].to_numpy())
                    tables.append(table)
        return pd.concat(tables, ignore_index=True)

    # --- fetching ---

    async def fetch_all(self, urls: list[str]) -> list[Outcome]:
        """What is known of each URL, fetching those of which nothing is."""
        known = self.ledger.get(urls)
        known = {url: outcome for url, outcome in known.items() if self.of_use(outcome)}
        for outcome in known.values():
            self.tell(outcome)
        unknown = [url for url in dict.fromkeys(urls) if url not in known]
        if unknown:
            spool = Spool(self.scratch / f"spool-{self.spools}.tar")
            self.spools += 1
            fetched = await asyncio.gather(*(self.fetch(url, spool) for url in unknown))
            known |= {outcome.url: outcome for outcome in fetched}
            spool.end_if_empty()
        return [known[url] for url in urls]

    def of_use(self, known: Outcome) -> bool:
        """Whether what is known settles the matter: too small a photo was not kept."""
        if known.status != Status.OK or min(known.width, known.height) < self.min_side:
            return True
        return bool(known.shard) or self.ledger.kept(known.sha256) is not None

    async def fetch(self, url: str, spool: Spool) -> Outcome:
        """Look at what came for a URL, now or before an interruption."""
        async with self.room:
            earlier = self.spooled.get(digest_of(url))
            fetched = earlier.read(url) if earlier else await self.ask(url)
            if not earlier and fetched.status != Status.FAILED:
                spool.add(url, fetched)  # before anything can stop us
                self.bytes += len(fetched.body)
                self.spooled[digest_of(url)] = spool
            outcome = await asyncio.to_thread(_look_at, url, fetched)
        if not self.refusal:
            self.tell(outcome)
        return outcome

    async def ask(self, url: str) -> Fetched:
        if self.refusal:
            return Fetched(Status.FAILED)
        try:
            return await self.source.fetch(url, self.http)
        except Unavailable:
            return Fetched(Status.FAILED)
        except InputError as error:
            self.refusal = error
            return Fetched(Status.FAILED)

    def tell(self, outcome: Outcome) -> None:
        self.counts[outcome.status] += 1
        told = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        self.bar.set_postfix_str(f"{self.bytes / 1e6:.1f} MB, {told}", refresh=False)
        self.bar.update()

    # --- settling ---

    async def settle(self, photo_ids: list[str], fetched: list[Outcome]) -> list[Outcome]:
        """Give each candidate of a block its status, and write the block if it is not there."""
        judged = [self.judged(outcome) for outcome in fetched]
        settled = await asyncio.to_thread(self.write, photo_ids, judged)
        # What the ledger says of a photo holds for other limits and other candidates, too.
        news = [
            after if after.shard else before
            for before, after in zip(fetched, settled, strict=True)
            if before.status != Status.FAILED and (after.shard or not before.shard)
        ]
        self.ledger.put(news)
        for outcome in settled:
            spool = self.spooled.pop(digest_of(outcome.url), None)
            if spool:
                spool.drop(outcome.url)
        return settled

    def judged(self, outcome: Outcome) -> Outcome:
        if outcome.status != Status.OK:
            return outcome
        if min(outcome.width, outcome.height) < self.min_side:
            return replace(outcome, status=str(Status.TOO_SMALL))
        digest = bytes.fromhex(outcome.sha256[:32])
        if digest in self.seen:
            return replace(outcome, status=str(Status.DUPLICATE))
        self.seen.add(digest)
        if outcome.shard or digest_of(outcome.url) in self.spooled:
            return outcome
        # It was a duplicate when it came, and only its twin's bytes were kept.
        twin = self.ledger.kept(outcome.sha256)
        return replace(outcome, **asdict(twin)) if twin else outcome

    def write(self, photo_ids: list[str], judged: list[Outcome]) -> list[Outcome]:
        """The same outcomes with the places of their bytes; "" and 0 for those without."""
        pairs = list(zip(photo_ids, judged, strict=True))
        kept = {photo_id: each for photo_id, each in pairs if each.status == Status.OK}
        content = "".join(f"{key} {each.url} {each.sha256}\n" for key, each in kept.items())
        name = f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.tar"
        if kept and not all(each.shard == name for each in kept.values()):
            members = (self.member(*item) for item in kept.items())
            ranges = shards.write_shard(self.scratch / name, members)
            for photo_id, where in zip(list(kept), ranges, strict=True):
                kept[photo_id] = replace(kept[photo_id], **asdict(where))
        return [kept.get(key, replace(each, shard="", offset=0)) for key, each in pairs]

    def member(self, photo_id: str, outcome: Outcome) -> tuple[str, bytes]:
        if outcome.shard:
            where = shards.ByteRange(outcome.shard, outcome.offset, outcome.size)
            body = self.shards.read(where)
        else:
            body = self.spooled[digest_of(outcome.url)].read(outcome.url).body
        return shards.member_name(photo_id, images.suffix_of(body)), body


def _look_at(url: str, fetched: Fetched) -> Outcome:
    body = fetched.body
    digest = hashlib.sha256(body).hexdigest() if body else ""
    if fetched.status is not Status.OK:
        return Outcome(url, str(fetched.status), sha256=digest)
    try:
        width, height = images.checked_size(body)
    except images.BadImage:
        return Outcome(url, str(Status.NOT_AN_IMAGE))
    return Outcome(url, str(Status.OK), "", 0, len(body), width, height, digest)


def _unmask_placeholders(index: pd.DataFrame, owner: pd.Series) -> None:
    """Mark as placeholders bytes that are known as such, and those that came for many owners."""
    came = index["status"].isin([Status.OK, Status.DUPLICATE])
    owners = owner.to_numpy()[came]
    owners_of = pd.Series(owners).groupby(index.loc[came, "sha256"].to_numpy()).nunique()
    known = index.loc[index["status"] == Status.PLACEHOLDER, "sha256"]
    masks = {*owners_of.index[owners_of >= OWNERS_OF_A_PLACEHOLDER], *known} - {""}
    masked = came & index["sha256"].isin(masks)
    index.loc[masked, "status"] = str(Status.PLACEHOLDER)
    index.loc[masked, "shard"] = ""
    index.loc[masked, "offset"] = 0
    # What stood in the place of a photo could perhaps not be had: the index must not depend on it.
    index.loc[index["status"] == Status.PLACEHOLDER, "sha256"] = ""


def _publish(scratch: Path, folder: Path, ledger: Ledger, index: pd.DataFrame) -> pd.DataFrame:
    """Give the blocks their places among the outs; drop those that nothing needs any more."""
    blocks = [name for name in dict.fromkeys(index["shard"]) if name]
    shard_of = {name: shards.shard_name(number) for number, name in enumerate(blocks)}
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name, shard in shard_of.items():
        try:
            os.link(scratch / name, folder / shard)  # one file under two names: on the disk once
        except OSError:
            shutil.copyfile(scratch / name, folder / shard)
    ledger.publish(blocks)
    _drop_unneeded(scratch, ledger, set(blocks))
    index["shard"] = [shard_of.get(name, "") for name in index["shard"]]
    shards.write_index(folder, index)
    return index


def _drop_unneeded(scratch: Path, ledger: Ledger, needed: set[str]) -> None:
    """Delete blocks that were published once, and that DVC's cache holds no more.

    Those that it holds cost nothing (they are the same bytes), and those of a run that was never
    finished may have been paid for. So going back to earlier parameters fetches nothing, until
    `dvc gc` says that it may.
    """
    known, published = set(ledger.shards()), ledger.published()
    for path in scratch.glob("*.tar"):
        wanted = path.name in needed or path.name.startswith("spool-")
        if not wanted and path.name not in known - published and path.stat().st_nlink == 1:
            path.unlink()
            ledger.forget(path.name)
