import hashlib
import pickle
import tarfile

import numpy as np
import pandas as pd
import pytest

from nogps import store
from tests.test_images import encoded, picture


def bodies(count: int) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {f"p{each}": rng.bytes(int(rng.integers(1, 3000))) for each in range(count)}


def test_any_photo_can_be_read_by_itself(tmp_path):
    photos = bodies(50)
    places = store.write_shard(tmp_path / "shard-00000.tar", photos.items())
    shards = pickle.loads(pickle.dumps(store.Shards(tmp_path)))
    for name, place in reversed(list(zip(photos, places, strict=True))):
        assert shards.read(place) == photos[name]


def test_a_shard_is_an_ordinary_tar_with_the_same_bytes_every_time(tmp_path):
    photos = bodies(10)
    for name in ("a.tar", "b.tar"):
        store.write_shard(tmp_path / name, photos.items())
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert {m.name: tar.extractfile(m).read() for m in tar.getmembers()} == photos
        assert {(m.mtime, m.uid, m.uname) for m in tar.getmembers()} == {(0, 0, "")}


def test_long_names_do_not_move_the_offsets(tmp_path):
    photos = {"x" * 300 + str(each): body for each, body in enumerate(bodies(5).values())}
    places = store.write_shard(tmp_path / "long.tar", photos.items())
    read = store.Shards(tmp_path).read
    assert [read(place) for place in places] == list(photos.values())


def test_a_failed_write_leaves_the_old_shard(tmp_path):
    store.write_shard(tmp_path / "s.tar", [("a", b"old")])
    before = (tmp_path / "s.tar").read_bytes()

    def broken():
        yield "a", b"new"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.write_shard(tmp_path / "s.tar", broken())
    assert (tmp_path / "s.tar").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["s.tar"]


def test_member_names_follow_webdataset():
    assert store.member_name("holiday/IMG 1.2.jpg", ".jpg") == "holiday/IMG_1_2.jpg"
    assert store.member_name("123456", ".jpg") == "123456.jpg"


def test_pack_accounts_for_every_photo_and_repeats_byte_for_byte(tmp_path):
    photos = {f"{each}.jpg": encoded(picture(seed=each)) for each in range(20)}
    photos["broken.jpg"] = photos["1.jpg"][:-300]
    photos["text.jpg"] = b"not a picture"
    digests = []
    for name in ("a", "b"):
        index = store.pack(list(photos), photos.__getitem__, tmp_path / name, side=32)
        shard = (tmp_path / name / "shard-00000.tar").read_bytes()
        digests.append(hashlib.sha256(shard).hexdigest())
    assert digests[0] == digests[1]
    assert index["photo_id"].tolist() == list(photos)
    assert index.set_index("photo_id")["status"].value_counts().to_dict() == {
        "ok": 20,
        "unreadable": 2,
    }
    pd.testing.assert_frame_equal(index, store.read_index(tmp_path / "b"))
    read = store.Shards(tmp_path / "b").read
    good = index[index["status"] == "ok"]
    assert all(read(place)[:2] == b"\xff\xd8" for place in store.places(good))


def test_unreadable_photos_are_like_no_other(tmp_path):
    photos = {"a": b"", "b": b"", "c": encoded(picture())}
    index = store.pack(list(photos), photos.__getitem__, tmp_path, side=32)
    hashes = store.phashes(index)
    assert hashes.shape == (3, 4)
    assert len(np.unique(hashes, axis=0)) == 3
