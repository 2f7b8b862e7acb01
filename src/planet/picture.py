"""Draws the simulated planet's photos: crude pictures that carry the cues of real places.

What is to be seen follows from `looks`; everything else (viewpoint, what stands in the way, the
camera) is drawn per photo. Drawing uses whole pixels and Pillow alone, so a photo's bytes are
the same on every x86-64 machine.
"""

import io
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from PIL import Image

from planet.looks import Canvas
from planet.photos import Photo, chance
from planet.scenes import SCENES

LATEST = 300  # pictures kept


def jpeg(photo: Photo, longest: int | None = None) -> bytes:
    """The photo as JPEG bytes, its longest side shrunk to `longest` pixels if that is given."""
    rng = random.Random(f"view {photo.view}")
    canvas = Canvas(photo, rng)
    SCENES[photo.scene](canvas)
    # From here on the takes of a burst differ.
    camera = random.Random(f"take {photo.view} {photo.take}")
    image = _through_the_lens(canvas, photo, camera)
    if longest and longest < max(image.size):
        width, height = (side * longest // max(image.size) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    image = _develop(image, rng, camera)
    return encoded(image, "JPEG", quality=camera.randrange(60, 93))


class Gallery:
    """Draws pictures. With `distinct`, only so many, told apart by a comment in the JPEG."""

    def __init__(self, planet: Sequence[Photo], distinct: int = 0):
        self._models = planet[: max(0, distinct)]
        self._draw = lru_cache(maxsize=None if self._models else LATEST)(jpeg)

    def picture(self, photo: Photo, longest: int | None = None) -> bytes:
        """The picture of a photo, its longest side shrunk to `longest` pixels if that is given.

        One of the `distinct` without it has the photo's size.
        """
        if not self._models:
            return self._draw(photo, longest)
        name = photo.photo_id if longest else photo.view
        model = self._models[int(len(self._models) * chance("model", name))]
        if not longest:
            model = replace(model, width=photo.width, height=photo.height)
        return with_segment(self._draw(model, longest), 0xFE, name.encode())


def encoded(image: Image.Image, form: str, **options: int) -> bytes:
    """The image as a file of this format."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def with_segment(picture: bytes, mark: int, data: bytes) -> bytes:
    """The JPEG with a segment, such as a comment or metadata, right behind its first marker."""
    segment = bytes([0xFF, mark]) + (len(data) + 2).to_bytes(2, "big") + data
    return picture[:2] + segment + picture[2:]


def _through_the_lens(canvas: Canvas, photo: Photo, camera: random.Random) -> Image.Image:
    """Cut the frame out of the scene: a little tilted, and each take of a burst elsewhere."""
    rng, margin = canvas.rng, canvas.margin
    tilt = rng.choice([0, 0, rng.uniform(-0.09, 0.09)])
    zoom = rng.uniform(0.92, 1.0)
    shake = margin / 50
    left = margin - tilt * photo.height / 2 + camera.uniform(-shake, shake)
    top = margin + tilt * photo.width / 2 + camera.uniform(-shake, shake)
    size, matrix = (photo.width, photo.height), (zoom, tilt, left, -tilt, zoom, top)
    return canvas.image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _develop(image: Image.Image, rng: random.Random, camera: random.Random) -> Image.Image:
    """White balance, exposure, contrast and sensor noise."""
    gains = [rng.uniform(0.98, 1.02) * camera.uniform(0.99, 1.01) for _ in range(3)]
    exposure, contrast = rng.uniform(0.85, 1.15), rng.uniform(0.9, 1.1)
    table = [
        min(255, max(0, math.floor((value * gain * exposure - 128) * contrast + 128)))
        for gain in gains
        for value in range(256)
    ]
    pixels, strength = np.asarray(image.point(table)).astype(np.int16), rng.choice([2, 4, 4, 9])
    words = np.random.PCG64(camera.getrandbits(64)).random_raw((pixels.size + 7) // 8)
    noise = words.view(np.uint8)[: pixels.size].reshape(pixels.shape).astype(np.int16) - 128
    return Image.fromarray(np.clip(pixels + noise * strength // 64, 0, 255).astype(np.uint8))
