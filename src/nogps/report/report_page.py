"""The page people look at after a run, and its results as plain text for the terminal.

Nothing is computed here that was not passed in, except what `analysis` counts, the names of towns
and positions on paper. report.html is the page and report.js what makes it answer.
"""

import json
import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files as resources
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from nogps.base.files import replacing
from nogps.earth import towns
from nogps.earth.geo import EARTH_RADIUS_KM, FARTHEST_KM, RADII_KM
from nogps.evaluate import analysis
from nogps.evaluate.protocol import Row
from nogps.report import svg
from nogps.rights import credits

NO_ANSWER = "no answer"
MAP_PHOTOS = 1000  # more dots than this hide each other, and make the page heavy
WORST = 10  # photos, pairs and cells listed under each heading

ROW_NOTES = {
    "model": "the answers of the model that was trained",
    "model_alone": "each photo by itself; in the row above, those of an owner are one place",
    "best_cell": "an oracle: the class point nearest to the truth, all that these classes allow",
    "nearest_neighbour": "the place of the training photo with the most similar frozen features",
    "most_common_cell": "always the class with the most training photos",
    "chance": "the place of a training photo drawn at random",
}
NOT_BASELINES = ("model", "model_alone", "best_cell")


@dataclass(frozen=True)
class Published:
    """What others printed for the same benchmark. A radius they left out is not in `hits`."""

    name: str
    hits: dict[str, float]  # percent, by keys of RADII_KM
    source: str  # where it was printed, such as "arXiv 1602.05314"


@dataclass(frozen=True)
class PhotoSet:
    """The results on one set of photos: the test photos or a benchmark."""

    name: str
    rows: list[Row]
    distances: dict[str, NDArray[np.float64]]  # km by row name, shape (n,); NaN is a miss
    published: list[Published] = field(default_factory=list)


@dataclass(frozen=True)
class Photo:
    """One photo to show. What else is known of it is found in the predictions by its id."""

    photo_id: str
    thumbnail_jpeg: bytes  # empty when the photo could not be read
    top: list[tuple[int, float]]  # the most probable classes: label and probability, largest first
    true_place: str = ""  # the nearest town
    guessed_place: str = ""


def results_table(rows: Sequence[Row]) -> str:
    """The rows as aligned plain text: percent within each radius, median.

    After each percentage stands how far its 95 % interval reaches on the longer side.
    """
    columns = [["", "", *(row.name for row in rows)], ["", "n", *(str(row.n) for row in rows)]]
    for key, radius in RADII_KM.items():
        columns.append([key.split("_")[0], f"{radius:g} km", *_text_hits(rows, key)])
    columns.append(["median", "km", *(_km(row.median_km) for row in rows)])
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for name, *numbers in zip(*columns, strict=True):
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def write_report(
    path: Path,
    *,
    facts: dict[str, str | int | float],
    sets: Sequence[PhotoSet],
    classes: pd.DataFrame,
    predictions: pd.DataFrame,
    regions: pd.DataFrame,
    photos: Sequence[Photo],
    drawn: bool = False,
) -> None:
    """Write the report: one HTML file that needs no network. The same input gives the same bytes.

    Positions are degrees, distances km.

    Args:
        path: where to write; the file is replaced only once the new one is whole.
        facts: what was run, shown as passed.
        sets: the test photos first, then the benchmarks.
        classes: a row a class, in label order: token, latitude, longitude, photos (of the train
            fold), spread_km.
        predictions: a row a test photo: photo_id, latitude, longitude, guess_latitude and
            guess_longitude (NaN without an answer), distance_km, loss (NaN outside every class),
            confidence (0 to 1), label (-1 outside), guess_label (the most probable class; -1
            without an answer), radius_50_km, radius_90_km, nearest_train_km, owner, and what
            `attribution.CREDIT` names.
        regions: a row a region: region (its S2 token), latitude and longitude where its photos are,
            n, percent within each of RADII_KM with `_low` and `_high`, geoguessr.
        photos: the photos to show, at best the worst ones and an even draw of the others.
        drawn: whether this program drew them, so that nobody need be credited.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": _percent,
        "km": _km,
        "number": _number,
        "place_x": _place_on_axis,
        "scale": _scale,
    }
    land, borders = svg.world()
    named = classes.assign(name=_towns(classes))
    script = _read("report_page.js")
    bins = analysis.reliability(predictions)
    html = environment.from_string(_read("report_page.html")).render(
        facts=facts,
        summary=_summary(sets[0]),
        sets=sets,
        curves=[
            {row.name: _curve(photo_set.distances[row.name]) for row in photo_set.rows if row.n}
            for photo_set in sets
        ],
        radii=RADII_KM,
        infinity=math.inf,
        row_notes=ROW_NOTES,
        earth_radius_km=EARTH_RADIUS_KM,
        land=land,
        borders=borders,
        map=_photo_map(*(_positions(predictions, prefix) for prefix in ("", "guess_"))),
        regions=_region_dots(regions.assign(name=_towns(regions))),
        regions_box=svg.view_box(_positions(regions)),
        classes=_records(named),
        pairs=_records(analysis.confused_pairs(predictions, WORST)),
        attractors=_records(analysis.attractors(predictions, classes, WORST)),
        by_nearest_train=_records(analysis.by_nearest_train(predictions)),
        by_confidence=_records(analysis.by_confidence(predictions)),
        bins=_records(bins),
        calibration_error=analysis.expected_calibration_error(bins),
        coverage=_records(analysis.coverage(predictions)),
        worst={
            title: _records(predictions.dropna(subset=column).nlargest(WORST, column))
            for title, column in {"loss": "loss", "distance": "distance_km"}.items()
        },
        places={photo.photo_id: (photo.true_place, photo.guessed_place) for photo in photos},
        shown=len(photos),
        drawn=drawn,
        credits=credits.listed(_credits(photos, predictions)),
        data=Markup(_json(_explored(photos, predictions, named))),
        script=Markup(script),
        # What a policy takes for the script is the exact text between its tags.
        script_hash="sha256-" + b64encode(sha256(script.encode()).digest()).decode(),
    )
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")


def _read(name: str) -> str:
    return resources("nogps.report").joinpath(name).read_text("utf-8")


def _records(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


def _towns(table: pd.DataFrame) -> list[str]:
    return list(map(str, towns.nearest_town(table["latitude"], table["longitude"])))


def _positions(table: pd.DataFrame, prefix: str = "") -> NDArray[np.float64]:
    return table[[f"{prefix}latitude", f"{prefix}longitude"]].to_numpy(float)


# ---- the photos to explore, as report.js reads them


def _credits(photos: Sequence[Photo], predictions: pd.DataFrame) -> list[dict]:
    """Whom to credit for each photo, in the same order."""
    rows = predictions.set_index("photo_id", drop=False).loc[[each.photo_id for each in photos]]
    return _records(credits.table(rows))


def _explored(photos: Sequence[Photo], predictions: pd.DataFrame, classes: pd.DataFrame) -> dict:
    rows = predictions.set_index("photo_id").to_dict("index")
    used = {label for photo in photos for label, _ in photo.top}
    used |= {rows[photo.photo_id][key] for photo in photos for key in ("label", "guess_label")}
    return {
        "classes": {
            label: {
                "name": one.name,
                "token": one.token,
                "disc": svg.circle((one.latitude, one.longitude), one.spread_km),
            }
            for label, one in zip(classes.index, classes.itertuples(index=False), strict=True)
            if label in used
        },
        "photos": [_explore(photo, rows[photo.photo_id], classes) for photo in photos],
    }


def _explore(photo: Photo, row: dict, classes: pd.DataFrame) -> dict:
    truth = (row["latitude"], row["longitude"])
    guess = (row["guess_latitude"], row["guess_longitude"])
    drawn = {"truth": svg.dot(truth)}
    seen = [truth]
    if np.isfinite(guess).all():
        drawn |= {"guess": svg.dot(guess), "line": svg.arc(truth, guess)}
        drawn |= {f"r{held}": svg.circle(guess, row[f"radius_{held}_km"]) for held in (50, 90)}
        likely = [label for label, probability in photo.top if probability >= 0.05]
        seen += [*svg.rim(guess, row["radius_50_km"])[:, ::-1], *_positions(classes.iloc[likely])]
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
        "top": [(label, _rounded(probability, 4)) for label, probability in photo.top],
        "box": svg.view_box(np.array(seen)),
        **drawn,
    }


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def _json(data: dict) -> str:
    """JSON that may stand inside a script element: without any `<`, no tag can end it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=int)
    return text.replace("<", "\\u003c")


# ---- words and numbers


def _percent(share: float) -> str:
    if not math.isfinite(share):
        return NO_ANSWER
    return f"{share:.2f}" if 0 < share < 0.1 else f"{share:.1f}"


def _km(distance: float) -> str:
    if not math.isfinite(distance):
        return NO_ANSWER
    return f"{distance:.1f}" if distance < 10 else f"{distance:,.0f}"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return NO_ANSWER
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.2f}"


def _position(position: tuple[float, float]) -> str:
    latitude, longitude = position
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.2f}° {north}, {abs(longitude):.2f}° {east}"


def _text_hits(rows: Sequence[Row], key: str) -> list[str]:
    """Percent of each row, and how far the 95 % interval reaches on its longer side."""
    margins = [max(abs(end - row.hits[key]) for end in row.intervals[key]) for row in rows]
    width = max(map(len, map(_percent, margins)), default=0)
    return [
        f"{_percent(row.hits[key])} ±{_percent(margin):<{width}}" if row.n else "-"
        for row, margin in zip(rows, margins, strict=True)
    ]


def _summary(photo_set: PhotoSet) -> list[str]:
    """How the model did, in sentences: against the best baseline, for better or worse."""
    model = next(row for row in photo_set.rows if row.name == "model")
    baselines = [row for row in photo_set.rows if row.name not in NOT_BASELINES and row.n]
    if not model.n:
        return ["There was no photo to test on."]
    best = {key: max(baselines, key=lambda row: row.hits[key], default=None) for key in RADII_KM}

    share = f"{_percent(model.hits['region_200km'])} %"
    if math.isfinite(model.median_km):
        first = f"Half of the {model.n:,} {photo_set.name} photos are placed within "
        first += f"{_km(model.median_km)} km; {share} within 200 km"
    else:
        first = f"{share} of the {model.n:,} {photo_set.name} photos are placed within 200 km"
    if baselines:
        first += f", against {_percent(best['region_200km'].hits['region_200km'])} %"
        first += " for the best baseline"
    sentences = [first + "."]

    not_beaten = [
        f"within {RADII_KM[key]:,g} km ({_percent(model.hits[key])} % against "
        f"{_percent(row.hits[key])} % for {row.name.replace('_', ' ')})"
        for key, row in best.items()
        if row and not model.hits[key] > row.hits[key]
    ]
    if not_beaten:
        sentences.append(f"It does not beat the best baseline {_list(not_beaten)}.")
    elif baselines:
        unsure = [
            f"within {RADII_KM[key]:,g} km"
            for key in RADII_KM
            if model.intervals[key][0] <= max(row.intervals[key][1] for row in baselines)
        ]
        ahead = "It is ahead of every baseline at all five radii"
        if unsure:
            ahead += f"; {_list(unsure)} the intervals overlap, so that lead may be chance"
        sentences.append(ahead + ".")

    unanswered = np.count_nonzero(~np.isfinite(photo_set.distances["model"]))
    if unanswered:
        sentences.append(f"{unanswered:,} could not be read or located and count as misses.")
    return sentences


def _list(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


# ---- share of photos located against distance

NEAREST_KM = 0.1


def _place_on_axis(distance: float) -> float:
    """Where a distance in km lies on the logarithmic axis, 0 to 100."""
    return round(100 * math.log(distance / NEAREST_KM) / math.log(FARTHEST_KM / NEAREST_KM), 2)


def _curve(distances: NDArray[np.float64]) -> str:
    """SVG path of the share within each distance, on a square of 100 by 100."""
    steps = np.geomspace(NEAREST_KM, FARTHEST_KM, 200)
    steps = np.union1d(steps, list(RADII_KM.values()))
    located = np.sort(distances[np.isfinite(distances)])
    share = 100 * np.searchsorted(located, steps, side="right") / len(distances)
    points = (f"{_place_on_axis(x):g} {100 - y:.4g}" for x, y in zip(steps, share, strict=True))
    return "M" + "L".join(points)


# ---- maps


@dataclass(frozen=True)
class _Map:
    view_box: str
    truths: str  # paths
    guesses: str
    lines: str
    drawn: int
    photos: int
    unanswered: int


def _region_dots(regions: pd.DataFrame) -> list[dict]:
    """The regions, the largest first, with a dot and its width in pixels: area by photos."""
    regions = regions.sort_values("n", ascending=False, kind="stable")
    most = regions["n"].max()
    return [
        {
            **row,
            "dot": svg.dot((row["latitude"], row["longitude"])),
            "width": round(max(5.0, 26 * math.sqrt(row["n"] / most)), 1),
        }
        for row in _records(regions)
    ]


def _scale(percent: float) -> str:
    """The colour of a percentage, ordered for every eye."""
    return to_hex(colormaps["viridis"](percent / 100))


def _photo_map(truths: NDArray[np.float64], guesses: NDArray[np.float64]) -> _Map:
    truths, guesses = truths.reshape(-1, 2), guesses.reshape(-1, 2)
    drawn = np.linspace(0, len(truths) - 1, min(len(truths), MAP_PHOTOS)).astype(int)
    pairs = list(zip(truths[drawn], guesses[drawn], strict=True))
    answered = [(truth, guess) for truth, guess in pairs if np.isfinite(guess).all()]
    return _Map(
        view_box=svg.view_box(np.array([*truths[drawn], *(guess for _, guess in answered)])),
        truths="".join(svg.dot(truth) for truth, _ in pairs),
        guesses="".join(svg.dot(guess) for _, guess in answered),
        lines="".join(svg.arc(truth, guess) for truth, guess in answered),
        drawn=len(drawn),
        photos=len(truths),
        unanswered=len(pairs) - len(answered),
    )
