"""The photos that the report shows: which ones, and what its script is told of each."""

import json
import math
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nogps.earth import towns
from nogps.photos import images, shards
from nogps.report import svg

WORST = 30  # photos shown, by loss and by distance
SHOWN = 1000  # photos in all
THUMBNAIL = 192  # pixels
LIKELY = 0.05  # probability of a class that the map of a photo has to hold


def to_show(predictions: pd.DataFrame, packed: Path) -> pd.DataFrame:
    """The photos to show: the worst by loss and by distance, then others as they come.

    These are rows of the predictions, a row a photo as `evaluate.measure` gives it, and with each
    `jpeg` (in base64; "" when it could not be read), `top` (the most probable classes: label and
    probability, largest first), `true_place` and `guessed_place` (the nearest towns).
    """
    worst = [predictions.dropna(subset=by).nlargest(WORST, by) for by in ("loss", "distance_km")]
    table = pd.concat([*worst, predictions]).drop_duplicates("photo_id").head(SHOWN)
    index = shards.read_index(packed)
    index = index[(index["status"] == "ok") & index["photo_id"].isin(table["photo_id"])]
    store = shards.Shards(packed)
    jpeg = {
        photo_id: b64encode(images.thumbnail(store.read(at), THUMBNAIL)).decode()
        for photo_id, at in zip(index["photo_id"], shards.byte_ranges(index), strict=True)
    }
    best = zip(table["photo_id"], table["likeliest"], table["likeliest_p"], strict=True)
    top: list[Any] = [list(zip(*each, strict=True)) if name in jpeg else [] for name, *each in best]
    return table.assign(
        jpeg=[jpeg.get(photo_id, "") for photo_id in table["photo_id"]],
        top=top,
        true_place=nearest_towns(table),
        guessed_place=np.where(table["guess_latitude"].isna(), "", nearest_towns(table, "guess_")),
    )


def nearest_towns(table: pd.DataFrame, prefix: str = "") -> list[str]:
    """The names of the towns nearest to the positions of a table."""
    found = towns.nearest_town(table[f"{prefix}latitude"], table[f"{prefix}longitude"])
    return list(map(str, found))


def as_json(photos: pd.DataFrame, classes: pd.DataFrame) -> str:
    """What report_page.js reads: the photos, as `to_show` gives them, and the classes they name."""
    rows = photos.to_dict("records")
    used = {key for row in rows for key in (row["label"], row["guess_label"], *dict(row["top"]))}
    named = {
        label: {
            "name": one["name"],
            "token": one["token"],
            "disc": svg.circle((one["latitude"], one["longitude"]), one["spread_km"]),
        }
        for label, one in enumerate(classes.to_dict("records"))
        if label in used
    }
    content = {"classes": named, "photos": [_card(row, classes) for row in rows]}
    text = json.dumps(
        content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=int
    )
    return text.replace("<", "\\u003c")  # without any `<`, no tag can end the script element


def _card(row: dict, classes: pd.DataFrame) -> dict:
    """What is said and drawn of one photo; lines and circles only where there is an answer."""
    truth = (row["latitude"], row["longitude"])
    guess = (row["guess_latitude"], row["guess_longitude"])
    answered = bool(np.isfinite(guess).all())
    likely = classes.iloc[[label for label, p in row["top"] if p >= LIKELY]]
    return {
        "id": row["photo_id"],
        "jpeg": row["jpeg"],
        "true_place": row["true_place"],
        "true_position": _position(truth),
        "guessed_place": row["guessed_place"],
        "guessed_position": _position(guess) if answered else "",
        **{key: row[key] for key in ("label", "guess_label", "owner")},
        "km": _rounded(row["distance_km"], 1),
        "loss": _rounded(row["loss"], 3),
        "confidence": _rounded(100 * row["confidence"], 1),
        "radius_50": _rounded(row["radius_50_km"], 1),
        "radius_90": _rounded(row["radius_90_km"], 1),
        "train_km": _rounded(row["nearest_train_km"], 1),
        "top": [(label, _rounded(p, 4)) for label, p in row["top"]],
        **svg.photo_map(
            truth,
            guess if answered else None,
            (row["radius_50_km"], row["radius_90_km"]),
            zip(likely["latitude"], likely["longitude"], strict=True),
        ),
    }


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def _position(position: tuple[float, float]) -> str:
    latitude, longitude = position
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.2f}° {north}, {abs(longitude):.2f}° {east}"
