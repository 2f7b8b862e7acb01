"""Street pictures of the planet: drives and walks, some taken with cameras that see all around.

Like the planet's photos, a pure function of a seed, and the same on every machine.
"""

import io
import math
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property, lru_cache

import numpy as np
from PIL import Image

from nogps.earth.towns import Town, towns
from planet.photos import Map, Photo, hashed, home_towns, moved
from planet.picture import encoded, jpeg


class Street:
    """The pictures of a service, found when they are first asked for."""

    service = country = ""
    id_of: Callable[[str], str]  # of a picture, from its view

    def __init__(self, seed: int, count: int):
        self._seed, self._count = seed, count

    @cached_property
    def pictures(self) -> dict[str, Photo]:
        """All pictures by id."""
        found = shots(self.service, self._seed, self._count, self.country)
        return {self.id_of(shot.view): shot for shot in found}

    @cached_property
    def map(self) -> Map:
        """Ids by position."""
        return Map((*self.position(shot), each) for each, shot in self.pictures.items())

    def position(self, shot: Photo) -> tuple[float, float]:
        """Latitude and longitude that it is found by."""
        return shot.latitude, shot.longitude


@lru_cache(maxsize=4)
def shots(service: str, seed: int, count: int, country: str = "") -> tuple[Photo, ...]:
    """All pictures of a service. With a country, two people of three live there."""
    rng = random.Random(f"{service} {seed}")
    homes = [town for town in towns() if town.country == country] or list(home_towns())
    found: list[Photo] = []
    person = 0
    while len(found) < count:
        person += 1
        home = rng.choice(homes if rng.random() < 0.67 else home_towns())
        name = f"{home.name.split()[0].lower()}{person}"
        for drive in range(1 + int(6 * rng.random() ** 2)):
            found += _drive(rng, f"{service} {seed} {person} {drive}", name, home)
    return tuple(found[:count])


def _drive(rng: random.Random, name: str, owner: str, town: Town) -> list[Photo]:
    away_km = 6 * rng.random() ** 1.5
    latitude, longitude = _at(town.latitude, town.longitude, away_km, 360 * rng.random())
    bearing, step_km = rng.randrange(360), rng.uniform(0.008, 0.04)
    around = rng.random() < 0.35
    moment = datetime(2015, 1, 1) + timedelta(days=rng.randrange(3600), hours=rng.randrange(8, 18))
    looks = rng.choice([0, 0, 0, 90, 270])
    width, height = (1440, 720) if around else rng.choice([(512, 384), (512, 384), (384, 512)])
    found = []
    for rank in range(4 + int(24 * rng.random() ** 2)):
        bearing = (bearing + rng.randrange(-12, 13)) % 360
        latitude, longitude = _at(latitude, longitude, step_km, bearing)
        photo = Photo(
            owner=str(hashed(owner, 7) % 10**15),
            owner_name=owner,
            town=town,
            width=width,
            height=height,
            latitude=latitude,
            longitude=longitude,
            heading=(bearing + looks) % 360,
            taken=moment + timedelta(seconds=rank // 2),  # two share a second, as real ones do
            deleted=rng.random() < 0.012,
            view=f"{name} {rank}",
            drive=name,
            rank=rank,
            around=around,
        )
        found.append(photo)
    return found


def _at(latitude: float, longitude: float, km: float, bearing: float) -> tuple[float, float]:
    """The position so far away in a direction, which is in degrees."""
    latitude, longitude = moved(latitude, longitude, km, math.radians(bearing))
    return round(latitude, 7), round((longitude + 180) % 360 - 180, 7)


@lru_cache(maxsize=200)
def rendered(photo: Photo, width: int | None = None) -> bytes:
    """The picture as JPEG bytes, as wide as it was taken or shrunk or enlarged to `width`."""
    width = width or photo.width
    if photo.around:
        image = _all_around(photo, width)
    elif width == photo.width:
        return jpeg(photo)
    else:
        image = Image.open(io.BytesIO(jpeg(photo)))
        image = image.resize((width, round(width * photo.height / photo.width)))
    return encoded(image, "JPEG", quality=75)


def _all_around(photo: Photo, width: int) -> Image.Image:
    """An equirectangular picture whose middle looks along the photo's heading."""
    side = width // 3
    views = []  # each 90 degrees wide, and so far to the right of the one before
    for turn in range(0, 360, 90):
        heading, view = (photo.heading + turn) % 360, f"{photo.view} {turn}"
        picture = jpeg(replace(photo, heading=heading, width=side, height=side, view=view))
        views.append(np.asarray(Image.open(io.BytesIO(picture))))
    column, row = np.meshgrid(np.arange(width), np.arange(width // 2))
    turn = (column + 0.5) / width * 360 - 180
    nearest = np.round(turn / 90)
    off = np.radians(turn - 90 * nearest)
    up = np.radians(90 - (row + 0.5) / (width // 2) * 180)
    # Rounded, so that the same pixel is taken on every machine; what no view shows is its edge.
    x = np.round((1 + np.tan(off)) / 2 * side, 6)
    y = np.round((1 - np.tan(up) / np.cos(off)) / 2 * side, 6)
    x, y = (np.clip(np.floor(each), 0, side - 1).astype(int) for each in (x, y))
    return Image.fromarray(np.stack(views)[nearest.astype(int) % 4, y, x])
