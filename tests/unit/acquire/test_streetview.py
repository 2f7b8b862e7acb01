import asyncio
import base64
import hashlib
import hmac
import json
import math
import re
from collections import Counter
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from nogps.acquire import http as http_module
from nogps.acquire.answers import AnswerCache
from nogps.acquire.budget import Budget, OverBudget
from nogps.acquire.candidate import Status
from nogps.acquire.http import Polite, Unavailable
from nogps.acquire.sources import streetview
from nogps.acquire.sources.openaddresses import read_addresses
from nogps.acquire.sources.streetview import StreetView
from nogps.base.errors import InputError
from nogps.earth.geo import distance_km
from nogps.pipeline.planet_process import running_planet
from planet.keys import GOOGLE_KEY, SIGNING_SECRET
from tests.kept import NoAnswers
from tests.pictures import encoded, picture
from tests.servers import answering

HOST = "http://maps.googleapis.invalid"
PICTURE = encoded(picture(64, 64))
SPOTS = [(37.77, -122.41), (34.05, -118.24), (32.71, -117.16), (38.58, -121.49)]


@pytest.fixture(scope="module")
def planet(tmp_path_factory):
    log = tmp_path_factory.mktemp("planet") / "log.jsonl"
    with running_planet(seed=0, photos=10, log=log) as running:
        yield running, log


@pytest.fixture
def addresses(tmp_path):
    """An address on each corner of a few blocks in four towns."""
    path = tmp_path / "california.csv"
    rows = ["LON,LAT,NUMBER,STREET"]
    for town, (latitude, longitude) in enumerate(SPOTS):
        rows += [
            f"{longitude + east / 300:.6f},{latitude + north / 300:.6f},{north},{town} {east} ST"
            for east in range(8)
            for north in range(8)
        ]
    path.write_text("\n".join(rows) + "\n")
    return path


def source(base, addresses, tmp_path, **changes) -> StreetView:
    settings = {
        "addresses": [addresses] if addresses else [],
        "locations": 100,
        "region_km": 0,
        "headings": 4,
        "side": 64,
        "fov": 90,
        "pitch": 0,
        "radius_m": 50,
        "terms_accepted": True,
        "usd_per_1000": 7.0,
        "free_a_month": 0,
    }
    settings |= {name: changes.pop(name) for name in settings.keys() & changes.keys()}
    arguments = {
        "key": GOOGLE_KEY,
        "secret": SIGNING_SECRET,
        "settings": streetview.Settings(**settings),
        "budget": Budget(tmp_path / "paid.sqlite", 100.0, 0.007),
        "http": partial(Polite, base=base, unit_s=0.001, timeout_s=5.0),
        "answers": NoAnswers(),
        "base_url": HOST,
        "page_base": "http://www.google.invalid",
    }
    return StreetView(**arguments | changes)


def fetched(view: StreetView, url: str, base: str):
    async def work():
        async with Polite(base=base, unit_s=0.001) as http:
            return await view.fetch(url, http)

    return asyncio.run(work())


def asked_of(log, what) -> list[dict]:
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    return [entry for entry in entries if entry["what"] == what]


# --- on the planet ---


def test_panoramas_are_found_near_addresses_and_give_photos_all_around(planet, addresses, tmp_path):
    running, _ = planet
    view = source(running.base, addresses, tmp_path)
    found = list(view.candidates())
    counts = view.counts
    assert counts.drawn == counts.calls == 100
    assert counts.candidates == len(found) == 4 * counts.panoramas > 100
    left_out = counts.without_panorama + counts.repeated + counts.unofficial
    assert counts.drawn == counts.panoramas + left_out + counts.without_position
    assert counts.unofficial > 0
    known, _ = read_addresses([addresses])
    headings = {}
    for each in found:
        away = distance_km(each.latitude, each.longitude, *known.T)
        assert away.min() <= 0.05
        assert each.owner == each.photo_id.rsplit("_", 1)[0]
        assert "Google" in each.licence
        assert re.fullmatch(r"(\d{4}-\d\d)?", each.taken_at)
        assert GOOGLE_KEY not in repr(each) and "signature" not in repr(each)
        headings.setdefault(each.owner, []).append(each.heading)
    assert set(map(tuple, headings.values())) == {(0.0, 90.0, 180.0, 270.0)}
    assert len({each.photo_id for each in found}) == len(found)
    assert list(view.candidates()) == found
    assert view.counted()["addresses_rows"] == 256


def test_photos_can_be_fetched_with_a_signature(planet, addresses, tmp_path):
    running, log = planet
    view = source(running.base, addresses, tmp_path, locations=5)
    bodies = set()
    for each in view.candidates():
        got = fetched(view, each.url, running.base)
        assert got.status is Status.OK
        bodies.add(got.body)
    assert len(bodies) == view.counts.candidates  # each direction is another view
    assert view.budget.calls == view.counts.candidates
    assert GOOGLE_KEY not in log.read_text()


def test_answers_are_not_asked_for_again(planet, addresses, tmp_path):
    running, log = planet
    options = {"answers": AnswerCache(tmp_path / "answers.sqlite")}
    found = list(source(running.base, addresses, tmp_path, **options).candidates())
    before = len(asked_of(log, "metadata"))
    again = source(running.base, addresses, tmp_path, **options)
    assert list(again.candidates()) == found
    assert len(asked_of(log, "metadata")) == before
    more = source(running.base, addresses, tmp_path, locations=130, **options)
    assert {each.photo_id for each in found} <= {each.photo_id for each in more.candidates()}
    assert len(asked_of(log, "metadata")) == before + 30


def test_regions_are_served_evenly(planet, addresses, tmp_path):
    running, _ = planet
    rows = addresses.read_text().splitlines()
    addresses.write_text("\n".join(rows[:-56]) + "\n")  # the last town has but eight
    view = source(running.base, addresses, tmp_path, region_km=100, locations=32)
    per_town = Counter(
        min(range(4), key=lambda town: math.dist(SPOTS[town], (each.latitude, each.longitude)))
        for each in view.candidates()
    )
    # Evenly over addresses the last town would get one place; two regions may meet in a town.
    assert per_town[3] >= 3 * 4
    assert max(per_town.values()) <= 2 * 8 * 4


def test_wrong_keys_and_signatures_are_refused_in_a_sentence(planet, addresses, tmp_path):
    running, _ = planet
    good = list(source(running.base, addresses, tmp_path, locations=3).candidates())
    for changes in ({"key": "AIzaWrong", "secret": ""}, {"secret": "d3JvbmctZW5vdWdo"}):
        view = source(running.base, addresses, tmp_path, **changes)
        with pytest.raises(InputError, match="Google refuses the call") as caught:
            list(view.candidates())
        assert changes.get("key", "!") not in str(caught.value)
        with pytest.raises(InputError, match="GOOGLE_MAPS_API_KEY"):
            fetched(view, good[0].url, running.base)


# --- against a server that answers as it is told ---


def metadata(status="OK", **changes) -> tuple:
    told = {
        "status": status,
        "copyright": "© Google",
        "date": "2014-04",
        "location": {"lat": 46.4, "lng": 10.0},
        "pano_id": "vPnURflnc8AZu5NMLYRddw",
    }
    told = {name: value for name, value in (told | changes).items() if value is not None}
    return 200, "application/json; charset=UTF-8", json.dumps(told).encode()


def alone(status) -> tuple:
    return 200, "application/json", json.dumps({"status": status, "error_message": "No."}).encode()


def search(*script, addresses, tmp_path, **changes):
    with answering(*script) as (base, heard):
        view = source(base, addresses, tmp_path, **{"locations": 1} | changes)
        return list(view.candidates()), view.counts, heard


@pytest.mark.parametrize("status", ["OVER_QUERY_LIMIT", "UNKNOWN_ERROR"])
def test_passing_statuses_are_waited_out(status, addresses, tmp_path):
    found, _, heard = search(
        alone(status), alone(status), metadata(), addresses=addresses, tmp_path=tmp_path
    )
    assert len(found) == 4
    assert len(heard) == 3


@pytest.mark.parametrize(
    "trouble",
    [alone("OVER_QUERY_LIMIT"), (500,), (429,), (200, "text/html", b"<html>"), (200, "", b"[1]")],
)
def test_lasting_trouble_is_told_in_a_sentence(trouble, addresses, tmp_path, monkeypatch):
    monkeypatch.setattr(http_module, "PROBES", 2)
    with pytest.raises(InputError, match="run this again later"):
        search(trouble, addresses=addresses, tmp_path=tmp_path)


@pytest.mark.parametrize("status", ["ZERO_RESULTS", "NOT_FOUND"])
def test_places_without_a_panorama_are_left_out(status, addresses, tmp_path):
    _, counts, _ = search(alone(status), addresses=addresses, tmp_path=tmp_path)
    assert (counts.without_panorama, counts.panoramas) == (1, 0)


@pytest.mark.parametrize(
    "denied",
    [alone("REQUEST_DENIED"), alone("INVALID_REQUEST"), (403, "text/plain", b"no"), (400,)],
)
def test_a_denial_stops_everything_whatever_its_http_status(denied, addresses, tmp_path):
    with pytest.raises(InputError, match="Google refuses"):
        search(denied, addresses=addresses, tmp_path=tmp_path)


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"copyright": "© Ana Horvat"}, "unofficial"),
        ({"pano_id": "CAoSLEFGMVFpcE5hb2RtbGtqYWhka2Fqc2hka2pho"}, "unofficial"),
        ({"copyright": None}, "panoramas"),
        ({"date": None}, "panoramas"),
        ({"pano_id": None}, "without_panorama"),
        ({"pano_id": ["x"]}, "without_panorama"),
        ({"location": None}, "without_position"),
        ({"location": {"lat": "x", "lng": 1}}, "without_position"),
        ({"location": {"lat": 0, "lng": 0}}, "without_position"),
    ],
)
def test_what_an_answer_may_lack(changes, counted, addresses, tmp_path):
    found, counts, _ = search(metadata(**changes), addresses=addresses, tmp_path=tmp_path)
    assert getattr(counts, counted) == 1
    assert bool(found) == (counted == "panoramas")


def test_the_call_asks_for_outdoor_pictures_near_the_address(addresses, tmp_path):
    _, _, heard = search(metadata(), addresses=addresses, tmp_path=tmp_path, radius_m=30)
    address = urlsplit(heard[0])
    asked = parse_qs(address.query)
    assert address.path == "/maps/api/streetview/metadata"
    assert (asked["source"], asked["radius"]) == (["outdoor"], ["30"])
    assert re.fullmatch(r"3\d\.\d+,-1\d\d\.\d+", asked["location"][0])
    signed, signature = heard[0].rsplit("&signature=", 1)
    secret = base64.urlsafe_b64decode(SIGNING_SECRET)
    expected = base64.urlsafe_b64encode(hmac.new(secret, signed.encode(), hashlib.sha1).digest())
    assert signature == expected.decode()


def outcome(*script, addresses, tmp_path, **changes):
    with answering(*script) as (base, heard):
        view = source(base, addresses, tmp_path, **changes)
        url = f"{HOST}/maps/api/streetview?pano=vPnURflnc8AZu5NMLYRddw&size=64x64&heading=90"
        return fetched(view, url, base).status, len(heard), view.budget


SORRY = encoded(Image.new("RGB", (64, 64), (228, 227, 223)))


@pytest.mark.parametrize(
    ("answer", "status", "tries"),
    [
        ((200, "image/jpeg", PICTURE), Status.OK, 1),
        ((404, "text/plain", b""), Status.GONE, 1),
        ((400, "text/plain", b"bad"), Status.FAILED, 1),
        ((200, "image/jpeg", SORRY), Status.PLACEHOLDER, 1),
        ((200, "text/html", b"<html>"), Status.NOT_AN_IMAGE, 2),
        ((200, "text/plain", b"You have exceeded your daily request quota"), Status.FAILED, 2),
        ((200, "text/plain", b"This request must be signed"), Status.FAILED, 2),
    ],
)
def test_what_comes_instead_of_a_picture(answer, status, tries, addresses, tmp_path):
    got, asked, paying = outcome(answer, addresses=addresses, tmp_path=tmp_path)
    assert (got, asked) == (status, tries)
    assert paying.calls == tries


@pytest.mark.parametrize("instead", [(200, "image/png", SORRY), (200, "text/plain", b"Quota")])
def test_many_answers_without_a_photo_end_it(instead, addresses, tmp_path):
    async def work(view, base):
        async with Polite(base=base, unit_s=0.001) as http:
            for number in range(streetview.MOST_WITHOUT + 1):
                await view.fetch(f"{HOST}/maps/api/streetview?pano={number}", http)

    with answering(instead) as (base, heard):
        view = source(base, addresses, tmp_path)
        with pytest.raises(InputError, match="Google refuses"):
            asyncio.run(work(view, base))
        assert len(heard) <= 2 * streetview.MOST_WITHOUT


def test_an_address_that_google_never_knows_about_is_left_out_this_time(addresses, tmp_path):
    options = {"addresses": addresses, "tmp_path": tmp_path}
    options |= {"answers": AnswerCache(tmp_path / "answers.sqlite")}
    found, counts, _ = search(alone("UNKNOWN_ERROR"), **options)
    assert (found, counts.unanswered) == ([], 1)
    found, _, heard = search(metadata(), **options)
    assert (len(found), len(heard)) == (4, 1)  # it was not kept


def test_each_try_is_paid_for(addresses, tmp_path):
    script = ((500,), (429,), (200, "image/jpeg", PICTURE[:-50]), (200, "image/jpeg", PICTURE))
    refused = (403, "text/plain", b"You have exceeded your daily quota")
    with pytest.raises(InputError, match="exceeded your daily quota"):
        outcome(refused, addresses=addresses, tmp_path=tmp_path / "refused")
    got, tries, paying = outcome(*script, addresses=addresses, tmp_path=tmp_path)
    assert (got, tries) == (Status.OK, 4)
    assert paying.spent_usd == pytest.approx(0.028)
    with pytest.raises(Unavailable):
        outcome((500,), addresses=addresses, tmp_path=tmp_path)


def test_the_budget_ends_it_before_the_call(addresses, tmp_path):
    small = Budget(tmp_path / "small.sqlite", 0.014, 0.007)
    with pytest.raises(OverBudget):
        outcome((500,), addresses=addresses, tmp_path=tmp_path, budget=small)
    assert small.calls == 2


def test_no_picture_without_accepted_terms(addresses, tmp_path):
    with answering((200, "image/jpeg", PICTURE)) as (base, heard):
        view = source(base, addresses, tmp_path, terms_accepted=False)
        with pytest.raises(InputError, match="forbid") as caught:
            fetched(view, f"{HOST}/maps/api/streetview?pano=x", base)
        assert heard == []
    assert "streetview.terms_accepted: true" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_values_are_named(addresses, tmp_path):
    with pytest.raises(InputError, match="GOOGLE_MAPS_API_KEY"):
        source("http://x", addresses, tmp_path, key="")
    with pytest.raises(InputError, match="GOOGLE_MAPS_SIGNING_SECRET is not one"):
        source("http://x", addresses, tmp_path, secret="abc")
    with pytest.raises(InputError, match=r"streetview\.addresses"):
        source("http://x", None, tmp_path)


def test_secrets_do_not_show(addresses, tmp_path):
    text = repr(source("http://x", addresses, tmp_path))
    assert GOOGLE_KEY not in text
    assert SIGNING_SECRET not in text
    assert streetview.TERMS.count(". ") == 0  # one sentence
