"""What a photo's file says about itself: where and when it was taken, which way, by whom.

Only headers are read, never pixels. Damaged metadata is as good as none: it never raises.
"""

import io
import math
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import pillow_heif
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = None  # a header costs the same however large the picture is

EXIF_MARK = b"Exif\0\0"
# As an attribute, or as an element, of which the end tag is not meant.
GPANO = re.compile(rb"""(?<!/)GPano:(\w+)\s*(?:=\s*["']|>)\s*([^"'<]*)""")


@dataclass(frozen=True)
class Metadata:
    """What was found; a default stands for what was not."""

    position: tuple[float, float] | None = None  # latitude and longitude, degrees
    taken_at: str = ""  # ISO 8601, local time of the camera
    heading: float | None = None  # degrees clockwise from true north
    owner: str = ""


def read_metadata(photo: Path | bytes) -> Metadata:
    """Metadata of an image, given as a path or as its bytes; empty if it is no image.

    JPEG, PNG, WebP, HEIC and TIFF by content, whatever the file is called. Positions come from
    EXIF's GPS tags or from JPEG comments of `key: value` lines, as in the Im2GPS test sets (Hays
    and Efros 2008). The comment wins where there are both: it is what that benchmark is scored
    by, and somebody put it there on purpose. Positions out of range are left out, and so is 0, 0,
    which cameras without a fix write. OSError if the path cannot be opened.
    """
    with io.BytesIO(photo) if isinstance(photo, bytes) else photo.open("rb") as file:
        comment: Mapping[str, str] = {}
        gps: Mapping[int, Any] = {}
        camera: Mapping[int, Any] = {}
        # Pillow lets almost any exception through when a header is damaged.
        with suppress(Exception):
            image = Image.open(file)
            comment = _comment_fields(image)
            exif = _exif(image, file)
            with suppress(Exception):
                camera = exif.get_ifd(IFD.Exif)
            gps = exif.get_ifd(IFD.GPSInfo)
    return Metadata(
        position=_position(comment, gps),
        taken_at=_taken_at(camera.get(Base.DateTimeOriginal)),
        heading=_heading(gps),
        owner=comment.get("owner", ""),
    )


def is_panorama(photo: bytes) -> bool:
    """Whether the XMP of an image calls it an equirectangular picture of all 360 degrees.

    By Google's Photo Sphere metadata (GPano). A phone's, cut out of the whole circle, is none.
    """
    fields: dict[bytes, bytes] = {}
    with suppress(Exception):  # as above
        xmp = Image.open(io.BytesIO(photo)).info.get("xmp", b"")
        fields = dict(GPANO.findall(xmp))
    width = fields.get(b"CroppedAreaImageWidthPixels", b"").strip()
    whole = fields.get(b"FullPanoWidthPixels", b"").strip()
    kind = fields.get(b"ProjectionType", b"").strip().lower()
    return kind == b"equirectangular" and (not width or not whole or width == whole)


class _ZeroPadded(io.BytesIO):
    """Bytes with endless zeros behind them.

    Pillow abandons a directory of tags at the first offset that points past the end. Zeros
    instead lose that tag alone, and a rational of zeros is 0/0, which is no number.
    """

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size).ljust(size or 0, b"\0")


def _exif(image: Image.Image, file: BinaryIO) -> Image.Exif:
    block = image.info.get("exif")
    if block is None and image.format == "PNG":
        block = _late_png_exif(file)
    if block is None:
        # Not image.getexif(): for a PNG that decodes the pixels.
        return Image.Image.getexif(image)
    exif = Image.Exif()
    exif.load_from_fp(_ZeroPadded(block.removeprefix(EXIF_MARK).removeprefix(EXIF_MARK)))
    return exif


def _late_png_exif(file: BinaryIO) -> bytes | None:
    """The eXIf chunk of a PNG wherever it is: Pillow's header stops at the pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            return file.read(length)
        file.seek(length + 4, io.SEEK_CUR)
    return None


def _comment_fields(image: Image.Image) -> dict[str, str]:
    """The `key: value` lines of a JPEG's comments, in one segment or many; the first wins."""
    fields: dict[str, str] = {}
    for segment, data in getattr(image, "applist", []):
        if segment == "COM":
            for line in data.splitlines():
                # Behind a NUL comes whatever was in the writer's memory.
                key, _, value = _text(line.split(b"\0")[0]).partition(":")
                fields.setdefault(key.strip().lower(), value.strip())
    return fields


def _position(comment: Mapping[str, str], gps: Mapping[int, Any]) -> tuple[float, float] | None:
    found = [
        (
            _degrees(gps.get(GPS.GPSLatitude), gps.get(GPS.GPSLatitudeRef), "NS"),
            _degrees(gps.get(GPS.GPSLongitude), gps.get(GPS.GPSLongitudeRef), "EW"),
        )
    ]
    with suppress(KeyError, ValueError):
        found.insert(0, (float(comment["latitude"]), float(comment["longitude"])))
    for latitude, longitude in found:
        if abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude or longitude):
            return latitude, longitude
    return None


def _degrees(value: Any, reference: Any, hemispheres: str) -> float:
    """Degrees from up to three parts: degrees, minutes, seconds. NaN unless all are numbers.

    EXIF has a hemisphere instead of a sign; a sign that is there all the same is believed.
    """
    hemisphere = _text(reference).strip(" \0")[:1].upper()
    parts = _numbers(value)
    if not 1 <= len(parts) <= 3 or not hemisphere or hemisphere not in hemispheres:
        return math.nan
    degrees = sum(abs(part) / 60**power for power, part in enumerate(parts))
    return -degrees if hemisphere in "SW" or min(parts) < 0 else degrees


def _heading(gps: Mapping[int, Any]) -> float | None:
    """Only true bearings: magnetic north is off by an amount that depends on the place."""
    direction = _numbers(gps.get(GPS.GPSImgDirection))
    true_north = _text(gps.get(GPS.GPSImgDirectionRef)).strip(" \0").upper() == "T"
    if not true_north or len(direction) != 1 or not 0 <= direction[0] <= 360:
        return None
    return direction[0] % 360


def _taken_at(value: Any) -> str:
    with suppress(ValueError):
        return datetime.strptime(_text(value).strip(" \0"), "%Y:%m:%d %H:%M:%S").isoformat()
    return ""


def _numbers(value: Any) -> list[float]:
    """A tag's value as floats, x/0 as NaN; none if it is not numeric."""
    with suppress(TypeError, ValueError):
        return [float(part) for part in (value if isinstance(value, tuple) else (value,))]
    return []


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            return value.decode()
        return value.decode("latin-1")
    return str(value or "")
