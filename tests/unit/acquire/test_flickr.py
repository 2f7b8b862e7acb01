import asyncio
import json
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from itertools import product

import pytest

from nogps.acquire.answers import AnswerCache
from nogps.acquire.candidate import Status
from nogps.acquire.http import Polite, Unavailable
from nogps.acquire.sources import flickr, flickr_api
from nogps.acquire.sources.flickr import Flickr
from nogps.acquire.sources.flickr_api import Api
from nogps.base.errors import InputError
from nogps.pipeline.planet_process import Planet, running_planet
from planet import picture
from planet.keys import KEY, SECRET
from planet.photos import Photo, photos
from planet.server import serving
from tests.kept import NoAnswers, damage_answers, kept_answers
from tests.servers import answering

PHOTOS = 14_000  # so that one word is beside more than 4,000
EXCLUDED = ["wedding", "party", "birthday"]
JPEG = picture.jpeg(photos(0, 1)[0])


@pytest.fixture(scope="module")
def planet():
    with running_planet(seed=0, photos=PHOTOS) as running:
        yield running


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    monkeypatch.setattr(flickr_api, "FIRST_WAIT_S", 0.001)


def source(planet, **changes) -> Flickr:
    api = {"key": KEY, "secret": SECRET, "rest_url": f"{planet.base}/services/rest/"}
    api |= {"trust_env": False, "pause_s": 0}
    settings = {
        "terms": ["beach"],
        "excluded_terms": EXCLUDED,
        "uploaded_from": date(2007, 1, 1),
        "uploaded_to": date(2007, 12, 31),
        "accuracy": 11,
        "licences": [],
        "size_suffix": "z",
        "max_photos": 0,
    }
    others = {"page_base": "http://www.flickr.invalid", "answers": NoAnswers()}
    for name, value in changes.items():
        next((each for each in (api, settings) if name in each), others)[name] = value
    return Flickr(Api(**api), flickr.Settings(**settings), **others)


def matching(terms, excluded=EXCLUDED, accuracy=11) -> dict[str, Photo]:
    """What a search has to find, straight from the population."""

    def fits(photo):
        words = set(re.findall(r"\w+", " ".join([photo.title, *photo.tags]).lower()))
        wanted = any(set(term.lower().split()) <= words for term in terms)
        return wanted and not words & set(excluded)

    return {
        photo.photo_id: photo
        for photo in photos(0, PHOTOS)
        if photo.on_map == "yes" and photo.accuracy >= accuracy and fits(photo)
    }


def ids(candidates) -> list[str]:
    return [candidate.photo_id for candidate in candidates]


# --- searching the planet ---


@pytest.mark.parametrize("term", ["beach", "landscape", "Sri Lanka"])
def test_it_finds_exactly_what_matches(planet, term):
    found = ids(source(planet, terms=[term]).candidates())
    assert found == sorted(matching([term]), key=int)
    assert found


def test_more_than_4000_matches_are_divided_by_time(planet):
    search = source(planet, terms=["city"])
    found = ids(search.candidates())
    assert len(found) > 4000
    assert found == sorted(matching(["city"]), key=int)
    assert search.counts.blocks > 1
    assert (search.counts.repeated, search.counts.out_of_reach) == (0, 0)


@pytest.mark.parametrize("most", [10, 60, 250])
def test_small_blocks_overlap_nowhere_and_miss_nothing(planet, monkeypatch, most):
    monkeypatch.setattr(flickr_api, "MOST_RESULTS", most)
    monkeypatch.setattr(flickr_api, "PER_PAGE", 7)
    search = source(planet, uploaded_to=date(2007, 4, 30))
    found = ids(search.candidates())
    end = datetime(2007, 5, 1, tzinfo=UTC).timestamp()
    expected = [each for each, photo in matching(["beach"]).items() if photo.uploaded < end]
    assert found == sorted(expected, key=int)
    assert search.counts.repeated == 0
    assert search.counts.blocks >= len(found) / most


def test_no_second_is_lost_or_read_twice(monkeypatch):
    """A photo every second around each edge: midnights, and where a day is divided."""
    monkeypatch.setattr(flickr_api, "MOST_RESULTS", 10)
    monkeypatch.setattr(flickr_api, "PER_PAGE", 4)
    midnight = int(datetime(2007, 5, 1, tzinfo=UTC).timestamp())
    one = next(iter(matching(["beach"]).values()))
    crowd = [
        replace(one, photo_id=str(1000 + number), uploaded=midnight + hour * 3600 + second)
        for number, (hour, second) in enumerate(product((0, 6, 12, 18, 24), range(-30, 30)))
    ]
    with serving(crowd) as base:
        search = source(
            Planet(base, {}, {}), uploaded_from=date(2007, 5, 1), uploaded_to=date(2007, 5, 1)
        )
        found = ids(search.candidates())
    day = range(midnight, midnight + 86_400)
    assert found == [photo.photo_id for photo in crowd if photo.uploaded in day]
    assert search.counts.repeated == 0


def test_a_full_second_is_read_as_far_as_it_goes(planet, monkeypatch):
    monkeypatch.setattr(flickr_api, "MOST_RESULTS", 0)
    monkeypatch.setattr(flickr_api, "PER_PAGE", 1)
    day = datetime.fromtimestamp(next(iter(matching(["beach"]).values())).uploaded, UTC).date()
    search = source(planet, uploaded_from=day, uploaded_to=day)
    found = list(search.candidates())
    assert found  # the page that told the total is not thrown away
    assert search.counts.out_of_reach >= len(found)


def test_several_terms_find_each_photo_once(planet):
    search = source(planet, terms=["beach", "sea", "harbour"])
    found = ids(search.candidates())
    assert found == sorted(matching(["beach", "sea", "harbour"]), key=int)
    assert search.counts.repeated > 0


def test_everything_seen_is_accounted_for(planet):
    search = source(planet, terms=["beach", "sea"])
    found = list(search.candidates())
    counts = search.counts
    assert search.counted() == asdict(counts)
    assert counts.candidates == len(found)
    assert counts.without_position > 0
    left_out = counts.repeated + counts.without_position + counts.without_picture
    assert counts.rows == counts.candidates + left_out
    assert counts.calls >= counts.rows / 250
    assert ids(search.candidates()) == ids(found)  # and the second time is like the first
    assert search.counts == counts


def test_accuracy_licences_and_excluded_terms_are_asked_for(planet):
    assert ids(source(planet, accuracy=16).candidates()) == sorted(
        matching(["beach"], accuracy=16), key=int
    )
    free = source(planet, licences=[4, 5]).candidates()
    licences = {each: photo.licence for each, photo in matching(["beach"]).items()}
    assert set(ids(free)) == {each for each, licence in licences.items() if licence in (4, 5)}
    unrestricted = set(ids(source(planet, excluded_terms=[]).candidates()))
    assert unrestricted == set(matching(["beach"], excluded=[]))
    phrase = set(ids(source(planet, excluded_terms=["united states"]).candidates()))
    assert phrase == unrestricted - set(matching(["united states"], excluded=[]))
    assert phrase < unrestricted


def test_a_candidate_says_all_that_is_known(planet):
    candidates = {each.photo_id: each for each in source(planet).candidates()}
    for photo_id, photo in matching(["beach"]).items():
        candidate = candidates[photo_id]
        assert (candidate.latitude, candidate.longitude) == (photo.latitude, photo.longitude)
        assert (candidate.source, candidate.owner) == ("flickr", photo.owner)
        assert candidate.taken_at == photo.taken.isoformat()
        assert candidate.licence == flickr_api.LICENCES[str(photo.licence)]
        page = f"http://www.flickr.invalid/photos/{photo.owner}/{photo_id}/"
        assert candidate.page_url == page
        tail = {320: "_n", 500: "", 1024: "_z"}[max(photo.width, photo.height)]
        assert candidate.url == (
            f"http://live.staticflickr.invalid/{photo.server}/{photo_id}_{photo.secret}{tail}.jpg"
        )


def test_size_is_the_most_that_is_taken(planet):
    small = source(planet, size_suffix="s").candidates()
    assert all(candidate.url.endswith("_m.jpg") for candidate in small)
    large = {each.photo_id: each.url for each in source(planet, size_suffix="l").candidates()}
    for photo_id, photo in matching(["beach"]).items():
        assert large[photo_id].endswith("_b.jpg") == (max(photo.width, photo.height) == 1024)


def test_max_photos_are_spread_over_terms_and_time(planet):
    terms = ["beach", "church", "market"]
    search = source(planet, terms=terms, max_photos=3000)
    found = {each.photo_id for each in search.candidates()}
    assert 2000 < len(found) <= 3000
    assert search.counts.calls == 36  # a dozen parts of the year, three words
    for term in terms:
        assert len(found & set(matching([term]))) > 600
    months = Counter(
        datetime.fromtimestamp(photo.uploaded, UTC).month > 6
        for photo in photos(0, PHOTOS)
        if photo.photo_id in found
    )
    assert min(months.values()) > 900
    assert len(list(source(planet, max_photos=30).candidates())) <= 30


def test_nothing_is_written_to_the_home_folder(planet, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    list(source(planet, max_photos=1).candidates())
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_does_not_come_between_us_and_the_planet(planet, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert list(source(planet, max_photos=1).candidates())


# --- running it again ---


def test_finished_blocks_are_not_asked_for_again(planet, tmp_path, monkeypatch):
    monkeypatch.setattr(flickr_api, "MOST_RESULTS", 60)
    monkeypatch.setattr(flickr_api, "PER_PAGE", 7)
    kept = AnswerCache(tmp_path / "answers.sqlite")
    options = {"uploaded_to": date(2007, 3, 31), "answers": kept, "terms": ["beach", "sea"]}
    whole = source(planet, **options | {"answers": NoAnswers()})
    expected = list(whole.candidates())
    asked, kills, made = [], [3, 20, 40], Api._search_once

    def counting(self, arguments):
        asked.append(arguments)
        if len(asked) in kills:
            raise SystemExit
        return made(self, arguments)

    monkeypatch.setattr(Api, "_search_once", counting)
    for _ in range(3):
        with pytest.raises(SystemExit):
            list(source(planet, **options).candidates())
    kills.clear()
    again = source(planet, **options)
    assert list(again.candidates()) == expected
    assert again.counts == whole.counts  # the numbers tell of the result, not of the runs
    # Only the block that was cut short, and first pages that tell totals, are asked again.
    assert len(asked) <= whole.counts.calls + 3 * (60 // 7 + 2)
    asked.clear()
    assert list(source(planet, **options).candidates()) == expected
    assert asked == []
    list(source(planet, **options | {"accuracy": 16}).candidates())
    assert asked  # another question


def test_a_block_that_may_still_grow_is_asked_for_again(planet, tmp_path, monkeypatch):
    monkeypatch.setattr(
        flickr.time, "time", lambda: datetime(2007, 12, 31, 0, 30, tzinfo=UTC).timestamp()
    )
    day = date(2007, 12, 31)
    kept = tmp_path / "answers.sqlite"
    view = source(planet, answers=AnswerCache(kept), uploaded_from=day, uploaded_to=day)
    list(view.candidates())
    assert kept_answers(kept) == []


def test_nothing_secret_is_kept(planet, tmp_path):
    file = tmp_path / "answers.sqlite"
    list(source(planet, answers=AnswerCache(file), max_photos=10).candidates())
    kept = b"".join(kept_answers(file))
    assert kept
    assert KEY.encode() not in kept
    assert SECRET.encode() not in kept


def test_calls_are_a_second_apart_and_the_forecast_says_how_long(planet, monkeypatch, capsys):
    now, slept = [1000.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(flickr_api.time, "sleep", sleep)
    monkeypatch.setattr(flickr.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(flickr_api, "PER_PAGE", 2)
    search = source(planet, pause_s=1.0, uploaded_to=date(2007, 2, 28), terms=["beach", "sea"])
    found = list(search.candidates())
    assert len(found) > 200
    assert sum(slept) >= search.counts.calls  # the first one waits, too: another run may have ended
    told = re.search(
        r"about (\d+) more calls to Flickr, [\d.]+ (?:minutes|hours) at 3,600",
        capsys.readouterr().out,
    )
    assert int(told[1]) == pytest.approx(search.counts.calls, rel=0.1)


# --- wrong input ---


def test_an_unknown_key_is_an_input_error(planet):
    with pytest.raises(InputError, match=r"FLICKR_API_KEY and FLICKR_API_SECRET") as caught:
        list(source(planet, key="c0ffee", secret="b0a710ad").candidates())
    assert "c0ffee" not in str(caught.value)
    assert "b0a710ad" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": ""}, "set FLICKR_API_KEY"),
        ({"secret": ""}, "set FLICKR_API_KEY"),
        ({"terms": ["city", " "]}, "`flickr.terms`"),
        ({"uploaded_to": date(2006, 1, 1)}, r"`flickr.uploaded_from` \(2007-01-01\) is after"),
    ],
)
def test_wrong_values_are_named(planet, changes, message):
    with pytest.raises(InputError, match=message):
        source(planet, **changes)


def test_secrets_do_not_show(planet):
    assert KEY not in repr(source(planet))
    assert SECRET not in repr(source(planet, key="another"))


# --- a server that answers as it is told ---


@contextmanager
def flickr_answering(*script):
    with answering(*script) as (base, asked):
        yield Planet(base, {}, {}), asked


def answer(*rows, total=None, **changes) -> tuple:
    total = len(rows) if total is None else total
    photos = {"page": 1, "pages": 1, "perpage": 250, "total": total, "photo": rows}
    return 200, "application/json", json.dumps({"photos": photos, "stat": "ok"} | changes).encode()


def refusal(code) -> tuple:
    body = json.dumps({"stat": "fail", "code": code, "message": "No"})
    return 200, "application/json", body.encode()


def row(number, **changes) -> dict:
    plain = {
        "id": str(number),
        "owner": "1@N00",
        "latitude": "48.5",
        "longitude": "2.5",
        "url_n": "https://live.staticflickr.com/1/2_3_n.jpg",
    }
    return {name: value for name, value in (plain | changes).items() if value is not None}


TOO_MANY = (429, "text/html", b"<html><body><h1>429 Too Many Requests</h1>")
BROKEN = (500, "text/html", b"")
A_PAGE = (200, "text/html", b"<!DOCTYPE html><p>Bad, bad panda!")
TRAILING = (200, "application/json", b'{"stat":"fail","message":"not available","code":201},')


@pytest.mark.parametrize(
    "trouble", [TOO_MANY, BROKEN, A_PAGE, TRAILING, *map(refusal, (0, 10, 105, 106, 201))]
)
def test_passing_trouble_is_waited_out(trouble):
    with flickr_answering(trouble, trouble, trouble, answer(row(1))) as (somewhere, asked):
        search = source(somewhere)
        assert ids(search.candidates()) == ["1"]
        assert len(asked) == 4
        assert search.counts.calls == 1  # that brought something


@pytest.mark.parametrize("trouble", [TOO_MANY, BROKEN, A_PAGE, refusal(105)])
def test_lasting_trouble_is_told_in_a_sentence(trouble):
    with flickr_answering(trouble) as (somewhere, asked):
        with pytest.raises(InputError, match="again later") as caught:
            list(source(somewhere).candidates())
        assert len(asked) == flickr_api.TRIES
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("trouble", [refusal(18), refusal(100), (403, "text/html", b"no")])
def test_what_waiting_cannot_cure_is_asked_once(trouble):
    with flickr_answering(trouble) as (somewhere, asked):
        with pytest.raises(InputError):
            list(source(somewhere).candidates())
        assert len(asked) == 1


def test_an_api_that_is_not_there_is_told_in_a_sentence():
    with flickr_answering(BROKEN) as (somewhere, _):
        pass
    with pytest.raises(InputError, match="ConnectionError"):
        list(source(somewhere).candidates())


@pytest.mark.parametrize("changes", [{"total": ""}, {"total": "600"}, {"perpage": 100}])
def test_every_page_is_read_whatever_the_answer_says_of_itself(changes):
    rows = [row(each) for each in range(1, 601)]
    size = changes.get("perpage", 250)
    script = []
    for start in range(0, 600, size):
        photos = {"page": 1, "pages": -(-600 // size), "perpage": size, "total": 600, **changes}
        photos["photo"] = rows[start : start + size]
        body = json.dumps({"photos": photos, "stat": "ok"}).encode()
        script.append((200, "application/json", body))
    with flickr_answering(*script) as (somewhere, asked):
        search = source(somewhere)
        assert len(ids(search.candidates())) == 600
        assert len(asked) == len(script)
    assert search.counts.unlisted == 0


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"stat": "ok"}',
        b'{"stat": "ok", "photos": null}',
        b'{"stat": "ok", "photos": {"total": 1, "photo": null}}',
        b'{"stat": "ok", "photos": {"total": 1}}',
        b'{"stat": "ok", "photos": {"total": "many", "photo": []}}',
    ],
)
def test_an_answer_that_is_none_is_asked_for_again_and_told_in_a_sentence(body):
    odd = (200, "application/json", body)
    with flickr_answering(odd, answer(row(1))) as (somewhere, _):
        assert ids(source(somewhere).candidates()) == ["1"]
    with (
        flickr_answering(odd) as (somewhere, asked),
        pytest.raises(InputError, match="again later"),
    ):
        list(source(somewhere).candidates())
    assert len(asked) == flickr_api.TRIES


def test_odd_rows_do_no_harm():
    rows = [row(3), {**row(1), "id": 1}, None, {"latitude": "1"}, row(2, owner=None)]
    photos = {"page": 1, "pages": 1, "perpage": 250, "total": "1,234", "photo": rows}
    body = json.dumps({"photos": photos, "stat": "ok"}).encode()
    with flickr_answering((200, "application/json", body)) as (somewhere, _):
        search = source(somewhere)
        found = list(search.candidates())
    assert ids(found) == ["1", "2", "3"]
    assert (found[1].owner, found[1].page_url) == ("", "")
    assert search.counts.unlisted > 0


def test_a_key_that_flickr_repeats_is_not_told():
    body = json.dumps({"stat": "fail", "code": 98, "message": f"bad key {KEY}"}).encode()
    with (
        flickr_answering((200, "application/json", body)) as (somewhere, _),
        pytest.raises(InputError) as caught,
    ):
        list(source(somewhere).candidates())
    assert KEY not in str(caught.value)


def test_a_damaged_block_is_asked_for_again(planet, tmp_path):
    kept = AnswerCache(tmp_path / "answers.sqlite")
    options = {"answers": kept, "terms": ["beach", "sea"], "uploaded_to": date(2007, 2, 1)}
    expected = list(source(planet, **options).candidates())
    damage_answers(tmp_path / "answers.sqlite")
    assert list(source(planet, **options).candidates()) == expected


@pytest.mark.parametrize("total", [0, "0", ""])
def test_no_results_are_no_trouble(total):
    with flickr_answering(answer(total=total)) as (somewhere, asked):
        assert list(source(somewhere).candidates()) == []
        assert len(asked) == 1


@pytest.mark.parametrize(
    "position",
    [
        {"latitude": None},
        {"longitude": None},
        {"latitude": 0, "longitude": 0},
        {"latitude": "0", "longitude": "0.000000"},
        {"latitude": ""},
        {"latitude": "nan"},
        {"latitude": "91"},
        {"longitude": "-180.5"},
    ],
)
def test_a_row_without_a_position_is_left_out(position):
    with flickr_answering(answer(row(1, **position), row(2), row(3, url_n=None))) as (somewhere, _):
        search = source(somewhere)
        assert ids(search.candidates()) == ["2"]
    counts = search.counts
    assert (counts.without_position, counts.without_picture, counts.rows) == (1, 1, 3)


def test_positions_on_the_equator_and_as_numbers_are_positions():
    rows = [row(9, latitude="0.000000"), row(10, longitude=0), row(11, latitude=-1.5)]
    with flickr_answering(answer(*rows)) as (somewhere, _):
        found = list(source(somewhere).candidates())
    assert [(each.latitude, each.longitude) for each in found] == [(0, 2.5), (48.5, 0), (-1.5, 2.5)]


def test_odd_dates_and_licences_do_no_harm():
    rows = [
        row(1, datetaken="2007-07-16 14:06:08", license=4),
        row(2, datetaken="2007-07-16 14:06:08", datetakenunknown="1", license="10"),
        row(3, datetaken="0000-00-00 00:00:00", license="99"),
        row(4),
    ]
    with flickr_answering(answer(*rows)) as (somewhere, _):
        found = list(source(somewhere).candidates())
    assert [each.taken_at for each in found] == ["2007-07-16T14:06:08", "", "", ""]
    licences = ["CC BY 2.0", "Public Domain Mark", "Flickr licence 99", ""]
    assert [each.licence for each in found] == licences


# --- fetching ---


def fetched(base: str, url: str):
    """What the source gives for a picture."""

    async def work():
        async with Polite(unit_s=0.001, base=base) as http:
            return await source(Planet(base, {}, {})).fetch(url, http)

    return asyncio.run(work())


def outcome(*script):
    with answering(*script) as (base, asked):
        return fetched(base, "http://live.staticflickr.invalid/1/2_3_n.jpg"), len(asked)


PICTURE = (200, "image/jpeg", JPEG)


def test_fetch_gives_the_bytes_as_they_are(planet):
    photo = next(photo for photo in photos(0, PHOTOS) if not photo.deleted)
    url = f"http://live.staticflickr.invalid/{photo.server}/{photo.photo_id}_{photo.secret}_n.jpg"
    found = fetched(planet.base, url)
    assert found.status == Status.OK
    assert found.body == picture.jpeg(photo, 320)


def test_fetch_tells_placeholders_and_gone_photos(planet):
    photo = next(photo for photo in photos(0, PHOTOS) if photo.deleted)
    name = f"{photo.photo_id}_{photo.secret}_n.jpg"
    host = "http://live.staticflickr.invalid"
    placeholder = fetched(planet.base, f"{host}/{photo.server}/{name}")
    assert placeholder.status == Status.PLACEHOLDER
    assert placeholder.body.startswith(
        b"\x89PNG"
    )  # to be known again where it comes without redirect
    gone = fetched(planet.base, f"{host}/0/{name}")
    assert (gone.status, gone.body) == (Status.GONE, b"")
    assert outcome((410, "text/html", b""))[0].status == Status.GONE


def test_a_picture_that_is_no_jpeg_stands_for_a_photo():
    found, tries = outcome((200, "image/png", b"\x89PNG"))
    assert (found.status, found.body, tries) == (Status.PLACEHOLDER, b"\x89PNG", 1)


def test_a_placeholder_that_cannot_be_had_is_one_all_the_same():
    moved = (302, "", b"", ("Location", "http://s.yimg.invalid/photo_unavailable.png"))
    for there in ((500,), (404,)):
        found, _ = outcome(moved, there)
        assert (found.status, found.body) == (Status.PLACEHOLDER, b"")


def test_fetch_follows_other_redirects():
    moved = (301, "text/html", b"", ("Location", "http://farm1.static.invalid/1/2_3_n.jpg"))
    found, tries = outcome(moved, PICTURE)
    assert (found.status, found.body, tries) == (Status.OK, JPEG, 2)
    assert outcome(moved)[0].status == Status.FAILED  # for ever and ever


@pytest.mark.parametrize(
    "given",
    [
        (200, "text/html", b"<html>"),
        (200, "image/jpeg", b"GIF89a"),
        (200, "image/jpeg", b""),
    ],
)
def test_what_is_no_jpeg_is_not_an_image(given):
    found, tries = outcome(given)
    assert (found.status, found.body) == (Status.NOT_AN_IMAGE, b"")
    assert tries == (2 if given[1] == "text/html" else 1)  # a page may be of the moment


def test_a_jpeg_is_one_whatever_it_is_called():
    assert outcome((200, "image/jpg", JPEG))[0].body == JPEG
    assert outcome((200, "text/html", b"<html>"), (200, "application/octet-stream", JPEG))[0].body


def test_a_jpeg_that_always_lacks_its_end_is_all_there_is():
    found, tries = outcome((200, "image/jpeg", JPEG[:5000]))
    assert (found.body, tries) == (JPEG[:5000], 2)


def test_an_address_that_is_none_leads_nowhere():
    moved = (302, "text/html", b"", ("Location", "http://[bad/x"))
    assert outcome(moved)[0].status == Status.FAILED


@pytest.mark.parametrize("trouble", [TOO_MANY, BROKEN])
def test_fetch_tries_again(trouble):
    found, tries = outcome(trouble, trouble, trouble, PICTURE)
    assert (found.status, found.body, tries) == (Status.OK, JPEG, 4)
    with pytest.raises(Unavailable):
        outcome(trouble)


def test_a_jpeg_without_its_end_is_fetched_again():
    found, tries = outcome((200, "image/jpeg", JPEG[:5000]), PICTURE)
    assert (found.body, tries) == (JPEG, 2)


def test_a_refusal_is_a_failure():
    assert outcome((403, "text/html", b""))[0].status == Status.FAILED
