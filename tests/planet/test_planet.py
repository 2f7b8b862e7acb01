import base64
import gzip
import hmac
import http.client
import io
import json
import re
import subprocess
import sys
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlsplit

import flickrapi
import httpx
import imagehash
import numpy as np
import pytest
from PIL import Image

from nogps.acquire.sources.openaddresses import read_addresses
from nogps.base.errors import InputError
from nogps.earth.geo import distance_km
from nogps.earth.towns import towns
from nogps.pipeline.planet_process import Planet, running_planet
from planet import commons, flickr, looks, mapillary, panoramax, picture, server, streetview
from planet import panoramas as lattice
from planet.addresses import write_addresses
from planet.answer import Call
from planet.drives import Shot
from planet.faults import FAULTS, MOST_IN_A_ROW, PERSISTENT, Faults, hits
from planet.flickr import IMAGE_HOST
from planet.keys import GOOGLE_KEY, KEY, MAPILLARY_TOKEN, SECRET, SIGNING_SECRET
from planet.panoramas import Panorama, Panoramas
from planet.photos import SCENES, UNWANTED_WORDS, Photo, photos
from planet.server import serving
from tests.planet.processes import told_by_two_processes

SOURCES = Path(picture.__file__).parents[2]


def opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


# --- the planet ---


def test_the_planet_is_the_same_in_every_process():
    program = (
        "import hashlib; from planet.photos import photos;"
        "from planet.picture import jpeg;"
        "pictures = b''.join(map(jpeg, photos(3, 200)[:40]));"
        "print(hashlib.sha256(repr(photos(3, 200)).encode() + pictures).hexdigest())"
    )
    assert len(told_by_two_processes(program)) == 1


def test_another_seed_is_another_planet():
    assert photos(0, 100) != photos(1, 100)
    assert len(photos(0, 100)) == 100


def test_the_population_is_like_a_real_one():
    planet = photos(0, 4000)
    albums = Counter(photo.owner for photo in planet)
    assert len({photo.town.country for photo in planet}) >= 60
    assert min(albums.values()) == 1
    assert max(albums.values()) == 12
    abroad = {photo.owner: set() for photo in planet}
    for photo in planet:
        abroad[photo.owner].add(photo.town.country)
    travellers = sum(len(countries) > 1 for countries in abroad.values())
    assert 0.03 < travellers / len(abroad) < 0.2
    from_town = [
        float(distance_km(p.latitude, p.longitude, p.town.latitude, p.town.longitude))
        for p in planet
    ]
    assert np.median(from_town) < 3
    assert 20 < max(from_town) < 61
    assert {photo.on_map for photo in planet} == {"yes", "no", "zero"}
    assert 0.005 < np.mean([photo.deleted for photo in planet]) < 0.03
    assert any(set(photo.tags) & set(UNWANTED_WORDS) for photo in planet)


def test_ids_are_unique_and_rise_with_uploads_of_2007():
    planet = photos(0, 4000)
    ids = [int(photo.photo_id) for photo in planet]
    uploads = [photo.uploaded for photo in planet]
    assert sorted(set(ids)) == ids
    assert sorted(uploads) == uploads
    assert uploads[0] >= datetime(2007, 1, 1, tzinfo=UTC).timestamp()
    assert uploads[-1] < datetime(2008, 1, 1, tzinfo=UTC).timestamp()
    taken = [photo.taken.replace(tzinfo=UTC).timestamp() for photo in planet]
    assert all(up - moment > -86_400 for up, moment in zip(uploads, taken, strict=True))


# --- the pictures ---


def test_a_picture_has_the_size_that_is_asked_for():
    for photo in photos(0, 60):
        width, height = opened(picture.jpeg(photo)).size
        assert (width, height) == (photo.width, photo.height)
        assert max(opened(picture.jpeg(photo, 240)).size) == 240


def test_every_kind_of_scene_can_be_drawn_everywhere_at_any_hour():
    for index, photo in enumerate(photos(0, 48)):
        for scene in SCENES:
            shot = replace(photo, scene=scene, taken=photo.taken.replace(hour=index // 2))
            assert opened(picture.jpeg(shot)).format == "JPEG"


def test_takes_of_a_burst_look_alike_and_nothing_else_does():
    planet = photos(0, 500)
    views = [photo.view for photo in planet]
    hashes = np.array(
        [imagehash.phash(opened(picture.jpeg(p, 320)), 16).hash.ravel() for p in planet]
    ).astype(int)
    bits = hashes @ (1 - hashes).T + (1 - hashes) @ hashes.T
    same = np.equal.outer(views, views)
    above = np.triu(np.ones_like(same), 1).astype(bool)
    assert (same & above).sum() > 10
    assert np.median(bits[same & above]) <= 10
    assert bits[~same].min() > 32


def test_a_picture_put_online_twice_has_the_same_bytes():
    takes = {}
    for photo in photos(0, 1500):
        takes.setdefault((photo.view, photo.take), []).append(photo)
    twice = [twins for twins in takes.values() if len(twins) > 1]
    assert twice
    for one, other, *_ in twice[:5]:
        assert one.photo_id != other.photo_id
        assert picture.jpeg(one) == picture.jpeg(other)


def at(latitude, longitude=0.0, moment=(2007, 3, 21, 12), country="France", heading=0):
    photo = photos(0, 1)[0]
    return replace(
        photo,
        latitude=latitude,
        longitude=longitude,
        taken=datetime(*moment),
        heading=heading,
        town=replace(photo.town, country=country),
    )


@pytest.mark.parametrize(
    ("latitude", "moment", "elevation", "azimuth"),
    [
        (0.0, (2007, 6, 21, 12), 66.6, 0),  # the midsummer sun is in the north there
        (51.5, (2007, 6, 21, 12), 61.9, 180),
        (51.5, (2007, 12, 21, 12), 15.1, 180),
        (-33.9, (2007, 12, 21, 12), 79.5, 0),
        (0.0, (2007, 3, 21, 6), 0.0, 90),  # it rises in the east
        (0.0, (2007, 3, 21, 18), 0.0, 270),
        (51.5, (2007, 3, 21, 0), -38.9, 0),
    ],
)
def test_the_sun_stands_where_it_should(latitude, moment, elevation, azimuth):
    found = looks.sun(at(latitude, moment=moment))
    assert found[0] == pytest.approx(elevation, abs=0.7)
    assert (found[1] - azimuth + 180) % 360 - 180 == pytest.approx(0, abs=1.5)


def test_looks_follow_country_and_climate():
    assert looks.scenery_of(at(51, country="United Kingdom")).drives_left
    assert not looks.scenery_of(at(51)).drives_left
    assert looks.scenery_of(at(5)).plant == "palm"
    assert looks.scenery_of(at(60)).plant == "conifer"


@pytest.mark.parametrize(("latitude", "winter", "summer"), [(65, 1, 7), (-56, 7, 1)])
def test_snow_lies_in_winter(latitude, winter, summer):
    snow = (225, 230, 238)
    assert looks.scenery_of(at(latitude, moment=(2007, winter, 10, 12))).ground == snow
    assert looks.scenery_of(at(latitude, moment=(2007, summer, 10, 12))).ground != snow


def test_colours_of_walls_change_slowly_with_distance():
    def change(step):
        pairs = [
            (looks.scenery_of(at(lat, 10)).walls[0], looks.scenery_of(at(lat + step, 10)).walls[0])
            for lat in range(-50, 50, 5)
        ]
        return np.mean([np.abs(np.subtract(*pair)).sum() for pair in pairs])

    assert change(0.1) * 5 < change(20)


# --- the server ---


@pytest.fixture(scope="module")
def planet():
    with running_planet(seed=0, photos=1500) as running:
        yield running


def ask(planet, **arguments) -> dict:
    defaults = {
        "method": "flickr.photos.search",
        "api_key": KEY,
        "format": "json",
        "nojsoncallback": "1",
        "min_upload_date": "2007-01-01 00:00:00",
    }
    response = httpx.get(planet.base + flickr.REST, params=defaults | arguments, trust_env=False)
    assert response.status_code == 200
    return response.json()


def test_errors_come_with_a_code_and_http_200(planet):
    assert ask(planet, api_key="someone else's")["code"] == 100
    assert ask(planet, method="flickr.photos.findEverything")["code"] == 112
    assert ask(planet, format="carrier pigeon")["code"] == 111
    assert ask(planet, min_upload_date="")["code"] == 3
    assert ask(planet, api_key="")["stat"] == "fail"


def test_without_nojsoncallback_the_answer_is_wrapped(planet):
    arguments = {"method": "flickr.photos.search", "api_key": KEY, "format": "json"}
    text = CLIENT.get(planet.base + flickr.REST, params={**arguments, "text": "city"}).text
    assert text.startswith("jsonFlickrApi({")


def test_geo_queries_return_at_most_250_a_page(planet):
    assert len(ask(planet, has_geo="1", per_page="500")["photos"]["photo"]) == 250
    assert len(ask(planet, per_page="500")["photos"]["photo"]) == 500
    assert len(ask(planet)["photos"]["photo"]) == 100


def test_a_geo_query_without_a_limiting_agent_sees_twelve_hours(planet):
    narrow = ask(planet, has_geo="1", text="city", min_upload_date="")["photos"]
    expected = [p for p in photos(0, 1500) if p.uploaded >= 1199145600 - 43200]
    assert int(narrow["total"] or 0) <= len(expected) < 20
    assert int(ask(planet, has_geo="1", text="city")["photos"]["total"]) > 200


def test_bounds_of_time_belong_to_the_block(planet):
    moment = photos(0, 1500)[700].uploaded
    expected = {p.photo_id for p in photos(0, 1500) if p.uploaded == moment}
    found = ask(planet, min_upload_date=str(moment), max_upload_date=str(moment))["photos"]
    assert {photo["id"] for photo in found["photo"]} == expected


def test_totals_come_as_number_as_text_and_as_nothing(planet):
    totals = [
        ask(planet, text=word)["photos"]["total"]
        for word in ("city", "beach", "church", "market", "street", "village", "nowhere")
    ]
    assert totals[-1] == ""
    assert {type(total) for total in totals} == {int, str}


def test_text_finds_words_and_a_minus_keeps_them_out(planet):
    words = {p.photo_id: f" {p.title} {' '.join(p.tags)} ".lower() for p in photos(0, 1500)}
    found = ask(planet, text="city -street", per_page="500")["photos"]["photo"]
    expected = {each for each, text in words.items() if "city" in text and "street" not in text}
    assert {photo["id"] for photo in found} == expected
    found = ask(planet, text='-"united states" beach', per_page="500")["photos"]["photo"]
    expected = {
        each for each, text in words.items() if "beach" in text and "united states" not in text
    }
    assert {photo["id"] for photo in found} == expected


def test_pages_past_the_cap_repeat_the_last_one(monkeypatch):
    monkeypatch.setattr(flickr, "MOST_RESULTS", 200)
    catalogue = flickr.Catalogue([replace(photo, title="city") for photo in photos(0, 500)])
    arguments = {"text": "city", "sort": "date-posted-asc", "extras": "geo,url_n"}
    pages = [flickr.search(catalogue, {**arguments, "page": str(page)}) for page in (1, 2, 3, 5)]
    ids = [[row["id"] for row in page["photos"]["photo"]] for page in pages]
    assert pages[0]["photos"]["pages"] == 5
    assert ids[0] + ids[1] == [photo.photo_id for photo in photos(0, 500)[:200]]
    assert ids[1] == ids[2] == ids[3]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"page": "many", "per_page": "few"}, None),
        ({"page": "-3", "per_page": "0"}, None),
        ({"page": "9" * 5000, "accuracy": "near", "license": "x,,", "sort": "by-colour"}, None),
        ({"text": '"- -"" -'}, None),
        ({"tags": "-,,-city", "media": "all", "extras": ",,geo,nothing"}, None),
        ({"min_upload_date": "yesterday"}, 18),
        ({"max_upload_date": "nan"}, 18),
        ({"min_taken_date": "1e999"}, 18),
        ({"bbox": "1,2,3"}, 18),
    ],
)
def test_odd_arguments_get_an_answer(planet, arguments, code):
    answer = ask(planet, **arguments)
    assert answer.get("code") == code
    if code is None:
        assert answer["photos"]["page"] >= 1
        assert answer["photos"]["perpage"] == 100


def test_other_orders_and_limits_of_a_search(planet):
    by_id = {photo.photo_id: photo for photo in photos(0, 1500)}

    def found(**arguments):
        rows = ask(planet, per_page="500", **arguments)["photos"]["photo"]
        return [by_id[row["id"]] for row in rows]

    taken = [photo.taken for photo in found(text="city", sort="date-taken-asc")]
    assert taken == sorted(taken)
    taken = [photo.taken for photo in found(text="city", sort="date-taken-desc")]
    assert taken == sorted(taken, reverse=True)
    for sort in ("interestingness-desc", "relevance"):
        shuffled = found(text="beach", sort=sort)
        assert set(shuffled) == set(found(text="beach"))
        assert shuffled != found(text="beach")
    assert found(text="city", media="videos") == []
    assert {photo.town.country for photo in found(bbox="-10,36,-6,43")} >= {"Portugal"}
    assert all(36 <= photo.latitude <= 43 for photo in found(bbox="-10,36,-6,43"))
    beach, harbour = set(found(tags="beach")), set(found(tags="harbour"))
    assert set(found(tags="beach,harbour")) == beach | harbour
    assert set(found(tags="beach,harbour", tag_mode="all")) == beach & harbour
    assert set(found(tags="beach,-harbour")) == beach - harbour


def test_numbers_come_as_numbers_and_as_text_with_the_same_values(planet):
    types, values = set(), {}
    for word in ("city", "beach", "church", "market", "street", "village", "mountain", "sea"):
        answer = ask(planet, text=word, extras="geo,license", per_page="500")
        for row in answer["photos"]["photo"]:
            fields = [row[name] for name in ("license", "accuracy", "latitude", "longitude")]
            types |= {
                (name, type(value)) for name, value in zip("lay", fields, strict=False) if value
            }
            assert values.setdefault(row["id"], list(map(float, fields))) == [
                float(value) for value in fields
            ]
    assert types >= {("l", int), ("l", str), ("a", int), ("a", str), ("y", float), ("y", str)}


def test_the_real_client_signs_and_a_wrong_signature_is_refused(planet):
    def search(secret):
        client = flickrapi.FlickrAPI(KEY, secret, format="parsed-json", store_token=False)
        client.REST_URL = planet.base + flickr.REST
        return client.photos.search(text='São "a b" -c&d=%', min_upload_date=1, has_geo=1)

    assert search(SECRET)["stat"] == "ok"
    with pytest.raises(flickrapi.FlickrError, match="Invalid signature") as caught:
        search("0123456789abcdef")
    assert caught.value.code == 96


def test_the_key_has_so_many_calls_an_hour(tmp_path):
    log = tmp_path / "log"
    with serving(photos(0, 5), calls_per_hour=3, log=log) as base:
        planet = Planet(base, {}, {})
        for _ in range(3):
            assert ask(planet)["stat"] == "ok"
        refused = get(f"{planet.base}{flickr.REST}?api_key={KEY}&format=json")
        assert get(f"{planet.base}{flickr.REST}?api_key=another").status_code == 200
        assert get(base + picture_path(photos(0, 5)[0])).status_code == 200
    assert refused.status_code == 429
    assert refused.text.startswith("<html>")
    assert [(row["status"], row["fault"]) for row in rows_of(log)][3] == (429, "")


def test_pictures_are_served_in_the_sizes_that_exist(planet):
    photo = next(p for p in photos(0, 1500) if max(p.width, p.height) == 500 and not p.deleted)
    path = f"{planet.base}/{photo.server}/{photo.photo_id}_{photo.secret}"
    for tail, longest in (("", 500), ("_n", 320), ("_m", 240)):
        response = httpx.get(f"{path}{tail}.jpg", trust_env=False)
        assert response.headers["content-type"] == "image/jpeg"
        assert max(opened(response.content).size) == longest
    for wrong in (f"{path}_b.jpg", f"{path[:-1]}x.jpg", f"{planet.base}/1/2_0123456789.jpg"):
        assert httpx.get(wrong, trust_env=False).status_code == 404
    listed = ask(
        planet,
        min_upload_date=str(photo.uploaded),
        max_upload_date=str(photo.uploaded),
        extras="url_n,url_m,url_l",
    )["photos"]["photo"]
    row = next(row for row in listed if row["id"] == photo.photo_id)
    assert row["url_m"] == f"{IMAGE_HOST}/{photo.server}/{photo.photo_id}_{photo.secret}.jpg"
    assert "url_l" not in row


def test_a_deleted_photo_leads_to_a_placeholder(planet):
    photo = next(photo for photo in photos(0, 1500) if photo.deleted)
    url = f"{planet.base}/{photo.server}/{photo.photo_id}_{photo.secret}_n.jpg"
    response = httpx.get(url, trust_env=False)
    assert response.status_code == 302
    assert response.headers["location"].endswith("/photo_unavailable.png")
    path = httpx.URL(response.headers["location"]).path
    placeholder = httpx.get(planet.base + path, trust_env=False)
    assert (placeholder.status_code, opened(placeholder.content).format) == (200, "PNG")


# --- faults and the log ---

CLIENT = httpx.Client(
    trust_env=False,
    limits=httpx.Limits(max_connections=40),
    headers={"User-Agent": "nogps-tests/0.1 (tests@localhost) httpx/0"},
)


def get(url: str, timeout: float = 10, **headers) -> httpx.Response:
    return CLIENT.get(url, timeout=timeout, headers=headers)


def rows_of(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def picture_path(photo: Photo, tail: str = "_n") -> str:
    return f"/{photo.server}/{photo.photo_id}_{photo.secret}{tail}.jpg"


def path_of(address: str) -> str:
    """The path and query of an address of a planet's host."""
    parts = urlsplit(address)
    return parts.path + (f"?{parts.query}" if parts.query else "")


ALIVE = [photo for photo in photos(0, 130) if not photo.deleted][:100]


@cache
def panoramas(count: int) -> list[Panorama]:
    """Panoramas in the middle of the largest towns."""
    every = Panoramas(0)
    found = (every.nearest(town.latitude, town.longitude, 200) for town in towns()[:count])
    return [panorama for panorama in found if panorama]


FILES = [photo for photo in photos(0, 130) if not photo.deleted and photo.on_map == "yes"][:100]


@cache
def shots(service: str) -> dict[str, Shot]:
    """A hundred street pictures by id."""
    if service == "panoramax":
        items = panoramax.Panoramax(0, 130).items
        found = {picture_id: item.shot for picture_id, item in items.items()}
    else:
        found = mapillary.Mapillary(0, 130).pictures
    return dict([each for each in found.items() if not each[1].photo.deleted][:100])


def box_of_a_file(photo: Photo) -> str:
    """For ggsbbox: 200 metres around where Commons says that a photo was taken."""
    place = commons._coordinates(photo)[0]
    edges = (place["lat"] + 0.001, place["lon"] - 0.001, place["lat"] - 0.001, place["lon"] + 0.001)
    return quote("|".join(f"{each:.6f}" for each in edges))


def bbox(photo: Photo) -> str:
    """West, south, east and north, 200 metres around a photo."""
    west, south = photo.longitude - 0.002, photo.latitude - 0.002
    return f"{west:.6f},{south:.6f},{west + 0.004:.6f},{south + 0.004:.6f}"


def paths_for(what: str) -> list[str]:
    """Paths of a hundred things, each of them there."""
    search = f"/services/rest/?api_key={KEY}&method=flickr.photos.search&format=json&text=city"
    metadata = f"/maps/api/streetview/metadata?key={GOOGLE_KEY}"
    image = f"/maps/api/streetview?key={GOOGLE_KEY}&size=64x48&return_error_code=true"
    files = f"{commons.API}?action=query&format=json&formatversion=2&generator=geosearch"
    files += "&ggsnamespace=6&ggsprimary=all&prop=coordinates&maxlag=5&ggsbbox="
    graph = f"access_token={quote(MAPILLARY_TOKEN)}"
    return {
        "search": lambda: [f"{search}&nojsoncallback=1&page={page}" for page in range(1, 101)],
        "picture": lambda: [picture_path(photo) for photo in ALIVE],
        "metadata": lambda: [f"{metadata}&pano={each.pano_id}" for each in panoramas(100)],
        "image": lambda: [f"{image}&pano={each.pano_id}" for each in panoramas(100)],
        "items": lambda: [f"{panoramax.SEARCH}?ids={each}" for each in shots("panoramax")],
        "asset": lambda: [f"/permanent/{each}-thumb.jpg" for each in shots("panoramax")],
        "files": lambda: [
            f"{files}{box_of_a_file(photo)}&requestid={photo.photo_id}" for photo in FILES
        ],
        "file": lambda: [path_of(commons.address_of(photo)) for photo in FILES],
        "images": lambda: [
            f"{mapillary.IMAGES}?fields=id&{graph}&bbox={bbox(shot.photo)}"
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
CASES = [(kind, what) for kind in FAULTS for what in sorted(hits(kind))]


@pytest.mark.parametrize(("kind", "what"), CASES, ids=lambda case: case)
def test_each_fault_hits_its_share_and_passes_or_stays(tmp_path, monkeypatch, kind, what):
    monkeypatch.setattr(server, "SLOW_PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr(server, "LONGEST_STALL_S", 0.05)
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


def test_the_log_tells_what_was_asked_and_no_secret(tmp_path):
    log = tmp_path / "new folder" / "log"
    photo, pano = ALIVE[0], panoramas(1)[0]
    with serving(photos(0, 130), log=log) as base:
        planet = Planet(base, {}, {})
        ask(planet, text="city", page="2", api_sig="S3CRET", auth_token="S3CRET")
        client = flickrapi.FlickrAPI(KEY, SECRET, format="parsed-json", store_token=False)
        client.REST_URL = planet.base + flickr.REST
        client.photos.search(text="beach", max_upload_date=5)
        get(base + picture_path(photo), host="live.staticflickr.invalid")
        target = f"{streetview.IMAGE}?size=64x64&pano={pano.pano_id}&heading=90&key={GOOGLE_KEY}"
        signature = streetview.signature_of(target)
        get(f"{base}{target}&signature={signature}")
        get(
            f"{base}{streetview.METADATA}?location={pano.latitude},{pano.longitude}"
            f"&key={GOOGLE_KEY}&signature=wrong"
        )
        get(base + flickr.PLACEHOLDER)
        get(base + "/favicon.ico")
    text = log.read_text()
    for secret in (KEY, SECRET, GOOGLE_KEY, SIGNING_SECRET, signature, "S3CRET", "oauth", "wrong"):
        assert secret not in text
    rows = rows_of(log)
    assert [row["what"] for row in rows] == [
        *("search", "search", "picture", "image", "metadata", "placeholder", "other")
    ]
    assert (rows[0]["text"], rows[0]["page"]) == ("city", "2")
    assert rows[0]["min_upload_date"] == "2007-01-01 00:00:00"
    assert (rows[1]["method"], rows[1]["text"], rows[1]["max_upload_date"]) == (
        "POST",
        "beach",
        "5",
    )
    assert (rows[2]["photo"], rows[2]["host"]) == (photo.photo_id, "live.staticflickr.invalid")
    assert rows[2]["bytes"] == len(picture.jpeg(photo, 320))
    assert rows[3]["photo"] == f"{pano.pano_id} 90"
    assert rows[3]["path"] == f"{streetview.IMAGE}?size=64x64&pano={pano.pano_id}&heading=90"
    assert rows[6]["status"] == 404
    assert all(row["time"] > 1e9 and row["fault"] == "" for row in rows)


@pytest.mark.parametrize("faults", [{"earthquake": 0.1}, {"reset": 1.5}, {"reset": -0.1}])
def test_faults_that_cannot_be_are_refused(faults):
    with pytest.raises(InputError, match="api_unavailable"), running_planet(0, 10, faults=faults):
        pass


@pytest.mark.parametrize("option", ["--fault=earthquake=1", "--fault=reset", "--port={taken}"])
def test_the_command_refuses_what_cannot_be_in_a_sentence(planet, option):
    option = option.format(taken=planet.base.rpartition(":")[2])
    run = subprocess.run(
        [sys.executable, "-m", "planet", "--photos", "5", option],
        cwd=SOURCES,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


def test_the_options_reach_the_process(tmp_path):
    log = tmp_path / "log"
    with running_planet(
        0, 130, faults={"gone": 1}, log=log, calls_per_hour=1, distinct=2
    ) as planet:
        assert get(planet.base + picture_path(ALIVE[0])).status_code in (404, 410)
        ask(planet)
        assert get(f"{planet.base}{flickr.REST}?api_key={KEY}").status_code == 429
    assert [row["fault"] for row in rows_of(log)] == ["gone", "", ""]


def test_few_drawings_serve_for_all_photos_each_with_its_comment():
    with serving(photos(0, 130), distinct=2) as base:
        bodies = [get(base + picture_path(photo)).content for photo in ALIVE[:20]]
        pano = panoramas(1)[0].pano_id
        url = f"{base}{streetview.IMAGE}?key={GOOGLE_KEY}&size=64x48&heading=90&pano={pano}"
        view = opened(get(url).content)
    pictures = [opened(body) for body in bodies]
    assert [each.info["comment"].decode() for each in pictures] == [p.photo_id for p in ALIVE[:20]]
    assert len({each.tobytes() for each in pictures}) == 2
    assert (view.size, view.info["comment"].decode()) == ((64, 48), f"{pano} 90")


# --- Street View ---


def asked(planet, path=streetview.METADATA, **arguments) -> httpx.Response:
    arguments = {"key": GOOGLE_KEY} | arguments
    return CLIENT.get(planet.base + path, params={k: v for k, v in arguments.items() if v})


def test_panoramas_are_near_towns_and_of_all_kinds():
    every, kinds, distances = Panoramas(0), Counter(), []
    for town in towns()[:1000]:
        near = every.nearest(town.latitude, town.longitude, 50)
        if near:
            kinds[near.kind] += 1
            assert every.by_id(near.pano_id) == near
            place = (near.latitude, near.longitude)
            distances.append(float(distance_km(town.latitude, town.longitude, *place)))
            assert (near.kind in ("photosphere", "unknown")) == near.pano_id.startswith("CAoS")
            assert (len(near.pano_id) == 22) == near.kind.startswith(("official", "indoor"))
            assert (near.copyright == "© Google") or near.kind != "official"
    assert 750 < len(distances) < 1000
    assert max(distances) <= 0.05
    assert 0.8 < kinds["official"] / len(distances) < 0.92
    assert min(kinds[kind] for kind in ("photosphere", "unknown", "indoor")) > 10
    assert every.nearest(-48.9, -123.4, 1e9) is None  # far from any land
    assert every.nearest(0.0, 180.0, 50) is every.nearest(90.0, 0.0, 50) is None


def test_no_panorama_is_nearer_than_the_nearest():
    every = Panoramas(0)
    for town in towns()[:20]:
        near = every.nearest(town.latitude, town.longitude, 300)
        row, column = lattice._row(town.latitude), None
        others = []
        for each in range(row - 4, row + 5):
            column = lattice._column(each, town.longitude)
            others += [every.at(each, column + step) for step in range(-4, 5)]
        place = (town.latitude, town.longitude)
        apart = [lattice.metres(*place, o.latitude, o.longitude) for o in others if o]
        assert lattice.metres(*place, near.latitude, near.longitude) == min(apart)


def test_metadata_tell_the_nearest_panorama(planet):
    pano = next(each for each in panoramas(50) if each.kind == "official" and each.lists_date)
    where = f"{pano.latitude},{pano.longitude}"
    answer = asked(planet, location=where)
    assert answer.status_code == 200
    assert answer.json() == asked(planet, pano=pano.pano_id).json()
    assert answer.json() == {
        "copyright": "© Google",
        "date": pano.date,
        "location": {"lat": pano.latitude, "lng": pano.longitude},
        "pano_id": pano.pano_id,
        "status": "OK",
    }


def test_only_the_status_is_sure():
    keys = Counter()
    for pano in panoramas(800):
        keys.update(streetview._described(pano).keys())
    assert keys["status"] > keys["copyright"] > keys["date"] > 0.9 * keys["status"]


def test_outdoor_drops_indoor_and_unknown_kinds(planet):
    found = {kind: [] for kind in ("official", "photosphere", "unknown", "indoor")}
    for pano in panoramas(300):
        found[pano.kind].append(pano)
    for kind, group in found.items():
        pano = group[0]
        where = {"location": f"{pano.latitude},{pano.longitude}", "radius": "1"}
        assert asked(planet, **where).json()["pano_id"] == pano.pano_id
        outside = asked(planet, source="outdoor", **where).json()
        assert outside["status"] == (
            "OK" if kind in ("official", "photosphere") else "ZERO_RESULTS"
        )


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"pano": "vPnURflnc8AZu5NMLYRddw"}, "ZERO_RESULTS"),
        ({"pano": "é"}, "ZERO_RESULTS"),
        ({"location": "-48.9,-123.4", "radius": "5000"}, "ZERO_RESULTS"),
        ({"location": "at the corner"}, "NOT_FOUND"),
        ({"location": "91.0,0"}, "NOT_FOUND"),
        ({}, "INVALID_REQUEST"),
        ({"location": "48.85,2.35", "radius": "wide"}, "INVALID_REQUEST"),
        ({"location": "48.85,2.35", "radius": "-1"}, "INVALID_REQUEST"),
        ({"location": "48.85,2.35", "source": "cellar"}, "INVALID_REQUEST"),
        ({"location": "48.85,2.35", "key": ""}, "REQUEST_DENIED"),
        ({"location": "48.85,2.35", "key": "AIza"}, "REQUEST_DENIED"),
        ({"location": "48.85,2.35", "signature": "AAAA"}, "REQUEST_DENIED"),
        ({"location": "48.85,2.35", "radius": "500"}, "OK"),
    ],
)
def test_metadata_have_a_status_for_everything(planet, arguments, status):
    answer = asked(planet, **arguments)
    assert answer.status_code == 200
    assert answer.json()["status"] == status
    assert ("error_message" in answer.json()) == (status in ("REQUEST_DENIED", "INVALID_REQUEST"))


def signature_by_the_book(target: str) -> str:
    secret = base64.urlsafe_b64decode(SIGNING_SECRET)
    return base64.urlsafe_b64encode(hmac.digest(secret, target.encode(), "sha1")).decode()


def test_requests_may_be_signed(planet):
    pano = panoramas(1)[0].pano_id
    for path in (streetview.METADATA, streetview.IMAGE):
        target = f"{path}?size=64x64&pano={pano}&key={GOOGLE_KEY}"
        signed = f"{planet.base}{target}&signature={signature_by_the_book(target)}"
        good, bad = get(signed), get(signed.replace("64x64", "32x32"))
        assert good.status_code == 200
        if path == streetview.METADATA:
            assert good.json()["status"] == "OK"
            assert bad.json()["status"] == "REQUEST_DENIED"
        else:
            assert good.headers["content-type"] == "image/jpeg"
            assert bad.status_code == 403
    assert len(GOOGLE_KEY) == 39
    assert GOOGLE_KEY.startswith("AIza")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"size": ""}, 400),
        ({"size": "large"}, 400),
        ({"size": "641x20"}, 400),
        ({"size": "0x20"}, 400),
        ({"fov": "180"}, 400),
        ({"heading": "north"}, 400),
        ({"pano": ""}, 400),
        ({"key": "AIza"}, 403),
        ({"key": ""}, 403),
        ({"pano": "vPnURflnc8AZu5NMLYRddw", "return_error_code": "true"}, 404),
        ({"pano": "", "location": "nowhere", "return_error_code": "true"}, 404),
    ],
)
def test_images_that_cannot_be_are_refused_in_words(planet, arguments, status):
    good = {"size": "64x64", "pano": panoramas(1)[0].pano_id}
    answer = asked(planet, streetview.IMAGE, **good | arguments)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/plain")


def test_without_return_error_code_a_missing_image_is_grey(planet):
    missing = {"pano": "vPnURflnc8AZu5NMLYRddw"}
    bodies = [
        asked(planet, streetview.IMAGE, size=size, **missing).content
        for size in ("600x300", "600x300", "200x100")
    ]
    assert bodies[0] == bodies[1]
    image = opened(bodies[0])
    assert (image.format, image.size, opened(bodies[2]).size) == ("JPEG", (600, 300), (200, 100))
    assert np.abs(np.asarray(image)[:100].astype(int) - [228, 227, 223]).max() < 4


def test_images_show_a_panorama_in_a_direction(planet):
    pano = next(each for each in panoramas(50) if each.kind == "official")
    where = f"{pano.latitude},{pano.longitude}"

    def image(**arguments):
        return asked(planet, streetview.IMAGE, size="200x150", **arguments).content

    north = image(pano=pano.pano_id)
    assert north == image(location=where, heading="0", pitch="0", fov="90")
    assert north == image(pano=pano.pano_id, heading="360.0")
    assert north != image(pano=pano.pano_id, heading="90")
    assert opened(north).size == (200, 150)
    assert opened(image(pano=pano.pano_id, heading="33.5")).format == "JPEG"
    photo = streetview.photo_of(pano, 90.0, 640, 640)
    assert 9 <= photo.taken.hour <= 16
    assert f"{photo.taken:%Y-%m}" == pano.date
    assert (photo.heading, photo.view) == (90, f"{pano.pano_id} 90")
    away = distance_km(photo.latitude, photo.longitude, photo.town.latitude, photo.town.longitude)
    assert away < 60


def test_another_seed_has_other_panoramas():
    ids = [each.pano_id for each in panoramas(20)]
    assert all(Panoramas(0).by_id(each) for each in ids)
    assert not any(Panoramas(1).by_id(each) for each in ids)


COMMONS = "&action=query&format=json&generator=geosearch&ggsnamespace=6&ggsprimary=all"
TOKEN = "&access_token=" + quote(MAPILLARY_TOKEN)


@pytest.mark.parametrize(
    "target",
    [
        "/services/rest/?text=%ff%00&api_key=" + KEY + "&format=json&method=flickr.photos.search",
        "//[::1/340000000_0123456789.jpg",
        "/%2e%2e/%00?=&&;=%zz",
        "/maps/api/streetview/metadata?key=" + GOOGLE_KEY + "&pano=%00%ff&signature=%",
        "/maps/api/streetview/metadata?key=" + GOOGLE_KEY + "&location=%D9%A1,%D9%A2",
        "/maps/api/streetview/metadata?key=" + GOOGLE_KEY + "&location=90,180&radius=1e300",
        "/maps/api/streetview?key=" + GOOGLE_KEY + "&location=-90,-180&size=1x1&radius=nan",
        "/maps/api/streetview?key=" + GOOGLE_KEY + "&location=85.0001,0&size=1x640&heading=-1e5",
        "http://api.flickr.invalid/services/rest/",
        "/api/search?bbox=nan,nan,nan,nan&limit=%D9%A1",
        "/api/search?bbox=1e999,0,-1e999,&limit=" + "9" * 5000,
        "/api/search?ids=%ff,,",
        "/api/collections/{collection}/items?limit=-1&startAfterRank=many",
        "/api/collections/{collection}/items?limit=1&startAfterRank=-" + "9" * 20,
        "/w/api.php?ggsbbox=nan|nan|nan|nan&ggslimit=all" + COMMONS,
        "/w/api.php?ggsbbox=25.11|55.29|25.01|55.39&iiurlwidth=wide&prop=imageinfo" + COMMONS,
        "/w/api.php?ggsbbox=25.11|55.29|25.01|55.39&iicontinue=%ff&prop=imageinfo|x" + COMMONS,
        "/w/api.php?ggsbbox=25.11|55.29|25.01|55.39&cocontinue=|&prop=coordinates" + COMMONS,
        "/wikipedia/commons/thumb/0/00/%ff.jpg/960px-%00.jpg",
        "/images?bbox=nan,nan,nan,nan&limit=-1" + TOKEN,
        "/images?bbox=0,0,0,0&limit=0&start_captured_at=0001-01-01" + TOKEN,
        "/images?bbox=0,0,0,0&end_captured_at=yesterday&fields=,," + TOKEN,
        "/m1/v/t6/100000000000000-256?oe=x&oh=%ff",
    ],
)
def test_nothing_that_is_asked_breaks_a_host(planet, target):
    host, port = planet.base.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    collection = next(iter(panoramax.Panoramax(0, 1500).items.values())).collection
    connection.putrequest("GET", target.replace("{collection}", collection), skip_host=True)
    connection.putheader("User-Agent", CLIENT.headers["User-Agent"])
    connection.putheader("Host", "[::1")
    connection.putheader("Authorization", 'OAuth realm="", oauth_signature="%", x')
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status < 500


# --- addresses ---


@pytest.fixture(scope="module")
def address_files(tmp_path_factory):
    return write_addresses(tmp_path_factory.mktemp("addresses"), 0)


def test_addresses_of_california_are_files_of_openaddresses(address_files):
    paths = address_files
    assert {path.name for path in paths} >= {"los_angeles.zip", "city_of_los_angeles.zip"}
    assert sum(path.name.endswith(".geojson.gz") for path in paths) == 2
    headers = set()
    for path in paths:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                source = path.stem
                assert archive.namelist() == [f"us/ca/{source}.csv", f"us/ca/{source}.vrt"]
                headers.add(archive.read(f"us/ca/{source}.csv").split(b"\n")[0].decode())
    assert headers == {
        "LON,LAT,NUMBER,STREET,UNIT,CITY,DISTRICT,REGION,POSTCODE,ID,HASH",
        "LON,LAT,NUMBER,STREET,UNIT,CITY,DISTRICT,REGION,POSTCODE,ID",
        "GEOM,NUMBER,STREET,UNIT,CITY,DISTRICT,REGION,POSTCODE,ID,HASH",
    }
    features = [
        json.loads(line)
        for path in paths
        if path.suffix == ".gz"
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    order = "hash number street unit city district region postcode id accuracy"
    assert {" ".join(each["properties"]) for each in features} == {order}
    assert sum(each["geometry"] is None for each in features) > 5
    assert any(each["geometry"] and each["geometry"]["coordinates"] == [0, 0] for each in features)


def test_addresses_lie_around_towns_and_overlap(address_files):
    addresses = read_addresses(address_files)
    assert 12_000 < addresses.counts["addresses_rows"] < 15_000
    assert addresses.counts["addresses_repeated"] > 1000
    assert 10_000 < len(addresses.latitude) < 12_100
    assert 32 < addresses.latitude.min() < addresses.latitude.max() < 42
    every = Panoramas(0)
    near = [
        every.nearest(lat, lng, 50)
        for lat, lng in zip(addresses.latitude[::40], addresses.longitude[::40], strict=True)
    ]
    assert np.mean([bool(each) for each in near]) > 0.7


def test_addresses_are_the_same_bytes_and_are_written_once(address_files, tmp_path):
    paths = write_addresses(tmp_path, 0)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in address_files]
    paths[0].write_bytes(b"kept")
    assert write_addresses(tmp_path, 0) == paths
    assert paths[0].read_bytes() == b"kept"
    others = write_addresses(tmp_path, 1)
    assert [path.name for path in others] == [path.name for path in paths]
    assert others[1].read_bytes() != paths[1].read_bytes()


# --- the process ---


def answers(base: str) -> bool:
    try:
        return httpx.get(base + "/", trust_env=False, timeout=5).status_code == 404
    except httpx.TransportError:
        return False


def wait_until(condition) -> bool:
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_the_server_ends_with_the_block():
    with running_planet(seed=0, photos=10) as running:
        assert answers(running.base)
    assert not answers(running.base)


@pytest.fixture
def parent():
    """A process that runs a planet and then does nothing; with the planet's address."""
    program = (
        "import time; from nogps.pipeline.planet_process import running_planet\n"
        "with running_planet(0, 10) as planet:\n"
        "    print(planet.base, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=SOURCES,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_server_dies_with_a_killed_parent(parent):
    process, base = parent
    assert answers(base)
    process.kill()
    assert wait_until(lambda: not answers(base))
