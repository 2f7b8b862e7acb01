"""The planet's street pictures: drives, rides and panoramas."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from nogps.earth.geo import distance_km
from planet import drives, mapillary, panoramax
from planet.photos import Photo, hashed
from planet.picture import jpeg
from tests.planet.asking import SEED, items, opened
from tests.planet.processes import told_by_two_processes


def test_street_pictures_and_files_are_the_same_in_every_process():
    program = (
        "import hashlib\n"
        "from planet import commons, drives, mapillary, panoramax\n"
        "from planet.photos import photos\n"
        "items = panoramax.Panoramax(3, 60).pictures\n"
        "pictures = mapillary.Mapillary(3, 60).pictures\n"
        "files = commons.Commons(photos(3, 60)).files\n"
        "told = [commons._info(each, {'iiprop': 'url|user|sha1'}) for each in files.values()]\n"
        "around = [each for each in pictures.values() if each.around][:2]\n"
        "flat = [each for each in pictures.values() if not each.around][:2]\n"
        "drawn = b''.join(drives.rendered(each, 256) for each in around + flat)\n"
        "digest = hashlib.sha256(repr([items, pictures, files, told]).encode() + drawn)\n"
        "print(len(around), len(flat), digest.hexdigest())\n"
    )
    digests = told_by_two_processes(program)
    assert len(digests) == 1
    assert digests.pop().startswith("2 2 ")


def test_another_seed_has_other_street_pictures():
    assert not set(panoramax.Panoramax(1, 100).pictures) & set(panoramax.Panoramax(2, 100).pictures)
    one, other = (mapillary.Mapillary(seed, 100).pictures for seed in (1, 2))
    assert len(one) == len(other) == 100
    assert not set(one) & set(other)


@pytest.mark.parametrize("service", ["panoramax", "mapillary"])
def test_drives_stay_on_earth_and_go_on_step_by_step(service):
    shots = drives.shots(service, SEED, 4000, "France" if service == "panoramax" else "")
    assert len(shots) == len({shot.view for shot in shots}) == 4000
    assert len({hashed(shot.view, 7) for shot in shots}) == 4000
    for before, photo in pairwise(shots):
        assert -90 <= photo.latitude <= 90 and -180 <= photo.longitude < 180
        assert 0 <= photo.heading < 360
        if photo.drive == before.drive:
            assert photo.rank == before.rank + 1
            assert (photo.around, photo.owner) == (before.around, before.owner)
            assert 0.005 < kilometres(before, photo) < 0.045
        else:
            assert photo.rank == 0
    assert 0.2 < np.mean([shot.around for shot in shots]) < 0.5


def kilometres(one: Photo, other: Photo) -> float:
    return float(distance_km(one.latitude, one.longitude, other.latitude, other.longitude))


def test_two_people_of_three_on_panoramax_are_french():
    owners = {each.owner: each.town.country for each in items().values()}
    assert 0.5 < np.mean([country == "France" for country in owners.values()]) < 0.85


def middle(pixels: np.ndarray, half: int) -> np.ndarray:
    """The middle of a picture, 60 x 60 pixels."""
    y, x = (side // 2 for side in pixels.shape[:2])
    cut = Image.fromarray(pixels[y - half : y + half, x - half : x + half])
    return np.asarray(cut.resize((60, 60)), float)


def test_the_middle_of_a_panorama_looks_along_the_heading_and_the_rest_to_its_right():
    around = [each for each in items().values() if each.around]
    told_apart = 0
    for shot in around[:: len(around) // 5][:5]:
        width = 480
        photo = replace(shot, width=width // 3, height=width // 3)
        panorama = np.asarray(opened(drives.rendered(shot, width)))

        def view(turn: int, heading: int, photo=photo) -> np.ndarray:
            """What is seen after a turn, in the light of this heading."""
            name = f"{photo.view} {turn}"
            return np.asarray(opened(jpeg(replace(photo, heading=heading % 360, view=name))))

        def off(turn: int, pixels: np.ndarray, panorama=panorama, width=width) -> float:
            """How much a view differs from the panorama so far to the right of its middle."""
            here = np.roll(panorama, -turn * width // 360, axis=1)
            # There a degree is as many pixels in both, but for 5 hundredths.
            return float(np.abs(middle(pixels, 31) - middle(here, 30)).mean())

        views = {turn: view(turn, photo.heading + turn) for turn in (0, 90, 180, 270)}
        for turn, right in views.items():
            others = [off(turn, each) for name, each in views.items() if name != turn]
            assert off(turn, right) < 0.6 * min(others)
            mirrored = view(turn, photo.heading - turn)
            assert off(turn, right) <= off(turn, mirrored)
            told_apart += off(turn, right) < off(turn, mirrored)
    assert told_apart > 3


def test_a_rendered_picture_has_the_width_that_is_asked_for():
    for around in (True, False):
        shot = next(each for each in items().values() if each.around == around)
        for width in (64, 512):
            image = opened(drives.rendered(shot, width))
            assert image.width == width
        assert drives.rendered(shot) == drives.rendered(shot, shot.width)
        assert drives.rendered.__wrapped__(shot, 64) == drives.rendered(shot, 64)
