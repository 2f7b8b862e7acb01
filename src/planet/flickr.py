"""The planet's Flickr: `flickr.photos.search` and what its picture host has.

Answers as documented and as recorded: errors are HTTP 200, `total` is a number, a string or
nothing at all, numbers come as numbers or as strings, nothing past the first 4,000 results is
reachable.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import SimpleNamespace
from urllib.parse import parse_qsl

from oauthlib.oauth1.rfc5849 import signature
from PIL import Image, ImageDraw

from planet.answer import Answer, Call, js
from planet.faults import chance
from planet.flickr_search import (
    LIMITING,
    Query,
    Refused,
    in_order,
    is_geo,
    listed_position,
    understood,
    whole_number,
    words,
)
from planet.keys import KEY, SECRET
from planet.photos import Photo
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
PLACEHOLDER_HOST = "http://s.yimg.invalid"


class Catalogue:
    """The photos of the planet, ready to be searched."""

    def __init__(self, planet: Sequence[Photo]):
        # A stable order: photos of the same second stay as they were given.
        self.photos = sorted(planet, key=lambda photo: photo.uploaded)
        self.by_id = {photo.photo_id: photo for photo in planet}
        self._times = [photo.uploaded for photo in self.photos]
        self._words = [words(" ".join([photo.title, *photo.tags])) for photo in self.photos]
        self._with_word: dict[str, list[int]] = {}
        for index, said in enumerate(self._words):
            for word in said:
                self._with_word.setdefault(word, []).append(index)

    def found(self, query: Query) -> list[Photo]:
        """The photos that match, in the order of upload."""
        first = bisect_left(self._times, query.since)
        last = bisect_right(self._times, query.until)
        narrowed: Sequence[int] = range(first, last)
        if query.wanted:
            lists = (self._with_word.get(word, []) for word in query.wanted)
            rarest = min(lists, key=len)
            narrowed = rarest[bisect_left(rarest, first) : bisect_left(rarest, last)]
        return [
            self.photos[index]
            for index in narrowed
            if query.says(self._words[index]) and query.fits(self.photos[index])
        ]


def answer_call(catalogue: Catalogue, call: Call) -> Answer:
    """What the API answers to a call."""
    try:
        value = {**_called(catalogue, call), "stat": "ok"}
    except Refused as refusal:
        code, message = refusal.args
        value = {"stat": "fail", "code": code, "message": message}
    body = json.dumps(value, ensure_ascii=False)
    if call.arguments.get("nojsoncallback") != "1":
        body = f"jsonFlickrApi({body})"
    return js(body)


def _called(catalogue: Catalogue, call: Call) -> dict:
    if key_of(call) != KEY:
        raise Refused(100, "Invalid API Key (Key not found)")
    if not _signed_well(call):
        raise Refused(96, "Invalid signature")
    if call.arguments.get("format") != "json":
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
    try:
        headers = {"Authorization": call.authorization}
        params = signature.collect_parameters(headers=headers, exclude_oauth_signature=False)
    except ValueError:
        return False
    given = dict(params).get("oauth_signature", "")
    params = [pair for pair in params if pair[0] != "oauth_signature"]
    for sent in (call.target.partition("?")[2], call.form):
        params += parse_qsl(sent, keep_blank_values=True)
    # What stands between us and the client may speak TLS.
    return any(
        signature.verify_hmac_sha1(
            SimpleNamespace(
                http_method=call.method,
                uri=f"{scheme}://{call.host}{call.path}",
                params=params,
                signature=given,
            ),
            SECRET,
        )
        for scheme in ("http", "https")
    )


def search(catalogue: Catalogue, arguments: dict[str, str]) -> dict:
    """Answer flickr.photos.search."""
    if not arguments.keys() & LIMITING:
        raise Refused(3, "Parameterless searches have been disabled. Please use getRecent instead.")
    geo = is_geo(arguments)
    found = in_order(catalogue.found(understood(arguments)), arguments.get("sort", ""))
    per_page = min(whole_number(arguments, "per_page", 100), 250 if geo else 500)
    pages = -(-len(found) // per_page)
    # Past the cap Flickr has been seen to repeat itself.
    page = min(whole_number(arguments, "page", 1), max(1, MOST_RESULTS // per_page))
    shown = found[(page - 1) * per_page : page * per_page]
    extras = arguments.get("extras", "").replace(" ", "").split(",")
    total = len(found) if len(found) % 2 else str(len(found) or "")
    variant = _Variant(arguments)
    return {
        "photos": {
            "page": page,
            "pages": pages,
            "perpage": per_page,
            "total": total,
            "photo": [_entry(photo, extras, variant) for photo in shown],
        }
    }


# --- answers ---


class _Variant:
    """Whether an answer gives numbers as numbers: all pages of a query are alike."""

    def __init__(self, arguments: dict[str, str]):
        asked = {k: v for k, v in arguments.items() if k not in ("page", "api_key")}
        text = json.dumps(asked, sort_keys=True)
        self.licence, self.accuracy, self.position = (
            chance(name, text) < 0.5 for name in ("licence", "accuracy", "position")
        )


def _sizes(photo: Photo) -> dict[str, tuple[str, int]]:
    """The sizes that a photo has: none is larger than the original."""
    longest = max(photo.width, photo.height)
    return {name: size for name, size in SIZES.items() if size[1] <= longest}


def _entry(photo: Photo, extras: Iterable[str], variant: _Variant) -> dict:
    """One photo of an answer, with the types that have been seen in real ones."""
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
        "license": {"license": photo.licence if variant.licence else str(photo.licence)},
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
        "geo": _geo(photo, variant),
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


def _geo(photo: Photo, variant: _Variant) -> dict:
    latitude, longitude, accuracy = listed_position(photo)
    if variant.position:
        latitude, longitude = float(latitude), float(longitude)
    if variant.accuracy:
        accuracy = int(accuracy)
    return {"latitude": latitude, "longitude": longitude, "accuracy": accuracy, "context": 0}


# --- pictures ---


def picture(catalogue: Catalogue, call: Call) -> tuple[Photo, int] | Answer:
    """The photo and the longest side that a picture's path means, or what is there instead."""
    name = PICTURE.fullmatch(call.path)
    photo = catalogue.by_id.get(name["photo"]) if name else None
    if photo is None or (photo.server, photo.secret) != (name["server"], name["secret"]):
        return Answer(404)
    if photo.deleted:
        return to_placeholder()
    side = dict(_sizes(photo).values()).get(name["size"] or "")
    return (photo, side) if side else Answer(404)


def to_placeholder() -> Answer:
    """Send the client to the picture that says that there is no picture."""
    return Answer(302, headers={"Location": PLACEHOLDER_HOST + PLACEHOLDER})


@lru_cache(maxsize=1)
def placeholder() -> Answer:
    """The picture that says that there is no picture."""
    image = Image.new("RGB", (500, 374), (240, 240, 240))
    ImageDraw.Draw(image).text((120, 180), "This photo is no longer available", fill=(90, 90, 90))
    return Answer(200, "image/png", encoded(image, "PNG"))
