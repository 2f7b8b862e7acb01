"""Street pictures from Mapillary, for which a token is needed that costs nothing.

The API lists the pictures in a box; their addresses are signed and soon expire, so each is asked
for just before it is fetched, and the token never goes to the host that has the pictures. All are
under CC BY-SA 4.0.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Literal, cast
from urllib.parse import urlencode

from nogps.acquire.area import Box, geojson_point
from nogps.acquire.area_search import open_service
from nogps.acquire.candidate import Candidate, Fetched, Status, known_heading, moment_of
from nogps.acquire.http import Answer, Polite, Verdict, by_status, json_dict
from nogps.acquire.pictures import fetch_picture
from nogps.acquire.service import Page, Refused, SearchSpec
from nogps.acquire.source import Context, CrawlRate
from nogps.base.errors import InputError
from nogps.base.settings import Section
from nogps.rights.licences import Licence, licence_of


class Settings(Section):
    """What the source `mapillary` takes."""

    positions: Literal["computed", "original"]
    """computed: corrected by what neighbouring photos show; original: as recorded."""
    width: Literal[256, 1024, 2048]
    """Pixels that a photo is wide; panoramas have 2048."""


LICENCE = cast(Licence, licence_of("CC BY-SA 4.0"))
FIELDS = "id,captured_at,geometry,computed_geometry,compass_angle,computed_compass_angle"
FIELDS += ",sequence,is_pano,creator"
WIDTHS = (256, 1024, 2048)
PANORAMA_WIDTH = 2048  # pixels, also where other pictures are asked for smaller
BAD_TOKEN = 190
UNKNOWN_ID = 100
# Codes of errors that pass, beside those that say so: of the platform, and of a limit reached.
PASSING = (1, 2, 4, 17, 32, 613)
EXPIRED = (403, 404, 410)  # what the picture host says of an address whose time is over
GONE = (404, 410)  # ... and of one that is fresh, whose picture is no more


@dataclass
class Mapillary:
    """Pictures that Mapillary lists; a `service.Service`."""

    token: str = field(repr=False)
    spec: SearchSpec
    settings: Settings
    base_url: str = "https://graph.mapillary.com"
    most_listed: int = 2000
    page_base: str = "https://www.mapillary.com"

    name = "Mapillary"
    most_square_degrees = 0.0099  # 0.01 and more are refused
    coarse_levels: tuple[int, ...] = ()

    def __post_init__(self):
        if not self.token:
            raise InputError(
                "Mapillary needs a token, which is free; set MAPILLARY_TOKEN to that of an "
                "application from https://www.mapillary.com/dashboard/developers"
            )
        if LICENCE.family not in self.spec.licences:
            raise InputError(
                f"sampling.licences: Mapillary's pictures are under {LICENCE.name}; add "
                f"{LICENCE.family} or choose another source"
            )

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The picture whose address is found at a candidate's url."""
        for gone in (EXPIRED, GONE):
            reply = await self._get(url, http)
            best_first = url.partition("fields=")[2].split(",")
            addresses = [reply[each] for each in best_first if isinstance(reply.get(each), str)]
            if not addresses:
                return Fetched(Status.GONE)
            fetched = await fetch_picture(addresses[0], http, gone=gone)
            if fetched.status is not Status.GONE:
                break
        return fetched

    def key(self, box: Box) -> list:
        """What tells this question from others."""
        return [self._url(box, self.most_listed), self.settings.positions, self.settings.width]

    async def ask(self, box: Box, http: Polite, most: int) -> Page:
        """The pictures in a box."""
        reply = await self._get(self._url(box, most), http)
        rows = [row for row in reply["data"] if isinstance(row, dict) and row.get("id")]
        photos = {str(row["id"]): self._candidate(row) for row in rows}
        return Page(photos, full=len(rows) >= most)

    def _url(self, box: Box, most: int) -> str:
        query = {"bbox": str(box), "fields": FIELDS, "limit": most}
        limits = self.spec.limits
        if limits.taken_from:
            query["start_captured_at"] = f"{limits.taken_from}T00:00:00Z"
        if limits.taken_to:
            query["end_captured_at"] = f"{limits.taken_to}T23:59:59Z"
        return f"{self.base_url}/images?{urlencode(query, safe=',:')}"

    async def _get(self, url: str, http: Polite) -> dict:
        """The API's answer, {} for an unknown id; the token is a header: no address holds it."""
        headers = {"Authorization": f"OAuth {self.token}"}
        listing = "/images?" in url
        answer = await http.get(url, judge=partial(_judge, listing=listing), headers=headers)
        error = json_dict(answer.json_object.get("error"))
        code = error.get("code")
        if code == BAD_TOKEN or (answer.status in (401, 403) and not error):
            raise InputError(
                "Mapillary does not take the token; set MAPILLARY_TOKEN to that of an application "
                "from https://www.mapillary.com/dashboard/developers"
            )
        no_such_id = code == UNKNOWN_ID and "field" not in str(error.get("message"))
        if answer.status == 404 or (no_such_id and not listing):
            return {"data": []} if listing else {}
        if error or answer.status != 200:
            why = f"code {code}: {error.get('message')}" if error else f"HTTP {answer.status}"
            raise Refused(f"Mapillary refuses to answer ({' '.join(why.split())[:200]})")
        return answer.json_object

    def _candidate(self, row: dict) -> Candidate | str:
        """The picture as a candidate, or why it is of no use."""
        computed = self.settings.positions == "computed"
        position = geojson_point(row.get("computed_geometry" if computed else "geometry"))
        if position is None:
            return "without_position"
        creator = json_dict(row.get("creator"))
        heading = known_heading(row.get("computed_compass_angle"))
        if heading is None:
            heading = known_heading(row.get("compass_angle"))
        name = str(creator.get("username") or "")
        around = row.get("is_pano") is True
        wanted = PANORAMA_WIDTH if around else self.settings.width
        best_first = sorted(WIDTHS, key=lambda width: (abs(width - wanted), width))
        thumbs = ",".join(f"thumb_{width}_url" for width in best_first)
        return Candidate(
            str(row["id"]),
            "mapillary",
            *position,
            owner=str(creator.get("id") or name),
            url=f"{self.base_url}/{row['id']}?fields={thumbs}",
            taken_at=moment_of(row.get("captured_at")),
            heading=heading,
            licence=LICENCE.name,
            page_url=f"{self.page_base}/app/?pKey={row['id']}",
            author=name,
            licence_url=LICENCE.url,
            sequence=str(row.get("sequence") or ""),
            field_of_view=360.0 if around else None,
        )


def _judge(answer: Answer, listing: bool) -> Verdict:
    """Mapillary says by whatever status that it cannot answer for now, or never will."""
    error = json_dict(answer.json_object.get("error"))
    if error.get("code") in (BAD_TOKEN, UNKNOWN_ID):
        return Verdict.OK
    if error.get("is_transient") is True or error.get("code") in PASSING:
        return Verdict.BUSY
    if answer.status == 200 and not error:
        reply = answer.json_object
        complete = isinstance(reply.get("data"), list) if listing else bool(reply)
        return Verdict.OK if complete else Verdict.RETRY
    return by_status(answer)


def crawl_rate(settings: Settings) -> CrawlRate:
    """How fast Mapillary is asked for pictures."""
    return CrawlRate(connections=8, per_second=20, kilobytes=150 * (settings.width / 1024) ** 2)


def _service(context: Context) -> Mapillary:
    token = context.environment["MAPILLARY_TOKEN"]
    return Mapillary(token, context.search, context.settings, **context.hosts)


SOURCE = open_service(Settings, _service, crawl_rate, environment=("MAPILLARY_TOKEN",))
