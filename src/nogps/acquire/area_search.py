"""Searching services that list photos by area and cut long answers off.

Places, S2 cells drawn by `areas.cells_to_search`, are gone through in their order. Each is asked
for as boxes; a box whose answer is full is divided and asked again, until nothing is cut off or
the place has given all that is wanted of it. What is not looked at is counted.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import Protocol

from tqdm import tqdm

from nogps.acquire.answers import AnswerCache
from nogps.acquire.area import Box, cell_boxes, cells_to_search
from nogps.acquire.candidate import Candidate, Fetched, Status
from nogps.acquire.exclude import Excluded
from nogps.acquire.http import (
    Answer,
    HostDown,
    Judge,
    Polite,
    Unavailable,
    by_status,
    whole_picture,
)
from nogps.acquire.limits import Limits, Thinning
from nogps.base.errors import InputError
from nogps.earth import s2

SMALLEST = 1e-7  # square degrees, about 1,000 square metres: what is full then stays so
AHEAD = 24  # places that are asked about while an earlier one is awaited
EMPTY_PLACES = 10  # for each call, where a coarse question tells that many are empty
REDIRECTS = 5
HALVINGS = 2  # of a box that a service fails to answer
REFUSALS = 30  # in a row that end a search


class Refused(Unavailable):
    """The service answers a question by an error that waiting does not cure; the text says it."""


@dataclass(frozen=True)
class SearchSpec:
    """What a search looks for, and how long."""

    limits: Limits
    licences: frozenset[str]  # families of nogps.licences
    places: str = "population"  # population | land | weights
    photos: int = 0  # at most; 0: all
    calls: int = 20_000  # at most
    weights: dict[str, float] | None = None  # by region, for places: weights
    seed: int = 0
    excluded: Excluded = field(default_factory=Excluded)


@dataclass(frozen=True)
class Page:
    """What a service lists for a box; where it is full, there is more that it does not list."""

    photos: dict[str, Candidate | str]  # by id; a text says why it is of no use
    full: bool = False
    calls: int = 1  # that it took


class Service(Protocol):
    """A host that lists photos by area, and what fetches them."""

    name: str  # as people know it
    where: SearchSpec
    most_listed: int  # photos in one answer
    most_square_degrees: float  # of one box
    coarse_levels: tuple[int, ...]  # S2 levels of cells that it can be asked about as a whole

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The picture behind a candidate's url."""
        ...

    async def ask(self, box: Box, http: Polite, most: int) -> Page:
        """At most so many photos in a box.

        Raises:
            Unavailable: no answer came; the box will be asked about in parts.
            Refused: the same, and if it goes on, the search ends with what this says.
            InputError: nothing can be had before somebody mends what it says.
        """
        ...

    def key(self, box: Box) -> list:
        """What tells a question about this box from others, now and in later runs."""
        ...


@dataclass
class Counts:
    """What a search asked and saw. listed = candidates + everything left out."""

    places: int = 0  # looked into
    calls: int = 0  # in this run or an earlier one
    full_areas: int = 0  # that were divided, since they held more than one answer lists
    unread_areas: int = 0  # not asked about, since their place had given enough
    cut_areas: int = 0  # too small to be divided and still full: some photos are never listed
    unanswered_areas: int = 0  # left out this time: the service failed on them
    unasked_places: int = 0  # not looked into: photos or calls were used up
    in_other_places: int = 0  # photos listed for a place that lie beside it; not in `listed`
    listed: int = 0
    candidates: int = 0


@dataclass
class _Place:
    """A place, what is known of it so far, and what is not."""

    cell: int
    rng: random.Random
    boxes: list[tuple[Box, int]] = field(default_factory=list)  # to ask about, and their failures
    photos: dict[str, Candidate | str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    coarse: list[int] = field(default_factory=list)  # larger cells that were asked about first


class Search:
    """The photos of a service that are where we look; a `nogps.acquire.candidate.Source`.

    `http` makes the client to ask with, `pause_s` is the time from call to call that it keeps, to
    say how long all will take. Raises InputError where the service refuses us or is down.
    """

    def __init__(
        self, service: Service, http: Callable[..., Polite], kept: AnswerCache, pause_s: float = 0.0
    ):
        self.service = service
        self.where = service.where
        self.http = http
        self.kept = kept
        self.pause_s = pause_s
        self._begin()

    def _begin(self) -> None:
        self.counts = Counts()
        self.left: Counter[str] = Counter(excluded=0)
        self._refusals = 0  # in a row
        self._refused = ""  # why, the last time
        self._answered = False
        self._excluded_owners: set[str] = set()
        self._coarse: dict[int, asyncio.Future[bool]] = {}

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The picture behind a candidate's url."""
        return await self.service.fetch(url, http)

    def counted(self) -> dict[str, int]:
        """All that the last search asked, saw and left out."""
        return asdict(self.counts) | dict(sorted(self.left.items()))

    def candidates(self) -> list[Candidate]:
        """Photos by id; the same ones whenever the service has the same photos."""
        self._begin()
        where = self.where
        cells = cells_to_search(
            where.limits.region,
            where.places,
            where.limits.cell_level,
            where.calls * (EMPTY_PLACES if self.service.coarse_levels else 1),
            where.weights,
            where.seed,
        )
        self._announce(len(cells))
        found = self._without_excluded(asyncio.run(self._all(cells.tolist())))
        if self._refused and not self._answered:
            raise self._end()
        if self.counts.cut_areas or self.counts.unanswered_areas:
            tqdm.write(
                f"{self.counts.cut_areas} areas hold more photos than {self.service.name} lists, "
                f"{self.counts.unanswered_areas} were not answered this time"
            )
        if where.photos and len(found) < where.photos:
            self._tell_too_few(len(found))
        return sorted(found, key=lambda each: each.photo_id)

    def _announce(self, places: int) -> None:
        where = self.where
        wanted = f"{where.photos:,} photos" if where.photos else "all photos"
        long = ""
        if self.pause_s:
            long = f", which take {_minutes(where.calls * self.pause_s)}"
        tqdm.write(
            f"looking for {wanted} in up to {places:,} places by at most {where.calls:,} calls to "
            f"{self.service.name}{long}; 0 dollars; may be stopped and run again any time"
        )

    def _tell_too_few(self, found: int) -> None:
        if self.counts.calls >= self.where.calls:
            what = "raise sampling.calls to go on, or name a sampling.region that has more"
        else:
            what = "these are all within the limits of sampling; loosen those, or widen its region"
        tqdm.write(
            f"{found:,} of {self.where.photos:,} photos after {self.counts.calls:,} calls; {what}"
        )

    async def _all(self, cells: list[int]) -> list[Candidate]:
        thinning, found, seen = Thinning(self.where.limits), [], set()
        asked: set[int] = set()
        total = self.where.photos or len(cells)
        unit = "photo" if self.where.photos else "place"
        with tqdm(total=total, desc="sample", unit=unit) as bar:
            # Closed before the client is: what is under way ends with the search.
            async with self.http() as client, aclosing(self._in_order(cells, client)) as places:
                async for place in places:
                    taken = await self._taken(place, thinning, seen, client)
                    self._count(place, asked)
                    found += taken
                    bar.update(len(taken) if self.where.photos else 1)
                    bar.set_postfix_str(
                        f"{self.counts.places} places, {self.counts.calls} calls", refresh=False
                    )
                    full = self.where.photos and len(found) >= self.where.photos
                    if full or self.counts.calls >= self.where.calls:
                        break
        self.counts.unasked_places = len(cells) - self.counts.places
        self.left.update({k: v for k, v in asdict(thinning.left).items() if v})
        return found

    async def _in_order(self, cells: list[int], http: Polite) -> AsyncIterator[_Place]:
        """What each place holds, in the order of places, some of them being asked ahead."""
        tasks: list[asyncio.Task[_Place]] = []
        try:
            for number in range(len(cells)):
                while len(tasks) < AHEAD and number + len(tasks) < len(cells):
                    cell = cells[number + len(tasks)]
                    tasks.append(asyncio.create_task(self._look_into(cell, http)))
                yield await tasks.pop(0)
        finally:
            left = [*tasks, *self._coarse.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _count(self, place: _Place, asked: set[int]) -> None:
        self.counts.places += 1
        self.counts.unread_areas += len(place.boxes)
        for name, count in place.counts.items():
            setattr(self.counts, name, getattr(self.counts, name) + count)
        self.counts.calls += sum(len(cell_boxes(cell)) for cell in set(place.coarse) - asked)
        asked.update(place.coarse)

    async def _taken(
        self, place: _Place, thinning: Thinning, seen: set[str], http: Polite
    ) -> list[Candidate]:
        """The photos of a place within all limits; more of it is read where that leaves too few."""
        taken: list[Candidate] = []
        room = self.where.photos - self.counts.candidates if self.where.photos else math.inf
        fresh = list(place.photos)
        while True:
            for photo_id in fresh:
                photo = place.photos[photo_id]
                reason = self._against(photo)
                self.counts.listed += 1
                if photo_id in seen:
                    self.left["repeated"] += 1
                elif reason:
                    self.left[reason] += 1
                elif len(taken) >= room:
                    self.left["over_photos"] += 1
                elif thinning.takes(photo):
                    taken.append(photo)
                if reason == "excluded":
                    self._excluded_owners.add(photo.owner)
                seen.add(photo_id)
            if len(taken) >= room or not self._wants_more(place, len(taken)):
                break
            fresh = await self._read(place, http)
        self.counts.candidates += len(taken)
        return taken

    def _against(self, photo: Candidate | str) -> str:
        """Why a photo is of no use, whatever the limits."""
        if isinstance(photo, str):
            return photo
        excluded = self.where.excluded
        return "excluded" if excluded.names(photo) or photo.owner in excluded.owners else ""

    def _without_excluded(self, found: list[Candidate]) -> list[Candidate]:
        """All but what else there is of the owners of photos that are excluded."""
        kept = [each for each in found if each.owner not in self._excluded_owners - {""}]
        if len(kept) < len(found):
            self.left["excluded"] += len(found) - len(kept)
            self.counts.candidates = len(kept)
        return kept

    # --- one place ---

    async def _look_into(self, cell: int, http: Polite) -> _Place:
        """The photos of a place, until there are enough of them for it alone."""
        place = _Place(cell, random.Random(f"{self.where.seed} {cell}"))
        if not await self._may_hold(place, http):
            return place
        region = self.where.limits.region
        place.boxes = [(box, 0) for box in cell_boxes(cell) if region.touches(box)]
        thinning = Thinning(self.where.limits)
        taken = 0
        while self._wants_more(place, taken):
            for photo in map(place.photos.get, await self._read(place, http)):
                taken += not self._against(photo) and thinning.takes(photo)
        return place

    def _wants_more(self, place: _Place, taken: int) -> bool:
        """Whether there is more of a place, and need of it."""
        most = self.where.limits.per_cell or math.inf
        return bool(place.boxes) and taken < most and place.counts["calls"] < self.where.calls

    async def _read(self, place: _Place, http: Polite) -> list[str]:
        """The ids of further photos of a place, in an order that is drawn; of one more box."""
        box, failures = place.boxes.pop()
        try:
            page = await self._page(box, place, http)
        except Unavailable:
            if failures == HALVINGS:
                place.counts["unanswered_areas"] += 1
                return []
            page, failures = None, failures + 1
        if page is None:
            parts = place.rng.sample(box.quarters(), 4)
            region = self.where.limits.region
            place.boxes += [(each, failures) for each in parts if region.touches(each)]
            return []
        mine = self._inside(place.cell, page.photos)
        place.counts["in_other_places"] += len(page.photos) - len(mine)
        by_chance = sorted(mine, key=lambda each: (place.rng.random(), each))
        fresh = [each for each in by_chance if each not in place.photos]
        place.photos |= {each: mine[each] for each in fresh}
        return fresh

    async def _may_hold(self, place: _Place, http: Polite) -> bool:
        """Whether the larger cells around a place hold any photo at all."""
        level = int(s2.level([place.cell])[0])
        for coarse in self.service.coarse_levels:
            if coarse >= level:
                break
            around = int(s2.parent([place.cell], coarse)[0])
            place.coarse.append(around)
            if around not in self._coarse:
                self._coarse[around] = asyncio.ensure_future(self._holds(around, http))
            if not await asyncio.shield(self._coarse[around]):
                return False
        return True

    async def _holds(self, cell: int, http: Polite) -> bool:
        for box in cell_boxes(cell):
            asked = ["holds", *self.service.key(box)]
            known = self.kept.get(asked)
            if known is None:
                try:
                    known = bool((await self._ask(box, http, 1)).photos)
                except Unavailable:
                    return True  # too much to ask: it will be asked in parts
                self.kept.put(asked, known)
            if known:
                return True
        return False

    async def _page(self, box: Box, place: _Place, http: Polite) -> Page | None:
        """All photos of a box; None where it has to be divided."""
        if box.square_degrees > self.service.most_square_degrees:
            return None
        page = self._known(box)
        if page is None:
            try:
                page = await self._ask(box, http, self.service.most_listed)
            except Unavailable:
                place.counts["calls"] += 1
                raise
            self._keep(box, page)
        self._answered = True
        place.counts["calls"] += page.calls
        if not page.full:
            return page
        if box.square_degrees > SMALLEST:
            place.counts["full_areas"] += 1
            return None
        place.counts["cut_areas"] += 1
        return page

    async def _ask(self, box: Box, http: Polite, most: int) -> Page:
        """What the service answers; an error where it goes on refusing, or is down."""
        try:
            page = await self.service.ask(box, http, most)
        except HostDown as error:
            raise InputError(
                f"{self.service.name} is down or refuses to answer; run this again later: what is "
                "answered is kept"
            ) from error
        except Refused as error:
            self._refusals, self._refused = self._refusals + 1, str(error)
            if self._refusals >= REFUSALS:
                raise self._end() from error
            raise
        self._refusals = 0
        return page

    def _end(self) -> InputError:
        return InputError(f"{self._refused}; run this again later: what is answered is kept")

    def _inside(self, cell: int, photos: dict[str, Candidate | str]) -> dict[str, Candidate | str]:
        """Those that lie in the cell itself."""
        level = self.where.limits.cell_level
        placed = {key: each for key, each in photos.items() if isinstance(each, Candidate)}
        leaves = s2.cell_ids(
            [each.latitude for each in placed.values()],
            [each.longitude for each in placed.values()],
        )
        here = s2.parent(leaves, level) == cell
        elsewhere = {key for key, inside in zip(placed, here, strict=True) if not inside}
        return {key: each for key, each in photos.items() if key not in elsewhere}

    def _known(self, box: Box) -> Page | None:
        answered = self.kept.get(self.service.key(box))
        if answered is None:
            return None
        try:
            photos = {
                key: each if isinstance(each, str) else Candidate(**each)
                for key, each in answered["photos"].items()
            }
            return Page(photos, answered["full"], answered["calls"])
        except (LookupError, TypeError, AttributeError):
            return None

    def _keep(self, box: Box, page: Page) -> None:
        divided = page.full and box.square_degrees > SMALLEST  # then its parts will be kept
        photos = {
            key: each if isinstance(each, str) else asdict(each)
            for key, each in ({} if divided else page.photos).items()
        }
        self.kept.put(
            self.service.key(box), {"photos": photos, "full": page.full, "calls": page.calls}
        )


def _minutes(seconds: float) -> str:
    if seconds < 5400:
        return f"{max(1, round(seconds / 60))} minutes at most"
    return f"{seconds / 3600:.1f} hours at most"


async def followed(url: str, http: Polite, **options) -> Answer:
    """The answer to a GET, redirects followed; each host is asked as politely."""
    answer = await http.get(url, **options)
    for _ in range(REDIRECTS):
        if not answer.redirect:
            break
        answer = await http.get(answer.redirect, **options)
    return answer


async def fetch_picture(
    url: str,
    http: Polite,
    *,
    judge: Judge = by_status,
    gone: Iterable[int] = (404, 410),
) -> Fetched:
    """The picture at an address."""
    answer = await followed(url, http, judge=whole_picture(judge))
    if answer.status in gone:
        return Fetched(Status.GONE)
    if answer.status != 200:
        return Fetched(Status.FAILED)
    if not answer.media_type.startswith("image/") and not answer.body.startswith(b"\xff\xd8"):
        return Fetched(Status.NOT_AN_IMAGE)
    return Fetched(Status.OK, answer.body)


def point(geometry: object) -> tuple[float, float] | None:
    """Latitude and longitude of a GeoJSON point; None where it is none, or nowhere."""
    try:
        longitude, latitude = map(float, geometry["coordinates"][:2])
    except (LookupError, TypeError, ValueError):
        return None
    fits = abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude, longitude) != (0, 0)
    return (latitude, longitude) if fits else None
