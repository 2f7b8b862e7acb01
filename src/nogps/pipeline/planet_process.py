"""The simulated planet as a process of its own, which prints where it is and what opens it."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from nogps.base.errors import InputError


@dataclass(frozen=True)
class Planet:
    """Where a running planet is, what opens it, and where each of its services is."""

    base: str  # http://127.0.0.1:<port>
    secrets: dict[str, str] = field(repr=False)  # by the name that each has in the environment
    services: dict[str, dict]  # source -> what it is to be made with, such as base_url


def planet_folder() -> Path:
    """The folder of the planet's code, in a clone its own copy; InputError if there is none."""
    spec = find_spec("planet")
    if spec is None or spec.origin is None:
        raise InputError(
            "world: simulated needs the simulated planet, which is only in the repository, beside "
            "nogps; run this in a clone, or set world: real"
        )
    return Path(spec.origin).resolve().parent


def planet_version() -> str:
    """A digest of the planet's code: another one may draw other pictures at the same addresses."""
    files = sorted(planet_folder().iterdir())
    code = (path.read_bytes() for path in files if path.suffix in (".py", ".json", ".vrt"))
    return hashlib.sha256(b"".join(code)).hexdigest()[:12]


@contextmanager
def running_planet(
    seed: int,
    photos: int,
    *,
    faults: Mapping[str, float] | None = None,  # kind: the share of the requests that it hits
    log: Path | None = None,  # file that gets a line of JSON per request
    calls_per_hour: int = 0,  # that Flickr's API answers; 0: any number
    distinct: int = 0,  # pictures that Flickr and Street View have; 0: each its own
    addresses: Path | None = None,  # folder that gets made-up addresses for Street View
) -> Iterator[Planet]:
    """Run the planet until the block ends; InputError if it does not start, or not with these."""
    options = [f"--seed={seed}", f"--photos={photos}"]
    options += [f"--calls-per-hour={calls_per_hour}", f"--distinct={distinct}"]
    options += [f"--fault={kind}={share}" for kind, share in (faults or {}).items()]
    options += [f"--log={log.absolute()}"] if log else []
    options += [f"--addresses={addresses.absolute()}"] if addresses else []
    server = subprocess.Popen(
        [sys.executable, "-m", "planet", *options],
        cwd=planet_folder().parent,  # there Python finds it, and nogps also where not installed
        stdin=subprocess.PIPE,  # the server ends when this closes, however we end
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C is for us to hear; while it starts, it would answer loudly
    )
    with server:
        try:
            yield _introduced(server)
        finally:
            server.kill()


def _introduced(server: subprocess.Popen[str]) -> Planet:
    line = server.stdout.readline() if server.stdout else ""
    if not line:
        raise InputError("the simulated planet did not start; its own message is above")
    told = json.loads(line)
    if "error" in told:
        raise InputError(f"the simulated planet did not start: {told['error']}")
    return Planet(told["base"], told["secrets"], told["services"])
