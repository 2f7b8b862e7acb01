"""A little planet with real towns and made-up photographers.

Everything here is a pure function of a seed and a number of photos, the same on every machine:
only `random.Random` and `math` are used, and positions are rounded before anybody sees them.
"""

import hashlib
import json
import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from nogps.earth.geo import distance_km
from nogps.earth.towns import Town, towns

YEAR = 2007  # every photo was uploaded in it, UTC
KM_PER_DEGREE = 111.195

DATA = json.loads(Path(__file__).with_name("data.json").read_text())
COUNTRIES = DATA["countries"]  # where the photographers live, the most photographed first
SCENES = DATA["scenes"]  # what a photo can be of, and the words that people then put beside it
SCENE_WEIGHTS = [46, 20, 13, 12, 9]

UNWANTED_WORDS = ["wedding", "party", "birthday", "portrait", "abstract", "macro"]


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One photo as its owner put it online; what only some have has a default."""

    photo_id: str = ""  # Flickr's, as are secret and server
    secret: str = ""
    server: str = ""
    owner: str = ""
    owner_name: str
    town: Town
    latitude: float  # degrees, 6 decimals
    longitude: float
    on_map: str = "yes"  # "yes"; "no": without a position; "zero": put at 0, 0 by mistake
    accuracy: int = 16  # of the position: 1 world .. 16 street
    taken: datetime  # local time
    uploaded: int = 0  # Unix seconds
    title: str = ""
    tags: tuple[str, ...] = ()
    licence: int = 0  # Flickr's id
    heading: int  # degrees clockwise from north
    width: int  # of the original, pixels
    height: int
    deleted: bool = False  # listed still, but its picture is gone
    scene: str = "street"  # a key of SCENES
    view: str  # photos with the same view show the same thing ...
    take: int = 0  # ... and with the same take they are the same picture
    drive: str = ""  # a name of the drive, walk or ride that a street picture is part of
    rank: int = 0  # in it
    around: bool = False  # a panorama of 360 degrees, whose heading is that of the middle

    @property
    def taken_unix(self) -> int:
        """When it was taken in Unix seconds, taking local time for UTC."""
        return int(self.taken.replace(tzinfo=UTC).timestamp())


def hashed(text: str, size: int) -> int:
    """A number of so many bytes for a text, the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big")


def chance(*what: object) -> float:
    """A number in [0, 1) that follows from what is given."""
    return hashed(" ".join(map(str, what)), 6) / 2**48


class Map:
    """Things by where they are, for those who ask for boxes."""

    def __init__(self, things: Iterable[tuple[float, float, Any]]):
        """Latitude and longitude in degrees, and the thing."""
        self._things = sorted(things, key=lambda each: each[:2])
        self._latitudes = [latitude for latitude, _, _ in self._things]

    def within(self, west: float, south: float, east: float, north: float) -> list[tuple]:
        """Those in the box: latitude, longitude and the thing."""
        first, last = bisect_left(self._latitudes, south), bisect_right(self._latitudes, north)
        return [each for each in self._things[first:last] if west <= each[1] <= east]


@lru_cache(maxsize=4)
def photos(seed: int, count: int) -> tuple[Photo, ...]:
    """All photos of the planet, in the order of upload (and so of id)."""
    rng = random.Random(f"planet {seed}")
    planet: list[Photo] = []
    number = 0
    while len(planet) < count:
        number += 1
        planet += _album(rng, number, seed)
    planet = sorted(planet[:count], key=lambda photo: photo.uploaded)
    photo_id = 340_000_000
    for index, photo in enumerate(planet):
        photo_id += rng.randrange(1, 400)
        secret = f"{rng.getrandbits(40):010x}"
        planet[index] = replace(photo, photo_id=str(photo_id), secret=secret)
    return tuple(planet)


@lru_cache(maxsize=1)
def home_towns() -> tuple[Town, ...]:
    """The towns that photographers live in: the largest of each country, well apart."""
    chosen: dict[str, list[Town]] = {country: [] for country in COUNTRIES}
    for town in towns():
        homes, most = chosen.get(town.country), 3 if town.country in COUNTRIES[:4] else 1
        here = town.latitude, town.longitude
        away_km = (distance_km(*here, each.latitude, each.longitude) for each in homes or ())
        if homes is not None and len(homes) < most and all(km > 60 for km in away_km):
            homes.append(town)
    return tuple(town for homes in chosen.values() for town in homes)


def moved(latitude: float, longitude: float, km: float, bearing: float) -> tuple[float, float]:
    """The position so far away in a direction, which is in radians."""
    north, east = km * math.cos(bearing) / KM_PER_DEGREE, km * math.sin(bearing) / KM_PER_DEGREE
    return latitude + north, longitude + east / math.cos(math.radians(latitude))


def _album(rng: random.Random, number: int, seed: int) -> list[Photo]:
    home = rng.choice(home_towns())
    travels = rng.random() < 0.12
    owner = {
        "owner": f"{10_000_000 + number * 7919}@N0{number % 9}",
        "owner_name": f"{home.name.split()[0].lower()}{number}",
        "licence": rng.choices(range(8), [60, 12, 6, 8, 6, 5, 2, 1])[0],
        "server": str(rng.randrange(100, 240)),
    }
    size = min(12, 1 + int(11 * rng.random() ** 1.6 + rng.random()))
    album: list[Photo] = []
    while len(album) < size:
        abroad = travels and rng.random() < 0.6
        town = rng.choice(home_towns()) if abroad else home
        outing = _outing(rng, owner, town, f"{seed} {owner['owner']} {len(album)}")
        album += outing[: size - len(album)]
    return album


def _outing(rng: random.Random, owner: dict, town: Town, name: str) -> list[Photo]:
    """A few photos of one day: mostly of different things, now and then a burst of one."""
    day = datetime(YEAR, 1, 1) + timedelta(days=rng.randrange(365))
    online = min(day + timedelta(days=int(30 * rng.random() ** 3)), datetime(YEAR, 12, 31))
    uploaded = int(online.replace(tzinfo=UTC).timestamp()) + rng.randrange(86_000)
    # Nine outings of ten stay in town; the tenth goes to the country around it.
    reach_km = 4 if rng.random() < 0.9 else 60
    outing: list[Photo] = []
    for shot in range(1 + int(4 * rng.random() ** 2)):
        if not outing or rng.random() >= 0.12:
            photo = _photo(rng, owner, town, day, reach_km, f"{name} {shot}")
        elif rng.random() >= 0.15:  # else it is the very same picture, put online twice
            taken = photo.taken + timedelta(seconds=rng.randrange(1, 9))
            photo = replace(photo, take=photo.take + 1, taken=taken)
        outing.append(replace(photo, uploaded=uploaded + 7 * shot))
    return outing


def _photo(rng, owner: dict, town: Town, day: datetime, reach_km: float, view: str) -> Photo:
    """A photo that gets its id, and a secret, when all uploads are known."""
    distance, bearing = reach_km * rng.random() ** 1.5, 2 * math.pi * rng.random()
    latitude, longitude = moved(town.latitude, town.longitude, distance, bearing)
    scene = rng.choices(list(SCENES), SCENE_WEIGHTS)[0]
    words = rng.sample(SCENES[scene], rng.choice([1, 2, 2, 3]))
    if rng.random() < 0.04:
        words.append(rng.choice(UNWANTED_WORDS))
    tags = [town.name, town.country] * (rng.random() < 0.7) + words
    longest = rng.choices([320, 500, 1024], [93, 6.5, 0.5])[0]
    shortest = longest * rng.choice([240, 240, 240, 213, 256, 200, 320]) // 320
    width, height = (shortest, longest) if rng.random() < 0.2 else (longest, shortest)
    on_map = rng.choices(["yes", "no", "zero"], [96.5, 3, 0.5])[0]
    accuracy = rng.choices([16, 15, 14, 13, 12, 11, 9, 6, 3], [60, 8, 7, 6, 5, 7, 3, 3, 1])[0]
    hour = 6 + int((rng.random() + rng.random() + rng.random()) / 3 * 17)
    return Photo(
        **owner,
        town=town,
        latitude=round(latitude, 6),
        longitude=round(longitude, 6),
        on_map=on_map,
        accuracy=accuracy,
        taken=day + timedelta(hours=hour, seconds=rng.randrange(3600)),
        title=rng.choice([f"{words[0].title()} in {town.name}", town.name, "IMG_0042", ""]),
        tags=tuple(dict.fromkeys(tag.lower() for tag in tags)),
        heading=rng.randrange(360),
        width=width,
        height=height,
        deleted=rng.random() < 0.015,
        scene=scene,
        view=view,
    )
