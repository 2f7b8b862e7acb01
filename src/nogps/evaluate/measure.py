"""A model's answers to a set of photos, beside those of its baselines, measured by `protocol`."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import BallTree
from torch import Tensor, nn

from nogps.base.errors import InputError
from nogps.earth import geo
from nogps.evaluate import analysis, baselines, protocol
from nogps.evaluate.protocol import Points
from nogps.model import decode
from nogps.model.base_locator import BaseLocator
from nogps.model.batches import Photos
from nogps.model.decode import places_of
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

    With `together`, photos of one owner are taken to be of one place and answered as one. Without
    `reference`, the baselines that need training photos are left out.

    Raises:
        InputError: not one photo can be read.
    """
    photos = photos.reset_index(drop=True)
    readable = np.flatnonzero(photos["status"] == "ok")
    if not len(readable):
        raise InputError(f"{name}: not one of {len(photos)} photos can be read; give others")
    read = photos.iloc[readable]
    batch = Photos(
        shards.Shards(folder), shards.byte_ranges(read), locator.image_size, workers=workers
    )
    outputs = locator.predict(batch, batch_size)
    answers = _answers(locator, outputs, read["owner"].tolist() if together else None)
    features = None
    if reference:
        features = baselines.features(batch, reference.network, batch_size)
    truth = positions(photos)
    guesses = {row: _placed(each, readable, len(photos)) for row, each in answers.items()}
    guesses |= _baselines(truth, locator, reference, features, readable)
    distances = {row: protocol.distances(truth, guess) for row, guess in guesses.items()}
    rows = _rows(locator, truth, guesses, distances, answers, readable)
    predictions = _predictions(locator, photos, answers["model"], distances, readable)
    predictions["set"] = name
    near = nearest_km(truth, reference.positions) if reference else np.nan
    return Measured(name, predictions.assign(nearest_train_km=near), rows)


def _answers(locator: BaseLocator, outputs: Tensor, owners: list[str] | None) -> dict[str, Answers]:
    """The model's answers, by row; with `owners`, also each photo by itself."""
    alone = locator.answers(outputs)
    if owners is None:
        return {"model": alone}
    return {"model": locator.answers(outputs, places_of(owners)), "model_alone": alone}


def _placed(answers: Answers, readable: NDArray[np.int64], n: int) -> Points:
    """The positions of the answers, for all of n photos."""
    return scatter(np.stack([answers.latitude, answers.longitude], axis=1), readable, n)


def _baselines(
    truth: Points,
    locator: BaseLocator,
    reference: Reference | None,
    features: NDArray[np.float32] | None,
    readable: NDArray[np.int64],
) -> dict[str, Points]:
    """The answers of the baselines, by row; `features` are those of the readable photos."""
    points = np.stack(decode.points(locator.partition, locator.decoding), axis=1)
    found = {"best_cell": baselines.best_cell(truth, points)}
    if reference and features is not None:
        there = baselines.nearest_neighbour(features, reference.features, reference.positions)
        found["nearest_neighbour"] = scatter(there, readable, len(truth))
    photos = locator.partition.photos
    found["most_common_cell"] = baselines.most_common_cell(truth, points, photos)
    if reference:
        found["chance"] = baselines.chance(truth, reference.positions, reference.seed)
    return found


def _rows(
    locator: BaseLocator,
    truth: Points,
    guesses: dict[str, Points],
    distances: dict[str, NDArray[np.float64]],
    answers: dict[str, Answers],
    readable: NDArray[np.int64],
) -> list[protocol.Row]:
    """The table: the model's answers, then the baselines'."""
    label = np.asarray(locator.partition.assign(*truth.T))
    return [
        _model_row(row, distances[row], label, answers[row], readable)
        if row in answers
        else protocol.row(row, distances[row], right_class=_same_class(locator, label, guess))
        for row, guess in guesses.items()
    ]


def _model_row(
    name: str,
    distance: NDArray[np.float64],
    label: NDArray[np.int64],
    answers: Answers,
    readable: NDArray[np.int64],
) -> protocol.Row:
    """A row of the table for a model, with what it says of its own confidence."""
    right = scatter(answers.label == label[readable], readable, len(label), missing=False)
    held = {
        f"within_radius_{share}": distance
        <= scatter(getattr(answers, f"radius_{share}_km"), readable, len(label))
        for share in (50, 90)
    }
    confident = pd.DataFrame(
        {
            "label": label[readable],
            "guess_label": answers.label,
            "confidence": answers.confidence,
        }
    )
    more = {
        "radius_50_km": float(np.median(answers.radius_50_km)),
        "radius_90_km": float(np.median(answers.radius_90_km)),
        "calibration_error": analysis.expected_calibration_error(analysis.reliability(confident)),
        "right_class_balanced": protocol.balanced(label, right),
    }
    return protocol.row(name, distance, more, right_class=right, **held)


def _predictions(
    locator: BaseLocator,
    photos: pd.DataFrame,
    answers: Answers,
    distances: dict[str, NDArray[np.float64]],
    readable: NDArray[np.int64],
) -> pd.DataFrame:
    """A row a photo: where it was taken, where it was put, and how sure."""
    n = len(photos)
    label = np.asarray(locator.partition.assign(*positions(photos).T))
    table = photos[["photo_id", "latitude", "longitude", "owner", *credits.CREDIT]].copy()
    table["guess_latitude"] = scatter(answers.latitude, readable, n)
    table["guess_longitude"] = scatter(answers.longitude, readable, n)
    table["label"] = label
    table["guess_label"] = scatter(answers.label, readable, n, missing=-1)
    inside = label[readable]
    probability = answers.probabilities[np.arange(len(readable)), inside]
    loss = np.where(inside >= 0, -np.log(np.maximum(probability, 1e-300)), np.nan)
    table["loss"] = scatter(loss, readable, n)  # none outside every class
    table["confidence"] = scatter(answers.confidence, readable, n)
    table["radius_50_km"] = scatter(answers.radius_50_km, readable, n)
    table["radius_90_km"] = scatter(answers.radius_90_km, readable, n)
    for row, distance in distances.items():
        table[protocol.distance_column(row)] = distance
    return table.join(_likeliest(answers, readable))


def _likeliest(answers: Answers, readable: NDArray[np.int64]) -> pd.DataFrame:
    """The most probable classes of each readable photo, and their probabilities."""
    best = [np.argsort(-p, kind="stable")[:LIKELIEST] for p in answers.probabilities]
    found = {
        "likeliest": [each.tolist() for each in best],
        "likeliest_p": [
            p[each].tolist() for p, each in zip(answers.probabilities, best, strict=True)
        ],
    }
    return pd.DataFrame(found, index=readable)


def _same_class(locator: BaseLocator, label: NDArray[np.int64], guess: Points) -> NDArray[np.bool_]:
    """Whether each guess lies in the class of the truth, whose label is given."""
    answered = np.flatnonzero(np.isfinite(guess[:, 0]))
    guessed = locator.partition.assign(*guess[answered].T)
    same = (guessed == label[answered]) & (guessed >= 0)
    return scatter(same, answered, len(guess), missing=False)


def positions(table: pd.DataFrame) -> Points:
    """Latitude and longitude of each row."""
    return table[["latitude", "longitude"]].to_numpy(dtype=np.float64)


def nearest_km(truth: Points, train: Points) -> NDArray[np.float64]:
    """Distance in km from each position to the nearest of the training photos."""
    tree = BallTree(np.radians(train), metric="haversine")
    return tree.query(np.radians(truth), k=1)[0][:, 0] * geo.EARTH_RADIUS_KM


def scatter(values: NDArray, rows: NDArray[np.int64], n: int, missing: float = math.nan) -> NDArray:
    """`values` in `rows` of n rows, `missing` in the others."""
    out = np.full((n, *values.shape[1:]), missing, dtype=values.dtype)
    out[rows] = values
    return out
