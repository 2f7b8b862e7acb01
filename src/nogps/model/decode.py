"""From scores of classes to a point and circles, in NumPy.

Scores become probabilities by a temperature (Guo et al., ICML 2017), probabilities of photos of
one place become one, and probabilities become a density over the globe: a point, and the radii
round it that hold half and nine tenths.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nogps.earth import geo
from nogps.earth.geo import EARTH_RADIUS_KM
from nogps.model.classes import Partition
from nogps.model.guess import Answers, Calibration, Floats, Names

DECODINGS = ("densest", "class_mean", "class_centre")
SHARES = (0.5, 0.9)  # of the probability, that the circles hold
DISC = 16  # points that stand for the spread of a class


@dataclass(frozen=True)
class Decoder:
    """What turns scores of the classes into places.

    What it works out of the partition alone is kept: with `densest`, 8 bytes for each pair of
    classes for photos alone, and as much for photos of one place.
    """

    partition: Partition
    decoding: str = "densest"  # of DECODINGS
    calibration: Calibration = Calibration()  # noqa: RUF009  it is frozen

    def log_probabilities(self, scores: Floats) -> Floats:
        """Of the classes, shape (n, classes), in place of their scores, which are overwritten."""
        for chunk in chunks(*scores.shape):
            scores[chunk] = log_softmax(scores[chunk] / self.calibration.temperature)
        return scores

    def answers(self, scores: Floats, together: Names | None = None) -> Answers:
        """Where n photos are, by scores of shape (n, classes), which are overwritten.

        `together` names the place of each photo: those of one name are answered as one.
        """
        log_p, fitted = self.log_probabilities(scores), self.calibration
        factors = fitted.radius_50, fitted.radius_90
        if together is not None:
            log_p = fuse(log_p, together, fitted.together)
            factors = fitted.together_radius_50, fitted.together_radius_90
        p = np.exp(log_p, out=log_p)
        latitude, longitude = self.position(p, together is not None)
        half, most = self.radii(p, latitude, longitude, SHARES)
        label = p.argmax(axis=1)
        confidence, half = p[np.arange(len(p)), label], half * factors[0]
        most = np.maximum(half, most * factors[1])
        return Answers(p, latitude, longitude, label, confidence, half, most)

    def position(self, p: Floats, together: bool = False) -> tuple[Floats, Floats]:
        """The point, latitudes and longitudes (n,), for probabilities of shape (n, classes).

        `class_centre` and `class_mean` are the centre of the most probable cell, and the spherical
        mean of its photos. `densest` is the class point that gathers the most probability around
        it, as `kernel` counts it; `together` says that photos of one place were fused.
        """
        best = p.argmax(axis=1)
        latitude, longitude = points(self.partition, self.decoding)
        if self.decoding == "densest":
            fitted = self.calibration
            gathers = self._kernel(fitted.together_reach if together else fitted.reach)
            for chunk in chunks(len(p), len(self.partition)):
                best[chunk] = (p[chunk] @ gathers).argmax(axis=1)
        return latitude[best], longitude[best]

    def radii(
        self, p: Floats, latitude: Floats, longitude: Floats, shares: Sequence[float]
    ) -> list[Floats]:
        """For each share, the radius (n,) in km round positions (n,) that holds it."""
        centre = geo.to_unit_vectors(latitude, longitude)
        found = []
        for chunk in chunks(len(p), len(self._sample)):
            # Not as a product of matrices, whose last bits depend on how many photos there are.
            cosine = sum(centre[chunk, axis, None] * self._sample[:, axis] for axis in range(3))
            angle = np.arccos(np.clip(cosine, -1, 1))
            order = np.argsort(angle, axis=1)
            mass = np.repeat(p[chunk] / DISC, DISC, axis=1)
            held = np.take_along_axis(mass, order, axis=1).cumsum(axis=1)
            angle = np.take_along_axis(angle, order, axis=1)
            last = angle.shape[1] - 1
            reached = [np.minimum((held < share).sum(axis=1), last) for share in shares]
            found.append([angle[np.arange(len(angle)), each] for each in reached])
        return [EARTH_RADIUS_KM * np.concatenate(parts) for parts in zip(*found, strict=True)]

    @cached_property
    def _kernels(self) -> dict[float, Floats]:
        return {}

    def _kernel(self, reach: float) -> Floats:
        """The kernel from each class to each, shape (classes, classes)."""
        if reach not in self._kernels:
            latitude, longitude = self.partition.points()
            found = np.empty((len(latitude), len(latitude)))
            for chunk in chunks(len(latitude), 8 * len(latitude)):
                there = latitude[chunk, None], longitude[chunk, None]
                found[chunk] = kernel(geo.distance_km(*there, latitude, longitude), reach)
            self._kernels[reach] = found
        return self._kernels[reach]

    @cached_property
    def _sample(self) -> Floats:
        """Unit vectors (classes * DISC, 3), evenly spread over each class's distribution.

        Each class is a von Mises-Fisher distribution round its point, with the variance of a
        uniform disc as large as its cell.
        """
        mean = geo.to_unit_vectors(*self.partition.points())
        east = np.cross([0.0, 0.0, 1.0], mean)
        polar = np.linalg.norm(east, axis=1) < 1e-9  # at a pole any direction is east
        east[polar] = [1.0, 0.0, 0.0]
        east /= np.linalg.norm(east, axis=1, keepdims=True)
        north = np.cross(mean, east)
        step = np.arange(DISC) + 0.5
        # Narrower than 10 m there is only rounding noise.
        spread_km = np.maximum(self.partition.spread_km(), 0.01)[:, None]
        kappa = (2 * EARTH_RADIUS_KM / spread_km) ** 2
        cosine = 1 + np.log1p(-step / DISC * -np.expm1(-2 * kappa)) / kappa
        sine = np.sqrt(np.clip(1 - cosine**2, 0, None))
        turn = step * np.pi * (3 - np.sqrt(5))  # Vogel's sunflower
        parts = (cosine, mean), (sine * np.cos(turn), east), (sine * np.sin(turn), north)
        first, second, third = (share[..., None] * axis[:, None] for share, axis in parts)
        return (first + second + third).reshape(-1, 3)


def places_of(owner: Iterable[str]) -> list[str]:
    """For `together`: photos of one owner are of one place, one without an owner is alone."""
    return [each or f"photo {number}" for number, each in enumerate(owner)]


def fuse(log_p: Floats, together: Names, power: float) -> Floats:
    """Log probabilities (n, classes) where each photo has those of its whole place.

    Views of a place mostly err alike, so that k of them count as k ** `power`.
    """
    known: dict[Hashable, int] = {}
    number = np.array([known.setdefault(name, len(known)) for name in together])
    count = np.bincount(number)
    mean = np.zeros((len(count), log_p.shape[1]))
    np.add.at(mean, number, log_p * (1 / count)[number, None])
    return log_softmax(mean * count[:, None] ** power)[number]


def log_softmax(scores: Floats) -> Floats:
    """Log probabilities (n, classes) for scores (n, classes)."""
    relative = scores - scores.max(axis=1, keepdims=True)
    return relative - np.log(np.exp(relative).sum(axis=1, keepdims=True))


def points(partition: Partition, decoding: str) -> tuple[Floats, Floats]:
    """The points that a model may answer with, latitudes and longitudes, one a class."""
    if decoding == "class_centre":
        return partition.centre_latitude, partition.centre_longitude
    return partition.points()


def chunks(n: int, wide: int) -> Iterator[slice]:
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
