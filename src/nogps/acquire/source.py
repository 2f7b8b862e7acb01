"""What a source of photos is: what its module gives (SourceType) and what it gets (Context)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nogps.acquire.answers import AnswerCache
from nogps.acquire.candidate import Candidate, Fetched
from nogps.acquire.http import Polite
from nogps.acquire.service import SearchSpec
from nogps.base.settings import Section


class Source(ABC):
    """Photos that can be listed, and fetched one by one."""

    counts: Any  # a dataclass of the numbers that `counted` returns

    @abstractmethod
    def candidates(self) -> Iterable[Candidate]:
        """Every photo that matches, in an order that does not vary."""

    def counted(self) -> dict[str, int]:
        """What the last `candidates()` asked, saw and left out, as numbers worth keeping."""
        return asdict(self.counts)

    @abstractmethod
    async def fetch(self, url: str, http: Polite) -> Fetched:
        """The original bytes behind a candidate's url, through `http` where they lie elsewhere.

        Unavailable: they cannot be had this time. InputError: nothing more can be had before
        somebody mends what it says.
        """

    def forecast(self, urls: list[str], scratch: Path) -> str:
        """A message for before the download of these URLs: how much it is, what it costs.

        `scratch` is the folder of what is fetched already; "" is no message.
        """
        return ""

    def paid(self, urls: Iterable[str]) -> tuple[int, float]:
        """The number of calls ever paid for these URLs, and their cost in US dollars."""
        return 0, 0.0


@dataclass(frozen=True)
class CrawlRate:
    """How fast a service wants to be asked at most, and how large its pictures are."""

    connections: int  # at a time, to each host
    per_second: float  # requests, to each host
    kilobytes: float  # of a picture, roughly


@dataclass(frozen=True)
class Context:
    """What a source is opened with."""

    settings: Any  # its own section of params.yaml, a SourceType.settings
    search: SearchSpec  # which photos are wanted
    scratch: Path  # a folder of its own that outlives the process
    http: Callable[..., Polite]  # makes a client that keeps to its crawl rate
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # "": not set
    world: str = "real"  # real, simulated, or http://host:port that stands in for all hosts
    hosts: Mapping[str, Any] = field(default_factory=dict)  # arguments that name the planet's hosts
    budget_usd: float = 0.0  # most that paid calls may ever cost

    @property
    def simulated(self) -> bool:
        """Whether the hosts are on this machine, so that nobody has to be spared."""
        return self.world == "simulated"

    def answers(self) -> AnswerCache:
        """The answers to earlier questions, which are not asked again."""
        return AnswerCache(self.scratch / "answers.sqlite")


@dataclass(frozen=True)
class SourceType:
    """What is known of a source before it is opened; its module's SOURCE."""

    settings: type[Section]  # its section of params.yaml, which has its name
    open: Callable[[Context], Source]
    environment: tuple[str, ...] = ()  # variables that it reads, such as its key
    local: bool = False  # its photos lie on this machine, whatever the world
    on_planet: bool = False  # the simulated planet speaks its protocol, and draws its photos
    by_area: bool = False  # its search keeps to the list of excluded photos and to all limits
    own_limits: Mapping[str, float] = field(default_factory=dict)  # for null in `sampling`
    crawl_rate: Callable[[Any], CrawlRate] | None = None  # by its settings; None: any
    shareable: bool = True  # its photos may be pushed to a remote that others read
