"""The planet's Flickr, held to what the real one does."""

from dataclasses import replace

import flickrapi
import httpx
import pytest

from planet import flickr
from planet.flickr import IMAGE_HOST
from planet.keys import KEY, SECRET
from planet.photos import photos
from planet.server import serving
from tests.planet.asking import ask, get, opened, picture_path, rows_of


def test_errors_come_with_a_code_and_http_200(base):
    assert ask(base, api_key="someone else's")["code"] == 100
    assert ask(base, method="flickr.photos.findEverything")["code"] == 112
    assert ask(base, format="carrier pigeon")["code"] == 111
    assert ask(base, nojsoncallback="0")["code"] == 111  # what is not simulated
    assert ask(base, min_upload_date="")["code"] == 3
    assert ask(base, api_key="")["stat"] == "fail"


def test_geo_queries_return_at_most_250_a_page(base):
    assert len(ask(base, has_geo="1", per_page="500")["photos"]["photo"]) == 250
    assert len(ask(base, per_page="500")["photos"]["photo"]) == 500
    assert len(ask(base)["photos"]["photo"]) == 100


def test_a_geo_query_without_a_limiting_agent_sees_twelve_hours(base):
    narrow = ask(base, has_geo="1", text="city", min_upload_date="")["photos"]
    expected = [p for p in photos(0, 1500) if p.uploaded >= 1199145600 - 43200]
    assert int(narrow["total"] or 0) <= len(expected) < 20
    assert int(ask(base, has_geo="1", text="city")["photos"]["total"]) > 200


def test_bounds_of_time_belong_to_the_block(base):
    moment = photos(0, 1500)[700].uploaded
    expected = {p.photo_id for p in photos(0, 1500) if p.uploaded == moment}
    found = ask(base, min_upload_date=str(moment), max_upload_date=str(moment))["photos"]
    assert {photo["id"] for photo in found["photo"]} == expected


def test_totals_come_as_number_as_text_and_as_nothing(base):
    totals = [
        ask(base, text=word)["photos"]["total"]
        for word in ("city", "beach", "church", "market", "street", "village", "nowhere")
    ]
    assert totals[-1] == ""
    assert {type(total) for total in totals} == {int, str}


def test_text_finds_words_and_a_minus_keeps_them_out(base):
    words = {p.photo_id: f" {p.title} {' '.join(p.tags)} ".lower() for p in photos(0, 1500)}
    found = ask(base, text="city -street", per_page="500")["photos"]["photo"]
    expected = {each for each, text in words.items() if "city" in text and "street" not in text}
    assert {photo["id"] for photo in found} == expected
    found = ask(base, text='-"united states" beach', per_page="500")["photos"]["photo"]
    expected = {
        each for each, text in words.items() if "beach" in text and "united states" not in text
    }
    assert {photo["id"] for photo in found} == expected


def test_pages_past_the_cap_repeat_the_last_one(monkeypatch):
    monkeypatch.setattr(flickr, "MOST_RESULTS", 200)
    catalogue = flickr.Catalogue([replace(photo, title="city") for photo in photos(0, 500)])
    arguments = {"text": "city", "sort": "date-posted-asc", "extras": "geo,url_n"}
    pages = [flickr.search(catalogue, {**arguments, "page": str(page)}) for page in (1, 2, 3, 5)]
    ids = [[row["id"] for row in page["photos"]["photo"]] for page in pages]
    assert pages[0]["photos"]["pages"] == 5
    assert ids[0] + ids[1] == [photo.photo_id for photo in photos(0, 500)[:200]]
    assert ids[1] == ids[2] == ids[3]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"page": "many", "per_page": "few"}, None),
        ({"page": "-3", "per_page": "0"}, None),
        ({"page": "9" * 5000, "accuracy": "near", "license": "x,,"}, None),
        ({"text": '"- -"" -'}, None),
        ({"media": "all", "extras": ",,geo,nothing"}, None),
        ({"min_upload_date": "yesterday"}, 18),
        ({"max_upload_date": "nan"}, 18),
        ({"max_upload_date": "1e999"}, 18),
        ({"bbox": "1,2,3"}, 18),
        ({"sort": "date-taken-asc"}, 18),  # what is not simulated
        ({"media": "videos"}, 18),
        ({"has_geo": "0"}, 18),
        ({"tags": "beach"}, 18),
        ({"min_taken_date": "2007-01-01"}, 18),
        ({"min_upload_date": "2007-01-01 00:00:00"}, 18),
    ],
)
def test_odd_arguments_get_an_answer(base, arguments, code):
    answer = ask(base, **arguments)
    assert answer.get("code") == code
    if code is None:
        assert answer["photos"]["page"] >= 1
        assert answer["photos"]["perpage"] == 100


def test_orders_and_limits_of_a_search(base):
    by_id = {photo.photo_id: photo for photo in photos(0, 1500)}

    def found(**arguments):
        rows = ask(base, per_page="500", **arguments)["photos"]["photo"]
        return [by_id[row["id"]] for row in rows]

    uploaded = [photo.uploaded for photo in found(text="city", sort="date-posted-asc")]
    assert uploaded == sorted(uploaded)
    uploaded = [photo.uploaded for photo in found(text="city")]
    assert uploaded == sorted(uploaded, reverse=True)
    assert {photo.town.country for photo in found(bbox="-10,36,-6,43")} >= {"Portugal"}
    assert all(36 <= photo.latitude <= 43 for photo in found(bbox="-10,36,-6,43"))
    assert {photo.on_map for photo in found(has_geo="1")} == {"yes", "zero"}
    assert {photo.licence for photo in found(license="4,5")} == {4, 5}
    assert min(photo.accuracy for photo in found(accuracy="11")) == 11


def test_numbers_come_as_numbers_and_as_text_with_the_same_values(base):
    types, values = set(), {}
    for word in ("city", "beach", "church", "market", "street", "village", "mountain", "sea"):
        answer = ask(base, text=word, extras="geo,license", per_page="500")
        for row in answer["photos"]["photo"]:
            fields = [row[name] for name in ("license", "accuracy", "latitude", "longitude")]
            types |= {
                (name, type(value)) for name, value in zip("lay", fields, strict=False) if value
            }
            assert values.setdefault(row["id"], list(map(float, fields))) == [
                float(value) for value in fields
            ]
    assert types >= {("l", int), ("l", str), ("a", int), ("a", str), ("y", float), ("y", str)}


def test_the_real_client_signs_and_a_wrong_signature_is_refused(base):
    def search(secret):
        client = flickrapi.FlickrAPI(KEY, secret, format="parsed-json", store_token=False)
        client.REST_URL = base + flickr.REST
        return client.photos.search(text='São "a b" -c&d=%', min_upload_date=1, has_geo=1)

    assert search(SECRET)["stat"] == "ok"
    with pytest.raises(flickrapi.FlickrError, match="Invalid signature") as caught:
        search("0123456789abcdef")
    assert caught.value.code == 96


def test_the_key_has_so_many_calls_an_hour(tmp_path):
    log = tmp_path / "log"
    with serving(photos(0, 5), calls_per_hour=3, log=log) as base:
        for _ in range(3):
            assert ask(base)["stat"] == "ok"
        refused = get(f"{base}{flickr.REST}?api_key={KEY}&format=json")
        assert get(f"{base}{flickr.REST}?api_key=another").status_code == 200
        assert get(base + picture_path(photos(0, 5)[0])).status_code == 200
    assert refused.status_code == 429
    assert refused.text.startswith("<html>")
    assert [(row["status"], row["fault"]) for row in rows_of(log)][3] == (429, "")


def test_pictures_are_served_in_the_sizes_that_exist(base):
    photo = next(p for p in photos(0, 1500) if max(p.width, p.height) == 500 and not p.deleted)
    path = f"{base}/{photo.server}/{photo.photo_id}_{photo.secret}"
    for tail, longest in (("", 500), ("_n", 320), ("_m", 240)):
        response = httpx.get(f"{path}{tail}.jpg", trust_env=False)
        assert response.headers["content-type"] == "image/jpeg"
        assert max(opened(response.content).size) == longest
    for wrong in (f"{path}_b.jpg", f"{path[:-1]}x.jpg", f"{base}/1/2_0123456789.jpg"):
        assert httpx.get(wrong, trust_env=False).status_code == 404
    listed = ask(
        base,
        min_upload_date=str(photo.uploaded),
        max_upload_date=str(photo.uploaded),
        extras="url_n,url_m,url_l",
    )["photos"]["photo"]
    row = next(row for row in listed if row["id"] == photo.photo_id)
    assert row["url_m"] == f"{IMAGE_HOST}/{photo.server}/{photo.photo_id}_{photo.secret}.jpg"
    assert "url_l" not in row


def test_a_deleted_photo_leads_to_a_placeholder(base):
    photo = next(photo for photo in photos(0, 1500) if photo.deleted)
    url = f"{base}/{photo.server}/{photo.photo_id}_{photo.secret}_n.jpg"
    response = httpx.get(url, trust_env=False)
    assert response.status_code == 302
    assert response.headers["location"].endswith("/photo_unavailable.png")
    path = httpx.URL(response.headers["location"]).path
    placeholder = httpx.get(base + path, trust_env=False)
    assert (placeholder.status_code, opened(placeholder.content).format) == (200, "PNG")
