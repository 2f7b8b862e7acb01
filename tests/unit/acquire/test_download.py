import asyncio
import os
import signal
from collections import Counter

import pandas as pd
import pytest

from nogps.acquire.candidate import Fetched, Status
from nogps.acquire.download import gather
from nogps.acquire.http import HostDown, Polite
from nogps.acquire.ledger import Spool, unfetched
from nogps.base.errors import InputError
from nogps.photos import shards
from tests.pictures import encoded, picture

BLOCK, PHOTOS = 200, 500  # three blocks


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_SIZE", BLOCK)
        yield


class Album:
    """A source in memory that counts what was asked of it and can be made to fail."""

    def __init__(self, bodies: dict[str, bytes]):
        self.bodies = bodies
        self.asked: Counter[str] = Counter()
        self.interrupt_after: int | None = None
        self.down: set[str] = set()
        self.placeholders: dict[str, bytes] = {}
        self.refuse_after: int | None = None

    async def fetch(self, url: str, http: Polite) -> Fetched:
        if self.refuse_after is not None and self.asked.total() >= self.refuse_after:
            raise InputError("no more")
        self.asked[url] += 1
        if self.interrupt_after is not None and self.asked.total() == self.interrupt_after + 1:
            signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0)
        if url in self.down:
            raise HostDown("u")
        if url in self.placeholders:
            return Fetched(Status.PLACEHOLDER, self.placeholders[url])
        if url not in self.bodies:
            return Fetched(Status.GONE)
        return Fetched(Status.OK, self.bodies[url])


@pytest.fixture(scope="module")
def bodies() -> dict[str, bytes]:
    base = encoded(picture(64, 64))
    # Bytes after the end of a JPEG change nothing but the bytes.
    return {f"u{each}": base + str(each).encode() for each in range(PHOTOS)}


def listed(urls, owner="") -> pd.DataFrame:
    ids = [f"id-{url}" for url in urls]
    return pd.DataFrame({"photo_id": ids, "url": list(urls), "owner": owner})


def run(urls, album, tmp_path, out="out", owner="", min_side=32):
    return gather(
        listed(urls, owner),
        album,
        tmp_path / "scratch",
        tmp_path / out,
        http=Polite(),
        min_side=min_side,
    )


def shards_index(folder) -> pd.DataFrame:
    return pd.read_parquet(folder / "index.parquet")


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
    read = shards.Shards(tmp_path / "out").read
    for photo_id, where in zip(kept["photo_id"], shards.byte_ranges(kept), strict=True):
        assert read(where) == album.bodies[photo_id.removeprefix("id-")]
    pd.testing.assert_frame_equal(index, shards.read_index(tmp_path / "out"))


@pytest.mark.parametrize("stop", [0, 1, 140, 200, 480])
def test_an_interrupted_run_goes_on_and_ends_the_same(bodies, tmp_path, stop):
    undisturbed, album = Album(bodies), Album(bodies)
    run(bodies, undisturbed, tmp_path / "calm")
    album.interrupt_after = stop
    with pytest.raises(KeyboardInterrupt):
        run(bodies, album, tmp_path)
    assert not (tmp_path / "out").exists()
    asked = album.asked.total()
    stored = PHOTOS - len(unfetched(list(bodies), tmp_path / "scratch"))
    assert 0 <= asked - stored <= 33  # nothing but what was under way is lost
    album.interrupt_after = None
    run(bodies, album, tmp_path)
    assert contents(tmp_path / "out") == contents(tmp_path / "calm" / "out")
    assert album.asked.total() == PHOTOS + asked - stored


def test_nothing_is_fetched_twice_when_candidates_change(bodies, tmp_path):
    album = Album(bodies)
    urls = list(bodies)
    run(urls[:400], album, tmp_path)
    index = run([*urls[60:300:2], *urls[380:]], album, tmp_path, out="other")
    assert set(album.asked.values()) == {1}
    assert (index["status"] == "ok").all()
    fresh = Album(bodies)
    run([*urls[60:300:2], *urls[380:]], fresh, tmp_path / "fresh")
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
    asked = album.asked.total()
    assert (run(album.bodies, album, tmp_path, min_side=50)["status"] == "ok").sum() == 10
    assert album.asked.total() == asked


def test_the_photo_that_a_duplicate_repeats_may_vanish(bodies, tmp_path):
    album = Album({"a": bodies["u1"], "b": bodies["u1"]})
    assert run(["a", "b"], album, tmp_path)["status"].tolist() == ["ok", "duplicate"]
    assert run(["b"], album, tmp_path)["status"].tolist() == ["ok"]
    assert run(["b"], album, tmp_path)["status"].tolist() == ["ok"]


@pytest.mark.parametrize(("owners", "placeholder"), [(4, False), (5, True)])
def test_the_same_picture_of_five_owners_is_a_placeholder(bodies, tmp_path, owners, placeholder):
    urls = [f"same{each}" for each in range(8)]
    album = Album(dict.fromkeys(urls, bodies["u1"]))
    index = run(urls, album, tmp_path, owner=[f"owner {each % owners}" for each in range(8)])
    expected = ["placeholder"] * 8 if placeholder else ["ok"] + ["duplicate"] * 7
    assert index["status"].tolist() == expected


def test_scratch_and_outs_share_their_bytes(bodies, tmp_path):
    run(list(bodies)[:10], Album(bodies), tmp_path)
    (shard,) = (tmp_path / "out").glob("*.tar")
    assert shard.stat().st_nlink == 2
    (block,) = (tmp_path / "scratch").glob("*.tar")
    assert block.samefile(shard)


def test_a_refusal_stops_the_run_and_keeps_what_was_fetched(bodies, tmp_path):
    album = Album(bodies)
    album.refuse_after = 240
    with pytest.raises(InputError, match="no more"):
        run(bodies, album, tmp_path)
    assert not (tmp_path / "out").exists()
    assert album.asked.total() == 240
    assert len(unfetched(list(bodies), tmp_path / "scratch")) == PHOTOS - 240
    album.refuse_after = None
    run(bodies, album, tmp_path)
    assert album.asked.total() == PHOTOS


def test_bytes_that_come_for_many_owners_are_a_placeholder(bodies, tmp_path):
    urls = list(bodies)[:30]
    sorry = encoded(picture(64, 64, seed=99))
    album = Album({url: bodies[url] for url in urls} | dict.fromkeys(urls[3:20:3], sorry))
    owners = [f"owner {url}" for url in urls]
    masked = set(urls[3:20:3])
    assert len(masked) == 6
    index = run(urls, album, tmp_path, owner=owners).set_index("url")
    assert set(index.index[index["status"] == "placeholder"]) == masked
    assert (index["status"] == "ok").sum() == 24
    # One person may well put the same picture online many times.
    index = run(urls, album, tmp_path, owner="me").set_index("url")
    assert index.loc[sorted(masked), "status"].value_counts().to_dict() == {
        "duplicate": 5,
        "ok": 1,
    }
    assert album.asked.total() == 30


def test_bytes_that_a_source_knows_as_a_placeholder_are_one_everywhere(bodies, tmp_path):
    sorry = encoded(picture(64, 64, seed=99))
    album = Album({"a": sorry, "b": bodies["u1"]})
    album.placeholders["c"] = sorry
    for _ in range(2):  # found out, and remembered
        index = run(["a", "b", "c"], album, tmp_path)
        assert index["status"].tolist() == ["placeholder", "ok", "placeholder"]
    assert album.asked.total() == 3


def test_going_back_fetches_nothing_while_somebody_holds_the_old_shards(bodies, tmp_path):
    """The cache of DVC does, by hard links."""
    album = Album(bodies)
    first, second = list(bodies)[:300], list(bodies)[140:440]
    run(first, album, tmp_path)
    cache = tmp_path / "cache"
    cache.mkdir()
    for shard in (tmp_path / "out").glob("*.tar"):
        os.link(shard, cache / shard.name)
    before = contents(tmp_path / "out")
    run(second, album, tmp_path)
    run(first, album, tmp_path)
    assert set(album.asked.values()) == {1}
    assert contents(tmp_path / "out") == before
    for shard in cache.iterdir():
        shard.unlink()
    run(second[200:], album, tmp_path)
    assert len(list((tmp_path / "scratch").glob("*.tar"))) == 1  # nobody wants the others


def test_a_smaller_run_in_between_costs_nothing(bodies, tmp_path):
    """What an unfinished run fetched may have been paid for."""
    album = Album(bodies)
    album.refuse_after = 440
    with pytest.raises(InputError):
        run(bodies, album, tmp_path)
    album.refuse_after = None
    run(list(bodies)[:60], album, tmp_path, out="small")
    assert album.asked.total() == 440
    run(bodies, album, tmp_path)
    assert album.asked.total() == PHOTOS


def test_a_shard_that_somebody_removed_is_fetched_again(bodies, tmp_path):
    album = Album(bodies)
    urls = list(bodies)[:300]
    run(urls, album, tmp_path)
    before = contents(tmp_path / "out")
    largest = max((tmp_path / "scratch").glob("*.tar"), key=lambda path: path.stat().st_size)
    largest.unlink()
    run(urls, album, tmp_path)
    assert contents(tmp_path / "out") == before
    assert album.asked.total() == 500


def test_a_damaged_ledger_is_told_in_a_sentence(bodies, tmp_path):
    run(list(bodies)[:5], Album(bodies), tmp_path)
    for path in (tmp_path / "scratch").glob("ledger.sqlite*"):
        path.write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match=r"ledger\.sqlite is damaged"):
        run(list(bodies)[:5], Album(bodies), tmp_path)


def test_a_spool_with_a_broken_end_gives_what_is_whole(bodies, tmp_path):
    path = tmp_path / "spool-0.tar"
    spool = Spool(path)
    for url in ("u1", "u2", "u3"):
        spool.add(url, Fetched(Status.OK, bodies[url]))
    whole = path.read_bytes()
    for length in (len(whole) - 300, len(whole) - len(bodies["u3"]) - 400):
        path.write_bytes(whole[:length])
        assert len(Spool(path).arrived) == 2
    path.write_bytes(whole + bytes(2000))
    again = Spool(path)
    assert len(again.arrived) == 3
    again.add("u4", Fetched(Status.GONE))
    assert Spool(path).read("u4") == Fetched(Status.GONE)
    assert Spool(path).read("u2").body == bodies["u2"]


def test_nothing_is_left_of_a_run_in_which_nothing_came(bodies, tmp_path):
    album = Album({})
    album.down.update(bodies)
    index = run(bodies, album, tmp_path)
    assert set(index["status"]) == {"failed"}
    assert not list((tmp_path / "scratch").glob("*.tar"))
    (tmp_path / "scratch/spool-7.tar").touch()
    run(bodies, Album(bodies), tmp_path)
    assert not list((tmp_path / "scratch").glob("spool-*"))
