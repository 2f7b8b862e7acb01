"""What is fitted on the validation fold: temperature, power of photos together, reach, radii."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from nogps.earth import geo
from nogps.model.classes import Partition
from nogps.model.decode import SHARES, Decoder, fuse
from nogps.model.guess import Answers, Calibration, Floats, Names

REACHES = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4)  # those that are tried
POWERS = np.linspace(0, 1, 21)


def fit(
    decoder: Decoder, scores: Floats, truth: Floats, together: Names, fixed: Mapping[str, float]
) -> Calibration:
    """The calibration that suits photos with these scores (n, classes), taken at truth (2, n).

    The temperature and the power of photos together minimise the loss of the right class, the
    kernel's reaches maximise the hits within the protocol's radii, and the circles come to hold
    their share of the truths: of those of half of the places when all else is fitted to the other
    half, and the other way round. `fixed` gives some of the values but the radii.
    """
    partition, place = decoder.partition, np.asarray(together, dtype=object)
    half = np.isin(place, np.unique(place)[::2])
    halves = [(half, ~half), (~half, half)] if not half.all() else [(half, half)]
    off = []
    for known, asked in halves:
        fitted = _all_but_radii(partition, scores[known], truth[:, known], place[known], fixed)
        other = replace(decoder, calibration=fitted)
        both = other.answers(scores[asked]), other.answers(scores[asked], place[asked])
        off.append(np.concatenate([_off(each, truth[:, asked]) for each in both]))
    names = [f"{of}radius_{100 * share:.0f}" for of in ("", "together_") for share in SHARES]
    factors = {
        name: float(np.quantile(each, share))
        for name, share, each in zip(names, 2 * SHARES, np.concatenate(off, axis=1), strict=True)
    }
    return replace(_all_but_radii(partition, scores, truth, place, fixed), **factors)


def _all_but_radii(
    partition: Partition, scores: Floats, truth: Floats, place: Names, fixed: Mapping[str, float]
) -> Calibration:
    label = partition.assign(*truth)
    inside = np.flatnonzero(label >= 0)
    fitted = Calibration()
    log_p = Decoder(partition).log_probabilities(scores.copy())
    if len(inside):
        temperature = _temperature(log_p[inside], label[inside])
        fitted = replace(fitted, **{"temperature": temperature, **fixed})
        log_p = Decoder(partition, calibration=fitted).log_probabilities(scores.copy())
        fitted = replace(fitted, **{"together": _power(log_p, label, inside, place), **fixed})
    fused = fuse(log_p, place, fitted.together)
    reaches = _reaches([np.exp(log_p), np.exp(fused)], partition, truth)
    return replace(fitted, **{"reach": reaches[0], "together_reach": reaches[1], **fixed})


def _temperature(log_p: Floats, label: NDArray[np.int64]) -> float:
    found = minimize_scalar(
        lambda log_t: _loss(log_p / np.exp(log_t), label), bounds=(-4, 4), method="bounded"
    )
    return float(np.exp(found.x))


def _power(log_p: Floats, label: NDArray[np.int64], inside: NDArray, together: Names) -> float:
    if len(set(together)) == len(together):
        return 0.0  # nothing to fit it on
    tried = [_loss(fuse(log_p, together, power)[inside], label[inside]) for power in POWERS]
    return float(POWERS[np.argmin(tried)])


def _loss(log_p: Floats, label: NDArray[np.int64]) -> float:
    normal = log_p - np.logaddexp.reduce(log_p, axis=1, keepdims=True)
    return float(-normal[np.arange(len(label)), label].mean())


def _reaches(each: list[Floats], partition: Partition, truth: Floats) -> list[float]:
    """For each of several probabilities (n, classes) the reach with the most of the hits."""
    table = []
    for reach in REACHES:
        decoder = Decoder(partition, "densest", Calibration(reach=reach))
        off = [geo.distance_km(*decoder.position(p), *truth) for p in each]
        table.append([np.mean([km <= radius for radius in geo.RADII_KM.values()]) for km in off])
    return [REACHES[best] for best in np.argmax(table, axis=0)]


def _off(answers: Answers, truth: Floats) -> Floats:
    """How far truths are from the answers, as shares of the two radii: shape (2, n)."""
    distance = geo.distance_km(answers.latitude, answers.longitude, *truth)
    return distance / np.stack([answers.radius_50_km, answers.radius_90_km])
