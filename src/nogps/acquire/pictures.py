"""Fetching pictures whose addresses are known, redirects followed."""

from collections.abc import Iterable

from nogps.acquire.candidate import Fetched
from nogps.acquire.http import Answer, Judge, Polite, by_status, whole_picture
from nogps.photos.status import Status

REDIRECTS = 5


async def followed(url: str, http: Polite, judge: Judge = by_status) -> Answer:
    """The answer to a GET, redirects followed; each host is asked as politely."""
    answer = await http.get(url, judge=judge)
    for _ in range(REDIRECTS):
        if not answer.redirect:
            break
        answer = await http.get(answer.redirect, judge=judge)
    return answer


async def fetch_picture(
    url: str, http: Polite, judge: Judge = by_status, gone: Iterable[int] = (404, 410)
) -> Fetched:
    """The picture at a URL.

    Args:
        judge: of answers that are not 200.
        gone: the statuses that mean that there is no such picture any more.
    """
    answer = await followed(url, http, whole_picture(judge))
    if answer.status in gone:
        return Fetched(Status.GONE)
    if answer.status != 200:
        return Fetched(Status.FAILED)
    if not answer.media_type.startswith("image/") and not answer.body.startswith(b"\xff\xd8"):
        return Fetched(Status.NOT_AN_IMAGE)
    return Fetched(Status.OK, answer.body)
