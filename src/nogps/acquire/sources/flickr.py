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
from calendar import timegm
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from tqdm import tqdm

from nogps.acquire.answers import AnswerCache
from nogps.acquire.area import Box
from nogps.acquire.candidate import Candidate, Fetched, Status, known_position
from nogps.acquire.http import Polite, Unavailable, whole_picture
from nogps.acquire.pictures import fetched_picture, followed
from nogps.acquire.source import Context, Source, SourceType
from nogps.acquire.sources import flickr_api
from nogps.acquire.sources.flickr_api import SIZES, Api, Results
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
    """Photos on Flickr that match."""

    api: Api
    settings: Settings
    answers: AnswerCache  # finished blocks
    box: Box | None = None  # that photos lie in; None: anywhere
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
        self._placeholders: dict[str, bytes] = {}
        self._asking = asyncio.Lock()

    def candidates(self) -> Iterator[Candidate]:
        """Every photo that matches, by photo id. `counts` says what was asked and left out."""
        self.counts = FlickrCounts()
        self._first_pages: dict[_Block, Results] = {}
        found: dict[str, Candidate | None] = {}
        with tqdm(desc="sample", unit="call") as self._bar:
            for row in self._rows():
                self.counts.rows += 1
                if str(row["id"]) in found:
                    self.counts.repeated += 1
                    continue
                found[str(row["id"])] = self._candidate(row)
                self._bar.set_postfix_str(f"{self.counts.candidates} photos", refresh=False)
        kept = filter(None, found.values())
        yield from sorted(kept, key=lambda each: (len(each.photo_id), each.photo_id))

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The picture behind a candidate's url."""
        answer = await followed(url, http, whole_picture(), not_to=UNAVAILABLE)
        if UNAVAILABLE in answer.redirect:
            return Fetched(Status.PLACEHOLDER, await self._placeholder(answer.redirect, http))
        fetched = fetched_picture(answer)
        if fetched.status is not Status.OK or fetched.body.startswith(b"\xff\xd8"):
            return fetched
        if answer.media_type == "image/jpeg":
            return Fetched(Status.NOT_AN_IMAGE)
        return Fetched(Status.PLACEHOLDER, answer.body)  # photos are JPEGs

    async def _placeholder(self, url: str, http: Polite) -> bytes:
        """The picture that stands for deleted ones, asked for once; b"" if it cannot be had."""
        async with self._asking:
            if url not in self._placeholders:
                self._placeholders[url] = b""
                with suppress(Unavailable):
                    self._placeholders[url] = fetched_picture(await http.get(url)).body
            return self._placeholders[url]

    # --- searching ---

    def _rows(self) -> Iterator[dict]:
        settings = self.settings
        first = timegm(settings.uploaded_from.timetuple())
        last = timegm(settings.uploaded_to.timetuple()) + 24 * 3600 - 1
        if settings.max_photos:
            yield from self._even_rows(first, last)
            return
        # One call a term tells how long it all will take; it is the first page of it, too.
        blocks = [_Block(term, first, last) for term in settings.terms]
        self._bar.total = len(blocks)
        self._forecast(sum(map(self._further_calls, blocks)))
        for block in blocks:
            yield from self._block_rows(block)

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
            rows = self._read(_Block(term, start, following - 1, one_page=True)).rows or []
            self.counts.calls += 1
            self.counts.blocks += 1
            rows = rows[:: max(1, len(rows) // each)][: min(each, left)]
            left -= len(rows)
            yield from rows

    def _forecast(self, calls: int) -> None:
        """Tell how long so many more calls take."""
        self._bar.total = self._bar.n + calls
        minutes = calls * self.api.pause_s / 60
        if minutes >= 1:
            duration = f"{minutes:.0f} minutes" if minutes < 60 else f"{minutes / 60:.1f} hours"
            tqdm.write(
                f"about {calls:,} more calls to Flickr, {duration} at "
                f"{3600 / self.api.pause_s:,.0f} calls an hour; may be stopped and run again any "
                "time"
            )

    def _further_calls(self, block: "_Block") -> int:
        """About how many calls a block takes after the first one, which is made."""
        known = self._cached(block)
        if known is None:
            known = self._first_pages[block] = self._page(block)
            # Where no further page can be asked for, the block is finished.
            if known.calls == 1 or known.total > flickr_api.MOST_RESULTS:
                self._read(block)
        elif known.rows is not None:
            return 0
        return flickr_api.calls_for(known.total) - 1

    def _block_rows(self, block: "_Block") -> Iterator[dict]:
        """All rows of a block, divided where it is too large."""
        results = self._read(block)
        self.counts.calls += results.calls
        if results.rows is None:
            middle = (block.first + block.last) // 2
            yield from self._block_rows(block._replace(last=middle))
            yield from self._block_rows(block._replace(first=middle + 1))
            return
        within_reach = min(results.total, flickr_api.MOST_RESULTS)
        self.counts.blocks += 1
        self.counts.out_of_reach += results.total - within_reach
        self.counts.unlisted += max(0, within_reach - len(results.rows))
        yield from results.rows

    def _read(self, block: "_Block") -> Results:
        """The results of a block; no rows where it has to be divided."""
        results = self._cached(block)
        if results is not None:
            return results
        page = self._first_pages.get(block) or self._page(block)
        if block.one_page:
            results = replace(page, calls=1)
        elif page.total > flickr_api.MOST_RESULTS and block.first < block.last:
            results = Results(page.total, 1, None)
        else:
            further = (self._page(block, number) for number in range(2, page.calls + 1))
            rows = [row for each in (page, *further) for row in each.rows or []]
            results = Results(max(page.total, len(rows)), page.calls, rows)
        if block.settled:
            self.answers.put(self._question(block), asdict(results))
        return results

    def _cached(self, block: "_Block") -> Results | None:
        known = self.answers.get(self._question(block)) if block.settled else None
        return Results(**known) if known else None

    def _question(self, block: "_Block") -> list:
        limits = [flickr_api.PER_PAGE, flickr_api.MOST_RESULTS]
        return [self._arguments(block), *limits, block.one_page]

    def _page(self, block: "_Block", number: int = 1) -> Results:
        arguments = self._arguments(block) | {"page": number, "per_page": flickr_api.PER_PAGE}
        page = self.api.search(**arguments)
        self._bar.update()
        return page

    def _arguments(self, block: "_Block") -> dict:
        settings = self.settings
        excluded = [f'-"{word}"' if " " in word else f"-{word}" for word in settings.excluded_terms]
        inside = {"bbox": str(self.box)} if self.box else {}
        return inside | {
            "text": " ".join([block.term, *excluded]),
            "has_geo": 1,
            "media": "photos",
            "accuracy": settings.accuracy,
            "license": ",".join(map(str, settings.licences)) or None,
            "min_upload_date": block.first,
            "max_upload_date": block.last,
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
        self.counts.candidates += 1
        owner, number = str(row.get("owner") or ""), str(row.get("license", ""))
        return Candidate(
            str(row["id"]),
            "flickr",
            *position,
            owner,
            urls[0],
            taken_at=flickr_api.taken_at_of(row),
            licence=flickr_api.LICENCES.get(number, number and f"Flickr licence {number}"),
            page_url=f"{self.page_base}/photos/{owner}/{row['id']}/" if owner else "",
        )


class _Block(NamedTuple):
    """Uploads that match a term, from one second since 1970 to another, both included."""

    term: str
    first: int
    last: int
    one_page: bool = False  # whether its first page is all that is wanted

    @property
    def settled(self) -> bool:
        """Whether it gains no more photos."""
        return self.last <= time.time() - SETTLED_S


def _open(context: Context) -> Flickr:
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
    return Flickr(api, context.settings, context.answers(), box, **hosts)


SOURCE = SourceType(
    Settings, _open, environment=("FLICKR_API_KEY", "FLICKR_API_SECRET"), on_planet=True
)
