"""What a user may get wrong, as they see it: a stage's exit code and its one sentence."""

import json
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from nogps.earth import s2
from nogps.evaluate import regions
from nogps.model import objectives
from nogps.model.classes import Partition
from nogps.model.settings import Augmentation
from nogps.pipeline import training
from nogps.pipeline.params import read_params
from tests.project import ROOT, environment, fill_folder
from tests.stages import STAGES, InProcess, make_folder

FIRST = ["sample", "download", "pack", "split", "cells"]


@pytest.mark.parametrize("script", ["train", "eval"])
def test_openmp_is_calmed_before_torch_is_there(script):
    """It reads the variable when torch is imported, which is where this process ends."""
    code = (
        "import os, runpy, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            sys.exit(os.environ.get('GOMP_SPINCOUNT'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"runpy.run_path('src/{script}.py')\n"
    )
    environ = {name: value for name, value in environment().items() if name != "GOMP_SPINCOUNT"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert done.stderr.strip() == "1000"


def refused(project: InProcess, name: str, *words: str) -> str:
    """The stage fails with one line that holds the words, and leaves no traceback."""
    done = project.stage(name, check=False)
    lines = [line for line in done.stdout.splitlines() if line.strip() and "it/s" not in line]
    lines = [line for line in lines if "photo/s]" not in line]
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    assert lines[-1].startswith(f"{name}: "), done.stdout
    for word in words:
        assert word in lines[-1]
    return lines[-1]


@pytest.fixture(scope="module")
def folder_project(tmp_path_factory) -> InProcess:
    """A project whose data stages have run on a folder."""
    root = tmp_path_factory.mktemp("stages")
    fill_folder(root / "album")
    project = make_folder(
        root / "clone",
        source="folder",
        folder__path="../album",
        cells__min_photos=4,
        cells__max_photos=30,
        download__min_side=32,
        epochs=1,
    )
    project.stages(*FIRST)
    return project


@pytest.fixture
def project(folder_project, tmp_path) -> InProcess:
    shutil.copytree(folder_project.root.parent / "album", tmp_path / "album")
    return folder_project.copy(tmp_path / "clone")


SCRIPTS = [path for path in (ROOT / "src").glob("*.py") if "__main__" in path.read_text()]


@pytest.mark.parametrize("path", sorted(SCRIPTS), ids=lambda path: path.stem)
def test_help_teaches(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.setenv("COLUMNS", "250")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "Writes " in said or "Print" in said
    assert "dvc repro" in said or path.stem not in STAGES


@pytest.mark.parametrize("name", ["download", "pack", "split", "cells", "train", "eval"])
def test_a_stage_without_its_input_says_what_makes_it(project, name):
    for folder in ("data", "models"):
        shutil.rmtree(project.root / folder)
    refused(project, name, "is not there", "dvc repro")


def test_an_empty_folder(project, tmp_path):
    (tmp_path / "none").mkdir()
    project.set(folder__path="../none")
    before = (project.root / "data/candidates.parquet").read_bytes()
    refused(project, "sample", "folder.path")
    assert (project.root / "data/candidates.parquet").read_bytes() == before


@pytest.mark.parametrize("kept", [1, 30])
def test_too_few_photos(project, tmp_path, kept):
    table = pd.read_csv(tmp_path / "album/photos.csv").head(kept)
    table.to_csv(tmp_path / "album/photos.csv", index=False)
    project.set(cells__min_photos=40, cells__max_photos=50)
    project.stages("sample", "download", "pack")
    if kept == 1:
        refused(project, "split", "no photos are left", "give more photos")
    else:
        project.stage("split")
        refused(project, "cells", "cells.min_photos")


def test_all_photos_of_one_owner(project, tmp_path):
    pd.read_csv(tmp_path / "album/photos.csv").assign(owner="me").to_csv(
        tmp_path / "album/photos.csv", index=False
    )
    project.stages("sample", "download", "pack")
    before = (project.root / "data/splits.parquet").read_bytes()
    refused(project, "split", "no photos are left for the", "owner")
    assert (project.root / "data/splits.parquet").read_bytes() == before


def test_a_photos_csv_with_a_latitude_of_91(project, tmp_path):
    path = tmp_path / "album/photos.csv"
    path.write_text(path.read_text() + "0/9.jpg,91,0,me\n")
    refused(project, "sample", "photos.csv", "latitude", "91")


def test_no_photo_that_can_be_fetched(project, tmp_path):
    for path in (tmp_path / "album").rglob("*.jpg"):
        path.write_text("no picture")
    project.stage("sample")
    refused(project, "download", "not one of 120 candidates")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": "missing.pth"}, ("weights", "missing.pth")),
        ({"backbone": "resnet19"}, ("backbone", "resnet18")),
        ({"backbone": "vit_b_32"}, ("image_size", "224")),
        ({"lr": 1e30, "epochs": 3}, ("lr", "a tenth")),
        ({"epochs": 0}, ("epochs", "weights")),
    ],
)
def test_what_training_cannot_do(project, changes, words):
    project.set(**changes)
    refused(project, "train", *words)


def test_the_parameters_reach_the_training(project, monkeypatch):
    augment = {"crop": 0.9, "colour": 0.1, "erase": 0.3}
    project.set(loss="multilabel", lr=0.003, ema_decay=0.7, augment=augment)
    monkeypatch.chdir(project.root)
    start = training.setup(read_params())
    assert start.train.photos.augmentation == Augmentation(**augment)
    assert (start.settings.lr, start.settings.ema_decay) == (0.003, 0.7)
    assert not start.settings.pretrained
    assert isinstance(start.objective, objectives.MultiLabel)
    splits = pd.read_parquet("data/splits.parquet")
    for fold, photos in (("train", start.train), ("val", start.val)):
        assert len(photos.photos) == len(photos.latitude) == (splits["fold"] == fold).sum()


def test_validation_photos_of_which_none_lies_in_a_class(project):
    """As where little was found; training ends with a model all the same."""
    cells = pd.read_csv(project.root / "data/cells.csv", dtype={"token": str, "parent": str})
    cells.iloc[:-1].to_csv(project.root / "data/cells.csv", index=False)
    candidates = pd.read_parquet(project.root / "data/candidates.parquet").set_index("photo_id")
    splits = pd.read_parquet(project.root / "data/splits.parquet")
    places = candidates.loc[splits["photo_id"]]
    classes = Partition.from_csv(project.root / "data/cells.csv")
    outside = classes.assign(places["latitude"], places["longitude"]) < 0
    assert 4 < outside.sum() < len(splits) / 2
    splits["fold"] = np.where(outside, "val", "train")
    splits.to_parquet(project.root / "data/splits.parquet", index=False)
    assert "no validation photo lies in a class" in project.stage("train").stdout
    told = json.loads((project.root / "metrics/train.json").read_text())
    assert told["val_accuracy"] is None


def test_another_run_has_another_checkpoint(project, monkeypatch):
    monkeypatch.chdir(project.root)

    def run_id(**changes) -> str:
        project.set(**changes)
        return training.run_id(read_params())

    first = run_id()
    assert run_id(workers=3, usd_per_hour=2.0, launch="torchrun") == first
    others = [run_id(head_lr=0.5), run_id(augment__erase=0.5), run_id(loss="softmax")]
    (project.root / "data/cells.csv").write_text("others")
    assert len({first, *others, run_id()}) == 5


def test_a_benchmark_that_is_not_there(project):
    project.stage("train")
    project.set(eval__benchmarks=["../nowhere"])
    refused(project, "eval", "nowhere")
    assert not list((project.root / "metrics").glob("tmp*"))


def sampled(project: InProcess, **changes) -> tuple[pd.DataFrame, dict]:
    project.set(**{f"sampling__{name}": value for name, value in changes.items()})
    project.stage("sample")
    counts = json.loads((project.root / "metrics/sample.json").read_text())
    return pd.read_parquet(project.root / "data/candidates.parquet"), counts


def test_candidates_are_drawn_by_the_weights_of_an_earlier_run(project):
    everything, counts = sampled(project)
    assert (counts["candidates"], counts["not_drawn"]) == (120, 0)
    table = regions.by_region(
        everything["latitude"], everything["longitude"], np.full(120, 10.0), 2
    )
    hard = table["region"].iloc[0]
    weights = np.where(table["region"] == hard, 50.0, 0.5)
    weighted = project.root / "weights.csv"
    table.assign(weight=weights, fold="val").to_csv(weighted, index=False)
    evenly, _ = sampled(project, photos=30)
    drawn, counts = sampled(project, photos=30, weights="weights.csv")
    assert (counts["candidates"], counts["not_drawn"]) == (30, 90)
    assert counts["owners"] == drawn["owner"].nunique() == 30
    for few in (evenly, drawn):
        kept = everything[everything["photo_id"].isin(few["photo_id"])]
        pd.testing.assert_frame_equal(kept.reset_index(drop=True), few)

    def there(photos: pd.DataFrame) -> int:
        ids = s2.parent(s2.cell_ids(photos["latitude"], photos["longitude"]), 2)
        return np.count_nonzero(ids == s2.from_token(hard))

    assert there(evenly) < there(drawn) == there(everything)
    project.set(sampling__photos=120)
    refused(project, "sample", "sampling.photos: 120 keeps all 120 candidates", "nothing to weigh")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"photos": 30, "weights": "missing.csv"}, ("sampling.weights", "missing.csv")),
        ({"photos": 30, "weights": "metrics/regions.csv"}, ("sampling.weights", "copy it")),
        ({"photos": 30, "weights": "data/../metrics/regions.csv"}, ("written anew", "copy it")),
        ({"photos": 30, "weights": "data/cells.csv"}, ("data/cells.csv", "no column fold")),
        ({"photos": 0, "weights": "data/cells.csv"}, ("sampling.photos", "how many")),
    ],
)
def test_weights_that_cannot_be_used(project, changes, words):
    before = (project.root / "data/candidates.parquet").read_bytes()
    project.set(**{f"sampling__{name}": value for name, value in changes.items()})
    refused(project, "sample", *words)
    assert (project.root / "data/candidates.parquet").read_bytes() == before


def test_flickr_without_a_key_asks_for_one(project, monkeypatch):
    project.set(source="flickr", world="real")
    for name in ("FLICKR_API_KEY", "FLICKR_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    refused(project, "sample", "FLICKR_API_KEY", "FLICKR_API_SECRET")
