"""The planet as a program, and the processes that start it."""

import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from nogps.acquire.sources.openaddresses import read_addresses
from nogps.base.errors import InputError
from nogps.pipeline import planet_process
from nogps.pipeline.planet_process import planet_version, running_planet
from planet import flickr, picture
from planet.__main__ import SECRETS, introduction
from planet.faults import Faults
from planet.keys import KEY
from tests.planet.asking import ALIVE, ask, get, picture_path, rows_of

OPEN_SOURCES = ("panoramax", "commons", "mapillary")
SOURCES = Path(picture.__file__).parents[2]


@pytest.mark.parametrize("faults", [{"earthquake": 0.1}, {"reset": 1.5}, {"reset": -0.1}])
def test_faults_that_cannot_be_are_refused(faults):
    with pytest.raises(InputError, match="api_unavailable"):
        Faults(0, faults)


def test_the_sentence_of_a_planet_that_does_not_start_is_passed_on():
    said, faults = r"earthquake=0\.1 .* api_unavailable", {"earthquake": 0.1}
    with pytest.raises(InputError, match=said) as caught, running_planet(0, 10, faults=faults):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["--fault=earthquake=1", "--fault=reset", "--port={taken}"])
def test_the_command_refuses_what_cannot_be_in_a_sentence(base, option):
    option = option.format(taken=base.rpartition(":")[2])
    run = subprocess.run(
        [sys.executable, "-m", "planet", "--photos", "5", option],
        cwd=SOURCES,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


def test_the_options_reach_the_process(tmp_path):
    log, addresses = tmp_path / "log", tmp_path / "addresses"
    options = {"calls_per_hour": 1, "distinct": 2, "addresses": addresses}
    with running_planet(0, 130, faults={"gone": 1}, log=log, **options) as planet:
        assert get(planet.base + picture_path(ALIVE[0])).status_code in (404, 410)
        ask(planet.base)
        assert get(f"{planet.base}{flickr.REST}?api_key={KEY}").status_code == 429
    files = [Path(each) for each in planet.services["streetview"]["addresses"]]
    assert read_addresses(files)[1]["addresses_rows"]
    assert [row["fault"] for row in rows_of(log)] == ["gone", "", ""]


def test_it_prints_its_hosts_and_its_keys():
    with running_planet(0, 10) as planet:
        assert ask(planet.base)["stat"] == "ok"
    assert planet.services == introduction(planet.base)["services"]
    assert set(planet.services) == {"flickr", "streetview", *OPEN_SOURCES}
    assert planet.services["flickr"]["rest_url"] == planet.base + flickr.REST
    assert planet.secrets == SECRETS
    assert not [key for key in SECRETS.values() if key in repr(planet)]


def test_its_version_is_a_digest_of_its_code(monkeypatch, tmp_path):
    version = planet_version()
    assert re.fullmatch(r"[0-9a-f]{12}", version) and planet_version() == version
    monkeypatch.setattr(planet_process, "planet_folder", lambda: tmp_path)
    assert planet_version() != version


def test_without_it_a_sentence_says_where_it_is(monkeypatch):
    monkeypatch.setattr(planet_process, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^world: simulated .* clone, or set world: real$"):
        planet_version()


def answers(base: str) -> bool:
    try:
        return httpx.get(base + "/", trust_env=False, timeout=5).status_code == 404
    except httpx.TransportError:
        return False


def wait_until(condition) -> bool:
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_the_server_ends_with_the_block():
    with running_planet(seed=0, photos=10) as running:
        assert answers(running.base)
    assert not answers(running.base)


@pytest.fixture
def parent():
    """A process that runs a planet and then does nothing; with the planet's address."""
    program = (
        "import time; from nogps.pipeline.planet_process import running_planet\n"
        "with running_planet(0, 10) as planet:\n"
        "    print(planet.base, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=SOURCES,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_server_dies_with_a_killed_parent(parent):
    process, base = parent
    assert answers(base)
    process.kill()
    assert wait_until(lambda: not answers(base))
