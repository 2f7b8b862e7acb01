import json

import numpy as np
import pandas as pd
import pytest
import torch

from nogps.cli import main
from nogps.dataset.cells import fixed_level
from nogps.earth import geo
from nogps.evaluate import baselines, measure, protocol
from nogps.model import backbones, tensors
from nogps.model.batches import Photos, features, predict
from nogps.model.guess import Calibration
from nogps.model.locator import Locator
from nogps.photos import images, shards
from nogps.pipeline import benchmarks
from tests.pictures import XMP, encoded, picture

BACKBONE = "shufflenet_v2_x0_5"
SIZE = 64
PHOTOS = 7  # b.jpg of which cannot be read
KEYS = {
    "n",
    "street_1km",
    "city_25km",
    "region_200km",
    "country_750km",
    "continent_2500km",
    "right_class",
    "median_km",
    "mean_km",
    "geoguessr",
    "ci95",
}
MODEL_KEYS = {
    "within_radius_50",
    "within_radius_90",
    "radius_50_km",
    "radius_90_km",
    "calibration_error",
    "right_class_balanced",
}


@pytest.fixture(scope="module")
def locator() -> Locator:
    rng = np.random.default_rng(0)
    classes = fixed_level(
        rng.uniform(-60, 60, 400), rng.uniform(-180, 180, 400), level=2, min_photos=3
    )
    torch.manual_seed(0)
    network = backbones.build(BACKBONE, len(classes)).eval()
    # Untrained, it would answer all photos alike.
    pixels = [tensors.to_tensor(encoded(picture(SIZE, SIZE, seed=each))) for each in range(PHOTOS)]
    with torch.no_grad():
        outputs = network(tensors.normalise(torch.stack(pixels)))
        network.fc.weight *= 4 / outputs.std(dim=0).mean()
        network.fc.bias -= network(tensors.normalise(torch.stack(pixels))).mean(dim=0)
    calibration = Calibration(temperature=1.3, together=0.4, reach=0.5, radius_50=1.1)
    return Locator(network.eval(), classes, BACKBONE, SIZE, calibration=calibration)


@pytest.fixture(scope="module")
def saved(locator, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.pt"
    locator.save(path)
    return path


@pytest.fixture(scope="module")
def folder(locator, tmp_path_factory):
    """a.jpg to g.jpg: two of ann's, three of ben's of which one is broken, two of nobody's."""
    path = tmp_path_factory.mktemp("photos") / "holiday"
    path.mkdir()
    latitude, longitude = locator.partition.points()
    rows = ["file,latitude,longitude,owner"]
    for each, owner in enumerate(["ann", "ben", "ann", "ben", "ben", "", ""]):
        name = "abcdefg"[each] + ".jpg"
        body = encoded(picture(200 + 10 * each, 150, seed=each))
        (path / name).write_bytes(body[: len(body) // 2] if name == "b.jpg" else body)
        rows.append(f"{name},{latitude[each]:.6f},{longitude[each]:.6f},{owner}")
    (path / "photos.csv").write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory) -> tuple[pd.DataFrame, object]:
    path = tmp_path_factory.mktemp("packed")
    return benchmarks.read_folder(folder, path, images.pack_side(SIZE)), path


def measured(packed, locator, **how) -> measure.Measured:
    return measure.measure("holiday", *packed, locator, **({"batch_size": 4, "workers": 0} | how))


def test_a_panorama_in_a_folder_is_one_photo_as_it_is_for_locate(tmp_path):
    (tmp_path / "album").mkdir()
    (tmp_path / "album/p.jpg").write_bytes(encoded(picture(512, 256), xmp=XMP % 512))
    table = "file,latitude,longitude,heading\np.jpg,1,2,33\n"
    (tmp_path / "album/photos.csv").write_text(table)
    [photo] = benchmarks.read_folder(tmp_path / "album", tmp_path / "packed", 32).itertuples()
    assert (photo.photo_id, photo.candidate_id, photo.heading) == ("p.jpg", "p.jpg", 33)
    assert (photo.width, photo.height) == (64, 32)


# measure


def test_a_photo_that_cannot_be_read_is_a_miss_and_counts(packed, locator):
    found = measured(packed, locator, together=True)
    assert [row.name for row in found.rows] == [
        "model",
        "model_alone",
        "best_cell",
        "most_common_cell",
    ]
    assert [row.n for row in found.rows] == [PHOTOS] * 4
    answers = found.predictions.set_index("photo_id")
    assert (
        answers.loc["b.jpg", ["guess_latitude", "distance_km", "loss", "confidence"]].isna().all()
    )
    assert answers.loc["b.jpg", "guess_label"] == -1
    readable = answers.drop("b.jpg")
    assert readable[["guess_latitude", "distance_km", "confidence"]].notna().all(axis=None)
    for name in ("model", "model_alone"):
        distance = answers[protocol.distance_column(name)]
        assert np.isnan(distance).tolist() == [name == "b.jpg" for name in answers.index]
        row = next(row for row in found.rows if row.name == name)
        for key, radius in geo.RADII_KM.items():
            hits = sum(each <= radius for each in distance)
            assert row.hits[key] == pytest.approx(100 * hits / PHOTOS)
        assert row.mean_km == pytest.approx((np.nansum(distance) + geo.FARTHEST_KM) / PHOTOS)
    assert (answers["likeliest"].isna() == (answers.index == "b.jpg")).all()


def test_if_the_model_says_the_truth_all_but_the_broken_photo_are_hits(packed, locator):
    """Photos, answers and truths are in one order, also past the broken one."""
    photos, path = packed
    answer = measured(packed, locator).predictions
    assert answer["guess_latitude"].nunique() > 3
    told = photos.copy()
    answered = answer["guess_latitude"].notna()
    told.loc[answered, "latitude"] = answer.loc[answered, "guess_latitude"]
    told.loc[answered, "longitude"] = answer.loc[answered, "guess_longitude"]
    row = measured((told, path), locator).rows[0]
    for key in (*geo.RADII_KM, "within_radius_50", "within_radius_90"):
        assert row.hits[key] == pytest.approx(100 * (PHOTOS - 1) / PHOTOS), key


def test_the_likeliest_classes_begin_with_the_answer(packed, locator):
    found = measured(packed, locator).predictions.query("photo_id != 'b.jpg'")
    for row in found.itertuples():
        assert (
            len(row.likeliest)
            == len(row.likeliest_p)
            == min(measure.LIKELIEST, len(locator.partition))
        )
        assert (row.likeliest[0], row.likeliest_p[0]) == (row.guess_label, row.confidence)
        assert row.likeliest_p == sorted(row.likeliest_p, reverse=True)
        assert len(set(row.likeliest)) == len(row.likeliest)


def test_every_row_has_its_distances(packed, locator):
    photos, _ = packed
    positions = protocol.positions(photos)
    features = np.random.default_rng(0).normal(size=(len(photos), 3 * baselines.TINY**2))
    reference = measure.Reference(positions, features.astype(np.float32), None, seed=0)
    found = measured(packed, locator, reference=reference)
    names = ["model", "best_cell", "nearest_neighbour", "most_common_cell", "chance"]
    assert [row.name for row in found.rows] == names
    for row in found.rows:
        distance = found.predictions[protocol.distance_column(row.name)]
        assert row.hits["country_750km"] == pytest.approx(100 * (distance <= 750).mean())
    assert (found.predictions["nearest_train_km"] < 1e-6).all()


def test_the_radii_count_what_they_hold(packed, locator):
    found = measured(packed, locator)
    for share in (50, 90):
        held = found.predictions["distance_km"] <= found.predictions[f"radius_{share}_km"]
        assert found.rows[0].hits[f"within_radius_{share}"] == pytest.approx(100 * held.mean())


def test_measuring_calibrates_nothing(packed, locator):
    before = locator.calibration
    found = measured(packed, locator)
    assert locator.calibration == before
    photos, path = packed
    moved = photos.assign(latitude=-photos["latitude"])
    again = measured((moved, path), locator)
    for column in (
        *("guess_latitude", "guess_longitude", "radius_50_km", "radius_90_km"),
        *("likeliest", "likeliest_p"),
    ):
        assert again.predictions[column].equals(found.predictions[column])


@pytest.mark.parametrize("threads", [1, 2])
def test_locate_says_what_measure_says_to_the_last_bit(packed, locator, folder, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = [measured(packed, locator, batch_size=size).predictions for size in (1, 6)]
        names = [each for each in found[0]["photo_id"] if each != "b.jpg"]
        guesses = [locator.locate(folder / name) for name in names]
        assert locator.locate([folder / name for name in names]) == guesses
    finally:
        torch.set_num_threads(before)
    for predictions in found:
        rows = predictions.set_index("photo_id").loc[names]
        assert_same(guesses, rows, locator)


def assert_same(guesses, rows, locator):
    assert [each.latitude for each in guesses] == rows["guess_latitude"].tolist()
    assert [each.longitude for each in guesses] == rows["guess_longitude"].tolist()
    assert [each.cell for each in guesses] == locator.partition.tokens[rows["guess_label"]].tolist()
    for column in ("confidence", "radius_50_km", "radius_90_km"):
        assert [getattr(each, column) for each in guesses] == rows[column].tolist()


def test_photos_of_one_owner_are_answered_as_locate_answers_them_together(packed, locator, folder):
    found = measured(packed, locator, together=True)
    answers = found.predictions.set_index("photo_id")
    guess = locator.locate([folder / "a.jpg", folder / "c.jpg"], together=True)
    for name in ("a.jpg", "c.jpg"):
        assert_same([guess], answers.loc[[name]], locator)
    alone = measured(packed, locator).predictions.set_index("photo_id")
    for name in ("f.jpg", "g.jpg"):  # without an owner they have nothing in common
        assert answers.loc[name, "confidence"] == alone.loc[name, "confidence"]
    assert answers.loc["a.jpg", "confidence"] != pytest.approx(alone.loc["a.jpg", "confidence"])


# Preprocessing


def seen_by(network, act) -> list[torch.Tensor]:
    """What a network is shown while something is done, a photo each."""
    shown = []
    handle = network.register_forward_pre_hook(lambda _, inputs: shown.extend(inputs[0].clone()))
    try:
        act()
    finally:
        handle.remove()
    return shown


def test_every_way_to_the_network_shows_it_the_same_pixels(packed, locator, folder):
    photos, path = packed
    names = [each for each in photos["photo_id"] if each != "b.jpg"]
    readable = photos[photos["status"] == "ok"]
    batch = Photos(shards.Shards(path), shards.byte_ranges(readable), SIZE)
    expected = []
    for name in names:
        jpeg = images.pack((folder / name).read_bytes(), images.pack_side(SIZE)).jpeg
        expected.append(tensors.normalise(tensors.whole(tensors.to_tensor(jpeg), SIZE)[None])[0])
    network = locator.network
    ways = {
        "locate": lambda: [locator.locate(folder / name) for name in names],
        "together": lambda: locator.locate([folder / name for name in names], together=True),
        "measure": lambda: measured(packed, locator),
        "predict": lambda: predict(network, batch, 4),  # by which training validates
        "baselines": lambda: baselines.features(batch, network, 4),
        "features": lambda: features(network, batch, 4),  # on which the head learns first
    }
    for way, act in ways.items():
        shown = seen_by(network, act)
        assert len(shown) == len(names), way
        for one, other in zip(shown, expected, strict=True):
            assert torch.equal(one, other), way
            assert one.stride() == other.stride(), way  # kernels differ in their last bits


def test_what_whole_does_reaches_the_network_every_way(packed, locator, folder, monkeypatch):
    real = tensors.whole
    monkeypatch.setattr(tensors, "whole", lambda pixels, size: 255 - real(pixels, size))
    guess = locator.locate(folder / "a.jpg")
    there = measured(packed, locator, batch_size=1).predictions.set_index("photo_id").loc["a.jpg"]
    assert guess.confidence == there["confidence"]
    monkeypatch.undo()
    assert locator.locate(folder / "a.jpg").confidence != pytest.approx(guess.confidence)


# nogps evaluate


def evaluate(capsys, *arguments) -> dict:
    main.main(["evaluate", *map(str, arguments), "--json", "--workers", "0"])
    return json.loads(capsys.readouterr().out)


def test_json_has_the_figures_of_the_protocol(capsys, saved, folder, packed, locator):
    rows = evaluate(capsys, folder, "--model", saved)["holiday"]
    assert list(rows) == ["model", "best_cell", "most_common_cell"]
    for name, row in rows.items():
        assert set(row) >= KEYS
        assert row["n"] == PHOTOS
        for key, (low, high) in row["ci95"].items():
            assert 0 <= low <= row[key] <= high <= 100
        assert set(geo.RADII_KM) < set(row["ci95"])
        assert (set(row) >= MODEL_KEYS) == (name == "model")
    expected = {row.name: row.to_json() for row in measured(packed, locator).rows}
    for key in geo.RADII_KM:
        assert rows["model"][key] == expected["model"][key]
    assert rows["best_cell"] == expected["best_cell"]


def test_together_answers_the_photos_of_an_owner_alike(capsys, saved, folder, tmp_path):
    path = tmp_path / "predictions.parquet"
    alone = evaluate(capsys, folder, "--model", saved)["holiday"]
    rows = evaluate(capsys, folder, "--model", saved, "--together", "owner", "--predictions", path)[
        "holiday"
    ]
    assert list(rows) == ["model", "model_alone", "best_cell", "most_common_cell"]
    assert rows["model_alone"] == alone["model"]
    assert rows["model"] != alone["model"]
    table = pd.read_parquet(path).query("photo_id != 'b.jpg'")
    answer = ["guess_latitude", "guess_longitude", "confidence", "radius_50_km"]
    ways = table.groupby("owner")[answer].nunique().max(axis=1)
    assert ways.to_dict() == {"": 2, "ann": 1, "ben": 1}


def test_the_command_says_what_locate_says(capsys, saved, folder, tmp_path):
    path = tmp_path / "predictions.parquet"
    evaluate(capsys, folder, "--model", saved, "--predictions", path)
    locator = Locator.load(saved)
    for row in pd.read_parquet(path).query("photo_id != 'b.jpg'").itertuples():
        guess = locator.locate(folder / row.photo_id)
        assert guess.confidence == row.confidence
        assert guess.radius_90_km == row.radius_90_km


def test_people_get_a_table(capsys, saved, folder):
    main.main(["evaluate", str(folder), "--model", str(saved), "--workers", "0"])
    out = capsys.readouterr().out
    assert out.startswith("holiday: percent of photos")
    assert {line.split()[0] for line in out.splitlines() if line} >= {"model", "best_cell"}
    assert "circle for half" in out


def complaint(*arguments) -> str:
    with pytest.raises(SystemExit) as stopped:
        main.main(["evaluate", *map(str, arguments), "--workers", "0"])
    text = stopped.value.code
    assert text.startswith("nogps: ") and "\n" not in text
    return text


def test_what_is_wrong_is_told_in_a_sentence(saved, folder, tmp_path):
    missing = tmp_path / "missing"
    assert f"{missing} is not there" in complaint(folder, "--model", missing)
    assert "is no nogps model" in complaint(folder, "--model", folder / "photos.csv")
    wrong = complaint(missing, "--model", saved)
    assert f"{missing} is not a directory" in wrong and "folder.path" not in wrong
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"no photos with a position under {empty}" in complaint(empty, "--model", saved)
    (empty / "a.jpg").write_bytes(b"no photo")
    (empty / "photos.csv").write_text("file,latitude,longitude\na.jpg,1,2\n")
    assert "not one of 1 photos can be read" in complaint(empty, "--model", saved)
    (empty / "photos.csv").write_text("file,latitude\na.jpg,1\n")
    assert "photos.csv" in complaint(empty, "--model", saved)


@pytest.mark.parametrize(("option", "value"), [("--batch-size", 0), ("--workers", -1)])
def test_numbers_that_make_no_sense_are_told_in_a_sentence(saved, folder, option, value):
    with pytest.raises(SystemExit) as stopped:
        main.main(["evaluate", str(folder), "--model", str(saved), option, str(value)])
    assert stopped.value.code.startswith("nogps: --batch-size is a number from 1")


def test_predictions_that_cannot_be_written_are_told_in_a_sentence(saved, folder, tmp_path):
    path = tmp_path / "missing" / "predictions.parquet"
    assert str(path.parent) in complaint(folder, "--model", saved, "--predictions", path)
    named = complaint(folder, "--model", saved, "--predictions", tmp_path)
    assert named == f"nogps: --predictions: {tmp_path} is a directory or a device; name a file"
    closed = tmp_path / "closed.parquet"
    closed.symlink_to(tmp_path / "missing" / "file")
    assert "No such file" in complaint(folder, "--model", saved, "--predictions", closed)


def test_the_loss_is_that_of_the_class_of_the_truth(packed, locator, folder):
    predictions = measured(packed, locator).predictions.set_index("photo_id").drop("b.jpg")
    assert (predictions["label"] != predictions["guess_label"]).any()
    scores = locator.scores_each([folder / name for name in predictions.index])
    for found, row in zip(scores, predictions.itertuples(), strict=True):
        p = np.exp(found / locator.calibration.temperature)
        assert row.loss == pytest.approx(-np.log(p[row.label] / p.sum()), rel=1e-6)
