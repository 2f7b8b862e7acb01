"""Partitions of four hundred positions, and which class each is in, worked out by other means."""

from functools import cache

import numpy as np
import s2sphere

from nogps.dataset.cells import adaptive, fixed_level, north_south
from nogps.dataset.settings import Cells
from nogps.model.classes import Partition


@cache
def positions() -> tuple[np.ndarray, np.ndarray]:
    """Photos of a dozen towns, none of them in Asia, and some that are anywhere."""
    rng = np.random.default_rng(3)
    town = rng.integers(12, size=400)
    latitude = rng.uniform(-70, 70, 12)[town] + rng.normal(0, 4, 400)
    longitude = rng.uniform(-130, 40, 12)[town] + rng.normal(0, 4, 400)
    anywhere = rng.random(400) < 0.15
    latitude[anywhere] = rng.uniform(-90, 90, anywhere.sum())
    longitude[anywhere] = rng.uniform(-180, 180, anywhere.sum())
    return latitude, longitude


@cache
def classes(kind: str) -> Partition:
    latitude, longitude = positions()
    if kind == "adaptive":
        limits = {"min_photos": 6, "max_photos": 20, "min_level": 1, "max_level": 6}
        return adaptive(latitude, longitude, Cells(**limits))
    if kind == "fixed_level":
        return fixed_level(latitude, longitude, level=3, min_photos=5)
    return north_south(latitude, longitude)


KINDS = ["adaptive", "fixed_level", "north_south"]


def leaf(latitude: float, longitude: float) -> s2sphere.CellId:
    return s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(latitude, longitude))


def holders(kind: str) -> list:
    """For each class, whether it holds a position: worked out without our own S2."""
    if kind == "north_south":
        divide = float(classes(kind).tokens[0].partition("<")[2])
        return [lambda place: place[0] < divide, lambda place: place[0] >= divide]
    cells = [s2sphere.CellId.from_token(str(token)) for token in classes(kind).tokens]
    return [lambda place, cell=cell: cell.contains(leaf(*place)) for cell in cells]


@cache
def labels(kind: str) -> np.ndarray:
    """The label of each of `positions`, -1 outside, by trying every class."""
    holds = holders(kind)
    return np.array(
        [
            next((label for label, inside in enumerate(holds) if inside(place)), -1)
            for place in zip(*positions(), strict=True)
        ]
    )


@cache
def families(kind: str) -> dict[s2sphere.CellId, list[int]]:
    """The classes in every cell that holds two or more, the coarsest cells first."""
    if kind == "north_south":
        return {}
    cells = [s2sphere.CellId.from_token(str(token)) for token in classes(kind).tokens]
    found: dict[s2sphere.CellId, list[int]] = {}
    for level in range(30):
        for label, cell in enumerate(cells):
            if cell.level() > level:
                found.setdefault(cell.parent(level), []).append(label)
    return {cell: held for cell, held in found.items() if len(held) > 1}


def chain(place: tuple[float, float], label: int, kind: str) -> np.ndarray:
    """Which outputs of multilabel are right for a photo."""
    own = np.arange(len(classes(kind))) == label
    return np.concatenate([own, [cell.contains(leaf(*place)) for cell in families(kind)]])


def chains(kind: str) -> np.ndarray:
    each = zip(zip(*positions(), strict=True), labels(kind), strict=True)
    return np.array([chain(place, label, kind) for place, label in each])


def right_outputs(loss: str, kind: str) -> np.ndarray:
    """What a network that knows every answer puts out for the photos in a class."""
    inside = labels(kind) >= 0
    right = chains(kind) if loss == "multilabel" else np.eye(len(classes(kind)))[labels(kind)]
    return np.where(right[inside], 30.0, -30.0)


def softmax(outputs: np.ndarray) -> np.ndarray:
    e = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
