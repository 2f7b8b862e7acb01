"""What `pip install .` gives to who only asks an exported model: no torch, no DVC, little else."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib import metadata
from pathlib import Path
from shutil import copy, copytree

import numpy as np
import pytest
from packaging.requirements import Requirement

from nogps import __version__
from nogps.model.export import export
from tests.locators import seeing
from tests.pictures import encoded, picture

ROOT = Path(__file__).parents[2]
MOST_REQUIREMENTS, MOST_MB, MOST_SECONDS = 12, 300, 0.3

# What follows it runs where the packages `names` are not installed.
ALONE = """
import sys
absent = {names!r}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
sys.path.insert(0, {wheel!r})
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, unpacked."""
    project, unpacked = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy(ROOT / name, project)
    copytree(ROOT / "src", project / "src", ignore=lambda *_: {"__pycache__", "nogps.egg-info"})
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(project / "dist"), str(project)]
    subprocess.run(command, check=True)
    [built] = (project / "dist").glob("*.whl")
    with zipfile.ZipFile(built) as files:
        files.extractall(unpacked)
    return unpacked


@pytest.fixture(scope="module")
def information(wheel):
    [found] = wheel.glob("*.dist-info/METADATA")
    return Parser().parsestr(found.read_text("utf-8"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export(seeing(about={"trained_on": "made-up pictures"}), path)
    return path


def requirements(lines: list[str], extra: str = "") -> Iterator[Requirement]:
    """Those that an installation fetches."""
    for line in lines:
        found = Requirement(line)
        if not found.marker or found.marker.evaluate({"extra": extra}):
            yield found


def installed(lines: list[str]) -> set[str]:
    """Distributions that come with requirements, theirs and so on."""
    found: set[str] = set()
    waiting = [each.name for each in requirements(lines)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [each.name for each in requirements(metadata.requires(name) or [])]
    return found


@pytest.fixture(scope="module")
def alone(wheel, information):
    """Run a program where the wheel and what it requires are all there is; its output."""
    kept = {metadata.distribution(name).metadata["Name"] for name in required(information)}
    names = {
        module
        for module, owners in metadata.packages_distributions().items()
        if not kept & set(owners)
    }
    first = ALONE.format(names=names - {"nogps"}, wheel=str(wheel))

    def run(program: str, *arguments: str) -> str:
        command = [sys.executable, "-I", "-c", first + program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def required(information) -> set[str]:
    return installed(information.get_all("Requires-Dist"))


def test_the_wheel_holds_nogps_and_its_pages_alone(wheel):
    assert {each.name.partition("-")[0] for each in wheel.iterdir()} == {"nogps"}
    files = {str(path.relative_to(wheel)) for path in wheel.rglob("*") if path.is_file()}
    source = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src/nogps").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert source <= files
    assert {"nogps/py.typed", "nogps/cli/sets.txt", "nogps/report/report_page.js"} <= files
    assert not [name for name in files - source if "dist-info" not in name]


def test_the_wheel_says_what_it_is(information):
    assert information["Name"] == "nogps"
    assert information["Version"] == __version__
    assert information["License-Expression"] == "MIT"
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_few_and_small_requirements(information):
    plain = list(requirements(information.get_all("Requires-Dist")))
    assert len(plain) <= MOST_REQUIREMENTS
    names = required(information)
    assert not names & {"torch", "torchvision", "dvc", "pandas", "pyarrow", "scipy"}
    files = [file for name in names for file in metadata.distribution(name).files or []]
    size = sum(path.stat().st_size for file in files if (path := Path(file.locate())).is_file())
    assert size < MOST_MB * 1e6


def test_every_requirement_is_pinned(information):
    names = {
        line.partition("==")[0]
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line and not line.startswith(" ")
    }
    for line in information.get_all("Requires-Dist"):
        name = Requirement(line).name.lower()
        assert name in names | {"nogps"}


def test_import_takes_no_time(alone):
    program = "import time; start = time.process_time(); import nogps\n"
    program += "print(time.process_time() - start)"
    assert min(float(alone(program)) for _ in range(3)) < MOST_SECONDS


def test_a_photo_is_located_without_torch(alone, model, tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encoded(picture(90, 70), "JPEG"))
    program = """
from nogps import OnnxLocator
guess = OnnxLocator.load(sys.argv[1]).locate(sys.argv[2])
print(guess.latitude, guess.longitude, len(guess.cells), guess.place)
"""
    latitude, longitude, cells, place = alone(program, str(model), str(photo)).split(" ", 3)
    assert np.abs(float(latitude)) <= 90
    assert np.abs(float(longitude)) <= 180
    assert int(cells) > 1
    assert "," in place


def test_the_command_locates_a_folder_without_torch(alone, model, tmp_path):
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(picture(90, 70, seed=number), "JPEG"))
    program = "from nogps.cli.main import main; sys.exit(main())"
    page = tmp_path / "map.html"
    arguments = ["locate", "--model", str(model), "--json", "--map", str(page), str(tmp_path)]
    found = [json.loads(line) for line in alone(program, *arguments).splitlines()]
    assert [Path(each["photo"]).name for each in found] == ["0.jpg", "1.jpg"]
    assert "<svg" in page.read_text()
