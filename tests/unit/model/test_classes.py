from dataclasses import fields
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import s2sphere
from hypothesis import given, settings
from hypothesis import strategies as st

from nogps.base.errors import InputError
from nogps.dataset import cells
from nogps.dataset.cells import fixed_level, north_south
from nogps.dataset.settings import Cells
from nogps.earth.geo import distance_km, spherical_mean
from nogps.model.classes import Partition

COLUMNS = (
    "label,token,level,parent,photos,centre_latitude,centre_longitude,mean_latitude,mean_longitude"
)


def adaptive(latitude, longitude, **limits):
    return cells.adaptive(latitude, longitude, Cells(**limits))


def cell_of(latitude, longitude):
    point = s2sphere.LatLng.from_degrees(float(latitude), float(longitude))
    return s2sphere.CellId.from_lat_lng(point)


def plain_adaptive(latitude, longitude, *, min_photos, max_photos, min_level, max_level):
    """Tokens and photo counts of PlaNet's partition, with s2sphere and recursion."""
    kept = {}

    def divide(leaves, level):
        groups = {}
        for leaf in leaves:
            groups.setdefault(leaf.parent(level).to_token(), []).append(leaf)
        for token, members in groups.items():
            too_many = len(members) > max_photos or level < min_level
            if too_many and level < max_level:
                divide(members, level + 1)
            elif len(members) >= min_photos:
                kept[token] = len(members)

    divide([cell_of(*position) for position in zip(latitude, longitude, strict=True)], 0)
    return kept


def towns(count, seed):
    """Photos in clusters of very different density, many of them at one coordinate."""
    rng = np.random.default_rng(seed)
    latitude, longitude = rng.uniform(-85, 85, 30), rng.uniform(-180, 180, 30)
    town = np.minimum(rng.geometric(0.15, count), 30) - 1
    spread = 10.0 ** rng.integers(-4, 1, 30)[town]
    latitude = latitude[town] + spread * rng.normal(size=count)
    longitude = (longitude[town] + spread * rng.normal(size=count) + 180) % 360 - 180
    same = rng.random(count) < 0.3
    latitude[same], longitude[same] = latitude[same][0], longitude[same][0]
    return np.clip(latitude, -90, 90), longitude


def assert_same(one, other):
    for field in fields(Partition):
        here, there = getattr(one, field.name), getattr(other, field.name)
        assert here.tolist() == there.tolist(), field.name


# A few coordinates near one another or far apart, each taken many times.
COORDINATES = st.sampled_from(
    [
        (0.0, 0.0),
        (-0.0, -180.0),
        (0.0, 180.0),
        (90.0, 13.0),
        (37.77, -122.42),
        (37.7700001, -122.42),
        (37.78, -122.41),
        (34.05, -118.24),
        (-33.87, 151.21),
        (35.264389682754654, 45.0),
    ]
) | st.tuples(st.floats(-90, 90), st.floats(-180, 180))
PHOTOS = st.lists(
    st.tuples(COORDINATES, st.integers(1, 6)).map(lambda pair: [pair[0]] * pair[1]), min_size=1
).map(lambda runs: np.array([position for run in runs for position in run]).T)


@st.composite
def limits(draw):
    min_photos, max_photos = sorted(draw(st.tuples(st.integers(1, 9), st.integers(1, 9))))
    min_level, max_level = sorted(draw(st.tuples(st.integers(0, 30), st.integers(0, 30))))
    return {
        "min_photos": min_photos,
        "max_photos": max_photos,
        "min_level": min_level,
        "max_level": max_level,
    }


@settings(max_examples=150)
@given(PHOTOS, limits())
def test_adaptive_is_the_plain_recursion(photos, limits):
    expected = plain_adaptive(*photos, **limits)
    if not expected:
        with pytest.raises(InputError, match=r"lower cells\.min_photos"):
            adaptive(*photos, **limits)
        return
    partition = adaptive(*photos, **limits)
    assert dict(zip(partition.tokens, partition.photos, strict=True)) == expected


@settings(max_examples=150)
@given(PHOTOS, limits(), st.randoms(use_true_random=False))
def test_adaptive_keeps_its_promises(photos, limits, random):
    try:
        partition = adaptive(*photos, **limits)
    except InputError:
        return  # which photos make no class is the business of the test above
    cells = [s2sphere.CellId.from_token(str(token)) for token in partition.tokens]
    count = photos.shape[1]

    assert np.all(partition.photos >= limits["min_photos"])
    crowded = partition.photos > limits["max_photos"]
    assert np.all(partition.levels[crowded] == limits["max_level"])
    assert np.all(partition.levels >= limits["min_level"])
    assert np.all(partition.levels <= limits["max_level"])
    assert partition.levels.tolist() == [cell.level() for cell in cells]

    assert all(one.range_max() < two.range_min() for one, two in pairwise(cells))
    for cell, parent in zip(cells, partition.parents, strict=True):
        assert parent == ("" if cell.level() == 0 else cell.parent().to_token())

    labels = partition.assign(*photos)
    assert (labels == -1).sum() == count - partition.photos.sum()
    assert np.array_equal(np.bincount(labels[labels >= 0], minlength=len(cells)), partition.photos)
    for position, label in zip(photos.T, labels, strict=True):
        holders = [k for k, cell in enumerate(cells) if cell.contains(cell_of(*position))]
        assert holders == ([] if label == -1 else [label])

    order = list(range(count))
    random.shuffle(order)
    assert_same(partition, adaptive(*photos[:, order], **limits))


def test_photos_at_one_coordinate_count_each():
    latitude = [48.2] * 30 + [-12.0] * 3
    longitude = [16.4] * 30 + [-77.0] * 3
    partition = adaptive(
        latitude, longitude, min_photos=10, max_photos=20, min_level=0, max_level=7
    )
    # No division separates them, so the cell is divided down to the finest level.
    assert partition.photos.tolist() == [30]
    assert partition.levels.tolist() == [7]
    assert partition.assign(latitude, longitude).tolist() == [0] * 30 + [-1] * 3


def test_limits_are_inclusive():
    latitude, longitude = [10.0] * 4 + [11.0] * 4, [20.0] * 4 + [21.0] * 4
    whole = adaptive(latitude, longitude, min_photos=8, max_photos=8, min_level=0, max_level=30)
    assert (whole.levels.tolist(), whole.photos.tolist()) == ([0], [8])
    parts = adaptive(latitude, longitude, min_photos=4, max_photos=7, min_level=0, max_level=30)
    assert parts.photos.tolist() == [4, 4]


def test_adaptive_on_many_photos():
    photos = towns(20_000, seed=1)
    limits = {"min_photos": 25, "max_photos": 300, "min_level": 2, "max_level": 16}
    partition = adaptive(*photos, **limits)
    assert dict(zip(partition.tokens, partition.photos, strict=True)) == plain_adaptive(
        *photos, **limits
    )
    assert len(partition) > 50
    assert len(set(partition.levels.tolist())) > 3


def test_centres_and_means():
    latitude, longitude = towns(3000, seed=2)
    partition = adaptive(
        latitude, longitude, min_photos=5, max_photos=100, min_level=1, max_level=20
    )
    labels = partition.assign(latitude, longitude)
    for label in range(len(partition)):
        centre = s2sphere.CellId.from_token(str(partition.tokens[label])).to_lat_lng()
        mean = spherical_mean(latitude[labels == label], longitude[labels == label])
        found = partition.centre_latitude[label], partition.centre_longitude[label]
        assert distance_km(*found, centre.lat().degrees, centre.lng().degrees) < 2e-5
        points = [points[label] for points in partition.points()]
        assert distance_km(*points, *mean) < 2e-5


def test_coordinates_have_seven_decimals_and_one_name_a_place():
    partition = adaptive(
        [-0.0, -1e-9, 0.1, -0.1, 12.3456789012],
        [-180.0, -180.0, 180.0, -179.99999999, 1 / 3],
        min_photos=1,
        max_photos=4,
        min_level=0,
        max_level=30,
    )
    assert partition.points()[0].tolist() == [12.3456789, 0.0]
    assert partition.points()[1].tolist() == [0.3333333, 180.0]
    assert partition.centre_longitude.tolist() == [0.0, 180.0]
    assert not np.signbit([partition.mean_latitude, partition.centre_latitude]).any()


def test_mean_of_a_class_across_the_antimeridian():
    partition = fixed_level([10, 10], [179, -179], level=0, min_photos=1)
    assert partition.mean_longitude.tolist() == [180.0]


def test_fixed_level():
    latitude, longitude = towns(3000, seed=3)
    partition = fixed_level(latitude, longitude, level=6, min_photos=4)
    tokens = [
        cell_of(*position).parent(6).to_token()
        for position in zip(latitude, longitude, strict=True)
    ]
    counts = pd.Series(tokens).value_counts()
    expected = counts[counts >= 4].to_dict()
    assert dict(zip(partition.tokens, partition.photos, strict=True)) == expected
    assert set(partition.levels.tolist()) == {6}
    labels = partition.assign(latitude, longitude)
    found = [partition.tokens[label] if label >= 0 else None for label in labels]
    assert found == [token if token in expected else None for token in tokens]


def test_a_grid_of_faces_assigns_the_globe():
    faces = fixed_level([0, 0, 90, 0, 0, -90], [0, 90, 0, 180, -90, 0], level=0, min_photos=1)
    assert faces.tokens.tolist() == ["1", "3", "5", "7", "9", "b"]
    assert faces.parents.tolist() == [""] * 6
    assert sorted(set(faces.assign(*towns(500, seed=4)).tolist())) == [0, 1, 2, 3, 4, 5]
    assert faces.assign([], []).shape == (0,)


def test_north_south():
    latitude = np.array([32.7, 34.05, 36.0, 37.77, 38.58, 41.0])
    longitude = np.full(6, -120.0)
    partition = north_south(latitude, longitude)
    assert len(partition) == 2
    assert partition.photos.tolist() == [3, 3]
    assert [token[:5] for token in partition.tokens] == ["south", "north"]
    assert partition.levels.tolist() == [-1, -1]
    assert partition.parents.tolist() == ["", ""]
    assert partition.assign(latitude, longitude).tolist() == [0, 0, 0, 1, 1, 1]
    assert partition.assign([-90, 90], [0, 180]).tolist() == [0, 1]
    for half in (0, 1):
        own = partition.assign(latitude, longitude) == half
        mean = spherical_mean(latitude[own], longitude[own])
        assert [points[half] for points in partition.points()] == pytest.approx(mean, abs=1e-7)
    assert partition.centre_latitude.tolist() == partition.mean_latitude.tolist()


@given(st.lists(st.floats(-90, 90), min_size=2), st.randoms(use_true_random=False))
def test_north_south_of_any_latitudes(latitudes, random):
    if min(latitudes) == max(latitudes):
        with pytest.raises(InputError, match="do not differ in latitude"):
            north_south(latitudes, [0.0] * len(latitudes))
        return
    partition = north_south(latitudes, np.arange(len(latitudes)) % 360 - 180)
    labels = partition.assign(latitudes, [0.0] * len(latitudes))
    assert partition.photos.tolist() == np.bincount(labels, minlength=2).tolist()
    assert np.all(partition.photos > 0)
    south, north = np.array(latitudes)[labels == 0], np.array(latitudes)[labels == 1]
    assert south.max() < north.min()
    assert len(south) <= len(latitudes) / 2 or len(set(south.tolist())) == 1
    order = list(range(len(latitudes)))
    random.shuffle(order)
    longitudes = np.arange(len(latitudes)) % 360 - 180
    assert_same(partition, north_south(np.array(latitudes)[order], longitudes[order]))


def test_photos_without_a_mean_are_represented_alike_in_any_order():
    one = north_south([-10, 0, 0], [0, 0, 180])
    assert one.points()[1].tolist() == [0.0, 0.0]
    assert_same(one, north_south([0, 0, -10], [180, 0, 0]))


def test_north_south_checks_positions():
    with pytest.raises(InputError, match="position 1"):
        north_south([10, 11], [0, 181])
    with pytest.raises(InputError, match="position 0"):
        north_south([10, 11], [0, 1]).assign([91], [0])
    with pytest.raises(InputError, match="the 0 photos"):
        north_south([], [])


def partitions():
    photos = towns(4000, seed=5)
    return {
        "adaptive": adaptive(*photos, min_photos=5, max_photos=50, min_level=0, max_level=30),
        "fixed_level": fixed_level(*photos, level=9, min_photos=2),
        "north_south": north_south(*photos),
        "faces": fixed_level(*photos, level=0, min_photos=1),
    }


@pytest.mark.parametrize("partition", partitions().values(), ids=partitions().keys())
def test_csv_round_trip(partition, tmp_path):
    path = tmp_path / "deep" / "cells.csv"
    partition.to_csv(path)
    read = Partition.from_csv(path)
    assert_same(partition, read)
    photos = towns(4000, seed=6)
    assert np.array_equal(read.assign(*photos), partition.assign(*photos))
    read.to_csv(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("divide", [1e-7, -0.1 - 0.2, 5e-324, 89.99999999999999])
def test_the_dividing_latitude_survives_a_file(divide, tmp_path):
    below = np.nextafter(divide, -90)
    partition = north_south([below, divide, divide], [0, 0, 0])
    partition.to_csv(tmp_path / "cells.csv")
    read = Partition.from_csv(tmp_path / "cells.csv")
    assert read.assign([below, divide], [0, 0]).tolist() == [0, 1]


def test_tokens_that_look_like_numbers_survive_a_file(tmp_path):
    tokens = ["1255", "47e9"]
    centres = [s2sphere.CellId.from_token(token).to_lat_lng() for token in tokens]
    latitude, longitude = np.array([(at.lat().degrees, at.lng().degrees) for at in centres]).T
    partition = fixed_level(latitude, longitude, level=6, min_photos=1)
    assert partition.tokens.tolist() == tokens
    partition.to_csv(tmp_path / "cells.csv")
    assert Partition.from_csv(tmp_path / "cells.csv").tokens.tolist() == tokens


GOOD = f"""{COLUMNS}
0,0714,5,071,10,10.7,-4.1,10.5,-4.0
1,47e9,6,47ec,20,49.5,10.2,49.0,10.0
"""


def test_file_layout(tmp_path):
    partition = fixed_level([48.2, 48.2, -12.25], [16.375, 16.375, -77.0], level=2, min_photos=1)
    partition.to_csv(tmp_path / "cells.csv")
    assert (tmp_path / "cells.csv").read_text() == (
        f"{COLUMNS}\n"
        "0,47,2,44,2,54.5259614,15.2551187,48.2,16.375\n"
        "1,91,2,94,1,-10.4417982,-79.3803447,-12.25,-77.0\n"
    )


def test_a_good_file_is_read(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text(GOOD)
    partition = Partition.from_csv(path)
    assert partition.tokens.tolist() == ["0714", "47e9"]
    assert partition.photos.tolist() == [10, 20]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (",parent,", ",mother,", "no column `parent`"),
        ("47e9", "47e9x", "'47e9x' is no S2 cell"),
        ("47e9", "", "'' is no S2 cell"),
        ("1,47e9,6,47ec", "1,071,4,074", "overlap"),
        ("1,47e9,6,47ec", "1,0714,5,071", "overlap"),
        ("1,47e9,6,47ec", "1,04,1,1", "overlap"),
        ("0714,5,", "0714,6,", "level or parent of cell 0714"),
        ("47ec", "47e4", "level or parent of cell 47e9"),
        ("1,47e9", "2,47e9", "labels do not count up from 0"),
        (",20,", ",0,", "no photos"),
        (",20,", ",twenty,", "column `photos`"),
        (",20,", ",2.5,", "column `photos`"),
        (",49.0,", ",,", "column `mean_latitude`"),
        (",49.0,", ",94.0,", "position 1 is latitude 94.0"),
        (",10.2,", ",210.2,", "position 1 is latitude 49.5, longitude 210.2"),
        (",49.0,10.0", ",49.0", "column `mean_longitude`"),
        (GOOD, "", "not a CSV file"),
        (GOOD, COLUMNS + "\n", "no class"),
        (GOOD[len(COLUMNS) :], "\n0,south<37.5,-1,,1,1,1,1,1\n", "halves"),
    ],
)
def test_a_bad_file_is_named(old, new, problem, tmp_path):
    path = tmp_path / "cells.csv"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=r"cells\.csv.*" + problem):
        Partition.from_csv(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("north>=40.5", "north>=40.6"),
        ("south<40.5", "south<south"),
        ("40.5", "nan"),
        ("40.5", "140.5"),
        ("north>=40.5", "47e9"),
        (",-1,", ",0,"),
        ("south", "southern"),
    ],
)
def test_bad_halves_are_named(old, new, tmp_path):
    path = tmp_path / "cells.csv"
    north_south([40, 41], [0, 0]).to_csv(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=r"cells\.csv: its two halves do not fit"):
        Partition.from_csv(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv is not there"):
        Partition.from_csv(tmp_path / "nowhere.csv")


LIMITS = {"min_photos": 2, "max_photos": 9, "min_level": 1, "max_level": 12}


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"min_photos": 10}, r"cells\.min_photos is 10, more than cells\.max_photos, 9"),
        ({"min_level": 13}, r"cells\.min_level is 13, finer than cells\.max_level, 12"),
    ],
)
def test_senseless_limits_are_named(change, parameter):
    with pytest.raises(InputError, match=parameter):
        adaptive([1, 2], [3, 4], **(LIMITS | change))


def test_too_few_photos():
    with pytest.raises(InputError, match=r"2 photos; lower cells\.min_photos"):
        adaptive([1, 50], [3, 4], **LIMITS)
    with pytest.raises(InputError, match=r"0 photos; lower cells\.min_photos"):
        adaptive([], [], **LIMITS)
    with pytest.raises(InputError, match=r"2 photos; lower cells\.min_photos"):
        fixed_level([1, 50], [3, 4], level=3, min_photos=2)


def test_positions_off_the_globe_are_named():
    with pytest.raises(InputError, match="position 1 is latitude nan"):
        adaptive([1, float("nan")], [3, 4], **LIMITS)
    with pytest.raises(InputError, match="position 0 is latitude 91"):
        fixed_level([91], [3], level=3, min_photos=1)


# Ancestors


def plain_ancestors(partition):
    """The cells with two or more classes below them, coarsest first, and which classes."""
    cells = [s2sphere.CellId.from_token(str(token)) for token in partition.tokens]
    found = {}
    for cell in cells:
        for level in range(cell.level()):
            found.setdefault(cell.parent(level), set()).add(cell)
    kept = sorted(
        (cell for cell, held in found.items() if len(held) > 1),
        key=lambda cell: (cell.level(), cell.id()),
    )
    return kept, np.array([[each in found[cell] for cell in kept] for each in cells])


def held_by(lineage, partition):
    """The same of what `lineage` and `descent` say: shape (n, ancestors)."""
    assert lineage.shape[1] == 1 + len(np.unique([cell_level(id) for id in partition.ancestors]))
    behind = len(partition) + np.arange(len(partition.ancestors))
    return np.array([np.isin(behind, row) for row in lineage])


def cell_level(id):
    return s2sphere.CellId(int(id)).level()


@settings(max_examples=80)
@given(PHOTOS, limits())
def test_ancestors_are_the_cells_that_hold_two_classes(photos, limits):
    try:
        partition = adaptive(*photos, **limits)
    except InputError:
        return
    kept, held = plain_ancestors(partition)
    assert partition.ancestors.tolist() == [cell.id() for cell in kept]
    descent = held_by(partition.descent(), partition)
    assert descent.tolist() == held.tolist()
    assert (partition.descent()[:, -1] == np.arange(len(partition))).all()
    inside = held_by(partition.lineage(*photos), partition)
    assert inside.shape == (photos.shape[1], len(kept))
    for place, row in zip(photos.T, inside, strict=True):
        assert row.tolist() == [cell.contains(cell_of(*place)) for cell in kept]
    labels = partition.assign(*photos)
    assert (partition.lineage(*photos)[:, -1] == labels).all()
    own = labels >= 0  # a photo in a class is in the cells that hold the class
    assert (inside[own] == descent[labels[own]]).all()


def test_photos_outside_every_class_may_be_inside_ancestors():
    partition = adaptive([10, 10, 12, 12], [10, 10, 10, 10], **(LIMITS | {"max_photos": 2}))
    assert len(partition) == 2
    assert partition.assign(11.0, 14.0) == -1
    inside = held_by(partition.lineage(11.0, 14.0), partition)
    assert inside.tolist() == [
        [cell.contains(cell_of(11, 14)) for cell in plain_ancestors(partition)[0]]
    ]
    assert inside.any()
    assert (partition.lineage(-50.0, 100.0) == -1).all()


def test_two_halves_have_no_ancestors():
    partition = north_south([-10, 10], [0, 0])
    assert partition.ancestors.shape == (0,)
    assert partition.descent().tolist() == [[0], [1]]
    assert partition.lineage([1, 2, -3], [4, 5, 6]).tolist() == [[1], [1], [0]]


def test_the_discs_of_all_cells_of_a_level_cover_the_globe():
    globe = 4 * np.pi * 6371.0088**2
    for level in (0, 2, 7):
        (spread,) = fixed_level([20], [30], level=level, min_photos=1).spread_km()
        assert 6 * 4**level * np.pi * spread**2 == pytest.approx(globe)
    assert (np.pi * north_south([-10, 10], [0, 0]).spread_km() ** 2).sum() == pytest.approx(globe)
    mixed = adaptive(*towns(300, 1), **(LIMITS | {"max_photos": 20}))
    assert len(np.unique(mixed.levels)) > 2
    finer = 2.0 ** -(mixed.levels - mixed.levels[0])
    assert mixed.spread_km() == pytest.approx(mixed.spread_km()[0] * finer)
