import threading
from collections import Counter

import pandas as pd
import pytest

from nogps import store
from nogps.fetch import fetch_all
from nogps.sources import Fetched, Status
from tests.test_images import encoded, picture

PHOTOS = 2500  # three blocks


class Album:
    """A source in memory that counts what was asked of it and can be made to fail."""

    def __init__(self, bodies: dict[str, bytes]):
        self.bodies = bodies
        self.asked: Counter[str] = Counter()
        self.interrupt_after: int | None = None
        self.down: set[str] = set()
        self._lock = threading.Lock()

    def fetch(self, url: str) -> Fetched:
        with self._lock:
            self.asked[url] += 1
            if self.interrupt_after is not None and self.asked.total() > self.interrupt_after:
                raise KeyboardInterrupt
        if url in self.down:
            return Fetched(Status.FAILED)
        if url not in self.bodies:
            return Fetched(Status.GONE)
        return Fetched(Status.OK, self.bodies[url])


@pytest.fixture(scope="module")
def bodies() -> dict[str, bytes]:
    base = encoded(picture(64, 64))
    # Bytes after the end of a JPEG change nothing but the bytes.
    return {f"u{each}": base + str(each).encode() for each in range(PHOTOS)}


def listed(urls) -> pd.DataFrame:
    return pd.DataFrame({"photo_id": [f"id-{url}" for url in urls], "url": list(urls)})


def run(urls, album, tmp_path, out="out", **options):
    options = {"threads": 8, "min_side": 32, **options}
    return fetch_all(listed(urls), album, tmp_path / "scratch", tmp_path / out, **options)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_candidate_has_one_status_and_its_bytes(bodies, tmp_path):
    special = {
        "text": b"<html>",
        "small": encoded(picture(40, 20)),
        "twin": bodies["u0"],
        "png": encoded(picture(64, 64), "PNG"),
    }
    album = Album({**bodies, **special})
    album.down.add("u7")
    urls = [*bodies, *special, "missing"]
    index = run(urls, album, tmp_path)
    assert index["photo_id"].tolist() == [f"id-{url}" for url in urls]
    odd = dict(zip(urls, index["status"], strict=True))
    assert {url: status for url, status in odd.items() if status != "ok"} == {
        "u7": "failed",
        "text": "not_an_image",
        "small": "too_small",
        "twin": "duplicate",
        "missing": "gone",
    }
    kept = index[index["status"] == "ok"]
    read = store.Shards(tmp_path / "out").read
    for photo_id, place in zip(kept["photo_id"], store.places(kept), strict=True):
        assert read(place) == album.bodies[photo_id.removeprefix("id-")]
    pd.testing.assert_frame_equal(index, store.read_index(tmp_path / "out"))


@pytest.mark.parametrize("stop", [0, 1, 700, 1000, 1900])
def test_an_interrupted_run_goes_on_and_ends_the_same(bodies, tmp_path, stop):
    undisturbed, album = Album(bodies), Album(bodies)
    run(bodies, undisturbed, tmp_path / "calm")
    album.interrupt_after = stop
    with pytest.raises(KeyboardInterrupt):
        run(bodies, album, tmp_path)
    assert not (tmp_path / "out").exists()
    refused = Counter(album.asked)
    album.interrupt_after = None
    run(bodies, album, tmp_path, threads=3)
    assert contents(tmp_path / "out") == contents(tmp_path / "calm" / "out")
    # Asked again only for those that the interruption refused.
    again = sum(count - 1 for count in album.asked.values())
    assert again == refused.total() - stop


def test_nothing_is_fetched_twice_when_candidates_change(bodies, tmp_path):
    album = Album(bodies)
    urls = list(bodies)
    run(urls[:2000], album, tmp_path)
    index = run([*urls[300:1500:2], *urls[1900:]], album, tmp_path, out="other")
    assert set(album.asked.values()) == {1}
    assert (index["status"] == "ok").all()
    fresh = Album(bodies)
    run([*urls[300:1500:2], *urls[1900:]], fresh, tmp_path / "fresh")
    assert contents(tmp_path / "other") == contents(tmp_path / "fresh" / "out")


def test_failed_is_tried_again_and_gone_is_not(bodies, tmp_path):
    album = Album({url: bodies[url] for url in list(bodies)[:50]})
    album.down.add("u3")
    urls = [*album.bodies, "missing"]
    assert run(urls, album, tmp_path)["status"].value_counts()["failed"] == 1
    album.down.clear()
    index = run(urls, album, tmp_path)
    assert index["status"].value_counts().to_dict() == {"ok": 50, "gone": 1}
    assert {url for url, count in album.asked.items() if count > 1} == {"u3"}


def test_a_lower_limit_fetches_only_what_was_too_small(tmp_path):
    album = Album({f"u{side}": encoded(picture(side, side)) for side in range(20, 60)})
    run(album.bodies, album, tmp_path, min_side=40)
    index = run(album.bodies, album, tmp_path, min_side=30)
    assert (index["status"] == "ok").sum() == 30
    assert {url for url, count in album.asked.items() if count == 2} == {
        f"u{side}"
        for side in range(30, 40)  # smaller ones still are
    }
    assert (run(album.bodies, album, tmp_path, min_side=50)["status"] == "too_small").sum() == 30


def test_the_photo_that_a_duplicate_repeats_may_vanish(bodies, tmp_path):
    album = Album({"a": bodies["u1"], "b": bodies["u1"]})
    assert run(["a", "b"], album, tmp_path)["status"].tolist() == ["ok", "duplicate"]
    assert run(["b"], album, tmp_path)["status"].tolist() == ["ok"]
    assert run(["b"], album, tmp_path)["status"].tolist() == ["ok"]


def test_scratch_and_outs_share_their_bytes(bodies, tmp_path):
    run(list(bodies)[:10], Album(bodies), tmp_path)
    (shard,) = (tmp_path / "out").glob("*.tar")
    assert shard.stat().st_nlink == 2
    assert not list((tmp_path / "scratch" / "loose").iterdir())
