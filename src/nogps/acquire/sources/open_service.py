"""What free services have in common that list photos by area and have millions of them."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nogps.acquire.area_search import Search
from nogps.acquire.ledger import unfetched
from nogps.acquire.service import Service
from nogps.acquire.source import Context, CrawlRate, Source, SourceType
from nogps.base.settings import Section

OWN_LIMITS = {"photos": 10_000, "per_cell": 20, "per_owner": 500, "per_sequence": 5}
OWN_LIMITS["spacing_m"] = 25


class OpenService(Search, Source):
    """The photos of a service, searched by area, with a forecast of the download."""

    def __init__(self, service: Service, rate: CrawlRate, context: Context):
        pause_s = 0.0 if context.simulated else 1 / rate.per_second
        super().__init__(service, context.http, context.answers(), pause_s)
        self.rate = rate
        self.simulated = context.simulated

    def forecast(self, urls: list[str], scratch: Path) -> str:
        """How much there is to fetch, and how long that takes."""
        missing = unfetched(urls, scratch)
        words = f"{len(missing):,} of {len(urls):,} pictures to fetch"
        if missing:
            hosts = Counter(urlsplit(url).netloc for url in missing)
            megabytes = len(missing) * self.rate.kilobytes / 1000
            size = f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
            words += f" from {len(hosts)} hosts: roughly {size}"
            if not self.simulated:
                minutes = max(1, round(max(hosts.values()) / self.rate.per_second / 60))
                words += f", {minutes} minutes at least, so as not to be a burden"
        return f"{words}; 0 dollars"


def open_service(
    settings: type[Section],
    service: Callable[[Context], Service],
    crawl_rate: Callable[[Any], CrawlRate],
    environment: tuple[str, ...] = (),
) -> SourceType:
    """The SourceType of a service that the simulated planet speaks, too."""

    @contextmanager
    def opened(context: Context) -> Iterator[Source]:
        yield OpenService(service(context), crawl_rate(context.settings), context)

    return SourceType(
        settings,
        opened,
        environment,
        on_planet=True,
        by_area=True,
        own_limits=OWN_LIMITS,
        crawl_rate=crawl_rate,
    )
