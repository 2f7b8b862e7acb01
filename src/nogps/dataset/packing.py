"""Each photo once more, at training size, its metadata gone, in shards."""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from nogps.photos import images, panorama, shards
from nogps.photos.panorama import View
from nogps.photos.status import Status

UNREAD = images.Packed(b"", 0, 0, b"")


@dataclass(frozen=True)
class Photo:
    """A packed photo: a candidate, or what is seen of it in one direction."""

    photo_id: str  # the candidate's, and for a direction more behind it
    packed: images.Packed = UNREAD
    heading: float = math.nan  # degrees clockwise from north of its middle; NaN: unknown
    bearing: float = math.nan  # ... from the middle of its panorama; NaN: it is the candidate
    reason: str = ""  # why it cannot be read


def whole(candidate_id: str, body: bytes, side: int) -> list[Photo]:
    """The one photo that a candidate is."""
    return [Photo(candidate_id, images.pack(body, side))]


def pack_fetched(fetched: Path, folder: Path, side: int, how: panorama.Settings) -> pd.DataFrame:
    """Pack each photo of the shards in `fetched` whose status is ok; the index, as `pack` gives."""
    index = shards.read_index(fetched)
    index = index[index["status"] == Status.OK]
    originals = shards.Shards(fetched)
    where = dict(zip(index["photo_id"], shards.byte_ranges(index), strict=True))
    made = photos_of(how, index)
    return pack(list(where), lambda each: originals.read(where[each]), folder, side, made)


def pack(
    candidate_ids: list[str],
    read: Callable[[str], bytes],
    folder: Path,
    side: int,
    photos_of: Callable[[str, bytes, int], list[Photo]] = whole,
) -> pd.DataFrame:
    """Write every photo once more, `side` pixels high or wide, into shards; return the index.

    One row a photo, those of a candidate together, in the order given; see `_written`. `read` gives
    a candidate's original bytes, `photos_of` makes photos of them. A candidate that cannot be read
    is one row, under its own id.
    """

    def packed(candidate_id: str) -> list[Photo]:
        try:
            return photos_of(candidate_id, read(candidate_id), side)
        except images.BadImage as error:
            return [Photo(candidate_id, reason=str(error))]

    rows: list[dict] = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as threads,
        tqdm(total=len(candidate_ids), desc="pack", unit="photo") as bar,
    ):
        for number, start in enumerate(range(0, len(candidate_ids), shards.SHARD_SIZE)):
            block = candidate_ids[start : start + shards.SHARD_SIZE]
            results = []
            for candidate_id, photos in zip(block, threads.map(packed, block), strict=True):
                results += [(candidate_id, photo) for photo in photos]
                bar.update()
            rows += _written(folder / shards.shard_name(number), results)
    index = pd.DataFrame(rows)
    shards.write_index(folder, index)
    return index


def _written(shard: Path, results: list[tuple[str, Photo]]) -> list[dict]:
    """The rows of the index of photos, those that could be read in a shard now."""
    members = []
    for candidate, photo in results:
        if not photo.reason:
            suffix = photo.photo_id.removeprefix(candidate) + ".jpg"
            members.append((shards.member_name(candidate, suffix), photo.packed.jpeg))
    where = iter(shards.write_shard(shard, members))
    return [
        {
            "photo_id": photo.photo_id,
            "candidate_id": candidate,
            "status": str(Status.UNREADABLE if photo.reason else Status.OK),
            "reason": photo.reason,
            **asdict(shards.NO_BYTES if photo.reason else next(where)),
            "width": photo.packed.width,
            "height": photo.packed.height,
            "phash": photo.packed.phash,
            "heading": photo.heading,
            "bearing": photo.bearing,
        }
        for candidate, photo in results
    ]


def photos_of(
    how: panorama.Settings, index: pd.DataFrame
) -> Callable[[str, bytes, int], list[Photo]]:
    """What `pack` makes of each candidate: itself, or the views of a panorama."""
    columns = (index[name] for name in ("photo_id", "heading", "field_of_view"))
    known = {key: each for key, *each in zip(*columns, strict=True)}
    offsets = [360 * number / how.headings for number in range(how.headings)]

    def made(candidate_id: str, body: bytes, side: int) -> list[Photo]:
        heading, field_of_view = known[candidate_id]
        if not panorama.all_around(body, field_of_view):
            return [Photo(candidate_id, images.pack(body, side), heading)]
        # From north where that is known, else from the middle of the picture.
        start = 0.0 if math.isnan(heading) else heading
        views = [View((offset - start) % 360, how.fov, how.pitch) for offset in offsets]
        packs = panorama.pack(body, side, views)
        found = []
        for offset, view, packed in zip(offsets, views, packs, strict=True):
            photo_id = f"{candidate_id}_{round(offset):03d}"
            while photo_id in known:  # another candidate is called like that
                photo_id += "_"
            north = math.nan if math.isnan(heading) else offset
            found.append(Photo(photo_id, packed, north, view.bearing))
        return found

    return made
