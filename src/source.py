"""The source of photos that the parameters name, for the stages sample and download."""

import os
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
from nogps.sources import Source
from nogps.sources.flickr import Flickr
from nogps.sources.folder import Folder
from nogps.sources.streetview import StreetView
from stage import FETCHED, HOME, Params

NOWHERE = "nowhere"  # the remote that is no other place


@contextmanager
def open_source(params: Params) -> Iterator[tuple[Source, Callable[..., Polite]]]:
    """The source that the parameters name, and what makes the HTTP client to fetch with.

    In the simulated world, the planet runs while it is open.
    """
    load_dotenv(HOME / ".env")
    http = partial(Polite, connections=params.download.connections, tell=tqdm.write)
    if params.source == "folder":
        yield Folder(params.folder.path), http
    elif params.world == "real":
        yield from _real(params, http)
    else:
        with simulated.running_planet(
            params.seed,
            params.simulated.photos,
            faults=params.simulated.faults,
            log=scratch(params) / "planet.jsonl",
        ) as planet:
            http = partial(http, base=planet.base, unit_s=0.05, timeout_s=5.0)
            yield from _simulated(params, planet, http)


def _real(params: Params, http) -> Iterator[tuple[Source, Callable[..., Polite]]]:
    def secret(name: str) -> str:
        return os.environ.get(name, "").strip()

    if params.source == "flickr":
        key, shared = secret("FLICKR_API_KEY"), secret("FLICKR_API_SECRET")
        yield _flickr(params, key, shared), http
    else:
        key, shared = secret("GOOGLE_MAPS_API_KEY"), secret("GOOGLE_MAPS_SIGNING_SECRET")
        with purse(params) as paying:
            yield _streetview(params, key, shared, paying, http), http


def _simulated(params: Params, planet, http) -> Iterator[tuple[Source, Callable[..., Polite]]]:
    if params.source == "flickr":
        here = {"rest_url": planet.rest_url, "page_base": planet.page_base, "trust_env": False}
        yield _flickr(params, planet.key, planet.secret, pause_s=0, **here), http
        return
    with purse(params) as paying:
        own = simulated.write_addresses(scratch(params) / "openaddresses", params.seed)
        source = _streetview(
            params,
            planet.google_key,
            planet.signing_secret,
            paying,
            http,
            addresses=params.streetview.addresses or own,
            base_url="http://maps.googleapis.invalid",
            page_base="http://www.google.invalid",
        )
        yield source, http


def _flickr(params: Params, key: str, secret: str, **changes) -> Flickr:
    settings = params.flickr.model_dump() | changes
    return Flickr(key, secret, finished=scratch(params) / "searched", **settings)


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

    Each source has a folder of its own, and so has each version of the simulated planet: its
    addresses stay the same when its pictures change.
    """
    if params.source == "folder":
        return FETCHED / "folder"
    if params.world == "simulated":
        return FETCHED / f"{params.source}-simulated-{simulated.version()}"
    return FETCHED / f"{params.source}-real"
