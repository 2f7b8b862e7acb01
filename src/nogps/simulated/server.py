"""The planet's Flickr over HTTP: `flickr.photos.search` and the picture host.

Answers as documented and as recorded: errors are HTTP 200, `total` is a number, a string or
nothing at all, coordinates are strings, nothing past the first 4,000 results is reachable.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qsl, urlsplit

from PIL import Image, ImageDraw

from nogps.simulated import IMAGE_HOST, KEY
from nogps.simulated.picture import jpeg
from nogps.simulated.planet import YEAR, Photo

MOST_RESULTS = 4000  # of one query that can be read
# Longest side in pixels of the sizes: the suffix in a picture's URL by the name in `extras`.
SIZES = {"s": ("m", 240), "n": ("n", 320), "m": ("", 500), "z": ("z", 640), "l": ("b", 1024)}
PLACEHOLDER = "/pw/images/en-us/photo_unavailable.png"
NOW = int(datetime(YEAR + 1, 1, 1, tzinfo=UTC).timestamp())


class Refused(Exception):
    """An error that the API reports: code and message."""


def make_server(planet: Sequence[Photo], port: int = 0) -> ThreadingHTTPServer:
    """A server on loopback that has these photos; port 0 takes a free one."""
    by_id = {photo.photo_id: photo for photo in planet}
    words = [_words(" ".join([photo.title, *photo.tags])) for photo in planet]
    listing = list(zip(planet, words, strict=True))
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, listing, by_id))
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet

    def __init__(self, listing, by_id, *arguments):
        self.listing, self.by_id = listing, by_id
        super().__init__(*arguments)

    def do_GET(self):
        """Pictures, and API calls that come as a query string."""
        address = urlsplit(self.path)
        if address.path == "/services/rest/":
            self._rest(dict(parse_qsl(address.query)))
        elif address.path == PLACEHOLDER:
            self._send(200, "image/png", _placeholder())
        else:
            self._picture(address.path)

    def do_POST(self):
        """API calls that come as a form."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if urlsplit(self.path).path == "/services/rest/":
            self._rest(dict(parse_qsl(body.decode())))
        else:
            self._send(404, "text/html")

    def _rest(self, arguments: dict[str, str]) -> None:
        try:
            answer = {**self._call(arguments), "stat": "ok"}
        except Refused as refusal:
            code, message = refusal.args
            answer = {"stat": "fail", "code": code, "message": message}
        text = json.dumps(answer, ensure_ascii=False)
        if arguments.get("nojsoncallback") != "1":
            text = f"jsonFlickrApi({text})"
        self._send(200, "application/json; charset=utf-8", text.encode())

    def _call(self, arguments: dict[str, str]) -> dict:
        if self._key(arguments) != KEY:
            raise Refused(100, "Invalid API Key (Key not found)")
        if arguments.get("format") != "json":
            raise Refused(111, f'Format "{arguments.get("format", "rest")}" not found')
        method = arguments.get("method", "")
        if method != "flickr.photos.search":
            raise Refused(112, f'Method "{method}" not found')
        return search(self.listing, arguments)

    def _key(self, arguments: dict[str, str]) -> str | None:
        signed = re.search(r'\boauth_consumer_key="([^"]*)"', self.headers.get("Authorization", ""))
        return signed[1] if signed else arguments.get("api_key")

    def _picture(self, path: str) -> None:
        name = re.fullmatch(r"/(\d+)/(\d+)_([0-9a-f]{10})(?:_([a-z]))?\.jpg", path)
        photo = self.by_id.get(name[2]) if name else None
        if photo is None or (photo.server, photo.secret) != (name[1], name[3]):
            return self._send(404, "text/html")
        if photo.deleted:
            host = "http://s.yimg.invalid"
            return self._send(302, "text/html", headers={"Location": host + PLACEHOLDER})
        sides = dict(_sizes(photo).values())
        side = sides.get(name[4] or "")
        if side is None:
            return self._send(404, "text/html")
        return self._send(200, "image/jpeg", jpeg(photo, side))

    def _send(self, status: int, kind: str, body: bytes = b"", headers=None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing: standard output holds the port alone."""


def search(listing: list[tuple[Photo, set[str]]], arguments: dict[str, str]) -> dict:
    """Answer flickr.photos.search; `listing` holds each photo with the words beside it."""
    if not arguments.keys() & {"text", "min_upload_date", "max_upload_date", "min_taken_date"}:
        raise Refused(3, "Parameterless searches have been disabled. Please use getRecent instead.")
    geo = arguments.get("has_geo") == "1"
    found = [photo for photo, words in listing if _matches(photo, words, arguments)]
    found.sort(key=lambda photo: photo.uploaded, reverse=arguments.get("sort") != "date-posted-asc")
    per_page = min(int(arguments.get("per_page") or 100), 250 if geo else 500)
    pages = -(-len(found) // per_page)
    # Past the cap Flickr has been seen to repeat itself.
    page = min(int(arguments.get("page") or 1), max(1, MOST_RESULTS // per_page))
    shown = found[(page - 1) * per_page : page * per_page]
    extras = arguments.get("extras", "").replace(" ", "").split(",")
    total = len(found) if len(found) % 2 else str(len(found) or "")
    return {
        "photos": {
            "page": page,
            "pages": pages,
            "perpage": per_page,
            "total": total,
            "photo": [_entry(photo, extras) for photo in shown],
        }
    }


def _matches(photo: Photo, words: set[str], arguments: dict[str, str]) -> bool:
    """Whether a search shows the photo."""
    has_geo = arguments.get("has_geo")
    if has_geo and (photo.on_map != "no") != (has_geo == "1"):
        return False
    if photo.accuracy < int(arguments.get("accuracy") or 1):
        return False
    licences = arguments.get("license")
    if licences and str(photo.licence) not in licences.split(","):
        return False
    since = arguments.get("min_upload_date")
    if not since and has_geo == "1" and "min_taken_date" not in arguments:
        since = str(NOW - 12 * 3600)  # a geo query without a limiting agent sees no more
    taken = int(photo.taken.replace(tzinfo=UTC).timestamp())
    return (
        _within(photo.uploaded, since, arguments.get("max_upload_date"))
        and _within(taken, arguments.get("min_taken_date"), arguments.get("max_taken_date"))
        and _says(words, arguments.get("text", ""))
    )


def _within(moment: int, low: str | None, high: str | None) -> bool:
    """Both ends belong to it; either may be missing."""
    return (not low or moment >= _seconds(low)) and (not high or moment <= _seconds(high))


@lru_cache(maxsize=64)
def _seconds(moment: str) -> float:
    """Unix seconds from Unix seconds or a MySQL datetime."""
    try:
        return float(moment)
    except ValueError:
        return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


def _says(words: set[str], text: str) -> bool:
    """Whether all words of the text are there, and none that follows a minus."""
    for minus, quoted, plain in re.findall(r'(-?)(?:"([^"]*)"|(\S+))', text):
        wanted = _words(quoted or plain)
        if (wanted <= words) == bool(minus):
            return False
    return True


@lru_cache(maxsize=4096)
def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def _sizes(photo: Photo) -> dict[str, tuple[str, int]]:
    """The sizes that a photo has: none is larger than the original."""
    longest = max(photo.width, photo.height)
    return {name: size for name, size in SIZES.items() if size[1] <= longest}


def _entry(photo: Photo, extras: list[str]) -> dict:
    """One photo of an answer, with the types that have been seen in real ones."""
    latitude, longitude, accuracy = _listed_position(photo)
    entry = {
        "id": photo.photo_id,
        "owner": photo.owner,
        "secret": photo.secret,
        "server": photo.server,
        "farm": 1,
        "title": photo.title,
        "ispublic": 1,
        "isfriend": 0,
        "isfamily": 0,
    }
    known = {
        "license": {"license": str(photo.licence)},
        "date_upload": {"dateupload": str(photo.uploaded)},
        "date_taken": {
            "datetaken": f"{photo.taken:%Y-%m-%d %H:%M:%S}",
            "datetakengranularity": "0",
            "datetakenunknown": "0",
        },
        "owner_name": {"ownername": photo.owner_name},
        "tags": {"tags": " ".join(tag.replace(" ", "") for tag in photo.tags)},
        "media": {"media": "photo", "media_status": "ready"},
        "o_dims": {"o_width": str(photo.width), "o_height": str(photo.height)},
        "geo": {
            "latitude": latitude,
            "longitude": longitude,
            "accuracy": accuracy,
            "context": 0,
        },
    }
    for name, (suffix, side) in _sizes(photo).items():
        tail = f"_{suffix}" if suffix else ""
        longest = max(photo.width, photo.height)
        known[f"url_{name}"] = {
            f"url_{name}": f"{IMAGE_HOST}/{photo.server}/{photo.photo_id}_{photo.secret}{tail}.jpg",
            f"height_{name}": photo.height * side // longest,
            f"width_{name}": str(photo.width * side // longest),
        }
    for extra in extras:
        entry |= known.get(extra, {})
    return entry


def _listed_position(photo: Photo) -> tuple[str | int, str | int, str | int]:
    if photo.on_map == "no":
        return 0, 0, 0
    if photo.on_map == "zero":
        return "0.000000", "0.000000", str(photo.accuracy)
    return f"{photo.latitude:.6f}", f"{photo.longitude:.6f}", str(photo.accuracy)


@lru_cache(maxsize=1)
def _placeholder() -> bytes:
    """The picture that says that there is no picture."""
    image = Image.new("RGB", (500, 374), (240, 240, 240))
    ImageDraw.Draw(image).text((120, 180), "This photo is no longer available", fill=(90, 90, 90))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
