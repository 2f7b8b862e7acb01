"""Making the classes: S2 cells, small where photos are many."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nogps.base.errors import InputError
from nogps.dataset.settings import Cells
from nogps.earth import s2
from nogps.earth.geo import spherical_mean
from nogps.model.classes import Halves, Partition, half_tokens, levels_and_parents

# About 1 cm. The last bits of trigonometry differ between processors; a file must not.
_DECIMALS = 7


def partition(kind: str, limits: Cells, latitude: ArrayLike, longitude: ArrayLike) -> Partition:
    """The partition of photos at positions (n,) in degrees that the parameters ask for."""
    if kind == "north_south":
        return north_south(latitude, longitude)
    if kind == "adaptive":
        return adaptive(latitude, longitude, limits)
    return fixed_level(latitude, longitude, limits.max_level, limits.min_photos)


def adaptive(latitude: ArrayLike, longitude: ArrayLike, limits: Cells) -> Partition:
    """PlaNet's partition of photos at positions (n,) in degrees.

    From the six cube faces down, a cell with more than `max_photos` photos, or coarser than
    `min_level`, is divided into four, but none finer than `max_level` is made. Cells that then
    hold fewer than `min_photos` are no classes: their photos are outside. InputError if limits
    exclude each other, or if no cell holds enough photos.
    """
    if limits.min_photos > limits.max_photos:
        raise InputError(
            f"cells.min_photos is {limits.min_photos}, more than cells.max_photos, "
            f"{limits.max_photos}; give limits that leave room between them"
        )
    if limits.min_level > limits.max_level:
        raise InputError(
            f"cells.min_level is {limits.min_level}, finer than cells.max_level, "
            f"{limits.max_level}; lower the one or raise the other"
        )
    photos = _in_s2_order(latitude, longitude)
    cells, found = s2.FACES, []
    for level in range(limits.max_level + 1):
        begin, end = photos.within(cells)
        counts = end - begin
        # A cell with too few photos has no descendant with enough.
        enough = counts >= limits.min_photos
        cells, counts = cells[enough], counts[enough]
        large = (counts > limits.max_photos) & (level < limits.max_level)
        divided = (level < limits.min_level) | large
        found.append(cells[~divided])
        cells = s2.children(cells[divided]).ravel()
    return _of_cells(np.sort(np.concatenate(found)), photos, limits.min_photos)


def fixed_level(
    latitude: ArrayLike, longitude: ArrayLike, level: int, min_photos: int
) -> Partition:
    """All S2 cells of one level with at least `min_photos` photos; InputError if there is none."""
    photos = _in_s2_order(latitude, longitude)
    cells, counts = np.unique(s2.parent(photos.ids, level), return_counts=True)
    return _of_cells(cells[counts >= min_photos], photos, min_photos)


def north_south(latitude: ArrayLike, longitude: ArrayLike) -> Partition:
    """South (0) and north (1) of the median latitude of the photos; InputError if all have one."""
    latitude, longitude = s2.positions(latitude, longitude)
    if latitude.size == 0 or latitude.min() == latitude.max():
        raise InputError(
            f"partition is north_south, but the {latitude.size} photos do not differ in "
            "latitude; give more photos or choose another partition"
        )
    divide = float(np.median(latitude))
    if divide == latitude.min():  # more than half of the photos: they are the south
        divide = float(latitude[latitude > divide].min())
    halves = [latitude < divide, latitude >= divide]
    means = np.array([_mean(latitude[half], longitude[half]) for half in halves])
    return Halves(
        np.array(half_tokens(divide)),
        np.array([-1, -1]),
        np.array(["", ""]),
        np.array([half.sum() for half in halves]),
        *means.T,
        *means.T,
    )


@dataclass(frozen=True)
class _Photos:
    """Photos in the order of their leaf cells: those of any cell lie side by side."""

    ids: NDArray[np.uint64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]

    def within(self, cells: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the photos of each cell begin, and where they end."""
        begin = np.searchsorted(self.ids, s2.range_min(cells), side="left")
        return begin, np.searchsorted(self.ids, s2.range_max(cells), side="right")


def _in_s2_order(latitude: ArrayLike, longitude: ArrayLike) -> _Photos:
    latitude, longitude = s2.positions(latitude, longitude)
    ids = s2.cell_ids(latitude, longitude)
    order = np.argsort(ids)
    return _Photos(ids[order], latitude[order], longitude[order])


def _of_cells(cells: NDArray[np.uint64], photos: _Photos, min_photos: int) -> Partition:
    """The partition into disjoint cells, sorted by id."""
    if cells.size == 0:
        raise InputError(
            f"cells.min_photos is {min_photos}, and no cell holds that many of the "
            f"{photos.ids.size} photos; lower cells.min_photos or give more photos"
        )
    begin, end = photos.within(cells)
    parts = [slice(*ends) for ends in zip(begin, end, strict=True)]
    means = np.array([_mean(photos.latitude[each], photos.longitude[each]) for each in parts])
    centres = np.array([_rounded(*centre) for centre in zip(*s2.centre(cells), strict=True)])
    tokens = np.array([s2.to_token(cell) for cell in cells])
    return Partition(tokens, *levels_and_parents(cells), end - begin, *centres.T, *means.T)


def _mean(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> tuple[float, float]:
    # A sum depends on its order; sorted, it does not depend on the order the photos came in.
    order = np.lexsort((longitude, latitude))
    return _rounded(*spherical_mean(latitude[order], longitude[order]))


def _rounded(latitude: float, longitude: float) -> tuple[float, float]:
    longitude = round(longitude, _DECIMALS)
    # One name for one place: 180 and no -180, 0.0 and no -0.0.
    longitude = 180.0 if longitude == -180 else longitude + 0.0
    return round(latitude, _DECIMALS) + 0.0, longitude
