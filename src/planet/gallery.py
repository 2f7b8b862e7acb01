"""Pictures of photos as JPEG bytes: drawn when they are asked for, the last ones kept."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from planet.faults import chance
from planet.photos import Photo
from planet.picture import jpeg, with_segment

LATEST = 300  # pictures kept


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
