"""Where land is."""

from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from nogps.earth.coast import LAKE, LAND, shores


def on_land(latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.bool_]:
    """Whether positions in degrees (n,) lie on land, lakes left out (GSHHG, low resolution)."""
    longitude, latitude = np.atleast_1d(longitude), np.atleast_1d(latitude)
    land, lakes = (_within(tree, longitude, latitude) for tree in _shores())
    return land & ~lakes


def _within(tree: shapely.STRtree, x: NDArray, y: NDArray) -> NDArray[np.bool_]:
    """Whether each point lies in one of the tree's polygons, which are prepared."""
    inside = np.zeros(len(x), dtype=bool)
    point, polygon = tree.query(shapely.points(x, y))
    for number in np.unique(polygon):
        near = point[polygon == number]
        inside[near] |= shapely.contains_xy(tree.geometries[number], x[near], y[near])
    return inside


@lru_cache(maxsize=1)
def _shores() -> tuple[shapely.STRtree, shapely.STRtree]:
    """Land and lakes."""
    rings: dict[int, list] = {LAND: [], LAKE: []}
    for level, ring in shores():
        if level in rings and len(ring) > 3:
            rings[level].append(shapely.Polygon(ring))
    for polygons in rings.values():
        shapely.prepare(polygons)
    return shapely.STRtree(rings[LAND]), shapely.STRtree(rings[LAKE])
