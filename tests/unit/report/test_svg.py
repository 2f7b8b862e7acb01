import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nogps.earth.geo import distance_km
from nogps.report import svg


def paths(d):
    """The points of each subpath of relative lines, in degrees (longitude, latitude)."""
    for subpath in filter(None, d.split("M")):
        start, steps = subpath.split("l")
        points = np.array([start.split(), *np.reshape(steps.split(), (-1, 2))], int)
        yield points.cumsum(axis=0) / (10, -10)


def test_arc_is_a_great_circle():
    (points,) = paths(svg.arc((51.5, -0.1), (35.7, 139.7)))
    assert points[0] == pytest.approx((-0.1, 51.5)) and points[-1] == pytest.approx((139.7, 35.7))
    total = distance_km(51.5, -0.1, 35.7, 139.7)
    through = distance_km(51.5, -0.1, *points.T[::-1]) + distance_km(35.7, 139.7, *points.T[::-1])
    assert through == pytest.approx(total, abs=25)  # coordinates are tenths of a degree
    assert points[:, 1].max() > 70  # over Siberia, not along a parallel


def test_arc_goes_the_short_way_over_the_antimeridian():
    east, west = paths(svg.arc((35.7, 139.7), (37.8, -122.4)))
    assert east[0] == pytest.approx((139.7, 35.7)) and east[-1, 0] > 180
    assert west[-1] == pytest.approx((-122.4, 37.8)) and west[0, 0] < -180
    assert np.abs(np.diff(east[:, 0])).max() < 15


@pytest.mark.parametrize("end", [(10.0, 20.0), (-10.0, -160.0), (10.0, 20.001)])
def test_arc_between_one_place_or_antipodes_is_empty(end):
    assert svg.arc((10.0, 20.0), end) == ""


def inside(path, latitude, longitude):
    """Whether a path holds a position, by the rule evenodd."""
    crossings = 0
    for ring in paths(path.replace("z", "")):
        (x, y), (x_next, y_next) = ring.T, np.roll(ring, -1, axis=0).T
        spans = (y > latitude) != (y_next > latitude)
        rise = np.where(spans, y_next - y, 1)
        crossings += np.sum(spans & (longitude < x + (latitude - y) * (x_next - x) / rise))
    return crossings % 2 == 1


@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(100, 20000), st.integers(0, 2**32 - 1))
def test_circle_holds_what_is_within_its_radius(latitude, longitude, radius, seed):
    path = svg.circle((latitude, longitude), radius)
    random = np.random.default_rng(seed)
    for place in zip(random.uniform(-89, 89, 20), random.uniform(-179.9, 179.9, 20), strict=True):
        km = float(distance_km(latitude, longitude, *place))
        # 48 sides and tenths of a degree; near the poles a side spans many degrees.
        if abs(km - radius) > (60 if abs(place[0]) < 80 else 400):
            assert inside(path, *place) == (km < radius), (place, km)


@pytest.mark.parametrize("centre", [(0, 180), (90, 0), (-90, 0), (89.9, 10), (0, 0), (65, -179)])
def test_circle_holds_its_centre_and_not_its_antipode(centre):
    for radius in (300, 3000, 9000, 12000, 19000):
        path = svg.circle(centre, radius)
        latitude = float(np.clip(centre[0], -89.95, 89.95))
        antipode = (-latitude, centre[1] - 180 if centre[1] > 0 else centre[1] + 180)
        assert inside(path, latitude, centre[1] - 0.01)
        assert not inside(path, antipode[0], antipode[1] + 0.01)


def test_circle_too_small_to_see_is_a_dot():
    assert svg.circle((48.9, 2.4), 0.0) == svg.circle((48.9, 2.4), 2.0) == "M24 -489h0"


def test_coastlines_are_where_the_land_is():
    land, _ = svg.world()
    towns = [(48.86, 2.35), (-25.3, 131.0), (40.0, -100.0), (-15.8, -47.9), (62.0, 129.7)]
    seas = [(40.0, -40.0), (0.0, -140.0), (-20.0, 80.0), (56.5, 3.0), (42.0, 51.0)]
    assert [inside(land, *town) for town in towns] == [True] * 5
    assert [inside(land, *sea) for sea in seas] == [False] * 5  # the last is the Caspian, a lake


def test_the_map_shows_the_region_where_there_is_but_one():
    def box(positions) -> tuple[float, ...]:
        left, top, width, height = map(float, svg.view_box(np.array(positions)).split())
        return left / 10, -top / 10, (left + width) / 10, -(top + height) / 10

    california = [(37.7, -122.4), (34.0, -118.2), (32.7, -117.2)]
    west, north, east, south = box(california)
    assert east - west == pytest.approx(16, abs=0.2)
    assert all(south < lat < north and west < lng < east for lat, lng in california)
    assert box([*california, (48.8, 2.3)]) == (-180, 84, 180, -57)
    assert box([(85.0, 0.0), (-80.0, 170.0)]) == (-180, 90, 180, -90)
