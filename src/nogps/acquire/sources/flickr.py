"""Geotagged photos from Flickr.

Asks flickr.photos.search as im2gps did: text with excluded words, and upload times divided until
every block of time holds no more than the 4,000 results that Flickr lets anybody read. Flickr
asks API users to stay under 3,600 calls an hour, to respect each photo's licence and to link
back to its page; licence and page travel with every candidate.
"""

import asyncio
import itertools
import logging
import math
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import flickrapi
import requests
from pydantic import Field
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random
from tqdm import tqdm

from nogps.acquire.answers import AnswerCache
from nogps.acquire.area import Box
from nogps.acquire.candidate import Candidate, Fetched, Status
from nogps.acquire.http import Polite, Unavailable, whole_picture
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


# The largest side in pixels of the sizes that `extras` can ask for, the largest first.
SIZES = {"l": 1024, "c": 800, "z": 640, "m": 500, "n": 320, "s": 240}
PER_PAGE = 250  # the most that geo queries return
MOST_RESULTS = 4000  # the most of one query that can be read
CALLS_AN_HOUR = 3600  # that Flickr allows one key
TRIES = 8
FIRST_WAIT_S = 1.0  # before the second try; doubles from try to try
LONGEST_WAIT_S = 60.0
TIMEOUT_S = 30.0
# What reading something raises that is no answer of Flickr's.
NO_ANSWER = (ValueError, LookupError, TypeError, AttributeError)
REDIRECTS = 5
MONTHS = 12  # of the time asked for, at least, that a part of the photos comes from ...
MOST_EXTRA_CALLS = 1000  # ... if that takes no more calls than this
UNAVAILABLE = "photo_unavailable"  # in the address of the picture that stands for a deleted one
SETTLED_S = 3600  # after its end a block of time gains no more photos
# Of a row, what is kept on the disk; the addresses of its sizes beside it.
KEPT = ("id", "owner", "latitude", "longitude", "accuracy", "license")
KEPT += ("datetaken", "datetakenunknown")

BAD_KEY = 100
# Codes of trouble on Flickr's side: 10, 105 and 106 as documented, 0 and 201 as seen.
TRANSIENT_CODES = {0, 10, 105, 106, 201}

LICENCES = {
    "0": "All Rights Reserved",
    "1": "CC BY-NC-SA 2.0",
    "2": "CC BY-NC 2.0",
    "3": "CC BY-NC-ND 2.0",
    "4": "CC BY 2.0",
    "5": "CC BY-SA 2.0",
    "6": "CC BY-ND 2.0",
    "7": "No known copyright restrictions",
    "8": "US Government work",
    "9": "CC0",
    "10": "Public Domain Mark",
    "11": "CC BY 4.0",
    "12": "CC BY-SA 4.0",
    "13": "CC BY-ND 4.0",
    "14": "CC BY-NC 4.0",
    "15": "CC BY-NC-SA 4.0",
    "16": "CC BY-NC-ND 4.0",
}

# It logs whole error pages; what matters of them is in our own messages.
logging.getLogger("flickrapi").setLevel(logging.CRITICAL)


@dataclass
class Counts:
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
class Flickr:
    """Photos on Flickr that match; a `nogps.acquire.candidate.Source`.

    Raises InputError where a value is wrong, where Flickr refuses the key, and where it cannot
    be reached.
    """

    key: str = field(repr=False)
    secret: str = field(repr=False)
    terms: list[str]  # a photo matches when its title, description or tags say one of these ...
    excluded_terms: list[str]  # ... and none of these
    uploaded_from: date  # both inclusive, UTC
    uploaded_to: date
    accuracy: int = 11  # of the position, at least: 1 world, 11 city, 16 street
    licences: list[int] = field(default_factory=list)  # Flickr's ids; none means all
    size: str = "z"  # the largest size to fetch, as in SIZES
    box: Box | None = None  # that photos lie in; None: anywhere
    max_photos: int = 0  # about so many, spread evenly over terms and time; 0 for all
    finished: Path | None = None  # a folder for finished blocks, which are not asked for again
    rest_url: str = flickrapi.FlickrAPI.REST_URL
    page_base: str = "https://www.flickr.com"
    trust_env: bool = True  # whether a proxy that the environment names is used
    pause_s: float = 3600 / CALLS_AN_HOUR  # from one call to the next
    counts: Counts = field(default_factory=Counts, init=False)

    def __post_init__(self):
        if not self.key or not self.secret:
            raise InputError(
                "Flickr needs a key; set FLICKR_API_KEY and FLICKR_API_SECRET to those from "
                "https://www.flickr.com/services/apps/create/"
            )
        if not self.terms or not all(term.strip() for term in self.terms):
            raise InputError("`flickr.terms` has no or an empty term; give words to search for")
        if self.uploaded_from > self.uploaded_to:
            raise InputError(
                f"`flickr.uploaded_from` ({self.uploaded_from}) is after `flickr.uploaded_to` "
                f"({self.uploaded_to}); swap them"
            )
        if self.size not in SIZES:
            raise InputError(f"`flickr.size` is {self.size!r}; choose one of {', '.join(SIZES)}")
        self._last_call = -math.inf
        self._stand_ins: dict[str, asyncio.Future[bytes]] = {}

    def candidates(self) -> Iterator[Candidate]:
        """Every photo that matches, by photo id. `counts` says what was asked and left out."""
        self.counts = Counts()
        self._last_call = time.monotonic()  # an earlier run may have called a moment ago
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
                return Fetched(Status.PLACEHOLDER, await self._stand_in(answer.redirect, http))
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

    async def _stand_in(self, url: str, http: Polite) -> bytes:
        """The picture that stands for deleted ones, asked for once; b"" if it cannot be had."""

        async def ask() -> bytes:
            try:
                answer = await http.get(url)
            except Unavailable:
                return b""
            return answer.body if answer.status == 200 else b""

        if url not in self._stand_ins:
            self._stand_ins[url] = asyncio.ensure_future(ask())
        return await asyncio.shield(self._stand_ins[url])

    # --- searching ---

    def _rows(self) -> Iterator[dict]:
        start = datetime(*self.uploaded_from.timetuple()[:3], tzinfo=UTC)
        end = datetime(*self.uploaded_to.timetuple()[:3], tzinfo=UTC) + timedelta(days=1)
        first, last = int(start.timestamp()), int(end.timestamp()) - 1
        if self.max_photos:
            yield from self._even_rows(first, last)
            return
        # One call a term tells how long it all will take; it is the first page of it, too.
        self._bar.total = len(self.terms)
        first_pages = {}
        calls = 0
        for term in self.terms:
            block = self._kept(term, first, last)
            if block is None:
                page = self._page(term, first, last)
                calls += _calls(page.total) - 1
                first_pages[term] = page
                if page.pages == 1 or page.total > MOST_RESULTS:  # that was all there is to ask
                    self._keep(self._read(term, first, last, page), term, first, last)
            elif block.rows is None:
                calls += _calls(block.total) - 1
        self._forecast(calls)
        for term in self.terms:
            yield from self._block(term, first, last, first_pages.pop(term, None))

    def _even_rows(self, first: int, last: int) -> Iterator[dict]:
        """At most `max_photos` rows: as many of each term, as many from each part of the time."""
        share = self.max_photos / len(self.terms)
        slices = max(math.ceil(share / PER_PAGE), min(MONTHS, MOST_EXTRA_CALLS // len(self.terms)))
        each = math.ceil(share / slices)
        edges = [first + (last + 1 - first) * number // slices for number in range(slices + 1)]
        self._forecast(slices * len(self.terms))
        left = self.max_photos
        for start, following in itertools.pairwise(edges):
            for term in self.terms:
                if not left:
                    return
                block = self._kept(term, start, following - 1, one_page=True)
                if block is None:
                    page = self._page(term, start, following - 1)
                    block = _Block(page.total, 1, page.rows)
                    self._keep(block, term, start, following - 1, one_page=True)
                self._count(block)
                rows = block.rows[:: max(1, len(block.rows) // each)][: min(each, left)]
                left -= len(rows)
                yield from rows

    def _forecast(self, calls: int) -> None:
        """Tell how long so many more calls take."""
        self._bar.total = self._bar.n + calls
        seconds = calls * self.pause_s
        if seconds >= 60:
            long = (
                f"{seconds / 60:.0f} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"
            )
            tqdm.write(
                f"about {calls:,} more calls to Flickr, {long} at {3600 / self.pause_s:,.0f} calls "
                "an hour; may be stopped and run again any time"
            )

    def _block(
        self, term: str, first: int, last: int, page: "_Page | None" = None
    ) -> Iterator[dict]:
        """All rows for uploads from second `first` to second `last`, both included.

        `page` is its first page, where somebody has read that already.
        """
        block = self._kept(term, first, last)
        if block is None:
            block = self._read(term, first, last, page or self._page(term, first, last))
            self._keep(block, term, first, last)
        self._count(block)
        if block.rows is not None:
            self.counts.out_of_reach += max(0, block.total - MOST_RESULTS)
            self.counts.unlisted += max(0, min(block.total, MOST_RESULTS) - len(block.rows))
            yield from block.rows
            return
        middle = (first + last) // 2
        yield from self._block(term, first, middle)
        yield from self._block(term, middle + 1, last)

    def _read(self, term: str, first: int, last: int, page: "_Page") -> "_Block":
        """A block, of which `page` is the first page; its rows are None if it is too large."""
        if page.total > MOST_RESULTS and first < last:
            return _Block(page.total, 1, None)
        rows = list(page.rows)
        for number in range(2, page.pages + 1):
            rows += self._page(term, first, last, number).rows
        return _Block(max(page.total, len(rows)), page.pages, rows)

    def _count(self, block: "_Block") -> None:
        self.counts.calls += block.calls
        self.counts.blocks += block.rows is not None

    def _asked(self, term: str, first: int, last: int, one_page: bool) -> list:
        return [self._arguments(term, first, last), PER_PAGE, MOST_RESULTS, one_page]

    def _kept(self, term: str, first: int, last: int, one_page: bool = False) -> "_Block | None":
        if not _settled(last):
            return None
        answered = AnswerCache(self.finished).get(self._asked(term, first, last, one_page))
        try:
            return _Block(**answered) if answered else None
        except TypeError:
            return None

    def _keep(
        self, block: "_Block", term: str, first: int, last: int, one_page: bool = False
    ) -> None:
        if _settled(last):
            AnswerCache(self.finished).put(self._asked(term, first, last, one_page), asdict(block))

    def _page(self, term: str, first: int, last: int, number: int = 1) -> "_Page":
        page = self._call(**self._arguments(term, first, last), page=number, per_page=PER_PAGE)
        self._bar.update()
        return page

    def _arguments(self, term: str, first: int, last: int) -> dict:
        excluded = [f'-"{word}"' if " " in word else f"-{word}" for word in self.excluded_terms]
        inside = {"bbox": str(self.box)} if self.box else {}
        return inside | {
            "text": " ".join([term, *excluded]),
            "has_geo": 1,
            "media": "photos",
            "accuracy": self.accuracy,
            "license": ",".join(map(str, self.licences)) or None,
            "min_upload_date": first,
            "max_upload_date": last,
            "sort": "date-posted-asc",  # an order in which pages do not shift under the reader
            "extras": ",".join(["geo", "license", "date_taken", *(f"url_{s}" for s in SIZES)]),
        }

    def _call(self, **arguments) -> "_Page":
        try:
            return self._patiently()(self._call_once, arguments)
        except flickrapi.FlickrError as error:
            if error.code == BAD_KEY:
                raise InputError(
                    "Flickr does not know this key; set FLICKR_API_KEY and FLICKR_API_SECRET to "
                    "those from https://www.flickr.com/services/apps/by/me"
                ) from None
            raise InputError(self._trouble(str(error))) from None
        except (requests.RequestException, *NO_ANSWER) as error:
            raise InputError(self._trouble(type(error).__name__)) from None

    def _trouble(self, what: str) -> str:
        for hidden in (self.key, self.secret):
            what = what.replace(hidden, "***")
        return (
            f"{self.rest_url} cannot be used now ({' '.join(what.split())}); run this again "
            "later: what is finished is kept"
        )

    def _call_once(self, arguments: dict) -> "_Page":
        time.sleep(max(0.0, self._last_call + self.pause_s - time.monotonic()))
        self._last_call = time.monotonic()
        return _page_of(self._api.photos.search(**arguments)["photos"])

    @cached_property
    def _api(self) -> flickrapi.FlickrAPI:
        api = flickrapi.FlickrAPI(
            self.key, self.secret, format="parsed-json", store_token=False, timeout=TIMEOUT_S
        )
        api.REST_URL = self.rest_url
        api.flickr_oauth.session.trust_env = self.trust_env
        return api

    def _candidate(self, row: dict) -> Candidate | None:
        """The row as a candidate; None, and counted, if it is of no use."""
        position = _position(row)
        if position is None:
            self.counts.without_position += 1
            return None
        if _accuracy(row) < self.accuracy:
            self.counts.imprecise += 1
            return None
        wanted = [size for size, side in SIZES.items() if side <= SIZES[self.size]]
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
            taken_at=_taken_at(row),
            licence=_licence(row),
            page_url=f"{self.page_base}/photos/{owner}/{row['id']}/" if owner else "",
        )

    def _patiently(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception(_passes),
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)
            + wait_random(0, FIRST_WAIT_S / 2),
            reraise=True,
        )


@dataclass(frozen=True)
class _Page:
    total: int  # rows of the whole query
    pages: int  # of it that can be read
    rows: list[dict]


@dataclass(frozen=True)
class _Block:
    total: int
    calls: int  # it took to read
    rows: list[dict] | None  # None where it holds too many and has to be divided


def _page_of(answer: dict) -> _Page:
    """A page from what Flickr answers; a total may be a number, a text with or without commas, "".

    Raises LookupError, TypeError or ValueError if it is no such answer.
    """
    rows = [row for row in answer["photo"] if isinstance(row, dict) and row.get("id")]
    kept = {*KEPT, *(f"url_{size}" for size in SIZES)}
    rows = [{key: row[key] for key in row if key in kept} for row in rows]
    total = max(_count(answer.get("total")), len(rows))
    size = _count(answer.get("perpage")) or PER_PAGE
    pages = max(math.ceil(total / size), _count(answer.get("pages")))
    return _Page(total, max(1, min(pages, math.ceil(MOST_RESULTS / size))), rows)


def _settled(last: int) -> bool:
    """Whether a block of time that ends with this second gains no more photos."""
    return last <= time.time() - SETTLED_S


def _count(number: object) -> int:
    return int(str(number or 0).replace(",", ""))


def _calls(total: int) -> int:
    """About how many calls it takes to read so many results."""
    if total <= MOST_RESULTS:
        return max(1, math.ceil(total / PER_PAGE))
    halvings = total / (0.7 * MOST_RESULTS) if MOST_RESULTS else 0  # into blocks 70 % full
    return math.ceil(total / PER_PAGE + 1.5 * halvings)


def _passes(error: Exception) -> bool:
    """Whether waiting may cure this error."""
    if not isinstance(error, flickrapi.FlickrError):
        return isinstance(error, (requests.RequestException, *NO_ANSWER))
    if error.code is not None:
        return error.code in TRANSIENT_CODES
    status = re.search(r"Status code (\d+)", str(error))  # all that flickrapi lets us know
    return status is not None and (status[1] == "429" or status[1].startswith("5"))


def _accuracy(row: dict) -> int:
    """Of the position; the best where Flickr does not say."""
    try:
        return int(row["accuracy"])
    except (LookupError, TypeError, ValueError):
        return 16


def _position(row: dict) -> tuple[float, float] | None:
    try:
        latitude, longitude = float(row["latitude"]), float(row["longitude"])
    except (KeyError, TypeError, ValueError):
        return None
    if latitude == longitude == 0 or not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    return latitude, longitude


def _taken_at(row: dict) -> str:
    if str(row.get("datetakenunknown")) == "1":
        return ""
    try:
        return datetime.fromisoformat(row["datetaken"]).isoformat()
    except (KeyError, TypeError, ValueError):
        return ""


def _licence(row: dict) -> str:
    number = str(row.get("license", ""))
    return LICENCES.get(number, f"Flickr licence {number}") if number else ""
