"""From probabilities of classes to a point and circles, in NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import log_softmax

from nogps.earth import geo
from nogps.earth.geo import EARTH_RADIUS_KM
from nogps.model.classes import Partition

DECODINGS = ("densest", "class_mean", "class_centre")
DISC = 16  # places that stand for the spread of a class
Floats = NDArray[np.float64]


def places_of(owner: Sequence[str]) -> list[str]:
    """For `together`: photos of one owner are of one place, one without an owner is alone."""
    return [each or f"photo {number}" for number, each in enumerate(owner)]


def fuse(log_p: Floats, together: Sequence[str], power: float) -> Floats:
    """Log probabilities (n, classes) where each photo has those of its whole place.

    Views of a place mostly err alike, so that k of them count as k ** `power`.
    """
    number, _ = pd.factorize(np.asarray(together, dtype=object))
    count = np.bincount(number)
    here = np.arange(len(number))
    mean = csr_array((1 / count[number], (number, here)), (len(count), len(number))) @ log_p
    return log_softmax(mean * count[:, None] ** power, axis=1)[number]


def place(p: Floats, partition: Partition, decoding: str, reach: float) -> tuple[Floats, Floats]:
    """The point, latitudes and longitudes (n,), for probabilities of shape (n, classes).

    `class_centre` and `class_mean` are the centre of the most probable cell, and the spherical
    mean of its photos. `densest` is the class point that gathers the most probability around it,
    as `kernel` counts it.
    """
    best = p.argmax(axis=1)
    latitude, longitude = points(partition, decoding)
    if decoding == "densest":
        gathers = _between_classes(partition, reach)
        for chunk in _chunks(len(p), len(partition)):
            best[chunk] = (p[chunk] @ gathers).argmax(axis=1)
    return latitude[best], longitude[best]


def points(partition: Partition, decoding: str) -> tuple[Floats, Floats]:
    """The points that a model may answer with, latitudes and longitudes, one a class."""
    if decoding == "class_centre":
        return partition.centre_latitude, partition.centre_longitude
    return partition.points()


@lru_cache(maxsize=2)  # a model has one for photos alone and one for those of a place together
def _between_classes(partition: Partition, reach: float) -> Floats:
    """The kernel from each class to each, shape (classes, classes): 8 bytes for each pair."""
    latitude, longitude = partition.points()
    found = np.empty((len(partition), len(partition)))
    for chunk in _chunks(len(partition), 8 * len(partition)):
        there = latitude[chunk, None], longitude[chunk, None]
        found[chunk] = kernel(geo.distance_km(*there, latitude, longitude), reach)
    return found


def _chunks(n: int, wide: int) -> Iterator[slice]:
    """Parts of n rows that are so wide, 32 MB of float64 each: so memory stays bounded."""
    step = max(1, 4_000_000 // wide)
    for start in range(0, n, step):
        yield slice(start, start + step)


def kernel(distance_km: Floats, reach: float) -> Floats:
    """How much a truth at a distance is worth: the hits it makes, of 1, with softened edges.

    The mean over the protocol's radii, each times `reach`, of 1 / (1 + (distance / radius) ** 4).
    Where probability is dense the small radii decide, where it is thin the large ones.
    """
    total = np.zeros_like(distance_km)
    for radius in geo.RADII_KM.values():
        squared = np.square(distance_km / (reach * radius))
        total += 1 / (1 + squared * squared)
    return total / len(geo.RADII_KM)


def density(
    p: Floats, partition: Partition, latitude: ArrayLike, longitude: ArrayLike
) -> NDArray[np.float64]:
    """Probability per square km at m positions, for probabilities (n, classes): shape (n, m).

    Each class is a von Mises-Fisher distribution round its point, as wide as its cell.
    """
    there = geo.to_unit_vectors(np.atleast_1d(latitude), np.atleast_1d(longitude))
    cosine = geo.to_unit_vectors(*partition.points()) @ there.T
    kappa = _kappa(partition)[:, None]
    peak = kappa / (2 * np.pi * -np.expm1(-2 * kappa) * EARTH_RADIUS_KM**2)
    return p @ (peak * np.exp(kappa * (cosine - 1)))


def radii(
    p: Floats, partition: Partition, latitude: Floats, longitude: Floats, shares: Sequence[float]
) -> list[Floats]:
    """For each share, the radius (n,) in km round positions (n,) that holds it of the density."""
    centre = geo.to_unit_vectors(latitude, longitude)
    sample = _sample(partition).reshape(-1, 3)
    found = []
    for chunk in _chunks(len(p), len(sample)):
        # Not as a product of matrices, whose last bits depend on how many photos there are.
        cosine = sum(centre[chunk, axis, None] * sample[:, axis] for axis in range(3))
        angle = np.arccos(np.clip(cosine, -1, 1))
        order = np.argsort(angle, axis=1)
        mass = np.repeat(p[chunk] / DISC, DISC, axis=1)
        held = np.take_along_axis(mass, order, axis=1).cumsum(axis=1)
        angle = np.take_along_axis(angle, order, axis=1)
        last = angle.shape[1] - 1
        reached = [np.minimum((held < share).sum(axis=1), last) for share in shares]
        found.append([angle[np.arange(len(angle)), each] for each in reached])
    return [EARTH_RADIUS_KM * np.concatenate(parts) for parts in zip(*found, strict=True)]


def _kappa(partition: Partition) -> Floats:
    """Concentration of each class: the variance of a uniform disc as large as its cell."""
    # Narrower than 10 m there is only rounding noise.
    return (2 * EARTH_RADIUS_KM / np.maximum(partition.spread_km(), 0.01)) ** 2


@lru_cache(maxsize=1)
def _sample(partition: Partition) -> Floats:
    """Unit vectors (classes, DISC, 3), evenly spread over each class's distribution."""
    mean = geo.to_unit_vectors(*partition.points())
    east = np.cross([0.0, 0.0, 1.0], mean)
    polar = np.linalg.norm(east, axis=1) < 1e-9  # at a pole any direction is east
    east[polar] = [1.0, 0.0, 0.0]
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(mean, east)
    step = np.arange(DISC) + 0.5
    kappa = _kappa(partition)[:, None]
    cosine = 1 + np.log1p(-step / DISC * -np.expm1(-2 * kappa)) / kappa
    sine = np.sqrt(np.clip(1 - cosine**2, 0, None))
    turn = step * np.pi * (3 - np.sqrt(5))  # Vogel's sunflower
    return (
        cosine[..., None] * mean[:, None]
        + (sine * np.cos(turn))[..., None] * east[:, None]
        + (sine * np.sin(turn))[..., None] * north[:, None]
    )
