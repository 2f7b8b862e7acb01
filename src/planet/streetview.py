"""The planet's Google Street View: metadata and images of its panoramas."""

import base64
import hashlib
import hmac
import math
import random
import re
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import unquote

from PIL import Image, ImageDraw

from planet.answer import Answer, Call, js, text
from planet.keys import GOOGLE_KEY, SIGNING_SECRET
from planet.panoramas import REACH_KM, Panorama, Panoramas, nearest_town
from planet.photos import Photo
from planet.picture import encoded

API_HOST = "http://maps.googleapis.invalid"
PAGE_HOST = "http://www.google.invalid"
IMAGE = "/maps/api/streetview"
METADATA = "/maps/api/streetview/metadata"
LARGEST = 640  # pixels that a side of an image may have
DEFAULT_RADIUS_M = 50


# --- metadata ---


def answer(panoramas: Panoramas, call: Call) -> Answer:
    """What the metadata endpoint answers; remembers in the call which panorama was found."""
    if denied := _denied(call):
        return _status("REQUEST_DENIED", error_message=denied)
    if problem := _wrong(call.arguments):
        return _status("INVALID_REQUEST", error_message=problem)
    if "pano" not in call.arguments and position_of(call.arguments["location"]) is None:
        return _status("NOT_FOUND")
    panorama = _asked(panoramas, call.arguments)
    if panorama is None:
        return _status("ZERO_RESULTS")
    call.photo = panorama.pano_id
    return js(_described(panorama))


def _described(panorama: Panorama) -> dict:
    listed = {"copyright": panorama.copyright} if panorama.lists_copyright else {}
    if panorama.lists_date:
        listed["date"] = panorama.date
    where = {"lat": panorama.latitude, "lng": panorama.longitude}
    return listed | {"location": where, "pano_id": panorama.pano_id, "status": "OK"}


def _status(name: str, **told: str) -> Answer:
    return js(told | {"status": name})


def _asked(panoramas: Panoramas, arguments: dict[str, str]) -> Panorama | None:
    if "pano" in arguments:
        return panoramas.by_id(arguments["pano"])
    position = position_of(arguments["location"])
    radius = float(arguments.get("radius", DEFAULT_RADIUS_M))
    outdoor = arguments.get("source") == "outdoor"
    return panoramas.nearest(*position, radius, outdoor) if position else None


def position_of(location: str) -> tuple[float, float] | None:
    """Latitude and longitude from their text; None for anything else."""
    number = r"\s*([+-]?\d{1,3}(?:\.\d*)?)\s*"
    given = re.fullmatch(f"{number},{number}", location, re.ASCII)
    latitude, longitude = map(float, given.groups()) if given else (math.inf, math.inf)
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 180 else None


def _wrong(arguments: dict[str, str]) -> str:
    if "pano" not in arguments and "location" not in arguments:
        return "Either 'location' or 'pano' parameter must be provided."
    if not _is_number(arguments, "radius", 0, math.inf):
        return "Invalid 'radius' parameter."
    if arguments.get("source", "default") not in ("default", "outdoor"):
        return "Invalid 'source' parameter."
    return ""


def _is_number(arguments: dict[str, str], name: str, low: float, high: float) -> bool:
    try:
        value = float(arguments.get(name, low))
    except ValueError:
        return False
    return math.isfinite(value) and low <= value <= high


def _denied(call: Call) -> str:
    if not call.arguments.get("key"):
        return "You must use an API key to authenticate each request to Google Maps Platform APIs."
    if call.arguments["key"] != GOOGLE_KEY:
        return "The provided API key is invalid."
    unsigned, _, given = call.target.rpartition("&signature=")  # which has to be the last
    right = unquote(given).rstrip("=") == signature_of(unsigned).rstrip("=")
    if "signature" in call.arguments and not right:
        return "Unable to authenticate the request. Provided 'signature' is not valid."
    return ""


def signature_of(target: str) -> str:
    """Google's signature for a path and query."""
    secret = base64.urlsafe_b64decode(SIGNING_SECRET)
    digest = hmac.new(secret, target.encode(), hashlib.sha1).digest()
    return base64.urlsafe_b64encode(digest).decode()


# --- images ---


def picture(panoramas: Panoramas, call: Call) -> tuple[Photo] | Answer:
    """The photo that an image request means, or what is there instead; the call is told which."""
    if denied := _denied(call):
        return text(403, denied)
    size = size_of(call.arguments)
    problem = _wrong(call.arguments) or _wrong_view(call.arguments)
    if size is None or problem:
        return text(400, problem or "Error: Invalid 'size' parameter.")
    heading = float(call.arguments.get("heading", 0)) % 360
    panorama = _asked(panoramas, call.arguments)
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
    wrong = (name for name, within in limits.items() if not _is_number(arguments, name, *within))
    return next((f"Error: Invalid '{name}' parameter." for name in wrong), "")


def photo_of(panorama: Panorama, heading: float, width: int, height: int) -> Photo:
    """The view from a panorama, as a photo that can be drawn."""
    rng = random.Random(f"day {panorama.pano_id}")
    day = datetime.fromisoformat(f"{panorama.date}-{1 + rng.randrange(28):02}")
    return Photo(
        photo_id=panorama.pano_id,
        owner_name=panorama.copyright,
        town=nearest_town(panorama.latitude, panorama.longitude, REACH_KM),
        latitude=round(panorama.latitude, 6),
        longitude=round(panorama.longitude, 6),
        taken=day + timedelta(hours=rng.randrange(9, 17), minutes=rng.randrange(60)),
        heading=round(heading) % 360,
        width=width,
        height=height,
        view=f"{panorama.pano_id} {heading:g}",
    )


@lru_cache(maxsize=16)
def grey(width: int, height: int) -> Answer:
    """The picture that says that there is no imagery."""
    picture = Image.new("RGB", (width, height), (228, 227, 223))
    middle, words = (width // 2, height // 2), "Sorry, we have no imagery here."
    ImageDraw.Draw(picture).text(middle, words, fill=(120, 120, 116), anchor="mm")
    return Answer(200, "image/jpeg", encoded(picture, "JPEG", quality=85))
