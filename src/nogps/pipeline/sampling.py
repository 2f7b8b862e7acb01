"""Which photos the parameters ask a source for."""

from pathlib import Path
from typing import Any

from nogps.acquire.area import Region
from nogps.acquire.exclude import Excluded
from nogps.acquire.limits import Limits, read_weights
from nogps.acquire.service import SearchSpec
from nogps.acquire.sources import source_type
from nogps.base.errors import InputError
from nogps.pipeline.params import Params
from nogps.pipeline.paths import REGIONS


def search_spec(params: Params) -> SearchSpec:
    """What `sampling` asks for, with the source's own limits where that says null."""
    sampling, own = params.sampling, source_type(params.source).own_limits
    if sampling.taken_from and sampling.taken_to and sampling.taken_from > sampling.taken_to:
        raise InputError(
            f"sampling.taken_from ({sampling.taken_from}) is after sampling.taken_to "
            f"({sampling.taken_to}); swap them"
        )
    given: dict[str, Any] = {**own, **sampling.model_dump(exclude_none=True)}
    limited = ("per_cell", "per_owner", "per_sequence", "spacing_m")
    photos = given.get("photos", 0)
    return SearchSpec(
        weights=_region_weights(params, photos),
        limits=Limits(
            Region.read(sampling.region),
            str(sampling.taken_from or ""),
            str(sampling.taken_to or ""),
            sampling.cell_level,
            **{name: given.get(name, 0) for name in limited},
        ),
        licences=frozenset(sampling.licences),
        places=sampling.places,
        photos=photos,
        calls=sampling.calls,
        seed=params.seed,
        excluded=Excluded.read(params.exclude),
    )


def _region_weights(params: Params, photos: int) -> dict[str, float] | None:
    sampling, by_area = params.sampling, source_type(params.source).by_area
    if by_area and bool(sampling.weights) != (sampling.places == "weights"):
        raise InputError(
            "sampling.places and sampling.weights belong together: set places: weights and "
            "weights: to a copy of metrics/regions.csv, or neither"
        )
    if not sampling.weights:
        return None
    path = Path(sampling.weights)
    if path.resolve() == REGIONS.resolve():
        raise InputError(
            f"sampling.weights: {path} is written anew by each run; copy it and name the copy"
        )
    if not by_area and not photos:
        raise InputError(
            "sampling.weights: without sampling.photos all candidates are kept and there is "
            "nothing to weigh; say how many to keep"
        )
    return read_weights(path)
