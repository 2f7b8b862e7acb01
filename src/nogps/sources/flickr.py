"""Geotagged photos from Flickr.

Asks flickr.photos.search as im2gps did: text with excluded words, and upload times divided until
every block of time holds no more than the 4,000 results that Flickr lets anybody read. Flickr
asks API users to stay under 3,600 calls an hour, to respect each photo's licence and to link
back to its page; licence and page travel with every candidate.
"""

import logging
import math
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from json import JSONDecodeError

import flickrapi
import httpx
import requests
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random
from tqdm import tqdm

from nogps.errors import InputError
from nogps.sources import Candidate, Fetched, Status

# The largest side in pixels of the sizes that `extras` can ask for, the largest first.
SIZES = {"l": 1024, "c": 800, "z": 640, "m": 500, "n": 320, "s": 240}
PER_PAGE = 250  # the most that geo queries return
MOST_RESULTS = 4000  # the most of one query that can be read
TRIES = 4
FIRST_WAIT_S = 1.0  # before the second try; doubles from try to try
TIMEOUT_S = 30.0

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

    calls: int = 0
    blocks: int = 0  # of time, over all terms
    rows: int = 0
    repeated: int = 0  # left out: found before, by this term or another
    without_position: int = 0  # left out: coordinates missing, zero or impossible
    without_picture: int = 0  # left out: no size that could be fetched
    out_of_reach: int = 0  # never seen: past the 4,000 of a single second
    candidates: int = 0


@dataclass
class Flickr:
    """Photos on Flickr that match; a `nogps.sources.Source`.

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
    max_photos: int = 0  # stop after so many; 0 for all
    rest_url: str = flickrapi.FlickrAPI.REST_URL
    page_base: str = "https://www.flickr.com"
    image_base: str = ""  # fetch pictures from here, whatever host their URLs name
    pause_s: float = 1.0  # between calls: 3,600 an hour
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
        # Where pictures come from another base than they say, that is this machine: no proxy.
        self._client = httpx.Client(
            timeout=TIMEOUT_S, headers={"User-Agent": "nogps"}, trust_env=not self.image_base
        )

    def candidates(self) -> Iterator[Candidate]:
        """Every photo that matches, by photo id. `counts` says what was asked and left out."""
        self.counts = Counts()
        seen: set[str] = set()
        found: list[Candidate] = []
        with tqdm(desc="sample", unit="photo") as bar:
            for row in self._rows():
                self.counts.rows += 1
                if row["id"] in seen:
                    self.counts.repeated += 1
                    continue
                seen.add(row["id"])
                candidate = self._candidate(row)
                if candidate:
                    found.append(candidate)
                    bar.update()
                if self.max_photos and len(found) == self.max_photos:
                    break
        self.counts.candidates = len(found)
        yield from sorted(found, key=lambda each: int(each.photo_id))

    def counted(self) -> dict[str, int]:
        """The counts of the last search."""
        return asdict(self.counts)

    def fetch(self, url: str) -> Fetched:
        """The picture behind a candidate's url. Safe to call from many threads."""
        try:
            return self._patiently(httpx.TransportError, _Later)(self._fetch_once, url)
        except (httpx.HTTPError, httpx.InvalidURL, _Later):
            return Fetched(Status.FAILED)

    # --- searching ---

    def _rows(self) -> Iterator[dict]:
        start = datetime(*self.uploaded_from.timetuple()[:3], tzinfo=UTC)
        end = datetime(*self.uploaded_to.timetuple()[:3], tzinfo=UTC) + timedelta(days=1)
        for term in self.terms:
            yield from self._block(term, int(start.timestamp()), int(end.timestamp()) - 1)

    def _block(self, term: str, first: int, last: int) -> Iterator[dict]:
        """All rows for uploads from second `first` to second `last`, both included."""
        answer = self._page(term, first, last, 1)
        total = int(answer["total"] or 0)
        if total > MOST_RESULTS and first < last:
            middle = (first + last) // 2
            yield from self._block(term, first, middle)
            yield from self._block(term, middle + 1, last)
            return
        self.counts.blocks += 1
        self.counts.out_of_reach += max(0, total - MOST_RESULTS)
        yield from answer["photo"]
        for page in range(2, math.ceil(min(total, MOST_RESULTS) / PER_PAGE) + 1):
            yield from self._page(term, first, last, page)["photo"]

    def _page(self, term: str, first: int, last: int, page: int) -> dict:
        excluded = [f'-"{word}"' if " " in word else f"-{word}" for word in self.excluded_terms]
        return self._call(
            text=" ".join([term, *excluded]),
            has_geo=1,
            media="photos",
            accuracy=self.accuracy,
            license=",".join(map(str, self.licences)) or None,
            min_upload_date=first,
            max_upload_date=last,
            sort="date-posted-asc",  # an order in which pages do not shift under the reader
            extras=",".join(["geo", "license", "date_taken", *(f"url_{size}" for size in SIZES)]),
            per_page=PER_PAGE,
            page=page,
        )

    def _call(self, **arguments) -> dict:
        retry = self._patiently(requests.RequestException, JSONDecodeError, flickrapi.FlickrError)
        try:
            return retry(self._call_once, arguments)
        except flickrapi.FlickrError as error:
            if error.code == BAD_KEY:
                raise InputError(
                    "Flickr does not know this key; set FLICKR_API_KEY and FLICKR_API_SECRET to "
                    "those from https://www.flickr.com/services/apps/by/me"
                ) from None
            raise InputError(self._trouble(str(error))) from None
        except (requests.RequestException, JSONDecodeError, KeyError) as error:
            raise InputError(self._trouble(type(error).__name__)) from None

    def _trouble(self, what: str) -> str:
        return f"{self.rest_url} cannot be used now ({what}); run this again later"

    def _call_once(self, arguments: dict) -> dict:
        time.sleep(self.pause_s)
        self.counts.calls += 1
        return self._api.photos.search(**arguments)["photos"]

    @cached_property
    def _api(self) -> flickrapi.FlickrAPI:
        api = flickrapi.FlickrAPI(
            self.key, self.secret, format="parsed-json", store_token=False, timeout=TIMEOUT_S
        )
        api.REST_URL = self.rest_url
        api.flickr_oauth.session.trust_env = not self.image_base
        return api

    def _candidate(self, row: dict) -> Candidate | None:
        """The row as a candidate; None, and counted, if it is of no use."""
        position = _position(row)
        if position is None:
            self.counts.without_position += 1
            return None
        wanted = [size for size, side in SIZES.items() if side <= SIZES[self.size]]
        urls = [row[f"url_{size}"] for size in wanted if row.get(f"url_{size}")]
        if not urls:
            self.counts.without_picture += 1
            return None
        return Candidate(
            photo_id=row["id"],
            source="flickr",
            latitude=position[0],
            longitude=position[1],
            owner=row["owner"],
            url=urls[0],
            taken_at=_taken_at(row),
            licence=_licence(row),
            page_url=f"{self.page_base}/photos/{row['owner']}/{row['id']}/",
        )

    # --- fetching ---

    def _fetch_once(self, url: str) -> Fetched:
        """One try; raises where another may help."""
        for _ in range(5):
            response = self._client.get(self._address(url))
            if not response.has_redirect_location:
                break
            url = str(response.next_request.url)
            if "photo_unavailable" in url:
                return Fetched(Status.PLACEHOLDER)
        if response.status_code in (404, 410):
            return Fetched(Status.GONE)
        if response.status_code == 429 or response.status_code >= 500:
            raise _Later
        if response.status_code != 200:
            return Fetched(Status.FAILED)
        kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "image/jpeg" or not response.content.startswith(b"\xff\xd8"):
            return Fetched(Status.NOT_AN_IMAGE)
        if b"\xff\xd9" not in response.content[-1024:]:
            raise _Later  # the end of the picture is missing
        return Fetched(Status.OK, response.content)

    def _address(self, url: str) -> str:
        return self.image_base + httpx.URL(url).raw_path.decode() if self.image_base else url

    def _patiently(self, *errors: type[Exception]) -> Retrying:
        return Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, errors) and _passes(error)),
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(multiplier=FIRST_WAIT_S) + wait_random(0, FIRST_WAIT_S / 2),
            reraise=True,
        )


class _Later(Exception):
    """The picture host could not give the picture this time."""


def _passes(error: Exception) -> bool:
    """Whether waiting may cure this error."""
    if not isinstance(error, flickrapi.FlickrError):
        return True
    if error.code is not None:
        return error.code in TRANSIENT_CODES
    status = re.search(r"Status code (\d+)", str(error))  # all that flickrapi lets us know
    return status is not None and (status[1] == "429" or status[1].startswith("5"))


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
