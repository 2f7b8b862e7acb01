"""What free services have in common that list photos by area and have millions of them."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from nogps.acquire.area_search import Search
from nogps.acquire.service import Service
from nogps.acquire.source import Context, CrawlRate, Source, SourceType
from nogps.base.settings import Section

MOST = {"photos": 10_000, "per_cell": 20, "per_owner": 500, "per_sequence": 5, "spacing_m": 25.0}


def open_service(
    settings: type[Section],
    service: Callable[[Context], Service],
    crawl_rate: Callable[[Any], CrawlRate],
    environment: tuple[str, ...] = (),
) -> SourceType:
    """The SourceType of a service that the simulated planet speaks, too."""

    @contextmanager
    def opened(context: Context) -> Iterator[Source]:
        rate = crawl_rate(context.settings)
        if context.simulated:
            rate = replace(rate, per_second=math.inf)
        yield Search(service(context), context.http, context.answers(), rate)

    return SourceType(
        settings,
        opened,
        environment,
        on_planet=True,
        by_area=True,
        own_limits=MOST,
        crawl_rate=crawl_rate,
    )
