import pickle
import tarfile

import numpy as np
import pytest

from nogps.photos.shards import Shards, member_name, write_shard


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
