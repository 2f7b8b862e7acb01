"""What goes wrong on the planet, and when: all of it follows from a seed.

A transient fault hits the n-th request for the same thing, so it passes when somebody asks
again, in whatever order threads ask. A persistent one hits the same thing always.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from nogps.base.errors import InputError
from planet.answer import LOUD_JSON, Answer, Call, js, page
from planet.photos import chance

# What Flickr, Street View, Panoramax, Commons and Mapillary are asked for; the last for two more.
PICTURES = {"picture", "image", "asset", "file", "thumb"}
_APIS = {"search", "metadata", "items", "files", "images", "address"}
_FAULTS = {  # what each kind hits, and what comes of it
    # transient
    "too_many": (PICTURES, "429 as a page; every second one asks for a second's pause"),
    "server_error": (PICTURES, "500, 502 or 503"),
    "reset": (PICTURES, "the connection is reset before anything comes"),
    "slow": (PICTURES, "the body trickles for a second or two"),
    "stall": (PICTURES, "nothing comes for a minute"),
    "cut_off": (PICTURES, "the connection closes before the promised length has come"),
    "truncated": (PICTURES, "a JPEG that ends early, and a length that says so"),
    # persistent
    "gone": (PICTURES, "404, sometimes 410"),
    "placeholder": ({"picture"}, "Flickr: a picture that says that there is none"),
    "not_an_image": (PICTURES, "200 with a page, or with garbage that claims to be a JPEG"),
    "grey": ({"image"}, "Street View: a grey picture that says that there is no imagery"),
    # transient
    "api_unavailable": ({"search"}, "Flickr: an answer that the service is not available"),
    "api_too_many": (_APIS, "429 as a page"),
    "api_html": ({"search"}, "Flickr: a page with status 200"),
    "api_error": (_APIS, "500 or 502"),
    "api_reset": (_APIS, "the connection is reset before anything comes"),
    "api_slow": (_APIS, "the body trickles for a second or two"),
    "api_unknown": ({"metadata"}, "Street View metadata: UNKNOWN_ERROR"),
    "api_over_limit": ({"metadata"}, "Street View metadata: OVER_QUERY_LIMIT"),
    "api_maxlag": ({"files"}, "Commons: an error that asks for a pause, with status 200"),
    "api_limit": ({"images", "address"}, "Mapillary: an error that says that too much was asked"),
    "api_expired": ({"address"}, "Mapillary: an address of a picture that has expired"),
}
FAULTS = {kind: line for kind, (_, line) in _FAULTS.items()}
PERSISTENT = ("gone", "placeholder", "not_an_image", "grey")
MOST_IN_A_ROW = 3  # transient faults that hit the same thing


class Faults:
    """Decides which request goes wrong, and how; an error if there is no such kind or share."""

    def __init__(self, seed: int, shares: Mapping[str, float]):
        for kind, share in shares.items():
            if kind not in FAULTS or not 0 <= share <= 1:
                told = f"fault {kind}={share} is not possible; give a share from 0 to 1 of one of "
                raise InputError(told + ", ".join(FAULTS))
        self.seed, self._shares = seed, shares
        self._asked: dict[str, tuple[int, int]] = {}  # times, and faults in a row

    def passing(self, call: Call) -> str:
        """The transient fault that hits this request, or nothing."""
        kinds = self._that_hit(call, persistent=False)
        if not kinds:
            return ""
        times, in_a_row = self._asked.get(call.essence, (0, 0))
        kind = self._first(kinds, f"{call.essence} {times}") if in_a_row < MOST_IN_A_ROW else ""
        self._asked[call.essence] = (times + 1, in_a_row + 1 if kind else 0)
        return kind

    def lasting(self, call: Call) -> str:
        """The persistent fault that hits what is asked for, or nothing."""
        return self._first(self._that_hit(call, persistent=True), _thing(call))

    def _that_hit(self, call: Call, persistent: bool) -> list[str]:
        kinds = (kind for kind, share in self._shares.items() if share)
        return [k for k in kinds if call.what in hits(k) and (k in PERSISTENT) == persistent]

    def _first(self, kinds: list[str], what: str) -> str:
        return next((k for k in kinds if chance(self.seed, k, what) < self._shares[k]), "")

    def answer(self, kind: str, call: Call) -> Answer | None:
        """What comes instead of the true answer; None where the fault is in how it comes."""
        if kind not in _ANSWERS:
            return None
        which, (times, _) = self.which(kind, call), self._asked.get(call.essence, (0, 0))
        turn = which if kind in PERSISTENT else which + times
        answer = _ANSWERS[kind][turn % len(_ANSWERS[kind])]
        if answer.status == 503 and which % 2:
            return replace(answer, headers=_RETRY)
        return answer

    def which(self, kind: str, call: Call) -> int:
        """Which of six forms the fault takes for this thing."""
        thing = _thing(call) if kind in PERSISTENT else call.essence
        return math.floor(6 * chance(self.seed, "which", kind, thing))


def _thing(call: Call) -> str:
    """What persistent faults hit: all headings of a panorama share its fate."""
    return call.photo.partition(" ")[0]


def hits(kind: str) -> set[str]:
    """What calls can be hit by this kind of fault."""
    return _FAULTS[kind][0]


_RETRY = {"Retry-After": "1"}
_GARBAGE = Answer(200, "image/jpeg", b"\x00\x01no picture at all" * 40)
_BROKEN = js('{"error":{"code":"internal_api_error_DBQueryError","info":""}}')
_LAGGED = js(
    '{"error":{"code":"maxlag","info":"Waiting for db1: 7.1 seconds lagged",'
    '"host":"db1","lag":7.1}}',
    headers=_RETRY | {"X-Database-Lag": "7", "MediaWiki-API-Error": "maxlag"},
)
_SORRY = "Sorry, the Flickr API service is not currently available."
_LIMITED = (
    '{"error":{"message":"Application request limit reached","type":"MLYApiException",'
    '"is_transient":true,"code":4,"fbtrace_id":"A0"}}'
)
_OVER_LIMIT = (
    '{\n   "status" : "OVER_QUERY_LIMIT",\n'
    '   "error_message" : "You have exceeded your rate-limit for this API."\n}\n'
)
# The forms of a fault. Those of a transient one take turns.
_ANSWERS = {
    "too_many": [page(429, "429 Too Many Requests", asks) for asks in ({}, _RETRY)],
    "server_error": [page(status, f"{status} Server Error") for status in (500, 502, 503)],
    "gone": [Answer(410), Answer(404), Answer(404)],
    "not_an_image": [_GARBAGE, page(200, "Welcome")],
    "api_unavailable": [
        js('{"stat":"fail","code":105,"message":"Service currently unavailable"}'),
        js(f'{{"stat":"fail","message":"{_SORRY}","code":201}},'),
        js(f'{{"stat":"fail","code":0,"message":"{_SORRY}"}}'),
    ],
    "api_too_many": [page(429, "429 Too Many Requests")],
    "api_html": [page(200, "Flickr is having a massage")],
    "api_error": [page(status, "Server Error") for status in (500, 502)],
    "api_unknown": [js('{\n   "status" : "UNKNOWN_ERROR"\n}\n', kind=LOUD_JSON)],
    "api_over_limit": [js(_OVER_LIMIT, kind=LOUD_JSON)],
    "api_maxlag": [_BROKEN, _LAGGED, _LAGGED],
    # Some with 400, some as a failure of the server: both have been told of.
    "api_limit": [js(_LIMITED, status, LOUD_JSON) for status in (400, 403, 500)],
}
