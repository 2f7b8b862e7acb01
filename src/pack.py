"""Stage pack: each photo once more, at training size, upright, its metadata gone.

A panorama becomes panorama.headings photos, evenly around. Writes data/packed/shard-*.tar,
data/packed/index.parquet (with a perceptual hash for each photo) and metrics/pack.json. The
shorter side is image_size * 8 / 7, to leave a margin for crops.
"""

import math
from collections.abc import Callable

import pandas as pd

import stage
from nogps import images, panorama, store
from nogps.panorama import View
from nogps.sources import Status
from nogps.store import Photo


def pack(params: stage.Params) -> None:
    """Decode every photo once: check, turn panoramas into photos, shrink, hash."""
    index = store.read_index(stage.PHOTOS)
    index = index[index["status"] == Status.OK]
    photos = store.Shards(stage.PHOTOS)
    places = dict(zip(index["photo_id"], store.places(index), strict=True))
    side = images.pack_side(params.image_size)
    packed = store.pack(
        list(places),
        lambda key: photos.read(places[key]),
        stage.PACKED,
        side,
        photos_of(params.panorama, index),
    )
    unreadable = packed[packed["status"] != "ok"]
    panoramas = packed.loc[packed["bearing"].notna(), "candidate_id"].nunique()
    stage.write_metrics(
        "pack",
        {
            "photos": len(packed),
            "status": {"ok": len(packed) - len(unreadable), "unreadable": len(unreadable)},
            "panoramas": panoramas,
            "side": side,
            "megabytes": round(float(packed["size"].sum()) / 1e6, 3),
        },
    )
    print(f"{len(packed)} photos packed, {side} pixels on the shorter side")
    if panoramas:
        print(f"{panoramas} panoramas among them became {params.panorama.headings} photos each")
    for photo_id, reason in unreadable[["photo_id", "reason"]].head(10).itertuples(index=False):
        print(f"  {photo_id} {reason}")
    if len(unreadable):
        print(f"{len(unreadable)} could not be read; in the test fold they count as misses")


def photos_of(how: stage.Panorama, index: pd.DataFrame) -> Callable[[str, bytes, int], list[Photo]]:
    """What `store.pack` makes of each candidate: itself, or the views of a panorama."""
    columns = (index[name] for name in ("photo_id", "heading", "field_of_view"))
    known = {key: each for key, *each in zip(*columns, strict=True)}
    offsets = [360 * number / how.headings for number in range(how.headings)]

    def made(candidate_id: str, body: bytes, side: int) -> list[Photo]:
        heading, field_of_view = known[candidate_id]
        if not panorama.all_around(body, field_of_view):
            return [Photo(candidate_id, images.pack(body, side), heading)]
        # From north where that is known, else from the middle of the picture.
        start = 0.0 if math.isnan(heading) else heading
        bearings = [(offset - start) % 360 for offset in offsets]
        views = [View(bearing, how.fov, how.pitch) for bearing in bearings]
        return [
            Photo(
                unlike(known, f"{candidate_id}_{round(offset):03d}"),
                packed,
                math.nan if math.isnan(heading) else offset,
                bearing,
            )
            for offset, packed, bearing in zip(
                offsets, panorama.pack(body, side, views), bearings, strict=True
            )
        ]

    return made


def unlike(taken: dict, photo_id: str) -> str:
    """The id of a view, with `_` behind it where a candidate is called like that."""
    while photo_id in taken:
        photo_id += "_"
    return photo_id


if __name__ == "__main__":
    stage.main(pack, __doc__)
