"""The packed photos as tables, joined with what is known of each."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nogps.photos.shards import read_index
from nogps.photos.status import Status


def read_photos(packed: Path, candidates: Path, splits: Path | None = None) -> pd.DataFrame:
    """An index of packed photos, `with_candidates`; with `splits`, each with its fold."""
    photos = with_candidates(read_index(packed), pd.read_parquet(candidates))
    if splits:
        photos = photos.merge(pd.read_parquet(splits), on="photo_id", validate="one_to_one")
    return photos


def readable(photos: pd.DataFrame, fold: str) -> pd.DataFrame:
    """The photos of a fold that could be packed, of a table that `read_photos` gave."""
    return photos[(photos["fold"] == fold) & (photos["status"] == Status.OK)]


def with_candidates(index: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """An index of packed photos, each with the columns of its candidate but the heading."""
    known = candidates.drop(columns="heading").rename(columns={"photo_id": "candidate_id"})
    return index.merge(known, on="candidate_id", validate="many_to_one")


def phashes(index: pd.DataFrame) -> NDArray[np.uint64]:
    """Perceptual hashes (n, 4) of packed photos; of one that could not be read, like no other."""
    pairs = zip(index["phash"], index["photo_id"], strict=True)
    rows = [phash or hashlib.sha256(photo_id.encode()).digest() for phash, photo_id in pairs]
    return np.frombuffer(b"".join(rows), dtype=np.uint64).reshape(-1, 4)
