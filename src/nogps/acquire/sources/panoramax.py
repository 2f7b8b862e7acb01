"""Street pictures from Panoramax, which need no key and may be kept.

The federated catalogue lists the pictures of many instances; each lies at the instance that
published it. A search lists at most so many pictures and has no next page, so areas are divided.
Many are panoramas of 360 degrees. Each has its licence: Licence Ouverte 2.0 (IGN) and CC BY-SA 4.0
(OpenStreetMap France) are the most frequent.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode, urlsplit

from nogps.acquire.area import Box, geojson_point
from nogps.acquire.area_search import open_service
from nogps.acquire.candidate import Candidate, Fetched, as_number, known_heading
from nogps.acquire.http import Answer, Polite, Verdict, by_status, json_dict
from nogps.acquire.pictures import fetch_picture, followed
from nogps.acquire.service import Page, Refused, SearchSpec
from nogps.acquire.source import CrawlRate
from nogps.base.settings import Section
from nogps.rights.licences import licence_of


class Settings(Section):
    """What the source `panoramax` fetches."""

    quality: Literal["sd", "hd"]
    """sd: 2,048 pixels wide; hd: as it was taken."""


QUALITIES = ("sd", "hd")  # of a picture, the smaller first


@dataclass
class Panoramax:
    """Pictures that Panoramax lists; a `service.Service`."""

    spec: SearchSpec
    settings: Settings
    base_url: str = "https://api.panoramax.xyz"
    most_listed: int = 1000

    name = "Panoramax"
    most_square_degrees = 360.0 * 180
    coarse_levels: tuple[int, ...] = (4, 7)  # nearly all pictures are in a few countries

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The picture behind a candidate's url; its host may send us to another one."""
        return await fetch_picture(url, http)

    def key(self, box: Box) -> list:
        """What tells this question from others."""
        url = self._url(box, self.most_listed)
        return [url, self.settings.quality, sorted(self.spec.licences)]

    async def ask(self, box: Box, http: Polite, most: int) -> Page:
        """The pictures in a box."""
        answer = await followed(self._url(box, most), http, judge=_judge)
        if answer.status != 200:
            host = urlsplit(answer.url).netloc
            message = " ".join(str(answer.json_object.get("message") or "").split())[:200]
            why = ", ".join(filter(None, [f"HTTP {answer.status}", message]))
            raise Refused(f"{host} refuses a search ({why})")
        rows = [row for row in _dicts(answer.json_object["features"]) if row.get("id")]
        photos = {str(row["id"]): self._candidate(row) for row in rows}
        return Page(photos, full=len(rows) >= most)

    def _url(self, box: Box, limit: int) -> str:
        query = urlencode({"bbox": str(box), "limit": limit}, safe=",")
        return f"{self.base_url}/api/search?{query}"

    def _candidate(self, row: dict) -> Candidate | str:
        """The picture as a candidate, or why it is of no use."""
        properties = json_dict(row.get("properties"))
        ready = properties.get("geovisio:status", "ready") == "ready"
        if not ready or properties.get("geovisio:visibility", "anyone") != "anyone":
            return "not_public"
        licence = licence_of(str(properties.get("license") or ""))
        if licence is None or licence.family not in self.spec.licences:
            return "licence_not_wanted"
        position = geojson_point(row.get("geometry"))
        if position is None:
            return "without_position"
        picture = self._picture(row)
        if not picture:
            return "without_picture"
        providers = _dicts(row.get("providers"))
        producing = [each for each in providers if "producer" in (each.get("roles") or [])]
        producer = next(iter(producing or providers), {})
        licensed = [each for each in _dicts(row.get("links")) if each.get("rel") == "license"]
        owner = str(producer.get("id") or "")
        name = str(producer.get("name") or properties.get("geovisio:producer") or "")
        return Candidate(
            str(row["id"]),
            "panoramax",
            *position,
            owner=owner or (f"{name}@{urlsplit(picture).netloc}" if name else ""),
            url=picture,
            taken_at=str(properties.get("datetime") or ""),
            heading=known_heading(properties.get("view:azimuth")),
            licence=licence.name,
            page_url=f"{self.base_url}/#focus=pic&pic={row['id']}",
            author=name,
            licence_url=_first_link(licensed) or licence.url,
            sequence=str(row.get("collection") or ""),
            field_of_view=_field_of_view(properties),
        )

    def _picture(self, row: dict) -> str:
        """The address of the picture in the wanted quality, or else in the other one."""
        assets = json_dict(row.get("assets"))
        best_first = (self.settings.quality, *QUALITIES)
        return _first_link(json_dict(assets.get(quality)) for quality in best_first)


def _judge(answer: Answer) -> Verdict:
    no_list = not isinstance(answer.json_object.get("features"), list)
    return Verdict.RETRY if answer.status == 200 and no_list else by_status(answer)


def _first_link(rows: Iterable[dict]) -> str:
    hrefs = (row.get("href") for row in rows)
    usable = ("http://", "https://")
    return next((each for each in hrefs if isinstance(each, str) and each.startswith(usable)), "")


def _dicts(value: object) -> list[dict]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _field_of_view(properties: dict) -> float | None:
    """Degrees; instances differ in whether they say it, and where."""
    inside = json_dict(properties.get("pers:interior_orientation"))
    angle = as_number(inside.get("field_of_view"))
    return None if math.isnan(angle) else angle


def crawl_rate(settings: Settings) -> CrawlRate:
    """How fast Panoramax is asked for pictures."""
    return CrawlRate(4, 5.0, kilobytes=1500 if settings.quality == "hd" else 300)


SOURCE = open_service(
    Settings,
    lambda context: Panoramax(context.search, context.settings, **context.hosts),
    crawl_rate,
)
