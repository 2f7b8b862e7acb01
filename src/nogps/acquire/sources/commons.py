"""Photographs from Wikimedia Commons, which need no key and may be kept.

Files are found by the coordinates on their pages, which may be those of the camera or those of
what is shown; by default only the former are believed. Each file has its licence. Wikimedia asks
every client to say who it is, for few requests at a time, and for a pause when its servers lag.
"""

import html
import re
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal
from urllib.parse import unquote, urlencode

from tqdm import tqdm

from nogps.acquire.area import Box
from nogps.acquire.area_search import open_service
from nogps.acquire.candidate import Candidate, Fetched, known_heading, known_position
from nogps.acquire.http import Answer, Polite, Unavailable, Verdict, by_status, json_dict
from nogps.acquire.pictures import fetch_picture, followed
from nogps.acquire.service import Page, Refused, SearchSpec
from nogps.acquire.source import Context, CrawlRate
from nogps.base.errors import InputError
from nogps.base.settings import Section
from nogps.rights.licences import Licence, licence_of


class Settings(Section):
    """What the source `commons` takes."""

    width: Literal[330, 500, 960, 1280, 1920]
    """Pixels that a photo is wide."""
    uncertain: bool
    """Whether to take photos whose position may be that of what they show."""


KILOBYTES_PER_SECOND = 3000  # Wikimedia wants 25 Mbit/s at most, two pictures at a time
MOST_CONTINUED = 60  # calls for one answer
# An answer with so large a share of the most that may be listed is taken for cut off: what counts
# are positions, of which files may have two, and those of files that are no more.
FULL = 0.5
# Codes of errors that pass.
PASSING = ("maxlag", "ratelimited", "readonly", "cirrussearch-too-busy-error")
STEPS = b"thumbnail steps"  # in what is answered where a width is none that Wikimedia makes
PHOTOS = ("image/jpeg",)  # maps and drawings are PNG or SVG, scans TIFF or PDF
EXTMETADATA = "DateTimeOriginal|License|LicenseShortName|LicenseUrl|Artist|Credit"
EXTMETADATA += "|Attribution|NonFree|DeletionReason|Categories"

_FLICKR = re.compile(r"flickr\.com/photos/([^/\"'\s]+)/(\d+)")
_FLICKR_ID = re.compile(r"\((\d{8,12})\)\.jpe?g$", re.IGNORECASE)  # as flickr2commons names files
_FLICKR_OWNER = re.compile(r"flickr\.com/(?:photos|people)/(\d+(?:@|%40)N\d+)")
_AROUND = re.compile(r"\b360\s?°|\b360[- ]degree|equirectangular|spherical panorama", re.IGNORECASE)
_USER = re.compile(r"(?:/wiki/|title=)User:([^\"?#&/]+)")


@dataclass
class Commons:
    """Photos on Wikimedia Commons; a `service.Service`."""

    spec: SearchSpec
    settings: Settings
    base_url: str = "https://commons.wikimedia.org"
    most_listed: int = 500  # which come 50 at a time

    name = "Wikimedia Commons"
    most_square_degrees = 0.03  # 20 x 20 km at the equator
    coarse_levels: tuple[int, ...] = ()

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The picture behind a candidate's url, which ends with the original's SHA-1."""
        return await fetch_picture(url.partition("#")[0], http, judge=_judge_picture)

    def key(self, box: Box) -> list:
        """What tells this question from others."""
        url = self._url(box, self.most_listed, {})
        return [url, self.settings.uncertain, sorted(self.spec.licences)]

    async def ask(self, box: Box, http: Polite, most: int) -> Page:
        """The files in a box, whose properties come in parts."""
        pages: dict[int, dict] = {}
        further: dict[str, str] = {}
        for call in range(1, MOST_CONTINUED + 1):
            reply = await self._query(self._url(box, most, further), http)
            for page in (reply.get("query") or {}).get("pages") or []:
                known = pages.setdefault(int(page["pageid"]), {})
                positions = known.get("coordinates", []) + (page.get("coordinates") or [])
                known |= {key: value for key, value in page.items() if value}
                known["coordinates"] = positions
            further = reply.get("continue") or {}
            if not further:
                photos = {f"M{number}": self._candidate(page) for number, page in pages.items()}
                return Page(photos, full=len(pages) >= FULL * most, calls=call)
        raise Unavailable(self.base_url)

    def _url(self, box: Box, most: int, further: dict[str, str]) -> str:
        edges = (box.north, box.west, box.south, box.east)
        query = {
            "action": "query",
            "format": "json",
            "formatversion": 2,
            "generator": "geosearch",
            "ggsnamespace": 6,  # files
            "ggslimit": most,
            "ggsprimary": "all",
            "ggsbbox": "|".join(f"{each:.7f}" for each in edges),
            "prop": "coordinates|imageinfo",
            "colimit": "max",
            "coprop": "type|globe",
            "coprimary": "all",
            "iiprop": "url|size|mime|sha1|user|extmetadata|metadata",
            "iiextmetadatafilter": EXTMETADATA,
            "iiurlwidth": self.settings.width,
            "maxlag": 5,
        }
        return f"{self.base_url}/w/api.php?{urlencode(query | further, safe='|')}"

    async def _query(self, url: str, http: Polite) -> dict:
        answer = await followed(url, http, judge=_judge)
        error = json_dict(answer.json_object.get("error"))
        if answer.status in (401, 403):
            raise InputError(
                f"Wikimedia refuses to answer (HTTP {answer.status}); set NOGPS_CONTACT to an "
                "e-mail address or a page where you can be reached, which it asks of everybody; "
                "if it is set, wait for some hours, or ask from another network"
            )
        if error.get("code") == "toobig":
            raise Unavailable(url)  # it will be asked in parts
        if answer.status != 200 or answer.json_object.get("error"):
            code = error.get("code", f"HTTP {answer.status}")
            raise Refused(f"Wikimedia Commons refuses a search ({code})")
        return answer.json_object

    def _candidate(self, page: dict) -> Candidate | str:
        """The file as a candidate, or why it is of no use."""
        info: dict = next(iter(page.get("imageinfo") or []), {})
        extmetadata = {
            name: str(each.get("value") or "")
            for name, each in (info.get("extmetadata") or {}).items()
            if isinstance(each, dict)
        }
        if info.get("mime") not in PHOTOS:
            return "not_a_photo" if info else "without_picture"
        licence = _licence(extmetadata)
        if licence is None or licence.family not in self.spec.licences:
            return "licence_not_wanted"
        position = self._position(page.get("coordinates") or [])
        if isinstance(position, str):
            return position
        if not info.get("thumburl"):
            return "without_picture"
        title = str(page.get("title") or "").removeprefix("File:")
        user = str(info.get("user") or "")
        artist = _text(extmetadata.get("Artist", ""))
        owner, flickr_id = _taken_by(extmetadata, artist, user, title)
        return Candidate(
            f"M{page['pageid']}",
            "commons",
            *position,
            owner,
            url=f"{info['thumburl']}#{info.get('sha1') or ''}",
            taken_at=_taken_at(extmetadata.get("DateTimeOriginal", "")),
            heading=_heading(info.get("metadata") or []),
            licence=licence.name,
            page_url=str(info.get("descriptionurl") or ""),
            author=_text(extmetadata.get("Attribution", "")) or artist or user,
            title=title,
            licence_url=extmetadata.get("LicenseUrl") or licence.url,
            field_of_view=_field_of_view(info, extmetadata),
            flickr_id=flickr_id,
        )

    def _position(self, coordinates: list[dict]) -> tuple[float, float] | str:
        """Latitude and longitude of the camera, or why there are none."""
        on_earth = [each for each in coordinates if each.get("globe", "earth") == "earth"]
        camera = [each for each in on_earth if each.get("type") == "camera"]
        unsure = [each for each in on_earth if each.get("primary") and not each.get("type")]
        for each in camera + unsure * self.settings.uncertain:
            found = known_position(each.get("lat"), each.get("lon"))
            if found:
                return found
        return "uncertain_position" if on_earth and not camera else "without_position"


def _judge(answer: Answer) -> Verdict:
    """Wikimedia also says by HTTP 200 that it cannot answer for now."""
    code = str(json_dict(answer.json_object.get("error")).get("code"))
    if code in PASSING or code.startswith("internal_api_error"):
        return Verdict.BUSY
    if answer.status == 200 and not answer.json_object:
        return Verdict.RETRY
    return by_status(answer)


def _judge_picture(answer: Answer) -> Verdict:
    """429 may mean that this width is never made, rather than that we ask too often."""
    if answer.status == 429 and STEPS in answer.body and "Retry-After" not in answer.headers:
        return Verdict.OK
    return by_status(answer)


def _licence(extmetadata: dict[str, str]) -> Licence | None:
    if extmetadata.get("NonFree") or extmetadata.get("DeletionReason"):
        return None
    named = (licence_of(extmetadata.get(name, "")) for name in ("License", "LicenseShortName"))
    return next((each for each in named if each), None)


def _taken_by(extmetadata: dict[str, str], artist: str, user: str, title: str) -> tuple[str, str]:
    """Who took it, as an id, and the photo on Flickr that it was imported from.

    Those who put pictures of others online, such as programs that import them, took none of them.
    """
    credit, by = extmetadata.get("Credit", ""), extmetadata.get("Artist", "")
    imported = _FLICKR.search(f"{credit}\n{by}")
    if imported:
        known = _FLICKR_OWNER.search(f"{by}\n{credit}")
        return unquote(known[1]) if known else f"flickr {imported[1].lower()}", imported[2]
    named = _FLICKR_ID.search(title)
    account = _USER.search(by)
    if account:
        owner = f"user {unquote(html.unescape(account[1])).replace('_', ' ')}"
    elif "own-work" in credit or not artist:
        owner = f"user {user}" if user else ""
    else:
        owner = artist.lower()
    return owner, named[1] if named else ""


def _text(markup: str) -> str:
    """The words of a piece of HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def _taken_at(text: str) -> str:
    found = re.search(r"(\d{4})[-:](\d\d)[-:](\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?))?", text)
    if not found:
        return ""
    return "-".join(found.group(1, 2, 3)) + (f"T{found[4]}" if found[4] else "")


def _heading(metadata: list[dict]) -> float | None:
    """Where the camera says that it looked, from true north."""
    exif = {each.get("name"): str(each.get("value")) for each in metadata if isinstance(each, dict)}
    if exif.get("GPSImgDirectionRef", "T").strip("\0 ").upper() != "T":
        return None
    with suppress(KeyError, ValueError, ZeroDivisionError):
        return known_heading(Fraction(exif["GPSImgDirection"]))
    return None


def _field_of_view(info: dict, extmetadata: dict[str, str]) -> float | None:
    """360 where the file is as wide as a panorama, and filed as one."""
    around = info.get("width") == 2 * (info.get("height") or 0) > 0
    return 360.0 if around and _AROUND.search(extmetadata.get("Categories", "")) else None


def crawl_rate(settings: Settings) -> CrawlRate:
    """How fast Wikimedia is asked for pictures, which is slower the larger they are."""
    kilobytes = 200 * (settings.width / 960) ** 2
    return CrawlRate(2, min(8.0, KILOBYTES_PER_SECOND / kilobytes), kilobytes)


def _service(context: Context) -> Commons:
    if context.world == "real" and not context.environment["NOGPS_CONTACT"]:
        tqdm.write("NOGPS_CONTACT is not set: Wikimedia may refuse those who do not say who asks")
    return Commons(context.search, context.settings, **context.hosts)


SOURCE = open_service(Settings, _service, crawl_rate, environment=("NOGPS_CONTACT",))
