"""The source of photos that the parameters name, for the stages sample and download."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import aiohttp
from dotenv import load_dotenv
from tqdm import tqdm

from nogps.acquire.answers import AnswerCache
from nogps.acquire.area import Region
from nogps.acquire.area_search import Search, SearchSpec
from nogps.acquire.budget import Budget, Price
from nogps.acquire.candidate import Source
from nogps.acquire.exclude import Excluded
from nogps.acquire.http import Polite
from nogps.acquire.limits import Limits, read_weights
from nogps.acquire.sources.commons import Commons
from nogps.acquire.sources.flickr import CALLS_AN_HOUR, Flickr
from nogps.acquire.sources.folder import Folder
from nogps.acquire.sources.mapillary import Mapillary
from nogps.acquire.sources.panoramax import Panoramax
from nogps.acquire.sources.streetview import StreetView
from nogps.base.errors import InputError
from nogps.base.files import exclusive_lock
from nogps.pipeline.params import Params
from nogps.pipeline.paths import FETCHED, HOME, REGIONS
from nogps.pipeline.planet_process import planet_version, running_planet

SECRETS = (
    "FLICKR_API_KEY",
    "FLICKR_API_SECRET",
    "GOOGLE_MAPS_API_KEY",
    "GOOGLE_MAPS_SIGNING_SECRET",
    "MAPILLARY_TOKEN",
)


@dataclass(frozen=True)
class CrawlRate:
    """How an open source is asked, and what comes."""

    connections: int  # at a time, to each host
    per_second: float  # requests, to each host
    kilobytes: float  # of a picture, roughly


CRAWL_RATES = {  # pictures in their usual size
    "panoramax": CrawlRate(4, 5.0, 300),
    "commons": CrawlRate(2, 8.0, 200),
    "mapillary": CrawlRate(8, 20.0, 150),
}
WIKIMEDIA_KILOBYTES = 3000  # a second; Wikimedia wants 25 Mbit/s at most, two pictures at a time
# What limits are where params.yaml says null: these sources have millions of photos.
OPEN_LIMITS = {
    "photos": 10_000,
    "per_cell": 20,
    "per_owner": 500,
    "per_sequence": 5,
    "spacing_m": 25.0,
}
NOWHERE = "nowhere"  # the remote that is no other place


@contextmanager
def open_source(params: Params) -> Iterator[tuple[Source, Callable[..., Polite]]]:
    """The source that the parameters name, and what makes the HTTP client to fetch with.

    In the simulated world, the planet runs while it is open.
    """
    load_dotenv(HOME / ".env")
    with exclusive_lock(scratch(params)), _open(params) as opened:
        yield opened


@contextmanager
def _open(params: Params) -> Iterator[tuple[Source, Callable[..., Polite]]]:
    http = partial(
        Polite,
        connections=params.download.connections,
        tell=tqdm.write,
        user_agent=user_agent(),
    )
    if params.source == "folder":
        yield Folder(params.folder.path), http
    elif params.world == "simulated":
        needs_addresses = params.source == "streetview" and not params.streetview.addresses
        with running_planet(
            params.seed,
            params.simulated.photos,
            faults=params.simulated.faults,
            log=scratch(params) / "planet.jsonl",
            addresses=scratch(params) / "openaddresses" if needs_addresses else None,
        ) as planet:
            http = partial(http, base=planet.base, unit_s=0.05, timeout_s=5.0)
            settings = planet.services[params.source]
            if params.source == "flickr":
                settings = settings | {"trust_env": False, "pause_s": 0}
            with _opened(params, http, planet.secrets, **settings) as it:
                yield it
    elif params.world == "real":
        if params.source == "commons" and not os.environ.get("NOGPS_CONTACT", "").strip():
            tqdm.write(
                "NOGPS_CONTACT is not set: Wikimedia may refuse those who do not say who asks"
            )
        with _opened(params, _polite(params, http), _environment()) as it:
            yield it
    else:
        settings = {}
        if params.source == "flickr":
            settings = {"rest_url": f"{params.world}/services/rest/", "trust_env": False}
            settings["pause_s"] = 3600 / CALLS_AN_HOUR
        polite = partial(_polite(params, http), base=params.world)
        with _opened(params, polite, _environment(), **settings) as it:
            yield it


def _environment() -> dict[str, str]:
    return {name: os.environ.get(name, "").strip() for name in SECRETS}


def user_agent() -> str:
    """Who asks: Wikimedia turns away programs that do not say how somebody can be reached."""
    contact = os.environ.get("NOGPS_CONTACT", "").strip() or "no contact given"
    return f"nogps/0.1 ({contact}) aiohttp/{aiohttp.__version__}"


def crawl_rate(params: Params) -> CrawlRate:
    """How the open source of the parameters is asked for pictures of the size that they say."""
    usual = CRAWL_RATES[params.source]
    if params.source == "panoramax":
        return replace(
            usual, kilobytes=usual.kilobytes * (5 if params.panoramax.size == "hd" else 1)
        )
    if params.source == "mapillary":
        return replace(usual, kilobytes=usual.kilobytes * (params.mapillary.width / 1024) ** 2)
    kilobytes = usual.kilobytes * (params.commons.width / 960) ** 2
    return replace(
        usual,
        per_second=min(usual.per_second, WIKIMEDIA_KILOBYTES / kilobytes),
        kilobytes=kilobytes,
    )


def _polite(params: Params, http: partial) -> partial:
    """The same client, no faster than an open source wants it."""
    if not is_open(params):
        return http
    how = crawl_rate(params)
    connections = min(how.connections, params.download.connections)
    return partial(http, connections=connections, per_second=how.per_second)


@contextmanager
def _opened(params: Params, http, secrets: dict[str, str], **here) -> Iterator[tuple]:
    if params.source == "flickr":
        key, secret = secrets["FLICKR_API_KEY"], secrets["FLICKR_API_SECRET"]
        settings = params.flickr.model_dump() | here
        boxes = limits(params).region.boxes
        if params.sampling.region != "world" and len(boxes) == 1:
            settings["box"] = boxes[0]
        yield Flickr(key, secret, finished=scratch(params) / "searched", **settings), http
        return
    if is_open(params):
        pause_s = 1 / http.keywords.get("per_second", float("inf"))
        service = _service(params, secrets["MAPILLARY_TOKEN"], here)
        yield Search(service, http, AnswerCache(scratch(params) / "searched"), pause_s), http
        return
    key, secret = secrets["GOOGLE_MAPS_API_KEY"], secrets["GOOGLE_MAPS_SIGNING_SECRET"]
    with purse(params) as paying:
        yield _streetview(params, key, secret, paying, http, **here), http


def _service(params: Params, token: str, here: dict) -> Panoramax | Commons | Mapillary:
    where = SearchSpec(
        limits(params),
        frozenset(params.sampling.licences),
        params.sampling.places,
        photos_wanted(params),
        params.sampling.calls,
        region_weights(params),
        params.seed,
        Excluded.read(params.exclude),
    )
    if params.source == "panoramax":
        return Panoramax(where, **params.panoramax.model_dump(), **here)
    if params.source == "commons":
        return Commons(where, **params.commons.model_dump(), **here)
    return Mapillary(token, where, **params.mapillary.model_dump(), **here)


def is_open(params: Params) -> bool:
    """Whether the source is one that is searched by area, within limits."""
    return params.source in CRAWL_RATES


def _limit(params: Params, name: str) -> float:
    """A limit of params.yaml, or where that says null the source's own."""
    value = getattr(params.sampling, name)
    if value is None:
        return OPEN_LIMITS[name] if is_open(params) else 0
    return value


def photos_wanted(params: Params) -> int:
    """How many photos are kept at most; 0: all."""
    return int(_limit(params, "photos"))


def limits(params: Params) -> Limits:
    """Which photos may be kept."""
    wanted = params.sampling
    if wanted.taken_from and wanted.taken_to and wanted.taken_from > wanted.taken_to:
        raise InputError(
            f"sampling.taken_from ({wanted.taken_from}) is after sampling.taken_to "
            f"({wanted.taken_to}); swap them"
        )
    return Limits(
        Region.read(wanted.region),
        str(wanted.taken_from or ""),
        str(wanted.taken_to or ""),
        wanted.cell_level,
        *(int(_limit(params, f"per_{name}")) for name in ("cell", "owner", "sequence")),
        spacing_m=_limit(params, "spacing_m"),
    )


def region_weights(params: Params) -> dict[str, float] | None:
    """The weights that sampling.weights names, if any."""
    wanted = params.sampling
    if is_open(params) and bool(wanted.weights) != (wanted.places == "weights"):
        raise InputError(
            "sampling.places and sampling.weights belong together: set places: weights and "
            "weights: to a copy of metrics/regions.csv, or neither"
        )
    if not wanted.weights:
        return None
    path = Path(wanted.weights)
    if path.resolve() == REGIONS.resolve():
        raise InputError(
            f"sampling.weights: {path} is written anew by each run; copy it and name the copy"
        )
    if not is_open(params) and not photos_wanted(params):
        raise InputError(
            "sampling.weights: without sampling.photos all candidates are kept and there is "
            "nothing to weigh; say how many to keep"
        )
    return read_weights(path)


def _streetview(params: Params, key, secret, paying: Budget, http, **changes) -> StreetView:
    if params.push_to != NOWHERE:
        raise InputError(
            "Street View pictures must not be shared: set push_to: nowhere, so that dvc push "
            "leaves what this run writes on this machine"
        )
    settings = params.streetview.model_dump(exclude={"usd_per_1000", "free_a_month"}) | changes
    return StreetView(
        key,
        secret,
        purse=paying,
        http=http,
        seed=params.seed,
        region=Region.read(params.sampling.region),
        answers=scratch(params) / "panoramas.jsonl",
        **settings,
    )


def purse(params: Params) -> closing:
    """The budget and the journal of paid calls; a context manager."""
    price = Price(params.streetview.usd_per_1000 / 1000, params.streetview.free_a_month)
    return closing(Budget(scratch(params) / "paid.csv", params.budget_usd, price))


def scratch(params: Params) -> Path:
    """Where is kept what has been asked, fetched and paid from this source.

    Each source has a folder of its own, and so has each simulated planet: addresses there stay the
    same when its pictures change.
    """
    if params.source == "folder":
        return FETCHED / "folder"
    if params.world == "simulated":
        planet = f"{planet_version()}-{params.seed}-{params.simulated.photos}"
        return FETCHED / f"{params.source}-simulated-{planet}"
    return FETCHED / f"{params.source}-{re.sub('[^a-z0-9]+', '-', params.world)}"
