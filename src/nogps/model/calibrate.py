"""What is fitted on the validation fold: temperature, power of photos together, reach."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nogps.earth import geo
from nogps.model.classes import Partition
from nogps.model.decode import Floats, fuse, place
from nogps.model.guess import Answers

REACHES = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4)  # those that `calibrated` tries
POWERS = np.linspace(0, 1, 21)


def _temperature(log_p: Floats, label: NDArray[np.int64]) -> float:
    from scipy.optimize import minimize_scalar  # here: who only locates does not wait for it

    def loss(log_t: float) -> float:
        return _loss(log_p / np.exp(log_t), label)

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))


def _power(log_p: Floats, label: NDArray[np.int64], inside: NDArray, together) -> float:
    if len(set(together)) == len(together):
        return 0.0  # nothing to fit it on
    tried = [_loss(fuse(log_p, together, power)[inside], label[inside]) for power in POWERS]
    return float(POWERS[np.argmin(tried)])


def _loss(log_p: Floats, label: NDArray[np.int64]) -> float:
    normal = log_p - np.logaddexp.reduce(log_p, axis=1, keepdims=True)
    return float(-normal[np.arange(len(label)), label].mean())


def _reaches(
    each: list[Floats], partition: Partition, latitude: Floats, longitude: Floats
) -> list[float]:
    """The best of REACHES for each of several probabilities (n, classes) of photos there."""

    def hits(p: Floats, reach: float) -> float:
        there = place(p, partition, "densest", reach)
        distance = geo.distance_km(latitude, longitude, *there)
        return float(np.mean([distance <= radius for radius in geo.RADII_KM.values()]))

    table = [[hits(p, reach) for p in each] for reach in REACHES]
    return [REACHES[best] for best in np.argmax(table, axis=0)]


def _off(answers: Answers, latitude: Floats, longitude: Floats) -> Floats:
    """How far truths are from the answers, as shares of the two radii: shape (2, n)."""
    distance = geo.distance_km(latitude, longitude, answers.latitude, answers.longitude)
    return distance / np.stack([answers.radius_50_km, answers.radius_90_km])
