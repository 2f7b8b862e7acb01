"""Made-up addresses of California."""

import gzip
import json
import zipfile

import numpy as np
import pytest

from nogps.acquire.sources.openaddresses import read_addresses
from planet.addresses import write_addresses
from planet.panoramas import Panoramas


@pytest.fixture(scope="module")
def address_files(tmp_path_factory):
    return write_addresses(tmp_path_factory.mktemp("addresses"), 0)


def test_addresses_of_california_are_files_of_openaddresses(address_files):
    paths = address_files
    assert {path.name for path in paths} >= {"los_angeles.zip", "city_of_los_angeles.zip"}
    assert sum(path.name.endswith(".geojson.gz") for path in paths) == 2
    headers = set()
    for path in paths:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                source = path.stem
                assert archive.namelist() == [f"us/ca/{source}.csv", f"us/ca/{source}.vrt"]
                headers.add(archive.read(f"us/ca/{source}.csv").split(b"\n")[0].decode())
    assert headers == {
        "LON,LAT,NUMBER,STREET,UNIT,CITY,DISTRICT,REGION,POSTCODE,ID,HASH",
        "LON,LAT,NUMBER,STREET,UNIT,CITY,DISTRICT,REGION,POSTCODE,ID",
        "GEOM,NUMBER,STREET,UNIT,CITY,DISTRICT,REGION,POSTCODE,ID,HASH",
    }
    features = [
        json.loads(line)
        for path in paths
        if path.suffix == ".gz"
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    order = "hash number street unit city district region postcode id accuracy"
    assert {" ".join(each["properties"]) for each in features} == {order}
    assert sum(each["geometry"] is None for each in features) > 5
    assert any(each["geometry"] and each["geometry"]["coordinates"] == [0, 0] for each in features)


def test_addresses_lie_around_towns_and_overlap(address_files):
    addresses, counts = read_addresses(address_files)
    assert 12_000 < counts["addresses_rows"] < 15_000
    assert counts["addresses_repeated"] > 1000
    assert 10_000 < len(addresses) < 12_100
    assert 32 < addresses[:, 0].min() < addresses[:, 0].max() < 42
    every = Panoramas(0)
    near = [every.nearest(lat, lng, 50) for lat, lng in addresses[::40]]
    assert np.mean([bool(each) for each in near]) > 0.7


def test_addresses_are_the_same_bytes_and_are_written_once(address_files, tmp_path):
    paths = write_addresses(tmp_path, 0)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in address_files]
    paths[0].write_bytes(b"kept")
    assert write_addresses(tmp_path, 0) == paths
    assert paths[0].read_bytes() == b"kept"
    others = write_addresses(tmp_path, 1)
    assert [path.name for path in others] == [path.name for path in paths]
    assert others[1].read_bytes() != paths[1].read_bytes()
