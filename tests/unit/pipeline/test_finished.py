"""What all stages leave when they have run."""

import csv

import pandas as pd
import pytest
import torch
import yaml

from nogps.dataset import tables
from nogps.earth import geo
from nogps.evaluate import regions
from nogps.model.batches import Photos, predict
from nogps.model.locator import Locator
from nogps.photos import images
from nogps.photos.shards import Shards, byte_ranges, read_index
from nogps.pipeline import paths, training
from nogps.pipeline.params import read_params
from nogps.rights import credits, licences
from tests.project import read
from tests.stages import STAGES, InProcess


@pytest.fixture
def project(finished, tmp_path) -> InProcess:
    return finished.copy(tmp_path / "copy")


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
        *(f"metrics/{stage}.json" for stage in STAGES if stage != "report"),
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


def test_a_model_says_which_licence_it_must_carry(project, monkeypatch):
    monkeypatch.chdir(project.root)

    def told(world: str) -> str:
        project.set(world=world)
        photos = tables.readable(
            tables.read_photos(paths.PACKED, paths.CANDIDATES, paths.SPLITS), "train"
        )
        return training.about(read_params(), photos)["model_licence"]

    drawn = Locator.load(project.root / "models/model.pt").about["model_licence"]
    assert drawn == told("simulated") == licences.for_model(pd.DataFrame(), synthetic=True)
    assert drawn in (project.root / "metrics/report.html").read_text("utf-8")
    splits = pd.read_parquet(project.root / "data/splits.parquet").query("fold == 'train'")
    train_fold = pd.read_parquet(project.root / "data/candidates.parquet").merge(splits)
    real = told("real")
    assert real == licences.for_model(train_fold)
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
    photos = Photos(shards, byte_ranges(asked), locator.image_size)
    answers = locator.answers(predict(locator.network, photos, 16))
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


def test_what_training_cost_is_in_its_metrics(project):
    project.set(usd_per_hour=3600)  # a dollar a second
    project.stage("train")
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
        path.unlink()  # the finished run holds the same bytes
        table.to_parquet(path, index=False)
    project.stage("train")
    after = torch.load(project.root / "models/model.pt")
    assert after["calibration"] == before["calibration"]
    for name, value in before["weights"].items():
        assert torch.equal(after["weights"][name], value), name
