import asyncio
import time
from collections import Counter
from email.utils import formatdate

import pytest

from nogps.acquire import http as http_module
from nogps.acquire.http import (
    FAILURES_TO_OPEN,
    TRIES,
    Answer,
    HostDown,
    Polite,
    Unavailable,
    Verdict,
)
from nogps.base.errors import InputError
from tests.servers import CUT_OFF, RESET, STALL, answering

GOOD = (200, "image/jpeg", b"picture")
TROUBLES = [
    (429, "text/html", b"<h1>429 Too Many Requests</h1>"),
    (500,),
    (502,),
    (503, "text/html", b"", ("Retry-After", "0")),
    (RESET,),
    (STALL,),
    (CUT_OFF, "image/jpeg", b"pict"),
]


def get(*urls: str, client: dict | None = None, **options) -> list[Answer | Exception]:
    """What each URL answers, all asked at once."""

    async def work():
        settings = {"unit_s": 0.002, "timeout_s": 0.3, "base": "", **(client or {})}
        async with Polite(**settings) as http:
            asked = (http.get(url, **options) for url in urls)
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(work())


def test_an_answer_is_given_whole():
    with answering((200, "image/jpeg; q=1", b"picture", ("X-Size", "7"))) as (base, heard):
        (answer,) = get(f"{base}/a/b?c=%2F")
    assert (answer.status, answer.body, answer.media_type) == (200, b"picture", "image/jpeg")
    assert answer.headers["x-size"] == "7"
    assert answer.url == f"{base}/a/b?c=%2F"
    assert heard == ["/a/b?c=%2F"]  # as it was written: a signature depends on it


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: str(trouble[0]))
def test_passing_trouble_is_waited_out(trouble):
    with answering(trouble, trouble, GOOD) as (base, heard):
        (answer,) = get(f"{base}/a")
    assert answer.body == b"picture"
    assert len(heard) == 3


@pytest.mark.parametrize("trouble", [(500,), (RESET,)])
def test_lasting_trouble_ends(trouble):
    with answering(trouble) as (base, heard):
        (error,) = get(f"{base}/a")
    assert type(error) is Unavailable
    assert len(heard) == TRIES


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 302])
def test_what_waiting_cannot_cure_is_asked_once(status):
    with answering((status, "text/html", b"no", ("Location", "/b"))) as (base, heard):
        (answer,) = get(f"{base}/a/x")
    assert answer.status == status
    assert answer.redirect == (f"{base}/b" if status == 302 else "")
    assert len(heard) == 1


def unless(bad):
    """A judge that asks again for what is bad."""
    return lambda answer: Verdict.RETRY if bad(answer) else Verdict.OK


def test_a_better_answer_may_be_waited_for():
    with answering((200, "", b"half"), (200, "", b"half"), (200, "", b"whole")) as (base, _):
        (answer,) = get(f"{base}/a", judge=unless(lambda answer: answer.body == b"half"))
        assert answer.body == b"whole"
        (error,) = get(f"{base}/a", judge=unless(lambda answer: True))
    assert isinstance(error, Unavailable)


def test_every_try_is_paid_before_it_is_made():
    paid = []

    def pay(url):
        paid.append(len(heard))
        if len(paid) == 3:
            raise InputError("no money")
        return url

    with answering((500,)) as (base, heard):
        (error,) = get(f"{base}/a", prepare=pay)
    assert isinstance(error, InputError)
    assert paid == [0, 1, 2]
    assert len(heard) == 2


def test_what_is_signed_is_sent_and_not_told():
    with answering(GOOD) as (base, heard):
        (answer,) = get(f"{base}/a?b=1", prepare=lambda url: f"{url}&key=secret")
    assert heard == ["/a?b=1&key=secret"]
    assert "secret" not in answer.url


def test_a_host_gets_few_requests_at_a_time():
    def slowly(path, number):
        time.sleep(0.02)
        return GOOD

    with answering(reply=slowly) as (base, heard):
        answers = get(*(f"{base}/{each}" for each in range(30)), client={"connections": 3})
    assert all(answer.status == 200 for answer in answers)
    assert heard.most_at_once == 3


def test_requests_a_second_are_limited():
    with answering(GOOD) as (base, _):
        began = time.monotonic()
        get(*(f"{base}/{each}" for each in range(11)), client={"per_second": 50})
        assert time.monotonic() - began >= 10 / 50


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_pause_that_a_host_asks_for_is_kept_by_all(form):
    moments = []

    def once_busy(path, number):
        moments.append(time.monotonic())
        later = formatdate(time.time() + 2, usegmt=True) if form == "date" else "1"
        return (503, "", b"", ("Retry-After", later)) if number == 0 else GOOD

    with answering(reply=once_busy) as (base, _):
        answers = get(*(f"{base}/{each}" for each in range(8)), client={"connections": 1})
    assert all(answer.status == 200 for answer in answers)
    assert moments[1] - moments[0] >= 0.9


def test_a_host_that_asks_for_hours_is_down(capsys):
    with answering((429, "", b"", ("Retry-After", "7200"))) as (base, heard):
        errors = get(f"{base}/a", f"{base}/b", client={"connections": 1, "tell": print})
    assert [type(error) for error in errors] == [HostDown, HostDown]
    assert len(heard) == 1
    assert "120 minutes" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["soon", "-5", "nan", "Mon, 99 Nov 2026"])
def test_an_odd_pause_does_no_harm(text):
    with answering((503, "", b"", ("Retry-After", text)), GOOD) as (base, _):
        assert get(f"{base}/a")[0].status == 200


def test_a_host_that_is_down_is_left_alone(monkeypatch, capsys):
    monkeypatch.setattr(http_module, "PROBES", 4)
    with answering((500,)) as (base, heard):
        errors = get(
            *(f"{base}/{each}" for each in range(500)), client={"connections": 5, "tell": print}
        )
    assert all(isinstance(error, Unavailable) for error in errors)
    assert isinstance(errors[-1], HostDown)
    assert len(heard) <= FAILURES_TO_OPEN + 5 + 4  # not three thousand
    assert capsys.readouterr().out.count("giving up") == 1


@pytest.mark.parametrize("connections", [8, 64])
def test_one_moment_of_trouble_does_not_take_a_host_down(connections):
    """However many requests were under way."""

    seen = set()

    def once(path, number):
        first = path not in seen and int(path[1:]) < connections
        seen.add(path)
        return (RESET,) if first else GOOD

    with answering(reply=once) as (base, _):
        answers = get(
            *(f"{base}/{each}" for each in range(300)), client={"connections": connections}
        )
    assert all(isinstance(answer, Answer) for answer in answers)


def test_only_failures_in_a_row_count(capsys):
    """However many there are, with answers between them."""
    seen = set()

    def every_other(path, number):
        first = path not in seen and int(path[1:]) % 2
        seen.add(path)
        return (RESET,) if first else GOOD

    with answering(reply=every_other) as (base, heard):
        urls = [f"{base}/{each}" for each in range(3 * FAILURES_TO_OPEN)]
        answers = get(*urls, client={"connections": 1, "tell": print})
    assert all(isinstance(answer, Answer) for answer in answers)
    assert len(heard) == 4.5 * FAILURES_TO_OPEN
    assert capsys.readouterr().out == ""


def test_a_host_that_comes_back_is_used_again():
    def down_for_a_while(path, number):
        return (500,) if number < FAILURES_TO_OPEN + 6 else GOOD

    with answering(reply=down_for_a_while) as (base, heard):
        answers = get(*(f"{base}/{each}" for each in range(200)), client={"unit_s": 0.0005})
    good = [answer for answer in answers if isinstance(answer, Answer)]
    assert len(good) >= 190
    per_path = Counter(heard)
    assert max(per_path.values()) <= TRIES


def test_a_host_that_is_not_there_fails_and_the_other_one_does_not():
    with answering(GOOD) as (gone, _):
        pass
    with answering(GOOD) as (base, _):
        error, answer = get(f"{gone}/a", f"{base}/a")
    assert isinstance(error, Unavailable)
    assert answer.status == 200


def test_an_endless_answer_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(http_module, "MOST_BYTES", 1000)
    with answering((200, "image/jpeg", bytes(200_000))) as (base, _):
        (error,) = get(f"{base}/a")
    assert isinstance(error, Unavailable)


def test_another_base_stands_in_for_the_world():
    with answering(GOOD) as (base, heard):
        (answer,) = get("http://live.staticflickr.invalid/1/2.jpg", client={"base": base})
    assert heard == ["/1/2.jpg"]
    assert heard.headers[0]["Host"] == "live.staticflickr.invalid"
    assert answer.url == "http://live.staticflickr.invalid/1/2.jpg"


def test_no_proxy_comes_between_us_and_what_stands_in(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with answering(GOOD) as (base, _):
        (answer,) = get("http://a.invalid/1", client={"base": base})
    assert answer.status == 200


def test_a_url_that_is_none_fails():
    assert isinstance(get("http://[oops")[0], Exception)
    assert isinstance(get("")[0], Unavailable)
