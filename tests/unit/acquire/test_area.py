import json
import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from nogps.acquire import area
from nogps.acquire.area import Box, Region, cell_boxes, cells_to_search
from nogps.base.errors import InputError
from nogps.earth import geo, s2
from nogps.earth.land import on_land
from nogps.earth.towns import nearest_town

FRANCE = (-1.0, 44.0, 6.0, 49.0)
FIJI = (177.0, -19.0, -178.0, -16.0)  # over the antimeridian


def written(folder, content) -> object:
    path = folder / "area.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def square(west, south, east, north) -> list:
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


# --- regions ---


def test_the_world_holds_everything():
    assert Region.read("world").contains([90, -90, 0], [180, -180, 0]).all()


@pytest.mark.parametrize(
    ("region", "inside", "outside"),
    [
        (FRANCE, [(46, 2), (44, -1), (49, 6)], [(46, 7), (43.9, 2), (46, -179)]),
        (FIJI, [(-18, 178), (-18, -179), (-18, 180), (-18, -180)], [(-18, 0), (-18, 176.9)]),
    ],
)
def test_a_box_holds_what_lies_in_it(region, inside, outside):
    box = Region.read(region)
    assert box.contains(*np.array(inside).T).all()
    assert not box.contains(*np.array(outside).T).any()


@pytest.mark.parametrize(
    "region", [(0, 10, 1, 10), (0, 10, 1, 5), (5, 0, 5, 1), (0, -91, 1, 0), (-181, 0, 0, 1)]
)
def test_a_box_that_is_none_is_refused(region):
    with pytest.raises(InputError, match=r"sampling.region: .* is no box"):
        Region.read(region)


def test_areas_of_geojson_with_holes_collections_and_the_antimeridian(tmp_path):
    hole = square(0, 0, 10, 10) + square(4, 4, 6, 6)
    content = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {},
                "geometry": {
                    "type": "GeometryCollection",
                    "geometries": [
                        {"type": "Polygon", "coordinates": hole},
                        {"type": "Point", "coordinates": [50, 50]},
                    ],
                },
            },
            {
                "type": "Feature",
                "properties": {},
                "geometry": {
                    "type": "MultiPolygon",
                    "coordinates": [square(178, -2, 180, 2), square(-180, -2, -178, 2)],
                },
            },
        ],
    }
    region = Region.read(written(tmp_path, content))
    assert region.contains([2, 1, 0], [2, 179, -179]).all()
    assert not region.contains([5, 50, 0], [5, 50, 170]).any()
    assert len(region.boxes) == 2


def test_parts_that_overlap_are_one_region(tmp_path):
    parts = [square(0, 0, 10, 10), square(5, 5, 15, 15), square(6, 6, 7, 7)]
    content = {"type": "MultiPolygon", "coordinates": parts}
    inside = Region.read(written(tmp_path, content)).contains([2, 6.5, 8, 12], [2, 6.5, 8, 12])
    assert inside.all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not GeoJSON"),
        ('{"type": "Polygon"}', "not GeoJSON"),
        ({"type": "Point", "coordinates": [1, 2]}, "no area"),
        ({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "no area"),
        ({"type": "Polygon", "coordinates": square(170, 0, 190, 10)}, "leaves the map"),
        ({"type": "Polygon", "coordinates": square(0, 80, 10, 100)}, "leaves the map"),
    ],
)
def test_a_file_without_areas_is_refused(tmp_path, content, words):
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=words) as told:
        Region.read(path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)


def test_a_region_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.geojson cannot be read"):
        Region.read(tmp_path / "nowhere.geojson")


# --- boxes ---


@given(st.floats(-89, 89), st.floats(-180, 180), st.integers(4, 14))
def test_the_boxes_of_a_cell_hold_it(latitude, longitude, level):
    cell = s2.parent(s2.cell_ids([latitude], [longitude]), level)[0]
    boxes = cell_boxes(cell)
    assert any(
        b.west <= longitude <= b.east and b.south <= latitude <= b.north for b in boxes
    ) or math.isclose(abs(longitude), 180)
    for box in boxes:
        assert -180 <= box.west < box.east <= 180 and -90 <= box.south < box.north <= 90


@given(st.floats(-180, 170), st.floats(-90, 80), st.floats(0.001, 10), st.floats(0.001, 10))
def test_quarters_are_the_whole_box_once(west, south, wide, tall):
    box = Box(west, south, west + wide, south + tall)
    quarters = box.quarters()
    assert sum(each.square_degrees for each in quarters) == pytest.approx(box.square_degrees)
    union = shapely.union_all([shapely.box(*map(float, str(each).split(","))) for each in quarters])
    assert union.area == pytest.approx(box.square_degrees, rel=1e-2)


def test_land_is_land_and_lakes_are_not():
    land = [(48.85, 2.35), (-29, 25), (65, -150), (68, 179.5), (68.5, -179.5), (-33.9, 151.0)]
    water = [(0, 0), (40, -40), (61.0, 31.5), (47.7, -87.5), (43.5, 34.0), (-90, 0)]
    assert on_land(*np.array(land).T).all()
    assert not on_land(*np.array(water, dtype=float)[:5].T).any()


# --- where to look ---


def centres(cells) -> tuple[np.ndarray, np.ndarray]:
    return s2.centre(cells)


@pytest.mark.parametrize("how", ["population", "land"])
@pytest.mark.parametrize("region", ["world", FRANCE, FIJI])
def test_cells_are_distinct_of_their_level_in_the_region_and_the_same_each_time(how, region):
    where = Region.read(region)
    cells = cells_to_search(where, how, 9, 600, {}, 0)
    assert len(set(cells.tolist())) == len(cells) > 100
    assert (s2.level(cells) == 9).all()
    if region != "world":
        boxes = [box for cell in cells.tolist() for box in cell_boxes(cell)]
        hit = [where.shape.intersects(shapely.box(b.west, b.south, b.east, b.north)) for b in boxes]
        assert np.mean(hit) > 0.99
    assert cells_to_search(where, how, 9, 600, {}, 0).tolist() == cells.tolist()
    assert cells_to_search(where, how, 9, 50, {}, 0).tolist() == cells[:50].tolist()
    assert cells_to_search(where, how, 9, 600, {}, 1).tolist() != cells.tolist()


def test_by_population_towns_come_first_and_large_ones_more():
    latitude, longitude = centres(cells_to_search(Region(), "population", 11, 4000, {}, 0))
    towns = nearest_town(latitude, longitude)
    away = [
        float(geo.distance_km(x, y, town.latitude, town.longitude))
        for x, y, town in zip(latitude, longitude, towns, strict=True)
    ]
    assert np.median(away) < 15
    countries = [town.country for town in towns]
    people = {"China": 1400, "India": 1400, "France": 68, "Iceland": 0.4}
    counts = {country: countries.count(country) for country in people}
    assert counts["China"] > counts["France"] > counts["Iceland"]


def test_over_land_it_is_even():
    cells = cells_to_search(Region(), "land", 8, 4000, {}, 0)
    latitude, longitude = centres(cells)
    # As many as there is land: compare with points drawn evenly on the globe.
    rng = np.random.default_rng(1)
    x, y = np.degrees(np.arcsin(rng.uniform(-1, 1, 40_000))), rng.uniform(-180, 180, 40_000)
    even = on_land(x, y) & (x > area.SOUTHMOST)
    for west, east in ((-180, -30), (-30, 60), (60, 180)):
        ours = np.mean((longitude >= west) & (longitude < east))
        theirs = np.mean((y[even] >= west) & (y[even] < east))
        assert ours == pytest.approx(theirs, abs=0.03)
    assert np.mean(on_land(latitude, longitude)) > 0.9


def test_by_weights_bad_regions_come_more_often():
    bad = s2.to_token(int(s2.parent(s2.cell_ids([47.0], [2.0]), 3)[0]))
    africa = s2.to_token(int(s2.parent(s2.cell_ids([0.0], [25.0]), 3)[0]))

    def share(token, weights) -> float:
        cells = cells_to_search(Region(), "weights", 10, 2000, weights, 0)
        return float(np.mean(s2.parent(cells, 3) == s2.from_token(token)))

    weights = {bad: 4.0, africa: 0.25}
    assert share(bad, weights) > 2.5 * share(bad, {bad: 1.0})
    assert share(africa, weights) < 0.5 * share(africa, {bad: 1.0})


@settings(max_examples=20, deadline=None)
@given(st.floats(-60, 60), st.floats(-179, 178), st.floats(0.01, 0.6))
def test_a_small_region_is_covered_without_a_gap(south, west, size):
    region = Region.read((west, south, west + size, south + size))
    cells = set(cells_to_search(region, "land", 11, 20_000, {}, 0).tolist())
    rng = np.random.default_rng(0)
    latitude, longitude = (rng.uniform(low, low + size, 500) for low in (south, west))
    assert set(s2.parent(s2.cell_ids(latitude, longitude), 11).tolist()) <= cells


def test_where_there_is_nothing_it_says_so():
    ocean = Region.read((-40.0, 20.0, -20.0, 45.0))
    with pytest.raises(InputError, match=r"sampling.region: nothing was found there"):
        cells_to_search(Region.read((-140.0, -50.0, -110.0, -30.0)), "population", 11, 100, {}, 0)
    assert len(cells_to_search(ocean, "land", 11, 100, {}, 0))  # the Azores
