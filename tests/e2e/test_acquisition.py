"""Sampling and downloading as users run them, with hosts that misbehave and runs that are killed.

The planet's own log says what was asked for and what was served.
"""

import json
import os
import subprocess
import sys
from collections import Counter

import pandas as pd
import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from nogps.acquire.candidate import Status
from nogps.pipeline.planet_process import running_planet
from nogps.rights.licences import FREE
from planet.faults import FAULTS
from planet.keys import KEY, SECRET
from tests.project import (
    KEYS,
    ROOT,
    environment,
    files_with_keys,
    index_of,
    killed,
    make_project,
    planet_log,
    read,
    served,
)
from tests.stages import InProcess, make_folder

TINY_CALIFORNIA = {
    "source": "streetview",
    "push_to": "nowhere",
    "budget_usd": 10,
    "streetview.terms_accepted": True,
    "streetview.locations": 40,
    "streetview.headings": 2,
    "streetview.side": 64,
}


# --- Flickr, with faults and kills ---


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> InProcess:
    """A clone that has sampled and downloaded without any trouble."""
    project = InProcess(make_project(tmp_path_factory.mktemp("calm") / "clone").root)
    project.dvc("repro", "download")
    project.commit("calm")
    return project


def test_with_faults_and_kills_nothing_is_lost_or_fetched_twice(calm, tmp_path):
    passing = ["too_many", "server_error", "reset", "slow", "cut_off", "truncated"]
    api = ["api_unavailable", "api_too_many", "api_html", "api_error", "api_reset"]
    lasting = ["gone", "placeholder", "not_an_image"]
    assert {*passing, *api, *lasting, "stall"} <= set(FAULTS)
    faults = dict.fromkeys([*passing, *lasting], 0.02) | dict.fromkeys(api, 0.15)
    project = make_folder(tmp_path / "folder", simulated__faults=faults | {"stall": 0.005})
    project.stage("sample")
    ours, theirs = (
        pd.read_parquet(each.root / "data/candidates.parquet") for each in (project, calm)
    )
    pd.testing.assert_frame_equal(ours, theirs)
    for share in (0.2, 0.5, 0.8):
        killed(project, "download", share * len(ours), "picture")
        assert not (project.root / "data/photos/index.parquet").exists()
    project.stage("download")
    index = index_of(project)
    assert index["photo_id"].tolist() == ours["photo_id"].tolist()
    counts = index["status"].value_counts().to_dict()
    assert counts == {
        status: count for status, count in read(project, "download")["status"].items() if count
    }
    assert sum(counts.values()) == len(ours)
    assert {Status.OK, Status.GONE, Status.PLACEHOLDER, Status.NOT_AN_IMAGE} <= set(counts)
    assert Status.FAILED not in counts
    times = served(project, "picture")
    # But for what was on its way when a run was killed.
    assert sum(times.values()) - len(times) <= 3 * 8
    struck = {entry["fault"] for entry in planet_log(project)}
    assert struck >= set(lasting)
    assert struck >= set(passing)
    assert struck & set(api)
    before = len(planet_log(project))
    project.stage("download")
    assert len(planet_log(project)) == before


def test_each_photo_is_on_the_disk_once(calm):
    index = index_of(calm)
    photos = index.loc[index["shard"] != "", "size"].sum()
    inodes = {}
    for path in [*calm.root.glob("data/**/*"), *calm.root.glob(".dvc/cache/**/*")]:
        if path.is_file():
            inodes[path.stat().st_ino] = path.stat().st_size
    assert sum(inodes.values()) < 1.2 * photos


def test_experiments_fetch_nothing_again(calm, tmp_path):
    project = calm.copy(tmp_path / "clone")
    before, kept = planet_log(project), index_of(project)
    small = kept.loc[kept["status"] == "ok", ["width", "height"]].min(axis=1).quantile(0.5)
    larger = f"download.min_side={int(small) + 1}"
    project.dvc("exp", "run", "download", "--temp", "-S", larger)
    project.dvc("exp", "run", "download", "-S", larger)
    assert (index_of(project)["status"] == "too_small").any()
    assert planet_log(project) == before
    project.dvc("exp", "run", "download", "-S", "download.min_side=64")
    assert index_of(project)["status"].tolist() == kept["status"].tolist()
    assert planet_log(project) == before
    # Fewer candidates, and then the old ones again.
    project.dvc("exp", "run", "download", "-S", "flickr.terms=[beach,market]")
    project.dvc("exp", "run", "download", "-S", "flickr.terms=[beach,market,street,church]")
    assert max(served(project, "picture").values()) == 1


def test_excluded_photos_and_their_owners_are_not_sampled(calm, tmp_path):
    project = calm.copy(tmp_path / "clone")
    before = pd.read_parquet(project.root / "data/candidates.parquet")
    by_owner = before["owner"].value_counts()
    listed = before[before["owner"] == by_owner.index[0]].iloc[0]
    another = by_owner.index[1]
    with (project.root / "data/exclude.txt").open("a") as exclude:
        exclude.write(f"{listed['photo_id']}_{'0' * 10}_1_{'9@N00'}.jpg\n{another}\n")
    project.dvc("repro", "sample")
    after = pd.read_parquet(project.root / "data/candidates.parquet")
    gone = set(before["owner"]) - set(after["owner"])
    assert gone == {listed["owner"], another}
    assert len(before) - len(after) == by_owner.iloc[:2].sum()
    assert read(project, "sample")["excluded"] == by_owner.iloc[:2].sum()


def test_a_planet_with_an_unknown_fault_says_which_there_are(tmp_path):
    project = make_folder(tmp_path / "folder", simulated__faults={"earthquake": 0.5})
    done = project.stage("sample", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert "earthquake" in done.stdout and "cut_off" in done.stdout


def test_a_host_that_is_down_ends_in_a_sentence_and_is_tried_again(calm, tmp_path):
    project = calm.copy(tmp_path / "clone")
    for path in (project.root / "data/.fetched").glob("*/*"):
        if not path.name.startswith("answers.sqlite"):
            path.unlink()
    project.set(simulated__faults={"server_error": 1.0})
    done = project.stage("download", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert "is down; giving up on it for now" in done.stdout
    assert "not one of" in done.stdout.splitlines()[-1]
    assert set(index_of(project)["status"]) == {Status.FAILED}
    asked = len(planet_log(project))
    assert asked < 60  # it was left alone, with hundreds of photos to fetch
    project.set(simulated__faults={})
    project.stage("download")
    assert index_of(project)["status"].tolist() == index_of(calm)["status"].tolist()


# --- limits of any source ---


def test_limits_hold_for_a_source_that_knows_none(calm, tmp_path):
    project = calm.copy(tmp_path / "clone")
    everything = pd.read_parquet(project.root / "data/candidates.parquet")
    project.set(
        sampling__region=[-10.0, 35.0, 30.0, 60.0], sampling__per_owner=2, sampling__spacing_m=500
    )
    project.stage("sample")
    some = pd.read_parquet(project.root / "data/candidates.parquet")
    assert 0 < len(some) < len(everything)
    assert some["longitude"].between(-10, 30).all() and some["latitude"].between(35, 60).all()
    assert some["owner"].value_counts().max() == 2
    counts = read(project, "sample")
    assert counts["over_owner"] > 0 and counts["too_near"] > 0
    assert "over_owner" not in read(calm, "sample")
    # Flickr was asked for the box alone.
    assert counts["outside_region"] == 0
    assert 0 < counts["rows"] < len(everything)


def test_street_view_in_a_region(tmp_path):
    project = make_folder(
        tmp_path / "folder", sampling__region=[-119.0, 33.0, -116.0, 35.0], **TINY_CALIFORNIA
    )
    project.stage("sample")
    found = pd.read_parquet(project.root / "data/candidates.parquet")
    assert found["longitude"].between(-119, -116).all()
    assert found["latitude"].between(33, 35).all()
    assert read(project, "sample")["addresses_outside_region"] > 0


# --- Street View, and money ---


@pytest.fixture(scope="module")
def street(tmp_path_factory) -> InProcess:
    """A clone that has run all stages on the simulated Street View."""
    root = tmp_path_factory.mktemp("street")
    changes = {"split.test": 0.25, "epochs": 1, "download.min_side": 32, **TINY_CALIFORNIA}
    project = InProcess(make_project(root / "clone", partition="north_south", **changes).root)
    project.dvc("remote", "add", "--default", "shelf", str(root / "shelf"))
    project.commit("a remote")
    project.output = project.dvc("repro")
    project.commit("first run")
    return project


def test_street_view_runs_through_all_stages(street):
    sample, download = read(street, "sample"), read(street, "download")
    assert sample["drawn"] == 40
    assert sample["candidates"] == download["candidates"] == 2 * sample["panoramas"]
    assert download["status"]["ok"] > 40
    candidates = pd.read_parquet(street.root / "data/candidates.parquet")
    assert set(candidates["heading"]) == {0, 180}
    assert candidates["latitude"].between(32, 42).all()  # California
    rows = read(street, "eval")["test"]
    assert {"model", "most_common_cell"} <= set(rows)
    assert all(0 <= row["right_class"] <= 100 for row in rows.values())


def test_the_estimate_comes_first_and_the_bill_after(street):
    download = read(street, "download")
    calls = download["candidates"]
    assert download["calls"] == calls == sum(served(street, "image").values())
    assert download["dollars"] == pytest.approx(0.007 * calls)
    estimate = f"about {0.007 * calls:.2f} dollars"
    assert estimate in street.output
    before, after = street.output.split(estimate)
    assert f"{calls} candidates: " not in before
    assert f"{calls} candidates: " in after


def test_metrics_diff_shows_what_an_experiment_cost(street, tmp_path):
    project = street.copy(tmp_path / "clone")
    before = read(project, "download")
    project.dvc("exp", "run", "download", "-S", "streetview.headings=3")
    after = read(project, "download")
    diff = json.loads(project.dvc("metrics", "diff", "--json"))["metrics/download.json"]
    assert diff["dollars"]["diff"] == pytest.approx(after["dollars"] - before["dollars"])
    # The direction that both share, north, was not bought again.
    assert max(served(project, "image").values()) == 1


def test_a_plain_push_leaves_it_on_this_machine(street, tmp_path):
    project = street.copy(tmp_path / "clone")
    shelf = street.root.parent / "shelf"
    assert "up to date" in project.dvc("push")
    assert not shelf.exists()
    # What may be shared still is.
    project.set(push_to=None)
    project.dvc("push")
    assert list(shelf.rglob("*.dir"))


@pytest.mark.parametrize(
    ("changes", "stage", "words"),
    [
        ({"push_to": None}, "sample", ["push_to: nowhere"]),
        ({"streetview.terms_accepted": False}, "download", ["forbid", "terms_accepted: true"]),
        ({"budget_usd": 0}, "download", ["budget_usd is 0", "at most"]),
    ],
)
def test_what_has_to_be_settled_first(street, tmp_path, changes, stage, words):
    project = street.copy(tmp_path / "clone")
    for path in (project.root / "data/.fetched").glob("*/*"):
        if path.is_file():
            path.unlink()
    project.set(**changes)
    done = project.stage(stage, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    for word in words:
        assert word in done.stdout.splitlines()[-1]
    assert not served(project, "image")


def test_the_budget_is_a_hard_stop_that_restarts_remember(tmp_path):
    project = make_folder(
        tmp_path / "folder",
        **{"download.min_side": 32, **TINY_CALIFORNIA, "budget_usd": 0.14},
        simulated__faults={"server_error": 0.3},
    )
    project.stage("sample")

    def asked() -> list[dict]:
        return [entry for entry in planet_log(project) if entry["what"] == "image"]

    for _ in range(2):
        done = project.stage("download", check=False)
        assert done.returncode == 1
        assert "budget_usd is 0.14 and 0.14 of it are spent, on 20 calls" in done.stdout
        assert len(asked()) == 20  # refusals are paid as well, until somebody proves otherwise
        assert not (project.root / "data/photos").exists()
    assert read(project, "download")["dollars"] == pytest.approx(0.14)
    assert served(project, "image")
    project.set(budget_usd=10)
    project.stage("download")
    assert read(project, "download")["calls"] == len(asked())
    assert max(served(project, "image").values()) == 1


# --- secrets ---


def test_keys_are_left_nowhere(calm, street):
    for project in (calm, street):
        assert files_with_keys(project) == []
    assert not [key for key in KEYS if key in street.output]


def test_keys_come_from_the_environment_or_a_file_that_git_ignores(calm, tmp_path):
    project = calm.copy(tmp_path / "clone")
    project.set(world="real")
    (project.root / ".env").write_text("FLICKR_API_KEY=from-file\nFLICKR_API_SECRET=hidden\n")
    assert project.git("status", "--porcelain") == " M params.yaml\n"
    program = (
        "from nogps.pipeline import open_source, params\n"
        "with open_source.open_source(params.read_params()) as (flickr, _):\n"
        "    print(flickr.api.key, flickr)"
    )

    def key(**changes) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=project.root,
            env={**environment(), **changes},
            text=True,
            capture_output=True,
            check=True,
        )
        assert "hidden" not in done.stdout
        return done.stdout.split()[0]

    assert key() == "from-file"
    assert key(FLICKR_API_KEY="from-shell") == "from-shell"


def test_other_hosts_can_stand_in_for_the_real_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("FLICKR_API_KEY", KEY)
    monkeypatch.setenv("FLICKR_API_SECRET", SECRET)
    log = tmp_path / "log.jsonl"
    with running_planet(0, 300, log=log) as planet:
        project = make_folder(
            tmp_path / "folder",
            world=planet.base,
            **{"flickr.terms": ["city"], "flickr.max_photos": 40},
        )
        project.stages("sample", "download")
    assert 0 < read(project, "sample")["candidates"] <= 40
    assert read(project, "download")["status"]["ok"] > 0
    kinds = Counter(json.loads(line)["what"] for line in log.read_text().splitlines())
    assert 1 <= kinds["search"] <= 12
    assert kinds["picture"] == read(project, "download")["candidates"]
    for path in (project.root / "data").rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_the_planet_on_the_command_line_teaches(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "planet", "--help"],
        cwd=ROOT / "src",
        text=True,
        capture_output=True,
        check=True,
        env=os.environ,
    )
    for kind in FAULTS:
        assert kind in done.stdout


@pytest.mark.parametrize(
    ("changed", "back"),
    [
        ("streetview.addresses=[/a.zip]", "streetview.addresses=[]"),
        ("flickr.licences=[4,5]", "flickr.licences=[]"),
        ("+simulated.faults.reset=0.02", "~simulated.faults.reset"),
        ("eval.benchmarks=[/b]", "eval.benchmarks=[]"),
        ("push_to=nowhere", "push_to=null"),
        ("sampling.licences=[CC0,CC BY]", f"sampling.licences=[{','.join(FREE)}]"),
        ("sampling.region=[-5,41,10,51.5]", "sampling.region=world"),
        ("sampling.photos=100", "sampling.photos=null"),
        ("flickr.terms=[a,b]", "flickr.terms=[street,city]"),
    ],
)
def test_what_s_changes_it_can_change_back(tmp_path, changed, back):
    """DVC writes params.yaml anew, and has lost line ends between a list and a comment."""
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    before = yaml.safe_load(path.read_text())
    for override in (changed, back):
        apply_overrides(path, [override])
    if "=" in back:  # the file at the root may hold something else
        name, value = back.split("=")
        *sections, key = name.split(".")
        section = before[sections[0]] if sections else before
        section[key] = yaml.safe_load(value)
    assert yaml.safe_load(path.read_text()) == before
