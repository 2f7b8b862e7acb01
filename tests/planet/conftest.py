from collections.abc import Iterator

import pytest

from planet.photos import photos
from planet.server import serving
from tests.planet.asking import PHOTOS, SEED


@pytest.fixture(scope="session")
def base() -> Iterator[str]:
    """Where the hosts of a planet on which nothing goes wrong are."""
    with serving(photos(SEED, PHOTOS), seed=SEED) as address:
        yield address
