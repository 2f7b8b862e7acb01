"""Where photos come from. Every source speaks the same small protocol."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from nogps.acquire.http import Polite
from nogps.photos.status import Status


@dataclass(frozen=True, slots=True)
class Candidate:
    """A photo that could be fetched: where it was taken, whose it is, how to get it."""

    photo_id: str  # unique within a candidate list, the same in every run
    source: str  # flickr, streetview, panoramax, commons, mapillary, folder
    latitude: float  # degrees
    longitude: float  # degrees
    owner: str  # who took it, as an id; "" when nobody knows
    url: str  # what Source.fetch takes
    taken_at: str = ""  # ISO 8601, local time of the camera; "" when unknown
    heading: float | None = None  # degrees clockwise from north
    licence: str = ""  # as the source names it
    page_url: str = ""  # where a person can look at it
    author: str = ""  # whom to credit, as a name
    title: str = ""
    licence_url: str = ""
    sequence: str = ""  # photos of one drive, walk or burst share it
    field_of_view: float | None = None  # degrees from left to right; 360: all around
    flickr_id: str = ""  # the photo on Flickr that this one was imported from


@dataclass(frozen=True)
class Fetched:
    """The outcome of one fetch.

    `body` holds the photo if `status` is OK, and what stands in its place if that is known and
    `status` is PLACEHOLDER; it is empty otherwise.
    """

    status: Status
    body: bytes = b""


class Source(Protocol):
    """A place that photos come from."""

    def candidates(self) -> Iterator[Candidate]:
        """Every photo that matches, in an order that does not vary."""
        ...

    def counted(self) -> dict[str, int]:
        """What the last `candidates()` asked, saw and left out, as numbers worth keeping."""
        ...

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The original bytes behind a candidate's url, through `http` where they lie elsewhere.

        Raises `fetch.Unavailable` where they cannot be had this time, and InputError where
        nothing more can be had before somebody mends what it says.
        """
        ...
