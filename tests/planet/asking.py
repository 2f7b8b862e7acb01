"""Questions to the planet's hosts, and what is known of it beforehand."""

import io
import json
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from PIL import Image

from nogps.earth.towns import towns
from planet import commons, flickr, mapillary, panoramax, streetview
from planet.keys import GOOGLE_KEY, KEY, MAPILLARY_TOKEN
from planet.panoramas import Panorama, Panoramas
from planet.photos import Photo, photos

SEED, PHOTOS = 0, 1500  # of the planet of the fixture `base`
ALIVE = [photo for photo in photos(0, 130) if not photo.deleted][:100]
AREA = (48.9, 2.3, 48.8, 2.4)  # north, west, south, east: 11 x 7 km
ALL = "url|size|mime|sha1|user|timestamp|extmetadata|metadata"
PLACE = (2.35, 48.85)
OAUTH = {"Authorization": f"OAuth {MAPILLARY_TOKEN}"}
CLIENT = httpx.Client(
    trust_env=False,
    timeout=30,
    limits=httpx.Limits(max_connections=40),
    headers={"User-Agent": "nogps-tests/0.1 (tests@localhost) httpx/0"},
)


def opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


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


@cache
def panoramas(count: int) -> list[Panorama]:
    """Panoramas in the middle of the largest towns."""
    every = Panoramas(0)
    found = (every.nearest(town.latitude, town.longitude, 200) for town in towns()[:count])
    return [panorama for panorama in found if panorama]


def ask(base, **arguments) -> dict:
    defaults = {
        "method": "flickr.photos.search",
        "api_key": KEY,
        "format": "json",
        "nojsoncallback": "1",
        "min_upload_date": "1167609600",
    }
    response = httpx.get(base + flickr.REST, params=defaults | arguments, trust_env=False)
    assert response.status_code == 200
    return response.json()


def asked(base, path=streetview.METADATA, **arguments) -> httpx.Response:
    arguments = {"key": GOOGLE_KEY} | arguments
    return CLIENT.get(base + path, params={k: v for k, v in arguments.items() if v})


def request(base: str, address: str, headers: dict | None = None, **arguments) -> httpx.Response:
    """The answer to an address of a planet's host, or to a path with these arguments."""
    parts = urlsplit(address)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    asked = {"params": arguments} if arguments else {}
    return CLIENT.get(base + path, headers=headers, **asked)


def host(address: str) -> str:
    return urlsplit(address).netloc


def told(base: str, **arguments) -> dict:
    """What the API says, always with HTTP 200."""
    asked = {
        **commons.ASKED,
        "ggslimit": "500",
        "ggsbbox": "|".join(map(str, AREA)),
        "prop": "coordinates|imageinfo",
        "colimit": "max",
        "coprop": "type|globe",
        "iiprop": ALL,
        "iiurlwidth": "250",
    }
    asked = {key: value for key, value in (asked | arguments).items() if value is not None}
    answer = request(base, commons.API, **asked)
    assert answer.status_code == 200
    return answer.json()


def box(width: float, height: float) -> str:
    west, south = PLACE[0] - width / 2, PLACE[1] - height / 2
    return f"{west:.6f},{south:.6f},{west + width:.6f},{south + height:.6f}"


def bbox(photo: Photo) -> str:
    """West, south, east and north, 200 metres around a photo."""
    west, south = photo.longitude - 0.002, photo.latitude - 0.002
    return f"{west:.6f},{south:.6f},{west + 0.004:.6f},{south + 0.004:.6f}"


def graph(base: str, **arguments) -> httpx.Response:
    return request(base, mapillary.IMAGES, OAUTH, **{"bbox": box(0.09, 0.1), **arguments})


@cache
def items() -> dict[str, Photo]:
    return panoramax.Panoramax(SEED, PHOTOS).pictures
