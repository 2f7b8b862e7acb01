"""Fetching pictures whose addresses are known, redirects followed."""

from collections.abc import Iterable

from nogps.acquire.candidate import Fetched
from nogps.acquire.http import Answer, Judge, Polite, by_status, whole_picture
from nogps.photos.status import Status

REDIRECTS = 5


async def followed(url: str, http: Polite, judge: Judge = by_status, not_to: str = "") -> Answer:
    """The answer to a GET, redirects followed unless they lead to an address with `not_to`."""
    answer = await http.get(url, judge=judge)
    for _ in range(REDIRECTS):
        if not answer.redirect or (not_to and not_to in answer.redirect):
            break
        answer = await http.get(answer.redirect, judge=judge)
    return answer


async def fetch_picture(
    url: str, http: Polite, judge: Judge = by_status, gone: Iterable[int] = (404, 410)
) -> Fetched:
    """The picture at a URL; `judge` is of answers that are not 200, `gone` as below."""
    return fetched_picture(await followed(url, http, whole_picture(judge)), gone)


def fetched_picture(answer: Answer, gone: Iterable[int] = (404, 410)) -> Fetched:
    """The picture in an answer; the statuses `gone` mean that there is none any more."""
    if answer.status in gone:
        return Fetched(Status.GONE)
    if answer.status != 200:
        return Fetched(Status.FAILED)
    if not answer.media_type.startswith("image/") and not answer.body.startswith(b"\xff\xd8"):
        return Fetched(Status.NOT_AN_IMAGE)
    return Fetched(Status.OK, answer.body)
