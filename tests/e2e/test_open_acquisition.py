"""Sampling and downloading from the open sources as users run them, in good times and in bad."""

from collections import Counter

import pandas as pd
import pytest
import yaml

from nogps.acquire.candidate import Status
from tests.project import (
    Project,
    answers,
    files_with_keys,
    index_of,
    killed,
    planet_log,
    read,
)
from tests.stages import InProcess, make_folder

OPEN = {"panoramax": "asset", "commons": "file", "mapillary": "thumb"}  # what pictures are called


def few(source: str) -> dict:
    """Parameters for which a source finds and fetches 150 photos in a few seconds."""
    params = {"simulated.photos": 1200, "sampling.photos": 150, "sampling.calls": 4000}
    params["sampling.per_owner"] = 8
    if source == "commons":  # in the world, most of its calls find nothing
        params["sampling.region"] = [-10.0, 36.0, 30.0, 60.0]
    return params


@pytest.fixture(scope="module", params=OPEN)
def open_calm(request, tmp_path_factory) -> InProcess:
    """A folder that has sampled and downloaded from an open source without any trouble."""
    root = tmp_path_factory.mktemp(request.param) / "folder"
    project = make_folder(root, source=request.param, **few(request.param))
    project.output = "".join(project.stage(name).stdout for name in ("sample", "download"))
    return project


def shards(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project.root / "data/photos").glob("*.tar")}


def source_of(project: Project) -> str:
    return yaml.safe_load((project.root / "params.yaml").read_text())["source"]


def test_open_sources_with_faults_and_kills_lose_nothing(open_calm, tmp_path):
    passing = ["too_many", "server_error", "reset", "cut_off", "truncated"]
    passing += ["api_error", "api_reset", "api_too_many", "api_maxlag", "api_limit", "api_expired"]
    faults = dict.fromkeys(passing, 0.02) | dict.fromkeys(["gone", "not_an_image"], 0.04)
    faults["api_maxlag"] = 0.003  # each asks for a second's pause
    source = source_of(open_calm)
    folder, params = tmp_path / "folder", few(source)
    project = make_folder(folder, source=source, simulated__faults=faults, **params)

    searching = ("items", "files", "images")
    killed(project, "sample", answers(open_calm, *searching) / 4, *searching)
    assert not (project.root / "data/candidates.parquet").exists()
    project.stage("sample")
    ours, theirs = (
        pd.read_parquet(each.root / "data/candidates.parquet") for each in (project, open_calm)
    )
    pd.testing.assert_frame_equal(ours, theirs)
    searches = Counter(
        entry["path"]
        for entry in planet_log(project)
        if entry["what"] in searching and not entry["fault"]
    )
    # But for what was on its way at the kill.
    assert sum(searches.values()) - len(searches) <= 24
    what = OPEN[source]
    for share in (0.3, 0.7):
        killed(project, "download", share * len(ours), what)
        assert not (project.root / "data/photos/index.parquet").exists()
    project.stage("download")
    index = index_of(project)
    counts = index["status"].value_counts().to_dict()
    assert index["photo_id"].tolist() == ours["photo_id"].tolist()
    assert {Status.OK, Status.GONE, Status.NOT_AN_IMAGE} <= set(counts)
    assert Status.FAILED not in counts
    before = len(planet_log(project))
    project.stage("download")
    assert len(planet_log(project)) == before
    kept = index[index["status"] == Status.OK].set_index("photo_id")["sha256"]
    assert kept.equals(index_of(open_calm).set_index("photo_id")["sha256"][kept.index])


def test_open_sources_say_what_they_will_ask_and_that_it_is_free(open_calm):
    assert "looking for 150 photos" in open_calm.output
    assert open_calm.output.count("0 dollars") == 2  # before the search, and before the pictures
    candidates = len(pd.read_parquet(open_calm.root / "data/candidates.parquet"))
    assert f"{candidates} of {candidates} pictures to fetch from" in open_calm.output
    sample, download = read(open_calm, "sample"), read(open_calm, "download")
    assert sample["candidates"] == download["candidates"] == sum(download["status"].values())
    assert download["dollars"] == 0
    candidates = pd.read_parquet(open_calm.root / "data/candidates.parquet")
    assert candidates["owner"].nunique() > 8
    sequences = candidates.loc[candidates["sequence"] != "", "sequence"].value_counts()
    assert (sequences <= 5).all()
    assert len(sequences) == 0 or source_of(open_calm) != "commons"


def test_what_training_reads_knows_no_gps_and_shares_nothing(open_calm, tmp_path):
    project = open_calm.copy(tmp_path / "clone")
    project.stages("pack", "split")
    index, packed = index_of(project), pd.read_parquet(project.root / "data/packed/index.parquet")
    pack, split = read(project, "pack"), read(project, "split")
    candidates = pd.read_parquet(project.root / "data/candidates.parquet").set_index("photo_id")
    around = candidates.loc[index.loc[index["status"] == Status.OK, "photo_id"], "field_of_view"]
    if source_of(project) == "panoramax":
        assert any(b"Exif" in body and b"GPano" in body for body in shards(project).values())
    else:
        assert pack["panoramas"] == (around == 360).sum()
    assert pack["photos"] == len(around) + 3 * pack["panoramas"] == sum(split["photos"].values())
    assert (pack["panoramas"] > 10) == (source_of(project) != "commons")
    assert set(split["shared_between_folds"].values()) == {0}
    for path in (project.root / "data/packed").glob("*.tar"):
        body = path.read_bytes()
        assert not [mark for mark in (b"Exif", b"GPano", b"http://ns.adobe") if mark in body]
    # North is first where it is known.
    views = packed[packed["candidate_id"] != packed["photo_id"]]
    known = views["heading"].notna()
    offset = views["photo_id"].str.rsplit("_", n=1).str[1].astype(float)
    assert (views.loc[known, "heading"] == offset[known]).all()
    assert known.equals(
        candidates.loc[views["candidate_id"], "heading"].notna().set_axis(views.index)
    )


def test_every_picture_that_is_kept_has_its_credit(open_calm):
    credits = pd.read_csv(open_calm.root / "data/attribution.csv", dtype=str, keep_default_na=False)
    index = index_of(open_calm)
    assert (
        credits["photo_id"].tolist() == index.loc[index["status"] == Status.OK, "photo_id"].tolist()
    )
    assert (credits[["title", "author", "licence", "page_url"]] != "").all().all()
    public = credits["licence"].isin(["CC0 1.0", "Public domain"])
    assert credits.loc[~public, "licence_url"].str.startswith("http").all()


def test_an_allow_list_keeps_other_licences_out(open_calm, tmp_path):
    if source_of(open_calm) == "mapillary":
        pytest.skip("all of its pictures have one licence")
    project = open_calm.copy(tmp_path / "clone")
    project.set(sampling__licences=["CC BY"])
    project.stage("sample")
    licences = pd.read_parquet(project.root / "data/candidates.parquet")["licence"]
    assert licences.str.fullmatch(r"CC BY \d\.\d").all()
    assert read(project, "sample")["licence_not_wanted"] > 0


def test_imports_of_excluded_photos_and_their_owners_stay_out(open_calm, tmp_path):
    if source_of(open_calm) != "commons":
        pytest.skip("only Commons has imports")
    project = open_calm.copy(tmp_path / "folder")
    before = pd.read_parquet(project.root / "data/candidates.parquet")
    listed = before[before["flickr_id"] != ""].iloc[0]
    with (project.root / "data/exclude.txt").open("a") as exclude:
        exclude.write(f"{listed['flickr_id']}\n")
    project.stage("sample")
    after = pd.read_parquet(project.root / "data/candidates.parquet")
    assert listed["flickr_id"] not in set(after["flickr_id"])
    assert listed["owner"] not in set(after["owner"])
    assert read(project, "sample")["excluded"] == (before["owner"] == listed["owner"]).sum()


@pytest.mark.parametrize(
    ("source", "changes", "words"),
    [
        ("panoramax", {"sampling.places": "weights"}, ["sampling.weights", "belong together"]),
        ("commons", {"sampling.weights": "data/cells.csv"}, ["sampling.places"]),
        ("commons", {"sampling.region": [1.0, 5.0, 2.0, 4.0]}, ["sampling.region", "no box"]),
        ("commons", {"sampling.region": "nowhere.geojson"}, ["nowhere.geojson", "cannot be read"]),
        (
            "panoramax",
            {"sampling.taken_from": "2020-02-01", "sampling.taken_to": "2020-01-01"},
            ["sampling.taken_from", "swap"],
        ),
        ("mapillary", {"sampling.licences": ["CC0"]}, ["sampling.licences", "CC BY-SA"]),
        ("mapillary", {"world": "real"}, ["MAPILLARY_TOKEN", "https://"]),
        ("panoramax", {"sampling.taken_from": "2090-01-01"}, ["no photo that matches"]),
    ],
)
def test_what_a_search_cannot_do_is_one_sentence(tmp_path, monkeypatch, source, changes, words):
    monkeypatch.delenv("MAPILLARY_TOKEN", raising=False)
    tiny = {"simulated.photos": 50, "sampling.calls": 30}
    project = make_folder(tmp_path / "folder", source=source, **tiny, **changes)
    done = project.stage("sample", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    for word in words:
        assert word in done.stdout.splitlines()[-1]


def test_keys_are_left_nowhere(open_calm):
    assert files_with_keys(open_calm) == []
