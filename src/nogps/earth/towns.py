"""Towns of GeoNames (CC BY 4.0), its table cities15000: `experiments/towns.py` makes ours of it."""

import gzip
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files as resources

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nogps.earth.geo import to_unit_vectors


@dataclass(frozen=True)
class Town:
    """A town of at least 15,000 people."""

    name: str
    country: str
    latitude: float  # degrees
    longitude: float  # degrees
    population: int

    def __str__(self) -> str:
        return f"{self.name}, {self.country}"


@lru_cache(maxsize=1)
def towns() -> tuple[Town, ...]:
    """Every town that GeoNames knows, the largest first."""
    table = gzip.decompress(resources("nogps.earth").joinpath("towns.tsv.gz").read_bytes())
    rows = (line.split("\t") for line in table.decode().splitlines())
    return tuple(
        Town(name, country, float(latitude), float(longitude), int(population))
        for name, country, latitude, longitude, population in rows
    )


def nearest_town(latitude: ArrayLike, longitude: ArrayLike) -> list[Town]:
    """The nearest town to each position (degrees, shape (n,)); of equally near ones the largest."""
    here = to_unit_vectors(np.atleast_1d(latitude), np.atleast_1d(longitude))
    # One by one: the products of more do not fit into a processor's cache.
    return [towns()[int((_positions() @ each).argmax())] for each in here]


@lru_cache(maxsize=1)
def _positions() -> NDArray[np.float64]:
    """Unit vectors of all towns, shape (towns, 3)."""
    positions = np.array([(town.latitude, town.longitude) for town in towns()])
    return to_unit_vectors(*positions.T)
