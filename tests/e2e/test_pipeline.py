"""The pipeline as its users run it: real DVC, real git, real HTTP, in a temporary clone."""

import ast
import csv
import json
import re
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from nogps.earth import geo
from nogps.evaluate import regions
from nogps.model.batches import Photos, predict
from nogps.model.locator import Locator
from nogps.photos import images
from nogps.photos.shards import Shards, places, read_index
from nogps.pipeline import training
from nogps.rights import credits, licences
from nogps.train import loop
from tests.pictures import XMP, encoded, picture
from tests.project import ROOT, Project, fill_folder, make_project, read

pytestmark = pytest.mark.pipeline
STAGES = ["sample", "download", "pack", "split", "cells", "train", "eval"]


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


def imported(path: Path) -> set[Path]:
    """Files of ours that a file imports, directly or through others."""
    found, todo = set(), [path]
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        nodes = ast.walk(ast.parse(path.read_text()))
        for node in (each for each in nodes if isinstance(each, ast.Import | ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [node.module, *(f"{node.module}.{name}" for name in names)]
            modules = [ROOT / "src" / name.replace(".", "/") for name in names if name]
            todo += [each for each in (m.with_suffix(".py") for m in modules) if each.exists()]
            for package in (each for each in modules if (each / "__init__.py").exists()):
                todo += package.glob("*.py") if package.name == "simulated" else []
    return found


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_all_the_code_that_it_runs(name):
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    deps = [ROOT / dep for dep in stages[name]["deps"]]
    # These decide how things are said and written, not what.
    harmless = {ROOT / "src" / each for each in ("stage.py", "nogps/errors.py", "nogps/files.py")}
    for path in imported(ROOT / f"src/{name}.py") - harmless:
        assert any(path == dep or dep in path.parents for dep in deps), path.relative_to(ROOT)


def test_what_decides_a_checkpoint_is_what_decides_the_stage():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert set(stages["train"]["params"]) == training.DECISIVE
    settings = {field.name for field in fields(loop.Settings)}
    assert settings - training.DECISIVE == {"workers", "pretrained"}  # that follows from weights


def test_every_file_and_column_of_the_contract(finished):
    columns = {
        "data/candidates.parquet": "photo_id source latitude longitude owner url taken_at heading "
        "licence page_url author title licence_url",
        "data/photos/index.parquet": "photo_id status shard offset size width height sha256 "
        "heading field_of_view",
        "data/packed/index.parquet": "photo_id candidate_id status shard offset size width height "
        "phash heading bearing",
        "data/splits.parquet": "photo_id fold",
        "data/predictions.parquet": "photo_id set latitude longitude guess_latitude "
        "guess_longitude distance_km loss confidence label guess_label radius_50_km radius_90_km "
        "nearest_train_km owner author title licence licence_url page_url",
    }
    for name, wanted in columns.items():
        assert set(wanted.split()) <= set(pd.read_parquet(finished.root / name).columns), name
    for name in [
        "data/photos/shard-00000.tar",
        "data/packed/shard-00000.tar",
        "data/attribution.csv",
        "data/cells.csv",
        "models/model.pt",
        "metrics/report.html",
        "metrics/regions.csv",
        "metrics/train/plots/metrics/val_loss.tsv",
        *(f"metrics/{stage}.json" for stage in STAGES),
    ]:
        assert (finished.root / name).stat().st_size > 0, name


def test_every_key_of_the_table(finished):
    table = read(finished, "eval")["test"]
    assert list(table) == [
        "model",
        "best_cell",
        "nearest_neighbour",
        "most_common_cell",
        "chance",
    ]
    keys = {"n", *geo.RADII_KM, "right_class", "median_km", "mean_km", "geoguessr", "ci95"}
    sureness = {"radius_50_km", "radius_90_km", "within_radius_50", "within_radius_90"}
    sureness |= {"calibration_error", "right_class_balanced"}
    splits = pd.read_parquet(finished.root / "data/splits.parquet")
    for name, row in table.items():
        assert set(row) == (keys | sureness if name == "model" else keys)
        assert row["n"] == (splits["fold"] == "test").sum()
        for radius, (low, high) in row["ci95"].items():
            assert low <= row[radius] <= high


def test_every_photo_is_accounted_for(finished):
    sample, download, pack, split = (read(finished, stage) for stage in STAGES[:4])
    assert sample["candidates"] == download["candidates"] == sum(download["status"].values())
    assert download["status"]["ok"] == pack["photos"] == sum(pack["status"].values())
    assert sum(split["photos"].values()) == pack["photos"]
    assert set(split["shared_between_folds"].values()) == {0}
    assert set(split["shared_between_folds"]) == {
        "owners",
        "sequences",
        "places",
        "near_duplicates",
    }
    assert pack["panoramas"] == 0


def test_every_photo_of_the_set_has_its_attribution(finished):
    with (finished.root / "data/attribution.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    index = read_index(finished.root / "data/photos")
    ok = set(index.loc[index["status"] == "ok", "photo_id"])
    candidates = pd.read_parquet(finished.root / "data/candidates.parquet")
    expected = candidates[candidates["photo_id"].isin(ok)]
    assert [row["photo_id"] for row in found] == expected["photo_id"].tolist()
    assert 0 < len(found) < len(candidates)
    for row, told in zip(found, expected.itertuples(), strict=True):
        assert list(row) == list(credits.COLUMNS)
        assert row["author"] == row["owner"] == told.owner  # this planet's people have no names
        assert row["title"] == told.photo_id
        assert (row["licence"], row["page_url"]) == (told.licence, told.page_url)
        known = licences.licence_of(told.licence)
        assert row["licence_url"] == (known.url if known else "")


def test_every_photo_in_the_report_has_a_credit(finished):
    html = (finished.root / "metrics/report.html").read_text("utf-8")
    shown = html.count('"jpeg":"/9j/')
    listed = html[html.index('<ol class="credits">') :].split("</ol>")[0]
    test = pd.read_parquet(finished.root / "data/predictions.parquet")
    assert listed.count("<li>") == shown == len(test)
    assert all(f"<bdi>{photo_id}</bdi>" in listed for photo_id in test["photo_id"])


def test_a_model_says_which_licence_it_must_carry(project):
    def told(world: str) -> str:
        project.set(world=world)
        code = (
            "from nogps.pipeline import params, training\n"
            "print(training.about(params.read_params())['model_licence'])"
        )
        return project.run(sys.executable, "-c", code).stdout.strip().splitlines()[-1]

    drawn = Locator.load(project.root / "models/model.pt").about["model_licence"]
    assert drawn == told("simulated") == str(licences.for_model(pd.DataFrame(), drawn=True))
    assert drawn in (project.root / "metrics/report.html").read_text("utf-8")
    splits = pd.read_parquet(project.root / "data/splits.parquet").query("fold == 'train'")
    train_fold = pd.read_parquet(project.root / "data/candidates.parquet").merge(splits)
    real = told("real")
    assert real == str(licences.for_model(train_fold))
    assert real.startswith("only what law or the owners allow (not determined: ")


def test_the_table_and_the_predictions_agree(finished):
    predictions = pd.read_parquet(finished.root / "data/predictions.parquet")
    distance = geo.distance_km(
        *(
            predictions[name]
            for name in ("latitude", "longitude", "guess_latitude", "guess_longitude")
        )
    )
    model = read(finished, "eval")["test"]["model"]
    assert model["country_750km"] == pytest.approx(100 * (distance <= 750).mean(), abs=1e-3)


def test_photos_are_packed_at_the_size_that_a_model_is_shown_later(finished):
    params = yaml.safe_load((finished.root / "params.yaml").read_text())
    index = pd.read_parquet(finished.root / "data/packed/index.parquet").query("status == 'ok'")
    sides = index[["width", "height"]].min(axis=1)
    assert set(sides) == {images.pack_side(params["image_size"])}


def test_eval_asks_the_model_as_it_was_saved(finished):
    """And adjusts nothing to the photos that it is asked about."""
    predictions = pd.read_parquet(finished.root / "data/predictions.parquet")
    index = read_index(finished.root / "data/packed").query("status == 'ok'")
    asked = predictions.merge(index, on="photo_id", validate="one_to_one")
    locator = Locator.load(finished.root / "models/model.pt")
    shards = Shards(finished.root / "data/packed")
    photos = Photos(shards, places(asked), locator.image_size)
    answers = locator.answers(predict(locator.network, photos, 16, 0))
    for name in ("confidence", "radius_50_km", "radius_90_km"):
        assert asked[name].to_numpy() == pytest.approx(getattr(answers, name), rel=1e-4), name
    assert asked["guess_latitude"].to_numpy() == pytest.approx(answers.latitude)
    assert asked["guess_longitude"].to_numpy() == pytest.approx(answers.longitude)


def test_regions_are_those_of_their_fold(finished):
    table = pd.read_csv(finished.root / "metrics/regions.csv", dtype={"region": str})
    folds = pd.read_parquet(finished.root / "data/splits.parquet")["fold"].value_counts()
    for fold in ("val", "test"):
        assert table.loc[table["fold"] == fold, "n"].sum() == folds[fold]
    asked = pd.read_parquet(finished.root / "data/predictions.parquet")
    columns = (asked[name] for name in ("latitude", "longitude", "distance_km"))
    expected = regions.by_region(*columns, level=2).set_index("region")
    found = table[table["fold"] == "test"].set_index("region")
    assert found["geoguessr"].to_dict() == pytest.approx(expected["geoguessr"].to_dict(), abs=1e-5)


def test_a_second_repro_does_nothing(project):
    output = project.dvc("repro")
    assert ran(output) == []
    assert "up to date" in output
    assert project.git("status", "--porcelain") == ""


def test_an_experiment_with_another_rate_reruns_train_and_eval_alone(project):
    assert ran(project.dvc("exp", "run", "-n", "slower", "-S", "lr=3e-4")) == ["train", "eval"]
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


def test_what_training_cost_is_in_its_metrics(project):
    project.set(usd_per_hour=3600)  # a dollar a second
    project.dvc("repro", "--force", "--single-item", "train")
    numbers = read(project, "train")
    assert numbers["dollars"] == pytest.approx(3600 * numbers["hours"], abs=0.2)
    assert numbers["dollars"] > numbers["seconds"] > 0
    assert numbers["photos_per_second"] > 0


def test_training_and_calibration_never_see_the_test_fold(project):
    """Where its photos were taken, and what they show, makes no difference to the model."""
    before = torch.load(project.root / "models/model.pt")
    splits = pd.read_parquet(project.root / "data/splits.parquet")
    test = set(splits.loc[splits["fold"] == "test", "photo_id"])
    for name, spoil in (
        ("data/candidates.parquet", {"latitude": 1.0, "longitude": 2.0, "owner": "nobody"}),
        ("data/packed/index.parquet", {"offset": 0, "size": 1}),
    ):
        path = project.root / name
        table = pd.read_parquet(path)
        table.loc[table["photo_id"].isin(test), list(spoil)] = list(spoil.values())
        path.unlink()  # DVC's cache holds the same bytes
        table.to_parquet(path, index=False)
    project.stage("train")
    after = torch.load(project.root / "models/model.pt")
    assert after["calibration"] == before["calibration"]
    for name, value in before["weights"].items():
        assert torch.equal(after["weights"][name], value), name


def test_branches_can_be_compared(project):
    project.git("switch", "-q", "-c", "slower")
    project.set(lr=3e-4)
    assert ran(project.dvc("repro")) == ["train", "eval"]
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
    assert ran(project.dvc("repro")) == ["cells", "train", "eval"]
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
