"""The planet's Panoramax: a catalogue, the instances that have the pictures, and their storage.

As recorded of the real ones: a search lists at most `limit` pictures, nearest to the middle of the
box, and has no next page; `datetime` is ignored; pictures carry EXIF with GPS; some instances send
clients on to their storage; what is absent is a missing key. Pictures have a quarter of the real
widths, since all here are small.
"""

import math
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial

from PIL import Image
from PIL.ExifTags import GPS, IFD

from planet.answer import Answer, Call, js
from planet.drives import Shot, front, hash_of, rendered, shots
from planet.faults import chance
from planet.photos import Map
from planet.picture import with_segment

CATALOGUE = "http://api.panoramax.invalid"
STORAGE = "http://storage.panoramax.invalid"
INSTANCES = {  # by licence
    "etalab-2.0": "http://panoramax.ign.invalid",
    "CC-BY-SA-4.0": "http://panoramax.openstreetmap.invalid",
    "CC-BY-4.0": "http://panoramax.town.invalid",
    "proprietary": "http://panoramax.shop.invalid",
}
SENDS_ON = ("CC-BY-SA-4.0",)  # whose instance answers with 302
SEARCH = "/api/search"
PICTURE = re.compile(r"/api/pictures/(?P<photo>[0-9a-f-]{36})/(?P<size>hd|sd|thumb)\.jpg")
STORED = re.compile(r"/permanent/(?P<photo>[0-9a-f-]{36})-(?P<size>hd|sd|thumb)\.jpg")
ITEM = re.compile(r"/api/pictures/(?P<photo>[0-9a-f-]{36})")
ITEMS = re.compile(r"/api/collections/(?P<drive>[0-9a-f-]{36})/items")
WIDTHS = {"hd": None, "sd": 512, "thumb": 125}
LARGEST_LIMIT = 32_767  # an int16
LICENCE_URLS = {
    "etalab-2.0": "https://www.etalab.gouv.fr/licence-ouverte-open-licence",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
}

_PANORAMA = (  # XMP
    b"http://ns.adobe.com/xap/1.0/\0"
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-'
    b'rdf-syntax-ns#"><rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/'
    b'panorama/" GPano:ProjectionType="equirectangular"/></rdf:RDF></x:xmpmeta>'
)


@dataclass(frozen=True)
class _Item:
    """A picture as an instance publishes it."""

    picture_id: str
    collection: str
    shot: Shot
    licence: str
    says_field_of_view: bool
    azimuth: bool  # whether it says where the middle looks


class Panoramax:
    """The catalogue of one planet."""

    def __init__(self, seed: int, count: int):
        self._seed, self._count = seed, count

    @cached_property
    def items(self) -> dict[str, _Item]:
        """All pictures by id."""
        found = (_item(shot) for shot in shots("panoramax", self._seed, self._count, "France"))
        return {item.picture_id: item for item in found}

    @cached_property
    def map(self) -> Map:
        """All pictures by position."""
        items = self.items.values()
        return Map((item.shot.photo.latitude, item.shot.photo.longitude, item) for item in items)


def _uuid(name: str) -> str:
    return str(uuid.UUID(int=hash_of(name) << 64 | hash_of(name + "'"), version=4))


def _item(shot: Shot) -> _Item:
    draw = chance("panoramax licence", shot.drive)
    licence = list(INSTANCES)[(draw > 0.42) + (draw > 0.84) + (draw > 0.92)]
    says_field_of_view = chance("panoramax fov", shot.photo.view) > 0.1
    azimuth = chance("panoramax azimuth", shot.drive) > 0.08
    names = _uuid(shot.photo.view), _uuid(shot.drive)
    return _Item(*names, shot, licence, says_field_of_view, azimuth)


def answer(panoramax: Panoramax, call: Call) -> Answer:
    """What the catalogue answers."""
    if call.path == SEARCH:
        return _searched(panoramax, call.arguments)
    if named := ITEMS.fullmatch(call.path):
        return _of_collection(panoramax, named["drive"], call.arguments)
    named = ITEM.fullmatch(call.path)
    item = panoramax.items.get(named["photo"]) if named else None
    if item is None:
        return _refused(404, "Feature not found")
    return js(_described(item))


def _refused(status: int, message: str) -> Answer:
    return js({"status": status, "message": message}, status, "application/json")


def _whole_number(arguments: dict[str, str], name: str, default: int) -> int | None:
    with suppress(ValueError):
        return int(arguments.get(name, default))
    return None


def _searched(panoramax: Panoramax, arguments: dict[str, str]) -> Answer:
    limit = _whole_number(arguments, "limit", 10)
    if limit is None or not 1 <= limit <= LARGEST_LIMIT:
        return _refused(400, "Parameter limit must be a number between 1 and 32767")
    if "ids" in arguments:
        named = (panoramax.items.get(each) for each in arguments["ids"].split(","))
        return _list([item for item in named if item][:limit])
    try:
        west, south, east, north = map(float, arguments.get("bbox", "").split(","))
    except ValueError:
        return _refused(400, "Parameter bbox must be in format [minX, minY, maxX, maxY]")
    if max(abs(west), abs(east)) > 180 or max(abs(south), abs(north)) > 90:
        valid = "valid longitude (-180 to 180) and latitude (-90 to 90) values"
        return _refused(400, f"Parameter bbox must contain {valid}")
    x, y = (west + east) / 2, (south + north) / 2
    found = [
        (round(math.hypot(longitude - x, latitude - y), 9), item.picture_id)
        for latitude, longitude, item in panoramax.map.within(west, south, east, north)
    ]
    return _list([panoramax.items[picture_id] for _, picture_id in sorted(found)[:limit]])


def _list(items: list[_Item], *links: dict) -> Answer:
    root = {"rel": "root", "type": "application/json", "href": f"{CATALOGUE}/api/"}
    features = [_described(item) for item in items]
    return js({"type": "FeatureCollection", "links": [root, *links], "features": features})


def _of_collection(panoramax: Panoramax, drive: str, arguments: dict[str, str]) -> Answer:
    """Pictures of a drive in their order, with a link to those that follow."""
    items = [item for item in panoramax.items.values() if item.collection == drive]
    if not items:
        return _refused(404, "Collection doesn't exist")
    start = _whole_number(arguments, "startAfterRank", 0)
    limit = _whole_number(arguments, "limit", len(items))
    if start is None or limit is None or limit < 1:
        return _refused(400, "limit parameter should be an integer between 1 and 10000")
    left = [item for item in items if item.shot.rank + 1 > start]
    links = []
    if len(left) > limit:
        rank = left[limit - 1].shot.rank + 1
        href = f"{CATALOGUE}/api/collections/{drive}/items?limit={limit}&startAfterRank={rank}"
        links = [{"rel": "next", "type": "application/geo+json", "href": href}]
    return _list(left[:limit], *links)


def _properties(item: _Item) -> dict:
    photo = item.shot.photo
    view = {"field_of_view": 360 if item.shot.around else 92} if item.says_field_of_view else {}
    return {
        "datetime": f"{photo.taken:%Y-%m-%dT%H:%M:%S}+00:00",
        "license": item.licence,
        "geovisio:producer": photo.owner_name,
        "geovisio:rank_in_collection": item.shot.rank + 1,
        "geovisio:status": "ready",
        "geovisio:visibility": "anyone",
        "pers:interior_orientation": {"camera_manufacturer": "GoPro", "camera_model": "Max"} | view,
        "exif": {},
        "semantics": [],
        "annotations": [],
        **({"view:azimuth": photo.heading} if item.azimuth else {}),
    }


def _described(item: _Item) -> dict:
    """The item as the catalogue lists it: a STAC feature."""
    photo, instance = item.shot.photo, INSTANCES[item.licence]
    position = [photo.longitude, photo.latitude]
    links = [{"rel": "via", "href": instance}]
    if item.licence in LICENCE_URLS:
        links.append({"rel": "license", "href": LICENCE_URLS[item.licence]})
    pictures = f"{instance}/api/pictures/{item.picture_id}"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item.picture_id,
        "collection": item.collection,
        "geometry": {"type": "Point", "coordinates": position},
        "bbox": [*position, *position],
        "providers": [{"name": photo.owner_name, "roles": ["producer"], "id": _uuid(photo.owner)}],
        "properties": _properties(item),
        "links": links,
        "assets": {
            size: {"type": "image/jpeg", "href": f"{pictures}/{size}.jpg"} for size in WIDTHS
        },
    }


# --- pictures ---


def picture(panoramax: Panoramax, call: Call) -> Callable[[], bytes] | Answer:
    """What draws the picture that a path means, or what is there instead."""
    stored = STORED.fullmatch(call.path)
    named = stored or PICTURE.fullmatch(call.path)
    item = panoramax.items.get(named["photo"])
    if item is None or item.shot.photo.deleted:
        body = {"message": "Picture can't be found, you may check its ID", "status_code": 404}
        return js(body, 404, "application/json")
    if not stored and item.licence in SENDS_ON:
        address = f"{STORAGE}/permanent/{item.picture_id}-{named['size']}.jpg"
        return Answer(302, headers={"Location": address})
    if named["size"] == "thumb" and item.shot.around:
        return partial(front, item.shot, WIDTHS["thumb"], WIDTHS["thumb"] * 3 // 5)
    return lambda: _with_metadata(rendered(item.shot, WIDTHS[named["size"]]), item)


def _with_metadata(body: bytes, item: _Item) -> bytes:
    """The JPEG with what cameras write: GPS, and of a panorama what it is."""
    photo = item.shot.photo
    exif = Image.Exif()
    gps = exif.get_ifd(IFD.GPSInfo)
    gps[GPS.GPSLatitudeRef], gps[GPS.GPSLatitude] = _sexagesimal(photo.latitude, "NS")
    gps[GPS.GPSLongitudeRef], gps[GPS.GPSLongitude] = _sexagesimal(photo.longitude, "EW")
    if item.shot.around:
        body = with_segment(body, 0xE1, _PANORAMA)
    return with_segment(body, 0xE1, exif.tobytes())


def _sexagesimal(degrees: float, hemispheres: str) -> tuple[str, tuple[float, float, float]]:
    minutes, seconds = divmod(round(abs(degrees) * 3600, 2), 60)
    whole, minutes = divmod(minutes, 60)
    return hemispheres[degrees < 0], (whole, minutes, seconds)
