"""Services that list photos by area: what they are asked, and asking them nothing twice."""

from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from nogps.acquire.answers import AnswerCache
from nogps.acquire.area import Box
from nogps.acquire.candidate import Candidate, Fetched
from nogps.acquire.exclude import Excluded
from nogps.acquire.http import HostDown, Polite, Unavailable
from nogps.acquire.limits import Limits
from nogps.base.errors import InputError

SMALLEST = 1e-7  # square degrees, about 1,000 square metres: a full box of this size stays so
REFUSALS = 30  # in a row that end a search


class Refused(Unavailable):
    """The service answers a question by an error that waiting does not cure; the text says it."""


@dataclass(frozen=True)
class SearchSpec:
    """What a search looks for, and how long."""

    limits: Limits
    licences: frozenset[str]  # families of nogps.rights.licences
    places: str = "population"  # how cells are sampled: population, land or weights
    photos: int = 0  # at most; 0: all
    calls: int = 20_000  # at most
    weights: dict[str, float] = field(default_factory=dict)  # of regions, by S2 tokens of one level
    seed: int = 0
    excluded: Excluded = field(default_factory=Excluded)


@dataclass(frozen=True)
class Page:
    """What a service lists for a box."""

    photos: dict[str, Candidate | str]  # by id; a text is the reason why a photo is of no use
    full: bool = False  # whether there is more in the box than is listed
    calls: int = 1  # that it took


_PAGES = TypeAdapter(Page)


class Service(Protocol):
    """A host that lists photos by area, and what fetches them."""

    name: str  # as people know it
    spec: SearchSpec
    most_listed: int  # photos in one answer
    most_square_degrees: float  # of one box
    coarse_levels: tuple[int, ...]  # S2 levels of large cells that it can be asked about as a whole

    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The picture behind a candidate's url."""

    async def ask(self, box: Box, http: Polite, most: int) -> Page:
        """At most so many photos in a box.

        Raises:
            Unavailable: no answer came; the box will be asked about in parts.
            Refused: the same, and if it goes on, the search ends with what this says.
            InputError: nothing can be had before somebody mends what it says.
        """

    def key(self, box: Box) -> list:
        """What tells a question about this box from others, now and in later runs."""


class CachedService:
    """Asks a service about boxes; answers are kept, and not asked for again.

    Raises InputError where the service is down, or has refused many times in a row.
    """

    def __init__(self, service: Service, answers: AnswerCache):
        self.service = service
        self._answers = answers
        self._refusals = 0  # in a row
        self._reason = ""  # of the last one
        self._answered = False

    async def page(self, box: Box, http: Polite) -> Page:
        """The photos of a box, from this run or an earlier one; raises what Service.ask raises."""
        question = self.service.key(box)
        try:
            page = _PAGES.validate_python(self._answers.get(question))
        except ValidationError:  # none is kept, or one that another version kept
            page = await self._ask(box, http, self.service.most_listed)
            divided = page.full and box.square_degrees > SMALLEST  # and its parts will be kept
            self._answers.put(question, asdict(replace(page, photos={}) if divided else page))
        self._answered = True
        return page

    async def has_photos(self, box: Box, http: Polite) -> bool:
        """Whether there is any photo in a box; True where the service cannot say it."""
        question = ["holds", *self.service.key(box)]
        known = self._answers.get(question)
        if known is None:
            try:
                known = bool((await self._ask(box, http, 1)).photos)
            except Unavailable:
                return True  # too much to ask: it will be asked in parts
            self._answers.put(question, known)
        return known

    def check_answered(self) -> None:
        """Raise InputError if the service did nothing but refuse."""
        if self._reason and not self._answered:
            raise self._refused()

    async def _ask(self, box: Box, http: Polite, most: int) -> Page:
        try:
            page = await self.service.ask(box, http, most)
        except HostDown as error:
            raise InputError(
                f"{self.service.name} is down or refuses to answer; run this again later: what is "
                "answered is kept"
            ) from error
        except Refused as error:
            self._refusals, self._reason = self._refusals + 1, str(error)
            if self._refusals >= REFUSALS:
                raise self._refused() from error
            raise
        self._refusals = 0
        return page

    def _refused(self) -> InputError:
        return InputError(f"{self._reason}; run this again later: what is answered is kept")
