"""The planet's photographers, their photos and what these show."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import imagehash
import numpy as np
import pytest

from nogps.earth.geo import distance_km
from planet import looks, picture
from planet.photos import SCENES, UNWANTED_WORDS, photos
from tests.planet.asking import opened
from tests.planet.processes import told_by_two_processes


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


def test_a_picture_has_the_size_that_is_asked_for():
    for photo in photos(0, 60):
        width, height = opened(picture.jpeg(photo)).size
        assert (width, height) == (photo.width, photo.height)
        assert max(opened(picture.jpeg(photo, 240)).size) == 240


def test_every_kind_of_scene_can_be_drawn_everywhere_at_any_hour():
    for hour, photo in enumerate(photos(0, 24)):
        for scene in SCENES:
            shot = replace(photo, scene=scene, taken=photo.taken.replace(hour=hour))
            assert opened(picture.jpeg(shot)).format == "JPEG"


def test_takes_of_a_burst_look_alike_and_nothing_else_does():
    planet = photos(0, 250)
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
