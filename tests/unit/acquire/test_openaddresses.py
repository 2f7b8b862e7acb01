import csv
import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nogps.acquire.sources.openaddresses import draw_evenly, read_addresses
from nogps.base.errors import InputError
from nogps.earth import s2

COLUMNS = ["LON", "LAT", "NUMBER", "STREET", "UNIT", "CITY", "DISTRICT", "REGION", "POSTCODE", "ID"]
# longitude, latitude, number, street
ROWS = [
    ("-122.2371548", "37.7468954", "516", "CENTRE CT"),
    ("-122.2637604", "37.7727802", "1216", "SANTA CLARA AV"),
    ("-121.9085176", "37.2742085", "2653", "MERIDIAN AVE"),
]
EXPECTED = {(round(float(lat), 7), round(float(lon), 7)) for lon, lat, *_ in ROWS}
METRE = 1 / 111_195  # of latitude, in degrees


def as_csv(rows=ROWS, columns=(*COLUMNS, "HASH"), newline="\n"):
    text = io.StringIO()
    table = csv.writer(text, lineterminator=newline)
    table.writerow(columns)
    for lon, lat, number, street in rows:
        point = f"POINT ({lon} {lat})"
        values = {"LON": lon, "LAT": lat, "NUMBER": number, "STREET": street, "GEOM": point}
        table.writerow([values.get(column.strip().upper(), "") for column in columns])
    return text.getvalue()


def feature(geometry, number="", street=""):
    properties = {"hash": "15a5d3ad255bb4e7", "number": number, "street": street, "accuracy": ""}
    return json.dumps({"type": "Feature", "properties": properties, "geometry": geometry}) + "\n"


def point(lon, lat, *altitude):
    return {"type": "Point", "coordinates": [float(lon), float(lat), *altitude]}


def as_geojson(rows=ROWS):
    return "".join(feature(point(lon, lat), number, street) for lon, lat, number, street in rows)


def write(path: Path, content):
    """`content`: text, or what a zip holds by name; compressed as the name of the file says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in content.items():
                archive.writestr(name, text)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(content.encode()))
    else:
        path.write_bytes(content.encode())
    return path


def found(addresses):
    return {(round(lat, 7), round(lon, 7)) for lat, lon in addresses.tolist()}


def counts(rows, without_position=0, repeated=0):
    return {
        "addresses_rows": rows,
        "addresses_without_position": without_position,
        "addresses_repeated": repeated,
    }


def error_of(*paths):
    with pytest.raises(InputError) as caught:
        read_addresses(list(paths))
    message = str(caught.value)
    assert "; " in message and "\n" not in message
    assert all(str(path) in message for path in paths)
    return message


GEOM_COLUMNS = ["GEOM", "NUMBER", "STREET"]
README = {"README.txt": "read me", "LICENSE": "free", "us/": "", "us/ca/": ""}
SHAPES = {
    "classic.csv": as_csv(),
    "without_hash.csv": as_csv(columns=COLUMNS),
    "other_order.csv": as_csv(columns=["street", "Lat", " number ", "lon"]),
    "only_positions.csv": as_csv(columns=["LAT", "LON"]),
    "windows.csv": "\ufeff" + as_csv(newline="\r\n").replace("\r\n", "\r\n\r\n"),
    "GEOM.CSV": as_csv(columns=GEOM_COLUMNS),
    "tight.csv": as_csv(columns=GEOM_COLUMNS).replace("POINT (", "POINT("),
    "srid.csv": as_csv(columns=GEOM_COLUMNS).replace("POINT (", "SRID=4326;point("),
    "altitude.csv": as_csv(columns=GEOM_COLUMNS)
    .replace("POINT (", "POINT Z (")
    .replace(")", " 9)"),
    "classic.csv.gz": as_csv(),
    "source.geojson": as_geojson(),
    "source.geojson.gz": as_geojson(),
    "windows.geojson": "\ufeff" + as_geojson().replace("\n", "\r\n\r\n"),
    "classic.zip": README | {"us/ca/x.csv": as_csv(), "us/ca/x.vrt": "<OGRVRTDataSource/>"},
    "collection.zip": README
    | {
        "us/ca/x-addresses-county.geojson": as_geojson(ROWS[:1]),
        "us/ca/x-addresses-county.geojson.meta": "{}",
        "us/ca/y-addresses-city.geojson": as_geojson(ROWS[1:]),
        "us/ca/y-addresses-city.geojson.meta": "{}",
        "us/ca/x-buildings-county.geojson": "not read",
        "us/ca/x-parcels-county.geojson": "not read",
        "__MACOSX/us/ca/._x.csv": "not read",
    },
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(tmp_path, name):
    addresses, told = read_addresses([write(tmp_path / name, SHAPES[name])])
    assert found(addresses) == EXPECTED
    assert told == counts(3)
    assert addresses.dtype == np.float64
    assert (np.diff(addresses[:, 0]) > 0).all()


def test_directory_is_all_address_files_below_it(tmp_path):
    write(tmp_path / "us" / "ca" / "x.csv", as_csv(ROWS[:1]))
    write(tmp_path / "us" / "ca" / "y.zip", {"y.csv": as_csv(ROWS[1:2])})
    write(tmp_path / "z.geojson.gz", as_geojson(ROWS[2:]))
    for other in ("notes.txt", "x.vrt", ".hidden.csv", "x-parcels-county.geojson"):
        write(tmp_path / other, "not read")
    (tmp_path / "directory.csv").mkdir()
    addresses, told = read_addresses([tmp_path])
    assert found(addresses) == EXPECTED
    assert told == counts(3)


def test_csv_rows_without_position_are_counted(tmp_path):
    bad = [
        ("", ""),
        ("-122", ""),
        ("west", "37"),
        ("nan", "37"),
        ("-122", "inf"),
        ("-181", "37"),
        ("-122", "90.1"),
        ("0", "0.0"),
    ]
    rows = [(lon, lat, "1", "A ST") for lon, lat in bad]
    text = as_csv(rows + ROWS) + ",,,\n-122\n\n  \n"
    addresses, told = read_addresses([write(tmp_path / "x.csv", text)])
    assert found(addresses) == EXPECTED
    assert told == counts(len(bad) + 2 + 3, without_position=len(bad) + 2)


def test_wkt_without_position_is_counted(tmp_path):
    bad = ["POINT EMPTY", "", "POINT(0 0)", "LINESTRING(1 2, 3 4)", "POINT(a b)", "POINT(1)"]
    text = as_csv(columns=GEOM_COLUMNS) + "".join(f'"{wkt}",1,A ST\n' for wkt in bad)
    addresses, told = read_addresses([write(tmp_path / "x.csv", text)])
    assert found(addresses) == EXPECTED
    assert told == counts(len(bad) + 3, without_position=len(bad))


def test_geojson_without_point_is_counted(tmp_path):
    bad = [
        None,
        "Point",
        {},
        {"type": "Point"},
        {"type": "Point", "coordinates": []},
        {"type": "Point", "coordinates": None},
        {"type": "Point", "coordinates": [None, None]},
        {"type": "Point", "coordinates": [10**400, 1]},
        {"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5, 6], [1, 2]]]},
        {"type": "LineString", "coordinates": [[1, 2], [3, 4]]},
        point(0, 0),
        point("nan", 1),
        point(1, 91),
    ]
    more = [
        feature(point(-120, 35, 12.5)),
        '{"type": "Feature"}\n',
        '{"type": "Feature", "geometry": {"type": "Point", "coordinates": [-120, 36]}}\n',
    ]
    text = "".join(map(feature, bad)) + as_geojson() + "".join(more)
    addresses, told = read_addresses([write(tmp_path / "x.geojson", text)])
    assert found(addresses) == EXPECTED | {(35, -120), (36, -120)}
    assert told == counts(len(bad) + 6, without_position=len(bad) + 1)


def twins(tmp_path, metres, one=("12", "MAIN ST"), other=("12", "MAIN ST"), lon=-120.0):
    """How many addresses are left of two, the second `metres` north of the first."""
    city = write(tmp_path / "city.csv", as_csv([(lon, 35.0, *one)]))
    county = write(tmp_path / "county.geojson", as_geojson([(lon, 35 + metres * METRE, *other)]))
    (addresses, told), again = read_addresses([city, county]), read_addresses([county, city])
    np.testing.assert_array_equal(addresses, again[0])
    assert told == again[1] == counts(2, repeated=2 - len(addresses))
    return len(addresses)


def test_same_number_and_street_nearby_is_repeated(tmp_path):
    assert twins(tmp_path, 99) == 1
    assert twins(tmp_path, 101) == 2
    assert twins(tmp_path, 50, other=(" 12", "main  St ")) == 1
    assert twins(tmp_path, 50, other=("14", "MAIN ST")) == 2
    assert twins(tmp_path, 50, other=("12", "MAIN AV")) == 2


def test_rows_without_number_or_street_are_told_apart_by_position(tmp_path):
    assert twins(tmp_path, 50, ("", "MAIN ST"), ("", "MAIN ST")) == 2
    assert twins(tmp_path, 50, ("12", ""), ("12", "")) == 2
    assert twins(tmp_path, 0, ("12", ""), ("14", "")) == 1


def test_same_position_is_repeated(tmp_path):
    assert twins(tmp_path, 0, ("12", "A ST"), ("14", "B ST")) == 1
    assert twins(tmp_path, 0.02, ("12", "A ST"), ("14", "B ST")) == 1
    assert twins(tmp_path, 1, ("12", "A ST"), ("14", "B ST")) == 2


def test_twins_are_found_past_others_of_their_name(tmp_path):
    # Sorted by latitude, addresses far to the east and west stand between the twins.
    rows = [(-120 + east, 35 + north * METRE, "1", "A ST") for east, north in
            [(0, 0), (1, 10), (2, 20), (-1, 30), (0.0002, 40)]]  # fmt: skip
    _, told = read_addresses([write(tmp_path / "x.csv", as_csv(rows))])
    assert told == counts(5, repeated=1)


def test_overlap_agrees_with_all_pairs(tmp_path):
    generator = np.random.default_rng(5)
    n = 400
    north, east = generator.uniform(0, 600, (2, n))
    number = generator.integers(0, 4, n)
    lat = 35 + north * METRE
    lon = -120 + east * METRE / np.cos(np.radians(35))
    rows = [(f"{x:.9f}", f"{y:.9f}", str(k), "A ST") for x, y, k in zip(lon, lat, number)]  # noqa: B905
    kept = {
        (round(lat[i], 7), round(lon[i], 7))
        for i in range(n)
        if not any(
            number[i] == number[j]
            and lat[j] < lat[i]
            and np.hypot(north[i] - north[j], east[i] - east[j]) <= 100
            for j in range(n)
        )
    }
    addresses, _ = read_addresses([write(tmp_path / "x.csv", as_csv(rows))])
    assert found(addresses) == kept
    assert 4 < len(kept) < n / 4


def test_errors_of_paths(tmp_path):
    assert error_of() == ("no address files are given; give OpenAddresses files or directories")
    assert "is not there" in error_of(tmp_path / "missing.csv")
    assert "no .zip or .csv or" in error_of(write(tmp_path / "notes.txt", "text"))
    (tmp_path / "empty").mkdir()
    assert "no .zip or .csv or" in error_of(tmp_path / "empty")


@pytest.mark.parametrize("name", ["x.zip", "x.csv.gz", "x.geojson.gz"])
def test_error_of_a_file_that_is_not_what_its_name_says(tmp_path, name):
    path = tmp_path / name
    path.write_text(as_csv())
    assert "is damaged or not the" in error_of(path)


@pytest.mark.parametrize("name", ["x.zip", "x.csv.gz", "x.geojson.gz"])
def test_error_of_a_file_damaged_in_the_middle(tmp_path, name):
    generator = np.random.default_rng(1)
    lat, lon = generator.uniform(33, 41, 20_000), generator.uniform(-123, -115, 20_000)
    rows = [(x, y, "1", "A ST") for x, y in zip(lon, lat, strict=True)]
    text = as_geojson(rows) if "geojson" in name else as_csv(rows)
    path = write(tmp_path / name, {"x.csv": text} if name == "x.zip" else text)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "download it again" in error_of(path)
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    # Either the packing or what it unpacks to is noticed.
    with pytest.raises(InputError):
        read_addresses([path])


def test_error_of_a_zip_without_addresses(tmp_path):
    path = write(tmp_path / "x.zip", README | {"us/ca/x-parcels-county.geojson": as_geojson()})
    assert "holds no addresses" in error_of(path)


def test_error_of_a_csv_without_positions(tmp_path):
    path = write(tmp_path / "x.csv", "X,Y,NUMBER\n1,2,3\n")
    assert '"X, Y, NUMBER"' in error_of(path)
    zipped = write(tmp_path / "x.zip", {"us/ca/x.csv": "X,Y\n1,2\n"})
    assert "(us/ca/x.csv)" in error_of(zipped)


def test_error_of_a_csv_row(tmp_path):
    path = write(tmp_path / "x.csv", as_csv() + '1,2,"' + "x" * 200_000 + "\n")
    assert "up to line 5 is not CSV" in error_of(path)


@pytest.mark.parametrize(
    "line", ['{"type": "Feature", "geom', "[]", "7", '{"type": "FeatureCollection"}', "[" * 9999]
)
def test_error_of_a_geojson_line(tmp_path, line):
    path = write(tmp_path / "x.geojson", as_geojson() + "\n" + line)
    assert f"{path} line 5: is not a GeoJSON Feature" in error_of(path)


@pytest.mark.parametrize(
    "name, text",
    [
        ("x.csv", as_csv([])),
        ("x.csv", as_csv([("0", "0", "", "")])),
        ("x.geojson", ""),
        ("x.geojson.gz", feature(None)),
    ],
)
def test_error_of_a_file_with_no_positions(tmp_path, name, text):
    path = write(tmp_path / name, text)
    with pytest.raises(InputError, match="has a position"):
        read_addresses([write(tmp_path / "good.csv", as_csv()), path])
    assert "has a position" in error_of(path)


def test_names_that_are_not_utf8_do_not_matter(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(as_csv().replace("CENTRE CT", "Cañada").encode("latin-1"))
    assert found(read_addresses([path])[0]) == EXPECTED


def made_up(n=3000, seed=0):
    """Nine in ten addresses within a tenth of a degree, the others over ten degrees."""
    generator = np.random.default_rng(seed)
    spread = np.where(np.arange(n) % 10 == 0, 5.0, 0.05)
    latitude = 36 + generator.uniform(-1, 1, n) * spread
    return np.column_stack([latitude, -118 + generator.uniform(-1, 1, n) * spread])


def pairs(drawn):
    return list(map(tuple, drawn.tolist()))


@pytest.mark.parametrize("region_km", [0.0, 10.0, 300.0])
def test_draws_are_nested_repeatable_and_without_replacement(region_km):
    addresses = made_up()
    every = pairs(addresses)
    drawn = pairs(draw_evenly(addresses, 100, 7, region_km))
    assert drawn == pairs(draw_evenly(addresses, 100, 7, region_km))
    assert drawn[:50] == pairs(draw_evenly(addresses, 50, 7, region_km))
    assert drawn != pairs(draw_evenly(addresses, 100, 8, region_km))
    assert len(set(drawn)) == 100 and set(drawn) <= set(every)
    assert sorted(pairs(draw_evenly(addresses, 10_000, 7, region_km))) == sorted(every)
    assert pairs(draw_evenly(addresses, 0, 7, region_km)) == []


@pytest.mark.parametrize("region_km", [0.0, 10.0])
def test_draws_do_not_depend_on_the_order_of_the_addresses(region_km):
    addresses = made_up()
    shuffled = np.random.default_rng(1).permutation(addresses)
    assert pairs(draw_evenly(addresses, 50, 3, region_km)) == pairs(
        draw_evenly(shuffled, 50, 3, region_km)
    )


def test_without_regions_draws_follow_the_addresses():
    latitude, longitude = draw_evenly(made_up(), 1000, 0).T
    in_town = (np.abs(latitude - 36) < 0.05) & (np.abs(longitude + 118) < 0.05)
    assert 0.87 < in_town.mean() < 0.93


def test_regions_take_turns():
    addresses = made_up()
    level = 7  # 10,000 km / 2^7 = 78 km
    regions, sizes = np.unique(s2.parent(s2.cell_ids(*addresses.T), level), return_counts=True)
    for count in (20, regions.size, 3 * regions.size, 1500):
        cells = s2.parent(s2.cell_ids(*draw_evenly(addresses, count, 0, 80.0).T), level)
        drawn = np.array([(cells == region).sum() for region in regions])
        # Every region gave as much as the one that gave most, one less, or all it has.
        assert (drawn >= np.minimum(sizes, drawn.max() - 1)).all()


def test_width_of_regions_has_no_limits():
    addresses = made_up(100)
    for region_km in (1e-9, 1e9):
        assert len(pairs(draw_evenly(addresses, 10, 0, region_km))) == 10
