"""How photos become folds and classes: parameters."""

from typing import Annotated

from pydantic import Field

from nogps.base.settings import Count, Level, Section


class Split(Section):
    """How photos are divided into folds."""

    val: Annotated[float, Field(gt=0, lt=0.5)]
    """Share of the photos in the validation fold."""
    test: Annotated[float, Field(gt=0, lt=0.5)]
    """Share of the photos in the test fold."""
    place_level: Annotated[int, Field(ge=-1, le=30)]
    """S2 level of the cells whose photos share a fold; 16: about 150 m; -1: off."""
    near_duplicate_bits: Annotated[int, Field(ge=-1, le=15)]
    """Most bits in which two 256-bit perceptual hashes of near-duplicates differ; -1: off."""


class Cells(Section):
    """Limits of the cells."""

    min_photos: Count
    """Fewest photos of a class; those of smaller cells are outside."""
    max_photos: Count
    """Most photos of a cell; a larger one is divided."""
    min_level: Level
    """Coarsest S2 level; 2: about 2,000 km."""
    max_level: Level
    """Finest S2 level; 12: about 2 km; the one of `partition: fixed_level`."""
