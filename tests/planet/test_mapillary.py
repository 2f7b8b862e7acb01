"""The planet's Mapillary, held to what the real one does."""

import re
from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pytest

from planet import drives, mapillary
from planet.keys import MAPILLARY_TOKEN
from planet.photos import Photo, photos
from planet.server import serving
from tests.planet.asking import OAUTH, PLACE, box, graph, host, opened, request

FIELDS = (
    "id,captured_at,geometry,computed_geometry,compass_angle,computed_compass_angle,sequence,"
    "is_pano,creator,thumb_256_url,thumb_1024_url,thumb_2048_url"
)
SHOTS = drives.shots


def ride(service: str, seed: int, count: int, country: str = "") -> tuple[Photo, ...]:
    """2,300 pictures around one place, each a little further away from it."""
    return tuple(
        replace(shot, longitude=round(PLACE[0] + (number - 1150) * 2e-5, 7), latitude=PLACE[1])
        for number, shot in enumerate(SHOTS(service, seed, 2300))
    )


@pytest.fixture(scope="module")
def busy() -> Iterator[str]:
    with serving(photos(0, 5)) as address:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(drives, "shots", ride)
            request(address, mapillary.IMAGES, OAUTH, bbox="0,0,0.01,0.01")  # it keeps them
        yield address


@pytest.fixture(scope="module")
def rows(busy) -> list[dict]:
    """Two thousand pictures with all their fields."""
    return graph(busy, fields=FIELDS).json()["data"]


def code_of(answer: httpx.Response) -> int:
    error = answer.json()["error"]
    assert error["type"] == "MLYApiException"
    assert error["message"] and error["fbtrace_id"]
    return error["code"]


def test_two_thousand_pictures_are_listed_and_nothing_says_that_there_are_more(busy):
    for limit, listed in (({}, 2000), ({"limit": "9999"}, 2000), ({"limit": "7"}, 7)):
        answer = graph(busy, **limit).json()
        assert set(answer) == {"data"}
        assert len({row["id"] for row in answer["data"]}) == len(answer["data"]) == listed
    west = graph(busy, bbox=f"2.3,48.8,{PLACE[0]},48.89").json()["data"]
    east = graph(busy, bbox=f"{PLACE[0]},48.8,2.4,48.89").json()["data"]
    assert 1000 < len(west) < 1300 and 1000 < len(east) < 1300
    assert len({row["id"] for row in west + east}) == 2300


def test_the_edges_of_a_box_come_first(busy):
    rows = graph(busy, fields="geometry", limit="100").json()["data"]
    away = [abs(row["geometry"]["coordinates"][0] - PLACE[0]) for row in rows]
    assert min(away) > 0.02


def test_boxes_of_a_hundredth_of_a_square_degree_are_refused(busy):
    for width, height, status in ((0.11, 0.1, 400), (0.1, 0.1001, 400), (0.099, 0.1, 200)):
        answer = graph(busy, bbox=box(width, height))
        assert answer.status_code == status
        assert status == 200 or code_of(answer) == 100


@pytest.mark.parametrize(
    "arguments",
    [
        {"bbox": ""},
        {"bbox": "1,2,3"},
        {"limit": "0"},
        {"limit": "many"},
        {"start_captured_at": "yesterday"},
        {"fields": "id,geometri"},
    ],
)
def test_what_mapillary_cannot_search_has_code_100(busy, arguments):
    answer = graph(busy, **arguments)
    assert (answer.status_code, code_of(answer)) == (400, 100)


def test_only_fields_that_are_asked_for_come_and_the_id(busy):
    assert {key for row in graph(busy).json()["data"] for key in row} == {"id"}
    few = graph(busy, fields="sequence,computed_geometry", limit="50").json()["data"]
    assert {key for row in few for key in row} == {"id", "sequence", "computed_geometry"}


def test_what_mapillary_does_not_know_is_a_missing_key(rows):
    for name, least, most in (
        ("computed_geometry", 0.94, 0.99),
        ("computed_compass_angle", 0.94, 0.99),
        ("thumb_2048_url", 0.92, 0.98),
        ("thumb_1024_url", 1, 1),
        ("geometry", 1, 1),
    ):
        assert least <= sum(name in row for row in rows) / len(rows) <= most
    assert None not in {
        value for row in rows for value in row.values() if not isinstance(value, dict)
    }
    assert all(re.fullmatch(r"\d{15,16}", row["id"]) for row in rows)
    assert {row["is_pano"] for row in rows} == {True, False}


def test_computed_positions_differ_from_what_gps_said(rows):
    metres = np.array(
        [
            np.subtract(row["computed_geometry"]["coordinates"], row["geometry"]["coordinates"])
            for row in rows
            if "computed_geometry" in row
        ]
    )
    metres = np.abs(metres).max(axis=1) * 111_195
    assert 1 < np.median(metres) < 10
    assert 20 < metres.max() < 90


def test_pictures_of_a_sequence_share_moments(rows):
    moments: dict[str, list[int]] = {}
    for row in rows:
        moments.setdefault(row["sequence"], []).append(row["captured_at"])
    assert all(each % 1000 == 0 and each > 1e12 for times in moments.values() for each in times)
    assert sum(len(set(times)) < len(times) for times in moments.values()) > 20


def test_times_bound_a_search(busy, rows):
    day = 86_400_000
    moments = sorted(row["captured_at"] for row in rows)
    first, last = (np.datetime64(moments[n] // day, "D") for n in (500, 1500))
    bounds = {"start_captured_at": f"{first}T00:00:00Z", "end_captured_at": f"{last}T23:59:59Z"}
    found = graph(busy, fields="captured_at", **bounds).json()["data"]
    days = [row["captured_at"] // day for row in found]
    assert first.astype(int) <= min(days) and max(days) <= last.astype(int)
    inside = [each for each in moments if first.astype(int) <= each // day <= last.astype(int)]
    assert len(found) >= len(inside) > 900
    naive = graph(busy, fields="captured_at", start_captured_at=f"{last}T00:00:00").json()["data"]
    assert min(row["captured_at"] // day for row in naive) >= last.astype(int)


def test_slashes_are_escaped_on_the_wire(busy):
    text = graph(busy, fields="thumb_256_url", limit="3").text
    assert text.count(r'"http:\/\/scontent-planet.xx.fbcdn.invalid\/m1\/v\/t6\/') == 3
    assert "//" not in text


@pytest.mark.parametrize("headers", [{}, {"Authorization": "OAuth MLY|1|2"}])
def test_without_the_token_the_code_is_190(busy, headers):
    for path in (f"{mapillary.IMAGES}?bbox=0,0,0.01,0.01", "/100000000000000?fields=id"):
        answer = request(busy, path, headers)
        assert (answer.status_code, code_of(answer)) == (401, 190)


def test_the_token_may_stand_in_the_address(busy):
    answer = request(busy, mapillary.IMAGES, bbox=box(0.01, 0.01), access_token=MAPILLARY_TOKEN)
    assert answer.status_code == 200


def test_an_id_that_is_gone_has_code_100(busy):
    pictures = ride("mapillary", 0, 0)
    deleted = next(each for each in pictures if each.deleted)
    for photo_id in ("123456", mapillary.Mapillary.id_of(deleted.view)):
        assert code_of(request(busy, f"/{photo_id}", OAUTH, fields="thumb_256_url")) == 100


def test_the_limit_of_an_application_has_code_4_and_passes():
    with serving(photos(0, 50), faults={"api_limit": 1}) as address:
        answers = [graph(address, limit=str(each)) for each in range(1, 12)]
        again = [graph(address, limit="1") for _ in range(3)]
    assert {code_of(each) for each in answers} == {4}
    assert all(each.json()["error"]["is_transient"] for each in answers)
    assert {each.status_code for each in answers} >= {400, 500}
    assert again[-1].json() == {"data": []}  # what is true of this question


def test_pictures_come_in_three_widths_from_a_host_of_their_own(busy, rows):
    for around in (True, False):
        row = next(row for row in rows if row["is_pano"] == around and "thumb_2048_url" in row)
        for width in (256, 1024, 2048):
            address = row[f"thumb_{width}_url"]
            assert host(address) != host(mapillary.GRAPH)
            image = opened(request(busy, address).content)
            assert image.width == width // 4
            assert around == (image.width == 2 * image.height)


def test_the_picture_host_takes_no_token(busy, rows):
    address = rows[0]["thumb_256_url"]
    assert request(busy, address).status_code == 200
    assert request(busy, address, OAUTH).status_code == 400
    assert request(busy, f"{address}&access_token={MAPILLARY_TOKEN}").status_code == 400


def test_addresses_expire_and_are_signed(busy, rows):
    address = rows[0]["thumb_256_url"]
    (end,) = re.findall(r"&oe=([0-9A-F]{8})$", address)
    later = address.replace(end, f"{int(end, 16) + 9:X}")
    unsigned = re.sub("&oh=[^&]*", "", address)
    for wrong in (later, unsigned, address.partition("&oe=")[0], address.replace(end, "soon")):
        assert request(busy, wrong).status_code == 403
    past = mapillary._address(rows[0]["id"], 256, True)
    answer = request(busy, past)
    assert (answer.status_code, answer.text) == (403, "URL signature expired")


def test_an_expired_address_is_handed_out_at_times_and_the_next_one_is_good():
    photo_id = next(
        each for each, shot in mapillary.Mapillary(0, 50).pictures.items() if not shot.deleted
    )
    with serving(photos(0, 50), faults={"api_expired": 1}) as address:
        statuses = []
        for _ in range(4):
            told = request(address, f"/{photo_id}", OAUTH, fields="thumb_256_url").json()
            statuses.append(request(address, told["thumb_256_url"]).status_code)
    assert statuses == [403, 403, 403, 200]
