"""The only place where bytes become pixels become tensors.

torch is imported where it is needed: those who only look at bytes do not wait seconds for it,
nor hold the hundreds of megabytes that it takes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from torch import Tensor

pillow_heif.register_heif_opener()

SUFFIXES = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "HEIF": ".heic",
    "TIFF": ".tif",
}
FORMATS = [name for name in SUFFIXES if name != "MPO"]  # which the JPEG reader recognises
LARGEST_PIXELS = 300_000_000  # a picture that claims more is not decoded
HASH_BITS = 256
LONGEST_SHAPE = 20  # times as long as wide; packed strips would be as large as the disk
JPEG_QUALITY = 92

# What every torchvision classifier was pretrained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

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
    pixels = np.asarray(_decode(body, at_least=64).resize((64, 64)), dtype=np.int16)
    common = np.median(pixels.reshape(-1, 3), axis=0)
    return bool((np.abs(pixels - common).max(axis=2) <= 6).mean() > 0.85)


def suffix_of(body: bytes) -> str:
    """The file name suffix that fits the bytes, whatever the file was called; BadImage if none."""
    return SUFFIXES[_open(body).format]


def pack(body: bytes, side: int) -> Packed:
    """Decode once; turn upright, shrink so that the shorter side is `side`, hash, encode.

    Nothing of the file but its pixels survives: no EXIF, no GPS, no comments, no profile.
    Small photos are enlarged, so every packed photo has the same shorter side.

    Raises:
        BadImage: the bytes are truncated, corrupt, or no picture.
    """
    image = _decode(body, at_least=side)
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    import imagehash

    phash = imagehash.phash(image, hash_size=16).hash
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return Packed(encoded.getvalue(), width, height, np.packbits(phash).tobytes())


def pack_side(image_size: int) -> int:
    """Shorter side of a packed photo, in pixels: some margin for crops (256 for 224)."""
    return -(-image_size * 8 // 7)


def to_tensor(jpeg: bytes) -> Tensor:
    """uint8 RGB pixels of a packed photo, shape (3, height, width)."""
    import torch

    pixels = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()


def whole(pixels: Tensor, image_size: int) -> Tensor:
    """The whole photo as a uint8 square: what a model sees outside training.

    Squeezed rather than cropped, since what tells a place is often at the edge.
    """
    from torchvision.transforms.v2 import functional as transforms

    return transforms.resize(pixels, [image_size, image_size], antialias=True)


def augmented(pixels: Tensor, image_size: int, rng: np.random.Generator) -> Tensor:
    """A random part of the photo, at random brightness, as a uint8 square.

    Never mirrored: that would change the side of the road that people drive on.
    """
    from torchvision.transforms.v2 import functional as transforms

    height, width = pixels.shape[-2:]
    share_high, share_wide = np.sqrt(rng.uniform(0.5, 1.0)) * rng.uniform(0.9, 1.0, size=2)
    high, wide = max(1, int(height * share_high)), max(1, int(width * share_wide))
    top, left = rng.integers(height - high + 1), rng.integers(width - wide + 1)
    square = transforms.resized_crop(
        pixels, int(top), int(left), high, wide, [image_size, image_size], antialias=True
    )
    return transforms.adjust_brightness(square, float(rng.uniform(0.8, 1.2)))


def normalise(batch: Tensor) -> Tensor:
    """Float pixels as the networks take them, from uint8 of shape (n, 3, size, size)."""
    import torch

    mean = torch.tensor(MEAN, device=batch.device).view(3, 1, 1) * 255
    std = torch.tensor(STD, device=batch.device).view(3, 1, 1) * 255
    return (batch.float() - mean) / std


def thumbnail(jpeg: bytes, side: int = 256) -> bytes:
    """A JPEG whose longer side is at most `side` pixels, to show to people."""
    image = _decode(jpeg, at_least=side)
    image.thumbnail((side, side))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def hamming(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bits that differ between hashes of shape (..., 4)."""
    return np.bitwise_count(a ^ b).sum(axis=-1, dtype=np.int64)


def _open(body: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(body), formats=FORMATS)
    except Exception as error:  # Pillow's readers raise many kinds for corrupt headers
        raise BadImage(f"not an image ({type(error).__name__})") from error
    if max(image.size) > LONGEST_SHAPE * min(image.size):
        raise BadImage(f"{image.width} x {image.height} pixels are a strip, not a photo")
    if image.width * image.height > LARGEST_PIXELS:
        raise BadImage(f"{image.width} x {image.height} pixels are too many to decode")
    return image


def _decode(body: bytes, at_least: int) -> Image.Image:
    """Upright RGB pixels whose shorter side is `at_least` long where the photo is."""
    image = _open(body)
    try:
        # JPEG decodes at 1/2, 1/4 or 1/8 of its size for a fraction of the time.
        scale = 2 * at_least / min(image.size)
        image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I") or image.mode == "F":
            image = _eight_bits(image)
        if "A" in image.getbands() or "transparency" in image.info:
            image = Image.alpha_composite(
                Image.new("RGBA", image.size, "white"), image.convert("RGBA")
            )
        image = image.convert("RGB")
    except Exception as error:  # truncated or corrupt pixels: also many kinds
        raise BadImage(f"cannot be decoded ({error})") from error
    image.info.clear()  # Pillow would write comments and EXIF into what is saved next
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image, dtype=np.float64)
    top = 65535.0 if values.max() > 255 else 255.0
    return Image.fromarray((values * (255 / top)).clip(0, 255).astype(np.uint8))
