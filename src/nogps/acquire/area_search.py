"""Searching services that list photos by area and cut long answers off.

S2 cells, sampled by `area.cells_to_search`, are gone through in their order. Each is asked for as
boxes; a box whose answer is full is divided and asked again, until nothing is cut off or the cell
has given all that is wanted of it. What is not looked at is counted.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from nogps.acquire.answers import AnswerCache
from nogps.acquire.area import Box, cell_boxes, cells_to_search
from nogps.acquire.candidate import Candidate, Fetched
from nogps.acquire.http import Polite, Unavailable
from nogps.acquire.ledger import unfetched
from nogps.acquire.limits import Thinning
from nogps.acquire.service import SMALLEST, CachedService, Service
from nogps.acquire.source import Context, CrawlRate, Source, SourceType
from nogps.base import coroutines
from nogps.base.settings import Section
from nogps.earth import s2

AHEAD = 24  # cells that are asked about while an earlier one is awaited
EMPTY_CELLS = 10  # for each call, where a question about a coarse cell tells that many are empty
ANY_RATE = CrawlRate(connections=8, per_second=math.inf, kilobytes=0)
HALVINGS = 2  # of a box that a service fails to answer
# The limits of `sampling` where it says null: these services have millions of photos.
MOST = {"photos": 10_000, "per_cell": 20, "per_owner": 500, "per_sequence": 5, "spacing_m": 25.0}


@dataclass
class Counts:
    """What a search asked and saw. listed = candidates + all rejections."""

    cells: int = 0  # looked into
    calls: int = 0  # in this run or an earlier one
    full_areas: int = 0  # that were divided, since they held more than one answer lists
    unread_areas: int = 0  # not asked about, since their cell had given enough
    cut_areas: int = 0  # too small to be divided and still full: some photos are never listed
    unanswered_areas: int = 0  # left out this time: the service failed on them
    unasked_cells: int = 0  # not looked into: photos or calls were used up
    in_other_cells: int = 0  # photos listed for a cell that lie beside it; not in `listed`
    listed: int = 0
    candidates: int = 0


@dataclass
class _Cell:
    """An S2 cell, what is known of it so far, and what is not."""

    id: int
    rng: random.Random
    boxes: list[tuple[Box, int]] = field(default_factory=list)  # to ask about, and their failures
    photos: dict[str, Candidate | str] = field(default_factory=dict)  # as in Page
    counts: Counter[str] = field(default_factory=Counter)
    coarse: list[int] = field(default_factory=list)  # larger cells that were asked about first


@dataclass(eq=False)
class Search(Source):
    """The photos of a service within its limits.

    `http` makes the client to ask with, which keeps to `rate`. Raises InputError where the
    service refuses us or is down.
    """

    service: Service
    http: Callable[..., Polite]
    answers: AnswerCache
    rate: CrawlRate = ANY_RATE

    def __post_init__(self):
        self.spec = self.service.spec
        self.counts = Counts()
        self.rejections: Counter[str] = Counter(excluded=0)  # by the reason
        self._cached = CachedService(self.service, self.answers)
        self._thinning = Thinning(self.spec.limits)
        self._seen: set[str] = set()  # ids of photos
        self._excluded_owners: set[str] = set()
        self._coarse: dict[int, asyncio.Future[bool]] = {}  # whether a coarse cell has photos
        self._coarse_counted: set[int] = set()

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The picture behind a candidate's url."""
        return await self.service.fetch(url, http)

    def forecast(self, urls: list[str], scratch: Path) -> str:
        """How much there is to fetch, and how long that takes."""
        missing = unfetched(urls, scratch)
        words = f"{len(missing):,} of {len(urls):,} pictures to fetch"
        if missing:
            hosts = Counter(urlsplit(url).netloc for url in missing)
            megabytes = len(missing) * self.rate.kilobytes / 1000
            size = f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
            words += f" from {len(hosts)} hosts: roughly {size}"
            seconds = max(hosts.values()) / self.rate.per_second
            if seconds:
                minutes = max(1, round(seconds / 60))
                words += f", {minutes} minutes at least, so as not to be a burden"
        return f"{words}; 0 dollars"

    def counted(self) -> dict[str, int]:
        """The numbers of all that the last search asked, saw and rejected."""
        return asdict(self.counts) | dict(sorted(self.rejections.items()))

    def candidates(self) -> list[Candidate]:
        """Photos by id; the same ones whenever the service has the same photos."""
        self.__post_init__()  # each search begins anew
        spec = self.spec
        most = spec.calls * (EMPTY_CELLS if self.service.coarse_levels else 1)
        where = spec.limits.region, spec.places, spec.limits.cell_level
        cells = cells_to_search(*where, most, spec.weights, spec.seed)
        self._announce(len(cells))
        every = coroutines.run(self._search(cells.tolist()))
        # Without what else there is of the owners of photos that are excluded.
        found = [each for each in every if each.owner not in self._excluded_owners - {""}]
        self.rejections["excluded"] += len(every) - len(found)
        self.counts.candidates = len(found)
        self._cached.check_answered()
        if self.counts.cut_areas or self.counts.unanswered_areas:
            tqdm.write(
                f"{self.counts.cut_areas} areas hold more photos than {self.service.name} lists, "
                f"{self.counts.unanswered_areas} were not answered this time"
            )
        if spec.photos and len(found) < spec.photos:
            tip = "these are all within the limits of sampling; loosen those, or widen its region"
            if self.counts.calls >= spec.calls:
                tip = "raise sampling.calls to go on, or name a sampling.region that has more"
            calls = f"{self.counts.calls:,} calls"
            tqdm.write(f"{len(found):,} of {spec.photos:,} photos after {calls}; {tip}")
        return sorted(found, key=lambda each: each.photo_id)

    def _announce(self, cells: int) -> None:
        spec = self.spec
        wanted = f"{spec.photos:,} photos" if spec.photos else "all photos"
        minutes = spec.calls / self.rate.per_second / 60
        duration = f"{max(1, minutes):.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
        taking = f", which take {duration} at most" if minutes else ""
        tqdm.write(
            f"looking for {wanted} in up to {cells:,} cells by at most {spec.calls:,} calls to "
            f"{self.service.name}{taking}; 0 dollars; may be stopped and run again any time"
        )

    async def _search(self, ids: list[int]) -> list[Candidate]:
        found: list[Candidate] = []
        photos = self.spec.photos
        unit = "photo" if photos else "cell"
        with tqdm(total=photos or len(ids), desc="sample", unit=unit) as bar:
            # Closed before the client is: what is under way ends with the search.
            async with self.http() as client, aclosing(self._in_order(ids, client)) as cells:
                async for cell in cells:
                    kept = await self._kept(cell, client)
                    self._count(cell)
                    found += kept
                    bar.update(len(kept) if photos else 1)
                    told = f"{self.counts.cells} cells, {self.counts.calls} calls"
                    bar.set_postfix_str(told, refresh=False)
                    if (photos and len(found) >= photos) or self.counts.calls >= self.spec.calls:
                        break
        self.counts.unasked_cells = len(ids) - self.counts.cells
        self.rejections.update(+Counter(self._thinning.rejections))  # those above 0
        return found

    async def _in_order(self, ids: list[int], http: Polite) -> AsyncGenerator[_Cell, None]:
        """Cells with their photos, in the order of ids; some are asked about ahead."""
        tasks: list[asyncio.Task[_Cell]] = []
        try:
            for number in range(len(ids)):
                while len(tasks) < AHEAD and number + len(tasks) < len(ids):
                    following = ids[number + len(tasks)]
                    tasks.append(asyncio.create_task(self._look_into(following, http)))
                yield await tasks.pop(0)
        finally:
            await coroutines.end([*tasks, *self._coarse.values()])

    def _count(self, cell: _Cell) -> None:
        self.counts.cells += 1
        self.counts.unread_areas += len(cell.boxes)
        for name, count in cell.counts.items():
            setattr(self.counts, name, getattr(self.counts, name) + count)
        new = set(cell.coarse) - self._coarse_counted
        self.counts.calls += sum(len(cell_boxes(coarse)) for coarse in new)
        self._coarse_counted |= new

    async def _kept(self, cell: _Cell, http: Polite) -> list[Candidate]:
        """The photos of a cell within all limits; more of it is read where those are too few."""
        kept: list[Candidate] = []
        room = self.spec.photos - self.counts.candidates if self.spec.photos else math.inf
        fresh = list(cell.photos)
        while True:
            for photo_id in fresh:
                photo = cell.photos[photo_id]
                reason = self._rejection_reason(photo)
                self.counts.listed += 1
                if photo_id in self._seen:
                    self.rejections["repeated"] += 1
                elif reason:
                    self.rejections[reason] += 1
                elif len(kept) >= room:
                    self.rejections["over_photos"] += 1
                elif isinstance(photo, Candidate) and self._thinning.takes(photo):
                    kept.append(photo)
                if reason == "excluded" and isinstance(photo, Candidate):
                    self._excluded_owners.add(photo.owner)
                self._seen.add(photo_id)
            if len(kept) >= room or not self._wants_more(cell, len(kept)):
                break
            fresh = await self._read(cell, http)
        self.counts.candidates += len(kept)
        return kept

    def _rejection_reason(self, photo: Candidate | str) -> str:
        """Why a photo is of no use, whatever the limits; "" where it is of use."""
        if isinstance(photo, str):
            return photo
        excluded = self.spec.excluded
        return "excluded" if excluded.names(photo) or photo.owner in excluded.owners else ""

    # --- one cell ---

    async def _look_into(self, cell_id: int, http: Polite) -> _Cell:
        """A cell with its photos, until there are enough of them for it alone."""
        cell = _Cell(cell_id, random.Random(f"{self.spec.seed} {cell_id}"))
        if not await self._may_have_photos(cell, http):
            return cell
        region = self.spec.limits.region
        cell.boxes = [(box, 0) for box in cell_boxes(cell_id) if region.touches(box)]
        thinning = Thinning(self.spec.limits)
        kept = 0
        while self._wants_more(cell, kept):
            for photo in [cell.photos[each] for each in await self._read(cell, http)]:
                if isinstance(photo, Candidate) and not self._rejection_reason(photo):
                    kept += thinning.takes(photo)
        return cell

    def _wants_more(self, cell: _Cell, kept: int) -> bool:
        most = self.spec.limits.per_cell or math.inf
        return bool(cell.boxes) and kept < most and cell.counts["calls"] < self.spec.calls

    async def _read(self, cell: _Cell, http: Polite) -> list[str]:
        """The ids, shuffled, of further photos of a cell: those of one more box."""
        box, failures = cell.boxes.pop()
        page = None  # then it has to be divided
        if box.square_degrees <= self.service.most_square_degrees:
            try:
                page = await self._cached.page(box, http)
            except Unavailable:
                failures += 1
            cell.counts["calls"] += page.calls if page else 1
            if failures > HALVINGS:
                cell.counts["unanswered_areas"] += 1
                return []
            if page and page.full:
                divisible = box.square_degrees > SMALLEST
                cell.counts["full_areas" if divisible else "cut_areas"] += 1
                page = None if divisible else page
        if page is None:
            parts = cell.rng.sample(box.quarters(), 4)
            region = self.spec.limits.region
            cell.boxes += [(each, failures) for each in parts if region.touches(each)]
            return []
        inside = self._inside(cell.id, page.photos)
        cell.counts["in_other_cells"] += len(page.photos) - len(inside)
        shuffled = sorted(inside, key=lambda each: (cell.rng.random(), each))
        fresh = [each for each in shuffled if each not in cell.photos]
        cell.photos |= {each: inside[each] for each in fresh}
        return fresh

    async def _may_have_photos(self, cell: _Cell, http: Polite) -> bool:
        """Whether the larger cells around a cell have any photo at all."""
        for coarse in self.service.coarse_levels:
            if coarse >= self.spec.limits.cell_level:
                break
            around = int(s2.parent([cell.id], coarse)[0])
            cell.coarse.append(around)
            if around not in self._coarse:
                self._coarse[around] = asyncio.ensure_future(self._has_photos(around, http))
            if not await asyncio.shield(self._coarse[around]):
                return False
        return True

    async def _has_photos(self, cell_id: int, http: Polite) -> bool:
        for box in cell_boxes(cell_id):
            if await self._cached.has_photos(box, http):
                return True
        return False

    def _inside(self, cell_id: int, photos: dict[str, Candidate | str]) -> dict:
        level = self.spec.limits.cell_level
        located = {key: each for key, each in photos.items() if isinstance(each, Candidate)}
        known = located.values()
        leaves = s2.cell_ids([each.latitude for each in known], [each.longitude for each in known])
        here = s2.parent(leaves, level) == cell_id
        outside = {key for key, inside in zip(located, here, strict=True) if not inside}
        return {key: each for key, each in photos.items() if key not in outside}


def open_service(
    settings: type[Section],
    service: Callable[[Context], Service],
    crawl_rate: Callable[[Any], CrawlRate],
    environment: tuple[str, ...] = (),
) -> SourceType:
    """The SourceType of a free service that the simulated planet speaks, too."""

    def opened(context: Context) -> Search:
        rate = crawl_rate(context.settings)
        rate = replace(rate, per_second=math.inf) if context.simulated else rate
        return Search(service(context), context.http, context.answers(), rate)

    return SourceType(
        settings,
        opened,
        environment,
        on_planet=True,
        by_area=True,
        own_limits=MOST,
        crawl_rate=crawl_rate,
    )
