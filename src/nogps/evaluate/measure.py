"""A model's answers to a set of photos, beside those of its baselines, measured by `protocol`."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from nogps.base.errors import InputError
from nogps.earth import geo
from nogps.evaluate import analysis, baselines, protocol
from nogps.evaluate.protocol import Points, positions
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
    truth = positions(photos)
    photos = photos.reset_index(drop=True).assign(label=locator.partition.assign(*truth.T))
    read = photos[photos["status"] == "ok"]
    if read.empty:
        raise InputError(f"{name}: not one of {len(photos)} photos can be read; give others")
    where = shards.byte_ranges(read)
    batch = Photos(shards.Shards(folder), where, locator.image_size, workers=workers)
    outputs = locator.predict(batch, batch_size)
    answers = {"model": locator.answers(outputs)}
    if together:
        of_owners = locator.answers(outputs, decode.places_of(read["owner"]))
        answers = {"model": of_owners, "model_alone": answers["model"]}
    tables = {row: _answered(photos, read.index, each) for row, each in answers.items()}
    rows = [_model_row(row, table) for row, table in tables.items()]
    distances = {row: table["distance_km"].to_numpy() for row, table in tables.items()}
    for row, guess in _baselines(truth, read.index, locator, reference, batch, batch_size):
        distances[row] = geo.distance_km(*truth.T, *guess.T)
        same = _same_class(locator, photos["label"].to_numpy(), guess)
        rows.append(protocol.row(row, distances[row], right_class=same))
    columns = {protocol.distance_column(row): distance for row, distance in distances.items()}
    likeliest = _likeliest(read.index, answers["model"].probabilities)
    predictions = tables["model"].assign(**columns).join(likeliest)
    near = geo.nearest_km(truth, reference.positions) if reference else math.nan
    return Measured(name, predictions.assign(set=name, nearest_train_km=near), rows)


def _answered(photos: pd.DataFrame, read: pd.Index, answers: Answers) -> pd.DataFrame:
    """A row a photo: where it was taken, where it was put, and how sure; `read` are answered."""
    label = photos["label"][read].to_numpy()
    probability = answers.probabilities[np.arange(len(read)), label]
    found = {
        "guess_latitude": answers.latitude,
        "guess_longitude": answers.longitude,
        "label": label,
        "guess_label": answers.label,
        "loss": np.where(label >= 0, -np.log(np.maximum(probability, 1e-300)), math.nan),
        "confidence": answers.confidence,
        "radius_50_km": answers.radius_50_km,
        "radius_90_km": answers.radius_90_km,
    }
    table = photos[["photo_id", "latitude", "longitude", "owner", *credits.CREDIT]]
    table = table.join(pd.DataFrame(found, index=read))
    return table.assign(
        label=photos["label"],
        guess_label=table["guess_label"].fillna(-1).astype(np.int64),
        distance_km=geo.distance_km(*positions(table).T, *positions(table, "guess_").T),
    )


def _likeliest(read: pd.Index, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    best = [np.argsort(-p, kind="stable")[:LIKELIEST].tolist() for p in probabilities]
    p = [p[each].tolist() for p, each in zip(probabilities, best, strict=True)]
    return pd.DataFrame({"likeliest": best, "likeliest_p": p}, index=read)


def _baselines(
    truth: Points,
    read: pd.Index,
    locator: BaseLocator,
    reference: Reference | None,
    batch: Photos,
    batch_size: int,
) -> Iterator[tuple[str, Points]]:
    """The rows of the baselines and their answers; `batch` are the photos of `read`."""
    points = np.stack(decode.points(locator.partition, locator.decoding), axis=1)
    yield "best_cell", baselines.best_cell(truth, points)
    if reference:
        features = baselines.features(batch, reference.network, batch_size)
        guess = np.full(truth.shape, math.nan)
        guess[read] = baselines.nearest_neighbour(features, reference.features, reference.positions)
        yield "nearest_neighbour", guess
    sizes = locator.partition.photos
    yield "most_common_cell", baselines.most_common_cell(truth, points, sizes)
    if reference:
        yield "chance", baselines.chance(truth, reference.positions, reference.seed)


def _model_row(name: str, table: pd.DataFrame) -> protocol.Row:
    """A row of the results for a model, with what it says of its own confidence."""
    distance, label = table["distance_km"].to_numpy(), table["label"].to_numpy()
    right = (table["guess_label"] == label).to_numpy() & table["confidence"].notna().to_numpy()
    radii = {share: table[f"radius_{share}_km"].to_numpy() for share in (50, 90)}
    more = {
        **{f"radius_{share}_km": float(np.nanmedian(radius)) for share, radius in radii.items()},
        "calibration_error": analysis.expected_calibration_error(analysis.reliability(table)),
        "right_class_balanced": protocol.balanced(label, right),
    }
    held = {f"within_radius_{share}": distance <= radius for share, radius in radii.items()}
    return protocol.row(name, distance, more, right_class=right, **held)


def _same_class(locator: BaseLocator, label: NDArray[np.int64], guess: Points) -> NDArray[np.bool_]:
    """Whether each guess lies in the class of the truth, whose label is given."""
    same = np.isfinite(guess[:, 0])
    guessed = locator.partition.assign(*guess[same].T)
    same[same] = (guessed == label[same]) & (guessed >= 0)
    return same
