"""What goes wrong on the planet, how often and in which forms."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from urllib.parse import quote, urlencode

import httpx
import pytest

from planet import commons, drives, mapillary, panoramax, server, streetview
from planet.answer import Call
from planet.faults import FAULTS, MOST_IN_A_ROW, PERSISTENT, Faults, hits
from planet.keys import GOOGLE_KEY, KEY, MAPILLARY_TOKEN
from planet.photos import Photo, photos
from planet.picture import jpeg
from planet.server import serving
from tests.planet.asking import (
    ALIVE,
    bbox,
    get,
    opened,
    panoramas,
    path_of,
    picture_path,
    rows_of,
)

MANY = 60  # requests of which a share fails
FILES = [photo for photo in photos(0, 130) if not photo.deleted and photo.on_map == "yes"][:MANY]


@cache
def shots(service: str) -> dict[str, Photo]:
    """Street pictures by id."""
    host = panoramax.Panoramax if service == "panoramax" else mapillary.Mapillary
    found = host(0, 130).pictures
    return dict([each for each in found.items() if not each[1].deleted][:MANY])


def box_of_a_file(photo: Photo) -> str:
    """For ggsbbox: 200 metres around where Commons says that a photo was taken."""
    place = commons._coordinates(photo)[0]
    edges = (place["lat"] + 0.001, place["lon"] - 0.001, place["lat"] - 0.001, place["lon"] + 0.001)
    return quote("|".join(f"{each:.6f}" for each in edges))


def paths_for(what: str) -> list[str]:
    """Paths of things, each of them there."""
    search = f"/services/rest/?api_key={KEY}&method=flickr.photos.search&format=json&text=city"
    metadata = f"/maps/api/streetview/metadata?key={GOOGLE_KEY}"
    image = f"/maps/api/streetview?key={GOOGLE_KEY}&size=64x48&return_error_code=true"
    files = f"{commons.API}?{urlencode(commons.ASKED)}&prop=coordinates&ggsbbox="
    graph = f"access_token={quote(MAPILLARY_TOKEN)}"
    return {
        "search": lambda: [f"{search}&nojsoncallback=1&page={page}" for page in range(1, MANY + 1)],
        "picture": lambda: [picture_path(photo) for photo in ALIVE[:MANY]],
        "metadata": lambda: [f"{metadata}&pano={each.pano_id}" for each in panoramas(MANY)],
        "image": lambda: [f"{image}&pano={each.pano_id}" for each in panoramas(MANY)],
        "items": lambda: [
            f"{panoramax.SEARCH}?bbox={bbox(shot)}" for shot in shots("panoramax").values()
        ],
        "asset": lambda: [f"/permanent/{each}-thumb.jpg" for each in shots("panoramax")],
        "files": lambda: [
            f"{files}{box_of_a_file(photo)}&requestid={photo.photo_id}" for photo in FILES
        ],
        "file": lambda: [path_of(commons.facts(photo).address) for photo in FILES],
        "images": lambda: [
            f"{mapillary.IMAGES}?fields=id&{graph}&bbox={bbox(shot)}"
            for shot in shots("mapillary").values()
        ],
        "address": lambda: [f"/{each}?fields=thumb_256_url&{graph}" for each in shots("mapillary")],
        "thumb": lambda: [
            path_of(mapillary._address(each, 256, False)) for each in shots("mapillary")
        ],
    }[what]()


def what_comes(url: str, timeout: float = 30) -> str:
    """What a client makes of the answer."""
    try:
        answer = get(url, timeout=timeout)
    except httpx.TimeoutException:
        return "nothing"
    except httpx.RemoteProtocolError:
        return "less than promised"
    except httpx.NetworkError:
        return "reset"
    body = answer.content
    if body[:2] == b"\xff\xd8":
        if body == streetview.grey(64, 48).body:
            return "grey"
        return "picture" if body[-2:] == b"\xff\xd9" else "half a picture"
    if body[:4] == b"\x89PNG":
        return "placeholder"
    if answer.status_code != 200:
        return str(answer.status_code)
    try:
        value = answer.json()
    except ValueError:
        return "no JSON" if b"{" in body else "rubbish"
    if "error" in value:
        return value["error"]["code"]
    if expiry := re.search(r"&oe=(\w+)", str(value.get("thumb_256_url"))):
        return "answer" if int(expiry[1], 16) > time.time() else "expired"
    ok = value.get("stat") == "ok" or value.get("status") == "OK"
    ok = ok or value.get("features") or value.get("query") or value.get("data")
    return "answer" if ok else str(value.get("status", value.get("code")))


def all_of(base: str, paths: list[str]) -> list[str]:
    with ThreadPoolExecutor(25) as threads:
        return list(threads.map(lambda path: what_comes(base + path), paths))


SEEN = {
    "too_many": {"429"},
    "server_error": {"500", "502", "503"},
    "reset": {"reset"},
    "slow": {"picture"},
    "stall": {"reset"},  # nothing, and at last this
    "cut_off": {"less than promised"},
    "truncated": {"half a picture"},
    "gone": {"404", "410"},
    "placeholder": {"placeholder", "302"},
    "not_an_image": {"rubbish"},
    "grey": {"grey"},
    "api_unavailable": {"105", "0", "no JSON"},
    "api_too_many": {"429"},
    "api_html": {"rubbish"},
    "api_error": {"500", "502"},
    "api_reset": {"reset"},
    "api_slow": {"answer"},
    "api_unknown": {"UNKNOWN_ERROR"},
    "api_over_limit": {"OVER_QUERY_LIMIT"},
    "api_maxlag": {"maxlag", "internal_api_error_DBQueryError"},
    "api_limit": {"400", "403", "500"},
    "api_expired": {"expired"},
}
# Drawn once for all cases: which picture it is has nothing to do with faults.
once = cache(jpeg)
CASES = [(kind, what) for kind in FAULTS for what in sorted(hits(kind))]


@pytest.mark.parametrize(("kind", "what"), CASES, ids=lambda case: case)
def test_each_fault_hits_its_share_and_passes_or_stays(tmp_path, monkeypatch, kind, what):
    monkeypatch.setattr(server, "SLOW_PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr(server, "LONGEST_STALL_S", 0.05)
    monkeypatch.setattr(commons, "jpeg", once)
    monkeypatch.setattr(drives, "jpeg", once)
    monkeypatch.setattr(panoramax, "jpeg", once)
    paths, log = paths_for(what), tmp_path / "log"
    good = "picture" if what in ("picture", "image", "asset", "file", "thumb") else "answer"
    with serving(photos(0, 130), faults={kind: 0.2}, log=log, distinct=3) as base:
        first = all_of(base, paths)
        rows = rows_of(log)
        hit = {row["path"] for row in rows if row["fault"] == kind}
        assert {row["what"] for row in rows} == {what}
        assert 0.08 < len(hit) / len(paths) < 0.35
        shown = {path: Call(what, "GET", path).shown for path in paths}
        for path, outcome in zip(paths, first, strict=True):
            assert outcome in (SEEN[kind] if shown[path] in hit else {good})
        again = [path for path in paths if shown[path] in hit]
        if kind in PERSISTENT:
            assert not {good} & set(all_of(base, again))
        else:
            for _ in range(MOST_IN_A_ROW):
                again = [
                    path
                    for path, outcome in zip(again, all_of(base, again), strict=True)
                    if outcome != good
                ]
            assert not again


@pytest.mark.parametrize(("kind", "what"), CASES, ids=lambda case: case)
def test_a_fault_has_several_forms(kind, what):
    faults, forms = Faults(0, {kind: 1}), set()
    for number in range(100):
        call = Call(what, "GET", f"/{number}", photo=f"{number} 90")
        assert faults.lasting(call) or faults.passing(call) == kind
        answer = faults.answer(kind, call)
        if answer:
            forms.add((answer.status, answer.kind, answer.body, *answer.headers))
    expected = {
        "too_many": 2,
        "server_error": 4,
        "gone": 2,
        "not_an_image": 2,
        "api_unavailable": 3,
        "api_error": 2,
        "api_maxlag": 2,
        "api_limit": 3,
    }
    own = {"reset", "slow", "stall", "cut_off", "truncated", "placeholder", "grey", "expired"}
    alone = 0 if kind.removeprefix("api_") in own else 1
    assert len(forms) == expected.get(kind, alone)


def test_no_more_than_three_transient_faults_in_a_row(tmp_path):
    log = tmp_path / "log"
    with serving(photos(0, 130), faults={"too_many": 1, "reset": 1}, log=log, distinct=3) as base:
        url = base + picture_path(ALIVE[0])
        seen = [what_comes(url) for _ in range(8)]
    assert seen == (["429"] * 3 + ["picture"]) * 2
    assert [row["fault"] for row in rows_of(log)] == (["too_many"] * 3 + [""]) * 2


def test_the_same_seed_has_the_same_faults_in_any_order():
    faults = {"server_error": 0.2, "gone": 0.2, "too_many": 0.2}
    paths = paths_for("picture")

    def outcomes(seed, order):
        with serving(photos(0, 130), seed=seed, faults=faults, distinct=3) as base:
            return dict(zip(order, all_of(base, order), strict=True))

    one = outcomes(5, paths)
    assert one == outcomes(5, paths[::-1])
    assert one != outcomes(6, paths)


def test_retry_after_comes_with_some_refusals_only():
    with serving(photos(0, 130), faults={"too_many": 1}) as base:
        asks = [get(base + path).headers.get("Retry-After") for path in paths_for("picture")]
    assert set(asks) == {None, "1"}


def test_a_trickle_takes_its_time_and_a_stall_ends_with_the_client(tmp_path):
    log = tmp_path / "log"
    with serving(photos(0, 130), faults={"slow": 1}, log=log) as base:
        start = time.monotonic()
        answer = get(base + picture_path(ALIVE[0]))
        assert time.monotonic() - start > sum(server.SLOW_PAUSES_S) * 0.9
        assert len(answer.content) == rows_of(log)[0]["bytes"]
        assert opened(answer.content).load()
    with serving(photos(0, 130), faults={"stall": 1}) as base:
        assert what_comes(base + picture_path(ALIVE[0]), timeout=0.3) == "nothing"
