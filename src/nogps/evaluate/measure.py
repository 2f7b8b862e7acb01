"""A model's answers to a set of photos, beside those of its baselines, measured by `protocol`."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from nogps.base.errors import InputError
from nogps.earth import geo
from nogps.evaluate import analysis, baselines, protocol
from nogps.evaluate.protocol import Points
from nogps.model import decode
from nogps.model.base_locator import BaseLocator
from nogps.model.batches import Photos
from nogps.model.guess import Answers
from nogps.photos import shards
from nogps.rights import credits

LIKELIEST = 20  # classes whose probability the predictions keep: all would take too much room


@dataclass(frozen=True)
class Reference:
    """The training photos as baselines use them."""

    positions: Points
    features: NDArray[np.float32]
    network: nn.Module | None  # frozen, which gave the features
    seed: int


@dataclass(frozen=True)
class Measured:
    """A set of photos with the model's answers.

    `predictions` has a row a photo, unreadable ones included; numbers are NaN without an answer:
    photo_id, set, latitude, longitude, owner, what `credits.CREDIT` names, guess_latitude,
    guess_longitude, distance_km, label (-1 outside every class), guess_label (-1 without an
    answer), loss (NaN outside every class), confidence (0 to 1), radius_50_km, radius_90_km,
    likeliest and likeliest_p (labels and probabilities of the LIKELIEST most probable classes),
    nearest_train_km, and of each other row of the table its distances, `<row>_km`.
    """

    name: str
    predictions: pd.DataFrame
    rows: list[protocol.Row]


def measure(
    name: str,
    photos: pd.DataFrame,
    folder: Path,
    locator: BaseLocator,
    reference: Reference | None = None,
    *,
    batch_size: int,
    workers: int,
    together: bool = False,
) -> Measured:
    """Answer every photo of a table, a row each, whose packed bytes lie in `folder`.

    With `together`, photos of one owner are answered as one place. Without `reference`, baselines
    that need training photos are left out. InputError if not one photo can be read.
    """
    asked = _asked(name, photos.reset_index(drop=True), locator)
    read = asked.photos.iloc[asked.readable]
    batch = Photos(
        shards.Shards(folder), shards.byte_ranges(read), locator.image_size, workers=workers
    )
    outputs = locator.predict(batch, batch_size)
    answers = {"model": locator.answers(outputs)}
    if together:
        of_owners = locator.answers(outputs, decode.places_of(read["owner"]))
        answers = {"model": of_owners, "model_alone": answers["model"]}
    distances, rows = {}, []
    for row, each in answers.items():
        guess = asked.of_all(np.stack([each.latitude, each.longitude], axis=1))
        distances[row] = protocol.distances(asked.truth, guess)
        rows.append(_model_row(asked, row, distances[row], each))
    for row, guess in _baselines(asked, locator, reference, batch, batch_size).items():
        distances[row] = protocol.distances(asked.truth, guess)
        same = _same_class(locator, asked.label, guess)
        rows.append(protocol.row(row, distances[row], right_class=same))
    predictions = _predictions(asked, answers["model"], distances)
    near = geo.nearest_km(asked.truth, reference.positions) if reference else math.nan
    return Measured(name, predictions.assign(set=name, nearest_train_km=near), rows)


@dataclass(frozen=True)
class _Asked:
    """Photos that are asked about, n of them."""

    photos: pd.DataFrame
    readable: NDArray[np.int64]  # the rows that can be read
    truth: Points
    label: NDArray[np.int64]  # of the class that holds each; -1 outside every class

    def of_all(self, values: NDArray, missing: float = math.nan) -> NDArray:
        """Values of the readable photos for all, `missing` for the others."""
        out = np.full((len(self.photos), *values.shape[1:]), missing, dtype=values.dtype)
        out[self.readable] = values
        return out


def _asked(name: str, photos: pd.DataFrame, locator: BaseLocator) -> _Asked:
    readable = np.flatnonzero(photos["status"] == "ok")
    if not len(readable):
        raise InputError(f"{name}: not one of {len(photos)} photos can be read; give others")
    truth = positions(photos)
    return _Asked(photos, readable, truth, locator.partition.assign(*truth.T))


def _baselines(
    asked: _Asked,
    locator: BaseLocator,
    reference: Reference | None,
    batch: Photos,
    batch_size: int,
) -> dict[str, Points]:
    """The answers of the baselines, by row; `batch` are the readable photos."""
    points = np.stack(decode.points(locator.partition, locator.decoding), axis=1)
    found = {"best_cell": baselines.best_cell(asked.truth, points)}
    if reference:
        features = baselines.features(batch, reference.network, batch_size)
        there = baselines.nearest_neighbour(features, reference.features, reference.positions)
        found["nearest_neighbour"] = asked.of_all(there)
    sizes = locator.partition.photos
    found["most_common_cell"] = baselines.most_common_cell(asked.truth, points, sizes)
    if reference:
        found["chance"] = baselines.chance(asked.truth, reference.positions, reference.seed)
    return found


def _model_row(
    asked: _Asked, name: str, distance: NDArray[np.float64], answers: Answers
) -> protocol.Row:
    """A row of the table for a model, with what it says of its own confidence."""
    right = asked.of_all(answers.label == asked.label[asked.readable], missing=False)
    radii = {50: answers.radius_50_km, 90: answers.radius_90_km}
    held = {f"within_radius_{share}": distance <= asked.of_all(radii[share]) for share in radii}
    confident = {
        "label": asked.label[asked.readable],
        "guess_label": answers.label,
        "confidence": answers.confidence,
    }
    bins = analysis.reliability(pd.DataFrame(confident))
    more = {
        **{f"radius_{share}_km": float(np.median(radius)) for share, radius in radii.items()},
        "calibration_error": analysis.expected_calibration_error(bins),
        "right_class_balanced": protocol.balanced(asked.label, right),
    }
    return protocol.row(name, distance, more, right_class=right, **held)


def _predictions(
    asked: _Asked, answers: Answers, distances: dict[str, NDArray[np.float64]]
) -> pd.DataFrame:
    """A row a photo: where it was taken, where it was put, and how sure."""
    inside = asked.label[asked.readable]
    probability = answers.probabilities[np.arange(len(inside)), inside]
    loss = np.where(inside >= 0, -np.log(np.maximum(probability, 1e-300)), np.nan)
    best = [np.argsort(-p, kind="stable")[:LIKELIEST] for p in answers.probabilities]
    likeliest = {
        "likeliest": [each.tolist() for each in best],
        "likeliest_p": [
            p[each].tolist() for p, each in zip(answers.probabilities, best, strict=True)
        ],
    }
    table = asked.photos[["photo_id", "latitude", "longitude", "owner", *credits.CREDIT]].assign(
        guess_latitude=asked.of_all(answers.latitude),
        guess_longitude=asked.of_all(answers.longitude),
        label=asked.label,
        guess_label=asked.of_all(answers.label, missing=-1),
        loss=asked.of_all(loss),  # none outside every class
        confidence=asked.of_all(answers.confidence),
        radius_50_km=asked.of_all(answers.radius_50_km),
        radius_90_km=asked.of_all(answers.radius_90_km),
        **{protocol.distance_column(row): distance for row, distance in distances.items()},
    )
    return table.join(pd.DataFrame(likeliest, index=asked.readable))


def _same_class(locator: BaseLocator, label: NDArray[np.int64], guess: Points) -> NDArray[np.bool_]:
    """Whether each guess lies in the class of the truth, whose label is given."""
    same = np.isfinite(guess[:, 0])
    guessed = locator.partition.assign(*guess[same].T)
    same[same] = (guessed == label[same]) & (guessed >= 0)
    return same


def positions(table: pd.DataFrame) -> Points:
    """Latitude and longitude of each row."""
    return table[["latitude", "longitude"]].to_numpy(dtype=np.float64)
