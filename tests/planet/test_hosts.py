"""What the hosts of the planet have in common: a log without secrets, and that nothing breaks."""

import http.client
import json
from urllib.parse import quote, urlencode, urlsplit

import flickrapi
import pytest

from planet import commons, flickr, mapillary, panoramax, picture, streetview
from planet.keys import GOOGLE_KEY, KEY, MAPILLARY_TOKEN, SECRET, SIGNING_SECRET
from planet.photos import photos
from planet.server import serving
from tests.planet.asking import (
    ALIVE,
    CLIENT,
    OAUTH,
    ask,
    bbox,
    get,
    graph,
    host,
    opened,
    panoramas,
    picture_path,
    request,
    rows_of,
    told,
)


def test_the_log_tells_what_was_asked_and_no_secret(tmp_path):
    log = tmp_path / "new folder" / "log"
    photo, pano = ALIVE[0], panoramas(1)[0]
    with serving(photos(0, 130), log=log) as base:
        ask(base, text="city", page="2", api_sig="S3CRET", auth_token="S3CRET")
        client = flickrapi.FlickrAPI(KEY, SECRET, format="parsed-json", store_token=False)
        client.REST_URL = base + flickr.REST
        client.photos.search(text="beach", max_upload_date=5)
        get(base + picture_path(photo), host="live.staticflickr.invalid")
        target = f"{streetview.IMAGE}?size=64x64&pano={pano.pano_id}&heading=90&key={GOOGLE_KEY}"
        signature = streetview.signature_of(target)
        get(f"{base}{target}&signature={signature}")
        get(
            f"{base}{streetview.METADATA}?location={pano.latitude},{pano.longitude}"
            f"&key={GOOGLE_KEY}&signature=wrong"
        )
        get(base + flickr.PLACEHOLDER)
        get(base + "/favicon.ico")
    text = log.read_text()
    for secret in (KEY, SECRET, GOOGLE_KEY, SIGNING_SECRET, signature, "S3CRET", "oauth", "wrong"):
        assert secret not in text
    rows = rows_of(log)
    assert [row["what"] for row in rows] == [
        *("search", "search", "picture", "image", "metadata", "placeholder", "other")
    ]
    assert (rows[0]["text"], rows[0]["page"]) == ("city", "2")
    assert rows[0]["min_upload_date"] == "1167609600"
    assert (rows[1]["method"], rows[1]["text"], rows[1]["max_upload_date"]) == (
        "POST",
        "beach",
        "5",
    )
    assert (rows[2]["photo"], rows[2]["host"]) == (photo.photo_id, "live.staticflickr.invalid")
    assert rows[2]["bytes"] == len(picture.jpeg(photo, 320))
    assert rows[3]["photo"] == f"{pano.pano_id} 90"
    assert rows[3]["path"] == f"{streetview.IMAGE}?size=64x64&pano={pano.pano_id}&heading=90"
    assert rows[6]["status"] == 404
    assert all(row["time"] > 1e9 and row["fault"] == "" for row in rows)


def test_few_drawings_serve_for_all_photos_each_with_its_comment():
    with serving(photos(0, 130), distinct=2) as base:
        bodies = [get(base + picture_path(photo)).content for photo in ALIVE[:20]]
        pano = panoramas(1)[0].pano_id
        url = f"{base}{streetview.IMAGE}?key={GOOGLE_KEY}&size=64x48&heading=90&pano={pano}"
        view = opened(get(url).content)
    pictures = [opened(body) for body in bodies]
    assert [each.info["comment"].decode() for each in pictures] == [p.photo_id for p in ALIVE[:20]]
    assert len({each.tobytes() for each in pictures}) == 2
    assert (view.size, view.info["comment"].decode()) == ((64, 48), f"{pano} 90")


def test_the_log_tells_who_was_authorised_and_holds_no_token_and_no_signature(tmp_path):
    log = tmp_path / "log"
    file = next(photo for photo in photos(0, 50) if photo.on_map == "yes" and not photo.deleted)
    item, shot = next(iter(panoramax.Panoramax(0, 50).pictures.items()))
    with serving(photos(0, 50), log=log) as address:
        photo_id = next(iter(mapillary.Mapillary(0, 50).pictures))
        graph(address)
        request(address, mapillary.IMAGES, access_token=MAPILLARY_TOKEN, bbox="0,0,0.01,0.01")
        told_of = request(address, f"/{photo_id}", OAUTH, fields="thumb_256_url").json()
        thumb = told_of["thumb_256_url"]
        request(address, thumb, {"Host": host(thumb)})
        told(address, ggsbbox="48.9|2.3|48.8|2.4")
        request(address, commons.facts(file).address, {"Host": host(commons.UPLOAD)})
        request(address, panoramax.SEARCH, bbox=bbox(shot))
        request(address, f"/permanent/{item}-thumb.jpg")
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
        ("file", False, commons.facts(file).address.rpartition("/")[2]),
        ("items", False, ""),
        ("asset", False, item),
    ]
    assert rows[1]["path"] == "/images?bbox=0%2C0%2C0.01%2C0.01"
    assert rows[3]["host"] == host(mapillary.THUMBS)
    assert rows[5]["host"] == host(commons.UPLOAD)
    assert {row["status"] for row in rows} == {200}
    assert all(row["bytes"] > 0 and row["fault"] == "" for row in rows)


COMMONS = "&" + urlencode(commons.ASKED)
TOKEN = "&access_token=" + quote(MAPILLARY_TOKEN)


@pytest.mark.parametrize(
    "target",
    [
        "/services/rest/?text=%ff%00&api_key=" + KEY + "&format=json&method=flickr.photos.search",
        "//[::1/340000000_0123456789.jpg",
        "/%2e%2e/%00?=&&;=%zz",
        "/maps/api/streetview/metadata?key=" + GOOGLE_KEY + "&pano=%00%ff&signature=%",
        "/maps/api/streetview/metadata?key=" + GOOGLE_KEY + "&location=%D9%A1,%D9%A2",
        "/maps/api/streetview/metadata?key=" + GOOGLE_KEY + "&location=90,180&radius=1e300",
        "/maps/api/streetview?key=" + GOOGLE_KEY + "&location=-90,-180&size=1x1&radius=nan",
        "/maps/api/streetview?key=" + GOOGLE_KEY + "&location=85.0001,0&size=1x640&heading=-1e5",
        "http://api.flickr.invalid/services/rest/",
        "/api/search?bbox=nan,nan,nan,nan&limit=%D9%A1",
        "/api/search?bbox=1e999,0,-1e999,&limit=" + "9" * 5000,
        "/api/search?ids=%ff,,",
        "/w/api.php?ggsbbox=nan|nan|nan|nan&ggslimit=all" + COMMONS,
        "/w/api.php?ggsbbox=25.11|55.29|25.01|55.39&iiurlwidth=wide&prop=imageinfo" + COMMONS,
        "/w/api.php?ggsbbox=25.11|55.29|25.01|55.39&iicontinue=%ff&prop=imageinfo|x" + COMMONS,
        "/w/api.php?ggsbbox=25.11|55.29|25.01|55.39&cocontinue=|&prop=coordinates" + COMMONS,
        "/wikipedia/commons/thumb/0/00/%ff.jpg/960px-%00.jpg",
        "/images?bbox=nan,nan,nan,nan&limit=-1" + TOKEN,
        "/images?bbox=0,0,0,0&limit=0&start_captured_at=0001-01-01" + TOKEN,
        "/images?bbox=0,0,0,0&end_captured_at=yesterday&fields=,," + TOKEN,
        "/m1/v/t6/100000000000000-256?oe=x&oh=%ff",
    ],
)
def test_nothing_that_is_asked_breaks_a_host(base, target):
    host, port = base.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.putrequest("GET", target, skip_host=True)
    connection.putheader("User-Agent", CLIENT.headers["User-Agent"])
    connection.putheader("Host", "[::1")
    connection.putheader("Authorization", 'OAuth realm="", oauth_signature="%", x')
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status < 500
