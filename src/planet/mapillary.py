"""The planet's Mapillary: the graph API and the host that has the pictures.

As recorded of the real ones: boxes of 0.01 square degrees and more are refused, at most 2,000
pictures are listed and nothing says that there are more, what is absent is a missing key, addresses
of pictures are signed, escaped and expire. Pictures have a quarter of the real widths.
"""

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from planet.answer import LOUD_JSON, Answer, Call, js, text
from planet.drives import Street, rendered
from planet.keys import MAPILLARY_TOKEN
from planet.photos import Photo, chance, hashed

GRAPH = "http://graph.mapillary.invalid"
PAGE_HOST = "http://www.mapillary.invalid"
THUMBS = "http://scontent-planet.xx.fbcdn.invalid"
IMAGES = "/images"
ENTITY = re.compile(r"/(?P<photo>\d{6,20})")
THUMB = re.compile(r"/m1/v/t6/(?P<photo>\d{6,20})-(?P<width>256|1024|2048)")
MOST_LISTED = 2000
MOST_SQUARE_DEGREES = 0.01  # and no box may be as large
LIFETIME_S = 3600  # of an address
FIELDS = "id captured_at compass_angle computed_compass_angle computed_geometry creator geometry"
FIELDS += " is_pano sequence thumb_256_url thumb_1024_url thumb_2048_url"


class Mapillary(Street):
    """All pictures of one planet; where they are is computed."""

    service = "mapillary"

    @staticmethod
    def id_of(view: str) -> str:
        """15 or 16 digits."""
        return str(10**14 + hashed(view, 7) % 10**15)

    def position(self, shot: Photo) -> tuple[float, float]:
        """That which is computed, whether it is told or not."""
        return _computed(shot)[::-1]


def answer(mapillary: Mapillary, call: Call) -> Answer:
    """What the API answers."""
    if _token_of(call) != MAPILLARY_TOKEN:
        return _refused("Invalid OAuth 2.0 Access Token", 401, 190)
    fields = call.arguments.get("fields", "id").split(",")
    for name in fields:
        if name not in FIELDS.split():
            words = f"Tried accessing nonexisting field ({name}) on node type (ChunkObject)"
            return _refused(words)
    if call.path == IMAGES:
        return _listed(mapillary, call.arguments, fields)
    shot = mapillary.pictures.get(call.photo)
    if shot is None or shot.deleted:
        return _refused("Unsupported get request. Object does not exist")
    return _js(_row(call.photo, shot, fields, call.expired))


def _token_of(call: Call) -> str:
    return call.authorization.removeprefix("OAuth ") or call.arguments.get("access_token", "")


def _refused(message: str, status: int = 400, code: int = 100) -> Answer:
    error = {"message": message, "type": "MLYApiException", "code": code, "fbtrace_id": "A0"}
    return js(json.dumps({"error": error}), status, LOUD_JSON)


def _js(value: dict) -> Answer:
    body = json.dumps(value, separators=(",", ":")).replace("/", "\\/")
    return js(body, kind=LOUD_JSON)


def _listed(mapillary: Mapillary, arguments: dict[str, str], fields: list[str]) -> Answer:
    try:
        west, south, east, north = map(float, arguments.get("bbox", "").split(","))
        limit = min(MOST_LISTED, int(arguments.get("limit", MOST_LISTED)))
        if limit < 1:
            raise ValueError(limit)
        since = _moment(arguments.get("start_captured_at") or "1970-01-01")
        until = _moment(arguments.get("end_captured_at") or "9999-12-31")
    except ValueError:
        return _refused("Invalid parameter")
    if (east - west) * (north - south) >= MOST_SQUARE_DEGREES:
        return _refused("The bounding box is too large")
    x, y, pictures = (west + east) / 2, (south + north) / 2, mapillary.pictures
    found = sorted(  # the edges first
        (-max(abs(latitude - y), abs(longitude - x)), photo_id)
        for latitude, longitude, photo_id in mapillary.map.within(west, south, east, north)
        if since <= pictures[photo_id].taken_unix <= until
    )
    return _js({"data": [_row(each, pictures[each], fields, False) for _, each in found[:limit]]})


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _computed(photo: Photo) -> tuple[float, float]:
    """Longitude and latitude that neighbouring pictures say: some metres off, seldom 90."""
    metres = 88 if chance("far", photo.view) < 0.03 else 6
    east, north = (metres * (2 * chance(axis, photo.view) - 1) for axis in ("east", "north"))
    return round(photo.longitude + east / 111_195, 7), round(photo.latitude + north / 111_195, 7)


def _row(photo_id: str, photo: Photo, fields: list[str], expired: bool) -> dict:
    known = {
        "captured_at": 1000 * photo.taken_unix,
        "compass_angle": float(photo.heading),
        "geometry": {"type": "Point", "coordinates": [photo.longitude, photo.latitude]},
        "sequence": f"s{hashed(photo.drive, 7):x}",
        "is_pano": photo.around,
        "creator": {"username": photo.owner_name, "id": photo.owner},
    }
    if chance("computed", photo.view) > 0.03:
        known["computed_geometry"] = {"type": "Point", "coordinates": list(_computed(photo))}
        known["computed_compass_angle"] = (photo.heading + 0.25) % 360
    for width in (256, 1024, 2048):
        if width < 2048 or chance("thumb", photo.view) > 0.05:
            known[f"thumb_{width}_url"] = _address(photo_id, width, expired)
    return {"id": photo_id} | {key: value for key, value in known.items() if key in fields}


def _address(photo_id: str, width: int, expired: bool) -> str:
    end = int(time.time()) + (-60 if expired else LIFETIME_S)
    path = f"/m1/v/t6/{photo_id}-{width}?stp=s{width}&ccb=10-5"
    return f"{THUMBS}{path}&oh={_signature(photo_id, end)}&oe={end:X}"


def _signature(photo_id: str, end: int) -> str:
    return f"00_{hashed(f'{photo_id} {end}', 7):x}"


# --- pictures ---


def picture(mapillary: Mapillary, call: Call) -> Callable[[], bytes] | Answer:
    """What draws the picture that an address means, or what is there instead."""
    if _token_of(call):
        return text(400, "Bad request: this host takes no token")
    shot = mapillary.pictures.get(call.photo)
    if shot is None:
        return Answer(404)
    end = 0
    with suppress(LookupError, ValueError):
        end = int(call.arguments["oe"], 16)
    if call.arguments.get("oh") != _signature(call.photo, end):
        return text(403, "Bad URL hash")
    if end < time.time():
        return text(403, "URL signature expired")
    return lambda: rendered(shot, int(call.named["width"]) // 4)
