import numpy as np

from nogps.geo import distance_km
from nogps.places import nearest_town, towns


def test_towns_come_with_the_largest_first():
    populations = [town.population for town in towns()]
    assert len(populations) > 20_000
    assert populations == sorted(populations, reverse=True)


def test_nearest_town_knows_towns_by_their_centres():
    found = nearest_town([48.85341, -33.86785, 64.13548], [2.3488, 151.20732, -21.89541])
    assert [(town.name, town.country) for town in found] == [
        ("Paris", "France"),
        ("Sydney", "Australia"),
        ("Reykjavík", "Iceland"),
    ]


def test_nearest_town_is_the_nearest_of_all():
    rng = np.random.default_rng(0)
    latitude, longitude = rng.uniform(-90, 90, 40), rng.uniform(-180, 180, 40)
    latitude[0], longitude[0] = -17.5, 180.0  # the nearest is across the antimeridian
    everywhere = np.array([(town.latitude, town.longitude) for town in towns()])
    for lat, lng, town in zip(latitude, longitude, nearest_town(latitude, longitude), strict=True):
        least = distance_km(lat, lng, everywhere[:, 0], everywhere[:, 1]).min()
        assert abs(distance_km(lat, lng, town.latitude, town.longitude) - least) < 1e-6


def test_nearest_town_takes_one_position_or_none():
    assert nearest_town(35.6895, 139.69171)[0].country == "Japan"
    assert nearest_town([], []) == []
