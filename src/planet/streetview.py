"""The planet's Google Street View: panoramas near towns, their metadata and their images.

Nothing is stored: a panorama is a pure function of the seed and of its cell in a lattice of
about 60 m, and its id says which cell that is.
"""

import base64
import binascii
import hashlib
import hmac
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from io import BytesIO
from urllib.parse import unquote

from PIL import Image, ImageDraw

from nogps.earth.towns import Town, towns
from planet.answer import Answer, Call, js, text
from planet.keys import GOOGLE_KEY, SIGNING_SECRET
from planet.photos import KM_PER_DEGREE, Photo

API_HOST = "http://maps.googleapis.invalid"
PAGE_HOST = "http://www.google.invalid"
IMAGE = "/maps/api/streetview"
METADATA = "/maps/api/streetview/metadata"
LARGEST = 640  # pixels that a side of an image may have
DEFAULT_RADIUS_M = 50
FURTHEST_RADIUS_M = 3000  # a search goes no further, whatever radius is asked for
REACH_KM = 60  # from a town; there are no panoramas further out

_BLOCK_REACH_KM = 8  # from the middle of a block of a tenth of a degree to its corners

_ROW_DEGREES = 0.00054  # 60 m
_SHARE = 0.7  # of the cells that have a panorama
_PEOPLE = ["Ana Horvat", "John Smith", "Mei Tanaka", "Luis Ortega", "Petra Novak", "Sam Okoye"]
_SHOPS = ["Corner Café", "City Museum", "Hotel Astoria", "Book Barn", "Casa Verde"]
_BY_PEOPLE = "CAoSLEFGMVFpcE"  # how the ids of photospheres begin


@dataclass(frozen=True)
class Panorama:
    """One panorama."""

    pano_id: str
    latitude: float  # degrees, 7 decimals
    longitude: float
    date: str  # YYYY-MM
    copyright: str
    kind: str  # "official", "photosphere", "unknown" (a photosphere of unknown kind), "indoor"
    lists_date: bool
    lists_copyright: bool

    @property
    def outdoor(self) -> bool:
        """Whether it is found also by `source=outdoor`."""
        return self.kind in ("official", "photosphere")


class Streets:
    """All panoramas of one planet."""

    def __init__(self, seed: int):
        self.seed = seed
        self.at = lru_cache(maxsize=20_000)(self._at)

    def nearest(
        self, latitude: float, longitude: float, radius_m: float, outdoor: bool = False
    ) -> Panorama | None:
        """The panorama nearest to a position, if one is that near."""
        radius_m = min(radius_m, FURTHEST_RADIUS_M)
        if not near_a_town(latitude, longitude, REACH_KM + radius_m / 1000):
            return None
        best, best_m = None, radius_m
        for ring in range(2 + math.ceil(radius_m / 59)):
            if best and best_m < 59 * (ring - 1):
                break  # whatever is in this ring is further away
            for panorama in self._ring(latitude, longitude, ring):
                distance = metres(latitude, longitude, panorama.latitude, panorama.longitude)
                if distance <= best_m and (panorama.outdoor or not outdoor):
                    best, best_m = panorama, distance
        return best

    def _ring(self, latitude: float, longitude: float, ring: int) -> list[Panorama]:
        """The panoramas of the cells that are so many cells away."""
        middle = _row(latitude)
        found = []
        for row in range(middle - ring, middle + ring + 1):
            if not abs(row * _ROW_DEGREES) < 85:
                continue
            column = _column(row, longitude)
            step = 1 if abs(row - middle) == ring else max(1, 2 * ring)
            for each in range(column - ring, column + ring + 1, step):
                found.append(self.at(row, each % _columns(row)))
        return [panorama for panorama in found if panorama]

    def by_id(self, pano_id: str) -> Panorama | None:
        """The panorama with this id, if there is one."""
        try:
            raw = base64.urlsafe_b64decode(pano_id.removeprefix(_BY_PEOPLE)[-22:] + "==")
        except (ValueError, binascii.Error):
            return None
        if len(raw) != 16:
            return None
        cell = int.from_bytes(_mixed(raw[8:], self._digest(raw[:8].hex())), "big")
        row, column = (cell >> 32) - 2**31, cell & 0xFFFFFFFF
        if abs(row * _ROW_DEGREES) >= 85 or column >= _columns(row):
            return None
        panorama = self.at(row, column)
        return panorama if panorama and panorama.pano_id == pano_id else None

    def _digest(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.seed} {text}".encode()).digest()[:8]

    def _id(self, row: int, column: int) -> str:
        """22 characters: check bits, and the cell under a pad that follows from them."""
        check = self._digest(f"{row} {column}")
        cell = (row + 2**31) << 32 | column
        raw = check + _mixed(cell.to_bytes(8, "big"), self._digest(check.hex()))
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def _at(self, row: int, column: int) -> Panorama | None:
        rng = random.Random(f"panorama {self.seed} {row} {column}")
        if rng.random() >= _SHARE:
            return None
        latitude = round((row + rng.random()) * _ROW_DEGREES, 7)
        longitude = round((column + rng.random()) * 360 / _columns(row) - 180, 7)
        if not near_a_town(latitude, longitude, REACH_KM):
            return None
        kind = rng.choices(["official", "photosphere", "unknown", "indoor"], [86, 4, 4, 6])[0]
        by_people = kind in ("photosphere", "unknown")
        owner = "Google"
        if by_people:
            owner = rng.choice(_PEOPLE)
        elif kind == "indoor" and rng.random() < 0.5:
            owner = rng.choice(_SHOPS)
        return Panorama(
            pano_id=_BY_PEOPLE * by_people + self._id(row, column),
            latitude=latitude,
            longitude=longitude,
            date=f"{rng.randrange(2008, 2025)}-{rng.randrange(1, 13):02}",
            copyright=f"© {owner}",
            kind=kind,
            lists_date=kind != "official" or rng.random() > 0.03,
            lists_copyright=kind != "official" or rng.random() > 0.01,
        )


def _mixed(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _row(latitude: float) -> int:
    return math.floor(latitude / _ROW_DEGREES)


@lru_cache(maxsize=10_000)
def _columns(row: int) -> int:
    """How many cells there are around the planet: each as wide as it is high."""
    return max(1, math.floor(360 / _ROW_DEGREES * math.cos(math.radians(row * _ROW_DEGREES))))


def _column(row: int, longitude: float) -> int:
    return math.floor((longitude + 180) / 360 * _columns(row))


def metres(latitude: float, longitude: float, latitude2: float, longitude2: float) -> float:
    """The distance on the sphere, to the millimetre."""
    lat, lat2 = math.radians(latitude), math.radians(latitude2)
    half = math.radians(longitude2 - longitude) / 2
    chord = math.sin((lat2 - lat) / 2) ** 2 + math.cos(lat) * math.cos(lat2) * math.sin(half) ** 2
    return round(2 * 6_371_000 * math.asin(min(1.0, math.sqrt(chord))), 3)


# --- towns ---


@lru_cache(maxsize=1)
def _town_squares() -> dict[tuple[int, int], list[Town]]:
    """The towns by the square, a tenth of a degree wide, that they are in."""
    squares: dict[tuple[int, int], list[Town]] = {}
    for town in towns():
        squares.setdefault(_square(town.latitude, town.longitude), []).append(town)
    return squares


def _square(latitude: float, longitude: float) -> tuple[int, int]:
    return math.floor(10 * latitude), math.floor(10 * ((longitude + 180) % 360))


@lru_cache(maxsize=20_000)
def nearest_town(latitude: float, longitude: float, within_km: float) -> Town | None:
    """The nearest town, if there is one that near."""
    for reach_km in (min(12, within_km), within_km):  # most have one next to them
        near = [
            (metres(latitude, longitude, town.latitude, town.longitude), town)
            for town in _towns_around(latitude, longitude, reach_km)
        ]
        distance, town = min(near, key=lambda each: each[0], default=(math.inf, None))
        if distance <= reach_km * 1000:
            return town
    return None


def _towns_around(latitude: float, longitude: float, reach_km: float) -> Iterator[Town]:
    """At least the towns within reach."""
    degrees = reach_km / KM_PER_DEGREE
    tall = math.ceil(10 * degrees)
    widest = math.cos(math.radians(min(89.0, abs(latitude) + degrees)))
    wide = min(1800, math.ceil(10 * degrees / widest))
    row, column = _square(latitude, longitude)
    for north in range(row - tall, row + tall + 1):
        for east in range(column - wide, column + wide + 1):
            yield from _town_squares().get((north, east % 3600), [])


def near_a_town(latitude: float, longitude: float, within_km: float) -> bool:
    """Whether a town is that near; asked often, so known for a whole block where it can be."""
    block_km = _block_km(math.floor(10 * latitude), math.floor(10 * longitude))
    if abs(block_km - within_km) > _BLOCK_REACH_KM:
        return block_km < within_km
    return nearest_town(latitude, longitude, within_km) is not None


@lru_cache(maxsize=20_000)
def _block_km(north: int, east: int) -> float:
    """How far the nearest town is from the middle of a block of a tenth of a degree."""
    latitude, longitude = (north + 0.5) / 10, (east + 0.5) / 10
    town = nearest_town(latitude, longitude, REACH_KM + 5 * _BLOCK_REACH_KM)
    if town is None:
        return math.inf
    return metres(latitude, longitude, town.latitude, town.longitude) / 1000


# --- metadata ---


def metadata(streets: Streets, call: Call) -> Answer:
    """What the metadata endpoint answers; remembers in the call which panorama was found."""
    denied = _denied(call)
    if denied:
        return _status("REQUEST_DENIED", denied)
    problem = _wrong(call.arguments)
    if problem:
        return _status("INVALID_REQUEST", problem)
    if "pano" not in call.arguments and position_of(call.arguments["location"]) is None:
        return _status("NOT_FOUND")
    panorama = _asked(streets, call.arguments)
    if panorama is None:
        return _status("ZERO_RESULTS")
    call.photo = panorama.pano_id
    return js(_described(panorama))


def _described(panorama: Panorama) -> dict:
    listed = {"copyright": panorama.copyright} if panorama.lists_copyright else {}
    if panorama.lists_date:
        listed["date"] = panorama.date
    return {
        **listed,
        "location": {"lat": panorama.latitude, "lng": panorama.longitude},
        "pano_id": panorama.pano_id,
        "status": "OK",
    }


def _status(name: str, message: str = "") -> Answer:
    return js(({"error_message": message} if message else {}) | {"status": name})


def _asked(streets: Streets, arguments: dict[str, str]) -> Panorama | None:
    if "pano" in arguments:
        return streets.by_id(arguments["pano"])
    position = position_of(arguments["location"])
    if position is None:
        return None
    radius = float(arguments.get("radius", DEFAULT_RADIUS_M))
    return streets.nearest(*position, radius, arguments.get("source") == "outdoor")


def position_of(location: str) -> tuple[float, float] | None:
    """Latitude and longitude from their text; None for anything else."""
    number = r"\s*([+-]?\d{1,3}(?:\.\d*)?)\s*"
    given = re.fullmatch(f"{number},{number}", location, re.ASCII)
    if not given:
        return None
    latitude, longitude = float(given[1]), float(given[2])
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 180 else None


def _wrong(arguments: dict[str, str]) -> str:
    """What is wrong with the arguments that both endpoints take, if anything is."""
    if "pano" not in arguments and "location" not in arguments:
        return "Either 'location' or 'pano' parameter must be provided."
    if _number(arguments, "radius", DEFAULT_RADIUS_M, 0, math.inf) is None:
        return "Invalid 'radius' parameter."
    if arguments.get("source", "default") not in ("default", "outdoor"):
        return "Invalid 'source' parameter."
    return ""


def _number(
    arguments: dict[str, str], name: str, default: float, low: float, high: float
) -> float | None:
    try:
        value = float(arguments.get(name, default))
    except ValueError:
        return None
    return value if math.isfinite(value) and low <= value <= high else None


def _denied(call: Call) -> str:
    """Why the caller may not ask, if so."""
    if not call.arguments.get("key"):
        return "You must use an API key to authenticate each request to Google Maps Platform APIs."
    if call.arguments["key"] != GOOGLE_KEY:
        return "The provided API key is invalid."
    if "signature" in call.arguments and not _signed_well(call.target):
        return "Unable to authenticate the request. Provided 'signature' is not valid."
    return ""


def _signed_well(target: str) -> bool:
    given = re.search(r"[?&]signature=([^&]*)", target)
    unsigned = re.sub(r"(?<=[?&])signature=[^&]*&?", "", target).rstrip("?&")
    return given is not None and hmac.compare_digest(
        unquote(given[1]).rstrip("=").encode(), signature_of(unsigned).rstrip("=").encode()
    )


def signature_of(target: str) -> str:
    """Google's signature for a path and query."""
    secret = base64.urlsafe_b64decode(SIGNING_SECRET)
    digest = hmac.new(secret, target.encode(), hashlib.sha1).digest()
    return base64.urlsafe_b64encode(digest).decode()


# --- images ---


def image(streets: Streets, call: Call) -> tuple[Photo] | Answer:
    """The photo that an image request means, or what is there instead.

    Remembers in the call what was found.
    """
    denied = _denied(call)
    if denied:
        return text(403, denied)
    size = size_of(call.arguments)
    problem = _wrong(call.arguments) or _wrong_view(call.arguments)
    if size is None or problem:
        return text(400, problem or "Error: Invalid 'size' parameter.")
    heading = _number(call.arguments, "heading", 0, -math.inf, math.inf) % 360
    panorama = _asked(streets, call.arguments)
    if panorama is None:
        if call.arguments.get("return_error_code", "").lower() == "true":
            return text(404, "Error: no imagery here.")
        return grey(*size)
    call.photo = f"{panorama.pano_id} {heading:g}"
    return (photo_of(panorama, heading, *size),)


def size_of(arguments: dict[str, str]) -> tuple[int, int] | None:
    """Width and height, if they are given and allowed."""
    given = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})", arguments.get("size", ""))
    size = (int(given[1]), int(given[2])) if given else (0, 0)
    return size if min(size) >= 1 and max(size) <= LARGEST else None


def _wrong_view(arguments: dict[str, str]) -> str:
    limits = {"heading": (-1e6, 1e6), "fov": (1, 120), "pitch": (-90, 90)}
    for name, (low, high) in limits.items():
        if _number(arguments, name, 90 if name == "fov" else 0, low, high) is None:
            return f"Error: Invalid '{name}' parameter."
    return ""


def photo_of(panorama: Panorama, heading: float, width: int, height: int) -> Photo:
    """The view from a panorama, as a photo that can be drawn."""
    rng = random.Random(f"day {panorama.pano_id}")
    year, month = map(int, panorama.date.split("-"))
    return Photo(
        photo_id=panorama.pano_id,
        secret="",
        server="",
        owner="",
        owner_name=panorama.copyright,
        town=nearest_town(panorama.latitude, panorama.longitude, REACH_KM),
        latitude=round(panorama.latitude, 6),
        longitude=round(panorama.longitude, 6),
        on_map="yes",
        accuracy=16,
        taken=datetime(year, month, 1 + rng.randrange(28))
        + timedelta(hours=rng.randrange(9, 17), minutes=rng.randrange(60)),
        uploaded=0,
        title="",
        tags=(),
        licence=0,
        heading=round(heading) % 360,
        width=width,
        height=height,
        deleted=False,
        scene="street",
        view=f"{panorama.pano_id} {heading:g}",
        take=0,
    )


@lru_cache(maxsize=16)
def grey(width: int, height: int) -> Answer:
    """The picture that says that there is no imagery."""
    picture = Image.new("RGB", (width, height), (228, 227, 223))
    middle = (width // 2, height // 2)
    words = "Sorry, we have no imagery here."
    ImageDraw.Draw(picture).text(middle, words, fill=(120, 120, 116), anchor="mm")
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return Answer(200, "image/jpeg", buffer.getvalue())
