"""Stage pack: each photo once more, at training size, upright, its metadata gone.

A panorama becomes panorama.headings photos, evenly around. Writes data/packed/shard-*.tar,
data/packed/index.parquet (with a perceptual hash for each photo) and metrics/pack.json. The
shorter side is image_size * 8 / 7, to leave a margin for crops.
"""

from nogps.dataset import packing
from nogps.photos import images
from nogps.photos.status import Status
from nogps.pipeline import paths, run
from nogps.pipeline.params import Params


def pack(params: Params) -> None:
    """Decode every photo once: check, turn panoramas into photos, shrink, hash."""
    side = images.pack_side(params.image_size)
    packed = packing.pack_fetched(paths.PHOTOS, paths.PACKED, side, params.panorama)
    unreadable = packed[packed["status"] == Status.UNREADABLE]
    panoramas = packed.loc[packed["bearing"].notna(), "candidate_id"].nunique()
    run.write_metrics(
        "pack",
        photos=len(packed),
        status={"ok": len(packed) - len(unreadable), "unreadable": len(unreadable)},
        panoramas=panoramas,
        side=side,
        megabytes=round(float(packed["size"].sum()) / 1e6, 3),
    )
    print(f"{len(packed)} photos packed, {side} pixels on the shorter side")
    if panoramas:
        print(f"{panoramas} panoramas among them became {params.panorama.headings} photos each")
    for photo_id, reason in unreadable[["photo_id", "reason"]].head(10).itertuples(index=False):
        print(f"  {photo_id} {reason}")
    if len(unreadable):
        print(f"{len(unreadable)} could not be read; in the test fold they count as misses")


if __name__ == "__main__":
    run.main(pack, __doc__)
