"""The source of photos that the parameters name, for the stages sample and download."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import aiohttp
from dotenv import load_dotenv
from tqdm import tqdm

from nogps import __version__
from nogps.acquire.http import Polite
from nogps.acquire.limits import Limits
from nogps.acquire.service import SearchSpec
from nogps.acquire.source import Context, Source, SourceType
from nogps.acquire.sources import source_type
from nogps.base.errors import InputError
from nogps.base.files import exclusive_lock
from nogps.pipeline.params import Params
from nogps.pipeline.paths import FETCHED, HOME
from nogps.pipeline.planet_process import planet_version, running_planet
from nogps.rights.licences import FREE

NOWHERE = "nowhere"  # the remote that is no other place
ANY_PHOTOS = SearchSpec(Limits(), frozenset(FREE))


@contextmanager
def open_source(
    params: Params, search: SearchSpec = ANY_PHOTOS
) -> Iterator[tuple[Source, Callable[..., Polite]]]:
    """The source that the parameters name, and what makes the HTTP client to fetch with.

    `search` says which photos are listed; what is fetched does not depend on it. In the simulated
    world the planet runs while the source is open. Others who open the same source wait.
    """
    kind = source_type(params.source)
    if not kind.shareable and params.push_to != NOWHERE:
        raise InputError(
            f"push_to: pictures of {params.source} must not be shared; set push_to: nowhere, so "
            "that dvc push leaves what this run writes on this machine"
        )
    load_dotenv(HOME / ".env")
    context = Context(
        getattr(params, params.source),
        search,
        scratch(params),
        _http(params, kind),
        {name: os.environ.get(name, "").strip() for name in kind.environment},
        params.world,
        budget_usd=params.budget_usd,
    )
    with exclusive_lock(context.scratch), ExitStack() as stack:
        if not kind.local and context.simulated:
            context = stack.enter_context(_on_planet(context, params, kind))
        yield kind.open(context), context.http


@contextmanager
def _on_planet(context: Context, params: Params, kind: SourceType) -> Iterator[Context]:
    if not kind.on_planet:
        raise InputError(
            f"source: {params.source} is not to be had in the simulated world; set world: real"
        )
    takes_addresses = "addresses" in kind.settings.model_fields  # which the planet makes up
    with running_planet(
        params.seed,
        params.simulated.photos,
        faults=params.simulated.faults,
        log=context.scratch / "planet.jsonl",
        addresses=context.scratch / "openaddresses" if takes_addresses else None,
    ) as planet:
        yield replace(
            context,
            http=partial(context.http, base=planet.base, unit_s=0.05, timeout_s=5.0),
            environment={name: planet.secrets.get(name, "") for name in kind.environment},
            hosts=planet.services[params.source],
        )


def _http(params: Params, kind: SourceType) -> Callable[..., Polite]:
    """What makes the HTTP client, which is no faster than the source wants it."""
    # Wikimedia turns away programs that do not say how somebody can be reached.
    contact = os.environ.get("NOGPS_CONTACT", "").strip() or "no contact given"
    agent = f"nogps/{__version__} ({contact}) aiohttp/{aiohttp.__version__}"
    most = params.download.connections
    http = partial(Polite, connections=most, tell=tqdm.write, user_agent=agent)
    if params.world.startswith("http") and not kind.local:
        http = partial(http, base=params.world)
    if kind.crawl_rate and params.world != "simulated":
        rate = kind.crawl_rate(getattr(params, params.source))
        most = min(rate.connections, most)
        http = partial(http, connections=most, per_second=rate.per_second)
    return http


def scratch(params: Params) -> Path:
    """The folder of what has been asked, fetched and paid from this source.

    Each source has a folder of its own, and so has each simulated planet: addresses there stay the
    same when its pictures change.
    """
    if source_type(params.source).local:
        return FETCHED / params.source
    world = re.sub("[^a-z0-9]+", "-", params.world)
    if params.world == "simulated":
        world += f"-{planet_version()}-{params.seed}-{params.simulated.photos}"
    return FETCHED / f"{params.source}-{world}"
