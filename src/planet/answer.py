"""What the planet's hosts are asked, and what they answer."""

import json
import re
from dataclasses import dataclass, field

LOUD_JSON = "application/json; charset=UTF-8"  # as Google and Mapillary write it

# Arguments that open something, or belong to a signature.
_SECRETS = r"(?:api_key|key|signature|api_sig|auth_token|access_token|oauth_[a-z_]+|oe|oh)"
_SECRET = re.compile(rf"(?<=[?&]){_SECRETS}=[^&]*&?", re.IGNORECASE)


@dataclass
class Call:
    """One request: what it is for, and what is known about it."""

    what: str  # see faults; "placeholder" or "other"
    method: str
    target: str  # path and query as sent
    host: str = ""
    authorization: str = ""
    user_agent: str = ""
    form: str = ""  # the body as sent
    arguments: dict[str, str] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)  # parts of the path
    photo: str = ""  # its id; a panorama's id and a heading
    expired: bool = False  # whether addresses in the answer are to be of no use any more

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.target.partition("?")[0]

    @property
    def authorised(self) -> bool:
        """Whether a key or token came along."""
        key = re.search(r"[?&](api_key|key|access_token)=", self.target)
        return bool(self.authorization or key)

    @property
    def shown(self) -> str:
        """Path and query without keys and signatures."""
        return _SECRET.sub("", self.target).rstrip("?&")

    @property
    def essence(self) -> str:
        """What tells two calls apart: method, path and the arguments that open nothing."""
        known = {k: v for k, v in self.arguments.items() if not re.fullmatch(_SECRETS, k)}
        return f"{self.method} {self.path} {json.dumps(known, sort_keys=True)}"


class Refused(Exception):
    """An error that an API reports: its code and message."""


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    kind: str = "text/html"  # the content type
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def text(status: int, message: str) -> Answer:
    """An answer in plain words."""
    return Answer(status, "text/plain; charset=utf-8", message.encode())


def page(status: int, title: str, headers: dict[str, str] | None = None) -> Answer:
    """An answer as a page for people."""
    body = f"<html><body><h1>{title}</h1>\n</body></html>\n"
    return Answer(status, "text/html; charset=utf-8", body.encode(), headers or {})


def js(
    value: dict | str,
    status: int = 200,
    kind: str = "application/json; charset=utf-8",
    headers: dict[str, str] | None = None,
) -> Answer:
    """An answer for programs: a value, or JSON as it stands."""
    body = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Answer(status, kind, body.encode(), headers or {})
