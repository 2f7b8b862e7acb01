"""Flickr's flickr.photos.search, one page at a time: pacing, tries, and what an answer holds."""

import logging
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import flickrapi
import requests
import tenacity

from nogps.base.errors import InputError

REST_URL = flickrapi.FlickrAPI.REST_URL
# The largest side in pixels of the sizes that `extras` can ask for, the largest first.
SIZES = {"l": 1024, "c": 800, "z": 640, "m": 500, "n": 320, "s": 240}
PER_PAGE = 250  # the most that geo queries return
MOST_RESULTS = 4000  # the most of one query that can be read
CALLS_PER_HOUR = 3600  # that Flickr allows one key
TRIES = 8
FIRST_WAIT_S = 1.0  # before the second try; doubles from try to try
LONGEST_WAIT_S = 60.0
TIMEOUT_S = 30.0
# What reading something raises that is no answer of Flickr's.
NO_ANSWER = (ValueError, LookupError, TypeError, AttributeError)
# What is kept of a row.
KEPT = {"id", "owner", "latitude", "longitude", "accuracy", "license"}
KEPT |= {"datetaken", "datetakenunknown", *(f"url_{size}" for size in SIZES)}

BAD_KEY = 100
# Codes of trouble on Flickr's side: 10, 105 and 106 as documented, 0 and 201 as seen.
TRANSIENT_CODES = {0, 10, 105, 106, 201}

LICENCES = {"0": "All Rights Reserved", "1": "CC BY-NC-SA 2.0", "2": "CC BY-NC 2.0"}
LICENCES |= {"3": "CC BY-NC-ND 2.0", "4": "CC BY 2.0", "5": "CC BY-SA 2.0", "6": "CC BY-ND 2.0"}
LICENCES |= {"7": "No known copyright restrictions", "8": "US Government work", "9": "CC0"}
LICENCES |= {"10": "Public Domain Mark", "11": "CC BY 4.0", "12": "CC BY-SA 4.0"}
LICENCES |= {"13": "CC BY-ND 4.0", "14": "CC BY-NC 4.0", "15": "CC BY-NC-SA 4.0"}
LICENCES |= {"16": "CC BY-NC-ND 4.0"}

# It logs whole error pages; what matters of them is in our own messages.
logging.getLogger("flickrapi").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Results:
    """The results of a query, or a page of them."""

    total: int  # rows of the whole query
    calls: int  # that all its pages take which can be read
    rows: list[dict] | None  # None where nobody wants them


@dataclass
class Api:
    """Flickr's API, called no faster than it allows, and again where it fails for the moment."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    rest_url: str = REST_URL
    trust_env: bool = True  # whether a proxy that the environment names is used
    pause_s: float = 3600 / CALLS_PER_HOUR  # from one call to the next

    def __post_init__(self):
        if not self.key or not self.secret:
            raise InputError(
                "Flickr needs a key; set FLICKR_API_KEY and FLICKR_API_SECRET to those from "
                "https://www.flickr.com/services/apps/create/"
            )
        self._last_call = time.monotonic()  # an earlier run may have called a moment ago

    def search(self, **arguments: str | int) -> Results:
        """A page of flickr.photos.search."""
        jitter = tenacity.wait_random(0, FIRST_WAIT_S / 2)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_transient),
            stop=tenacity.stop_after_attempt(TRIES),
            wait=tenacity.wait_exponential(FIRST_WAIT_S, LONGEST_WAIT_S) + jitter,
            reraise=True,
        )
        try:
            return retrying(self._search_once, arguments)
        except flickrapi.FlickrError as error:
            if error.code == BAD_KEY:
                raise InputError(
                    "Flickr does not know this key; set FLICKR_API_KEY and FLICKR_API_SECRET to "
                    "those from https://www.flickr.com/services/apps/by/me"
                ) from None
            raise InputError(self._trouble(str(error))) from None
        except (requests.RequestException, *NO_ANSWER) as error:
            raise InputError(self._trouble(type(error).__name__)) from None

    def _search_once(self, arguments: dict) -> Results:
        time.sleep(max(0.0, self._last_call + self.pause_s - time.monotonic()))
        self._last_call = time.monotonic()
        return _results_of(self._client.photos.search(**arguments)["photos"])

    def _trouble(self, what: str) -> str:
        for hidden in (self.key, self.secret):
            what = what.replace(hidden, "***")
        return (
            f"{self.rest_url} cannot be used now ({' '.join(what.split())}); run this again "
            "later: what is finished is kept"
        )

    @cached_property
    def _client(self) -> flickrapi.FlickrAPI:
        options = {"format": "parsed-json", "store_token": False, "timeout": TIMEOUT_S}
        client = flickrapi.FlickrAPI(self.key, self.secret, **options)
        client.REST_URL = self.rest_url
        client.flickr_oauth.session.trust_env = self.trust_env
        return client


def _is_transient(error: BaseException) -> bool:
    """Whether waiting may cure this error."""
    if not isinstance(error, flickrapi.FlickrError):
        return isinstance(error, (requests.RequestException, *NO_ANSWER))
    if error.code is not None:
        return error.code in TRANSIENT_CODES
    status = re.search(r"Status code (\d+)", str(error))  # all that flickrapi lets us know
    return status is not None and (status[1] == "429" or status[1].startswith("5"))


def _results_of(answer: Mapping) -> Results:
    """A page, its total a number, a text with or without commas or "".

    Raises LookupError, TypeError or ValueError if it is no such answer.
    """
    rows = [row for row in answer["photo"] if isinstance(row, dict) and row.get("id")]
    rows = [{key: row[key] for key in row if key in KEPT} for row in rows]
    total = max(_count(answer.get("total")), len(rows))
    size = _count(answer.get("perpage")) or PER_PAGE
    pages = max(math.ceil(total / size), _count(answer.get("pages")))
    return Results(total, max(1, min(pages, math.ceil(MOST_RESULTS / size))), rows)


def _count(number: object) -> int:
    return int(str(number or 0).replace(",", ""))


def calls_for(total: int) -> int:
    """About how many calls it takes to read so many results."""
    if total <= MOST_RESULTS:
        return max(1, math.ceil(total / PER_PAGE))
    halvings = total / (0.7 * MOST_RESULTS) if MOST_RESULTS else 0  # into blocks 70 % full
    return math.ceil(total / PER_PAGE + 1.5 * halvings)


def accuracy_of(row: dict) -> int:
    """The accuracy of a row's position, 1 to 16; 16 where Flickr does not say."""
    try:
        return int(row["accuracy"])
    except (LookupError, TypeError, ValueError):
        return 16


def taken_at_of(row: dict) -> str:
    """When a row's photo was taken, ISO 8601; "" where that is unknown."""
    if str(row.get("datetakenunknown")) == "1":
        return ""
    try:
        return datetime.fromisoformat(row["datetaken"]).isoformat()
    except (KeyError, TypeError, ValueError):
        return ""
