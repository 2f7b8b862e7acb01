"""The source of photos that the parameters name, for the stages sample and download."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nogps import simulated
from nogps.sources import Source
from nogps.sources.flickr import Flickr
from nogps.sources.folder import Folder
from stage import FETCHED, Params


@contextmanager
def open_source(params: Params) -> Iterator[Source]:
    """The source that the parameters name; the simulated planet runs while it is open."""
    if params.source == "folder":
        yield Folder(params.folder.path)
    elif params.world == "simulated":
        with simulated.running_planet(params.seed, params.simulated.photos) as planet:
            yield Flickr(
                planet.key,
                planet.secret,
                rest_url=planet.rest_url,
                image_base=planet.image_base,
                page_base=planet.page_base,
                pause_s=0,
                **params.flickr.model_dump(),
            )
    else:
        key, secret = (os.environ.get(f"FLICKR_API_{name}", "") for name in ("KEY", "SECRET"))
        yield Flickr(key, secret, **params.flickr.model_dump())


def scratch(params: Params) -> Path:
    """Where download keeps what it has fetched from this source.

    Each source has a folder of its own, and so has each version of the simulated planet: its
    addresses stay the same when its pictures change.
    """
    if params.source == "folder":
        return FETCHED / "folder"
    if params.world == "simulated":
        return FETCHED / f"{params.source}-simulated-{simulated.version()}"
    return FETCHED / f"{params.source}-real"
