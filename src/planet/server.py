"""The planet's hosts over HTTP, on loopback: they answer, go wrong, and keep a log.

What is there is decided in a module for each protocol, what goes wrong in `faults`.
"""

import asyncio
import json
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from planet import commons, flickr, mapillary, panoramax, streetview
from planet.answer import Answer, Call, page
from planet.faults import PICTURES, Faults
from planet.keys import KEY
from planet.panoramas import Panoramas
from planet.photos import Photo
from planet.picture import Gallery

LONGEST_STALL_S = 60
SLOW_PAUSES_S = (0.4, 0.8)  # before the first half of the body, and before the second

_PATHS = {  # what each path is for, and whose it is
    flickr.REST: ("search", flickr),
    flickr.PLACEHOLDER: ("placeholder", flickr),
    flickr.PICTURE: ("picture", flickr),
    streetview.METADATA: ("metadata", streetview),
    streetview.IMAGE: ("image", streetview),
    panoramax.SEARCH: ("items", panoramax),
    panoramax.PICTURE: ("asset", panoramax),
    panoramax.STORED: ("asset", panoramax),
    commons.API: ("files", commons),
    commons.THUMB: ("file", commons),
    commons.FILE: ("file", commons),
    mapillary.IMAGES: ("images", mapillary),
    mapillary.THUMB: ("thumb", mapillary),
    mapillary.ENTITY: ("address", mapillary),
}
_MODULES = dict(_PATHS.values())

_Note = Callable[[int, int], None]  # writes status and number of bytes to the log


@contextmanager
def serving(planet: Sequence[Photo], port: int = 0, **setup: Any) -> Iterator[str]:
    """Serve these photos on loopback from a thread; yields the base URL. Port 0 takes a free one.

    `setup`: `seed` (of panoramas and faults), `faults` (share of the requests that each kind
    hits), `log` (path of a file that gets a line of JSON per request), `calls_per_hour` (to
    Flickr's API) and `distinct` (pictures of Flickr and Street View); of both 0 is no limit.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine: Coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        hosts = _Hosts(planet, stack, **setup)
        server = web.Server(hosts.handle, access_log=None, loop=loop)
        runner = web.ServerRunner(server, shutdown_timeout=0.5)
        stack.callback(lambda: run(runner.cleanup()))
        stack.callback(loop.call_soon_threadsafe, hosts.closing.set)
        run(runner.setup())
        run(web.TCPSite(runner, "127.0.0.1", port).start())
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"


class _Hosts:
    def __init__(
        self,
        planet: Sequence[Photo],
        stack: ExitStack,
        seed: int = 0,
        faults: Mapping[str, float] | None = None,
        log: Path | None = None,
        calls_per_hour: int = 0,
        distinct: int = 0,
    ):
        # Apart, so that no search waits until pictures are drawn.
        self.painters = stack.enter_context(ThreadPoolExecutor(2))
        self.searchers = stack.enter_context(ThreadPoolExecutor(2))
        if log:
            log.parent.mkdir(parents=True, exist_ok=True)
        self.log = stack.enter_context(log.open("ab", buffering=0)) if log else None
        self.of = {
            flickr: flickr.Catalogue(planet),
            streetview: Panoramas(seed),
            panoramax: panoramax.Panoramax(seed, len(planet)),
            commons: commons.Commons(planet),
            mapillary: mapillary.Mapillary(seed, len(planet)),
        }
        self.gallery = Gallery(planet, distinct)
        self.faults = Faults(seed, faults or {})
        self.calls: deque[float] = deque(maxlen=max(0, calls_per_hour) or None)  # their times
        self.closing = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, or fail to in the way that a fault wants."""
        call = await _read(request)
        answer, fault = page(429, "429 Too Many Requests"), ""
        if not self._over_quota(call):
            answer, fault = await self._answer(call)
        note = partial(self._note, call, fault)
        how = fault.removeprefix("api_")
        if how in ("reset", "stall"):
            note(0, 0)
            if how == "stall":
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.closing.wait(), LONGEST_STALL_S)
            return _reset(request)
        if how in ("slow", "cut_off"):
            return await (_slow if how == "slow" else _cut_off)(request, answer, note)
        note(answer.status, len(answer.body))
        return web.Response(status=answer.status, body=answer.body, headers=_headers(answer))

    def _over_quota(self, call: Call) -> bool:
        """Whether this call to Flickr's API is one too many; it counts if it is not."""
        if not self.calls.maxlen or call.what != "search" or flickr.key_of(call) != KEY:
            return False
        now = time.monotonic()
        if len(self.calls) == self.calls.maxlen and self.calls[0] > now - 3600:
            return True
        self.calls.append(now)
        return False

    async def _answer(self, call: Call) -> tuple[Answer, str]:
        passing = self.faults.passing(call)
        call.expired = passing == "api_expired"
        if passing.removeprefix("api_") in ("reset", "stall"):
            return Answer(0), passing
        if answer := self.faults.answer(passing, call):
            return answer, passing
        answer, lasting = await self._true_answer(call)
        if passing == "truncated":
            if answer.status != 200:  # there is nothing to cut
                return answer, lasting
            answer = replace(answer, body=answer.body[: len(answer.body) // 2])
        return answer, passing or lasting

    async def _true_answer(self, call: Call) -> tuple[Answer, str]:
        """What is there, and the persistent fault that hides it, if one does."""
        if call.what == "other":
            return Answer(404), ""
        module, loop = _MODULES[call.what], asyncio.get_running_loop()
        # What draws a picture, or the arguments of `Gallery.picture`, or a whole answer.
        work = partial(module.picture if call.what in PICTURES else module.answer, self.of[module])
        if module is streetview and "pano" in call.arguments:
            found = work(call)  # that takes less time than a thread's turn
        else:
            found = await loop.run_in_executor(self.searchers, work, call)
        if isinstance(found, Answer):
            return found, ""
        if lasting := self.faults.lasting(call):
            return self._instead(lasting, call), lasting
        draw = partial(self.gallery.picture, *found) if isinstance(found, tuple) else found
        return Answer(200, "image/jpeg", await loop.run_in_executor(self.painters, draw)), ""

    def _instead(self, lasting: str, call: Call) -> Answer:
        if lasting == "grey":
            return streetview.grey(*streetview.size_of(call.arguments))
        if lasting == "placeholder":
            directly = self.faults.which(lasting, call) % 3 == 0
            return flickr.placeholder() if directly else flickr.TO_PLACEHOLDER
        return self.faults.answer(lasting, call)

    def _note(self, call: Call, fault: str, status: int, sent: int) -> None:
        line = {"time": round(time.time(), 3), "method": call.method, "path": call.shown}
        line |= {"host": call.host, "authorised": call.authorised, "what": call.what}
        line |= {"photo": call.photo, "status": status, "bytes": sent, "fault": fault}
        if call.what == "search":
            for name in ("text", "min_upload_date", "max_upload_date", "page"):
                line[name] = call.arguments.get(name, "")
        if self.log:
            with suppress(OSError):  # a full disk is the client's matter: the planet goes on
                self.log.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


async def _read(request: web.BaseRequest) -> Call:
    names = {"host": "Host", "authorization": "Authorization", "user_agent": "User-Agent"}
    call = Call(
        what="other",
        method=request.method,
        # A proxy's client sends all of the address.
        target=re.sub(r"^https?://[^/?#]*", "", request.raw_path),
        form=(await request.read()).decode(errors="replace"),
        **{field: request.headers.get(name, "") for field, name in names.items()},
    )
    reads = call.method in ("GET", "HEAD")
    call.arguments = dict(parse_qsl(call.target.partition("?")[2] if reads else call.form))
    for path, (what, _) in _PATHS.items() if reads or call.path == flickr.REST else ():
        named = re.fullmatch(re.escape(path) if isinstance(path, str) else path, call.path)
        if named:
            call.what, call.named = what, named.groupdict()
            call.photo = call.named.get("photo", "")
            break
    if call.what == "image" and "pano" in call.arguments:
        call.photo = f"{call.arguments['pano']} {call.arguments.get('heading', 0)}"
    return call


# --- how answers come, or do not ---


def _headers(answer: Answer) -> dict[str, str]:
    return {**answer.headers, "Content-Type": answer.kind}


def _reset(request: web.BaseRequest) -> web.StreamResponse:
    """Break the connection off; what is returned reaches nobody."""
    if request.transport is not None:
        at_once = struct.pack("ii", 1, 0)  # sends a reset instead of an orderly end
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        request.transport.abort()
    return web.Response()


async def _slow(request: web.BaseRequest, answer: Answer, note: _Note) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = len(answer.body)
    half, sent = len(answer.body) // 2, 0
    with suppress(ConnectionError):
        await asyncio.sleep(SLOW_PAUSES_S[0])
        await response.prepare(request)
        await response.write(answer.body[:half])
        await asyncio.sleep(SLOW_PAUSES_S[1])
        left = request.transport is None or request.transport.is_closing()
        sent = half if left else len(answer.body)
    note(answer.status, sent)  # before the end of it: who has read all finds it in the log
    with suppress(ConnectionError):
        await response.write(answer.body[half:])
    return response


async def _cut_off(request: web.BaseRequest, answer: Answer, note: _Note) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = len(answer.body) or 1000
    part = answer.body[: len(answer.body) * 6 // 10]
    with suppress(ConnectionError):
        await response.prepare(request)
        note(answer.status, len(part))
        await response.write(part)
    if request.transport is not None:
        request.transport.close()
    return response
