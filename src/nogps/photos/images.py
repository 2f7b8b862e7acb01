"""Pictures: decoding, checking, packing. The only place where bytes become pixels."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

pillow_heif.register_heif_opener()
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp"}
SUFFIXES |= {"HEIF": ".heic", "TIFF": ".tif", "GIF": ".gif"}
FORMATS = [name for name in SUFFIXES if name != "MPO"]  # which the JPEG reader recognises
LARGEST_PIXELS = 300_000_000  # a picture that claims more is not decoded
LONGEST_SHAPE = 20  # times as long as wide; packed strips would be as large as the disk
SMALLEST_SIDE = 16  # pixels; less shows nothing that a place could be told by
JPEG_QUALITY = 92
Photo = str | Path | bytes | Image.Image | NDArray[np.uint8]  # a path, a file, or pixels
Image.MAX_IMAGE_PIXELS = None  # our own limit, above, raises instead of warning


class BadImage(ValueError):
    """Bytes that are no picture we can read; the message says why."""


@dataclass(frozen=True)
class Packed:
    """A photo at training size, its metadata gone."""

    jpeg: bytes
    width: int
    height: int
    phash: bytes  # 32 bytes: 256-bit perceptual hash


def checked_size(body: bytes) -> tuple[int, int]:
    """Width and height in pixels of a picture that decodes to its end; BadImage otherwise."""
    image = _open(body)
    size = image.size
    try:
        image.draft("RGB", (1, 1))  # every byte of a JPEG is read, an eighth of it drawn
        image.load()
    except Exception as error:  # truncated or corrupt pixels: many kinds
        raise BadImage(f"cannot be decoded ({error})") from error
    return size


def is_flat(body: bytes) -> bool:
    """Whether nearly all of a picture is one colour, as where a sentence stands for a view."""
    pixels = np.asarray(_loaded(body, at_least=64).resize((64, 64)), dtype=np.int16)
    common = np.median(pixels.reshape(-1, 3), axis=0)
    return bool((np.abs(pixels - common).max(axis=2) <= 6).mean() > 0.85)


def suffix_of(body: bytes) -> str:
    """The file name suffix that fits the bytes, whatever the file was called; BadImage if none."""
    return SUFFIXES[str(_open(body).format)]


def pack(photo: Photo, side: int) -> Packed:
    """Decode once; turn upright, resize so that the shorter side is `side`, hash, encode.

    Nothing of the file but its pixels survives: no EXIF, no GPS, no comments, no profile. BadImage
    if the bytes are truncated, corrupt, or no picture.
    """
    import imagehash

    image = _resized(photo, side)
    phash = imagehash.phash(image, hash_size=16).hash
    return Packed(_encoded(image), *image.size, np.packbits(phash).tobytes())


def square(photo: Photo, image_size: int) -> NDArray[np.uint8]:
    """A photo as a model sees it that was trained on packed ones: (image_size, image_size, 3).

    `photo` is a path, a file's bytes, a Pillow image, or a uint8 array of shape (height, width)
    or (height, width, 3), RGB. The pixels are those of `pack` and then `whole`, but that torch is
    not needed, whose rounding is another: a value may differ by one, one in a million by two.
    BadImage if it is no picture that can be read, OSError if the path cannot be opened.
    """
    packed = Image.fromarray(simplejpeg.decode_jpeg(packed_jpeg(photo, pack_side(image_size))))
    return np.asarray(packed.resize((image_size, image_size), Image.Resampling.BILINEAR))


def packed_jpeg(photo: Photo, side: int) -> bytes:
    """The JPEG that `pack` makes of a photo, which may be anything that `square` takes."""
    return _encoded(_resized(photo, side))


def pack_side(image_size: int) -> int:
    """Shorter side of a packed photo, in pixels: some margin for crops (256 for 224)."""
    return -(-image_size * 8 // 7)


def thumbnail(photo: Photo, side: int = 256) -> bytes:
    """A JPEG whose longer side is at most `side` pixels, to show to people."""
    image = _loaded(photo, side)
    image.thumbnail((side, side))
    return _encoded(image, 85)


def decoded(body: bytes, longer: int) -> Image.Image:
    """Upright RGB pixels, the longer side at least `longer` if the picture's is."""
    image = _open(body)
    scale = longer / max(image.size)
    return _upright(image, (math.ceil(image.width * scale), math.ceil(image.height * scale)))


def _resized(photo: Photo, side: int) -> Image.Image:
    """Upright RGB pixels, `side` of them on the shorter side."""
    image = _loaded(photo, side)
    if min(image.size) < SMALLEST_SIDE:
        raise BadImage(f"{image.width} x {image.height} pixels are too few to tell a place by")
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


def _encoded(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()


def _open(body: bytes) -> Image.Image:
    if not body:
        raise BadImage("empty, 0 bytes")
    try:
        image = Image.open(io.BytesIO(body), formats=FORMATS)
    except Exception as error:  # Pillow's readers raise many kinds for corrupt headers
        raise BadImage(f"not an image ({type(error).__name__})") from error
    return _checked(image)


def _checked(image: Image.Image) -> Image.Image:
    if max(image.size) > LONGEST_SHAPE * min(image.size):
        raise BadImage(f"{image.width} x {image.height} pixels are a strip, not a photo")
    if image.width * image.height > LARGEST_PIXELS:
        raise BadImage(f"{image.width} x {image.height} pixels are too many to decode")
    return image


def _loaded(photo: Photo, at_least: int) -> Image.Image:
    """Upright RGB pixels of a photo; of a file the shorter side is `at_least` long where it is."""
    if isinstance(photo, np.ndarray):
        fits = photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] == 3)
        if photo.dtype != np.uint8 or not fits or not photo.size:
            raise BadImage(
                f"an array of {photo.dtype} and shape {photo.shape} is no photo; give uint8 of "
                "shape (height, width, 3)"
            )
        photo = Image.fromarray(photo)
    if isinstance(photo, Image.Image):
        return _upright(_checked(photo))
    image = _open(photo if isinstance(photo, bytes) else Path(photo).read_bytes())
    # JPEG decodes at 1/2, 1/4 or 1/8 of its size for a fraction of the time.
    scale = 2 * at_least / min(image.size)
    return _upright(image, (round(image.width * scale), round(image.height * scale)))


def _upright(image: Image.Image, draft: tuple[int, int] | None = None) -> Image.Image:
    """RGB pixels as they are to be seen, without metadata."""
    try:
        if draft:
            image.draft("RGB", draft)
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I") or image.mode == "F":
            values = np.asarray(image, dtype=np.float64)
            scale = 255 / (65535.0 if values.max() > 255 else 255.0)
            image = Image.fromarray((values * scale).clip(0, 255).astype(np.uint8))
        if "A" in image.getbands() or "transparency" in image.info:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        image = image.convert("RGB")
    except Exception as error:  # truncated or corrupt pixels: also many kinds
        raise BadImage(f"cannot be decoded ({error})") from error
    image.info.clear()  # Pillow would write comments and EXIF into what is saved next
    return image
