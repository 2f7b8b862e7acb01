"""The photos that the report shows: which ones, and what its script is told of each."""

import json
import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nogps.earth import towns
from nogps.photos import images, shards
from nogps.report import svg
from nogps.rights import credits

WORST = 30  # photos shown, by loss and by distance
SHOWN = 1000  # photos in all
THUMBNAIL = 192  # pixels
LIKELY = 0.05  # probability of a class that the map of a photo has to hold


@dataclass(frozen=True)
class Photo:
    """One photo to show. What else is known of it is found in the predictions by its id."""

    photo_id: str
    thumbnail_jpeg: bytes  # empty when the photo could not be read
    top: list[tuple[int, float]]  # the most probable classes: label and probability, largest first
    true_place: str = ""  # the nearest town
    guessed_place: str = ""


def to_show(predictions: pd.DataFrame, packed: Path) -> list[Photo]:
    """The photos to show: the worst by loss and by distance, then others as they come.

    Args:
        predictions: a row a photo, as `evaluate.measure` gives it.
        packed: the folder with the photos, packed.
    """
    worst = [predictions.dropna(subset=by).nlargest(WORST, by) for by in ("loss", "distance_km")]
    table = pd.concat([*worst, predictions]).drop_duplicates("photo_id").head(SHOWN)
    true_place = _towns(table, "")
    guessed_place = _towns(table.dropna(subset="guess_latitude"), "guess_")
    index = shards.read_index(packed)
    index = index[(index["status"] == "ok") & index["photo_id"].isin(table["photo_id"])]
    found = dict(zip(index["photo_id"], shards.byte_ranges(index), strict=True))
    store = shards.Shards(packed)
    photos = []
    columns = (table["photo_id"], table["likeliest"], table["likeliest_p"])
    for photo_id, labels, probabilities in zip(*columns, strict=True):
        thumbnail: bytes = b""
        top: list[tuple[int, float]] = []
        if photo_id in found:
            thumbnail = images.thumbnail(store.read(found[photo_id]), THUMBNAIL)
            top = list(zip(labels.tolist(), probabilities.tolist(), strict=True))
        places = (known.get(photo_id, "") for known in (true_place, guessed_place))
        photos.append(Photo(photo_id, thumbnail, top, *places))
    return photos


def _towns(table: pd.DataFrame, prefix: str) -> dict[str, str]:
    """The town nearest to the truth or the guess of each photo, by its id."""
    found = towns.nearest_town(table[f"{prefix}latitude"], table[f"{prefix}longitude"])
    return dict(zip(table["photo_id"], map(str, found), strict=True))


def credited(photos: Sequence[Photo], predictions: pd.DataFrame) -> list[dict]:
    """Whom to credit for each photo, in the same order."""
    rows = predictions.set_index("photo_id", drop=False).loc[[each.photo_id for each in photos]]
    return credits.table(rows).to_dict("records")


def as_json(photos: Sequence[Photo], predictions: pd.DataFrame, classes: pd.DataFrame) -> str:
    """What report_page.js reads: the photos, and the classes that they name."""
    rows = predictions.set_index("photo_id").to_dict("index")
    used = {label for photo in photos for label, _ in photo.top}
    used |= {rows[photo.photo_id][key] for photo in photos for key in ("label", "guess_label")}
    content = {
        "classes": {
            label: {
                "name": one["name"],
                "token": one["token"],
                "disc": svg.circle((one["latitude"], one["longitude"]), one["spread_km"]),
            }
            for label, one in enumerate(classes.to_dict("records"))
            if label in used
        },
        "photos": [_card(photo, rows[photo.photo_id], classes) for photo in photos],
    }
    text = json.dumps(
        content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=int
    )
    return text.replace("<", "\\u003c")  # without any `<`, no tag can end the script element


def _card(photo: Photo, row: dict, classes: pd.DataFrame) -> dict:
    """What is said and drawn of one photo; lines and circles only where there is an answer."""
    truth = (row["latitude"], row["longitude"])
    guess = (row["guess_latitude"], row["guess_longitude"])
    drawn = {"truth": svg.dot(truth)}
    seen = [truth]
    if np.isfinite(guess).all():
        drawn |= {"guess": svg.dot(guess), "line": svg.arc(truth, guess)}
        drawn |= {f"r{held}": svg.circle(guess, row[f"radius_{held}_km"]) for held in (50, 90)}
        likely = classes.iloc[[label for label, p in photo.top if p >= LIKELY]]
        seen += map(tuple, svg.rim(guess, row["radius_50_km"])[:, ::-1])
        seen += zip(likely["latitude"], likely["longitude"], strict=True)
    return {
        "id": photo.photo_id,
        "jpeg": b64encode(photo.thumbnail_jpeg).decode(),
        "true_place": photo.true_place,
        "true_position": _position(truth),
        "guessed_place": photo.guessed_place,
        "guessed_position": _position(guess) if len(seen) > 1 else "",
        **{key: row[key] for key in ("label", "guess_label", "owner")},
        "km": _rounded(row["distance_km"], 1),
        "loss": _rounded(row["loss"], 3),
        "confidence": _rounded(100 * row["confidence"], 1),
        "radius_50": _rounded(row["radius_50_km"], 1),
        "radius_90": _rounded(row["radius_90_km"], 1),
        "train_km": _rounded(row["nearest_train_km"], 1),
        "top": [(label, _rounded(p, 4)) for label, p in photo.top],
        "box": svg.view_box(np.array(seen)),
        **drawn,
    }


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def _position(position: tuple[float, float]) -> str:
    latitude, longitude = position
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.2f}° {north}, {abs(longitude):.2f}° {east}"
