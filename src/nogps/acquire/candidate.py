"""A photo that could be fetched, and what became of it."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nogps.photos.status import Status as Status


@dataclass(frozen=True, slots=True)
class Candidate:
    """A photo that could be fetched: where it was taken, whose it is, how to get it."""

    photo_id: str  # unique within a candidate list, the same in every run
    source: str  # a name of nogps.acquire.sources.SOURCES
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


def as_number(value: Any) -> float:
    """The number that a value or text is; NaN if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def known_heading(degrees: Any) -> float | None:
    """Degrees clockwise from north, below 360; None where it is no number from 0 to 360."""
    degrees = as_number(degrees)
    return degrees % 360 if 0 <= degrees <= 360 else None


def moment_of(milliseconds: Any) -> str:
    """Milliseconds since 1970 as ISO 8601, UTC; "" if they are no number or no moment."""
    try:
        moment = datetime.fromtimestamp(float(milliseconds) / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def known_position(latitude: Any, longitude: Any) -> tuple[float, float] | None:
    """Latitude and longitude as a service gives them, in degrees.

    None where one is no number or off the globe, or both are 0, which stands for unknown.
    """
    try:
        latitude, longitude = float(latitude), float(longitude)
    except (TypeError, ValueError, OverflowError):
        return None
    on_globe = -90 <= latitude <= 90 and -180 <= longitude <= 180
    return (latitude, longitude) if on_globe and (latitude or longitude) else None
