"""Positions on the sphere: distance, thresholds, mean, score. One definition of each.

Latitudes and longitudes are degrees, distances kilometres on a sphere of mean Earth radius.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

EARTH_RADIUS_KM = 6371.0088
FARTHEST_KM = math.pi * EARTH_RADIUS_KM  # the other end of the world

GEOGUESSR_POINTS = 5000  # for a perfect guess
GEOGUESSR_KM = 1492.7  # each so far away, a guess has 1/e of the points

# A guess is a hit when distance <= radius. Names as used since PlaNet.
RADII_KM = {
    "street_1km": 1.0,
    "city_25km": 25.0,
    "region_200km": 200.0,
    "country_750km": 750.0,
    "continent_2500km": 2500.0,
}


def distance_km(
    latitude_a: ArrayLike, longitude_a: ArrayLike, latitude_b: ArrayLike, longitude_b: ArrayLike
) -> NDArray[np.float64]:
    """Great-circle distance (haversine) in km; arguments broadcast."""
    lat_a, lng_a, lat_b, lng_b = (
        np.radians(np.asarray(angle, dtype=np.float64))
        for angle in (latitude_a, longitude_a, latitude_b, longitude_b)
    )
    haversine = (
        np.sin((lat_b - lat_a) / 2) ** 2
        + np.cos(lat_a) * np.cos(lat_b) * np.sin((lng_b - lng_a) / 2) ** 2
    )
    # Rounding can carry antipodes just past 1.
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(haversine, 1.0)))


def to_unit_vectors(latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.float64]:
    """Points of the unit sphere, shape (..., 3), for positions in degrees of shape (...)."""
    lat, lng = (np.radians(np.asarray(each, dtype=np.float64)) for each in (latitude, longitude))
    return np.stack([np.cos(lat) * np.cos(lng), np.cos(lat) * np.sin(lng), np.sin(lat)], axis=-1)


def spherical_mean(latitude: ArrayLike, longitude: ArrayLike) -> tuple[float, float]:
    """The point nearest, on the sphere, to the mean direction of the positions.

    Unlike a mean of degrees it is right at the antimeridian and at the poles. Positions that
    cancel out exactly have no mean direction; the first of them stands in.
    """
    vectors = to_unit_vectors(np.atleast_1d(latitude), np.atleast_1d(longitude))
    x, y, z = vectors.mean(axis=0)
    if np.sqrt(x * x + y * y + z * z) < 1e-12:
        x, y, z = vectors[0]
    return float(np.degrees(np.arctan2(z, np.hypot(x, y)))), float(np.degrees(np.arctan2(y, x)))


def nearest_km(positions: NDArray, others: NDArray) -> NDArray[np.float64]:
    """Distance (n,) in km of positions (n, 2), in degrees, to the nearest of others (m, 2)."""
    from sklearn.neighbors import BallTree

    tree = BallTree(np.radians(others), metric="haversine")
    return tree.query(np.radians(positions), k=1)[0][:, 0] * EARTH_RADIUS_KM


def geoguessr_score(distance: ArrayLike) -> NDArray[np.float64]:
    """GeoGuessr's world-map score, 5000 for a perfect guess, of distances in km."""
    return GEOGUESSR_POINTS * np.exp(-np.asarray(distance, dtype=np.float64) / GEOGUESSR_KM)
