import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nogps.earth import geo

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)
HALF_TURN = np.pi * geo.EARTH_RADIUS_KM


def test_distance_san_francisco_los_angeles():
    # A formula that takes radians for degrees or turns says 3517 or more.
    assert geo.distance_km(37.7749, -122.4194, 34.0522, -118.2437) == pytest.approx(559.1, abs=0.2)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0), (0, 180), HALF_TURN),
        ((90, 0), (-90, 0), HALF_TURN),
        ((37.3, 51.7), (-37.3, 51.7 - 180), HALF_TURN),
        ((0, 0), (0, 90), HALF_TURN / 2),
        ((90, 12), (0, -77), HALF_TURN / 2),
        ((0, 179.5), (0, -179.5), HALF_TURN / 180),
        ((60, 180), (60, -180), 0),
        ((90, 0), (90, 135), 0),
        ((48.2, 16.4), (48.2, 16.4), 0),
    ],
)
def test_distance_exact_cases(a, b, expected):
    assert geo.distance_km(*a, *b) == pytest.approx(expected, rel=1e-9, abs=1e-8)


def test_distance_of_all_antipodes_is_half_a_turn():
    # For some of them rounding carries the haversine past 1.
    latitude, longitude = np.meshgrid(np.arange(-90, 90, 0.7), np.arange(-180, 0, 0.7))
    distance = geo.distance_km(latitude, longitude, -latitude, longitude + 180)
    assert np.all(np.abs(distance - HALF_TURN) < 0.3)


def test_distance_of_near_points_keeps_its_digits():
    one_metre = np.degrees(0.001 / geo.EARTH_RADIUS_KM)
    assert geo.distance_km(45, 7, 45 + one_metre, 7) == pytest.approx(0.001, rel=1e-6)


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_distance_is_symmetric_and_bounded(lat_a, lng_a, lat_b, lng_b):
    distance = geo.distance_km(lat_a, lng_a, lat_b, lng_b)
    assert distance == geo.distance_km(lat_b, lng_b, lat_a, lng_a)
    assert 0 <= distance <= HALF_TURN


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_distance_agrees_with_the_angle_between_vectors(lat_a, lng_a, lat_b, lng_b):
    a, b = geo.to_unit_vectors([lat_a, lat_b], [lng_a, lng_b])
    angle = np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)
    distance = geo.distance_km(lat_a, lng_a, lat_b, lng_b)
    # Haversine loses digits near antipodes: sqrt(eps) radians, tenths of a kilometre.
    assert distance == pytest.approx(angle * geo.EARTH_RADIUS_KM, rel=1e-9, abs=0.3)


def test_distance_broadcasts():
    lat, lng = np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 3.0])
    table = geo.distance_km(lat[:, None], lng[:, None], lat, lng)
    assert table.shape == (3, 3)
    assert np.all(np.diag(table) == 0)
    assert table[0, 2] == geo.distance_km(10, 1, 30, 3)
    assert geo.distance_km(lat, lng, 0, 0).shape == (3,)


def test_unit_vectors():
    vectors = geo.to_unit_vectors([[0, 0, 90], [0, -90, 45]], [[0, 90, 7], [180, 0, 0]])
    half = np.sqrt(0.5)
    expected = [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[-1, 0, 0], [0, 0, -1], [half, 0, half]]]
    assert vectors == pytest.approx(np.array(expected), abs=1e-15)


@pytest.mark.parametrize(
    ("latitude", "longitude", "mean"),
    [
        ([10, 10], [179, -179], (10.0015, 180)),
        ([0, 0, 0], [170, -170, 180], (0, 180)),
        ([-5], [33], (-5, 33)),
        ([0, 0], [-30, 50], (0, 10)),
        ([-20, 40], [8, 8], (10, 8)),
    ],
)
def test_spherical_mean(latitude, longitude, mean):
    found = geo.spherical_mean(latitude, longitude)
    assert geo.distance_km(*found, *mean) < 0.01


@pytest.mark.parametrize("pole", [90, -90])
def test_spherical_mean_around_a_pole_is_the_pole(pole):
    # A mean of degrees would lie a thousand kilometres off.
    latitude, _ = geo.spherical_mean([np.sign(pole) * 80] * 4, [0, 90, 180, -90])
    assert latitude == pytest.approx(pole, abs=1e-6)


def test_spherical_mean_takes_scalars():
    assert geo.spherical_mean(12, 34) == pytest.approx((12, 34))


def test_spherical_mean_of_antipodes_is_the_first():
    assert geo.spherical_mean([90, -90], [0, 0])[0] == pytest.approx(90)
    assert geo.spherical_mean([0, 0], [-60, 120]) == pytest.approx((0, -60), abs=1e-9)


def test_score():
    assert geo.geoguessr_score(0) == 5000
    assert geo.geoguessr_score(1492.7) == pytest.approx(5000 / np.e)
    assert geo.geoguessr_score([0, 559.1]) == pytest.approx([5000, 3438], abs=1)
    assert geo.geoguessr_score(HALF_TURN) < 0.01


def test_radii():
    assert geo.RADII_KM == {
        "street_1km": 1,
        "city_25km": 25,
        "region_200km": 200,
        "country_750km": 750,
        "continent_2500km": 2500,
    }
    assert geo.EARTH_RADIUS_KM == 6371.0088


def test_the_nearest_position_is_that_of_brute_force():
    rng = np.random.default_rng(0)
    places, others = (rng.uniform((-90, -180), (90, 180), size=(n, 2)) for n in (20, 40))
    expected = geo.distance_km(*places.T[:, :, None], *others.T[:, None]).min(axis=1)
    assert np.allclose(geo.nearest_km(places, others), expected)
