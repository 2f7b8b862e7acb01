"""The source of photos that the parameters name, for the stages sample and download."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from dotenv import load_dotenv
from tqdm import tqdm

from nogps import simulated
from nogps.cost import Price, Purse
from nogps.errors import InputError
from nogps.fetch import Polite
from nogps.files import alone
from nogps.sources import Source
from nogps.sources.flickr import CALLS_AN_HOUR, Flickr
from nogps.sources.folder import Folder
from nogps.sources.streetview import StreetView
from stage import FETCHED, HOME, Params

SECRETS = (
    "FLICKR_API_KEY",
    "FLICKR_API_SECRET",
    "GOOGLE_MAPS_API_KEY",
    "GOOGLE_MAPS_SIGNING_SECRET",
)
NOWHERE = "nowhere"  # the remote that is no other place


@contextmanager
def open_source(params: Params) -> Iterator[tuple[Source, Callable[..., Polite]]]:
    """The source that the parameters name, and what makes the HTTP client to fetch with.

    In the simulated world, the planet runs while it is open.
    """
    load_dotenv(HOME / ".env")
    with alone(scratch(params)), _open(params) as opened:
        yield opened


@contextmanager
def _open(params: Params) -> Iterator[tuple[Source, Callable[..., Polite]]]:
    http = partial(Polite, connections=params.download.connections, tell=tqdm.write)
    if params.source == "folder":
        yield Folder(params.folder.path), http
    elif params.world == "simulated":
        with simulated.running_planet(
            params.seed,
            params.simulated.photos,
            faults=params.simulated.faults,
            log=scratch(params) / "planet.jsonl",
        ) as planet:
            http = partial(http, unit_s=0.05, timeout_s=5.0)
            own = [planet.key, planet.secret, planet.google_key, planet.signing_secret]
            with _elsewhere(
                params, planet.base, http, dict(zip(SECRETS, own, strict=True)), 0
            ) as it:
                yield it
    elif params.world == "real":
        with _opened(params, http, _environment()) as it:
            yield it
    else:
        pause_s = 3600 / CALLS_AN_HOUR
        with _elsewhere(params, params.world, http, _environment(), pause_s) as it:
            yield it


def _environment() -> dict[str, str]:
    return {name: os.environ.get(name, "").strip() for name in SECRETS}


def _elsewhere(params: Params, base: str, http, secrets: dict[str, str], pause_s: float):
    """The source where hosts at `base` stand in for the real ones."""
    if params.source == "flickr":
        here = {
            "rest_url": f"{base}/services/rest/",
            "page_base": simulated.PAGE_HOST,
            "trust_env": False,
            "pause_s": pause_s,
        }
    else:
        own = simulated.write_addresses(scratch(params) / "openaddresses", params.seed)
        here = {
            "base_url": "http://maps.googleapis.invalid",
            "page_base": "http://www.google.invalid",
            "addresses": params.streetview.addresses or own,
        }
    return _opened(params, partial(http, base=base), secrets, **here)


@contextmanager
def _opened(params: Params, http, secrets: dict[str, str], **here) -> Iterator[tuple]:
    if params.source == "flickr":
        key, secret = secrets["FLICKR_API_KEY"], secrets["FLICKR_API_SECRET"]
        settings = params.flickr.model_dump() | here
        yield Flickr(key, secret, finished=scratch(params) / "searched", **settings), http
        return
    key, secret = secrets["GOOGLE_MAPS_API_KEY"], secrets["GOOGLE_MAPS_SIGNING_SECRET"]
    with purse(params) as paying:
        yield _streetview(params, key, secret, paying, http, **here), http


def _streetview(params: Params, key, secret, paying: Purse, http, **changes) -> StreetView:
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
        answers=scratch(params) / "panoramas.jsonl",
        **settings,
    )


def purse(params: Params) -> closing:
    """The budget and the journal of paid calls; a context manager."""
    price = Price(params.streetview.usd_per_1000 / 1000, params.streetview.free_a_month)
    return closing(Purse(scratch(params) / "paid.csv", params.budget_usd, price))


def scratch(params: Params) -> Path:
    """Where is kept what has been asked, fetched and paid from this source.

    Each source has a folder of its own, and so has each simulated planet: addresses there stay the
    same when its pictures change.
    """
    if params.source == "folder":
        return FETCHED / "folder"
    if params.world == "simulated":
        planet = f"{simulated.version()}-{params.seed}-{params.simulated.photos}"
        return FETCHED / f"{params.source}-simulated-{planet}"
    return FETCHED / f"{params.source}-{re.sub('[^a-z0-9]+', '-', params.world)}"
