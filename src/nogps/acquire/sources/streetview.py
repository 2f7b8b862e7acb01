"""Photos from Google Street View, at addresses of OpenAddresses.

The metadata call (free) finds the panorama nearest to each address; each panorama then gives
photos in several directions, and each of those is a paid call. Google forbids keeping these
pictures; see TERMS.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode, urlsplit

import googlemaps.client
import googlemaps.convert
from pydantic import Field
from tqdm import tqdm

from nogps.acquire.answers import AnswerCache
from nogps.acquire.area import Region
from nogps.acquire.budget import Budget
from nogps.acquire.candidate import Candidate, Fetched, Status, known_position
from nogps.acquire.http import Answer, Polite, Unavailable, Verdict, by_status, whole_picture
from nogps.acquire.ledger import unfetched
from nogps.acquire.pictures import fetched_picture
from nogps.acquire.source import Context, Source, SourceType
from nogps.acquire.sources.openaddresses import draw_evenly, read_addresses
from nogps.base import coroutines
from nogps.base.errors import InputError
from nogps.base.settings import Count, CountOrZero, Section
from nogps.photos import images


class Settings(Section):
    """What the source `streetview` asks for, and what that costs."""

    addresses: list[Path]
    """OpenAddresses files, or folders of them."""
    locations: Count
    """Addresses to draw; each gives at most one panorama."""
    region_km: Annotated[float, Field(ge=0)]
    """Width in km of the regions that addresses are evenly drawn over; 0: evenly over addresses."""
    headings: Annotated[int, Field(ge=1, le=36)]
    """Photos of each panorama, evenly around."""
    side: Annotated[int, Field(ge=64, le=640)]
    """Pixels of both sides."""
    fov: Annotated[int, Field(ge=10, le=120)]
    """Degrees that a photo is wide."""
    pitch: Annotated[int, Field(ge=-90, le=90)]
    """Degrees that a photo looks above the horizon."""
    radius_m: Count
    """How far in metres from its address a panorama may be."""
    terms_accepted: bool
    """Whether you have read Google's terms, which forbid keeping these pictures."""
    usd_per_1000: Annotated[float, Field(ge=0)]
    """What Google asks for 1,000 photos, in dollars."""
    free_a_month: CountOrZero
    """Photos a month that your account has free."""


TERMS = (
    "Google's terms forbid to pre-fetch, index, store or cache Street View pictures, except for "
    "limited amounts, temporarily and securely, within the service that shows them: a stored "
    "training set is at your own legal risk and must not be shared; read "
    "https://cloud.google.com/maps-platform/terms and, if you go on, set "
    "streetview.terms_accepted: true"
)
API = "/maps/api/streetview"
CALLS_A_SECOND = 30_000 / 60  # that Google allows
OFFICIAL_ID = re.compile(r"[\w-]{22}")  # people's own panoramas have longer ids
UNKNOWN = "UNKNOWN_ERROR"
PASSING = ("OVER_QUERY_LIMIT", UNKNOWN)
REFUSAL = re.compile(rb"quota|limit|exceed|sign|key|denied|billing", re.IGNORECASE)
MOST_WITHOUT = 25  # answers in a row without a photo: something else is wrong
NO_PANORAMA = ("ZERO_RESULTS", "NOT_FOUND")


@dataclass
class StreetViewCounts:
    """What a search asked and saw. drawn = panoramas + everything left out."""

    drawn: int = 0  # addresses
    calls: int = 0  # for metadata, which are free; in this run or an earlier one
    without_panorama: int = 0  # left out: none near the address
    unanswered: int = 0  # left out this time: Google did not know
    repeated: int = 0  # left out: the panorama of another address
    unofficial: int = 0  # left out: not Google's own
    without_position: int = 0  # left out: the panorama's position is missing or impossible
    panoramas: int = 0
    candidates: int = 0


@dataclass
class StreetView(Source):
    """Street View photos near addresses."""

    key: str = field(repr=False)
    secret: str = field(repr=False)  # signs URLs; "" where the key needs none
    settings: Settings
    budget: Budget
    http: Callable[..., Polite]  # makes the client for metadata
    answers: AnswerCache  # about panoramas
    region: Region = field(default_factory=Region)  # that addresses are drawn from
    seed: int = 0
    base_url: str = "https://maps.googleapis.com"
    page_base: str = "https://www.google.com"
    counts: StreetViewCounts = field(default_factory=StreetViewCounts, init=False)

    def __post_init__(self):
        self._without = 0  # answers in a row that brought no photo
        if not self.key:
            raise InputError(
                "Street View needs a key; set GOOGLE_MAPS_API_KEY to one that has the Street View "
                "Static API, from https://console.cloud.google.com/google/maps-apis/credentials"
            )
        try:
            self._signed(self.base_url)
        except ValueError:
            raise InputError(
                "GOOGLE_MAPS_SIGNING_SECRET is not one; copy it again, it ends in ="
            ) from None
        if not self.settings.addresses:
            raise InputError(
                "`streetview.addresses` names no file; give OpenAddresses files, from "
                "https://batch.openaddresses.io/data"
            )

    def candidates(self) -> Iterator[Candidate]:
        """Photos of every official panorama that is nearest to a drawn address."""
        self.counts = StreetViewCounts()
        settings, seen = self.settings, set[str]()
        addresses, counts = read_addresses(settings.addresses)
        inside = self.region.contains(*addresses.T)
        self._address_counts = counts | {"addresses_outside_region": int((~inside).sum())}
        drawn = draw_evenly(addresses[inside], settings.locations, self.seed, settings.region_km)
        for answer in coroutines.run(self._nearest(drawn.tolist())):
            position = self._usable_position(answer, seen)
            if position:
                seen.add(answer["pano_id"])
                yield from self._photos(answer, position)

    def counted(self) -> dict[str, int]:
        """The counts of the last search, and of what its addresses were."""
        return self._address_counts | super().counted()

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The picture behind a candidate's url: a paid call, and so is each new try."""
        if not self.settings.terms_accepted:
            raise InputError(TERMS)
        answer = await http.get(url, judge=whole_picture(), prepare=self._paid_and_signed)
        if answer.status in (401, 403):
            raise InputError(self._refused(answer))
        if answer.status != 200:
            return fetched_picture(answer)
        fetched = await asyncio.to_thread(_picture, answer)
        self._without = 0 if fetched.status is Status.OK else self._without + 1
        if self._without >= MOST_WITHOUT:
            raise InputError(self._refused(answer))
        return fetched

    def forecast(self, urls: list[str], scratch: Path) -> str:
        """What the calls for photos that are not there yet will cost."""
        missing, budget = len(unfetched(urls, scratch)), self.budget
        estimate, left = budget.estimate(missing), budget.budget_usd - budget.spent_usd
        words = (
            f"{missing:,} of {len(urls):,} photos to fetch: about {estimate:.2f} dollars at "
            f"{self.settings.usd_per_1000:g} a thousand; of budget_usd {budget.budget_usd:g}, "
            f"{budget.spent_usd:.2f} are spent"
        )
        if estimate > left > 0:
            words += (
                f"\nthat is more than is left: it will stop after {left:.2f} dollars, before the "
                "set is whole; fewer streetview.locations would do with it"
            )
        return words

    def paid(self, urls: Iterable[str]) -> tuple[int, float]:
        """The number of calls ever paid for these URLs, and their cost in US dollars."""
        return self.budget.spent_on(urls)

    # --- panoramas ---

    async def _nearest(self, positions: list[list[float]]) -> list[dict]:
        """What is known about the panorama nearest to each position."""
        answers: list[dict] = []
        with tqdm(total=len(positions), desc="sample") as bar:
            async with self.http(per_second=CALLS_A_SECOND) as http:
                for start in range(0, len(positions), 1000):
                    some = positions[start : start + 1000]
                    answers += await asyncio.gather(*(self._ask(x, y, http, bar) for x, y in some))
        self.counts.calls = self.counts.drawn = len(answers)
        return answers

    async def _ask(self, latitude: float, longitude: float, http: Polite, bar: tqdm) -> dict:
        query = {
            "location": googlemaps.convert.latlng((latitude, longitude)),
            "radius": self.settings.radius_m,
            "source": "outdoor",  # drops indoor pictures and spheres of unknown kind
        }
        url = f"{self.base_url}{API}/metadata?{urlencode(query, safe=',')}"
        answer = self.answers.get(url)
        if answer is None:
            answer = await self._metadata(url, http)
            if answer["status"] != UNKNOWN:
                self.answers.put(url, answer)
        bar.update()
        return answer

    async def _metadata(self, url: str, http: Polite) -> dict:
        last = ""

        def judge(answer: Answer) -> Verdict:
            nonlocal last
            status = answer.json_object.get("status")
            last = str(status or f"HTTP {answer.status}")
            verdict = by_status(answer)
            passes = last in PASSING or (answer.status == 200 and not isinstance(status, str))
            return Verdict.RETRY if passes and verdict is Verdict.OK else verdict

        try:
            answer = await http.get(url, judge=judge, prepare=self._signed)
        except Unavailable:
            if last == UNKNOWN:
                return {"status": UNKNOWN}
            trouble = f"does not answer as it should ({last})" if last else "cannot be reached"
            raise InputError(
                f"{urlsplit(url).netloc} {trouble}; run this again later: what is answered is kept"
            ) from None
        if answer.json_object.get("status") not in ("OK", *NO_PANORAMA):
            raise InputError(self._refused(answer))
        return answer.json_object

    def _refused(self, answer: Answer) -> str:
        reply = answer.json_object
        why = str(reply.get("error_message") or reply.get("status") or "")
        if not reply and answer.media_type.startswith("text/"):
            why = re.sub(r"<[^>]*>", " ", answer.body[:500].decode(errors="replace"))[:200]
        why = why.strip() or f"HTTP {answer.status}, {answer.media_type or 'no'} content"
        for hidden in filter(None, (self.key, self.secret)):
            why = why.replace(hidden, "***")
        return (
            f"Google refuses the call ({' '.join(why.split())}); check that GOOGLE_MAPS_API_KEY "
            "has the Street View Static API and billing, and GOOGLE_MAPS_SIGNING_SECRET fits it"
        )

    def _usable_position(self, answer: dict, seen: set[str]) -> tuple[float, float] | None:
        """The position of a panorama; None, and counted, where it gives no photos."""
        location = answer.get("location")
        location = location if isinstance(location, dict) else {}
        position = known_position(location.get("lat"), location.get("lng"))
        by_google = "google" in str(answer.get("copyright") or "google").lower()
        if answer["status"] == UNKNOWN:
            self.counts.unanswered += 1
        elif answer["status"] != "OK" or not isinstance(answer.get("pano_id"), str):
            self.counts.without_panorama += 1
        elif answer["pano_id"] in seen:
            self.counts.repeated += 1
        elif not by_google or not OFFICIAL_ID.fullmatch(answer["pano_id"]):
            self.counts.unofficial += 1
        elif position is None:
            self.counts.without_position += 1
        else:
            self.counts.panoramas += 1
            return position
        return None

    def _photos(self, answer: dict, position: tuple[float, float]) -> Iterator[Candidate]:
        pano, settings = answer["pano_id"], self.settings
        for number in range(settings.headings):
            heading = round(360 * number / settings.headings)
            query = {
                "pano": pano,
                "size": f"{settings.side}x{settings.side}",
                "heading": heading,
                "fov": settings.fov,
                "pitch": settings.pitch,
                "return_error_code": "true",  # else there is a picture that says there is none
            }
            self.counts.candidates += 1
            yield Candidate(
                f"{pano}_{heading:03d}",
                "streetview",
                *position,
                owner=pano,  # so that the directions of a panorama stay together
                url=f"{self.base_url}{API}?{urlencode(query)}",
                taken_at=str(answer.get("date") or ""),
                heading=float(heading),
                licence=str(answer.get("copyright") or "© Google"),
                page_url=f"{self.page_base}/maps/@?api=1&map_action=pano&pano={pano}"
                f"&heading={heading}",
            )

    def _paid_and_signed(self, url: str) -> str:
        self.budget.charge(url)
        return self._signed(url)

    def _signed(self, url: str) -> str:
        """The URL with key and signature, which never leave this machine but to Google."""
        url = f"{url}&{urlencode({'key': self.key})}"
        if not self.secret:
            return url
        parts = urlsplit(url)
        signature = googlemaps.client.sign_hmac(self.secret, f"{parts.path}?{parts.query}")
        return f"{url}&signature={signature}"


def _picture(answer: Answer) -> Fetched:
    """What an image call brought; Google also answers 200 with a text, or a picture of one."""
    if REFUSAL.search(answer.body[:500]) and answer.media_type.startswith("text/"):
        return Fetched(Status.FAILED)
    try:
        flat = images.is_flat(answer.body)
    except images.BadImage:
        return Fetched(Status.NOT_AN_IMAGE)
    return Fetched(Status.PLACEHOLDER) if flat else Fetched(Status.OK, answer.body)


def _open(context: Context) -> StreetView:
    settings, hosts = context.settings, dict(context.hosts)
    addresses = [*map(Path, hosts.pop("addresses", []))]
    if not settings.addresses:
        settings = settings.model_copy(update={"addresses": addresses})
    price = (settings.usd_per_1000 / 1000, settings.free_a_month)
    return StreetView(
        context.environment["GOOGLE_MAPS_API_KEY"],
        context.environment["GOOGLE_MAPS_SIGNING_SECRET"],
        settings,
        Budget(context.scratch / "paid.sqlite", context.budget_usd, *price),
        context.http,
        context.answers(),
        region=context.search.limits.region,
        seed=context.search.seed,
        **hosts,
    )


SOURCE = SourceType(
    Settings,
    _open,
    environment=("GOOGLE_MAPS_API_KEY", "GOOGLE_MAPS_SIGNING_SECRET"),
    on_planet=True,
    shareable=False,
)
