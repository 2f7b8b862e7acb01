"""Benchmarks: folders of photos with known places, packed as `pack` does it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from nogps.acquire.sources.folder import Folder, name_of
from nogps.base.errors import InputError
from nogps.dataset import packing, tables
from nogps.photos import images
from nogps.photos.status import Status


def named(benchmarks: Sequence[Path]) -> dict[str, Path]:
    """The sets of eval.benchmarks by name, each name once; InputError if two share one."""
    found = {name_of(path): path for path in benchmarks}
    if len(found) < len(benchmarks) or {"test", "val"} & set(found):
        raise InputError(
            "eval.benchmarks: each folder or file needs a name of its own, and none may be called "
            "test or val; rename them"
        )
    return found


def read_folder(path: Path, packed: Path, side: int, parameter: str = "") -> pd.DataFrame:
    """Pack the photos of a folder that the source `folder` understands; a row a photo.

    One that is not there or cannot be read has another status than ok. A panorama is one photo,
    as it is for `Locator.locate`. What is wrong is told with `parameter` in front.
    """
    try:
        source = Folder(path)
        candidates = pd.DataFrame([asdict(candidate) for candidate in source.candidates()])
    except InputError as error:
        raise InputError(str(error).replace("folder.path: ", parameter)) from None
    url = dict(zip(candidates["photo_id"], candidates["url"], strict=True))

    def read(photo_id: str) -> bytes:
        fetched = source.read(url[photo_id])
        if fetched.status is not Status.OK:
            raise images.BadImage(str(fetched.status))
        return fetched.body

    index = packing.pack(list(url), read, packed, side)
    index["heading"] = candidates["heading"].astype("float64")
    return tables.with_candidates(index, candidates)
