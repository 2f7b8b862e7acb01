"""The planet's Flickr: `flickr.photos.search` and what its picture host has.

Answers as documented and as recorded: errors are HTTP 200, `total` is a number, a string or
nothing at all, numbers come as numbers or as strings, nothing past the first 4,000 results is
reachable.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import SimpleNamespace

from oauthlib.oauth1.rfc5849 import signature
from PIL import Image, ImageDraw

from planet.answer import Answer, Call, Refused, js
from planet.keys import KEY, SECRET
from planet.photos import YEAR, Photo, chance
from planet.picture import encoded

IMAGE_HOST = "http://live.staticflickr.invalid"
PAGE_HOST = "http://www.flickr.invalid"
REST = "/services/rest/"
PICTURE = re.compile(  # the path of one
    r"/(?P<server>[0-9]+)/(?P<photo>[0-9]+)_(?P<secret>[0-9a-f]{10})(?:_(?P<size>[a-z]))?\.jpg"
)
MOST_RESULTS = 4000  # of one query that can be read
# Longest side in pixels of the sizes: the suffix in a picture's URL by the name in `extras`.
SIZES = {"s": ("m", 240), "n": ("n", 320), "m": ("", 500), "z": ("z", 640), "l": ("b", 1024)}
PLACEHOLDER = "/pw/images/en-us/photo_unavailable.png"
TO_PLACEHOLDER = Answer(302, headers={"Location": f"http://s.yimg.invalid{PLACEHOLDER}"})

NOW = int(datetime(YEAR + 1, 1, 1, tzinfo=UTC).timestamp())
LIMITING = {"text", "bbox", "min_upload_date", "max_upload_date"}  # a search needs one of these
# The values that are simulated of some arguments; others are refused, rather than not heard.
SIMULATED: dict[str, tuple[str, ...]] = {"tags": (), "min_taken_date": (), "max_taken_date": ()}
SIMULATED |= {"has_geo": ("1",), "media": ("photos", "all")}
SIMULATED |= {"sort": ("date-posted-asc", "date-posted-desc")}


class Catalogue:
    """The photos of the planet, ready to be searched."""

    def __init__(self, planet: Sequence[Photo]):
        # A stable order: photos of the same second stay as they were given.
        self.photos = sorted(planet, key=lambda photo: photo.uploaded)
        self.by_id = {photo.photo_id: photo for photo in planet}
        self._times = [photo.uploaded for photo in self.photos]
        self._words = [_words(" ".join([photo.title, *photo.tags])) for photo in self.photos]

    def found(self, arguments: dict[str, str]) -> list[Photo]:
        """The photos that match what a search asks for, in the order of upload."""
        since = int(arguments.get("min_upload_date", 0))
        geo = _is_geo(arguments)
        if geo and "min_upload_date" not in arguments:
            since = NOW - 12 * 3600  # a geo query without a limiting agent sees no more
        first = bisect_left(self._times, since)
        last = bisect_right(self._times, int(arguments.get("max_upload_date", NOW)))
        wanted, unwanted = _wordings(arguments.get("text", ""))
        accuracy = _whole_number(arguments, "accuracy", 1)
        licences = arguments.get("license", "0,1,2,3,4,5,6,7").split(",")
        bbox = arguments.get("bbox", "-inf,-inf,inf,inf")
        west, south, east, north = map(float, bbox.split(","))
        return [
            photo
            for photo, words in zip(self.photos[first:last], self._words[first:last], strict=True)
            if wanted <= words
            and not any(group <= words for group in unwanted)
            and photo.accuracy >= accuracy
            and str(photo.licence) in licences
            and not (geo and photo.on_map == "no")
            and south <= _listed(photo)[0] <= north
            and west <= _listed(photo)[1] <= east
        ]


def answer(catalogue: Catalogue, call: Call) -> Answer:
    """What the API answers to a call, and the picture host where a picture is missing."""
    if call.path == PLACEHOLDER:
        return placeholder()
    try:
        value = {**_called(catalogue, call), "stat": "ok"}
    except Refused as refusal:
        code, message = refusal.args
        value = {"stat": "fail", "code": code, "message": message}
    return js(value)


def _called(catalogue: Catalogue, call: Call) -> dict:
    if key_of(call) != KEY:
        raise Refused(100, "Invalid API Key (Key not found)")
    if not _signed_well(call):
        raise Refused(96, "Invalid signature")
    if (call.arguments.get("format"), call.arguments.get("nojsoncallback")) != ("json", "1"):
        raise Refused(111, f'Format "{call.arguments.get("format", "rest")}" not found')
    method = call.arguments.get("method", "")
    if method != "flickr.photos.search":
        raise Refused(112, f'Method "{method}" not found')
    return search(catalogue, call.arguments)


def key_of(call: Call) -> str | None:
    """The key that the call shows, in its signature or among its arguments."""
    shown = re.search(r'\boauth_consumer_key="([^"]*)"', call.authorization)
    return shown[1] if shown else call.arguments.get("api_key")


def _signed_well(call: Call) -> bool:
    """Whether the call has no OAuth signature, or the right one."""
    if 'oauth_signature="' not in call.authorization:
        return True
    headers, query = {"Authorization": call.authorization}, call.target.partition("?")[2]
    try:
        params = signature.collect_parameters(query, call.form, headers, False)
    except ValueError:
        return False
    given = dict(params).get("oauth_signature", "")
    params = [pair for pair in params if pair[0] != "oauth_signature"]
    asked = SimpleNamespace(http_method=call.method, params=params, signature=given)

    def signs(scheme: str) -> bool:
        asked.uri = f"{scheme}://{call.host}{call.path}"
        return signature.verify_hmac_sha1(asked, SECRET)

    return signs("http") or signs("https")  # what stands between us and the client may speak TLS


def search(catalogue: Catalogue, arguments: dict[str, str]) -> dict:
    """Answer flickr.photos.search."""
    for name, values in SIMULATED.items():
        if name in arguments and arguments[name] not in values:
            raise Refused(18, f"{name}={arguments[name]} is not simulated")
    if not arguments.keys() & LIMITING:
        raise Refused(3, "Parameterless searches have been disabled. Please use getRecent instead.")
    try:
        found = catalogue.found(arguments)
    except ValueError:
        raise Refused(18, "Illogical arguments") from None
    if arguments.get("sort") != "date-posted-asc":
        found.sort(key=lambda photo: photo.uploaded, reverse=True)
    per_page = min(_whole_number(arguments, "per_page", 100), 250 if _is_geo(arguments) else 500)
    pages = -(-len(found) // per_page)
    # Past the cap Flickr has been seen to repeat itself.
    page = min(_whole_number(arguments, "page", 1), max(1, MOST_RESULTS // per_page))
    shown = found[(page - 1) * per_page : page * per_page]
    extras = arguments.get("extras", "").replace(" ", "").split(",")
    total = len(found) if len(found) % 2 else str(len(found) or "")
    # Some come as numbers, others as text: all pages of a query are alike.
    query = {k: v for k, v in arguments.items() if k not in ("page", "api_key")}
    known, names = json.dumps(query, sort_keys=True), ("licence", "accuracy", "position")
    numbers = {name: chance(name, known) < 0.5 for name in names}
    told = {"page": page, "pages": pages, "perpage": per_page, "total": total}
    return {"photos": told | {"photo": [_entry(photo, extras, numbers) for photo in shown]}}


def _is_geo(arguments: dict[str, str]) -> bool:
    """Whether a search is one by position, for which other limits hold."""
    return arguments.get("has_geo") == "1" or "bbox" in arguments


def _whole_number(arguments: dict[str, str], name: str, default: int) -> int:
    """A number of at least 1; the default for what is none."""
    given = arguments.get(name, "").strip()
    if not re.fullmatch(r"-?[0-9]{1,9}", given) or (int(given) < 1 and name != "page"):
        return default
    return max(1, int(given))


def _wordings(text: str) -> tuple[set[str], list[frozenset[str]]]:
    """The words that must be there, and groups of words that must not be there together."""
    wanted, unwanted = set(), []
    for minus, quoted, plain in re.findall(r'(-?)(?:"([^"]*)"|(\S+))', text):
        group = _words(quoted or plain)
        if minus:
            unwanted.append(group)
        else:
            wanted |= group
    return wanted, unwanted


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def _listed(photo: Photo) -> tuple[float, float]:
    """The latitude and longitude that the map shows."""
    return (photo.latitude, photo.longitude) if photo.on_map == "yes" else (0.0, 0.0)


# --- answers ---


def _sizes(photo: Photo) -> dict[str, tuple[str, int]]:
    """The sizes that a photo has: none is larger than the original."""
    longest = max(photo.width, photo.height)
    return {name: size for name, size in SIZES.items() if size[1] <= longest}


def _entry(photo: Photo, extras: Sequence[str], numbers: dict[str, bool]) -> dict:
    """One photo of an answer, with the types that have been seen in real ones."""
    entry = {"id": photo.photo_id, "owner": photo.owner, "secret": photo.secret}
    entry |= {"server": photo.server, "farm": 1, "title": photo.title}
    entry |= {"ispublic": 1, "isfriend": 0, "isfamily": 0}
    taken = {"datetaken": f"{photo.taken:%Y-%m-%d %H:%M:%S}"}
    known = {
        "license": {"license": photo.licence if numbers["licence"] else str(photo.licence)},
        "date_taken": taken | {"datetakengranularity": "0", "datetakenunknown": "0"},
        "geo": _geo(photo, numbers),
    }
    address = f"{IMAGE_HOST}/{photo.server}/{photo.photo_id}_{photo.secret}"
    longest = max(photo.width, photo.height)
    for name, (suffix, side) in _sizes(photo).items():
        known[f"url_{name}"] = {
            f"url_{name}": f"{address}{suffix and '_'}{suffix}.jpg",
            f"height_{name}": photo.height * side // longest,
            f"width_{name}": str(photo.width * side // longest),
        }
    for extra in extras:
        entry |= known.get(extra, {})
    return entry


def _geo(photo: Photo, numbers: dict[str, bool]) -> dict:
    latitude, longitude, accuracy = 0, 0, 0
    if photo.on_map != "no":
        latitude, longitude = (f"{each:.6f}" for each in _listed(photo))
        accuracy = str(photo.accuracy)
    if numbers["position"]:
        latitude, longitude = float(latitude), float(longitude)
    if numbers["accuracy"]:
        accuracy = int(accuracy)
    return {"latitude": latitude, "longitude": longitude, "accuracy": accuracy, "context": 0}


# --- pictures ---


def picture(catalogue: Catalogue, call: Call) -> tuple[Photo, int] | Answer:
    """The photo and the longest side that a picture's path means, or what is there instead."""
    name, photo = call.named, catalogue.by_id.get(call.photo)
    if photo is None or (photo.server, photo.secret) != (name["server"], name["secret"]):
        return Answer(404)
    if photo.deleted:
        return TO_PLACEHOLDER
    side = dict(_sizes(photo).values()).get(name["size"] or "")
    return (photo, side) if side else Answer(404)


@lru_cache(maxsize=1)
def placeholder() -> Answer:
    """The picture that says that there is no picture."""
    image = Image.new("RGB", (500, 374), (240, 240, 240))
    ImageDraw.Draw(image).text((120, 180), "This photo is no longer available", fill=(90, 90, 90))
    return Answer(200, "image/png", encoded(image, "PNG"))
