"""The planet's Wikimedia Commons, held to what the real one does."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import ImageOps

from planet import commons
from planet.flickr import REST
from planet.keys import KEY
from planet.photos import Photo, photos
from planet.server import serving
from tests.planet.asking import AREA, PHOTOS, SEED, opened, request, told


@cache
def crowd(count: int) -> tuple[Photo, ...]:
    """So many photos in one place, each further north than the one before it."""
    some = [photo for photo in photos(1, 900) if photo.on_map == "yes"][:count]
    assert len(some) == count
    return tuple(
        replace(photo, latitude=round(48.805 + number * 1e-4, 6), longitude=2.35, deleted=False)
        for number, photo in enumerate(some)
    )


@pytest.fixture(scope="module")
def crowded() -> Iterator[str]:
    with serving(crowd(620)) as address:
        yield address


def all_told(base: str, **arguments) -> tuple[dict[int, dict], list[dict]]:
    """Pages by id, their parts put together; and all answers."""
    pages: dict[int, dict] = {}
    answers = [told(base, **arguments)]
    while "continue" in answers[-1]:
        answers.append(told(base, **arguments, **answers[-1]["continue"]))
    for answer in answers:
        for row in answer["query"]["pages"]:
            page = pages.setdefault(row["pageid"], {"coordinates": [], "imageinfo": []})
            for name in ("coordinates", "imageinfo"):
                page[name] = page[name] + row.get(name, [])
            page |= {key: value for key, value in row.items() if key not in page}
    return pages, answers


@pytest.fixture(scope="module")
def files(crowded) -> list[dict]:
    """Five hundred pages as the API describes them."""
    return list(all_told(crowded)[0].values())


def info_of(page: dict) -> dict:
    (info,) = page["imageinfo"]
    return info


def said_of(page: dict) -> dict[str, str]:
    return {name: each["value"] for name, each in info_of(page)["extmetadata"].items()}


@pytest.mark.parametrize("agent", ["", "python-requests/2.32", "Python/3.12 aiohttp/3.9", "bot"])
def test_commons_turns_clients_away_that_do_not_say_who_they_are(base, agent):
    headers = {"User-Agent": agent}
    assert request(base, commons.API, headers, action="query").status_code == 403
    assert request(base, commons.facts(photos(0, 5)[0]).address, headers).status_code == 403


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"action": "find"}, "badvalue"),
        ({"formatversion": None}, "badvalue"),  # what is not simulated
        ({"ggsnamespace": "0"}, "badvalue"),
        ({"coprimary": "primary"}, "badvalue"),
        ({"ggsbbox": "48.8|2.3|48.9|2.4"}, "invalid-bbox"),  # upside down
        ({"ggsbbox": "2.4,48.8,2.3,48.9"}, "invalid-bbox"),
        ({"ggsbbox": "91|2.3|90.9|2.4"}, "invalid-bbox"),
        ({"ggsbbox": "48.9|2.3|48.7|2.6"}, "toobig"),  # 22 x 22 km
        ({"ggsbbox": "48.80008|2.3|48.8|2.3001"}, "toobig"),  # 9 x 7 m
        ({"iicontinue": "No_such_file.jpg|20070101000000"}, "badcontinue"),
        ({"cocontinue": "1|2"}, "badcontinue"),
        ({"iiurlwidth": "wide"}, "badinteger"),
    ],
)
def test_errors_of_commons_come_with_http_200(crowded, arguments, code):
    answer = told(crowded, **arguments)
    assert answer["error"]["code"] == code
    assert answer["error"]["info"]
    assert "query" not in answer


def test_boxes_of_twenty_kilometres_are_not_too_big(crowded):
    assert "query" in told(crowded, ggsbbox="48.9|2.3|48.75|2.56")
    assert "error" not in told(crowded, ggsbbox="48.8001|2.3|48.8|2.3002")


def test_maxlag_asks_for_a_pause_and_passes():
    with serving(crowd(5), faults={"api_maxlag": 1}) as address:
        asked = commons.ASKED | {"maxlag": "5"}
        answers = [request(address, commons.API, **asked, requestid=str(each)) for each in range(9)]
        again = [request(address, commons.API, **asked, requestid="0").json() for _ in range(3)]
    lagged = [each for each in answers if each.json()["error"]["code"] == "maxlag"]
    assert lagged
    for each in lagged:
        assert each.status_code == 200
        assert each.json()["error"]["info"] == "Waiting for db1: 7.1 seconds lagged"
        assert int(each.headers["Retry-After"]) > 0
        assert int(each.headers["X-Database-Lag"]) > 5
    assert again[-1]["error"]["code"] == "invalid-bbox"  # what is true of this question


def test_pictures_are_described_fifty_at_a_time_until_all_are(crowded):
    pages, answers = all_told(crowded)
    assert 450 < len(pages) < 500
    described = [sum("imageinfo" in row for row in answer["query"]["pages"]) for answer in answers]
    assert described == [50] * 9 + [len(pages) - 450]
    assert all(len(page["imageinfo"]) == 1 for page in pages.values())
    name, stamp = answers[0]["continue"]["iicontinue"].split("|")
    assert re.fullmatch(r"\w+[^|]*\.\w{3}", name)
    assert re.fullmatch(r"2007\d{10}", stamp)
    assert [answer.get("batchcomplete") for answer in answers] == [None] * 9 + [True]


def test_positions_have_a_limit_and_a_way_to_go_on_of_their_own(crowded):
    pages, answers = all_told(crowded)
    assert set(answers[0]["continue"]) == {"iicontinue", "cocontinue", "continue"}
    assert answers[0]["continue"]["continue"] == "||"
    assert set(answers[1]["continue"]) == {"iicontinue", "continue"}
    assert answers[1]["continue"]["continue"] == "||coordinates"
    positions = [
        sum(len(row.get("coordinates", [])) for row in answer["query"]["pages"])
        for answer in answers
    ]
    assert positions[0] == 500
    assert 0 < positions[1] < 100  # of some files two are known
    assert positions[2:] == [0] * 8
    assert all(page["coordinates"] for page in pages.values())
    few = told(crowded, colimit=None)
    assert sum(len(row.get("coordinates", [])) for row in few["query"]["pages"]) == 10


def test_five_hundred_positions_are_listed_the_nearest_and_nothing_says_that_there_are_more(
    crowded,
):
    listed = told(crowded, prop="imageinfo", iiurlwidth=None)
    assert "continue" not in listed
    middle = (AREA[0] + AREA[2]) / 2
    names = commons.Commons(crowd(620)).files
    near = sorted(
        (abs(each["lat"] - middle), number)
        for number, photo in names.items()
        for each in commons._coordinates(photo)
        if AREA[2] <= each["lat"] <= AREA[0]
    )
    assert len(near) > 600
    found = {row["pageid"] for row in listed["query"]["pages"]}
    assert found == {number for _, number in near[:500]}
    assert len(found) < 500  # since of some two positions are known
    more = told(crowded, ggslimit="5000", prop="coordinates")["query"]["pages"]
    assert {row["pageid"] for row in more} == found
    assert len(told(crowded, ggslimit=None)["query"]["pages"]) == 10


def test_files_that_are_no_more_count_among_those_listed():
    """As an index has it that is older than what it points to."""
    gone = [replace(photo, on_map="no") for photo in crowd(300)]
    left = [replace(photo, longitude=2.3501) for photo in crowd(300)]
    with serving([*gone, *left]) as address:
        listed = told(address, prop="coordinates")["query"]["pages"]
    assert 200 < len(listed) < 290


def test_only_what_is_asked_for_is_told(crowded):
    row = told(crowded, prop="imageinfo", iiprop="url|mime", iiurlwidth=None)["query"]["pages"][0]
    assert set(row["imageinfo"][0]) == {"url", "descriptionurl", "mime"}
    assert "coordinates" not in row
    pages = told(crowded, prop="coordinates", coprop=None, ggslimit="100")["query"]["pages"]
    assert {key for row in pages for each in row["coordinates"] for key in each} == {
        *("lat", "lon", "primary", "globe")
    }
    filtered = told(crowded, iiextmetadatafilter="Artist|License")["query"]["pages"][:50]
    assert {name for row in filtered for name in said_of(row)} == {"Artist", "License"}
    whole = told(crowded, prop="imageinfo", iiurlwidth=None)  # no thumbnail, no limit of 50
    assert all("imageinfo" in row for row in whole["query"]["pages"])


def test_where_nothing_is_there_is_no_query(crowded):
    assert told(crowded, ggsbbox="-48.8|2.3|-48.9|2.4") == {"batchcomplete": True}


def test_positions_are_of_cameras_of_things_or_of_nobody_knows_what(files):
    kinds = [tuple(each.get("type") for each in page["coordinates"]) for page in files]
    assert set(kinds) == {("camera",), ("camera", "landmark"), ("landmark",), (None,)}
    assert 0.7 < sum("camera" in each for each in kinds) / len(kinds) < 0.95
    by_id = commons.Commons(crowd(620)).files
    for page in files:
        photo = by_id[page["pageid"]]
        for each in page["coordinates"]:
            there = (each["lat"], each["lon"]) == (photo.latitude, photo.longitude)
            assert there == (each.get("type") != "landmark")


def test_authors_are_html(files):
    artists = [said_of(page)["Artist"] for page in files]
    assert all("<" in each for each in artists)
    assert any("&amp;" in each for each in artists)
    words = {" ".join(re.sub("<[^>]*>", " ", html.unescape(each)).split()) for each in artists}
    assert len(words) > 20


def test_some_files_are_not_free_or_about_to_go_or_have_no_licence(files):
    said = [said_of(page) for page in files]
    assert any(each.get("NonFree") == "true" for each in said)
    assert any("DeletionReason" in each for each in said)
    assert any("License" not in each and "LicenseShortName" not in each for each in said)
    known = {each.get("License") for each in said}
    assert known == {"cc-by-sa-4.0", "cc-by-sa-3.0", "cc-by-4.0", "cc-by-2.0"} | {
        *("cc0", "pd", "gfdl", None)
    }
    for each in said:
        if each.get("License", "").startswith("cc"):
            assert "creativecommons.org" in each["LicenseUrl"]


def test_files_are_not_all_photos(files):
    mimes = [info_of(page)["mime"] for page in files]
    assert set(mimes) == {"image/jpeg", "image/png", "image/svg+xml", "image/tiff"}
    assert mimes.count("image/jpeg") / len(mimes) > 0.9
    ends = {"image/jpeg": "jpg", "image/png": "png", "image/svg+xml": "svg", "image/tiff": "tif"}
    assert all(page["title"].endswith(ends[mime]) for page, mime in zip(files, mimes, strict=True))


def test_a_fifth_of_the_files_come_from_the_planets_flickr(base):
    planet = photos(SEED, PHOTOS)
    by_id = {photo.photo_id: photo for photo in planet}
    known = commons.Commons(planet).files
    imported = 0
    for photo in known.values():
        said = {"prop": "imageinfo", "iiprop": "user|extmetadata|url|size"}
        info = commons._info(photo, said)
        credit = info["extmetadata"]["Credit"]["value"]
        found = re.search(r"flickr\.com/photos/(\d+@N\d+)/(\d+)/", credit)
        assert bool(found) == ("own-work" not in credit)
        if found:
            imported += 1
            assert by_id[found[2]].owner == found[1] == photo.owner
            assert photo.photo_id == found[2]
            assert f"({found[2]})." in unquote(info["descriptionurl"])
            assert info["user"] == "FlickreviewR 2"
            assert f"flickr.com/people/{found[1]}" in info["extmetadata"]["Artist"]["value"]
    assert 0.17 < imported / len(known) < 0.23


def test_an_import_shows_what_flickr_shows(base):
    planet = photos(SEED, PHOTOS)
    photo = next(
        each
        for each in planet
        if commons.facts(each).imported and each.on_map == "yes" and not each.deleted
    )
    edges = (photo.latitude + 0.03, photo.longitude - 0.03)
    edges += (photo.latitude - 0.03, photo.longitude + 0.03)
    pages, _ = all_told(base, ggsbbox="|".join(f"{each:.6f}" for each in edges))
    credits = {
        f"/{photo.owner}/{photo.photo_id}/" in said_of(page)["Credit"]: page
        for page in pages.values()
    }
    file = request(base, info_of(credits[True])["url"])
    search = {"method": "flickr.photos.search", "api_key": KEY, "format": "json"}
    search |= {"nojsoncallback": "1", "extras": "geo,url_n", "per_page": "500"}
    search |= {"min_upload_date": str(photo.uploaded), "max_upload_date": str(photo.uploaded)}
    rows = request(base, REST, **search).json()["photos"]["photo"]
    (row,) = [row for row in rows if row["id"] == photo.photo_id]
    assert row["owner"] == photo.owner
    on_flickr = opened(request(base, row["url_n"]).content)
    same = ImageOps.fit(opened(file.content).convert("L"), on_flickr.size)
    off = np.abs(np.asarray(same, float) - np.asarray(on_flickr.convert("L"), float))
    assert off.mean() < 8


def test_an_address_says_what_width_it_has_and_the_original_is_the_widest(crowded, files):
    widths = set()
    for info in [info_of(page) for page in files if "thumburl" in info_of(page)][:40]:
        got = request(crowded, info["thumburl"])
        assert got.status_code == 200
        assert opened(got.content).size == (info["thumbwidth"], info["thumbheight"])
        if info["thumburl"] == info["url"]:
            assert info["width"] <= 250
        else:
            assert "/thumb/" in info["thumburl"] and "/250px-" in info["thumburl"]
            assert info["width"] > 250
        widths.add(info["thumbwidth"])
    assert 250 in widths and len(widths) > 1
    for row in told(crowded, iiurlwidth="960")["query"]["pages"][:50]:
        info = info_of(row)
        if "thumburl" in info and info["width"] < 960:
            assert info["thumburl"] == info["url"]
            assert info["thumbwidth"] == info["width"]
    quantised = told(crowded, iiurlwidth="200")["query"]["pages"][:50]
    assert {info_of(row).get("thumbwidth") for row in quantised} >= {250}
    assert not any("/200px-" in info_of(row).get("thumburl", "") for row in quantised)


def test_some_thumbnails_cannot_be_made(files):
    broken = [info_of(page) for page in files if "thumberror" in info_of(page)]
    assert 0 < len(broken) < 20
    assert all("thumburl" not in each for each in broken)


def test_a_width_that_is_no_step_is_refused_and_asking_again_does_not_help(crowded, files):
    address = next(info_of(page)["thumburl"] for page in files if "/250px" in str(page))
    answers = [request(crowded, address.replace("/250px-", "/251px-")) for _ in range(4)]
    assert {each.status_code for each in answers} == {429}
    for each in answers:
        assert "Use thumbnail steps listed on" in each.text
        assert each.headers["content-type"].startswith("text/html")
        assert "Retry-After" not in each.headers


def test_too_many_requests_are_refused_in_other_words_and_pass():
    with serving(crowd(60), faults={"too_many": 1}) as address:
        answers = [request(address, commons.facts(photo).address) for photo in crowd(60)[:12]]
        again = [
            request(address, commons.facts(crowd(60)[0]).address).status_code for _ in range(3)
        ]
    assert {each.status_code for each in answers} == {429}
    assert not any("thumbnail steps" in each.text for each in answers)
    assert {each.headers.get("Retry-After") for each in answers} == {"1", None}
    assert again[-1] == 200


def test_the_same_picture_put_online_twice_has_the_same_sha1():
    planet, seen = photos(SEED, PHOTOS), {}
    for photo in planet:
        seen.setdefault((photo.view, photo.take), set()).add(commons.facts(photo).sha1)
    assert all(len(each) == 1 for each in seen.values())
    assert len(set().union(*seen.values())) == len(seen)
    assert len(seen) < len(planet)


def test_what_is_deleted_is_listed_and_its_file_is_gone(base):
    known = commons.Commons(photos(SEED, PHOTOS))
    gone = next(photo for photo in known.files.values() if photo.deleted)
    assert request(base, commons.facts(gone).address).status_code == 404


def test_a_direction_is_a_fraction_of_the_exif(files):
    values = [
        {each["name"]: each["value"] for each in info_of(page)["metadata"] or []} for page in files
    ]
    told_of = [each for each in values if each]
    assert 0.3 < len(told_of) / len(values) < 0.7
    for each in told_of:
        assert re.fullmatch(r"\d+/100", each["GPSImgDirection"])
        assert each["GPSImgDirectionRef"] == "T"
