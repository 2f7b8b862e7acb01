"""Geotagged photos from Flickr.

Asks flickr.photos.search as im2gps did: text with excluded words, and upload times divided until
every block of time holds no more than the 4,000 results that Flickr lets anybody read. Flickr
asks API users to stay under 3,600 calls an hour, to respect each photo's licence and to link
back to its page; licence and page travel with every candidate.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field
from tqdm import tqdm

from nogps.acquire.answers import AnswerCache
from nogps.acquire.area import Box
from nogps.acquire.candidate import Candidate, Fetched, Status, known_position
from nogps.acquire.http import Polite, Unavailable, whole_picture
from nogps.acquire.source import Context, Source, SourceType
from nogps.acquire.sources import flickr_api
from nogps.acquire.sources.flickr_api import SIZES, Api, Page
from nogps.base.errors import InputError
from nogps.base.settings import CountOrZero, Section


class Settings(Section):
    """What the source `flickr` asks for."""

    terms: Annotated[list[str], Field(min_length=1)]
    """Words to search for, one of which a photo must have."""
    excluded_terms: list[str]
    """Words that a photo must not have."""
    uploaded_from: date
    """First day of upload."""
    uploaded_to: date
    """Last day of upload."""
    accuracy: Annotated[int, Field(ge=1, le=16)]
    """Least accuracy of the position: 1 world, 3 country, 6 region, 11 city, 16 street."""
    licences: list[Annotated[int, Field(ge=0, le=16)]]
    """Licences by Flickr's ids; [] takes every licence."""
    size_suffix: Literal["l", "c", "z", "m", "n", "s"]
    """Longest side in pixels: l 1024, c 800, z 640, m 500, n 320, s 240."""
    max_photos: CountOrZero
    """About so many photos, evenly over terms and time; 0: all."""


REDIRECTS = 5
MONTHS = 12  # of the time asked for, at least, that a part of the photos comes from ...
MOST_EXTRA_CALLS = 1000  # ... if that takes no more calls than this
UNAVAILABLE = "photo_unavailable"  # in the address of the picture that stands for a deleted one
SETTLED_S = 3600  # after its end a block of time gains no more photos


@dataclass
class FlickrCounts:
    """What a search asked and saw. rows = candidates + everything left out."""

    calls: int = 0  # that brought the pages, in this run or an earlier one
    blocks: int = 0  # of time, over all terms
    rows: int = 0
    repeated: int = 0  # left out: found before, by this term or another
    without_position: int = 0  # left out: coordinates missing, zero or impossible
    imprecise: int = 0  # left out: the position is less accurate than asked
    without_picture: int = 0  # left out: no size that could be fetched
    out_of_reach: int = 0  # never seen: past the 4,000 of a single second
    unlisted: int = 0  # never seen: part of a total, and on none of its pages
    candidates: int = 0


@dataclass
class Flickr(Source):
    """Photos on Flickr that match.

    Raises InputError where a value is wrong, where Flickr refuses the key, and where it cannot
    be reached.
    """

    api: Api
    settings: Settings
    box: Box | None = None  # that photos lie in; None: anywhere
    answers: AnswerCache = field(default_factory=lambda: AnswerCache(None))  # finished blocks
    page_base: str = "https://www.flickr.com"
    counts: FlickrCounts = field(default_factory=FlickrCounts, init=False)

    def __post_init__(self):
        settings = self.settings
        if not all(term.strip() for term in settings.terms):
            raise InputError("`flickr.terms` has an empty term; give words to search for")
        if settings.uploaded_from > settings.uploaded_to:
            raise InputError(
                f"`flickr.uploaded_from` ({settings.uploaded_from}) is after `flickr.uploaded_to` "
                f"({settings.uploaded_to}); swap them"
            )
        self._placeholders: dict[str, asyncio.Future[bytes]] = {}

    def candidates(self) -> Iterator[Candidate]:
        """Every photo that matches, by photo id. `counts` says what was asked and left out."""
        self.counts = FlickrCounts()
        seen: set[str] = set()
        found: list[Candidate] = []
        with tqdm(desc="sample", unit="call") as self._bar:
            for row in self._rows():
                self.counts.rows += 1
                if str(row["id"]) in seen:
                    self.counts.repeated += 1
                    continue
                seen.add(str(row["id"]))
                candidate = self._candidate(row)
                if candidate:
                    found.append(candidate)
                    self._bar.set_postfix_str(f"{len(found)} photos", refresh=False)
        self.counts.candidates = len(found)
        yield from sorted(found, key=lambda each: (len(each.photo_id), each.photo_id))

    def counted(self) -> dict[str, int]:
        """The counts of the last search."""
        return asdict(self.counts)

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The picture behind a candidate's url."""
        answer = await http.get(url, judge=whole_picture())
        for _ in range(REDIRECTS):
            if not answer.redirect:
                break
            if UNAVAILABLE in answer.redirect:
                return Fetched(Status.PLACEHOLDER, await self._placeholder(answer.redirect, http))
            answer = await http.get(answer.redirect, judge=whole_picture())
        if answer.status in (404, 410):
            return Fetched(Status.GONE)
        if answer.status != 200:
            return Fetched(Status.FAILED)
        if answer.body.startswith(b"\xff\xd8"):
            return Fetched(Status.OK, answer.body)
        if answer.media_type.startswith("image/") and answer.media_type != "image/jpeg":
            return Fetched(Status.PLACEHOLDER, answer.body)  # photos are JPEGs
        return Fetched(Status.NOT_AN_IMAGE)

    async def _placeholder(self, url: str, http: Polite) -> bytes:
        """The picture that stands for deleted ones, asked for once; b"" if it cannot be had."""

        async def ask() -> bytes:
            try:
                answer = await http.get(url)
            except Unavailable:
                return b""
            return answer.body if answer.status == 200 else b""

        if url not in self._placeholders:
            self._placeholders[url] = asyncio.ensure_future(ask())
        return await asyncio.shield(self._placeholders[url])

    # --- searching ---

    def _rows(self) -> Iterator[dict]:
        terms = self.settings.terms
        first = _midnight(self.settings.uploaded_from)
        last = _midnight(self.settings.uploaded_to + timedelta(days=1)) - 1
        if self.settings.max_photos:
            yield from self._even_rows(first, last)
            return
        # One call a term tells how long it all will take; it is the first page of it, too.
        self._bar.total = len(terms)
        first_pages = {}
        calls = 0
        for term in terms:
            block = self._cached(term, first, last)
            if block is None:
                page = self._page(term, first, last)
                calls += flickr_api.calls_for(page.total) - 1
                first_pages[term] = page
                # Where no further page can be asked for, the block is finished.
                if page.pages == 1 or page.total > flickr_api.MOST_RESULTS:
                    self._cache(self._read(term, first, last, page), term, first, last)
            elif block.rows is None:
                calls += flickr_api.calls_for(block.total) - 1
        self._forecast(calls)
        for term in terms:
            yield from self._block(term, first, last, first_pages.pop(term, None))

    def _even_rows(self, first: int, last: int) -> Iterator[dict]:
        """At most `max_photos` rows: as many of each term, as many from each part of the time."""
        terms, left = self.settings.terms, self.settings.max_photos
        parts = min(MONTHS, MOST_EXTRA_CALLS // len(terms))
        parts = max(math.ceil(left / len(terms) / flickr_api.PER_PAGE), parts)
        each = math.ceil(left / len(terms) / parts)
        edges = [first + (last + 1 - first) * number // parts for number in range(parts + 1)]
        self._forecast(parts * len(terms))
        for (start, following), term in itertools.product(itertools.pairwise(edges), terms):
            if not left:
                return
            block = self._cached(term, start, following - 1, one_page=True)
            if block is None:
                page = self._page(term, start, following - 1)
                block = _Block(page.total, 1, page.rows)
                self._cache(block, term, start, following - 1, one_page=True)
            self._count(block)
            rows = block.rows or []
            rows = rows[:: max(1, len(rows) // each)][: min(each, left)]
            left -= len(rows)
            yield from rows

    def _forecast(self, calls: int) -> None:
        """Tell how long so many more calls take."""
        self._bar.total = self._bar.n + calls
        seconds = calls * self.api.pause_s
        if seconds < 60:
            return
        minutes = seconds / 60
        duration = f"{minutes:.0f} minutes" if minutes < 60 else f"{minutes / 60:.1f} hours"
        tqdm.write(
            f"about {calls:,} more calls to Flickr, {duration} at {3600 / self.api.pause_s:,.0f} "
            "calls an hour; may be stopped and run again any time"
        )

    def _block(self, term: str, first: int, last: int, page: Page | None = None) -> Iterator[dict]:
        """All rows for uploads from second `first` to second `last`, both included.

        `page` is its first page, where somebody has read that already.
        """
        block = self._cached(term, first, last)
        if block is None:
            block = self._read(term, first, last, page or self._page(term, first, last))
            self._cache(block, term, first, last)
        self._count(block)
        if block.rows is not None:
            within_reach = min(block.total, flickr_api.MOST_RESULTS)
            self.counts.out_of_reach += block.total - within_reach
            self.counts.unlisted += max(0, within_reach - len(block.rows))
            yield from block.rows
            return
        middle = (first + last) // 2
        yield from self._block(term, first, middle)
        yield from self._block(term, middle + 1, last)

    def _read(self, term: str, first: int, last: int, page: Page) -> "_Block":
        """A block, of which `page` is the first page; its rows are None if it is too large."""
        if page.total > flickr_api.MOST_RESULTS and first < last:
            return _Block(page.total, 1, None)
        rows = list(page.rows)
        for number in range(2, page.pages + 1):
            rows += self._page(term, first, last, number).rows
        return _Block(max(page.total, len(rows)), page.pages, rows)

    def _count(self, block: "_Block") -> None:
        self.counts.calls += block.calls
        self.counts.blocks += block.rows is not None

    def _question(self, term: str, first: int, last: int, one_page: bool) -> list:
        limits = [flickr_api.PER_PAGE, flickr_api.MOST_RESULTS]
        return [self._arguments(term, first, last), *limits, one_page]

    def _cached(self, term: str, first: int, last: int, one_page: bool = False) -> "_Block | None":
        if not _settled(last):
            return None
        cached = self.answers.get(self._question(term, first, last, one_page))
        try:
            return _Block(**cached) if cached else None
        except TypeError:
            return None

    def _cache(
        self, block: "_Block", term: str, first: int, last: int, one_page: bool = False
    ) -> None:
        if _settled(last):
            self.answers.put(self._question(term, first, last, one_page), asdict(block))

    def _page(self, term: str, first: int, last: int, number: int = 1) -> Page:
        arguments = self._arguments(term, first, last)
        page = self.api.search(**arguments, page=number, per_page=flickr_api.PER_PAGE)
        self._bar.update()
        return page

    def _arguments(self, term: str, first: int, last: int) -> dict:
        settings = self.settings
        excluded = [f'-"{word}"' if " " in word else f"-{word}" for word in settings.excluded_terms]
        inside = {"bbox": str(self.box)} if self.box else {}
        return inside | {
            "text": " ".join([term, *excluded]),
            "has_geo": 1,
            "media": "photos",
            "accuracy": settings.accuracy,
            "license": ",".join(map(str, settings.licences)) or None,
            "min_upload_date": first,
            "max_upload_date": last,
            "sort": "date-posted-asc",  # an order in which pages do not shift under the reader
            "extras": ",".join(["geo", "license", "date_taken", *(f"url_{s}" for s in SIZES)]),
        }

    def _candidate(self, row: dict) -> Candidate | None:
        """The row as a candidate; None, and counted, if it is of no use."""
        position = known_position(row.get("latitude"), row.get("longitude"))
        if position is None:
            self.counts.without_position += 1
            return None
        if flickr_api.accuracy_of(row) < self.settings.accuracy:
            self.counts.imprecise += 1
            return None
        largest = SIZES[self.settings.size_suffix]
        wanted = [size for size, side in SIZES.items() if side <= largest]
        urls = [row[f"url_{size}"] for size in wanted if row.get(f"url_{size}")]
        if not urls:
            self.counts.without_picture += 1
            return None
        owner = str(row.get("owner") or "")
        return Candidate(
            photo_id=str(row["id"]),
            source="flickr",
            latitude=position[0],
            longitude=position[1],
            owner=owner,
            url=urls[0],
            taken_at=flickr_api.taken_at_of(row),
            licence=flickr_api.licence_of(row),
            page_url=f"{self.page_base}/photos/{owner}/{row['id']}/" if owner else "",
        )


@dataclass(frozen=True)
class _Block:
    total: int
    calls: int  # it took to read
    rows: list[dict] | None  # None where it holds too many and has to be divided


def _midnight(day: date) -> int:
    """The first second of a day, UTC, since 1970."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _settled(last: int) -> bool:
    """Whether a block of time that ends with this second gains no more photos."""
    return last <= time.time() - SETTLED_S


@contextmanager
def _open(context: Context) -> Iterator[Source]:
    hosts = dict(context.hosts)
    if context.world.startswith("http"):
        hosts["rest_url"] = f"{context.world}/services/rest/"
    api = Api(
        context.environment["FLICKR_API_KEY"],
        context.environment["FLICKR_API_SECRET"],
        hosts.pop("rest_url", flickr_api.REST_URL),
        trust_env=context.world == "real",
        pause_s=0.0 if context.simulated else 3600 / flickr_api.CALLS_PER_HOUR,
    )
    region = context.search.limits.region
    box = region.boxes[0] if region.shape is not None and len(region.boxes) == 1 else None
    yield Flickr(api, context.settings, box, context.answers(), **hosts)


SOURCE = SourceType(
    Settings, _open, environment=("FLICKR_API_KEY", "FLICKR_API_SECRET"), on_planet=True
)
