import hashlib
import pickle
import tarfile

import numpy as np
import pandas as pd
import pytest

from nogps.dataset import packing, tables
from nogps.photos import images
from nogps.photos import shards as shards_module
from nogps.photos.shards import Shards, member_name, read_index, write_shard
from tests.pictures import encoded, picture


def bodies(count: int) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {f"p{each}": rng.bytes(int(rng.integers(1, 3000))) for each in range(count)}


def test_any_photo_can_be_read_by_itself(tmp_path):
    photos = bodies(50)
    places = write_shard(tmp_path / "shard-00000.tar", photos.items())
    shards = pickle.loads(pickle.dumps(Shards(tmp_path)))
    for name, place in reversed(list(zip(photos, places, strict=True))):
        assert shards.read(place) == photos[name]


def test_a_shard_is_an_ordinary_tar_with_the_same_bytes_every_time(tmp_path):
    photos = bodies(10)
    for name in ("a.tar", "b.tar"):
        write_shard(tmp_path / name, photos.items())
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert {m.name: tar.extractfile(m).read() for m in tar.getmembers()} == photos
        assert {(m.mtime, m.uid, m.uname) for m in tar.getmembers()} == {(0, 0, "")}


def test_long_names_do_not_move_the_offsets(tmp_path):
    photos = {"x" * 300 + str(each): body for each, body in enumerate(bodies(5).values())}
    places = write_shard(tmp_path / "long.tar", photos.items())
    read = Shards(tmp_path).read
    assert [read(place) for place in places] == list(photos.values())


def test_a_failed_write_leaves_the_old_shard(tmp_path):
    write_shard(tmp_path / "s.tar", [("a", b"old")])
    before = (tmp_path / "s.tar").read_bytes()

    def broken():
        yield "a", b"new"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "s.tar", broken())
    assert (tmp_path / "s.tar").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["s.tar"]


def test_member_names_follow_webdataset():
    assert member_name("holiday/IMG 1.2.jpg", ".jpg") == "holiday/IMG_1_2.jpg"
    assert member_name("123456", ".jpg") == "123456.jpg"


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
    assert all(read(place)[:2] == b"\xff\xd8" for place in shards_module.places(good))


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
    for row, place in zip(index.head(5).itertuples(), shards_module.places(index), strict=False):
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
