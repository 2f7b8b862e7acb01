import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import imagehash
import numpy as np
import pytest
from PIL import Image

from nogps.geo import distance_km
from nogps.simulated import IMAGE_HOST, KEY, looks, picture, running_planet
from nogps.simulated.planet import SCENES, UNWANTED_WORDS, photos

SOURCES = Path(picture.__file__).parents[2]


def opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


# --- the planet ---


def test_the_planet_is_the_same_in_every_process():
    program = (
        "import hashlib; from nogps.simulated.planet import photos;"
        "from nogps.simulated.picture import jpeg;"
        "pictures = b''.join(map(jpeg, photos(3, 200)[:40]));"
        "print(hashlib.sha256(repr(photos(3, 200)).encode() + pictures).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=SOURCES,
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": str(SOURCES)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(digests) == 1


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
    assert looks.place_of(at(51, country="United Kingdom")).drives_left
    assert not looks.place_of(at(51)).drives_left
    assert looks.place_of(at(5)).plant == "palm"
    assert looks.place_of(at(60)).plant == "conifer"


@pytest.mark.parametrize(("latitude", "winter", "summer"), [(65, 1, 7), (-56, 7, 1)])
def test_snow_lies_in_winter(latitude, winter, summer):
    snow = (225, 230, 238)
    assert looks.place_of(at(latitude, moment=(2007, winter, 10, 12))).ground == snow
    assert looks.place_of(at(latitude, moment=(2007, summer, 10, 12))).ground != snow


def test_colours_of_walls_change_slowly_with_distance():
    def change(step):
        pairs = [
            (looks.place_of(at(lat, 10)).walls[0], looks.place_of(at(lat + step, 10)).walls[0])
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
    response = httpx.get(planet.rest_url, params=defaults | arguments, trust_env=False)
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
    text = httpx.get(planet.rest_url, params={**arguments, "text": "city"}, trust_env=False).text
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
    from nogps.simulated import server

    monkeypatch.setattr(server, "MOST_RESULTS", 200)
    listing = [(photo, frozenset({"city"})) for photo in photos(0, 500)]
    arguments = {"text": "city", "sort": "date-posted-asc", "extras": "geo,url_n"}
    pages = [server.search(listing, {**arguments, "page": str(page)}) for page in (1, 2, 3, 5)]
    ids = [[row["id"] for row in page["photos"]["photo"]] for page in pages]
    assert pages[0]["photos"]["pages"] == 5
    assert ids[0] + ids[1] == [photo.photo_id for photo in photos(0, 500)[:200]]
    assert ids[1] == ids[2] == ids[3]


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
        "import time; from nogps.simulated import running_planet\n"
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


def test_ctrl_c_is_left_to_the_parent():
    server = subprocess.Popen(
        [sys.executable, "-m", "nogps.simulated", "--photos", "10"],
        cwd=SOURCES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        base = server.stdout.readline().strip()
        os.kill(server.pid, signal.SIGINT)
        assert answers(base)
        server.stdin.close()
        assert server.wait(timeout=10) == 0
