import itertools
import math

import numpy as np
import pytest
import s2sphere
from hypothesis import given
from hypothesis import strategies as st

from nogps.base.errors import InputError
from nogps.earth import s2

EDGE = math.degrees(math.atan(math.sqrt(0.5)))  # latitude of the corners of the cube, 35.26


def s2sphere_ids(latitude, longitude):
    points = zip(np.asarray(latitude).tolist(), np.asarray(longitude).tolist(), strict=True)
    return np.array(
        [
            s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(lat, lng)).id()
            for lat, lng in points
        ],
        dtype=np.uint64,
    )


def uniform(count, seed):
    rng = np.random.default_rng(seed)
    latitude = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    return latitude, rng.uniform(-180, 180, count)


def neighbours(values):
    """The values, the five floats on each side of each, and both zeros."""
    values = np.asarray(values, dtype=np.float64)
    spread = [values, np.array([0.0, -0.0])]
    above = below = values
    for _ in range(5):
        above, below = np.nextafter(above, np.inf), np.nextafter(below, -np.inf)
        spread += [above, below]
    return np.concatenate(spread)


def special_points():
    """Poles, antimeridian, edges and corners of the cube, and floats just beside them."""
    latitudes = neighbours([-90, -45, -EDGE, 0, EDGE, 45, 90, 1e-300, 5e-324, 12.5])
    longitudes = neighbours([-180, -135, -90, -45, 0, 45, 90, 135, 180, 1e-300, 77.7])
    latitude, longitude = np.array(list(itertools.product(latitudes, longitudes))).T
    on_globe = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)
    return latitude[on_globe], longitude[on_globe]


def cube_edges():
    """Points where two or three coordinates are as nearly equal as floats allow."""
    longitude = np.linspace(-180, 180, 721)
    across = np.degrees(np.arctan(np.abs(np.cos(np.radians(longitude)))))
    along = np.degrees(np.arctan(np.abs(np.sin(np.radians(longitude)))))
    latitude = np.concatenate([across, -across, along, -along])
    latitude = np.concatenate([latitude, np.nextafter(latitude, 99), np.nextafter(latitude, -99)])
    return latitude, np.resize(longitude, latitude.size)


def cell_boundaries():
    """Corners of random cells of every level, and floats just beside them."""
    rng = np.random.default_rng(3)
    points = []
    for face, level in itertools.product(range(6), range(1, 31)):
        for _ in range(10):
            s, t = rng.integers(0, 2**level, 2, endpoint=True) / 2.0**level
            u, v = s2sphere.CellId.st_to_uv(s), s2sphere.CellId.st_to_uv(t)
            corner = s2sphere.LatLng.from_point(s2sphere.face_uv_to_xyz(face, u, v))
            points.append((corner.lat().degrees, corner.lng().degrees))
    latitude, longitude = np.array(points).T
    return (
        np.concatenate([latitude, np.nextafter(latitude, 0), latitude]),
        np.concatenate([longitude, longitude, np.nextafter(longitude, 0)]),
    )


POINTS = {
    "uniform": uniform(30_000, seed=1),
    "special": special_points(),
    "cube edges": cube_edges(),
    "cell boundaries": cell_boundaries(),
    "rounded": tuple(np.round(angle, 1) for angle in uniform(5000, seed=2)),
}


@pytest.mark.parametrize("points", POINTS.values(), ids=POINTS.keys())
def test_ids_are_those_of_s2sphere(points):
    assert np.array_equal(s2.cell_ids(*points), s2sphere_ids(*points))


@pytest.mark.parametrize("points", POINTS.values(), ids=POINTS.keys())
@pytest.mark.parametrize("error", [-8e-16, 8e-16])
def test_ids_do_not_depend_on_the_last_bits_of_numpy_trigonometry(points, error, monkeypatch):
    sin, cos = np.sin, np.cos
    expected = s2sphere_ids(*points)
    monkeypatch.setattr(np, "sin", lambda angle: sin(angle) + error)
    monkeypatch.setattr(np, "cos", lambda angle: cos(angle) - error)
    assert np.array_equal(s2.cell_ids(*points), expected)


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_any_position_has_the_id_of_s2sphere(latitude, longitude):
    ids = s2.cell_ids([latitude], [longitude])
    assert np.array_equal(ids, s2sphere_ids([latitude], [longitude]))


def test_ids_keep_the_order_of_the_positions_across_chunks():
    latitude, longitude = uniform(3 * s2._CHUNK + 5, seed=4)
    chosen = [0, s2._CHUNK - 1, s2._CHUNK, 2 * s2._CHUNK, -1]
    ids = s2.cell_ids(latitude, longitude)
    assert ids.dtype == np.uint64
    assert np.array_equal(ids[chosen], s2sphere_ids(latitude[chosen], longitude[chosen]))


def test_ids_of_no_positions():
    assert s2.cell_ids([], []).shape == (0,)


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        (math.nan, 0),
        (0, math.nan),
        (90.0000001, 0),
        (-91, 0),
        (0, 180.0000001),
        (0, -540),
        (math.inf, 0),
    ],
)
def test_a_position_off_the_globe_is_named(latitude, longitude):
    with pytest.raises(InputError, match="position 2 is latitude"):
        s2.cell_ids([0, 1, latitude, math.nan], [0, 1, longitude, 0])


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="broadcast"):
        s2.cell_ids([1, 2, 3], [1, 2])


def cells_of_every_level():
    latitude, longitude = uniform(40, seed=5)
    leaves = [s2sphere.CellId(int(cell)) for cell in s2sphere_ids(latitude, longitude)]
    return [leaf.parent(level) for level in range(31) for leaf in leaves]


def test_parts_of_an_id():
    cells = cells_of_every_level()
    ids = np.array([cell.id() for cell in cells], dtype=np.uint64)
    assert s2.level(ids).tolist() == [cell.level() for cell in cells]
    assert s2.range_min(ids).tolist() == [cell.range_min().id() for cell in cells]
    assert s2.range_max(ids).tolist() == [cell.range_max().id() for cell in cells]
    assert [s2.to_token(cell) for cell in ids] == [cell.to_token() for cell in cells]
    assert [s2.from_token(cell.to_token()) for cell in cells] == ids.tolist()


def test_faces():
    assert [s2sphere.CellId(int(face)).face() for face in s2.FACES] == [0, 1, 2, 3, 4, 5]
    assert s2.level(s2.FACES).tolist() == [0] * 6


def test_parents():
    cells = cells_of_every_level()
    ids = np.array([cell.id() for cell in cells], dtype=np.uint64)
    for level in range(31):
        fine = s2.level(ids) >= level
        expected = [cell.parent(level).id() for cell in cells if cell.level() >= level]
        assert s2.parent(ids[fine], level).tolist() == expected
    one_up = np.maximum(s2.level(ids) - 1, 0)
    expected = [cell.parent(max(cell.level() - 1, 0)).id() for cell in cells]
    assert s2.parent(ids, one_up).tolist() == expected


@pytest.mark.parametrize("level", [-1, 31, 12])
def test_no_parent_at_such_a_level(level):
    cell = s2.from_token("80858004")  # level 13, and below its parent of level 11
    with pytest.raises(InputError, match="level is"):
        s2.parent([s2.parent(cell, 11)], level)


def test_children():
    cells = [cell for cell in cells_of_every_level() if not cell.is_leaf()]
    expected = [[child.id() for child in cell.children()] for cell in cells]
    assert s2.children([cell.id() for cell in cells]).tolist() == expected


def test_centres_are_those_of_s2sphere():
    cells = cells_of_every_level()
    latitude, longitude = s2.centre([cell.id() for cell in cells])
    expected = [cell.to_lat_lng() for cell in cells]
    assert latitude.tolist() == [point.lat().degrees for point in expected]
    assert longitude.tolist() == [point.lng().degrees for point in expected]


def test_a_centre_lies_in_its_cell():
    ids = s2.parent(s2.cell_ids(*uniform(200, seed=6)), np.arange(200) % 30)
    centres = s2.cell_ids(*s2.centre(ids))
    assert np.all((centres >= s2.range_min(ids)) & (centres <= s2.range_max(ids)))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "X",
        "0",
        "40",  # a cell, but with a zero that no tool writes
        "80858004 ",
        "+8085",
        "0x8085",
        "80_85",
        "80858004GG",
        "8085800",  # followed by nothing: its lowest one is not at a level
        "2",
        "d",  # there is no face 6
        "ffffffffffffffff",
        "80858004808580041",
        "47E9",
        "١",  # noqa: RUF001
    ],
)
def test_garbage_is_no_token(token):
    with pytest.raises(InputError, match="is no S2 cell"):
        s2.from_token(token)
