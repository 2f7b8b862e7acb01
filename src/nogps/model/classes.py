"""The classes of a model: parts of the globe, and the photos that each holds.

`adaptive` is PlaNet's partition (Weyand, Kostrikov and Philbin, ECCV 2016): S2 cells that are
small where photos are many. Photos are counted, not places: a hundred photos at one coordinate
are a hundred.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nogps.base.errors import InputError
from nogps.base.files import replacing
from nogps.earth import s2
from nogps.earth.geo import EARTH_RADIUS_KM

COLUMNS = {  # of the CSV file: the kind of value, and the array of a Partition
    "label": ("int64", ""),
    "token": ("str", "tokens"),
    "level": ("int64", "levels"),
    "parent": ("str", "parents"),
    "photos": ("int64", "photos"),
    "centre_latitude": ("float64", "centre_latitude"),
    "centre_longitude": ("float64", "centre_longitude"),
    "mean_latitude": ("float64", "mean_latitude"),
    "mean_longitude": ("float64", "mean_longitude"),
}


@dataclass(frozen=True, eq=False)
class Partition:
    """The classes: arrays (n,) of which element `label` describes the class of that label.

    They are S2 cells, none within another, in the order of their ids; or else `Halves`. Angles are
    degrees.
    """

    tokens: NDArray[np.str_]  # S2 tokens
    levels: NDArray[np.int64]  # S2 levels
    parents: NDArray[np.str_]  # token of the S2 cell one level up; "" where there is none
    photos: NDArray[np.int64]  # how many photos each class was made from
    centre_latitude: NDArray[np.float64]
    centre_longitude: NDArray[np.float64]
    mean_latitude: NDArray[np.float64]  # spherical mean of those photos
    mean_longitude: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.tokens)

    def assign(self, latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.int64]:
        """Labels (n,) of positions (n,), see `s2.positions`; -1 outside every class."""
        ids = s2.cell_ids(latitude, longitude)
        labels = np.searchsorted(s2.range_min(self._cells), ids, side="right") - 1
        # Before the first cell the label is -1 already, whatever the last cell's end says.
        return np.where(ids <= s2.range_max(self._cells)[labels], labels, -1)

    def points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes and longitudes (n,) that stand for the classes: the means of their photos."""
        return self.mean_latitude, self.mean_longitude

    def spread_km(self) -> NDArray[np.float64]:
        """Radius (n,) of a disc as large as a cell of each class's level on average, in km."""
        return np.sqrt(4 * np.pi * EARTH_RADIUS_KM**2 / (6 * 4.0**self.levels) / np.pi)

    @cached_property
    def ancestors(self) -> NDArray[np.uint64]:
        """Ids of the cells with two or more classes, the coarsest first; S2 order in a level."""
        found = []
        for level in range(int(self.levels.max())):
            deeper = self._cells[self.levels > level]
            cells, held = np.unique(s2.parent(deeper, level), return_counts=True)
            found.append(cells[held > 1])
        return np.concatenate([np.array([], dtype=np.uint64), *found])

    def lineage(self, latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.int64]:
        """What holds each position: the ancestors, the coarsest first, and at last the class.

        Shape (n, levels with ancestors + 1): a class by its label, ancestors numbered behind those;
        -1 where none holds it.
        """
        return self._lineage(s2.cell_ids(latitude, longitude), self.assign(latitude, longitude))

    def descent(self) -> NDArray[np.int64]:
        """What holds each class, itself last, as `lineage`; shape (classes, levels + 1)."""
        return self._lineage(self._cells, np.arange(len(self)))

    def _lineage(self, ids: NDArray[np.uint64], label: NDArray[np.int64]) -> NDArray[np.int64]:
        # The last ancestor of each level that does not begin behind an id may hold it.
        levels = s2.level(self.ancestors)
        columns = []
        for level in np.unique(levels):
            first = len(self) + int(np.searchsorted(levels, level))
            cells = self.ancestors[levels == level]
            number = np.searchsorted(s2.range_min(cells), ids, side="right") - 1
            held = (number >= 0) & (ids <= s2.range_max(cells)[number])
            columns.append(np.where(held, first + number, -1))
        return np.stack([*columns, label], axis=1)

    def to_csv(self, path: Path) -> None:
        """Write the classes, a row each; `from_csv` reads exactly the same back."""
        import pandas as pd

        arrays = {name: getattr(self, field) for name, (_, field) in COLUMNS.items() if field}
        table = pd.DataFrame(arrays).rename_axis("label")
        with replacing(Path(path)) as temporary:
            table.to_csv(temporary, lineterminator="\n")

    @staticmethod
    def from_csv(path: Path) -> "Partition":
        """Read what `to_csv` wrote; InputError if there is no such file or it is no partition."""
        import pandas as pd

        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
        except FileNotFoundError:
            raise InputError(f"{path} is not there; `dvc repro` makes it") from None
        except ValueError:
            raise InputError(f"{path} is not a CSV file; make the partition again") from None
        arrays = {}
        for column, (kind, name) in COLUMNS.items():
            if column not in table:
                raise InputError(f"{path} has no column `{column}`; make the partition again")
            try:
                arrays[name] = table[column].to_numpy(str).astype(kind)
            except ValueError as error:
                told = f"{path}, column `{column}`: {error}; make the partition again"
                raise InputError(told) from None
        labels = arrays.pop("")
        try:
            partition = partition_of(arrays)
            partition._check(labels)
        except InputError as error:
            raise InputError(f"{path}: {error}; make the partition again") from None
        return partition

    @cached_property
    def _cells(self) -> NDArray[np.uint64]:
        return np.array([s2.from_token(str(token)) for token in self.tokens], dtype=np.uint64)

    def _check(self, labels: NDArray[np.int64]) -> None:
        """InputError unless these arrays, read with `labels`, are a partition."""
        if len(self) == 0:
            raise InputError("there is no class in it")
        if not np.array_equal(labels, np.arange(len(self))):
            raise InputError("labels do not count up from 0")
        if (self.photos < 1).any():
            raise InputError("a class has no photos")
        s2.positions(self.centre_latitude, self.centre_longitude)
        s2.positions(self.mean_latitude, self.mean_longitude)
        self._check_cells()

    def _check_cells(self) -> None:
        cells = self._cells
        overlap = s2.range_max(cells[:-1]) >= s2.range_min(cells[1:])
        if overlap.any():
            one, other = self.tokens[overlap.argmax() :][:2]
            raise InputError(f"cells {one} and {other} overlap or are not in the order of S2 ids")
        levels, parents = levels_and_parents(cells)
        wrong = (levels != self.levels) | (parents != self.parents)
        if wrong.any():
            token = self.tokens[int(wrong.argmax())]
            raise InputError(f"level or parent of cell {token} is not that of S2")


class Halves(Partition):
    """South (0) and north (1) of a latitude, which the tokens hold: "south<37.5", "north>=37.5".

    A position on the line is north. The levels are -1, the parents "".
    """

    @cached_property
    def divide(self) -> float:
        """The latitude between the two, in degrees."""
        return float(str(self.tokens[0]).removeprefix("south<"))

    def assign(self, latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.int64]:
        """Labels (n,) of positions (n,), see `s2.positions`."""
        latitude, _ = s2.positions(latitude, longitude)
        return (latitude >= self.divide).astype(np.int64)

    def spread_km(self) -> NDArray[np.float64]:
        """Radius (2,) of a disc as large as half of the globe, in km."""
        return np.full(2, np.sqrt(3 * (4 * np.pi * EARTH_RADIUS_KM**2 / 6) / np.pi))

    def descent(self) -> NDArray[np.int64]:
        """No cells hold them: shape (2, 1)."""
        return np.arange(2)[:, None]

    def _check_cells(self) -> None:
        try:
            fits = abs(self.divide) <= 90 and list(self.tokens) == half_tokens(self.divide)
        except ValueError:
            fits = False
        if not fits or (self.levels != -1).any() or (self.parents != "").any():
            raise InputError("its two halves do not fit together")


def partition_of(arrays: Mapping[str, Sequence | NDArray]) -> Partition:
    """The classes of these arrays or lists, by the names of Partition's fields."""
    made = {name: np.array(values) for name, values in arrays.items()}
    halves = len(made["tokens"]) and str(made["tokens"][0]).startswith("south")
    return (Halves if halves else Partition)(**made)


def half_tokens(divide: float) -> list[str]:
    """Tokens of the two halves; repr, and so a CSV file, keeps every bit of the latitude."""
    return [f"south<{divide!r}", f"north>={divide!r}"]


def levels_and_parents(cells: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """S2 level and parent's token of each cell (n,); "" for the parent of a cube face."""
    levels = s2.level(cells)
    parents = s2.parent(cells, np.maximum(levels - 1, 0))
    pairs = zip(parents, levels, strict=True)
    return levels, np.array([s2.to_token(cell) if level else "" for cell, level in pairs])
