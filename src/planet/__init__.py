"""A little planet on loopback that speaks the protocols of Flickr, Street View and open sources.

    with running_planet(seed=0, photos=5000) as planet:
        source = Flickr(planet.key, planet.secret, ..., rest_url=planet.rest_url)

It runs as a process of its own, and ends with the process that started it.
"""

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nogps.base.errors import InputError
from planet.faults import FAULTS, check
from planet.streets import write_addresses

__all__ = [
    "FAULTS",
    "GOOGLE_KEY",
    "IMAGE_HOST",
    "KEY",
    "MAPILLARY_TOKEN",
    "PAGE_HOST",
    "SECRET",
    "SIGNING_SECRET",
    "Running",
    "running_planet",
    "version",
    "write_addresses",
]

# The only keys that the planet knows. They open nothing anywhere else.
KEY = "5111a7ed" * 4
SECRET = "5111a7ed" * 2
GOOGLE_KEY = "AIza" + "5imulated-" * 3 + "Plane"
MAPILLARY_TOKEN = "MLY|" + "5111a7ed" * 2 + "|simulated"
SIGNING_SECRET = "c2ltdWxhdGVkLXBsYW5ldA=="  # "simulated-planet"

# Addresses that the planet hands out end so; RFC 2606 promises that they lead nowhere.
IMAGE_HOST = "http://live.staticflickr.invalid"
PAGE_HOST = "http://www.flickr.invalid"


@dataclass(frozen=True)
class Running:
    """Where a running planet is, and what opens it."""

    base: str  # http://127.0.0.1:<port>
    key: str = KEY
    secret: str = SECRET
    page_base: str = PAGE_HOST
    google_key: str = GOOGLE_KEY
    signing_secret: str = SIGNING_SECRET
    mapillary_token: str = MAPILLARY_TOKEN

    @property
    def rest_url(self) -> str:
        """Where Flickr's REST calls go."""
        return f"{self.base}/services/rest/"


def version() -> str:
    """A digest of the planet's code: another one may draw other pictures at the same addresses."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def running_planet(
    seed: int,
    photos: int,
    *,
    faults: Mapping[str, float] | None = None,
    log: Path | None = None,
    calls_per_hour: int = 0,
    drawn: int = 0,
) -> Iterator[Running]:
    """Run the planet with this seed and so many photos in a process of its own.

    Args:
        seed: of photos, panoramas and faults.
        photos: how many there are.
        faults: the share of the requests that each kind of fault (see FAULTS) hits.
        log: file that gets a line of JSON per request.
        calls_per_hour: that Flickr's API answers; 0: any number.
        drawn: how many distinct pictures are drawn; 0: each its own.

    Raises:
        InputError: a fault is unknown or its share not between 0 and 1, or nothing started.
    """
    options = ["--seed", str(seed), "--photos", str(photos)]
    options += ["--calls-per-hour", str(calls_per_hour), "--drawn", str(drawn)]
    for kind, share in check(faults or {}).items():
        options += ["--fault", f"{kind}={share}"]
    if log:
        options += ["--log", str(log.absolute())]
    server = subprocess.Popen(
        [sys.executable, "-m", "planet", *options],
        cwd=Path(__file__).parents[2],  # so that `nogps` is found also where it is not installed
        stdin=subprocess.PIPE,  # the server ends when this closes, however we end
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C is for us to hear; while it starts, it would answer loudly
    )
    try:
        base = server.stdout.readline().strip()
        if not base:
            raise InputError("the simulated planet did not start; its own message is above")
        yield Running(base)
    finally:
        server.kill()
        server.wait()
        server.stdin.close()
        server.stdout.close()
