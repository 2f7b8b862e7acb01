"""The pipeline as its users run it: real DVC, real git, real HTTP, in a temporary clone."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nogps.model.locator import Locator
from tests.pictures import XMP, encoded, picture
from tests.project import Project, fill_folder, make_project, read

STAGES = ["sample", "download", "pack", "split", "cells", "train", "eval", "report"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Project:
    """A clone in which the default pipeline, made small, has run."""
    project = make_project(tmp_path_factory.mktemp("finished") / "clone")
    project.dvc("repro")
    project.commit("first run")
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    return finished.copy(tmp_path / "clone")


def ran(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def test_a_second_repro_does_nothing(project):
    output = project.dvc("repro")
    assert ran(output) == []
    assert "up to date" in output
    assert project.git("status", "--porcelain") == ""


def test_an_experiment_with_another_rate_reruns_train_and_what_follows_alone(project):
    assert ran(project.dvc("exp", "run", "-n", "slower", "-S", "lr=3e-4")) == STAGES[5:]
    assert "lr: 0.0003" in (project.root / "params.yaml").read_text()
    shown = json.loads(project.dvc("exp", "show", "--json"))
    experiments = [each for revision in shown for each in revision["experiments"] or []]
    assert [each["name"] for each in experiments] == ["slower"]
    params = experiments[0]["revs"][0]["data"]["params"]["params.yaml"]["data"]
    assert params["lr"] == 3e-4
    table = project.dvc(
        "exp", "show", "--drop", ".*", "--keep", "Exp|^lr$|test.model.[a-z]+_[0-9]+km"
    )
    assert "slower" in table and "0.0003" in table and "chance" not in table


def test_branches_can_be_compared(project):
    project.git("switch", "-q", "-c", "slower")
    project.set(lr=3e-4)
    assert ran(project.dvc("repro")) == STAGES[5:]
    project.commit("slower")
    diff = json.loads(project.dvc("metrics", "diff", "main", "slower", "--json"))
    changed = diff["metrics/train.json"]
    assert changed["train_loss"]["old"] != changed["train_loss"]["new"]
    assert "metrics/train.json" in project.dvc("metrics", "diff", "main", "slower")
    project.dvc("plots", "diff", "main", "slower", "--out", "plots")
    page = (project.root / "plots/index.html").read_text()
    assert "val_loss" in page and '"slower"' in page


def test_push_and_pull_carry_a_run_to_another_clone(project, tmp_path):
    project.dvc("remote", "add", "--default", "shelf", str(tmp_path / "shelf"))
    project.commit("a remote")
    project.dvc("push")
    project.run("git", "clone", "-q", str(project.root), str(tmp_path / "other"))
    other = Project(tmp_path / "other")
    other.dvc("pull")
    assert ran(other.dvc("repro")) == []
    for name in ("models/model.pt", "metrics/report.html", "data/photos/shard-00000.tar"):
        assert (other.root / name).read_bytes() == (project.root / name).read_bytes()


def test_another_split_packs_nothing_again(project):
    project.set(split__place_level=-1)
    assert ran(project.dvc("repro", "cells"))[:1] == ["split"]


def test_other_cells_leave_the_split_alone(project):
    project.set(partition="north_south")
    assert ran(project.dvc("repro")) == STAGES[4:]
    assert read(project, "cells")["classes"] == 2
    cells = pd.read_csv(project.root / "data/cells.csv")
    assert cells["photos"].sum() == read(project, "split")["photos"]["train"]


def test_a_fresh_clone_gives_the_same_data(finished, tmp_path):
    again = make_project(tmp_path / "again")
    again.dvc("repro", "cells")
    for name in (
        "candidates.parquet",
        "attribution.csv",
        "splits.parquet",
        "cells.csv",
        "photos/shard-00000.tar",
        "photos/index.parquet",
        "packed/shard-00000.tar",
        "packed/index.parquet",
    ):
        path = Path("data") / name
        assert (again.root / path).read_bytes() == (finished.root / path).read_bytes(), name


def test_fetched_photos_survive_a_rerun_of_the_stage(project):
    before = sorted((project.root / "data/.fetched").rglob("*.tar"))
    inodes = [path.stat().st_ino for path in before]
    project.dvc("repro", "--force", "--single-item", "download")
    assert [
        path.stat().st_ino for path in sorted(project.root.glob("data/.fetched/**/*.tar"))
    ] == inodes


def add_panoramas(folder: Path) -> None:
    """Ten pictures of all 360 degrees by nobody knows whom; of every third, north is known."""
    rng = np.random.default_rng(1)
    table = pd.read_csv(folder / "photos.csv")
    latitude, longitude = rng.uniform((-60, -170), (60, 170), size=(10, 2)).T
    more = pd.DataFrame(
        {
            "file": [f"around/{number}.jpg" for number in range(10)],
            "latitude": latitude,
            "longitude": longitude,
            "heading": [30 * number if number % 3 == 0 else None for number in range(10)],
            "licence": "CC BY 4.0",
        }
    )
    (folder / "around").mkdir()
    for number, file in enumerate(more["file"]):
        half = np.asarray(picture(256, 256, seed=1000 + number))
        scene = Image.fromarray(np.hstack([half, half[:, ::-1]]))  # it ends as it begins
        (folder / file).write_bytes(encoded(scene, quality=95, xmp=XMP % 512))
    pd.concat([table, more]).to_csv(folder / "photos.csv", index=False)


@pytest.fixture(scope="module")
def own_photos(tmp_path_factory) -> Project:
    """A clone that has run on somebody's folder, some of whose files are broken."""
    root = tmp_path_factory.mktemp("own")
    fill_folder(root / "album")
    album = root / "album"
    rows = (album / "photos.csv").read_text().splitlines()
    under = ["licence", *["CC BY 4.0"] * (len(rows) - 1)]
    told = [f"{row},{licence}" for row, licence in zip(rows, under, strict=True)]
    (album / "photos.csv").write_text("\n".join(told) + "\n")
    (album / "0/0.jpg").write_bytes((album / "0/0.jpg").read_bytes()[:-400])  # truncated
    Image.open(album / "0/1.jpg").save(album / "0/1.png")
    (album / "0/1.png").rename(album / "0/1.jpg")  # a PNG called .jpg
    (album / "0/2.jpg").write_text("no picture")
    (album / "0/3.jpg").unlink()
    add_panoramas(album)
    fill_folder(root / "benchmark", places=3, photos=4)
    (root / "benchmark/0/0.jpg").write_bytes(b"")
    project = make_project(
        root / "clone",
        source="folder",
        folder__path=str(album),
        cells__min_photos=4,
        cells__max_photos=30,
        download__min_side=32,
        split__test=0.25,
        eval__benchmarks=[str(root / "benchmark")],
    )
    project.output = project.dvc("repro")
    project.commit("first run")
    return project


def test_broken_files_of_a_folder_are_counted_and_the_rest_is_used(own_photos):
    index = pd.read_parquet(own_photos.root / "data/photos/index.parquet").set_index("photo_id")
    assert index.loc["0/0.jpg", "status"] == "not_an_image"
    assert index.loc["0/1.jpg", "status"] == "ok"
    assert index.loc["0/2.jpg", "status"] == "not_an_image"
    assert index.loc["0/3.jpg", "status"] == "gone"
    packed = pd.read_parquet(own_photos.root / "data/packed/index.parquet").set_index("photo_id")
    assert "0/0.jpg" not in packed.index
    assert packed.loc["0/1.jpg", "status"] == "ok"
    assert read(own_photos, "pack")["status"] == {"ok": 117 + 10 * 4, "unreadable": 0}


def test_every_view_of_a_panorama_is_a_photo_from_pack_to_page(own_photos, tmp_path):
    root = own_photos.root
    assert read(own_photos, "pack")["panoramas"] == 10
    index = pd.read_parquet(root / "data/packed/index.parquet").set_index("photo_id")
    views = index[index["candidate_id"] != index.index]
    assert list(views.index[:4]) == [f"around/0.jpg_{each:03d}" for each in (0, 90, 180, 270)]
    assert views.groupby("candidate_id").size().tolist() == [4] * 10
    assert views.loc["around/3.jpg_180", ["heading", "bearing"]].tolist() == [180, 90]
    assert views.loc["around/4.jpg_180", "bearing"] == 180
    assert views["heading"].notna().sum() == 4 * 4

    folds = pd.read_parquet(root / "data/splits.parquet").set_index("photo_id")["fold"]
    assert sorted(folds.index) == sorted(index.index)
    assert folds.groupby(index["candidate_id"]).nunique().max() == 1
    assert set(read(own_photos, "split")["shared_between_folds"].values()) == {0}
    predictions = pd.read_parquet(root / "data/predictions.parquet").query("set == 'test'")
    assert sorted(predictions["photo_id"]) == sorted(folds.index[folds == "test"])
    assert predictions["distance_km"].notna().all()

    code = """
import json, sys
from pathlib import Path
from nogps.pipeline import params, site
photos = site.showable(params.read_params())[["photo_id", "candidate_id", "bearing"]]
print(json.dumps([site.game(Path(sys.argv[1], "game"), 100), photos.to_dict("records")]))
"""
    done = own_photos.run(sys.executable, "-c", code, str(tmp_path))
    shown, photos = json.loads(done.stdout.splitlines()[-1])
    assert sorted(each["photo_id"] for each in photos) == sorted(predictions["photo_id"])
    assert {each["candidate_id"] for each in photos} & set(views["candidate_id"])
    for file, photo in zip(shown, photos, strict=True):
        image = Image.open(tmp_path / file["file"])
        original = Image.open(root.parent / "album" / photo["candidate_id"])
        if photo["photo_id"] == photo["candidate_id"]:
            assert image.size == original.size
            continue
        assert image.size == (1024, 1024)
        at = round((0.5 + photo["bearing"] / 360) * 512 - 0.5) % 512
        seen, there = image.getpixel((512, 512)), original.getpixel((at, 128))
        assert max(abs(a - b) for a, b in zip(seen, there, strict=True)) < 12


def test_what_own_photos_ask_of_a_model_is_told(own_photos):
    lines = own_photos.output.splitlines()
    assert "127 photos lack an author or a link, though their licence asks for both" in lines
    assert "photos under CC BY 4.0 (127)" in lines
    carries = "CC BY 4.0 (attribution: 127 of 127 photos under CC BY)"
    assert f"a model that learns from them must carry: {carries}" in lines
    about = Locator.load(own_photos.root / "models/model.pt").about
    assert about["model_licence"].startswith("CC BY 4.0 (attribution: ")
    assert about["model_licence"] in (own_photos.root / "metrics/report.html").read_text("utf-8")


def test_a_benchmark_counts_its_unreadable_photo_as_a_miss(own_photos):
    rows = read(own_photos, "eval")["benchmark"]
    assert {row["n"] for row in rows.values()} == {12}
    predictions = pd.read_parquet(own_photos.root / "data/predictions.parquet")
    missed = predictions[(predictions["set"] == "benchmark") & predictions["distance_km"].isna()]
    assert missed["photo_id"].tolist() == ["0/0.jpg"]
    assert rows["model"]["continent_2500km"] <= 100 * 11 / 12


def test_an_untouched_folder_reruns_nothing_and_a_changed_file_what_it_must(own_photos, tmp_path):
    project = own_photos.copy(tmp_path / "clone")
    album = Path(tmp_path / "album")
    fill_folder(album)
    project.set(folder__path=str(album))
    assert ran(project.dvc("repro", "cells")) == STAGES[:5]
    assert ran(project.dvc("repro", "cells")) == []
    photo = album / "5/5.jpg"
    photo.write_bytes((album / "5/5.jpg").read_bytes() + b"more")  # other bytes, same picture
    assert ran(project.dvc("repro", "cells"))[:3] == ["sample", "download", "pack"]
    (album / "photos.csv").write_text((album / "photos.csv").read_text().replace("5-5", "5-6"))
    rerun = ran(project.dvc("repro", "cells"))
    assert "pack" not in rerun
    assert {"sample", "split"} <= set(rerun)
