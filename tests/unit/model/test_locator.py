import io
import json
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import vonmises_fisher

import nogps
from nogps.base.errors import InputError
from nogps.dataset.cells import fixed_level, north_south
from nogps.earth import geo, towns
from nogps.model import backbones, calibrate, decode, objectives
from nogps.model.base_locator import AHEAD
from nogps.model.classes import Partition
from nogps.model.guess import BEST, Calibration, Cell, Guess
from nogps.model.locator import Locator
from nogps.model.settings import DECODINGS
from nogps.photos.images import BadImage
from tests.locators import BACKBONE, CALIBRATION, answering, drawn, over_the_world, same, seeing
from tests.partitions import KINDS, classes, holders, labels, right_outputs, softmax
from tests.pictures import encoded, picture

NO_FACTORS = {each.name: 1.0 for each in fields(Calibration) if "radius" in each.name}


def classes_at(latitude, longitude, level=3) -> Partition:
    """A class round each place: none may share a cell of that level."""
    partition = fixed_level(latitude, longitude, level=level, min_photos=1)
    assert len(partition) == len(latitude)
    return partition


def looking(loss="softmax", **how) -> Locator:
    partition = over_the_world()
    torch.manual_seed(0)
    head = objectives.objective_class(loss).Head(partition)
    network = backbones.build(BACKBONE, head.outputs)
    network.fc.weight.data *= 1000  # so that classes differ
    return Locator(network.eval(), partition, BACKBONE, 64, loss, **how)


def place(p, partition: Partition, decoding: str, reach: float):
    return decode.Decoder(partition, decoding, Calibration(reach=reach)).position(p)


def density(partition: Partition, p, latitude, longitude):
    """Probability per square km at m positions, for probabilities (n, classes): (n, m)."""
    there = geo.to_unit_vectors(np.atleast_1d(latitude), np.atleast_1d(longitude))
    cosine = geo.to_unit_vectors(*partition.points()) @ there.T
    kappa = (2 * geo.EARTH_RADIUS_KM / partition.spread_km()[:, None]) ** 2
    peak = kappa / (2 * np.pi * -np.expm1(-2 * kappa) * geo.EARTH_RADIUS_KM**2)
    return p @ (peak * np.exp(kappa * (cosine - 1)))


# Model files


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("loss", objectives.OBJECTIVES)
def test_what_is_saved_is_all_there_when_loaded(loss, decoding, tmp_path):
    locator = looking(loss, decoding=decoding, calibration=CALIBRATION)
    locator.save(tmp_path / "model.pt")
    again = Locator.load(tmp_path / "model.pt")
    for name in ("backbone", "image_size", "loss", "decoding", "calibration"):
        assert getattr(again, name) == getattr(locator, name), name
    assert same(again.partition, locator.partition)
    assert not again.network.training
    weights = again.network.state_dict()
    for name, value in locator.network.state_dict().items():
        assert torch.equal(weights[name], value), name
    photo = encoded(picture(300, 200))
    (tmp_path / "photo.jpg").write_bytes(photo)
    assert again.locate(photo) == locator.locate(photo) == again.locate(tmp_path / "photo.jpg")


def test_a_model_of_two_halves_is_all_there_when_loaded(tmp_path):
    network = backbones.build(BACKBONE, 2).eval()
    locator = Locator(network, north_south([1.5, 2, 3], [0, 0, 0]), BACKBONE, 64)
    locator.save(tmp_path / "model.pt")
    again = Locator.load(tmp_path / "model.pt")
    assert same(again.partition, locator.partition)
    assert again.partition.assign([1.0, 2.0], [0, 0]).tolist() == [0, 1]


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        Locator.load(tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no nogps model"):
        Locator.load(tmp_path / "model.pt")
    torch.save({"format": 0}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="another version"):
        Locator.load(tmp_path / "model.pt")


@pytest.mark.parametrize("missing", ["fc.bias", "calibration", "cells"])
def test_a_damaged_model_is_refused(missing, tmp_path):
    looking().save(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt")
    del (content["weights"] if missing == "fc.bias" else content)[missing]
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match="is damaged"):
        Locator.load(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "damage",
    [{"image_size": 0}, {"image_size": -5}, {"calibration": {"temperature": "1"}}, {"loss": 7}],
)
def test_a_model_that_cannot_answer_is_refused(damage, tmp_path):
    looking().save(tmp_path / "model.pt")
    torch.save(torch.load(tmp_path / "model.pt") | damage, tmp_path / "model.pt")
    with pytest.raises(InputError, match="is damaged"):
        Locator.load(tmp_path / "model.pt")


def test_a_network_that_is_not_at_hand_is_named(tmp_path):
    looking().save(tmp_path / "model.pt")
    other = torch.load(tmp_path / "model.pt") | {"backbone": "resnet1024"}
    torch.save(other, tmp_path / "model.pt")
    with pytest.raises(InputError, match="resnet1024"):
        Locator.load(tmp_path / "model.pt")


# From photos to a guess


def test_a_photo_that_cannot_be_read_says_so():
    with pytest.raises(BadImage):
        looking().locate(b"no photo")


@pytest.fixture(scope="module")
def locator() -> Locator:
    return seeing(calibration=CALIBRATION)


def test_two_lines_of_python(locator, tmp_path):
    """In a process of its own, whose first line does not wait for torch."""
    locator.save(tmp_path / "model.pt")
    (tmp_path / "photo.jpg").write_bytes(encoded(picture()))
    code = """
import sys
import nogps
assert "torch" not in sys.modules
from nogps import Locator
print(Locator.load("model.pt").locate("photo.jpg"))
"""
    source = str(Path(nogps.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": source, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    assert found.stdout.strip() == str(locator.locate(tmp_path / "photo.jpg"))


def test_the_package_names_what_it_gives():
    assert nogps.Locator is Locator and nogps.Guess is Guess
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        nogps.Nothing  # noqa: B018


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_same_pixels_are_answered_alike_however_they_come(locator, mode, tmp_path):
    image = picture(300, 200, mode)
    body = encoded(image, "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(body)
    array = np.array(image)
    fixed = array.copy()
    fixed.flags.writeable = False
    flipped_twice = np.ascontiguousarray(array[:, ::-1])[:, ::-1]
    forms = [path, str(path), body, image, Image.open(path), array, fixed, flipped_twice]
    guess = locator.locate(path)
    assert [locator.locate(each) for each in forms] == [guess] * len(forms)
    assert locator.locate(forms) == [guess] * len(forms)
    assert locator.locate(picture(300, 200, mode, seed=1)) != guess


def test_photos_are_left_as_they_were(locator):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.open(io.BytesIO(encoded(picture(300, 200), exif=exif, comment=b"of mine")))
    see_through = Image.open(io.BytesIO(encoded(picture(300, 200, "P"), "PNG", transparency=3)))
    for image in (turned, see_through):
        image.load()
        before = image.mode, image.size, dict(image.info), dict(image.getexif()), image.tobytes()
        once, again = locator.locate(image), locator.locate(image)
        after = image.mode, image.size, dict(image.info), dict(image.getexif()), image.tobytes()
        assert after == before
        assert once == again
    array = np.array(picture(300, 200))
    before = array.copy()
    locator.locate(array)
    assert (array == before).all()


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.zeros((40, 60, 3)), "float64"),
        (np.zeros((40, 60, 3), np.uint16), "uint16"),
        (np.zeros((40, 60, 3), bool), "bool"),
        (np.zeros((40, 60, 4), np.uint8), r"\(40, 60, 4\)"),
        (np.zeros((3, 40, 60), np.uint8), r"\(3, 40, 60\)"),
        (np.zeros((2, 40, 60, 3), np.uint8), r"\(2, 40, 60, 3\)"),
        (np.zeros(40, np.uint8), r"\(40,\)"),
        (np.zeros((0, 60, 3), np.uint8), r"\(0, 60, 3\)"),
        (np.zeros((15, 60, 3), np.uint8), "60 x 15 pixels are too few"),
        (np.zeros((20, 600, 3), np.uint8), "600 x 20 pixels are a strip"),
    ],
)
def test_an_array_that_is_no_photo_is_refused(locator, pixels, says):
    with pytest.raises(BadImage, match=says):
        locator.locate(pixels)


def test_lists_tuples_and_nothing(locator):
    photos = [picture(100, 80, seed=each) for each in range(3)]
    alone = [locator.locate(each) for each in photos]
    assert locator.locate(photos) == locator.locate(tuple(photos)) == alone
    assert len(set(alone)) == 3
    assert locator.locate(tuple(photos), together=True) == locator.locate(photos, together=True)
    assert locator.locate(photos[:1], together=True) == alone[0]
    assert locator.locate([]) == []
    with pytest.raises(InputError, match="no photo to locate"):
        locator.locate([], together=True)


@pytest.mark.parametrize("together", [False, True])
def test_a_list_with_a_photo_that_cannot_be_read_raises(locator, together, tmp_path):
    photo = encoded(picture())
    with pytest.raises(BadImage, match="0 bytes"):
        locator.locate([photo, b"", photo], together=together)
    with pytest.raises(FileNotFoundError):
        locator.locate([photo, tmp_path / "none.jpg"], together=together)


def test_scores_keep_the_order_of_the_photos_and_go_on_after_errors(locator, tmp_path):
    bad = {4: b"no photo", 5: tmp_path / "none.jpg", 20: b"", 38: np.zeros(3)}
    photos = [bad.get(each, picture(90, 70, seed=each)) for each in range(39)]
    assert len(photos) > 2 * AHEAD
    taken = []
    found = locator.scores_each(taken.append(each) or photos[each] for each in range(39))
    first = [next(found) for _ in range(3)]
    assert len(taken) <= AHEAD + 3  # memory does not grow with the photos
    found = [*first, *found]
    assert taken == list(range(39)) and len(found) == 39
    kinds = {each: type(one) for each, one in enumerate(found) if isinstance(one, Exception)}
    assert kinds == {4: BadImage, 5: FileNotFoundError, 20: BadImage, 38: BadImage}
    for each in set(range(39)) - set(bad):
        assert (found[each] == locator.scores(locator.square(photos[each]))).all()


# Guesses


def drawn_guesses(n: int) -> list[Guess]:
    scores = drawn(over_the_world(), n, seed=9, size=4)[0]
    locator = answering(over_the_world(), calibration=CALIBRATION)
    return locator.guesses(locator.answers(scores))


def test_a_guess_does_not_change():
    guess = drawn_guesses(1)[0]
    with pytest.raises(FrozenInstanceError):
        guess.latitude = 0.0
    with pytest.raises(FrozenInstanceError):
        guess.cells[0].probability = 1.0
    assert hash(guess) == hash(replace(guess))


def test_a_guess_is_json_and_geojson():
    for guess in drawn_guesses(20):
        told = json.loads(json.dumps(guess.to_dict(), allow_nan=False))
        cells = [Cell(**each) for each in told.pop("cells")]
        assert Guess(**told, cells=tuple(cells)) == guess
        feature = json.loads(json.dumps(guess.to_geojson(), allow_nan=False))
        assert feature.keys() == {"type", "geometry", "properties"}
        assert feature["type"] == "Feature"
        assert feature["geometry"] == {
            "type": "Point",
            "coordinates": [guess.longitude, guess.latitude],
        }
        assert feature["properties"] == {
            name: value
            for name, value in json.loads(json.dumps(guess.to_dict())).items()
            if name not in ("latitude", "longitude")
        }


def test_a_guess_names_the_best_cells_and_the_nearest_towns():
    partition = over_the_world()
    points = dict(
        zip(partition.tokens.tolist(), zip(*partition.points(), strict=True), strict=True)
    )
    scores = drawn(partition, 20, seed=9, size=4)[0]
    p = softmax(scores.numpy() / CALIBRATION.temperature)
    everywhere = np.array([(town.latitude, town.longitude) for town in towns.towns()])
    names = [f"{town.name}, {town.country}" for town in towns.towns()]

    def nearest(latitude, longitude):
        return names[geo.distance_km(latitude, longitude, *everywhere.T).argmin()]

    for row, guess in zip(p, drawn_guesses(20), strict=True):
        assert guess.place == nearest(guess.latitude, guess.longitude)
        assert len(guess.cells) == BEST
        found = [each.probability for each in guess.cells]
        assert found == pytest.approx(sorted(row, reverse=True)[:BEST])
        assert found == sorted(found, reverse=True) and min(found) >= 0 and sum(found) <= 1
        assert (guess.cell, guess.confidence) == (partition.tokens[row.argmax()], found[0])
        for cell in guess.cells:
            assert row[partition.tokens == cell.token] == pytest.approx(cell.probability)
            assert (cell.latitude, cell.longitude) == points[cell.token]
            assert cell.place == nearest(cell.latitude, cell.longitude)


def test_where_there_are_fewer_classes_all_are_named():
    locator = answering(north_south([-10, 30], [0, 5]))
    [guess] = locator.guesses(locator.answers(torch.tensor([[0.0, 1.0]])))
    assert [each.token for each in guess.cells] == locator.partition.tokens[[1, 0]].tolist()
    assert sum(each.probability for each in guess.cells) == pytest.approx(1)


def unsure(radius_50_km: float, radius_90_km: float) -> str:
    return replace(
        drawn_guesses(1)[0], radius_50_km=radius_50_km, radius_90_km=radius_90_km
    ).sureness


@pytest.mark.parametrize(
    ("radius_50_km", "radius_90_km", "said"),
    [
        (0.26, 0.94, "Likely the right street: half of such guesses are within 1.0 km, nine of ten "
         "within 1.0 km."),
        (1.0, 25.0, "Likely the right city, perhaps the right street: half of such guesses are "
         "within 1.0 km, nine of ten within 25 km."),
        (12.3, 20.0, "Likely the right city: half of such guesses are within 12 km, nine of ten "
         "within 20 km."),
        (30.0, 700.0, "Likely the right country, perhaps the right region: half of such guesses "
         "are within 30 km, nine of ten within 700 km."),
        (700.0, 2500.0, "Likely the right continent, perhaps the right country: half of such "
         "guesses are within 700 km, nine of ten within 2,500 km."),
        (2400.0, 9000.4, "Perhaps the right continent: half of such guesses are within 2,400 km, "
         "nine of ten within 9,000 km."),
        (2501.0, 12345.0, "It does not know: half of such guesses are within 2,501 km, nine of ten "
         "within 12,345 km."),
    ],
)  # fmt: skip
def test_how_sure_it_is_in_words(radius_50_km, radius_90_km, said):
    assert unsure(radius_50_km, radius_90_km) == said


@settings(max_examples=60)
@given(st.floats(0.01, 20_000), st.floats(0.01, 20_000))
def test_what_is_likely_is_no_smaller_than_what_is_perhaps(one, other):
    half, most = sorted([one, other])
    said = unsure(half, most).split(":")[0].lower()
    kinds = [name.split("_")[0] for name in geo.RADII_KM]
    named = {
        how: next(each for each in kinds if f"{how} the right {each}" in said)
        for how in ("likely", "perhaps")
        if how in said
    }
    for how, radius in (("likely", most), ("perhaps", half)):
        if how in named:
            assert radius <= dict(zip(kinds, geo.RADII_KM.values(), strict=True))[named[how]]
    if len(named) == 2:
        assert kinds.index(named["perhaps"]) < kinds.index(named["likely"])
    assert (said == "it does not know") == (half > 2500) == (not named)


def test_several_photos_are_answered_as_of_one_place():
    locator = looking(calibration=CALIBRATION)
    photos = [encoded(picture(300, 200, seed=each)) for each in range(3)]
    seen = []
    locator.network.register_forward_hook(lambda *call: seen.append(call[2]))
    guess = locator.locate(photos, together=True)
    outputs = torch.cat(seen)
    together = locator.answers(outputs, ["there"] * 3)
    assert locator.guesses(together) == [guess] * 3
    alone = locator.guesses(locator.answers(outputs))
    assert alone == locator.locate(photos) == [locator.locate(each) for each in photos]
    assert guess.confidence != pytest.approx(alone[0].confidence)


def test_one_photo_is_answered_alike_alone_and_as_a_place():
    locator = looking(calibration=CALIBRATION)
    outputs = torch.randn(5, len(locator.partition), generator=torch.Generator().manual_seed(0))
    alone, towns = locator.answers(outputs), locator.answers(outputs, list("abcde"))
    assert alone.probabilities == pytest.approx(towns.probabilities, abs=1e-12)
    assert (alone.label == towns.label).all()


def test_places_have_a_reach_and_circles_of_their_own():
    partition = over_the_world()
    locator = answering(partition, calibration=CALIBRATION)
    scores, owner = drawn(partition, 60, seed=8)[0], [str(each // 3) for each in range(60)]
    plain = answering(partition, calibration=replace(CALIBRATION, **NO_FACTORS))
    for together, reach, factors in (
        (None, CALIBRATION.reach, (CALIBRATION.radius_50, CALIBRATION.radius_90)),
        (
            owner,
            CALIBRATION.together_reach,
            (CALIBRATION.together_radius_50, CALIBRATION.together_radius_90),
        ),
    ):
        found, bare = locator.answers(scores, together), plain.answers(scores, together)
        there = place(found.probabilities, partition, "densest", reach)
        assert [found.latitude, found.longitude] == [pytest.approx(each) for each in there]
        half, most = bare.radius_50_km * factors[0], bare.radius_90_km * factors[1]
        assert found.radius_50_km == pytest.approx(half)
        assert found.radius_90_km == pytest.approx(np.maximum(half, most))


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", objectives.OBJECTIVES)
def test_who_knows_the_class_is_put_in_it(loss, kind, decoding):
    """Outputs, labels and points are numbered alike."""
    partition, label = classes(kind), labels(kind)
    label = label[label >= 0]
    outputs = torch.from_numpy(right_outputs(loss, kind))
    locator = answering(partition, loss=loss, decoding=decoding, calibration=Calibration())
    locator = replace(locator, calibration=Calibration(reach=0.1))
    answers = locator.answers(outputs)
    assert (answers.label == label).all()
    assert (answers.confidence > 0.99).all()
    holds = holders(kind)
    for each, place in zip(
        label, zip(answers.latitude, answers.longitude, strict=True), strict=True
    ):
        assert holds[each](place)
    assert [guess.cell for guess in locator.guesses(answers)] == partition.tokens[label].tolist()


def test_class_centre_and_class_mean_are_those_of_the_most_probable_class():
    partition = over_the_world()
    p = np.full((1, len(partition)), 0.5 / (len(partition) - 1))
    p[0, 5] = 0.5
    centre = place(p, partition, "class_centre", 1.0)
    assert centre == (partition.centre_latitude[[5]], partition.centre_longitude[[5]])
    mean = place(p, partition, "class_mean", 1.0)
    assert mean == (partition.mean_latitude[[5]], partition.mean_longitude[[5]])


def test_three_neighbours_outweigh_one_that_is_far_away():
    """Across the antimeridian, too."""
    partition = classes_at([0.0, 0.0, 2.5, 45.0, -60.0], [178.5, -178.5, 179.5, 10.0, -90.0])
    far = int(np.argmax(partition.mean_latitude))
    p = np.full((1, 5), 0.2)
    p[0, far], p[0, np.argmin(partition.mean_latitude)] = 0.3, 0.1
    assert place(p, partition, "class_mean", 1.0)[0] == partition.mean_latitude[far]
    _, longitude = place(p, partition, "densest", 1.0)
    assert abs(longitude[0]) >= 178
    # Nothing is near on a small enough scale.
    assert place(p, partition, "densest", 0.01)[0] == partition.mean_latitude[far]


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 2))
def test_densest_is_the_point_with_the_largest_sum(seed, reach):
    partition = classes_at([0.0, 0.0, 8.0, 45.0, -80.0], [175.0, -175.0, 179.0, 10.0, 60.0])
    p = np.random.default_rng(seed).dirichlet(np.full(5, 0.5), size=3)
    latitude, longitude = partition.points()
    guess = np.stack(place(p, partition, "densest", reach), axis=1)
    for row, found in zip(p, guess, strict=True):

        def mass(lat, lng, row=row):
            away = geo.distance_km(lat, lng, latitude, longitude)
            worth = sum(1 / (1 + (away / (reach * km)) ** 4) for km in (1, 25, 200, 750, 2500)) / 5
            return float((row * worth).sum())

        best = max(mass(*point) for point in zip(latitude, longitude, strict=True))
        assert mass(*found) == pytest.approx(best, rel=1e-9)


# Several photos of one place


def log_dirichlet(n, classes, seed=0) -> np.ndarray:
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(classes), size=n))


@pytest.mark.parametrize(("power", "combined"), [(0.0, np.mean), (1.0, np.sum)])
def test_photos_together_are_a_geometric_mean_or_a_product(power, combined):
    log_p = log_dirichlet(6, 5)
    owner = ["b", "a", "b", "c", "a", "b"]
    fused = np.exp(decode.fuse(log_p, owner, power))
    for row, name in zip(fused, owner, strict=True):
        own = [log_p[each] for each, other in enumerate(owner) if other == name]
        expected = np.exp(combined(own, axis=0))
        assert row == pytest.approx(expected / expected.sum())


@settings(max_examples=40)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9), st.floats(0, 1), st.randoms())
def test_neither_order_nor_names_of_the_places_matter(owner, power, random):
    log_p = log_dirichlet(len(owner), 4)
    fused = decode.fuse(log_p, owner, power)
    order = list(range(len(owner)))
    random.shuffle(order)
    shuffled = decode.fuse(log_p[order], ["of " + owner[each] for each in order], power)
    assert shuffled == pytest.approx(fused[order])
    for each, name in enumerate(owner):
        if owner.count(name) == 1:
            assert fused[each] == pytest.approx(log_p[each])
        else:
            assert (fused[each] == fused[owner.index(name)]).all()


# Calibration


def each_alone(n: int) -> list[str]:
    return [str(each) for each in range(n)]


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.5])
def test_the_temperature_undoes_a_known_factor(factor):
    partition = over_the_world()
    scores, *truth = drawn(partition, 1500, seed=1)
    fitted = answering(partition).calibrated(factor * scores, *truth, each_alone(1500))
    assert fitted.calibration.temperature == pytest.approx(factor, rel=0.06)
    p = softmax(scores.numpy())
    assert fitted.answers(factor * scores).probabilities == pytest.approx(p, abs=0.03)
    assert fitted.calibration.together == 0


def test_calibrating_depends_on_nothing_but_what_it_is_given():
    """Not on an earlier calibration, not on other photos, not on their order."""
    partition = over_the_world()
    scores, *truth = drawn(partition, 300, seed=2)
    owner = [str(each // 3) for each in range(300)]
    before = answering(partition, calibration=CALIBRATION)
    fitted = before.calibrated(scores, *truth, owner)
    assert before.calibration == CALIBRATION
    assert replace(fitted, calibration=CALIBRATION) == before
    fitted.answers(drawn(partition, 50, seed=3)[0])
    again = answering(partition).calibrated(scores, *truth, owner)
    assert again.calibration == fitted.calibration
    order = np.random.default_rng(0).permutation(300)
    shuffled = answering(partition).calibrated(
        scores[order], truth[0][order], truth[1][order], [owner[each] for each in order]
    )
    for each in fields(Calibration):
        expected = getattr(fitted.calibration, each.name)
        assert getattr(shuffled.calibration, each.name) == pytest.approx(expected, rel=1e-3)
    other = drawn(partition, 300, seed=4)
    assert answering(partition).calibrated(*other, owner).calibration != fitted.calibration


def test_what_is_fixed_stays_and_the_circles_are_fitted_to_it():
    partition = over_the_world()
    scores, *truth = drawn(partition, 400, seed=7)
    owner = [str(each // 4) for each in range(400)]
    plain = answering(partition)
    fixed = {"temperature": 2.5, "together": 0.7, "reach": 0.3, "together_reach": 1.2}
    for kept in ({name: fixed[name]} for name in fixed):
        found = asdict(plain.calibrated(scores, *truth, owner, kept).calibration)
        assert found != asdict(plain.calibrated(scores, *truth, owner).calibration)
        assert kept.items() <= found.items()
    located = plain.calibrated(scores, *truth, owner, fixed)
    assert fixed.items() <= asdict(located.calibration).items()
    answers = located.answers(scores)
    distance = geo.distance_km(*truth, answers.latitude, answers.longitude)
    assert (distance <= answers.radius_50_km).mean() == pytest.approx(0.5, abs=0.01)


def test_each_half_of_the_places_is_measured_by_what_is_fitted_to_the_other():
    partition = over_the_world()
    scores, *truth = drawn(partition, 400, seed=8)
    owner = np.array([f"{each // 4:03d}" for each in range(400)])
    half = np.isin(owner, np.unique(owner)[::2])
    scores[torch.from_numpy(half)] *= 4  # so sure that the other half's temperature does not suit
    plain, off = answering(partition), {name: [] for name in NO_FACTORS}
    for known, asked in ((half, ~half), (~half, half)):
        fitted = plain.calibrated(scores[known], *(each[known] for each in truth), owner[known])
        bare = replace(fitted, calibration=replace(fitted.calibration, **NO_FACTORS))
        for of, together in (("", None), ("together_", owner[asked])):
            answers = bare.answers(scores[asked], together)
            there = answers.latitude, answers.longitude
            distance = geo.distance_km(*(each[asked] for each in truth), *there)
            off[f"{of}radius_50"].append(distance / answers.radius_50_km)
            off[f"{of}radius_90"].append(distance / answers.radius_90_km)
    found = asdict(plain.calibrated(scores, *truth, owner).calibration)
    for name, each in off.items():
        expected = np.quantile(np.concatenate(each), int(name[-2:]) / 100)
        assert found[name] == pytest.approx(expected), name


def test_photos_outside_every_class_do_not_move_the_temperature():
    partition = over_the_world()
    scores, latitude, longitude = drawn(partition, 500, seed=5)
    grid = np.stack(np.meshgrid(np.arange(-85, 86, 5.0), np.arange(-175, 176, 5.0)), -1)
    outside = grid.reshape(-1, 2)[partition.assign(*grid.reshape(-1, 2).T) < 0]
    assert len(outside) > 20
    wrong = torch.zeros(len(outside), len(partition)).double()
    wrong[:, 0] = 30  # they are all sure to be in the first class
    more = torch.cat([scores, wrong])
    truth = [np.concatenate(each) for each in zip((latitude, longitude), outside.T, strict=True)]
    one = answering(partition).calibrated(scores, latitude, longitude, each_alone(500))
    other = answering(partition).calibrated(more, *truth, each_alone(len(more)))
    assert other.calibration.temperature == one.calibration.temperature
    # Their distances count in the radii, as in the protocol.
    assert other.calibration.radius_90 > one.calibration.radius_90


@pytest.mark.parametrize(("alike", "power"), [(True, 0.0), (False, 1.0)])
def test_the_power_tells_whether_views_of_a_place_err_alike(alike, power):
    """Four views that say the same are one; four with evidence of their own are four."""
    partition = over_the_world()
    rng = np.random.default_rng(6)
    label = rng.integers(len(partition), size=300)
    seen = rng.normal(size=(300, 1 if alike else 4, len(partition)))
    seen[np.arange(300), :, label] += 1.5
    scores = np.broadcast_to(1.5 * seen, (300, 4, len(partition))).reshape(1200, -1)
    latitude, longitude = (each[label].repeat(4) for each in partition.points())
    owner = [str(each // 4) for each in range(1200)]
    fitted = answering(partition).calibrated(
        torch.from_numpy(scores.copy()), latitude, longitude, owner
    )
    assert fitted.calibration.temperature == pytest.approx(1, abs=0.1)
    assert fitted.calibration.together == pytest.approx(power, abs=0.06)


@pytest.mark.parametrize("fixed", [{}, {"together": 0.3}])
def test_each_reach_is_the_one_that_hits_most(fixed):
    partition = over_the_world()
    rng = np.random.default_rng(15)
    label = rng.integers(len(partition), size=150).repeat(4)
    seen = 1.5 * rng.normal(size=(600, len(partition)))
    seen[np.arange(600), label] += 2
    truth = [each[label] + rng.normal(0, 4, 600) for each in partition.points()]
    truth = np.clip(truth[0], -90, 90), (truth[1] + 180) % 360 - 180
    owner = [str(each // 4) for each in range(600)]
    scores = torch.from_numpy(seen)
    fitted = answering(partition).calibrated(scores, *truth, owner, fixed).calibration
    log_p = (scores / fitted.temperature).log_softmax(dim=1).numpy()
    fused = decode.fuse(log_p, owner, fitted.together)
    for found, p in ((fitted.reach, log_p), (fitted.together_reach, fused)):
        hits = {}
        for reach in calibrate.REACHES:
            there = place(np.exp(p), partition, "densest", reach)
            distance = geo.distance_km(*truth, *there)
            hits[reach] = sum((distance <= radius).mean() for radius in geo.RADII_KM.values())
        assert hits[found] == max(hits.values())
    assert fitted.reach != fitted.together_reach


# Density and radii


def sphere(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Places that are evenly spread over the globe (Fibonacci lattice)."""
    step = np.arange(n) + 0.5
    longitude = np.degrees(step * np.pi * (1 + 5**0.5)) % 360 - 180
    return np.degrees(np.arcsin(1 - 2 * step / n)), longitude


def cap(latitude: float, longitude: float, angle: float, n: int):
    """Places that are evenly spread over the cap of so many radians, and its square km."""
    step = np.arange(n) + 0.5
    cosine = 1 - step / n * (2 * np.sin(angle / 2) ** 2)
    tilt, turn = np.arccos(cosine), step * np.pi * (1 + 5**0.5)
    lat = np.radians(latitude)
    there = np.arcsin(np.sin(lat) * cosine + np.cos(lat) * np.sin(tilt) * np.cos(turn))
    aside = np.arctan2(
        np.sin(turn) * np.sin(tilt) * np.cos(lat), cosine - np.sin(lat) * np.sin(there)
    )
    area = 4 * np.pi * geo.EARTH_RADIUS_KM**2 * np.sin(angle / 2) ** 2
    return np.degrees(there), (longitude + np.degrees(aside) + 180) % 360 - 180, area


GLOBE_KM2 = 4 * np.pi * geo.EARTH_RADIUS_KM**2
EDGES = ([89.99, -89.99, 0.1, 0.1, 45.0], [10.0, -70.0, 179.99, -179.99, 0.1])


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_density_integrates_to_one_at_poles_and_antimeridian_too(level):
    for latitude, longitude in zip(*EDGES, strict=True):
        partition = classes_at([latitude], [longitude], level)
        found = density(partition, np.ones((1, 1)), *sphere(20_000))
        assert found.mean() * GLOBE_KM2 == pytest.approx(1, abs=0.01)


def test_a_mixture_integrates_to_one():
    partition = over_the_world()
    p = np.random.default_rng(0).dirichlet(np.ones(len(partition)), size=3)
    found = density(partition, p, *sphere(20_000))
    assert found.shape == (3, 20_000)
    assert found.mean(axis=1) * GLOBE_KM2 == pytest.approx(1, abs=0.01)
    halves = north_south([-10, 30], [0, 5])
    found = density(halves, np.array([[0.3, 0.7]]), *sphere(20_000))
    assert found.mean() * GLOBE_KM2 == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("level", [2, 6, 12, 16])
def test_a_class_is_as_wide_as_its_cell(level):
    """Its density integrates to 1, has the variance of a disc as large, and radii that hold."""
    partition = classes_at([48.2], [16.4], level)
    spread = partition.spread_km()[0]
    latitude, longitude, area = cap(48.2, 16.4, 6 * spread / geo.EARTH_RADIUS_KM, 20_000)
    found = density(partition, np.ones((1, 1)), latitude, longitude)[0]
    assert found.mean() * area == pytest.approx(1, abs=0.01)
    away = geo.distance_km(48.2, 16.4, latitude, longitude)
    # On a sphere as on a plane but for the coarsest cells.
    variance = (away**2 * found).sum() / found.sum()
    assert variance == pytest.approx(spread**2 / 2, rel=0.03)
    radii = decode.Decoder(partition).radii(np.ones((1, 1)), [48.2], [16.4], (0.5, 0.9))
    for share, radius in zip((0.5, 0.9), radii, strict=True):
        assert found[away <= radius].sum() / found.sum() == pytest.approx(share, abs=0.035)


def test_radii_hold_their_share_of_a_mixture():
    """Round any place, within the coarseness of a class's few points."""
    partition = over_the_world()
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.full(len(partition), 0.1), size=300)  # more than are done at once
    latitude, longitude = (
        each[rng.permutation(300) % len(partition)] for each in partition.points()
    )
    radii = decode.Decoder(partition).radii(p, latitude, longitude, (0.5, 0.9))
    there = sphere(8_000)
    found = density(partition, p, *there)
    away = geo.distance_km(latitude[:, None], longitude[:, None], *there)
    for share, radius in zip((0.5, 0.9), radii, strict=True):
        held = (found * (away <= radius[:, None])).sum(axis=1) / found.sum(axis=1)
        assert held == pytest.approx(share, abs=0.05)
        assert held.mean() == pytest.approx(share, abs=0.01)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0, 90), st.floats(-180, 180))
def test_the_larger_share_has_the_larger_radius(seed, latitude, longitude):
    partition = classes_at(*EDGES)
    p = np.random.default_rng(seed).dirichlet(np.full(5, 0.3), size=1)
    half, most, all_ = decode.Decoder(partition).radii(p, [latitude], [longitude], (0.5, 0.9, 1.0))
    assert 0 < half <= most <= all_ <= np.pi * geo.EARTH_RADIUS_KM


@pytest.mark.parametrize("confident", [0.5, 1.0, 4.0])
def test_calibrated_radii_hold_their_share_of_new_truths(confident):
    """Truths are drawn from the density of the scores, which the network overstates or not."""
    partition = over_the_world()
    kappa = (2 * geo.EARTH_RADIUS_KM / partition.spread_km()[0]) ** 2
    vectors = geo.to_unit_vectors(*partition.points())
    rng = np.random.default_rng(7)
    n = 3000
    scores, latitude, longitude = drawn(partition, 2 * n, seed=7)
    truth = np.empty((2 * n, 3))
    label = partition.assign(latitude, longitude)
    for each in np.unique(label):
        own = label == each
        truth[own] = vonmises_fisher(vectors[each], kappa).rvs(own.sum(), random_state=rng)
    latitude = np.degrees(np.arcsin(np.clip(truth[:, 2], -1, 1)))
    longitude = np.degrees(np.arctan2(truth[:, 1], truth[:, 0]))
    outputs = confident * scores
    fitted = answering(partition).calibrated(
        outputs[:n], latitude[:n], longitude[:n], each_alone(n)
    )
    answers = fitted.answers(outputs[n:])
    away = geo.distance_km(latitude[n:], longitude[n:], answers.latitude, answers.longitude)
    # Three standard errors of a share of n against one of n others.
    assert (away <= answers.radius_50_km).mean() == pytest.approx(0.5, abs=0.039)
    assert (away <= answers.radius_90_km).mean() == pytest.approx(0.9, abs=0.024)
    # Two views of each place, as sure together as two that know nothing alike would be.
    views, owner = outputs.repeat_interleave(2, dim=0), [str(each) for each in range(n)]
    owner = np.repeat(owner, 2)
    there = latitude.repeat(2), longitude.repeat(2)
    pairs = fitted.calibrated(
        views[: 2 * n], *(each[: 2 * n] for each in there), owner, {"together": 1.0}
    )
    answers = pairs.answers(views[2 * n :], owner)
    away = geo.distance_km(*(each[2 * n :] for each in there), answers.latitude, answers.longitude)
    assert (away <= answers.radius_50_km).mean() == pytest.approx(0.5, abs=0.039)
    assert (away <= answers.radius_90_km).mean() == pytest.approx(0.9, abs=0.024)
    # What is well specified needs little correction.
    assert fitted.calibration.radius_50 == pytest.approx(1, abs=0.15)
    assert fitted.calibration.radius_90 == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("power", [0.0, 0.35, 1.0])
def test_photos_of_one_place_are_fused_with_the_power_that_was_fitted(power):
    calibration = replace(CALIBRATION, together=power)
    locator = answering(over_the_world(), calibration=calibration)
    scores, _, _ = drawn(locator.partition, 4, seed=3)
    log_p = np.log(softmax(scores.numpy() / calibration.temperature))
    fused = softmax(3**power * log_p[[0, 1, 3]].mean(axis=0, keepdims=True))
    answers = locator.answers(scores, ["here", "here", "there", "here"])
    for each in (0, 1, 3):
        assert answers.probabilities[each] == pytest.approx(fused[0])
    assert answers.probabilities[2] == pytest.approx(softmax(log_p)[2])
    guess = locator.guess([scores[each].numpy() for each in (0, 1, 3)])
    assert guess.confidence == pytest.approx(fused.max())
