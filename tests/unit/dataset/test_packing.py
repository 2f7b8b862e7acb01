import hashlib
import tarfile

import numpy as np
import pandas as pd

from nogps.dataset import packing, tables
from nogps.photos import images, panorama
from nogps.photos import shards as shards_module
from nogps.photos.shards import Shards, read_index, write_index, write_shard
from nogps.photos.status import Status
from tests.pictures import encoded, picture


def test_pack_accounts_for_every_photo_and_repeats_byte_for_byte(tmp_path):
    photos = {f"{each}.jpg": encoded(picture(seed=each)) for each in range(20)}
    photos["broken.jpg"] = photos["1.jpg"][:-300]
    photos["text.jpg"] = b"not a picture"
    digests = []
    for name in ("a", "b"):
        index = packing.pack(list(photos), photos.__getitem__, tmp_path / name, side=32)
        shard = (tmp_path / name / "shard-00000.tar").read_bytes()
        digests.append(hashlib.sha256(shard).hexdigest())
    assert digests[0] == digests[1]
    assert index["photo_id"].tolist() == list(photos)
    assert index.set_index("photo_id")["status"].value_counts().to_dict() == {
        "ok": 20,
        "unreadable": 2,
    }
    pd.testing.assert_frame_equal(index, read_index(tmp_path / "b"))
    read = Shards(tmp_path / "b").read
    good = index[index["status"] == "ok"]
    assert all(read(place)[:2] == b"\xff\xd8" for place in shards_module.byte_ranges(good))


def directions(candidate_id: str, body: bytes, side: int) -> list[packing.Photo]:
    """Two photos of a candidate whose name begins with a p, one of each other."""
    packed = images.pack(body, side)
    if not candidate_id.startswith("p"):
        return [packing.Photo(candidate_id, packed, 12.5)]
    return [
        packing.Photo(f"{candidate_id}_{each:03d}", packed, each, each + 5) for each in (0, 180)
    ]


def test_a_candidate_can_become_several_photos(tmp_path):
    bodies = {name: encoded(picture(seed=len(name))) for name in ("a.jpg", "p.b.jpg", "p.b.png")}
    bodies["pbroken.jpg"] = bodies["a.jpg"][:-300]
    index = packing.pack(list(bodies), bodies.__getitem__, tmp_path, 32, directions)
    assert index["photo_id"].tolist() == [
        "a.jpg",
        "p.b.jpg_000",
        "p.b.jpg_180",
        "p.b.png_000",
        "p.b.png_180",
        "pbroken.jpg",
    ]
    assert index["candidate_id"].tolist() == [
        *("a.jpg", "p.b.jpg", "p.b.jpg", "p.b.png", "p.b.png", "pbroken.jpg")
    ]
    assert index["status"].tolist() == ["ok"] * 5 + ["unreadable"]
    assert index["heading"].fillna(-1).tolist() == [12.5, 0, 180, 0, 180, -1]
    assert index["bearing"].fillna(-1).tolist() == [-1, 5, 185, 5, 185, -1]
    read = Shards(tmp_path).read
    for row, place in zip(
        index.head(5).itertuples(), shards_module.byte_ranges(index), strict=False
    ):
        assert read(place) == images.pack(bodies[row.candidate_id], 32).jpeg
    with tarfile.open(tmp_path / "shard-00000.tar") as tar:
        assert tar.getnames()[:3] == ["a.jpg", "p_b_000.jpg", "p_b_180.jpg"]


def test_what_is_known_of_a_candidate_holds_for_all_of_its_photos(tmp_path):
    bodies = {name: encoded(picture(seed=len(name))) for name in ("a", "pano", "p2")}
    packing.pack(list(bodies), bodies.__getitem__, tmp_path, 32, directions)
    candidates = pd.DataFrame(
        {
            "photo_id": ["p2", "gone", "pano", "a"],
            "latitude": [1.0, 2.0, 3.0, 4.0],
            "owner": ["x", "y", "z", ""],
            "heading": [77.0] * 4,
        }
    )
    candidates.to_parquet(tmp_path / "candidates.parquet")
    photos = tables.read_photos(tmp_path, tmp_path / "candidates.parquet")
    assert photos["photo_id"].tolist() == ["a", "pano_000", "pano_180", "p2_000", "p2_180"]
    assert photos["latitude"].tolist() == [4.0, 3.0, 3.0, 1.0, 1.0]
    assert photos["owner"].tolist() == ["", "z", "z", "x", "x"]
    assert photos["heading"].tolist() == [12.5, 0, 180, 0, 180]
    dealt = photos[["photo_id"]].assign(fold=["val", "train", "train", "test", "test"])
    dealt.iloc[::-1].to_parquet(tmp_path / "splits.parquet")
    again = tables.read_photos(
        tmp_path, tmp_path / "candidates.parquet", tmp_path / "splits.parquet"
    )
    assert again["photo_id"].tolist() == photos["photo_id"].tolist()
    assert again["fold"].tolist() == dealt["fold"].tolist()


def test_unreadable_photos_are_like_no_other(tmp_path):
    photos = {"a": b"", "b": b"", "c": encoded(picture())}
    index = packing.pack(list(photos), photos.__getitem__, tmp_path, side=32)
    hashes = tables.phashes(index)
    assert hashes.shape == (3, 4)
    assert len(np.unique(hashes, axis=0)) == 3


def test_what_was_fetched_is_packed_and_nothing_else(tmp_path):
    bodies = [encoded(picture(seed=each)) for each in range(3)]
    where = write_shard(tmp_path / "fetched/shard-00000.tar", zip("abc", bodies, strict=True))
    table = pd.DataFrame(
        [{"photo_id": each, **vars(place)} for each, place in zip("abc", where, strict=True)]
    )
    table = table.assign(status=["ok", "too_small", "ok"], heading=[90.0, 0, np.nan])
    write_index(tmp_path / "fetched", table.assign(field_of_view=60.0))
    how = panorama.Settings(headings=4, fov=90, pitch=0)
    index = packing.pack_fetched(tmp_path / "fetched", tmp_path / "packed", 32, how)
    assert index["photo_id"].tolist() == ["a", "c"]
    assert index["heading"].fillna(-1).tolist() == [90, -1]
    read = Shards(tmp_path / "packed").read
    for body, place in zip((bodies[0], bodies[2]), shards_module.byte_ranges(index), strict=True):
        assert read(place) == images.pack(body, 32).jpeg


def test_readable_photos_are_those_of_one_fold_that_could_be_packed():
    table = pd.DataFrame(
        [(fold, str(status)) for fold in ("train", "val", "left_out") for status in Status],
        columns=["fold", "status"],
    )
    assert tables.readable(table, "val").index.tolist() == [len(Status)]
    assert tables.readable(table, "test").empty
