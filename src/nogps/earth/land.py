"""Which positions lie on land."""

from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from nogps.earth.coast import LAKE, LAND, outlines


def on_land(latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.bool_]:
    """Whether positions in degrees (n,) lie on land, lakes left out (GSHHG, low resolution)."""
    longitude, latitude = np.atleast_1d(longitude), np.atleast_1d(latitude)
    land, lakes = (_within(polygons, longitude, latitude) for polygons in _shores())
    return land & ~lakes


def _within(polygons: NDArray[np.object_], x: NDArray, y: NDArray) -> NDArray[np.bool_]:
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
def _shores() -> list[NDArray[np.object_]]:
    """The polygons of land, and those of lakes, prepared."""
    rings = [(level, ring) for level, _, ring in outlines("gshhs_l") if len(ring) > 3]
    of_levels = [[ring for level, ring in rings if level == wanted] for wanted in (LAND, LAKE)]
    polygons = [np.array([*map(shapely.Polygon, of_level)]) for of_level in of_levels]
    for each in polygons:
        shapely.prepare(each)
    return polygons
