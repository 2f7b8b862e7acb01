"""What a model answers: a point, circles, cells, and words for how sure it is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from nogps.earth import geo, towns
from nogps.model.classes import Partition

Floats = NDArray[np.float64]
Names = Sequence[Hashable] | NDArray[np.object_]  # one for each photo
BEST = 5  # cells that a guess names


@dataclass(frozen=True)
class Calibration:
    """What is fitted on the validation fold."""

    temperature: float = 1.0  # scores are divided by it
    together: float = 0.0  # 0: k photos of one place count as one; 1: as k that know nothing alike
    reach: float = 1.0  # the radii of the kernel, as a share of the protocol's
    together_reach: float = 1.0  # the same for photos of one place answered as one
    radius_50: float = 1.0  # factors that make the radii hold what they say
    radius_90: float = 1.0
    together_radius_50: float = 1.0
    together_radius_90: float = 1.0


@dataclass(frozen=True)
class Answers:
    """Where a model puts n photos; angles are degrees."""

    probabilities: Floats  # (n, classes)
    latitude: Floats  # (n,)
    longitude: Floats
    label: NDArray[np.int64]  # the most probable class
    confidence: Floats  # its probability
    radius_50_km: Floats  # circles round the answer that hold half and nine tenths
    radius_90_km: Floats


@dataclass(frozen=True)
class Cell:
    """A class, and how probable it is that the photo was taken there."""

    token: str  # of S2
    probability: float  # 0 to 1
    latitude: float  # degrees, of the point that stands for it
    longitude: float
    place: str  # the nearest town, as "Lisbon, Portugal"


@dataclass(frozen=True)
class Guess:
    """Where the model puts a photo; angles are degrees."""

    latitude: float
    longitude: float
    radius_50_km: float  # the circle round it that holds the truth in half of the cases
    radius_90_km: float  # and in nine of ten
    place: str  # the nearest town of at least 15,000 people, as "Lisbon, Portugal"
    cells: tuple[Cell, ...]  # the most probable, best first

    @property
    def confidence(self) -> float:
        """Probability of the most probable cell, 0 to 1."""
        return self.cells[0].probability

    @property
    def cell(self) -> str:
        """S2 token of that cell."""
        return self.cells[0].token

    @property
    def sureness(self) -> str:
        """How sure the model is, in a sentence."""
        likely, perhaps = (_area(each) for each in (self.radius_90_km, self.radius_50_km))
        parts = [f"likely the right {likely}"] if likely else []
        if perhaps and perhaps != likely:
            parts.append(f"perhaps the right {perhaps}")
        said = ", ".join(parts) or "it does not know"
        return (
            f"{said[0].upper()}{said[1:]}: half of such guesses are within "
            f"{_km(self.radius_50_km)} km, nine of ten within {_km(self.radius_90_km)} km."
        )

    def to_dict(self) -> dict:
        """The guess as JSON holds it."""
        return asdict(self)

    def to_geojson(self) -> dict:
        """A GeoJSON Feature (RFC 7946): the point, with all else as its properties."""
        properties = self.to_dict()
        position = [properties.pop("longitude"), properties.pop("latitude")]
        point = {"type": "Point", "coordinates": position}
        return {"type": "Feature", "geometry": point, "properties": properties}


def guesses_of(answers: Answers, partition: Partition, n: int) -> list[Guess]:
    """The first n answers one by one, with the BEST cells and the names of the nearest towns."""
    best = np.argsort(-answers.probabilities[:n], axis=1, kind="stable")[:, :BEST]
    probability = np.take_along_axis(answers.probabilities[:n], best, axis=1)
    latitude, longitude = (axis[best] for axis in partition.points())
    named = towns.nearest_town(
        np.column_stack([answers.latitude[:n], latitude]).ravel(),
        np.column_stack([answers.longitude[:n], longitude]).ravel(),
    )
    names = np.array(list(map(str, named)), dtype=object).reshape(n, -1)
    columns = partition.tokens[best], probability, latitude, longitude, names[:, 1:]
    rows = zip(*(column.tolist() for column in columns), strict=True)
    cells = [tuple(map(Cell, *row)) for row in rows]
    circles = answers.latitude, answers.longitude, answers.radius_50_km, answers.radius_90_km
    numbers = (column[:n].tolist() for column in circles)
    return [Guess(*row) for row in zip(*numbers, names[:, 0], cells, strict=True)]


def _area(radius_km: float) -> str:
    """The smallest kind of area that the protocol knows and that reaches so far; "" if none."""
    reached = [name for name, radius in geo.RADII_KM.items() if radius_km <= radius]
    return reached[0].split("_")[0] if reached else ""


def _km(distance: float) -> str:
    return f"{distance:,.0f}" if distance >= 10 else f"{max(distance, 1):.1f}"
