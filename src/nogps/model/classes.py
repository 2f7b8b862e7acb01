"""The classes of a model: parts of the globe, and the photos that each holds.

`adaptive` is PlaNet's partition (Weyand, Kostrikov and Philbin, ECCV 2016): S2 cells that are
small where photos are many. Photos are counted, not places: a hundred photos at one coordinate
are a hundred.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nogps.base.errors import InputError
from nogps.base.files import replacing
from nogps.earth import s2
from nogps.earth.geo import EARTH_RADIUS_KM

_COLUMNS = {
    "label": "int64",
    "token": "str",
    "level": "int64",
    "parent": "str",
    "photos": "int64",
    "centre_latitude": "float64",
    "centre_longitude": "float64",
    "mean_latitude": "float64",
    "mean_longitude": "float64",
}


@dataclass(frozen=True, eq=False)
class Partition:
    """The classes: arrays (n,) of which element `label` describes the class of that label.

    Classes are S2 cells, none within another, in the order of their ids; or else the two halves
    of `north_south`, whose tokens hold the latitude between them. Angles are degrees.
    """

    tokens: NDArray[np.str_]  # S2 tokens, or "south<37.5" and "north>=37.5"
    levels: NDArray[np.int64]  # S2 levels; -1 for a half
    parents: NDArray[np.str_]  # token of the S2 cell one level up; "" where there is none
    photos: NDArray[np.int64]  # how many photos each class was made from
    centre_latitude: NDArray[np.float64]
    centre_longitude: NDArray[np.float64]
    mean_latitude: NDArray[np.float64]  # spherical mean of those photos
    mean_longitude: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.tokens)

    def assign(self, latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.int64]:
        """Labels (n,) of positions (n,) in degrees; -1 outside every class.

        InputError names a position off the globe.
        """
        if self.divide is not None:
            latitude, _ = s2.positions(latitude, longitude)
            return (latitude >= self.divide).astype(np.int64)
        ids = s2.cell_ids(latitude, longitude)
        labels = np.searchsorted(s2.range_min(self._cells), ids, side="right") - 1
        # Before the first cell the label is -1 already, whatever the last cell's end says.
        return np.where(ids <= s2.range_max(self._cells)[labels], labels, -1)

    def points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes and longitudes (n,) that stand for the classes: the means of their photos."""
        return self.mean_latitude, self.mean_longitude

    def spread_km(self) -> NDArray[np.float64]:
        """Radius (n,) of a disc as large as a cell of each class's level on average, in km."""
        area = 4 * np.pi * EARTH_RADIUS_KM**2 / (6 * 4.0 ** np.maximum(self.levels, 0))
        return np.sqrt(np.where(self.levels < 0, 3 * area, area) / np.pi)  # a half is three faces

    @cached_property
    def ancestors(self) -> NDArray[np.uint64]:
        """Ids of the cells that hold two or more classes, the coarsest first; S2 order in a level.

        None for the two halves.
        """
        if self.divide is not None:
            return np.array([], dtype=np.uint64)
        found = []
        for level in range(int(self.levels.max())):
            deeper = self._cells[self.levels > level]
            cells, held = np.unique(s2.parent(deeper, level), return_counts=True)
            found.append(cells[held > 1])
        return np.concatenate([np.array([], dtype=np.uint64), *found])

    def ancestry(self, latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.int64]:
        """Which ancestor holds each position at each level that has any, the coarsest first.

        Shape (n, levels), indices into `ancestors`; -1 where none holds it.
        """
        return self._ancestry(np.atleast_1d(s2.cell_ids(latitude, longitude)))

    def descent(self) -> NDArray[np.int64]:
        """The same of the classes themselves, shape (classes, levels)."""
        return self._ancestry(self._cells) if len(self.ancestors) else np.empty((len(self), 0), int)

    def _ancestry(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        # The last ancestor of each level that does not begin behind an id may hold it.
        levels = s2.level(self.ancestors)
        columns = [np.empty((len(ids), 0), dtype=np.int64)]
        for level in np.unique(levels):
            first = int(np.searchsorted(levels, level))
            cells = self.ancestors[levels == level]
            number = np.searchsorted(s2.range_min(cells), ids, side="right") - 1
            held = (number >= 0) & (ids <= s2.range_max(cells)[number])
            columns.append(np.where(held, first + number, -1)[:, None])
        return np.concatenate(columns, axis=1)

    def to_csv(self, path: Path) -> None:
        """Write the classes, a row each; `from_csv` reads exactly the same back."""
        arrays = [np.arange(len(self)), self.tokens, self.levels, self.parents, self.photos]
        arrays += [self.centre_latitude, self.centre_longitude, *self.points()]
        table = pd.DataFrame(dict(zip(_COLUMNS, arrays, strict=True)))
        with replacing(Path(path)) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")

    @classmethod
    def from_csv(cls, path: Path) -> "Partition":
        """Read what `to_csv` wrote; InputError if there is no such file or it is no partition."""
        try:
            # As text: pandas would take the token 47e9 for a number, and not keep every bit.
            table = pd.read_csv(path, dtype=str, index_col=False, keep_default_na=False)
        except FileNotFoundError:
            raise InputError(f"{path} is not there; `dvc repro` makes it") from None
        except ValueError:
            raise InputError(f"{path} is not a CSV file; make the partition again") from None
        labels, tokens, levels, parents, *numbers = (
            _read_column(path, table, column) for column in _COLUMNS
        )
        partition = cls(tokens, levels, parents, *numbers)
        try:
            partition._check(labels)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        return partition

    @cached_property
    def divide(self) -> float | None:
        """The latitude between the two halves; None if the classes are S2 cells."""
        south, _, latitude = str(self.tokens[0]).partition("<")
        return float(latitude) if south == "south" else None

    @cached_property
    def _cells(self) -> NDArray[np.uint64]:
        return np.array([s2.from_token(str(token)) for token in self.tokens], dtype=np.uint64)

    def _check(self, labels: NDArray[np.int64]) -> None:
        """InputError unless these arrays, read with `labels`, are a partition."""
        if len(self) == 0:
            raise InputError("there is no class in it; make the partition again")
        if not np.array_equal(labels, np.arange(len(self))):
            raise InputError("labels do not count up from 0; make the partition again")
        if (self.photos < 1).any():
            raise InputError("a class has no photos; make the partition again")
        s2.positions(self.centre_latitude, self.centre_longitude)
        s2.positions(self.mean_latitude, self.mean_longitude)
        if str(self.tokens[0]).startswith("south"):
            self._check_halves()
        else:
            self._check_cells()

    def _check_halves(self) -> None:
        try:
            divide = self.divide
        except ValueError:
            divide = None
        if (
            divide is None
            or not abs(divide) <= 90
            or list(self.tokens) != _half_tokens(divide)
            or (self.levels != -1).any()
            or (self.parents != "").any()
        ):
            raise InputError("its two halves do not fit together; make the partition again")

    def _check_cells(self) -> None:
        cells = self._cells
        overlap = s2.range_max(cells[:-1]) >= s2.range_min(cells[1:])
        if overlap.any():
            first = int(overlap.argmax())
            raise InputError(
                f"cells {self.tokens[first]} and {self.tokens[first + 1]} overlap or are not in "
                "the order of S2 ids; make the partition again"
            )
        levels, parents = _levels_and_parents(cells)
        wrong = (levels != self.levels) | (parents != self.parents)
        if wrong.any():
            token = self.tokens[int(wrong.argmax())]
            raise InputError(
                f"level or parent of cell {token} is not that of S2; make the partition again"
            )


def _read_column(path: Path, table: pd.DataFrame, column: str) -> NDArray:
    if column not in table:
        raise InputError(f"{path} has no column `{column}`; make the partition again")
    try:
        return table[column].to_numpy(dtype=str).astype(_COLUMNS[column])
    except ValueError as error:
        raise InputError(f"{path}, column `{column}`: {error}; make the partition again") from None


def _half_tokens(divide: float) -> list[str]:
    # repr, and so a CSV file, keeps every bit of the latitude.
    return [f"south<{divide!r}", f"north>={divide!r}"]


def _levels_and_parents(cells: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    levels = s2.level(cells)
    parents = s2.parent(cells, np.maximum(levels - 1, 0))
    tokens = [
        s2.to_token(cell) if level else "" for cell, level in zip(parents, levels, strict=True)
    ]
    return levels, np.array(tokens)
