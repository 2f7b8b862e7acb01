"""Pictures as JPEG bytes: drawn in threads when they are asked for, the last ones kept."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import lru_cache, partial

from planet.faults import chance
from planet.photos import Photo
from planet.picture import jpeg, with_segment

LATEST = 300  # pictures kept


class Gallery:
    """Draws pictures. With `distinct`, only so many, told apart by a comment in the JPEG."""

    def __init__(self, planet: Sequence[Photo], threads: Executor, distinct: int = 0):
        self._threads = threads
        self._models = planet[: max(0, distinct)]
        self._kept: dict[tuple, bytes] = {}
        self._draw = lru_cache(maxsize=LATEST)(jpeg)

    async def picture(self, photo: Photo, longest: int | None = None) -> bytes:
        """The picture of a photo, its longest side shrunk to `longest` pixels if that is given.

        One of the `distinct` without it has the photo's size.
        """
        if not self._models:
            return await self.drawn(partial(self._draw, photo, longest))
        name = photo.photo_id if longest else photo.view
        model = self._models[int(len(self._models) * chance("model", name))]
        if not longest:
            model = replace(model, width=photo.width, height=photo.height)
        if (model, longest) not in self._kept:
            self._kept[model, longest] = await self.drawn(partial(self._draw, model, longest))
        return with_segment(self._kept[model, longest], 0xFE, name.encode())

    async def drawn(self, draw: Callable[[], bytes]) -> bytes:
        """What a function draws, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, draw)
