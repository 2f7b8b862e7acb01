"""How photos become folds and classes: parameters."""

from typing import Annotated

from pydantic import Field

from nogps.base.settings import Count, Level, Section


class Split(Section):
    """How photos are divided into folds."""

    val: Annotated[float, Field(gt=0, lt=0.5)]
    test: Annotated[float, Field(gt=0, lt=0.5)]
    place_level: Annotated[int, Field(ge=-1, le=30)]
    near_duplicate_bits: Annotated[int, Field(ge=-1, le=15)]


class Cells(Section):
    """Limits of the cells."""

    min_photos: Count
    max_photos: Count
    min_level: Level
    max_level: Level
