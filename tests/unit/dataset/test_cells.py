"""Which partition the parameters ask for; the partitions themselves: tests/unit/model."""

import numpy as np
import pytest

from nogps.dataset.cells import adaptive, fixed_level, north_south, partition
from nogps.dataset.settings import Cells

LIMITS = {"min_photos": 5, "max_photos": 40, "min_level": 2, "max_level": 6}


@pytest.mark.parametrize("kind", ["adaptive", "fixed_level", "north_south"])
def test_the_kind_and_the_limits_of_the_parameters_count(kind):
    rng = np.random.default_rng(0)
    latitude, longitude = rng.uniform(40, 60, 400), rng.uniform(0, 30, 400)
    expected = {
        "adaptive": adaptive(latitude, longitude, Cells(**LIMITS)),
        "fixed_level": fixed_level(latitude, longitude, level=6, min_photos=5),
        "north_south": north_south(latitude, longitude),
    }
    found = partition(kind, Cells(**LIMITS), latitude, longitude)
    assert found.tokens.tolist() == expected.pop(kind).tokens.tolist()
    assert found.tokens.tolist() not in [other.tokens.tolist() for other in expected.values()]
