"""Pictures of all 360 degrees, and the photos that a camera would have taken in their middle.

A panorama is equirectangular: its width is 360 degrees, a pixel is as many degrees high as wide,
and the horizon is in the middle of its height, which need not be 180 degrees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from nogps.base.settings import Section
from nogps.photos import exif, images


class Settings(Section):
    """How pictures of all 360 degrees become photos."""

    headings: Annotated[int, Field(ge=1, le=36)]
    """Photos made of each panorama, evenly around."""
    fov: Annotated[int, Field(ge=10, le=120)]
    """Degrees that such a photo is wide."""
    pitch: Annotated[int, Field(ge=-90, le=90)]
    """Degrees that such a photo looks above the horizon."""


ALL_AROUND = 359.0  # degrees; a field of view that is as wide is taken for 360
MARGIN = 4  # pixels; further than the filter reaches that shrinks them
STEPS = 256  # between two pixels; whole numbers give the same bytes on every machine


@dataclass(frozen=True)
class View:
    """A square photo to be taken in the middle of a panorama."""

    bearing: float  # degrees clockwise from the middle of the picture
    fov: float  # degrees that it is wide, below 180
    pitch: float  # degrees above the horizon


def all_around(body: bytes, field_of_view: float) -> bool:
    """Whether a picture is a panorama; NaN is a field of view that only the file may know."""
    if math.isnan(field_of_view):
        return exif.is_panorama(body)
    return field_of_view >= ALL_AROUND


def pack(body: bytes, side: int, views: Sequence[View]) -> list[images.Packed]:
    """Each view as `images.pack` packs a photo; they differ in nothing but their bearings."""
    picture = _picture(body, side, views[0])
    return [images.pack(_seen(*picture, side, view), side) for view in views]


def thumbnail(body: bytes, side: int, view: View) -> bytes:
    """A JPEG of a view, `side` pixels wide, to show to people."""
    return images.thumbnail(_seen(*_picture(body, side, view), side, view), side)


def _picture(body: bytes, side: int, view: View) -> tuple[NDArray[np.uint8], float]:
    """A panorama (height, width, 3), no larger than its views need, and how many degrees high."""
    # Between what would do in the middle of a view, where its pixels see most, and at its edge.
    edge = math.cos(math.radians(view.fov / 2))
    enough = math.ceil(2 * math.pi * _focal_length(2 * side, view.fov) / edge)
    image = images.decoded(body, longer=enough)
    degrees_high = 360 * image.height / image.width
    return _shrunk(image, enough) if image.width > enough else np.asarray(image), degrees_high


def _shrunk(image: Image.Image, width: int) -> NDArray[np.uint8]:
    """The pixels of a panorama at that width, where its end meets its beginning as elsewhere."""
    scale = image.width / width
    reach = math.ceil(MARGIN * scale)
    endless = Image.new("RGB", (image.width + 2 * reach, image.height))
    for left in (reach - image.width, reach, reach + image.width):
        endless.paste(image, (left, 0))
    size = (width + 2 * MARGIN, max(1, round(image.height / scale)))
    box = (reach - MARGIN * scale, 0, reach + image.width + MARGIN * scale, image.height)
    shrunk = endless.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=3.0)
    return np.asarray(shrunk)[:, MARGIN:-MARGIN]


def _seen(
    picture: NDArray[np.uint8], degrees_high: float, side: int, view: View
) -> NDArray[np.uint8]:
    """A view twice as wide as `side`, so that what is shrunk to it has smooth edges."""
    longitude, latitude = _directions(2 * side, view.fov, view.pitch)
    high, wide = picture.shape[:2]
    column = np.rint(STEPS * (((longitude + view.bearing) / 360 + 0.5) * wide - 0.5))
    row = np.rint(STEPS * ((0.5 - latitude / degrees_high) * high - 0.5))
    left, to_right = _between_pixels(column % (STEPS * wide))
    above, to_below = _between_pixels(row.clip(0, STEPS * (high - 1)))
    right, below = (left + 1) % wide, np.minimum(above + 1, high - 1)
    flat = picture.reshape(-1, 3)

    def blend(line: NDArray[np.uint32]) -> NDArray[np.uint32]:
        a, b = (flat.take(line * wide + at, axis=0) for at in (left, right))
        return a * (STEPS - to_right) + b * to_right

    total = blend(above) * (STEPS - to_below) + blend(below) * to_below
    return ((total + STEPS**2 // 2) // STEPS**2).astype(np.uint8)


@lru_cache(maxsize=4)  # a run has one; each takes 4 MB at image_size 224
def _directions(side: int, fov: float, pitch: float) -> tuple[NDArray, NDArray]:
    """Where the pixels of a gnomonic view look, in degrees: longitude (0: ahead), latitude."""
    across = (np.arange(side) + 0.5 - side / 2) / _focal_length(side, fov)
    right, up = np.meshgrid(across, -across)
    turn = math.radians(pitch)
    ahead = math.cos(turn) - up * math.sin(turn)
    up = up * math.cos(turn) + math.sin(turn)
    longitude, latitude = np.arctan2(right, ahead), np.arctan2(up, np.hypot(right, ahead))
    return np.degrees(longitude), np.degrees(latitude)


def _focal_length(side: int, fov: float) -> float:
    return side / 2 / math.tan(math.radians(fov / 2))


def _between_pixels(steps: NDArray[np.float64]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The pixel before, and how many steps it is behind, that with an axis for the colours."""
    whole = steps.astype(np.uint32)
    return whole // STEPS, (whole % STEPS)[..., None]
