"""The registry of sources, and what a new one takes: a module and its line."""

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest
import yaml

from nogps.acquire import sources
from nogps.acquire.sources import SOURCES, source_type
from nogps.base.errors import InputError
from nogps.pipeline import params as params_module
from nogps.pipeline import paths
from tests.project import PARAMS, ROOT, shown_below

TOY = shown_below("A new source")
NOT_LOCAL = TOY.replace(", local=True", "")


def read_params(**changes):
    """Parameters of the sources that are registered now; `sampling__photos` is sampling.photos."""
    content = yaml.safe_load(PARAMS.read_text())
    content |= {"world": "simulated", "exclude": str(ROOT / "data/exclude.txt")}
    for name, value in changes.items():
        section, _, key = name.rpartition("__")
        (content[section] if section else content)[key] = value
    Path("params.yaml").write_text(yaml.safe_dump(content))
    return runpy.run_path(params_module.__file__)["read_params"]()


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A source of 6 photos, registered, and a folder to run stages in."""
    (tmp_path / "toy_source.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SOURCES, "toy", "toy_source")
    monkeypatch.chdir(tmp_path)
    return {"source": "toy", "toy": {"rows": 6}}


def stage(name: str):
    return runpy.run_path(str(ROOT / f"src/{name}.py"))[name]


def test_a_new_source_runs_through_sample_and_download(toy, capsys):
    params = read_params(**toy, sampling__photos=4)
    stage("sample")(params)
    candidates = pd.read_parquet(paths.CANDIDATES)
    assert len(candidates) == 4 and set(candidates["source"]) == {"toy"}
    counts = json.loads((paths.METRICS / "sample.json").read_text())
    assert (counts["rows"], counts["not_drawn"], counts["candidates"]) == (6, 2, 4)
    stage("download")(params)
    index = pd.read_parquet(paths.PHOTOS / "index.parquet")
    assert index["status"].tolist() == ["ok"] * 4
    assert json.loads((paths.METRICS / "download.json").read_text())["dollars"] == 0
    assert (paths.FETCHED / "toy").is_dir()


def test_limits_of_sampling_hold_for_a_new_source(toy):
    stage("sample")(read_params(**toy, sampling__region=[-1.0, -1.0, 1.0, 2.5]))
    assert pd.read_parquet(paths.CANDIDATES)["latitude"].tolist() == [0, 1, 2]


def test_a_new_source_is_checked_like_any_other(toy):
    with pytest.raises(InputError, match=r"`toy\.rows` is 0"):
        read_params(source="toy", toy={"rows": 0})
    with pytest.raises(InputError, match="`toy` is missing"):
        read_params(source="toy")
    with pytest.raises(InputError, match=r"'folder' or 'toy'"):
        read_params(**toy | {"source": "tyo"})


def test_photos_that_the_planet_does_not_draw_never_count_as_drawn(toy, tmp_path, monkeypatch):
    params = read_params(**toy)
    assert not params_module.synthetic(params)
    assert params_module.origin(params) == "toy"
    stage("sample")(params)
    stage("download")(params)
    licences = pd.read_csv(paths.ATTRIBUTION, keep_default_na=False)["licence"]
    assert set(licences) == {""}
    (tmp_path / "far_source.py").write_text(NOT_LOCAL)
    monkeypatch.setitem(SOURCES, "toy", "far_source")
    params = read_params(**toy)
    assert not params_module.synthetic(params)
    with pytest.raises(InputError, match="source: toy is not to be had in the simulated world"):
        stage("sample")(params)


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_says_what_is_to_be_known_of_it(name):
    kind = source_type(name)
    assert name in yaml.safe_load(PARAMS.read_text())
    assert kind.settings.__doc__
    assert not [field for field in kind.settings.model_fields.values() if not field.is_required()]
    assert kind.on_planet != kind.local
    assert kind.by_area == bool(kind.crawl_rate) == bool(kind.own_limits.get("photos"))


def test_every_source_is_registered():
    """A module with a SOURCE that no line names would never be found."""
    folder = Path(sources.__file__).parent
    found = {path.stem for path in folder.glob("*.py") if "\nSOURCE = " in path.read_text()}
    assert found == set(SOURCES)
