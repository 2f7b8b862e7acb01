"""What Panoramax, Wikimedia Commons and Mapillary may answer, row by row and error by error."""

import asyncio
import json
import time
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest

from nogps.acquire.area import Box, Region
from nogps.acquire.area_search import Search
from nogps.acquire.candidate import Candidate, Status
from nogps.acquire.http import Polite, Unavailable
from nogps.acquire.limits import Limits
from nogps.acquire.service import Refused, SearchSpec
from nogps.acquire.source import CrawlRate
from nogps.acquire.sources import commons, mapillary, panoramax
from nogps.base.errors import InputError
from nogps.rights import licences
from tests.kept import NoAnswers
from tests.pictures import encoded, picture
from tests.servers import answering

Commons, Mapillary, Panoramax = commons.Commons, mapillary.Mapillary, panoramax.Panoramax
SPEC = SearchSpec(Limits(), frozenset(licences.FREE))
BOX = Box(2.0, 48.0, 2.05, 48.05)
JPEG = encoded(picture(64, 64))
HTTP = partial(Polite, unit_s=0.001, timeout_s=5.0, user_agent="nogps/0.1 (tests@localhost)")
JSON = "application/json"


def of(service, spec=SPEC, **changes):
    """A service with these settings or constructor arguments, and usual ones besides."""
    kind, settings = {
        Panoramax: (panoramax, {"quality": "sd"}),
        Commons: (commons, {"width": 960, "uncertain": False}),
        Mapillary: (mapillary, {"positions": "computed", "width": 1024}),
    }[service]
    settings |= {name: changes.pop(name) for name in settings.keys() & changes.keys()}
    token = [changes.pop("token", "T")] if service is Mapillary else []
    return service(*token, spec, kind.Settings(**settings), **changes)


def answered(service, *script, most=500, box=BOX):
    """The page that a service makes of these answers, and what was asked."""
    given = [item if isinstance(item, tuple) else (200, JSON, _json(item)) for item in script]

    async def work():
        async with HTTP() as http:
            return await service.ask(box, http, most)

    with answering(*given) as (base, heard):
        service.base_url = base
        return asyncio.run(work()), heard


def fetched(service, url, base=""):
    async def work():
        async with HTTP(base=base) as http:
            return await service.fetch(url, http)

    return asyncio.run(work())


def _json(value) -> bytes:
    return json.dumps(value).encode()


def changed(row: dict, changes: dict) -> dict:
    """The row with other values at dotted names; None takes a key away."""
    row = json.loads(json.dumps(row))
    for name, value in changes.items():
        *path, last = name.split("/")
        inside = row
        for step in path:
            inside = inside[int(step) if isinstance(inside, list) else step]
        if value is None:
            inside.pop(last, None)
        else:
            inside[last] = value
    return row


# --- Panoramax ---

ITEM = {
    "type": "Feature",
    "id": "2ad2b303-59f5-4f8b-a7c1-ccfaef465fbe",
    "collection": "9802529e-5ec8-433a-95ac-e9d37bf3be7e",
    "geometry": {"type": "Point", "coordinates": [2.03, 48.02]},
    "providers": [{"name": "tdelmas", "roles": ["producer"], "id": "account"}],
    "properties": {
        "datetime": "2024-10-05T14:24:57+00:00",
        "license": "etalab-2.0",
        "view:azimuth": 280,
        "geovisio:status": "ready",
        "geovisio:visibility": "anyone",
        "pers:interior_orientation": {"field_of_view": 360},
    },
    "links": [{"rel": "license", "href": "https://www.etalab.gouv.fr/x"}],
    "assets": {
        "hd": {"href": "https://panoramax.ign.fr/a/hd.jpg"},
        "sd": {"href": "https://panoramax.ign.fr/a/sd.jpg"},
        "thumb": {"href": "https://panoramax.ign.fr/a/thumb.jpg"},
    },
}


def of_panoramax(**changes):
    service = of(Panoramax, **changes.pop("service", {}))
    page, _ = answered(service, {"features": [changed(ITEM, changes.get("row", {}))]})
    (found,) = page.photos.values()
    return found


def test_a_picture_of_panoramax_with_all_that_is_known():
    found = of_panoramax()
    assert found.page_url.startswith("http") and ITEM["id"] in found.page_url
    assert found == Candidate(
        photo_id=ITEM["id"],
        source="panoramax",
        latitude=48.02,
        longitude=2.03,
        owner="account",
        url="https://panoramax.ign.fr/a/sd.jpg",
        taken_at="2024-10-05T14:24:57+00:00",
        heading=280.0,
        licence="Licence Ouverte 2.0",
        page_url=found.page_url,
        author="tdelmas",
        licence_url="https://www.etalab.gouv.fr/x",
        sequence=ITEM["collection"],
        field_of_view=360.0,
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"properties/license": "proprietary"}, "licence_not_wanted"),
        ({"properties/license": None}, "licence_not_wanted"),
        ({"properties/license": "CC-BY-NC-4.0"}, "licence_not_wanted"),
        ({"properties/geovisio:status": "preparing"}, "not_public"),
        ({"properties/geovisio:visibility": "owner-only"}, "not_public"),
        ({"geometry": None}, "without_position"),
        ({"geometry/coordinates": [2.0]}, "without_position"),
        ({"geometry/coordinates": [10**400, 1]}, "without_position"),
        ({"assets": None}, "without_picture"),
        ({"assets": {"thumb": {"href": "https://a/t.jpg"}}}, "without_picture"),
        ({"assets": {"sd": {"href": "ftp://a/t.jpg"}}}, "without_picture"),
        ({"properties": None}, "licence_not_wanted"),
    ],
)
def test_a_picture_of_no_use_is_left_out_for_a_reason(row, reason):
    assert of_panoramax(row=row) == reason


@pytest.mark.parametrize(
    ("row", "name", "value"),
    [
        ({"properties/pers:interior_orientation": None}, "field_of_view", None),
        ({"properties/pers:interior_orientation": {"field_of_view": 92}}, "field_of_view", 92.0),
        ({"properties/pers:interior_orientation": {"field_of_view": None}}, "field_of_view", None),
        ({"properties/view:azimuth": None}, "heading", None),
        ({"properties/view:azimuth": 360}, "heading", 0.0),
        ({"properties/view:azimuth": "x"}, "heading", None),
        ({"properties/view:azimuth": 10**400}, "heading", None),
        ({"providers": None}, "owner", ""),
        ({"providers": [{"name": "ann", "roles": ["producer"]}]}, "owner", "ann@panoramax.ign.fr"),
        ({"links": None}, "licence_url", "https://www.etalab.gouv.fr/licence-ouverte-open-licence"),
        ({"assets/sd": None}, "url", "https://panoramax.ign.fr/a/hd.jpg"),
        ({"properties/geovisio:status": None}, "owner", "account"),
        ({"properties/license": "CC-BY-SA-4.0"}, "licence", "CC BY-SA 4.0"),
    ],
)
def test_what_a_picture_of_panoramax_may_lack(row, name, value):
    assert getattr(of_panoramax(row=row), name) == value


def test_panoramax_in_full_size():
    assert of_panoramax(service={"quality": "hd"}).url.endswith("/hd.jpg")


@pytest.mark.parametrize("body", [b"[]", b"{}", b"no", b'{"features": 3}'])
def test_an_answer_of_panoramax_that_is_none_is_asked_for_again(body):
    page, heard = answered(of(Panoramax), (200, JSON, body), {"features": []})
    assert page.photos == {} and len(heard) == 2


def test_a_refused_search_is_told_in_a_sentence():
    refusal = {"status": 400, "message": "Parameter bbox\nmust be"}
    with pytest.raises(Refused, match="HTTP 400, Parameter bbox must be") as told:
        answered(of(Panoramax), (400, JSON, _json(refusal)))
    assert "\n" not in str(told.value)


# --- Wikimedia Commons ---

FILE = {
    "pageid": 7,
    "ns": 6,
    "title": "File:Sunrise over boats.jpg",
    "coordinates": [
        {"lat": 48.01, "lon": 2.01, "primary": True, "type": "camera", "globe": "earth"},
        {"lat": 48.03, "lon": 2.01, "primary": False, "type": "landmark", "globe": "earth"},
    ],
    "imageinfo": [
        {
            "user": "Uploader",
            "width": 3000,
            "height": 2000,
            "thumburl": "https://upload.wikimedia.org/thumb/960px-X.jpg",
            "url": "https://upload.wikimedia.org/X.jpg",
            "descriptionurl": "https://commons.wikimedia.org/wiki/File:X.jpg",
            "sha1": "abc",
            "mime": "image/jpeg",
            "metadata": [
                {"name": "GPSImgDirection", "value": "29500/100"},
                {"name": "GPSImgDirectionRef", "value": "T"},
            ],
            "extmetadata": {
                "DateTimeOriginal": {"value": "2009-02-18"},
                "License": {"value": "cc-by-sa-3.0"},
                "LicenseShortName": {"value": "CC BY-SA 3.0"},
                "LicenseUrl": {"value": "http://creativecommons.org/licenses/by-sa/3.0"},
                "Artist": {
                    "value": '<a href="//commons.wikimedia.org/wiki/User:Fabrice_Florin" '
                    'title="User:Fabrice Florin">Fabrice &amp; Florin</a>'
                },
                "Credit": {"value": '<span class="int-own-work">Own work</span>'},
            },
        }
    ],
}
SAID = "imageinfo/0/extmetadata/"
AROUND = {SAID + "Categories": {"value": "360° panoramas|Beaches"}}


def of_commons(row: dict | None = None, **service):
    value = {"query": {"pages": [changed(FILE, row or {})]}}
    page, _ = answered(of(Commons, **service), value)
    (found,) = page.photos.values()
    return found


def test_a_file_of_commons_with_all_that_is_known():
    assert of_commons() == Candidate(
        photo_id="M7",
        source="commons",
        latitude=48.01,
        longitude=2.01,
        owner="user Fabrice Florin",
        url="https://upload.wikimedia.org/thumb/960px-X.jpg#abc",
        taken_at="2009-02-18",
        heading=295.0,
        licence="CC BY-SA 3.0",
        page_url="https://commons.wikimedia.org/wiki/File:X.jpg",
        author="Fabrice & Florin",
        title="Sunrise over boats.jpg",
        licence_url="http://creativecommons.org/licenses/by-sa/3.0",
    )


USER = '<a href="//commons.wikimedia.org{}">Jo</a>'
FLICKR = '<a href="https://www.flickr.com/photos/{}/4763369508/">x</a>'


@pytest.mark.parametrize(
    ("row", "owner", "flickr_id"),
    [
        ({SAID + "Credit": {"value": FLICKR.format("12@N00")}}, "12@N00", "4763369508"),
        ({SAID + "Credit": {"value": FLICKR.format("12%40N00")}}, "12@N00", "4763369508"),
        ({SAID + "Credit": {"value": FLICKR.format("Ann")}}, "flickr ann", "4763369508"),
        (
            {
                SAID + "Credit": {"value": FLICKR.format("ann")},
                SAID + "Artist/value": '<a href="https://www.flickr.com/people/12@N00">Ann</a>',
            },
            "12@N00",
            "4763369508",
        ),
        ({"title": "File:A beach (4763369508).jpg"}, "user Fabrice Florin", "4763369508"),
        ({SAID + "Artist": {"value": "Jane  <b>Roe</b>"}}, "user Uploader", ""),
        (
            {SAID + "Artist": {"value": "Jane  <b>Roe</b>"}, SAID + "Credit": {"value": "a book"}},
            "jane roe",
            "",
        ),
        ({SAID + "Artist": None}, "user Uploader", ""),
        ({SAID + "Artist/value": USER.format("/wiki/User:V%C3%A5gen")}, "user Vågen", ""),
        ({SAID + "Artist/value": USER.format("/wiki/User:Jo_A/Licensing")}, "user Jo A", ""),
        ({SAID + "Artist/value": USER.format("/w/i.php?title=User:Jo&amp;red=1")}, "user Jo", ""),
        ({SAID + "Artist": None, "imageinfo/0/user": None}, "", ""),
    ],
)
def test_who_took_a_file_of_commons(row, owner, flickr_id):
    found = of_commons(row)
    assert (found.owner, found.flickr_id) == (owner, flickr_id)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({SAID + "NonFree": {"value": "true"}}, "licence_not_wanted"),
        ({SAID + "DeletionReason": {"value": "x"}}, "licence_not_wanted"),
        ({SAID + "License": None, SAID + "LicenseShortName": None}, "licence_not_wanted"),
        ({SAID + "License/value": "gfdl", SAID + "LicenseShortName": None}, "licence_not_wanted"),
        ({"imageinfo/0/extmetadata": None}, "licence_not_wanted"),
        ({"imageinfo/0/mime": "image/svg+xml"}, "not_a_photo"),
        ({"imageinfo/0/mime": "image/tiff"}, "not_a_photo"),
        ({"imageinfo": None}, "without_picture"),
        ({"imageinfo/0/thumburl": None}, "without_picture"),
        ({"coordinates": None}, "without_position"),
        ({"coordinates": [FILE["coordinates"][1]]}, "uncertain_position"),
        ({"coordinates/0/type": None}, "uncertain_position"),
        ({"coordinates/0/globe": "moon", "coordinates/1/globe": "moon"}, "without_position"),
        ({"coordinates/0/lat": 91}, "without_position"),
    ],
)
def test_a_file_of_no_use_is_left_out_for_a_reason(row, reason):
    assert of_commons(row) == reason


def test_uncertain_positions_are_taken_where_they_are_wanted_but_never_those_of_subjects():
    assert of_commons({"coordinates/0/type": None}, uncertain=True).latitude == 48.01
    subject = {"coordinates": [FILE["coordinates"][1] | {"primary": True}]}
    assert of_commons(subject, uncertain=True) == "uncertain_position"


@pytest.mark.parametrize(
    ("row", "name", "value"),
    [
        ({"imageinfo/0/metadata": None}, "heading", None),
        ({"imageinfo/0/metadata": [{"name": "GPSImgDirection", "value": "1/0"}]}, "heading", None),
        ({"imageinfo/0/metadata/1/value": "M"}, "heading", None),
        ({SAID + "DateTimeOriginal": {"value": "<i>circa</i> 1900"}}, "taken_at", ""),
        ({SAID + "DateTimeOriginal/value": "2009:02:18 10:11"}, "taken_at", "2009-02-18T10:11"),
        ({SAID + "Attribution": {"value": "<b>Credit me</b>"}}, "author", "Credit me"),
        ({SAID + "LicenseUrl": None}, "licence_url", licences.licence_of("CC BY-SA 3.0").url),
        (AROUND | {"imageinfo/0/height": 1500}, "field_of_view", 360.0),
        (AROUND, "field_of_view", None),
        (
            {SAID + "Categories": {"value": "Bus 360"}, "imageinfo/0/height": 1500},
            "field_of_view",
            None,
        ),
    ],
)
def test_what_a_file_of_commons_may_lack_or_say(row, name, value):
    assert getattr(of_commons(row), name) == value


def test_parts_of_an_answer_are_put_together():
    """Coordinates come with one part, pictures with another, as the API continues."""
    whole = json.loads(json.dumps(FILE))
    first = {key: value for key, value in whole.items() if key != "imageinfo"}
    second = {key: value for key, value in whole.items() if key != "coordinates"}
    further = {"iicontinue": "X.jpg|2024", "continue": "||"}
    page, heard = answered(
        of(Commons),
        {"query": {"pages": [first]}, "continue": further},
        {"query": {"pages": [second]}},
    )
    assert page.calls == 2
    assert page.photos["M7"].latitude == 48.01
    asked = [parse_qs(urlsplit(path).query) for path in heard]
    assert "iicontinue" not in asked[0]
    assert asked[1]["iicontinue"] == ["X.jpg|2024"]
    box = ["48.0500000|2.0000000|48.0000000|2.0500000"]  # north, west, south, east
    assert asked[0]["ggsbbox"] == asked[1]["ggsbbox"] == box
    assert asked[0]["maxlag"] == ["5"]


def test_an_answer_that_never_ends_is_given_up():
    value = {"query": {"pages": [FILE]}, "continue": {"iicontinue": "a|b"}}
    with pytest.raises(Unavailable):
        answered(of(Commons), value)


def test_an_area_without_files_has_no_query():
    page, _ = answered(of(Commons), {"batchcomplete": True})
    assert page.photos == {} and not page.full


def test_the_pause_that_lagging_servers_ask_for_is_kept():
    lag = _json({"error": {"code": "maxlag", "info": "Waiting", "lag": 7}})
    began = time.monotonic()
    _, heard = answered(
        of(Commons), (200, JSON, lag, ("Retry-After", "1")), {"batchcomplete": True}
    )
    assert len(heard) == 2
    assert time.monotonic() - began >= 0.99  # at least what was asked: no upper bound


@pytest.mark.parametrize(
    "code", ["ratelimited", "readonly", "internal_api_error_DBQueryError", "maxlag"]
)
def test_errors_of_commons_that_pass_are_waited_out(code):
    error = {"error": {"code": code, "info": ""}}
    page, heard = answered(of(Commons), error, error, {"query": {"pages": [FILE]}})
    assert len(page.photos) == 1 and len(heard) == 3


def test_errors_of_commons_that_do_not_pass_are_told():
    with pytest.raises(Refused, match="invalid-bbox"):
        answered(of(Commons), {"error": {"code": "invalid-bbox", "info": ""}})
    with pytest.raises(Unavailable) as told:
        answered(of(Commons), {"error": {"code": "toobig", "info": ""}})
    assert not isinstance(told.value, Refused)  # which is nobody's fault
    with pytest.raises(InputError, match=r"NOGPS_CONTACT.*if it is set"):
        answered(of(Commons), (403, "text/html", b"who are you"))


@pytest.mark.parametrize(("files", "full"), [(9, False), (10, True), (20, True)])
def test_half_of_what_may_be_listed_may_be_cut_off(files, full):
    """Since two positions of one file count, and files that are no more."""
    pages = [FILE | {"pageid": 1 + number} for number in range(files)]
    page, _ = answered(of(Commons), {"query": {"pages": pages}}, most=20)
    assert len(page.photos) == files
    assert page.full == full


@pytest.mark.parametrize("service", [Commons, Panoramax])
def test_a_search_that_is_sent_on_is_followed(service):
    moved = (301, "text/html", b"", ("Location", "/elsewhere"))
    page, heard = answered(of(service), moved, {"batchcomplete": True, "features": []})
    assert page.photos == {} and heard[1:] == ["/elsewhere"]


BUSY = [
    (Commons, (200, JSON, _json({"error": {"code": "maxlag", "info": "", "lag": 7}}))),
    (Commons, (200, JSON, _json({"error": {"code": "ratelimited", "info": ""}}))),
    (Mapillary, (400, JSON, _json({"error": {"code": 4, "is_transient": True}}))),
]


@pytest.mark.parametrize(("service", "busy"), BUSY)
def test_a_service_that_is_busy_for_ever_is_not_asked_for_ever(service, busy, monkeypatch):
    """Although it says so by HTTP 200, and although questions are asked again in parts."""
    monkeypatch.setattr("nogps.acquire.http.PROBES", 3)
    spec = SearchSpec(Limits(Region.read((2.0, 48.0, 3.0, 49.0))), frozenset(licences.FREE), "land")
    with answering(busy) as (base, heard):
        search = Search(of(service, spec, base_url=base), HTTP, NoAnswers())
        with pytest.raises(InputError, match="is down or refuses to answer; run this again later"):
            search.candidates()
    assert len(heard) < 60


def test_names_that_cannot_be_written_are_mended():
    """Half of a surrogate pair, as JSON escapes it; parquet takes none."""
    row = json.dumps(ITEM).replace("tdelmas", "Ann \\ud83d \\ud83d\\ude00").encode()
    page, _ = answered(of(Panoramax), (200, JSON, b'{"features": [' + row + b"]}"))
    assert page.photos[ITEM["id"]].author == "Ann \ufffd \U0001f600"


def test_a_width_that_is_never_made_is_not_waited_for():
    words = b"<p>Use thumbnail steps listed on https://w.wiki/GHai</p>"
    with answering((429, "text/html", words)) as (base, heard):
        found = fetched(of(Commons), f"{base}/961px-X.jpg#abc")
    assert found.status is Status.FAILED
    assert list(heard) == ["/961px-X.jpg"]


def test_too_many_requests_are_waited_out():
    with answering(
        (429, "text/html", b"Too many", ("Retry-After", "0")), (200, "image/jpeg", JPEG)
    ) as (base, heard):
        found = fetched(of(Commons), f"{base}/960px-X.jpg#abc")
    assert found.body == JPEG and len(heard) == 2


def test_commons_says_who_asks():
    _, heard = answered(of(Commons), {"batchcomplete": True})
    assert heard.headers[0]["User-Agent"] == "nogps/0.1 (tests@localhost)"


# --- Mapillary ---

ROW = {
    "id": "1147613149173022",
    "captured_at": 1667558866000,
    "compass_angle": 133.3,
    "computed_compass_angle": 133.9,
    "computed_geometry": {"type": "Point", "coordinates": [2.02, 48.02]},
    "geometry": {"type": "Point", "coordinates": [2.021, 48.021]},
    "sequence": "j3CkPow8WMRSObyTzHgfY7",
    "is_pano": True,
    "creator": {"username": "epicspongee", "id": "103109672569892"},
}


def of_mapillary(row: dict | None = None, **service):
    page, _ = answered(of(Mapillary, **service), {"data": [changed(ROW, row or {})]})
    (found,) = page.photos.values()
    return found


def test_a_picture_of_mapillary_with_all_that_is_known():
    found = of_mapillary()
    assert found.url.endswith(
        "/1147613149173022?fields=thumb_2048_url,thumb_1024_url,thumb_256_url"
    )
    assert found == Candidate(
        photo_id="1147613149173022",
        source="mapillary",
        latitude=48.02,
        longitude=2.02,
        owner="103109672569892",
        url=found.url,
        taken_at="2022-11-04T10:47:46Z",
        heading=133.9,
        licence="CC BY-SA 4.0",
        page_url="https://www.mapillary.com/app/?pKey=1147613149173022",
        author="epicspongee",
        licence_url="https://creativecommons.org/licenses/by-sa/4.0/",
        sequence="j3CkPow8WMRSObyTzHgfY7",
        field_of_view=360.0,
    )


@pytest.mark.parametrize(
    ("row", "service", "name", "value"),
    [
        ({}, {"positions": "original"}, "latitude", 48.021),
        ({"is_pano": False}, {}, "field_of_view", None),
        ({"is_pano": None}, {}, "field_of_view", None),
        ({"computed_compass_angle": None}, {}, "heading", 133.3),
        ({"computed_compass_angle": None, "compass_angle": None}, {}, "heading", None),
        ({"computed_compass_angle": -5.0}, {}, "heading", 133.3),
        ({"creator": None}, {}, "owner", ""),
        ({"creator": {"username": "ann"}}, {}, "owner", "ann"),
        ({"captured_at": None}, {}, "taken_at", ""),
        ({"captured_at": "soon"}, {}, "taken_at", ""),
        ({"sequence": None}, {}, "sequence", ""),
    ],
)
def test_what_a_picture_of_mapillary_may_lack(row, service, name, value):
    assert getattr(of_mapillary(row, **service), name) == value


def test_without_a_computed_position_it_is_left_out_or_the_original_is_taken():
    assert of_mapillary({"computed_geometry": None}) == "without_position"
    found = of_mapillary({"computed_geometry": None}, positions="original")
    assert found.latitude == 48.021


def test_flat_pictures_are_asked_for_in_their_width():
    assert "fields=thumb_256_url," in of_mapillary({"is_pano": False}, width=256).url


def test_the_time_window_is_asked_for():
    limits = Limits(taken_from="2020-01-31", taken_to="2020-02-01")
    service = of(Mapillary, spec=SearchSpec(limits, frozenset(licences.FREE)))
    _, heard = answered(service, {"data": []})
    asked = parse_qs(urlsplit(heard[0]).query)
    assert asked["start_captured_at"] == ["2020-01-31T00:00:00Z"]
    assert asked["end_captured_at"] == ["2020-02-01T23:59:59Z"]
    assert heard.headers[0]["Authorization"] == "OAuth T"
    assert "access_token" not in heard[0]


def error(code: int, **more) -> bytes:
    return _json({"error": {"message": "m", "type": "MLYApiException", "code": code, **more}})


@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_a_limit_that_passes_is_waited_out_whatever_the_status(status):
    limit = (status, JSON, error(4, is_transient=True))
    page, heard = answered(of(Mapillary), limit, limit, {"data": [ROW]})
    assert len(page.photos) == 1 and len(heard) == 3


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_a_token_that_is_not_taken_is_told_at_once(status):
    with pytest.raises(InputError, match="does not take the token") as told:
        answered(of(Mapillary, token="secret-token"), (status, JSON, error(190)))
    assert "secret-token" not in str(told.value)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((400, JSON, error(100, message="Bad\nbox")), r"\(code 100: Bad box\)"),
        ((400, JSON, error(10)), r"\(code 10: m\)"),
        ((302, "text/html", b"", ("Location", "/login")), r"\(HTTP 302\)"),
    ],
)
def test_a_box_that_is_refused_is_asked_in_parts_and_it_is_said_why(answer, why):
    with pytest.raises(Refused, match=why):
        answered(of(Mapillary), answer)


def test_a_licence_that_is_not_wanted_is_said_before_anything_is_asked():
    spec = SearchSpec(Limits(), frozenset({"CC0"}))
    with pytest.raises(InputError, match=r"sampling.licences: .*CC BY-SA"):
        of(Mapillary, spec=spec)


def test_the_token_never_reaches_the_host_of_the_pictures():
    with answering((200, "image/jpeg", JPEG)) as (pictures, got):
        address = {"thumb_1024_url": f"{pictures}/m1/x.jpg?oe=6AE64C74", "id": "1"}
        escaped = json.dumps(address).replace("/", "\\/").encode()
        with answering((200, JSON, escaped)) as (graph, asked):
            service = of(Mapillary, token="secret-token", base_url=graph)
            found = fetched(service, f"{graph}/1?fields=thumb_2048_url,thumb_1024_url")
    assert found.body == JPEG
    assert asked.headers[0]["Authorization"] == "OAuth secret-token"
    assert "Authorization" not in got.headers[0]
    assert "secret-token" not in str(got.headers) + str(got)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_address_whose_time_is_over_is_asked_for_again(status):
    with answering((status,), (200, "image/jpeg", JPEG)) as (pictures, got):
        address = {"thumb_1024_url": f"{pictures}/x.jpg", "id": "1"}
        with answering((200, JSON, _json(address))) as (graph, asked):
            service = of(Mapillary, base_url=graph)
            found = fetched(service, f"{graph}/1?fields=thumb_1024_url")
    assert found.body == JPEG
    assert (len(asked), len(got)) == (2, 2)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ((404, JSON, b"{}"), Status.GONE),
        ((400, JSON, error(100)), Status.GONE),
        ((200, JSON, b'{"id": "1"}'), Status.GONE),
    ],
)
def test_a_picture_that_mapillary_has_no_more_is_gone(answer, status):
    with answering(answer) as (graph, _):
        service = of(Mapillary, base_url=graph)
        assert fetched(service, f"{graph}/1?fields=thumb_1024_url").status is status


@pytest.mark.parametrize(
    "answer",
    [
        (400, JSON, error(368)),
        (403, JSON, error(10)),
        (302, "text/html", b"", ("Location", "/login")),
        (400, JSON, error(100, message="Tried accessing nonexisting field (thumb_1024_url)")),
    ],
)
def test_an_error_of_mapillary_is_not_the_end_of_a_picture(answer):
    with answering(answer) as (graph, _):
        service = of(Mapillary, base_url=graph)
        with pytest.raises(Unavailable):
            fetched(service, f"{graph}/1?fields=thumb_1024_url")


def test_a_host_that_refuses_fresh_addresses_is_tried_another_time():
    with answering((403,)) as (pictures, _):
        address = {"thumb_1024_url": f"{pictures}/x.jpg", "id": "1"}
        with answering((200, JSON, _json(address))) as (graph, _):
            service = of(Mapillary, base_url=graph)
            assert fetched(service, f"{graph}/1?fields=thumb_1024_url").status is Status.FAILED


# --- how fast they are asked ---


def test_wikimedia_is_not_asked_for_more_than_it_allows_however_large_the_pictures():
    def rate(width: int) -> CrawlRate:
        return commons.crawl_rate(commons.Settings(width=width, uncertain=False))

    for width in (330, 500, 960, 1280, 1920):
        assert rate(width).per_second <= rate(960).per_second
        assert rate(width).per_second * rate(width).kilobytes * 8 / 1000 <= 25  # Mbit/s
        assert (rate(width).kilobytes > rate(960).kilobytes) == (width > 960)


@pytest.mark.parametrize(
    ("module", "usual", "large"),
    [
        (panoramax, {"quality": "sd"}, {"quality": "hd"}),
        (mapillary, {"positions": "computed", "width": 1024}, {"width": 2048}),
    ],
)
def test_what_is_told_of_the_size_follows_that_of_the_pictures(module, usual, large):
    small = module.crawl_rate(module.Settings(**usual))
    large = module.crawl_rate(module.Settings(**usual | large))
    assert large.kilobytes > 3 * small.kilobytes
    assert large.per_second == small.per_second
