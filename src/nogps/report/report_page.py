"""The report of a run: one HTML page, metrics/report.html.

Nothing is computed here that was not passed in, except what `evaluate.analysis` counts, the names
of towns and positions on paper. report_page.html is the page and report_page.js its script.
"""

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from nogps.earth.geo import EARTH_RADIUS_KM, FARTHEST_KM, RADII_KM
from nogps.evaluate import analysis
from nogps.evaluate.protocol import Row, positions
from nogps.report import published, svg, table, template
from nogps.report.photos import as_json, nearest_towns
from nogps.rights import credits

MAP_PHOTOS = 1000  # more dots than this hide each other, and make the page heavy
WORST = 10  # photos, pairs and cells listed under each heading
NEAREST_KM = 0.1  # where the axis of distances begins


@dataclass(frozen=True)
class PhotoSet:
    """The results on one set of photos: the test photos or a benchmark."""

    name: str
    rows: list[Row]
    distances: dict[str, NDArray[np.float64]]  # km by row name, shape (n,); NaN is a miss


def write_report(
    path: Path,
    *,
    facts: Mapping[str, str | float],  # what was run, shown as passed
    sets: Sequence[PhotoSet],  # the test photos first, then the benchmarks
    # A row a class, in label order: token, latitude, longitude, photos of the train fold, spread_km
    classes: pd.DataFrame,
    predictions: pd.DataFrame,  # a row a test photo, as `evaluate.measure.Measured` has it
    regions: pd.DataFrame,  # a row a region, as `evaluate.regions.by_region` gives it
    photos: pd.DataFrame,  # those of them to show, as `report.photos.to_show` gives them
    drawn: bool = False,  # whether this program drew them, so that nobody need be credited
) -> None:
    """Write the report: one HTML file that needs no network; the same input, the same bytes."""
    classes = classes.assign(name=nearest_towns(classes))
    script, (land, borders) = template.text("report_page.js"), svg.world()
    parts = {
        "facts": facts,
        **_results(sets),
        "land": land,
        "borders": borders,
        "map": _photo_map(positions(predictions), positions(predictions, "guess_")),
        "regions": _region_dots(regions.assign(name=nearest_towns(regions))),
        "regions_box": svg.view_box(positions(regions)),
        **_errors(predictions, classes),
        "places": photos.set_index("photo_id")[["true_place", "guessed_place"]].T.to_dict("list"),
        "shown": len(photos),
        "drawn": drawn,
        "credits": credits.listed(_records(credits.table(photos))),
        "data": Markup(as_json(photos, classes)),
        "script": Markup(script),
        # What a policy takes for the script is the exact text between its tags.
        "script_hash": "sha256-" + b64encode(sha256(script.encode()).digest()).decode(),
    }
    numbers = {"percent": table.percent, "km": table.km, "number": table.number}
    drawing = {"place_x": _place_on_axis, "scale": _scale}
    template.write_page(path, "report_page.html", parts, **numbers, **drawing)


def _records(rows: pd.DataFrame) -> list[dict]:
    return rows.to_dict("records")


def _results(sets: Sequence[PhotoSet]) -> dict:
    test = sets[0]
    unanswered = int(np.count_nonzero(~np.isfinite(test.distances["model"])))
    return {
        "summary": table.summary(test.name, test.rows, unanswered),
        "sets": sets,
        "published": {each.name: published.beside(each.name) for each in sets},
        "curves": [
            {row.name: _curve(each.distances[row.name]) for row in each.rows if row.n}
            for each in sets
        ],
        "radii": RADII_KM,
        "infinity": math.inf,
        "earth_radius_km": EARTH_RADIUS_KM,
    }


def _errors(predictions: pd.DataFrame, classes: pd.DataFrame) -> dict:
    bins = analysis.reliability(predictions)
    return {
        "classes": _records(classes),
        "pairs": _records(analysis.confused_pairs(predictions, WORST)),
        "attractors": _records(analysis.attractors(predictions, classes, WORST)),
        "by_nearest_train": _records(analysis.by_nearest_train(predictions)),
        "by_confidence": _records(analysis.by_confidence(predictions)),
        "bins": _records(bins),
        "calibration_error": analysis.expected_calibration_error(bins),
        "coverage": _records(analysis.coverage(predictions)),
        "worst": {
            title: _records(predictions.dropna(subset=column).nlargest(WORST, column))
            for title, column in {"loss": "loss", "distance": "distance_km"}.items()
        },
    }


def _place_on_axis(distance: float) -> float:
    """Where a distance in km lies on the logarithmic axis, 0 to 100."""
    return round(100 * math.log(distance / NEAREST_KM) / math.log(FARTHEST_KM / NEAREST_KM), 2)


def _curve(distances: NDArray[np.float64]) -> str:
    """SVG path of the share within each distance, on a square of 100 by 100."""
    steps = np.union1d(np.geomspace(NEAREST_KM, FARTHEST_KM, 200), list(RADII_KM.values()))
    located = np.sort(distances[np.isfinite(distances)])
    share = 100 * np.searchsorted(located, steps, side="right") / len(distances)
    points = (f"{_place_on_axis(x):g} {100 - y:.4g}" for x, y in zip(steps, share, strict=True))
    return "M" + "L".join(points)


def _photo_map(truths: NDArray[np.float64], guesses: NDArray[np.float64]) -> dict:
    """The map of truths and guesses, shape (n, 2) each, NaN where there is no guess."""
    chosen = np.linspace(0, len(truths) - 1, min(len(truths), MAP_PHOTOS)).astype(int)
    pairs = list(zip(truths[chosen], guesses[chosen], strict=True))
    answered = [(truth, guess) for truth, guess in pairs if np.isfinite(guess).all()]
    return {
        "view_box": svg.view_box(np.array([*truths[chosen], *(guess for _, guess in answered)])),
        "truths": "".join(svg.dot(truth) for truth, _ in pairs),
        "guesses": "".join(svg.dot(guess) for _, guess in answered),
        "lines": "".join(svg.arc(truth, guess) for truth, guess in answered),
        "drawn": len(chosen),
        "photos": len(truths),
        "unanswered": len(pairs) - len(answered),
    }


def _region_dots(regions: pd.DataFrame) -> list[dict]:
    """The regions, the largest first, with a dot and its width in pixels: area by photos."""
    regions = regions.sort_values("n", ascending=False, kind="stable")
    dots = [svg.dot(each) for each in positions(regions)]
    most = regions["n"].max()
    widths = [round(max(5.0, 26 * math.sqrt(n / most)), 1) for n in regions["n"]]
    return _records(regions.assign(dot=dots, width=widths))


def _scale(percent: float) -> str:
    """The colour of a percentage, ordered for every eye."""
    return to_hex(colormaps["viridis"](percent / 100))
