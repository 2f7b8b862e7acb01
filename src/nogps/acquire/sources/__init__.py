"""Where photos come from: a module a source, whose SOURCE says what is to be known of it."""

from importlib import import_module

from nogps.acquire.source import SourceType

SOURCES = {  # by the name that `source` in params.yaml takes
    "flickr": "nogps.acquire.sources.flickr",
    "streetview": "nogps.acquire.sources.streetview",
    "panoramax": "nogps.acquire.sources.panoramax",
    "commons": "nogps.acquire.sources.commons",
    "mapillary": "nogps.acquire.sources.mapillary",
    "folder": "nogps.acquire.sources.folder",
}


def source_type(name: str) -> SourceType:
    """What the module of a source says of it; the module is imported when it is asked for."""
    return import_module(SOURCES[name]).SOURCE
