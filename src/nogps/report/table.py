"""The results as plain text: a table, sentences that sum it up, numbers as people read them."""

import math
from collections.abc import Sequence

from nogps.earth.geo import RADII_KM
from nogps.evaluate.protocol import Row

NO_ANSWER = "no answer"
NOT_BASELINES = ("model", "model_alone", "best_cell")


def results_table(rows: Sequence[Row]) -> str:
    """The rows as aligned plain text: percent within each radius with its margin, median."""
    columns = [["", "", *(row.name for row in rows)], ["", "n", *(str(row.n) for row in rows)]]
    for key, radius in RADII_KM.items():
        columns.append([key.split("_")[0], f"{radius:g} km", *_hits(rows, key)])
    columns.append(["median", "km", *(km(row.median_km) for row in rows)])
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for name, *numbers in zip(*columns, strict=True):
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _hits(rows: Sequence[Row], key: str) -> list[str]:
    """Percent of each row, and how far the 95 % interval reaches on its longer side."""
    margins = [max(abs(end - row.hits[key]) for end in row.intervals[key]) for row in rows]
    width = max(map(len, map(percent, margins)), default=0)
    return [
        f"{percent(row.hits[key])} ±{percent(margin):<{width}}" if row.n else "-"
        for row, margin in zip(rows, margins, strict=True)
    ]


def summary(name: str, rows: Sequence[Row], unanswered: int) -> list[str]:
    """Sentences that say how the model did on a set of which it left `unanswered` photos."""
    model = next(row for row in rows if row.name == "model")
    if not model.n:
        return ["There was no photo to test on."]
    baselines = [row for row in rows if row.name not in NOT_BASELINES and row.n]
    share, photos = percent(model.hits["region_200km"]), f"the {model.n:,} {name} photos"
    sentences = [f"{share} % of {photos} are placed within 200 km"]
    if math.isfinite(model.median_km):
        half = f"Half of {photos} are placed within {km(model.median_km)} km"
        sentences = [f"{half}; {share} % within 200 km"]
    if baselines:
        best = max(row.hits["region_200km"] for row in baselines)
        sentences[0] += f", against {percent(best)} % for the best baseline"
        sentences.append(_against(model, baselines))
    if unanswered:
        sentences.append(f"{unanswered:,} could not be read or located and count as misses")
    return [f"{each}." for each in sentences]


def _against(model: Row, baselines: Sequence[Row]) -> str:
    """Whether the model beats the best baseline at each radius, without the full stop."""
    best = {key: max(baselines, key=lambda row: row.hits[key]) for key in RADII_KM}
    not_beaten = [
        f"within {RADII_KM[key]:,g} km ({percent(model.hits[key])} % against "
        f"{percent(row.hits[key])} % for {row.name.replace('_', ' ')})"
        for key, row in best.items()
        if not model.hits[key] > row.hits[key]
    ]
    if not_beaten:
        return f"It does not beat the best baseline {_list(not_beaten)}"
    unsure = [
        f"within {RADII_KM[key]:,g} km"
        for key in RADII_KM
        if model.intervals[key][0] <= max(row.intervals[key][1] for row in baselines)
    ]
    told = "It is ahead of every baseline at all five radii"
    if unsure:
        told += f"; {_list(unsure)} the intervals overlap, so that lead may be chance"
    return told


def _list(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def percent(share: float) -> str:
    """A percentage to one digit, below 0.1 to two."""
    if not math.isfinite(share):
        return NO_ANSWER
    return f"{share:.2f}" if 0 < share < 0.1 else f"{share:.1f}"


def km(distance: float) -> str:
    """Kilometres, below 10 to one digit."""
    if not math.isfinite(distance):
        return NO_ANSWER
    return f"{distance:.1f}" if distance < 10 else f"{distance:,.0f}"


def number(value: float) -> str:
    """A whole or large number without digits behind the point, others with two."""
    if not math.isfinite(value):
        return NO_ANSWER
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.2f}"
