"""A model's answers to a set of photos, beside those that need no learning, by the protocol."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import BallTree
from torch import nn

from nogps.base.errors import InputError
from nogps.earth import geo
from nogps.evaluate import analysis, baselines, protocol
from nogps.evaluate.protocol import Points
from nogps.model import decode
from nogps.model.batches import Photos
from nogps.model.decode import places_of
from nogps.model.guess import Answers
from nogps.model.locator import Locator
from nogps.photos import shards
from nogps.rights import credits

LIKELIEST = 20  # classes that a photo's density is drawn from


@dataclass(frozen=True)
class Known:
    """What baselines know: the train fold, and the frozen network that describes photos."""

    places: Points
    described: NDArray[np.float32]
    frozen: nn.Module | None
    seed: int


@dataclass(frozen=True)
class Measured:
    """A set of photos with the model's answers."""

    name: str
    predictions: pd.DataFrame  # a row a photo, unreadable ones included
    likeliest: list[list[tuple[int, float]]]  # of each readable photo, labels and probabilities
    rows: list[protocol.Row]
    distances: dict[str, NDArray[np.float64]]
    number: dict[str, int]  # of a readable photo, by id
    jpeg: Callable[[int], bytes]  # by that number


def measure(
    name: str,
    photos: pd.DataFrame,
    folder: Path,
    locator: Locator,
    known: Known | None = None,
    *,
    batch_size: int,
    workers: int,
    together: bool = False,
) -> Measured:
    """Answer every photo of a table, a row each, whose packed bytes lie in `folder`.

    With `together`, photos of one owner are taken to be of one place and answered as one. Without
    `known`, the baselines that need training photos are left out.

    Raises:
        InputError: not one photo can be read.
    """
    photos = photos.reset_index(drop=True)
    readable = np.flatnonzero(photos["status"] == "ok")
    if not len(readable):
        raise InputError(f"{name}: not one of {len(photos)} photos can be read; give others")
    read = photos.iloc[readable]
    batch = Photos(shards.Shards(folder), shards.places(read), locator.image_size)
    outputs = locator.predict(batch, batch_size, workers)
    alone = locator.answers(outputs)
    answers = {"model": alone}
    if together:
        answers = {
            "model": locator.answers(outputs, places_of(read["owner"])),
            "model_alone": alone,
        }

    truth = positions(photos)
    points = np.stack(decode.points(locator.partition, locator.decoding), axis=1)
    guesses = {
        row: scatter(np.stack([each.latitude, each.longitude], axis=1), readable, len(photos))
        for row, each in answers.items()
    }
    guesses["best_cell"] = baselines.best_cell(truth, points)
    if known:
        described = baselines.describe(batch, known.frozen, batch_size, workers)
        similar = baselines.nearest_neighbour(described, known.described, known.places)
        guesses["nearest_neighbour"] = scatter(similar, readable, len(photos))
    guesses["most_common_cell"] = baselines.most_common_cell(
        truth, points, locator.partition.photos
    )
    if known:
        guesses["chance"] = baselines.chance(truth, known.places, known.seed)
    distances = {row: protocol.distances(truth, guess) for row, guess in guesses.items()}
    label = np.asarray(locator.partition.assign(*truth.T))
    rows = [
        _row(row, distances[row], label, guesses[row], answers.get(row), readable, locator)
        for row in guesses
    ]
    predictions = _predictions(photos, label, answers["model"], distances["model"], readable)
    predictions["set"] = name
    predictions["nearest_train_km"] = nearest_km(truth, known.places) if known else np.nan
    number = {photo_id: each for each, photo_id in enumerate(read["photo_id"])}
    return Measured(
        name, predictions, _likeliest(answers["model"]), rows, distances, number, batch.jpeg
    )


def _row(
    name: str,
    distance: NDArray[np.float64],
    label: NDArray[np.int64],
    guess: Points,
    answers: Answers | None,
    readable: NDArray[np.int64],
    locator: Locator,
) -> protocol.Row:
    """A line of the table; of a model with what it says of its own sureness."""
    if answers is None:
        right = _same_class(locator, label, guess)
        return protocol.row(name, distance, right_class=right)
    right = scatter(answers.label == label[readable], readable, len(label), missing=False)
    held = {
        f"within_radius_{share}": distance
        <= scatter(getattr(answers, f"radius_{share}_km"), readable, len(label))
        for share in (50, 90)
    }
    sure = pd.DataFrame(
        {
            "label": label[readable],
            "guess_label": answers.label,
            "confidence": answers.confidence,
        }
    )
    more = {
        "radius_50_km": float(np.median(answers.radius_50_km)),
        "radius_90_km": float(np.median(answers.radius_90_km)),
        "calibration_error": analysis.expected_calibration_error(analysis.reliability(sure)),
        "right_class_balanced": protocol.balanced(label, right),
    }
    return protocol.row(name, distance, more, right_class=right, **held)


def _likeliest(answers: Answers) -> list[list[tuple[int, float]]]:
    """The most probable classes of each photo: all of them would not fit into memory for long."""
    found = []
    for p in answers.probabilities:
        best = np.argsort(-p, kind="stable")[:LIKELIEST]
        found.append(list(zip(best.tolist(), p[best].tolist(), strict=True)))
    return found


def _predictions(
    photos: pd.DataFrame,
    label: NDArray[np.int64],
    answers: Answers,
    distance: NDArray[np.float64],
    readable: NDArray[np.int64],
) -> pd.DataFrame:
    """A row a photo: where it was taken, where it was put, and how sure."""
    n = len(photos)
    told = ["owner", *credits.CREDIT]
    table = photos[["photo_id", "latitude", "longitude", *told]].copy()
    table["guess_latitude"] = scatter(answers.latitude, readable, n)
    table["guess_longitude"] = scatter(answers.longitude, readable, n)
    table["distance_km"] = distance
    table["label"] = label
    table["guess_label"] = scatter(answers.label, readable, n, missing=-1)
    inside = label[readable]
    probability = answers.probabilities[np.arange(len(readable)), inside]
    loss = np.where(inside >= 0, -np.log(np.maximum(probability, 1e-300)), np.nan)
    table["loss"] = scatter(loss, readable, n)  # none outside every class
    table["confidence"] = scatter(answers.confidence, readable, n)
    table["radius_50_km"] = scatter(answers.radius_50_km, readable, n)
    table["radius_90_km"] = scatter(answers.radius_90_km, readable, n)
    return table


def _same_class(locator: Locator, label: NDArray[np.int64], guess: Points) -> NDArray[np.bool_]:
    """Whether each guess lies in the class of the truth, whose label is given."""
    answered = np.flatnonzero(np.isfinite(guess[:, 0]))
    guessed = locator.partition.assign(*guess[answered].T)
    same = (guessed == label[answered]) & (guessed >= 0)
    return scatter(same, answered, len(guess), missing=False)


def positions(table: pd.DataFrame) -> Points:
    """Latitude and longitude of each row."""
    return table[["latitude", "longitude"]].to_numpy(dtype=np.float64)


def nearest_km(truth: Points, train: Points) -> NDArray[np.float64]:
    """Distance in km from each position to the nearest of the train photos."""
    tree = BallTree(np.radians(train), metric="haversine")
    return tree.query(np.radians(truth), k=1)[0][:, 0] * geo.EARTH_RADIUS_KM


def scatter(values: NDArray, rows: NDArray[np.int64], n: int, missing: float = math.nan) -> NDArray:
    """`values` in `rows` of n rows, `missing` in the others."""
    out = np.full((n, *values.shape[1:]), missing, dtype=values.dtype)
    out[rows] = values
    return out
