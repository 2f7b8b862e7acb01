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
from dataclasses import replace
from functools import cache, partial

from PIL import Image
from PIL.ExifTags import GPS, IFD

from planet.answer import Answer, Call, js
from planet.drives import Street, rendered
from planet.photos import Photo, chance, hashed
from planet.picture import jpeg, with_segment

CATALOGUE = "http://api.panoramax.invalid"
STORAGE = "http://storage.panoramax.invalid"
INSTANCES = {  # by licence
    "etalab-2.0": "http://panoramax.ign.invalid",
    "CC-BY-SA-4.0": "http://panoramax.openstreetmap.invalid",
    "CC-BY-4.0": "http://panoramax.town.invalid",
    "proprietary": "http://panoramax.shop.invalid",
}
LICENCE_URLS = {
    "etalab-2.0": "https://www.etalab.gouv.fr/licence-ouverte-open-licence",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
}
SENDS_ON = "CC-BY-SA-4.0"  # whose instance answers with 302
SEARCH = "/api/search"
PICTURE = re.compile(r"/api/pictures/(?P<photo>[0-9a-f-]{36})/(?P<size>hd|sd|thumb)\.jpg")
STORED = re.compile(r"/permanent/(?P<photo>[0-9a-f-]{36})-(?P<size>hd|sd|thumb)\.jpg")
WIDTHS = {"hd": None, "sd": 512, "thumb": 125}
LARGEST_LIMIT = 32_767  # an int16

_PANORAMA = (  # XMP
    b"http://ns.adobe.com/xap/1.0/\0"
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-'
    b'rdf-syntax-ns#"><rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/'
    b'panorama/" GPano:ProjectionType="equirectangular"/></rdf:RDF></x:xmpmeta>'
)


@cache
def _uuid(name: str) -> str:
    return str(uuid.UUID(int=hashed(name, 7) << 64 | hashed(name + "'", 7), version=4))


class Panoramax(Street):
    """The catalogue of one planet."""

    service, country, id_of = "panoramax", "France", staticmethod(_uuid)


def licence_of(shot: Photo) -> str:
    """A licence, one for a drive: a key of INSTANCES."""
    draw = chance("panoramax licence", shot.drive)
    return list(INSTANCES)[(draw > 0.42) + (draw > 0.84) + (draw > 0.92)]


def answer(panoramax: Panoramax, call: Call) -> Answer:
    """The pictures that the catalogue lists in a box."""
    try:
        limit = int(call.arguments.get("limit", 10))
    except ValueError:
        limit = 0
    if not 1 <= limit <= LARGEST_LIMIT:
        return _refused("Parameter limit must be a number between 1 and 32767")
    try:
        west, south, east, north = map(float, call.arguments.get("bbox", "").split(","))
    except ValueError:
        return _refused("Parameter bbox must be in format [minX, minY, maxX, maxY]")
    if max(abs(west), abs(east)) > 180 or max(abs(south), abs(north)) > 90:
        valid = "valid longitude (-180 to 180) and latitude (-90 to 90) values"
        return _refused(f"Parameter bbox must contain {valid}")
    x, y = (west + east) / 2, (south + north) / 2
    found = sorted(
        (round(math.hypot(longitude - x, latitude - y), 9), picture_id)
        for latitude, longitude, picture_id in panoramax.map.within(west, south, east, north)
    )
    root = {"rel": "root", "type": "application/json", "href": f"{CATALOGUE}/api/"}
    features = [_described(panoramax.pictures[picture_id]) for _, picture_id in found[:limit]]
    return js({"type": "FeatureCollection", "links": [root], "features": features})


def _refused(message: str) -> Answer:
    return js({"status": 400, "message": message}, 400, "application/json")


def _properties(photo: Photo) -> dict:
    camera: dict = {"camera_manufacturer": "GoPro", "camera_model": "Max"}
    if chance("panoramax fov", photo.view) > 0.1:
        camera["field_of_view"] = 360 if photo.around else 92
    told = {
        "datetime": f"{photo.taken:%Y-%m-%dT%H:%M:%S}+00:00",
        "license": licence_of(photo),
        "geovisio:producer": photo.owner_name,
        "geovisio:rank_in_collection": photo.rank + 1,
        "geovisio:status": "ready",
        "geovisio:visibility": "anyone",
        "pers:interior_orientation": camera,
        "exif": {},
        "semantics": [],
        "annotations": [],
    }
    if chance("panoramax azimuth", photo.drive) > 0.08:  # it says where the middle looks
        told["view:azimuth"] = photo.heading
    return told


def _described(photo: Photo) -> dict:
    """The picture as the catalogue lists it: a STAC feature."""
    licence, picture_id = licence_of(photo), _uuid(photo.view)
    position = [photo.longitude, photo.latitude]
    links = [{"rel": "via", "href": INSTANCES[licence]}]
    if licence in LICENCE_URLS:
        links.append({"rel": "license", "href": LICENCE_URLS[licence]})
    pictures = f"{INSTANCES[licence]}/api/pictures/{picture_id}"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": picture_id,
        "collection": _uuid(photo.drive),
        "geometry": {"type": "Point", "coordinates": position},
        "bbox": [*position, *position],
        "providers": [{"name": photo.owner_name, "roles": ["producer"], "id": _uuid(photo.owner)}],
        "properties": _properties(photo),
        "links": links,
        "assets": {
            size: {"type": "image/jpeg", "href": f"{pictures}/{size}.jpg"} for size in WIDTHS
        },
    }


# --- pictures ---


def picture(panoramax: Panoramax, call: Call) -> Callable[[], bytes] | Answer:
    """What draws the picture that a path means, or what is there instead."""
    shot, size = panoramax.pictures.get(call.photo), call.named["size"]
    if shot is None or shot.deleted:
        body = {"message": "Picture can't be found, you may check its ID", "status_code": 404}
        return js(body, 404, "application/json")
    if call.path.startswith("/api/") and licence_of(shot) == SENDS_ON:
        return Answer(302, headers={"Location": f"{STORAGE}/permanent/{call.photo}-{size}.jpg"})
    if size == "thumb" and shot.around:
        front = replace(shot, width=125, height=75, view=f"{shot.view} 0")
        return partial(jpeg, front)
    return lambda: _with_metadata(rendered(shot, WIDTHS[size]), shot)


def _with_metadata(body: bytes, shot: Photo) -> bytes:
    """The JPEG with what cameras write: GPS, and of a panorama what it is."""
    exif = Image.Exif()
    gps = exif.get_ifd(IFD.GPSInfo)
    gps[GPS.GPSLatitudeRef], gps[GPS.GPSLatitude] = _sexagesimal(shot.latitude, "NS")
    gps[GPS.GPSLongitudeRef], gps[GPS.GPSLongitude] = _sexagesimal(shot.longitude, "EW")
    if shot.around:
        body = with_segment(body, 0xE1, _PANORAMA)
    return with_segment(body, 0xE1, exif.tobytes())


def _sexagesimal(degrees: float, hemispheres: str) -> tuple[str, tuple[float, float, float]]:
    minutes, seconds = divmod(round(abs(degrees) * 3600, 2), 60)
    whole, minutes = divmod(minutes, 60)
    return hemispheres[degrees < 0], (whole, minutes, seconds)
