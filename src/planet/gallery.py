"""Pictures as JPEG bytes: drawn in threads when they are asked for, the last ones kept."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import lru_cache

from planet.faults import chance
from planet.photos import Photo
from planet.picture import jpeg

LATEST = 300  # pictures kept


class Gallery:
    """Draws pictures. With `distinct`, only so many, told apart by a comment in the JPEG."""

    def __init__(self, planet: Sequence[Photo], threads: Executor, distinct: int = 0):
        self._threads = threads
        self._models = planet[: max(0, distinct)]
        self._kept: dict[tuple, bytes] = {}
        self._draw = lru_cache(maxsize=LATEST)(jpeg)

    async def flickr(self, photo: Photo, side: int) -> bytes:
        """Flickr's picture of a photo, its longest side shrunk to `side` pixels."""
        if not self._models:
            return await self._rendered(photo, side)
        which = self._which(photo.photo_id)
        return await self._copied((which, side), self._models[which], side, photo.photo_id)

    async def streetview(self, photo: Photo) -> bytes:
        """Street View's picture of a photo, in the size that the photo has."""
        if not self._models:
            return await self._rendered(photo, None)
        which, size = self._which(photo.view), (photo.width, photo.height)
        model = replace(self._models[which], width=size[0], height=size[1])
        return await self._copied((which, size), model, None, photo.view)

    async def painted(self, paint: Callable[[], bytes]) -> bytes:
        """A picture of another service, always its own; those of streets are kept where drawn."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, paint)

    def _which(self, name: str) -> int:
        return int(len(self._models) * chance("model", name))

    async def _copied(self, key: tuple, model: Photo, side: int | None, name: str) -> bytes:
        if key not in self._kept:
            self._kept[key] = await self._rendered(model, side)
        return with_comment(self._kept[key], name)

    async def _rendered(self, photo: Photo, side: int | None) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._draw, photo, side)


def with_comment(picture: bytes, comment: str) -> bytes:
    """The JPEG with a comment right behind its first marker."""
    text = comment.encode()
    return picture[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + picture[2:]
