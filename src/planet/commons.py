"""The planet's Wikimedia Commons: its API and the host that has the files.

As documented and recorded of the real ones: clients have to say who they are; errors are HTTP 200;
a search by area lists the files of 500 positions and nothing says that there are more; pictures are
described 50 at a time; positions are those of cameras or of what is shown; authors are HTML;
thumbnails come in certain widths only. A fifth of the files were imported from the planet's Flickr.
"""

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, cached_property, partial
from types import SimpleNamespace
from urllib.parse import quote, unquote

from planet.answer import Answer, Call, Refused, js, page
from planet.photos import DATA, KM_PER_DEGREE, Map, Photo, chance
from planet.picture import jpeg

API = "/w/api.php"
SITE = "http://commons.wikimedia.invalid"
UPLOAD = "http://upload.wikimedia.invalid"
FILE = re.compile(r"/wikipedia/commons/[0-9a-f]/[0-9a-f]{2}/(?P<photo>[^/]+)")
THUMB = re.compile(
    r"/wikipedia/commons/thumb/[0-9a-f]/[0-9a-f]{2}/(?P<photo>[^/]+)/(?P<width>\d+)px-[^/]+"
)
STEPS = (20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840)  # widths that are made, pixels
# A search by area for files, the only one that is simulated; all else is refused.
ASKED = {"action": "query", "format": "json", "formatversion": "2", "generator": "geosearch"}
ASKED |= {"ggsnamespace": "6", "ggsprimary": "all", "coprimary": "all"}
FIRST_PAGE = 40_000_000
MOST_LISTED = 500
THUMBS_A_CALL = 50
COORDINATES_A_CALL = {"": 10, "max": 500}
LARGEST_M2, SMALLEST_M2 = 4 * 10_000**2, 100
KINDS = {"image/jpeg": "jpg", "image/png": "png", "image/svg+xml": "svg", "image/tiff": "tif"}


class Commons:
    """The files of one planet."""

    def __init__(self, planet: Sequence[Photo]):
        self._planet = planet

    @cached_property
    def files(self) -> dict[int, Photo]:
        """Files by page id."""
        numbered = enumerate(self._planet, FIRST_PAGE)
        return {number: photo for number, photo in numbered if photo.on_map == "yes"}

    @cached_property
    def map(self) -> Map:
        """Page ids by position; also of files that are no more."""
        return Map(
            (each["lat"], each["lon"], number)
            for number, photo in enumerate(self._planet, FIRST_PAGE)
            for each in _coordinates(photo)
        )

    @cached_property
    def by_name(self) -> dict[str, int]:
        """Page ids by file name."""
        return {facts(photo).name: number for number, photo in self.files.items()}


@cache
def facts(photo: Photo) -> SimpleNamespace:
    """What a file is called, what it is, and where it lies."""
    draw, imported = chance("mime", photo.photo_id), chance("imported", photo.photo_id) < 0.2
    mime = list(KINDS)[(draw < 0.05) + (draw < 0.03) + (draw < 0.015)]
    title = re.sub(r"[^\w ]", "", photo.title or "Untitled", flags=re.ASCII).strip() or "Photo"
    number = f"({photo.photo_id})" if imported else photo.photo_id
    name = f"{title} {number}.{KINDS[mime]}".replace(" ", "_")
    sha1 = hashlib.sha1(f"{photo.view} {photo.take}".encode()).hexdigest()
    address = f"{UPLOAD}/wikipedia/commons/{sha1[0]}/{sha1[:2]}/{quote(name)}"
    uploaded = datetime.fromtimestamp(photo.uploaded, UTC)
    return SimpleNamespace(
        imported=imported, mime=mime, name=name, sha1=sha1, address=address, uploaded=uploaded
    )


# --- the API ---


def answer(commons: Commons, call: Call) -> Answer:
    """What the API answers; errors come with HTTP 200."""
    if refusal := _turned_away(call):
        return refusal
    told = call.arguments
    try:
        if not ASKED.items() <= told.items():
            raise Refused("badvalue", "Unrecognized value for parameter")
        return _described(commons, _found(commons, told), told)
    except Refused as error:
        code, info = error.args
        body = {"error": {"code": code, "info": info}, "servedby": "mw-simulated"}
        return js(body, headers={"MediaWiki-API-Error": code})


def _turned_away(call: Call) -> Answer | None:
    """What a client gets that does not say how somebody can be reached."""
    if re.search(r"\S+/\S+ \(.+\)", call.user_agent):
        return None
    return page(403, "Please set a user-agent and respect our robot policy")


def _found(commons: Commons, told: dict[str, str]) -> list[int]:
    """Page ids in the order of the database.

    The limit is one of positions. A file may have two, and those of files that are no more are
    dropped only afterwards, so there may be fewer files and yet more that are not listed.
    """
    try:
        limit = min(MOST_LISTED, int(told.get("ggslimit", 10)))
        north, west, south, east = map(float, told["ggsbbox"].split("|"))
        if not (-90 <= south < north <= 90 and -180 <= west < east <= 180):
            raise ValueError(told["ggsbbox"])
    except (KeyError, ValueError):
        raise Refused("invalid-bbox", "Invalid bounding box.") from None
    y, x = (north + south) / 2, (west + east) / 2
    square_degrees = (north - south) * (east - west) * math.cos(math.radians(y))
    area = square_degrees * (1000 * KM_PER_DEGREE) ** 2
    if not SMALLEST_M2 <= area <= LARGEST_M2:
        raise Refused("toobig", "Bounding box is too big")
    hits = [
        (math.hypot(latitude - y, longitude - x), number)
        for latitude, longitude, number in commons.map.within(west, south, east, north)
    ]
    return sorted({number for _, number in sorted(hits)[:limit]} & commons.files.keys())


def _coordinates(photo: Photo) -> list[dict]:
    """Where it was taken, where what it shows is, or both; some do not say which."""
    camera = {"lat": photo.latitude, "lon": photo.longitude, "primary": True}
    there = {"lat": round(photo.latitude + 0.02, 6), "lon": photo.longitude, "type": "landmark"}
    draw = chance("position", photo.photo_id)
    if draw < 0.08:
        return [there | {"primary": True, "globe": "earth"}]
    if draw < 0.12:
        return [camera]
    found = [camera | {"type": "camera", "globe": "earth"}]
    return found + [there | {"primary": False, "globe": "earth"}] * (draw < 0.25)


def _described(commons: Commons, found: list[int], told: dict[str, str]) -> Answer:
    """Pages, of which each call describes a part.

    `continue` names, after two bars, what has been told of all pages and is told no more.
    """
    done = told.get("continue", "").rpartition("||")[2].split("|")
    asked = [each for each in told.get("prop", "").split("|") if each not in done]
    pages = {}
    for index, number in enumerate(found, -len(found)):
        title = f"File:{facts(commons.files[number]).name}".replace("_", " ")
        pages[number] = {"pageid": number, "ns": 6, "title": title, "index": index}
    following: dict[str, str] = {}
    if "coordinates" in asked:
        following |= _with_coordinates(commons, pages, told)
    if "imageinfo" in asked:
        following |= _with_pictures(commons, pages, told)
    value: dict = {"batchcomplete": True}
    if following:
        names = {"coordinates": "cocontinue", "imageinfo": "iicontinue"}
        over = [name for name, key in names.items() if key not in following]
        value = {"continue": following | {"continue": f"||{'|'.join(over)}"}}
    if pages:
        value["query"] = {"pages": list(pages.values())}
    return js(value)


def _with_coordinates(commons: Commons, pages: dict[int, dict], told: dict[str, str]) -> dict:
    """Adds positions, and says where to go on: each counts, also the second of a page."""
    wanted = told.get("coprop", "globe").split("|")
    every = [(number, each) for number in pages for each in _coordinates(commons.files[number])]
    keys = [f"{number}|{2 * number + (not each['primary'])}" for number, each in every]
    most = COORDINATES_A_CALL.get(told.get("colimit", ""), COORDINATES_A_CALL[""])
    part, following = _part(keys, "cocontinue", told, most)
    for number, each in every[part]:
        shown = {k: v for k, v in each.items() if k in ("lat", "lon", "primary", *wanted)}
        pages[number].setdefault("coordinates", []).append(shown)
    return following


def _with_pictures(commons: Commons, pages: dict[int, dict], told: dict[str, str]) -> dict:
    files = [commons.files[number] for number in pages]
    keys = [f"{known.name}|{known.uploaded:%Y%m%d%H%M%S}" for known in map(facts, files)]
    most = THUMBS_A_CALL if "iiurlwidth" in told else len(keys)
    part, following = _part(keys, "iicontinue", told, most)
    for row, file in list(zip(pages.values(), files, strict=True))[part]:
        row |= {"imagerepository": "local", "imageinfo": [_info(file, told)]}
    return following


def _part(keys: list[str], name: str, told: dict[str, str], most: int) -> tuple[slice, dict]:
    """What this call tells, and the argument with which the next goes on."""
    first = 0
    if name in told:
        if told[name] not in keys:
            words = "You should pass the original value returned by the previous query."
            raise Refused("badcontinue", f"Invalid continue param. {words}")
        first = keys.index(told[name])
    end = first + most
    return slice(first, end), {name: keys[end]} if end < len(keys) else {}


def _info(photo: Photo, told: dict[str, str]) -> dict:
    said, file, metadata = _said(photo), facts(photo), None
    if chance("exif", photo.photo_id) >= 0.5:
        direction = {"name": "GPSImgDirection", "value": f"{photo.heading * 100}/100"}
        metadata = [direction, {"name": "GPSImgDirectionRef", "value": "T"}]
    if names := told.get("iiextmetadatafilter"):
        said = {key: value for key, value in said.items() if key in names.split("|")}
    known = {
        "timestamp": {"timestamp": f"{file.uploaded:%Y-%m-%dT%H:%M:%SZ}"},
        "user": {"user": "FlickreviewR 2" if file.imported else photo.owner_name.title()},
        "size": {"size": 100_000, "width": photo.width, "height": photo.height},
        "url": _thumbnail(photo, told, file.address)
        | {"url": file.address, "descriptionurl": f"{SITE}/wiki/File:{quote(file.name)}"},
        "sha1": {"sha1": file.sha1},
        "mime": {"mime": file.mime},
        "extmetadata": {"extmetadata": said},
        "metadata": {"metadata": metadata},
    }
    asked = told.get("iiprop", "timestamp|user").split("|")
    return {key: value for name in asked for key, value in known.get(name, {}).items()}


def _thumbnail(photo: Photo, told: dict[str, str], address: str) -> dict:
    """Where the picture lies in the next width that is made, or the original if that is smaller."""
    if "iiurlwidth" not in told:
        return {}
    if chance("thumberror", photo.photo_id) < 0.01:
        return {"thumberror": "Error creating thumbnail"}
    try:
        width = int(told["iiurlwidth"])
    except ValueError:
        raise Refused("badinteger", 'Invalid value for integer parameter "iiurlwidth".') from None
    step = next((each for each in STEPS if each >= width), STEPS[-1])
    width, height = photo.width, photo.height
    if step < width:
        name = address.rpartition("/")[2]
        address = f"{address.replace('/commons/', '/commons/thumb/')}/{step}px-{name}"
        width, height = step, height * _longest(photo, step) // max(width, height)
    return {"thumburl": address, "thumbwidth": width, "thumbheight": height}


def _longest(photo: Photo, width: int) -> int:
    """The longest side in pixels where the picture is so wide."""
    return math.ceil(width * max(photo.width, photo.height) / photo.width)


def _said(photo: Photo) -> dict:
    draw = chance("commons licence", photo.photo_id)
    for code, name, address, share in DATA["licences"]:  # noqa: B007
        draw -= share
        if draw < 0:
            break
    artist = photo.owner_name.title()
    credit = '<span class="int-own-work">Own work</span>'
    if facts(photo).imported:
        link = f"https://www.flickr.com/photos/{photo.owner}/{photo.photo_id}/"
        credit = f'<a rel="nofollow" class="external text" href="{link}">a photo</a>'
        people = f"https://www.flickr.com/people/{photo.owner}"
        artist = f'<a href="{people}">{artist} &amp; friends</a>'
    elif chance("artist", photo.owner) < 0.6:
        user = f'href="//commons.wikimedia.org/wiki/User:{artist}" title="User:{artist}"'
        artist = f"<a {user}>{artist}</a>"
    else:
        artist += " van <b>Straten</b>"
    said = {
        "DateTimeOriginal": f"{photo.taken:%Y-%m-%d %H:%M:%S}",
        "License": code,
        "LicenseShortName": name,
        "LicenseUrl": address,
        "Artist": artist,
        "Credit": credit,
        "NonFree": "true" * (chance("non free", photo.photo_id) < 0.01),
        "DeletionReason": "per COM:SPEEDY" * (chance("deletion", photo.photo_id) < 0.01),
    }
    source = {"source": "commons-desc-page"}
    return {key: {"value": value} | source for key, value in said.items() if value}


# --- files ---


def picture(commons: Commons, call: Call) -> Callable[[], bytes] | Answer:
    """What draws the file that a path means, or what is there instead."""
    if refusal := _turned_away(call):
        return refusal
    width = int(call.named.get("width", 0))
    number = commons.by_name.get(unquote(call.photo))
    if number is None or commons.files[number].deleted:
        return page(404, "404 Not Found")
    if width and width not in STEPS:
        steps = "Use thumbnail steps listed on https://w.wiki/GHai."
        return page(429, f"{steps} Please contact noc@wikimedia.org")
    photo = commons.files[number]
    return partial(jpeg, photo, _longest(photo, width) if width else None)
