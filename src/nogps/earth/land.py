"""Where land is."""

from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from nogps.earth.coast import LAKE, LAND, shores


def on_land(latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.bool_]:
    """Whether positions in degrees (n,) lie on land, lakes left out (GSHHG, low resolution)."""
    longitude, latitude = np.atleast_1d(longitude), np.atleast_1d(latitude)
    land, lakes = (_within(polygons, longitude, latitude) for polygons in _shores())
    return land & ~lakes


def _within(polygons: NDArray[np.object_], x: NDArray, y: NDArray) -> NDArray[np.bool_]:
    """Whether each point lies in one of these polygons, which are prepared."""
    inside = np.zeros(len(x), dtype=bool)
    west, south, east, north = shapely.bounds(polygons).T
    from_west = np.argsort(x)
    first = np.searchsorted(x[from_west], west, side="left")
    count = np.searchsorted(x[from_west], east, side="right") - first
    # Pairs of a polygon and a point between its western and eastern end, then those in its bounds.
    polygon = np.repeat(np.arange(len(polygons)), count)
    point = from_west[np.arange(count.sum()) + np.repeat(first - count.cumsum() + count, count)]
    near = (south[polygon] <= y[point]) & (y[point] <= north[polygon])
    polygon, point = polygon[near], point[near]
    inside[point[shapely.contains_xy(polygons[polygon], x[point], y[point])]] = True
    return inside


@lru_cache(maxsize=1)
def _shores() -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """The polygons of land, and those of lakes."""
    polygons: dict[int, list[shapely.Polygon]] = {LAND: [], LAKE: []}
    for level, ring in shores():
        if level in polygons and len(ring) > 3:
            polygons[level].append(shapely.Polygon(ring))
    land, lakes = np.array(polygons[LAND]), np.array(polygons[LAKE])
    shapely.prepare(land)
    shapely.prepare(lakes)
    return land, lakes
