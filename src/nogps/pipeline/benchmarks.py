"""Benchmarks: folders of photos with known places, packed as `pack` does it."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from nogps.acquire.candidate import Status
from nogps.acquire.sources.folder import Folder
from nogps.dataset import packing, tables
from nogps.photos import images


def read_folder(path: Path, packed: Path, side: int) -> pd.DataFrame:
    """Pack the photos of a folder that the source `folder` understands; a row a photo.

    One that is not there or cannot be read has another status than ok. A panorama is one photo,
    as it is for `Locator.locate`.
    """
    source = Folder(path)
    candidates = pd.DataFrame([asdict(candidate) for candidate in source.candidates()])
    url = dict(zip(candidates["photo_id"], candidates["url"], strict=True))

    def read(photo_id: str) -> bytes:
        fetched = source.read(url[photo_id])
        if fetched.status is not Status.OK:
            raise images.BadImage(str(fetched.status))
        return fetched.body

    index = packing.pack(list(url), read, packed, side)
    index["heading"] = candidates["heading"].astype("float64")
    return tables.with_candidates(index, candidates)
