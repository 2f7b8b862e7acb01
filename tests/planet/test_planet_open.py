"""The planet's Wikimedia Commons, Panoramax and Mapillary, held to what the real ones do."""

import html
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from urllib.parse import quote, unquote, urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.ExifTags import GPS, IFD

from nogps.earth.geo import distance_km
from planet import commons, drives, mapillary, panoramax
from planet.flickr import REST
from planet.keys import KEY, MAPILLARY_TOKEN
from planet.photos import Photo, photos
from planet.picture import jpeg
from planet.server import serving
from tests.planet.processes import told_by_two_processes

SEED, PHOTOS = 0, 1500
CLIENT = httpx.Client(
    trust_env=False,
    timeout=30,
    headers={"User-Agent": "nogps-tests/0.1 (tests@localhost) httpx/0"},
)


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with serving(photos(SEED, PHOTOS), seed=SEED) as address:
        yield address


def get(base: str, address: str, headers: dict | None = None, **arguments) -> httpx.Response:
    """The answer to an address of a planet's host, or to a path with these arguments."""
    parts = urlsplit(address)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    asked = {"params": arguments} if arguments else {}
    return CLIENT.get(base + path, headers=headers, **asked)


def opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


def host(address: str) -> str:
    return urlsplit(address).netloc


# --- Wikimedia Commons ---

AREA = (48.9, 2.3, 48.8, 2.4)  # north, west, south, east: 11 x 7 km
ALL = "url|size|mime|sha1|user|timestamp|extmetadata|metadata"


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


def told(base: str, **arguments) -> dict:
    """What the API says, always with HTTP 200."""
    asked = {
        "action": "query",
        "format": "json",
        "formatversion": "2",
        "generator": "geosearch",
        "ggsnamespace": "6",
        "ggslimit": "500",
        "ggsprimary": "all",
        "ggsbbox": "|".join(map(str, AREA)),
        "prop": "coordinates|imageinfo",
        "colimit": "max",
        "coprop": "type|globe",
        "coprimary": "all",
        "iiprop": ALL,
        "iiurlwidth": "250",
    }
    asked = {key: value for key, value in (asked | arguments).items() if value is not None}
    answer = get(base, commons.API, **asked)
    assert answer.status_code == 200
    return answer.json()


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
    assert get(base, commons.API, headers, action="query").status_code == 403
    assert get(base, commons.address_of(photos(0, 5)[0]), headers).status_code == 403


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"action": "find"}, "badvalue"),
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
        asked = {"action": "query", "format": "json", "generator": "geosearch", "maxlag": "5"}
        answers = [get(address, commons.API, **asked, requestid=str(each)) for each in range(9)]
        again = [get(address, commons.API, **asked, requestid="0").json() for _ in range(3)]
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
    listed = told(crowded, prop="coordinates", coprimary="primary", colimit="max")
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
    pages = told(crowded, prop="coordinates", coprop=None, coprimary=None)["query"]["pages"]
    assert {key for row in pages for each in row["coordinates"] for key in each} == {
        *("lat", "lon", "primary", "globe")
    }
    assert all(each["primary"] for row in pages for each in row["coordinates"])
    filtered = told(crowded, iiextmetadatafilter="Artist|License")["query"]["pages"][:50]
    assert {name for row in filtered for name in said_of(row)} == {"Artist", "License"}
    whole = told(crowded, prop="imageinfo", iiurlwidth=None)  # no thumbnail, no limit of 50
    assert all("imageinfo" in row for row in whole["query"]["pages"])


def test_the_format_that_comes_unasked_has_pages_by_id_and_no_false(crowded):
    answer = told(crowded, formatversion=None, prop="coordinates", ggslimit="50")
    assert answer["batchcomplete"] == ""
    assert all(str(row["pageid"]) == key for key, row in answer["query"]["pages"].items())
    seen = [each for row in answer["query"]["pages"].values() for each in row["coordinates"]]
    assert {each.get("primary") for each in seen} == {"", None}


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
        if commons._imported(each) and each.on_map == "yes" and not each.deleted
    )
    edges = (photo.latitude + 0.03, photo.longitude - 0.03)
    edges += (photo.latitude - 0.03, photo.longitude + 0.03)
    pages, _ = all_told(base, ggsbbox="|".join(f"{each:.6f}" for each in edges))
    credits = {
        f"/{photo.owner}/{photo.photo_id}/" in said_of(page)["Credit"]: page
        for page in pages.values()
    }
    file = get(base, info_of(credits[True])["url"])
    search = {"method": "flickr.photos.search", "api_key": KEY, "format": "json"}
    search |= {"nojsoncallback": "1", "extras": "geo,url_n", "per_page": "500"}
    search |= {"min_upload_date": str(photo.uploaded), "max_upload_date": str(photo.uploaded)}
    rows = get(base, REST, **search).json()["photos"]["photo"]
    (row,) = [row for row in rows if row["id"] == photo.photo_id]
    assert row["owner"] == photo.owner
    on_flickr = opened(get(base, row["url_n"]).content)
    same = ImageOps.fit(opened(file.content).convert("L"), on_flickr.size)
    off = np.abs(np.asarray(same, float) - np.asarray(on_flickr.convert("L"), float))
    assert off.mean() < 8


def test_an_address_says_what_width_it_has_and_the_original_is_the_widest(crowded, files):
    widths = set()
    for info in [info_of(page) for page in files if "thumburl" in info_of(page)][:40]:
        got = get(crowded, info["thumburl"])
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
    answers = [get(crowded, address.replace("/250px-", "/251px-")) for _ in range(4)]
    assert {each.status_code for each in answers} == {429}
    for each in answers:
        assert "Use thumbnail steps listed on" in each.text
        assert each.headers["content-type"].startswith("text/html")
        assert "Retry-After" not in each.headers


def test_too_many_requests_are_refused_in_other_words_and_pass():
    with serving(crowd(60), faults={"too_many": 1}) as address:
        answers = [get(address, commons.address_of(photo)) for photo in crowd(60)[:12]]
        again = [get(address, commons.address_of(crowd(60)[0])).status_code for _ in range(3)]
    assert {each.status_code for each in answers} == {429}
    assert not any("thumbnail steps" in each.text for each in answers)
    assert {each.headers.get("Retry-After") for each in answers} == {"1", None}
    assert again[-1] == 200


def test_the_same_picture_put_online_twice_has_the_same_sha1():
    planet, seen = photos(SEED, PHOTOS), {}
    for photo in planet:
        seen.setdefault((photo.view, photo.take), set()).add(commons._sha1(photo))
    assert all(len(each) == 1 for each in seen.values())
    assert len(set().union(*seen.values())) == len(seen)
    assert len(seen) < len(planet)


def test_what_is_deleted_is_listed_and_its_file_is_gone(base):
    known = commons.Commons(photos(SEED, PHOTOS))
    gone = next(photo for photo in known.files.values() if photo.deleted)
    assert get(base, commons.address_of(gone)).status_code == 404


def test_a_direction_is_a_fraction_of_the_exif(files):
    values = [
        {each["name"]: each["value"] for each in info_of(page)["metadata"] or []} for page in files
    ]
    told_of = [each for each in values if each]
    assert 0.3 < len(told_of) / len(values) < 0.7
    for each in told_of:
        assert re.fullmatch(r"\d+/100", each["GPSImgDirection"])
        assert each["GPSImgDirectionRef"] == "T"


# --- Panoramax ---

FRANCE = "-5,41,10,52"


@cache
def items() -> dict[str, panoramax._Item]:
    return panoramax.Panoramax(SEED, PHOTOS).items


@pytest.fixture(scope="module")
def features(base) -> list[dict]:
    """Everything in France, as the catalogue describes it."""
    found = get(base, panoramax.SEARCH, bbox=FRANCE, limit="32767").json()["features"]
    assert len(found) > 500
    return found


def test_a_search_lists_the_nearest_to_the_middle_and_has_no_next_page(base):
    west, south, east, north = 1.0, 44.0, 6.0, 50.0
    box = f"{west},{south},{east},{north}"
    answer = get(base, panoramax.SEARCH, bbox=box).json()
    assert [each["rel"] for each in answer["links"]] == ["root"]
    assert len(answer["features"]) == 10
    whole = get(base, panoramax.SEARCH, bbox=box, limit="32767").json()
    assert [each["rel"] for each in whole["links"]] == ["root"]
    positions = np.array([each["geometry"]["coordinates"] for each in whole["features"]])
    assert len(positions) > 100
    assert (positions >= [west, south]).all() and (positions <= [east, north]).all()
    away = np.hypot(*(positions - [(west + east) / 2, (south + north) / 2]).T)
    assert (np.diff(away) > -1e-8).all()
    assert answer["features"] == whole["features"][:10]
    inside = [
        item.picture_id
        for item in items().values()
        if west <= item.shot.photo.longitude <= east and south <= item.shot.photo.latitude <= north
    ]
    assert {each["id"] for each in whole["features"]} == set(inside)


def test_dates_of_a_search_are_ignored(base):
    plain = get(base, panoramax.SEARCH, bbox=FRANCE).json()
    dated = get(base, panoramax.SEARCH, bbox=FRANCE, datetime="1999-01-01/1999-01-02").json()
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
    ],
)
def test_what_panoramax_cannot_search_is_refused(base, arguments, words):
    answer = get(base, panoramax.SEARCH, **arguments)
    assert answer.status_code == answer.json()["status"] == 400
    assert words in answer.json()["message"]


def test_an_absent_picture_is_404_but_an_empty_list_among_many(base):
    absent = "00000000-0000-4000-8000-000000000000"
    alone = get(base, f"/api/pictures/{absent}")
    assert alone.status_code == 404
    assert alone.json() == {"status": 404, "message": "Feature not found"}
    listed = get(base, panoramax.SEARCH, ids=absent)
    assert (listed.status_code, listed.json()["features"]) == (200, [])
    there = next(iter(items()))
    (found,) = get(base, panoramax.SEARCH, ids=f"{absent},{there}").json()["features"]
    assert found == get(base, f"/api/pictures/{there}").json()
    picture = get(base, f"/api/pictures/{absent}/sd.jpg")
    assert picture.status_code == picture.json()["status_code"] == 404
    deleted = next(each for each in items().values() if each.shot.photo.deleted)
    assert get(base, f"/api/pictures/{deleted.picture_id}").status_code == 200
    assert get(base, f"/api/pictures/{deleted.picture_id}/hd.jpg").status_code == 404


def test_a_collection_has_next_pages_until_all_are_seen(base):
    collection = max(
        {each.collection for each in items().values()},
        key=lambda name: sum(each.collection == name for each in items().values()),
    )
    address, seen, pages = f"/api/collections/{collection}/items?limit=5", [], 0
    while address:
        answer = get(base, address).json()
        assert 1 <= len(answer["features"]) <= 5
        seen += answer["features"]
        links = {each["rel"]: each["href"] for each in answer["links"]}
        address, pages = links.get("next"), pages + 1
    assert pages > 2
    ranks = [each["properties"]["geovisio:rank_in_collection"] for each in seen]
    assert ranks == list(range(1, len(seen) + 1))
    assert {each["collection"] for each in seen} == {collection}
    assert get(base, f"/api/collections/{collection}/items").json()["features"] == seen
    assert get(base, f"/api/collections/{next(iter(items()))}/items").status_code == 404
    assert get(base, f"/api/collections/{collection}/items?limit=0").status_code == 400


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
        assert field is None or (field == 360) == items()[each["id"]].shot.around


def test_one_instance_sends_on_to_its_storage(base, features):
    for licence, status in (("CC-BY-SA-4.0", 302), ("etalab-2.0", 200), ("CC-BY-4.0", 200)):
        each = next(
            each
            for each in features
            if each["properties"]["license"] == licence
            and not items()[each["id"]].shot.photo.deleted
        )
        answer = get(base, each["assets"]["sd"]["href"])
        assert answer.status_code == status
        if status == 302:
            stored = answer.headers["location"]
            assert host(stored) == host(panoramax.STORAGE)
            assert opened(get(base, stored).content).format == "JPEG"


@pytest.mark.parametrize("around", [True, False])
def test_pictures_say_where_they_were_taken_and_have_the_size_of_their_kind(base, around):
    item = next(
        each
        for each in items().values()
        if each.shot.around == around
        and each.licence == "etalab-2.0"
        and not each.shot.photo.deleted
    )
    photo, images = item.shot.photo, {}
    for size in ("hd", "sd", "thumb"):
        body = get(base, f"/api/pictures/{item.picture_id}/{size}.jpg").content
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


# --- Mapillary ---

FIELDS = (
    "id,captured_at,geometry,computed_geometry,compass_angle,computed_compass_angle,sequence,"
    "is_pano,creator,thumb_256_url,thumb_1024_url,thumb_2048_url"
)
OAUTH = {"Authorization": f"OAuth {MAPILLARY_TOKEN}"}
PLACE = (2.35, 48.85)


def ride(service: str, seed: int, count: int, country: str = "") -> tuple[drives.Shot, ...]:
    """2,300 pictures around one place, each a little further away from it."""
    return tuple(
        replace(
            shot,
            photo=replace(
                shot.photo,
                longitude=round(PLACE[0] + (number - 1150) * 2e-5, 7),
                latitude=PLACE[1],
            ),
        )
        for number, shot in enumerate(drives.shots(service, seed, 2300))
    )


@pytest.fixture(scope="module")
def busy() -> Iterator[str]:
    with serving(photos(0, 5)) as address:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mapillary, "shots", ride)
            get(address, mapillary.IMAGES, OAUTH, bbox="0,0,0.01,0.01")  # it keeps them
        yield address


def box(width: float, height: float) -> str:
    west, south = PLACE[0] - width / 2, PLACE[1] - height / 2
    return f"{west:.6f},{south:.6f},{west + width:.6f},{south + height:.6f}"


def graph(base: str, **arguments) -> httpx.Response:
    return get(base, mapillary.IMAGES, OAUTH, **{"bbox": box(0.09, 0.1), **arguments})


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
    few = graph(busy, fields="sequence,altitude", limit="50").json()["data"]
    assert {key for row in few for key in row} == {"id", "sequence"}  # no altitude is known


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
        answer = get(busy, path, headers)
        assert (answer.status_code, code_of(answer)) == (401, 190)


def test_the_token_may_stand_in_the_address(busy):
    answer = get(busy, mapillary.IMAGES, bbox=box(0.01, 0.01), access_token=MAPILLARY_TOKEN)
    assert answer.status_code == 200


def test_an_id_that_is_gone_has_code_100(busy):
    pictures = ride("mapillary", 0, 0)
    deleted = next(each for each in pictures if each.photo.deleted)
    for photo_id in ("123456", str(10**14 + deleted.number % 10**15)):
        assert code_of(get(busy, f"/{photo_id}", OAUTH, fields="thumb_256_url")) == 100


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
            image = opened(get(busy, address).content)
            assert image.width == width // 4
            assert around == (image.width == 2 * image.height)


def test_the_picture_host_takes_no_token(busy, rows):
    address = rows[0]["thumb_256_url"]
    assert get(busy, address).status_code == 200
    assert get(busy, address, OAUTH).status_code == 400
    assert get(busy, f"{address}&access_token={MAPILLARY_TOKEN}").status_code == 400


def test_addresses_expire_and_are_signed(busy, rows):
    address = rows[0]["thumb_256_url"]
    (end,) = re.findall(r"&oe=([0-9A-F]{8})$", address)
    later = address.replace(end, f"{int(end, 16) + 9:X}")
    unsigned = re.sub("&oh=[^&]*", "", address)
    for wrong in (later, unsigned, address.partition("&oe=")[0], address.replace(end, "soon")):
        assert get(busy, wrong).status_code == 403
    past = mapillary._address(rows[0]["id"], 256, True)
    answer = get(busy, past)
    assert (answer.status_code, answer.text) == (403, "URL signature expired")


def test_an_expired_address_is_handed_out_at_times_and_the_next_one_is_good():
    photo_id = next(
        each for each, shot in mapillary.Mapillary(0, 50).pictures.items() if not shot.photo.deleted
    )
    with serving(photos(0, 50), faults={"api_expired": 1}) as address:
        statuses = []
        for _ in range(4):
            told = get(address, f"/{photo_id}", OAUTH, fields="thumb_256_url").json()
            statuses.append(get(address, told["thumb_256_url"]).status_code)
    assert statuses == [403, 403, 403, 200]


# --- drives ---


def test_street_pictures_and_files_are_the_same_in_every_process():
    program = (
        "import hashlib\n"
        "from planet import commons, drives, mapillary, panoramax\n"
        "from planet.photos import photos\n"
        "items = panoramax.Panoramax(3, 60).items\n"
        "pictures = mapillary.Mapillary(3, 60).pictures\n"
        "files = commons.Commons(photos(3, 60)).files\n"
        "told = [commons._info(each, {'iiprop': 'url|user|sha1'}) for each in files.values()]\n"
        "around = [each for each in pictures.values() if each.around][:2]\n"
        "flat = [each for each in pictures.values() if not each.around][:2]\n"
        "drawn = b''.join(drives.rendered(each, 256) for each in around + flat)\n"
        "digest = hashlib.sha256(repr([items, pictures, files, told]).encode() + drawn)\n"
        "print(len(around), len(flat), digest.hexdigest())\n"
    )
    digests = told_by_two_processes(program)
    assert len(digests) == 1
    assert digests.pop().startswith("2 2 ")


def test_another_seed_has_other_street_pictures():
    assert not set(panoramax.Panoramax(1, 100).items) & set(panoramax.Panoramax(2, 100).items)
    one, other = (mapillary.Mapillary(seed, 100).pictures for seed in (1, 2))
    assert len(one) == len(other) == 100
    assert not set(one) & set(other)


@pytest.mark.parametrize("service", ["panoramax", "mapillary"])
def test_drives_stay_on_earth_and_go_on_step_by_step(service):
    shots = drives.shots(service, SEED, 4000, "France" if service == "panoramax" else "")
    assert len(shots) == len({shot.photo.view for shot in shots}) == 4000
    assert len({shot.number for shot in shots}) == 4000
    for before, shot in pairwise(shots):
        photo = shot.photo
        assert -90 <= photo.latitude <= 90 and -180 <= photo.longitude < 180
        assert 0 <= photo.heading < 360
        if shot.drive == before.drive:
            assert shot.rank == before.rank + 1
            assert (shot.around, photo.owner) == (before.around, before.photo.owner)
            assert 0.005 < kilometres(before.photo, photo) < 0.045
        else:
            assert shot.rank == 0
    assert 0.2 < np.mean([shot.around for shot in shots]) < 0.5


def kilometres(one: Photo, other: Photo) -> float:
    return float(distance_km(one.latitude, one.longitude, other.latitude, other.longitude))


def test_two_people_of_three_on_panoramax_are_french():
    owners = {each.shot.photo.owner: each.shot.photo.town.country for each in items().values()}
    assert 0.5 < np.mean([country == "France" for country in owners.values()]) < 0.85


def middle(pixels: np.ndarray, half: int) -> np.ndarray:
    """The middle of a picture, 60 x 60 pixels."""
    y, x = (side // 2 for side in pixels.shape[:2])
    cut = Image.fromarray(pixels[y - half : y + half, x - half : x + half])
    return np.asarray(cut.resize((60, 60)), float)


def test_the_middle_of_a_panorama_looks_along_the_heading_and_the_rest_to_its_right():
    around = [each.shot for each in items().values() if each.shot.around]
    told_apart = 0
    for shot in around[:: len(around) // 5][:5]:
        width = 480
        photo = replace(shot.photo, width=width // 3, height=width // 3)
        panorama = np.asarray(opened(drives.rendered(shot, width)))

        def view(turn: int, heading: int, photo=photo) -> np.ndarray:
            """What is seen after a turn, in the light of this heading."""
            name = f"{photo.view} {turn}"
            return np.asarray(opened(jpeg(replace(photo, heading=heading % 360, view=name))))

        def off(turn: int, pixels: np.ndarray, panorama=panorama, width=width) -> float:
            """How much a view differs from the panorama so far to the right of its middle."""
            here = np.roll(panorama, -turn * width // 360, axis=1)
            # There a degree is as many pixels in both, but for 5 hundredths.
            return float(np.abs(middle(pixels, 31) - middle(here, 30)).mean())

        views = {turn: view(turn, photo.heading + turn) for turn in (0, 90, 180, 270)}
        for turn, right in views.items():
            others = [off(turn, each) for name, each in views.items() if name != turn]
            assert off(turn, right) < 0.6 * min(others)
            mirrored = view(turn, photo.heading - turn)
            assert off(turn, right) <= off(turn, mirrored)
            told_apart += off(turn, right) < off(turn, mirrored)
    assert told_apart > 3


def test_a_rendered_picture_has_the_width_that_is_asked_for():
    for around in (True, False):
        shot = next(each.shot for each in items().values() if each.shot.around == around)
        for width in (64, 512):
            image = opened(drives.rendered(shot, width))
            assert image.width == width
        assert drives.rendered(shot) == drives.rendered(shot, shot.photo.width)
        assert drives.rendered.__wrapped__(shot, 64) == drives.rendered(shot, 64)


# --- the log ---


def test_the_log_tells_who_was_authorised_and_holds_no_token_and_no_signature(tmp_path):
    log = tmp_path / "log"
    file = next(photo for photo in photos(0, 50) if photo.on_map == "yes" and not photo.deleted)
    item = next(each for each in panoramax.Panoramax(0, 50).items.values())
    with serving(photos(0, 50), log=log) as address:
        photo_id = next(iter(mapillary.Mapillary(0, 50).pictures))
        graph(address)
        get(address, mapillary.IMAGES, access_token=MAPILLARY_TOKEN, bbox="0,0,0.01,0.01")
        told_of = get(address, f"/{photo_id}", OAUTH, fields="thumb_256_url").json()
        thumb = told_of["thumb_256_url"]
        get(address, thumb, {"Host": host(thumb)})
        told(address, ggsbbox="48.9|2.3|48.8|2.4")
        get(address, commons.address_of(file), {"Host": host(commons.UPLOAD)})
        get(address, panoramax.SEARCH, ids=item.picture_id)
        get(address, f"/api/pictures/{item.picture_id}")
        get(address, f"/permanent/{item.picture_id}-thumb.jpg")
    text = log.read_text()
    parts = dict(each.split("=") for each in urlsplit(thumb).query.split("&"))
    for secret in (MAPILLARY_TOKEN, quote(MAPILLARY_TOKEN), "MLY", parts["oh"], parts["oe"]):
        assert secret not in text
    rows = [json.loads(line) for line in text.splitlines()]
    assert [(row["what"], row["authorised"], row["photo"]) for row in rows] == [
        ("images", True, ""),
        ("images", True, ""),
        ("address", True, photo_id),
        ("thumb", False, photo_id),
        ("files", False, ""),
        ("file", False, commons.address_of(file).rpartition("/")[2]),
        ("items", False, ""),
        ("items", False, item.picture_id),
        ("asset", False, item.picture_id),
    ]
    assert rows[1]["path"] == "/images?bbox=0%2C0%2C0.01%2C0.01"
    assert rows[3]["host"] == host(mapillary.THUMBS)
    assert rows[5]["host"] == host(commons.UPLOAD)
    assert {row["status"] for row in rows} == {200}
    assert all(row["bytes"] > 0 and row["fault"] == "" for row in rows)
