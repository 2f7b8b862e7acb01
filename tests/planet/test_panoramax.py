"""The planet's Panoramax, held to what the real one does."""

import numpy as np
import pytest
from PIL.ExifTags import GPS, IFD

from planet import panoramax
from tests.planet.asking import host, items, opened, request

FRANCE = "-5,41,10,52"


@pytest.fixture(scope="module")
def features(base) -> list[dict]:
    """Everything in France, as the catalogue describes it."""
    found = request(base, panoramax.SEARCH, bbox=FRANCE, limit="32767").json()["features"]
    assert len(found) > 500
    return found


def test_a_search_lists_the_nearest_to_the_middle_and_has_no_next_page(base):
    west, south, east, north = 1.0, 44.0, 6.0, 50.0
    box = f"{west},{south},{east},{north}"
    answer = request(base, panoramax.SEARCH, bbox=box).json()
    assert [each["rel"] for each in answer["links"]] == ["root"]
    assert len(answer["features"]) == 10
    whole = request(base, panoramax.SEARCH, bbox=box, limit="32767").json()
    assert [each["rel"] for each in whole["links"]] == ["root"]
    positions = np.array([each["geometry"]["coordinates"] for each in whole["features"]])
    assert len(positions) > 100
    assert (positions >= [west, south]).all() and (positions <= [east, north]).all()
    away = np.hypot(*(positions - [(west + east) / 2, (south + north) / 2]).T)
    assert (np.diff(away) > -1e-8).all()
    assert answer["features"] == whole["features"][:10]
    inside = [
        picture_id
        for picture_id, shot in items().items()
        if west <= shot.longitude <= east and south <= shot.latitude <= north
    ]
    assert {each["id"] for each in whole["features"]} == set(inside)


def test_dates_of_a_search_are_ignored(base):
    plain = request(base, panoramax.SEARCH, bbox=FRANCE).json()
    dated = request(base, panoramax.SEARCH, bbox=FRANCE, datetime="1999-01-01/1999-01-02").json()
    assert dated == plain


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bbox": FRANCE, "limit": "32768"}, "limit"),
        ({"bbox": FRANCE, "limit": "0"}, "limit"),
        ({"bbox": FRANCE, "limit": "all"}, "limit"),
        ({"bbox": "1,2,3"}, "bbox must be in format"),
        ({"bbox": "0,0,0,91"}, "valid longitude"),
        ({"bbox": "-181,0,0,1"}, "valid longitude"),
        ({}, "bbox"),
        ({"ids": "00000000-0000-4000-8000-000000000000"}, "bbox"),  # not simulated
    ],
)
def test_what_panoramax_cannot_search_is_refused(base, arguments, words):
    answer = request(base, panoramax.SEARCH, **arguments)
    assert answer.status_code == answer.json()["status"] == 400
    assert words in answer.json()["message"]


def test_an_absent_picture_is_404_and_a_deleted_one_is_listed_still(base):
    absent = "00000000-0000-4000-8000-000000000000"
    picture = request(base, f"/api/pictures/{absent}/sd.jpg")
    assert picture.status_code == picture.json()["status_code"] == 404
    deleted = {each for each, shot in items().items() if shot.deleted}
    assert request(base, f"/api/pictures/{min(deleted)}/hd.jpg").status_code == 404
    everywhere = request(base, panoramax.SEARCH, bbox="-180,-90,180,90", limit="32767").json()
    assert deleted < {each["id"] for each in everywhere["features"]} == items().keys()


def test_pictures_lie_at_the_hosts_that_published_them(features):
    instances = {}
    for each in features:
        licence = each["properties"]["license"]
        (via,) = [link["href"] for link in each["links"] if link["rel"] == "via"]
        hosts = {host(asset["href"]) for asset in each["assets"].values()}
        assert hosts == {host(via)}
        assert host(via) != host(panoramax.CATALOGUE)
        instances.setdefault(licence, set()).update(hosts)
    assert set(instances) == {"etalab-2.0", "CC-BY-SA-4.0", "CC-BY-4.0", "proprietary"}
    assert len(set().union(*instances.values())) == len(instances)


def test_licences_have_links_unless_they_are_nobodys(features):
    links = {}
    for each in features:
        link = [link["href"] for link in each["links"] if link["rel"] == "license"]
        links.setdefault(each["properties"]["license"], set()).update(link)
    assert links.pop("proprietary") == set()
    assert all(len(each) == 1 for each in links.values())


def test_what_is_absent_is_a_missing_key(features):
    def has_null(value) -> bool:
        parts = value.values() if isinstance(value, dict) else value
        return value is None or (isinstance(value, (dict, list)) and any(map(has_null, parts)))

    assert not any(map(has_null, features))
    assert {"view:azimuth" in each["properties"] for each in features} == {True, False}
    fields = [
        each["properties"]["pers:interior_orientation"].get("field_of_view") for each in features
    ]
    assert set(fields) == {360, 92, None}
    assert not any("field_of_view" in each["properties"] for each in features)
    for each, field in zip(features, fields, strict=True):
        assert field is None or (field == 360) == items()[each["id"]].around


def test_one_instance_sends_on_to_its_storage(base, features):
    for licence, status in (("CC-BY-SA-4.0", 302), ("etalab-2.0", 200), ("CC-BY-4.0", 200)):
        each = next(
            each
            for each in features
            if each["properties"]["license"] == licence and not items()[each["id"]].deleted
        )
        answer = request(base, each["assets"]["sd"]["href"])
        assert answer.status_code == status
        if status == 302:
            stored = answer.headers["location"]
            assert host(stored) == host(panoramax.STORAGE)
            assert opened(request(base, stored).content).format == "JPEG"


@pytest.mark.parametrize("around", [True, False])
def test_pictures_say_where_they_were_taken_and_have_the_size_of_their_kind(base, around):
    picture_id, photo = next(
        (picture_id, shot)
        for picture_id, shot in items().items()
        if shot.around == around and panoramax.licence_of(shot) == "etalab-2.0" and not shot.deleted
    )
    images = {}
    for size in ("hd", "sd", "thumb"):
        body = request(base, f"/api/pictures/{picture_id}/{size}.jpg").content
        images[size] = opened(body)
        images[size].load()
    assert images["hd"].size == (photo.width, photo.height)
    assert images["sd"].width == 512
    assert images["sd"].height == round(512 * photo.height / photo.width)
    assert images["thumb"].width == 125
    if around:  # a crop of the front
        assert images["thumb"].height == 75
        assert images["hd"].width == 2 * images["hd"].height
    for size in ("hd", "sd"):
        gps = images[size].getexif().get_ifd(IFD.GPSInfo)
        assert degrees(gps[GPS.GPSLatitude]) == pytest.approx(abs(photo.latitude), abs=1e-5)
        assert degrees(gps[GPS.GPSLongitude]) == pytest.approx(abs(photo.longitude), abs=1e-5)
        assert gps[GPS.GPSLatitudeRef] == ("S" if photo.latitude < 0 else "N")
        assert gps[GPS.GPSLongitudeRef] == ("W" if photo.longitude < 0 else "E")
        assert (b"equirectangular" in images[size].info.get("xmp", b"")) == around


def degrees(parts) -> float:
    whole, minutes, seconds = map(float, parts)
    return whole + minutes / 60 + seconds / 3600
