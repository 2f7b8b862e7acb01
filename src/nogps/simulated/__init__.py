"""A little planet on loopback that speaks the same protocols as the real world.

    with running_planet(seed=0, photos=5000) as planet:
        source = Flickr(planet.key, planet.secret, ..., rest_url=planet.rest_url)

It runs as a process of its own, and ends with the process that started it.
"""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nogps.errors import InputError

# The only key that the planet knows. It opens nothing anywhere else.
KEY = "5111a7ed" * 4
SECRET = "5111a7ed" * 2

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

    @property
    def rest_url(self) -> str:
        """Where Flickr's REST calls go."""
        return f"{self.base}/services/rest/"

    @property
    def image_base(self) -> str:
        """What stands in for the scheme and host of a picture's URL."""
        return self.base


def version() -> str:
    """A digest of the planet's code: another one may draw other pictures at the same addresses."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def running_planet(seed: int, photos: int) -> Iterator[Running]:
    """Run the planet with this seed and so many photos in a process of its own."""
    server = subprocess.Popen(
        [sys.executable, "-m", "nogps.simulated", "--seed", str(seed), "--photos", str(photos)],
        cwd=Path(__file__).parents[2],  # so that `nogps` is found also where it is not installed
        stdin=subprocess.PIPE,  # the server ends when this closes, however we end
        stdout=subprocess.PIPE,
        text=True,
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
