"""Stage pack: each photo once more, at training size, upright, its metadata gone.

Writes data/packed/shard-*.tar, data/packed/index.parquet (with a perceptual hash for each photo)
and metrics/pack.json. The shorter side is image_size * 8 / 7, to leave a margin for crops.
"""

import stage
from nogps import images, store
from nogps.sources import Status


def pack(params: stage.Params) -> None:
    """Decode every photo once: check, shrink, hash."""
    index = store.read_index(stage.PHOTOS)
    index = index[index["status"] == Status.OK]
    photos = store.Shards(stage.PHOTOS)
    places = dict(zip(index["photo_id"], store.places(index), strict=True))
    side = images.pack_side(params.image_size)
    packed = store.pack(list(places), lambda key: photos.read(places[key]), stage.PACKED, side)
    unreadable = packed[packed["status"] != "ok"]
    stage.write_metrics(
        "pack",
        {
            "photos": len(packed),
            "status": {"ok": len(packed) - len(unreadable), "unreadable": len(unreadable)},
            "side": side,
            "megabytes": round(float(packed["size"].sum()) / 1e6, 3),
        },
    )
    print(f"{len(packed)} photos packed, {side} pixels on the shorter side")
    for photo_id, reason in unreadable[["photo_id", "reason"]].head(10).itertuples(index=False):
        print(f"  {photo_id} {reason}")
    if len(unreadable):
        print(f"{len(unreadable)} could not be read; in the test fold they count as misses")


if __name__ == "__main__":
    stage.main(pack, __doc__)
