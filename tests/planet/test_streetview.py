"""The planet's Street View, held to what the real one does."""

import base64
import hmac
import math
from collections import Counter

import numpy as np
import pytest

from nogps.earth.geo import distance_km
from nogps.earth.towns import towns
from planet import panoramas as lattice
from planet import streetview
from planet.keys import GOOGLE_KEY, SIGNING_SECRET
from planet.panoramas import Panoramas
from tests.planet.asking import asked, get, opened, panoramas


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
        row = math.floor(town.latitude / lattice._ROW_DEGREES)
        others = []
        for each in range(row - 4, row + 5):
            column = math.floor((town.longitude + 180) / 360 * lattice._columns(each))
            others += [every.at(each, column + step) for step in range(-4, 5)]
        place = (town.latitude, town.longitude)
        apart = [lattice.metres(*place, o.latitude, o.longitude) for o in others if o]
        assert lattice.metres(*place, near.latitude, near.longitude) == min(apart)


def test_metadata_tell_the_nearest_panorama(base):
    pano = next(each for each in panoramas(50) if each.kind == "official" and each.lists_date)
    where = f"{pano.latitude},{pano.longitude}"
    answer = asked(base, location=where)
    assert answer.status_code == 200
    assert answer.json() == asked(base, pano=pano.pano_id).json()
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


def test_outdoor_drops_indoor_and_unknown_kinds(base):
    found = {kind: [] for kind in ("official", "photosphere", "unknown", "indoor")}
    for pano in panoramas(300):
        found[pano.kind].append(pano)
    for kind, group in found.items():
        pano = group[0]
        where = {"location": f"{pano.latitude},{pano.longitude}", "radius": "1"}
        assert asked(base, **where).json()["pano_id"] == pano.pano_id
        outside = asked(base, source="outdoor", **where).json()
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
def test_metadata_have_a_status_for_everything(base, arguments, status):
    answer = asked(base, **arguments)
    assert answer.status_code == 200
    assert answer.json()["status"] == status
    assert ("error_message" in answer.json()) == (status in ("REQUEST_DENIED", "INVALID_REQUEST"))


def signature_by_the_book(target: str) -> str:
    secret = base64.urlsafe_b64decode(SIGNING_SECRET)
    return base64.urlsafe_b64encode(hmac.digest(secret, target.encode(), "sha1")).decode()


def test_requests_may_be_signed(base):
    pano = panoramas(1)[0].pano_id
    for path in (streetview.METADATA, streetview.IMAGE):
        target = f"{path}?size=64x64&pano={pano}&key={GOOGLE_KEY}"
        signed = f"{base}{target}&signature={signature_by_the_book(target)}"
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
def test_images_that_cannot_be_are_refused_in_words(base, arguments, status):
    good = {"size": "64x64", "pano": panoramas(1)[0].pano_id}
    answer = asked(base, streetview.IMAGE, **good | arguments)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/plain")


def test_without_return_error_code_a_missing_image_is_grey(base):
    missing = {"pano": "vPnURflnc8AZu5NMLYRddw"}
    bodies = [
        asked(base, streetview.IMAGE, size=size, **missing).content
        for size in ("600x300", "600x300", "200x100")
    ]
    assert bodies[0] == bodies[1]
    image = opened(bodies[0])
    assert (image.format, image.size, opened(bodies[2]).size) == ("JPEG", (600, 300), (200, 100))
    assert np.abs(np.asarray(image)[:100].astype(int) - [228, 227, 223]).max() < 4


def test_images_show_a_panorama_in_a_direction(base):
    pano = next(each for each in panoramas(50) if each.kind == "official")
    where = f"{pano.latitude},{pano.longitude}"

    def image(**arguments):
        return asked(base, streetview.IMAGE, size="200x150", **arguments).content

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
