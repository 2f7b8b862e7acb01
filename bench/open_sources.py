"""A world sample of 10,000 candidates from each open source, as the planet has them.

    python bench/open_sources.py [--candidates 10000] [--photos 60000]

Says how many calls and seconds the search took, and how the candidates spread over places, owners
and drives, beside an equal number drawn at random from all that the same hosts have.
"""

import argparse
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from nogps.acquire.answers import AnswerCache
from nogps.acquire.area import Region
from nogps.acquire.area_search import Search
from nogps.acquire.http import Polite
from nogps.acquire.limits import Limits
from nogps.acquire.service import SearchSpec
from nogps.acquire.sources.commons import Commons
from nogps.acquire.sources.mapillary import Mapillary
from nogps.acquire.sources.panoramax import Panoramax
from nogps.earth import s2
from nogps.earth.towns import nearest_town
from nogps.pipeline.params import read_params
from nogps.pipeline.planet_process import running_planet
from nogps.rights import licences
from planet import commons, mapillary, panoramax
from planet.keys import MAPILLARY_TOKEN
from planet.photos import photos

ROOT = Path(__file__).parents[1]

LEVEL = 11
WHO = "nogps/0.1 (bench@localhost) aiohttp/3"


def main() -> None:
    """Sample from each source in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--photos", type=int, default=60_000, help="that each host has")
    parser.add_argument("--per-cell", type=int, default=100)
    parser.add_argument("--per-owner", type=int, default=100)
    parser.add_argument("--calls", type=int, default=40_000)
    arguments = parser.parse_args()
    limits = Limits(Region(), "", "", LEVEL, arguments.per_cell, arguments.per_owner, 5, 25.0)
    spec = SearchSpec(
        limits,
        frozenset(licences.FREE),
        photos=arguments.candidates,
        calls=arguments.calls,
    )
    rows, params = [], read_params()
    with TemporaryDirectory() as folder, running_planet(0, arguments.photos) as planet:
        http = partial(Polite, connections=16, base=planet.base, unit_s=0.05, user_agent=WHO)
        for service in (
            Panoramax(spec, params.panoramax, base_url=panoramax.CATALOGUE),
            Commons(spec, params.commons, base_url=commons.SITE),
            Mapillary(MAPILLARY_TOKEN, spec, params.mapillary, base_url=mapillary.GRAPH),
        ):
            answers = AnswerCache(Path(folder) / f"{service.name}.sqlite")
            search, began = Search(service, http, answers), time.monotonic()
            found = search.candidates()
            seconds = time.monotonic() - began
            counts = search.counts
            told = {"source": service.name, "calls": counts.calls, "seconds": round(seconds, 1)}
            told |= {"divided": counts.full_areas, "cut": counts.cut_areas}
            ours = pd.DataFrame(
                [(each.latitude, each.longitude, each.owner, each.sequence) for each in found],
                columns=["latitude", "longitude", "owner", "sequence"],
            )
            rows.append(told | {"drawn": "nogps"} | spread(ours))
            everything = pd.DataFrame(all_of(service.name, arguments.photos))
            n = min(len(ours), len(everything))
            random = spread(everything.sample(n, random_state=0))
            rows.append({"source": "", "drawn": "at random"} | random)
    print(pd.DataFrame(rows, dtype=object).fillna("").to_string(index=False))


def all_of(name: str, count: int) -> Iterator[dict]:
    """Everything that a host has."""
    if name == "Wikimedia Commons":
        for photo in photos(0, count):
            if photo.on_map == "yes":
                yield row(photo, "")
        return
    host = panoramax.Panoramax(0, count) if name == "Panoramax" else mapillary.Mapillary(0, count)
    for shot in host.pictures.values():
        yield row(shot, shot.drive)


def row(photo, sequence: str) -> dict:
    """What spread looks at."""
    return {
        "latitude": photo.latitude,
        "longitude": photo.longitude,
        "owner": photo.owner,
        "sequence": sequence,
    }


def spread(table: pd.DataFrame) -> dict:
    """How far photos are from being all alike."""
    cells = s2.parent(s2.cell_ids(table["latitude"], table["longitude"]), LEVEL)
    towns = nearest_town(table["latitude"], table["longitude"])
    in_cell = pd.Series(cells).value_counts()
    by_owner = table["owner"].value_counts()
    by_drive = table.loc[table["sequence"] != "", "sequence"].value_counts()
    return {
        "photos": len(table),
        "countries": len({town.country for town in towns}),
        "cells": len(in_cell),
        "most in one": int(in_cell.max()),
        "top 1 % of cells": f"{100 * top(in_cell):.1f} %",
        "owners": len(by_owner),
        "most of one": int(by_owner.max()),
        "most of a drive": int(by_drive.max()) if len(by_drive) else 0,
    }


def top(counts: pd.Series) -> float:
    """The share of the photos that lie in the fullest hundredth of the cells."""
    few = max(1, round(len(counts) / 100))
    return float(np.sort(counts)[-few:].sum() / counts.sum())


if __name__ == "__main__":
    main()
