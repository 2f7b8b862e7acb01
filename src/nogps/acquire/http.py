"""Polite HTTP: few connections a host, patience with what passes, an end where it does not.

A request that is refused for now (429, 5xx), breaks off or hangs is made again after a jittered,
growing wait; a host that asks for a pause (Retry-After) gets it from everybody. When a host fails
many times in a row its circuit opens: one request at a time finds out whether it is back, and
after long enough it counts as down, so that nobody waits for it any more.
"""

import asyncio
import json
import math
import random
import re
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

TRIES = 6  # of one request
LONGEST_WAIT = 32  # units; waits grow up to it
LONGEST_PAUSE = 900  # seconds that a host may ask for; when it asks for more it counts as down
FAILURES_TO_OPEN = 24  # in a row, whatever was asked
PROBES = 10  # in a row that must fail until the host is down: about five minutes
MOST_BYTES = 32_000_000  # of one answer; each connection holds one in memory

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half a character, as JSON escapes it


class Unavailable(Exception):
    """No whole answer after several tries; another day may bring one."""


class HostDown(Unavailable):
    """The host has failed for so long that it is not asked again in this run."""


class Verdict(Enum):
    """What to do with an answer: take it, or ask again."""

    OK = auto()  # take it, whatever its status
    RETRY = auto()  # ask again: another try may bring a better one
    BUSY = auto()  # ask again later: the host refuses for now


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def redirect(self) -> str:
        """The URL that a redirect leads to; "" where the answer is none."""
        if self.status not in (301, 302, 303, 307, 308):
            return ""
        try:
            return urljoin(self.url, self.headers.get("Location", "")) or self.url
        except ValueError:  # it is no address
            return ""

    @property
    def media_type(self) -> str:
        """The content type in lower case, without its parameters."""
        return self.headers.get("Content-Type", "").split(";")[0].strip().lower()

    @property
    def json_object(self) -> dict:
        """The body's JSON object; empty if it is none. Its texts can be written as UTF-8."""
        try:
            value = json.loads(self.body)
            if _SURROGATE.search(self.body):
                text = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
                value = json.loads(text.decode("utf-16", "replace"))
        except (ValueError, RecursionError):
            return {}
        return json_dict(value)


def json_dict(value: object) -> dict:
    """A JSON value if it is an object, and an empty one otherwise."""
    return value if isinstance(value, dict) else {}


Judge = Callable[[Answer], Verdict]


def by_status(answer: Answer) -> Verdict:
    """BUSY for 429 and server errors (5xx), OK for all others."""
    return Verdict.BUSY if answer.status == 429 or answer.status >= 500 else Verdict.OK


def whole_picture(judge: Judge = by_status) -> Judge:
    """A judge that asks again for a picture that is none, or a JPEG without its end.

    When the same bytes come a second time, they are all there is. `judge` judges what is not 200.
    It remembers the last answer: make one for each picture.
    """
    last = None

    def whole(answer: Answer) -> Verdict:
        nonlocal last
        if answer.status != 200:
            return judge(answer)
        again, last = answer.body == last, answer.body
        if answer.body.startswith(b"\xff\xd8"):
            complete = b"\xff\xd9" in answer.body[-1024:]
        else:
            complete = answer.media_type.startswith("image/")
        return Verdict.OK if again or complete else Verdict.RETRY

    return whole


@dataclass
class _Host:
    name: str
    slots: asyncio.Semaphore
    gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    not_before: float = 0.0  # monotonic seconds
    next_turn: float = 0.0
    failures: int = 0  # in a row
    probes: int = 0  # that failed, in a row
    down: bool = False

    @property
    def open(self) -> bool:
        """Whether the circuit is open: one request at a time."""
        return self.failures >= FAILURES_TO_OPEN


@dataclass(eq=False)
class Polite:
    """A client for many requests to few hosts; an async context manager.

    `connections` is how many requests a host gets at a time, `per_second` how many a second.
    `unit_s` is the wait after a first failure in seconds, which all other waits are multiples of.
    With `base`, every request goes there instead of to the scheme and host that its URL names,
    which are still what limits are kept by.
    """

    connections: int = 8
    per_second: float = math.inf
    unit_s: float = 1.0
    timeout_s: float = 30.0
    base: str = ""
    tell: Callable[[str], None] = lambda message: None
    user_agent: str = "nogps"
    _hosts: dict[str, _Host] = field(default_factory=dict, init=False)

    async def __aenter__(self) -> "Polite":
        wait = self.timeout_s
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self.user_agent, "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=4 * wait, sock_connect=wait, sock_read=wait),
            trust_env=not self.base,  # what stands in for the world is on this machine: no proxy
        )
        # aiohttp would repeat a request whose connection broke: uncounted, and perhaps unpaid.
        self._session._retry_connection = False
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(
        self,
        url: str,
        *,
        judge: Judge = by_status,
        prepare: Callable[[str], str] = lambda url: url,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to a GET, redirects and refusals included.

        `judge` says of each answer whether it is taken or asked for again. `prepare` is called
        before each try: it returns the URL to send, with what must not be seen in answers, and
        what it raises ends the request. `headers` go to this host alone: redirects are not
        followed. Unavailable: no whole answer after all tries, or the host is down.
        """
        name = urlsplit(url).netloc
        host = self._hosts.setdefault(name, _Host(name, asyncio.Semaphore(self.connections)))
        for attempt in range(TRIES):
            async with host.slots, host.gate if host.open else nullcontext():
                await self._turn(host)
                probing = host.open
                answer = await self._once(url, prepare(url), headers or {})
                verdict = Verdict.BUSY if answer is None else judge(answer)
                if verdict is Verdict.BUSY:
                    self._failed(host, answer, probing)
                else:
                    host.failures = host.probes = 0
            if answer is not None and verdict is Verdict.OK:
                return answer
            if attempt + 1 < TRIES:
                await asyncio.sleep(self._wait(attempt))
        raise Unavailable(name)

    async def _turn(self, host: _Host) -> None:
        """Wait until this host may be asked again; raise HostDown where it never may."""
        while not host.down:
            now = time.monotonic()
            start = max(host.not_before, host.next_turn)
            if start <= now:
                host.next_turn = now + 1 / self.per_second
                return
            await asyncio.sleep(start - now)
        raise HostDown(host.name)

    async def _once(self, url: str, address: str, headers: Mapping[str, str]) -> Answer | None:
        """The answer of one try; None if it did not come, broke off or is too large."""
        if self.base:
            parts = urlsplit(url)
            address = self.base + address.removeprefix(f"{parts.scheme}://{parts.netloc}")
            headers = {**headers, "Host": parts.netloc}
        try:
            async with self._session.get(
                URL(address, encoded=True), headers=headers, allow_redirects=False
            ) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MOST_BYTES:
                        return None
                return Answer(response.status, url, response.headers, bytes(body))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None

    def _failed(self, host: _Host, answer: Answer | None, probing: bool) -> None:
        """Note a failure; only those of probes (requests on an open circuit) take a host down."""
        was_open, was_down = host.open, host.down
        host.failures += 1
        pause = _retry_after(answer) if answer is not None else 0.0
        if pause > LONGEST_PAUSE:
            host.down = True
            self.tell(f"{host.name} asks to be left alone for {pause / 60:.0f} minutes")
        if answer is not None and answer.status < 500 and not pause:
            pause = self._wait(0)
        if probing:
            host.probes += 1
            pause = max(pause, self._wait(host.probes))
            host.down = host.down or host.probes >= PROBES
        elif host.open and not was_open:
            self.tell(f"{host.name} fails again and again; waiting for it")
        if host.down and probing and not was_down:
            self.tell(f"{host.name} is down; giving up on it for now")
        host.not_before = max(host.not_before, time.monotonic() + pause)

    def _wait(self, attempt: int) -> float:
        """Seconds to wait after a failed attempt (0 the first): exponential, with jitter."""
        return self.unit_s * min(2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)


def _retry_after(answer: Answer) -> float:
    """Seconds of the header Retry-After, a number or a date; 0 without one."""
    text = answer.headers.get("Retry-After", "").strip()
    with suppress(ValueError):
        return max(0.0, float(text))
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0
