from dataclasses import asdict, fields, replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import vonmises_fisher
from torch import nn

from nogps import geo, locate, losses, model
from nogps.errors import InputError
from nogps.images import BadImage
from nogps.locate import Calibration, Locator
from nogps.partition import Partition, fixed_level, north_south
from tests import test_losses
from tests.test_images import encoded, picture

BACKBONE = "shufflenet_v2_x0_5"
CALIBRATION = Calibration(
    temperature=1.7,
    together=0.35,
    reach=0.35,
    together_reach=1.4,
    radius_50=1.2,
    radius_90=0.9,
    together_radius_50=0.7,
    together_radius_90=1.1,
)

NO_FACTORS = {each.name: 1.0 for each in fields(Calibration) if "radius" in each.name}


def classes_at(latitude, longitude, level=3) -> Partition:
    """A class round each place: none may share a cell of that level."""
    partition = fixed_level(latitude, longitude, level=level, min_photos=1)
    assert len(partition) == len(latitude)
    return partition


@cache
def over_the_world() -> Partition:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 3))
    latitude = np.degrees(np.arctan2(vectors[:, 2], np.hypot(vectors[:, 0], vectors[:, 1])))
    longitude = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0]))
    return fixed_level(latitude, longitude, level=2, min_photos=4)


def answering(partition: Partition, **how) -> Locator:
    """A locator whose network is its outputs."""
    return Locator(nn.Identity(), partition, "none", 64, **how)


def looking(loss="softmax", **how) -> Locator:
    partition = over_the_world()
    torch.manual_seed(0)
    network = model.build(BACKBONE, losses.build(loss, partition, 75.0).outputs)
    network.fc.weight.data *= 1000  # so that classes differ
    return Locator(network.eval(), partition, BACKBONE, 64, loss, **how)


def same(one, other) -> bool:
    """Whether two dataclasses of arrays and numbers are alike to the last bit."""
    return all(
        np.array_equal(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)
    )


# Model files


@pytest.mark.parametrize("decoding", locate.DECODINGS)
@pytest.mark.parametrize("loss", losses.OBJECTIVES)
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
    network = model.build(BACKBONE, 2).eval()
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


# From photos to a guess


def test_a_photo_that_cannot_be_read_says_so():
    with pytest.raises(BadImage):
        looking().locate(b"no photo")


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
    alone, places = locator.answers(outputs), locator.answers(outputs, list("abcde"))
    assert alone.probabilities == pytest.approx(places.probabilities, abs=1e-12)
    assert (alone.label == places.label).all()


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
        there = locate.place(found.probabilities, partition, "densest", reach)
        assert [found.latitude, found.longitude] == [pytest.approx(each) for each in there]
        half, most = bare.radius_50_km * factors[0], bare.radius_90_km * factors[1]
        assert found.radius_50_km == pytest.approx(half)
        assert found.radius_90_km == pytest.approx(np.maximum(half, most))


@pytest.mark.parametrize("decoding", locate.DECODINGS)
@pytest.mark.parametrize("kind", test_losses.KINDS)
@pytest.mark.parametrize("loss", losses.OBJECTIVES)
def test_who_knows_the_class_is_put_in_it(loss, kind, decoding):
    """Outputs, labels and points are numbered alike."""
    partition, label = test_losses.classes(kind), test_losses.labels(kind)
    label = label[label >= 0]
    outputs = torch.from_numpy(test_losses.right_outputs(loss, kind))
    locator = answering(partition, loss=loss, decoding=decoding, calibration=Calibration())
    locator = replace(locator, calibration=Calibration(reach=0.1))
    answers = locator.answers(outputs)
    assert (answers.label == label).all()
    assert (answers.confidence > 0.99).all()
    holds = test_losses.holders(kind)
    for each, place in zip(
        label, zip(answers.latitude, answers.longitude, strict=True), strict=True
    ):
        assert holds[each](place)
    assert [guess.cell for guess in locator.guesses(answers)] == partition.tokens[label].tolist()


def test_class_centre_and_class_mean_are_those_of_the_most_probable_class():
    partition = over_the_world()
    p = np.full((1, len(partition)), 0.5 / (len(partition) - 1))
    p[0, 5] = 0.5
    centre = locate.place(p, partition, "class_centre", 1.0)
    assert centre == (partition.centre_latitude[[5]], partition.centre_longitude[[5]])
    mean = locate.place(p, partition, "class_mean", 1.0)
    assert mean == (partition.mean_latitude[[5]], partition.mean_longitude[[5]])


def test_three_neighbours_outweigh_one_that_is_far_away():
    """Across the antimeridian, too."""
    partition = classes_at([0.0, 0.0, 2.5, 45.0, -60.0], [178.5, -178.5, 179.5, 10.0, -90.0])
    far = int(np.argmax(partition.mean_latitude))
    p = np.full((1, 5), 0.2)
    p[0, far], p[0, np.argmin(partition.mean_latitude)] = 0.3, 0.1
    assert locate.place(p, partition, "class_mean", 1.0)[0] == partition.mean_latitude[far]
    _, longitude = locate.place(p, partition, "densest", 1.0)
    assert abs(longitude[0]) >= 178
    # Nothing is near on a small enough scale.
    assert locate.place(p, partition, "densest", 0.01)[0] == partition.mean_latitude[far]


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 2))
def test_densest_is_the_point_with_the_largest_sum(seed, reach):
    partition = classes_at([0.0, 0.0, 8.0, 45.0, -80.0], [175.0, -175.0, 179.0, 10.0, 60.0])
    p = np.random.default_rng(seed).dirichlet(np.full(5, 0.5), size=3)
    latitude, longitude = partition.points()
    guess = np.stack(locate.place(p, partition, "densest", reach), axis=1)
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
    fused = np.exp(locate.fuse(log_p, owner, power))
    for row, name in zip(fused, owner, strict=True):
        own = [log_p[each] for each, other in enumerate(owner) if other == name]
        expected = np.exp(combined(own, axis=0))
        assert row == pytest.approx(expected / expected.sum())


@settings(max_examples=40)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9), st.floats(0, 1), st.randoms())
def test_neither_order_nor_names_of_the_places_matter(owner, power, random):
    log_p = log_dirichlet(len(owner), 4)
    fused = locate.fuse(log_p, owner, power)
    order = list(range(len(owner)))
    random.shuffle(order)
    shuffled = locate.fuse(log_p[order], ["of " + owner[each] for each in order], power)
    assert shuffled == pytest.approx(fused[order])
    for each, name in enumerate(owner):
        if owner.count(name) == 1:
            assert fused[each] == pytest.approx(log_p[each])
        else:
            assert (fused[each] == fused[owner.index(name)]).all()


# Calibration


def drawn(partition: Partition, n: int, seed: int, size=2.0):
    """Scores, and truths at class points that they are the log probabilities of."""
    rng = np.random.default_rng(seed)
    scores = size * rng.normal(size=(n, len(partition)))
    p = test_losses.softmax(scores)
    label = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    latitude, longitude = (each[label] for each in partition.points())
    return torch.from_numpy(scores), latitude, longitude


def each_alone(n: int) -> list[str]:
    return [str(each) for each in range(n)]


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.5])
def test_the_temperature_undoes_a_known_factor(factor):
    partition = over_the_world()
    scores, *truth = drawn(partition, 1500, seed=1)
    fitted = answering(partition).calibrated(factor * scores, *truth, each_alone(1500))
    assert fitted.calibration.temperature == pytest.approx(factor, rel=0.06)
    p = test_losses.softmax(scores.numpy())
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
    fused = locate.fuse(log_p, owner, fitted.together)
    for found, p in ((fitted.reach, log_p), (fitted.together_reach, fused)):
        hits = {}
        for reach in locate.REACHES:
            there = locate.place(np.exp(p), partition, "densest", reach)
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
        found = locate.density(np.ones((1, 1)), partition, *sphere(20_000))
        assert found.mean() * GLOBE_KM2 == pytest.approx(1, abs=0.01)


def test_a_mixture_integrates_to_one():
    partition = over_the_world()
    p = np.random.default_rng(0).dirichlet(np.ones(len(partition)), size=3)
    found = locate.density(p, partition, *sphere(20_000))
    assert found.shape == (3, 20_000)
    assert found.mean(axis=1) * GLOBE_KM2 == pytest.approx(1, abs=0.01)
    halves = north_south([-10, 30], [0, 5])
    found = locate.density(np.array([[0.3, 0.7]]), halves, *sphere(20_000))
    assert found.mean() * GLOBE_KM2 == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("level", [2, 6, 12, 16])
def test_a_class_is_as_wide_as_its_cell(level):
    """Its density integrates to 1, has the variance of a disc as large, and radii that hold."""
    partition = classes_at([48.2], [16.4], level)
    spread = partition.spread_km()[0]
    latitude, longitude, area = cap(48.2, 16.4, 6 * spread / geo.EARTH_RADIUS_KM, 20_000)
    found = locate.density(np.ones((1, 1)), partition, latitude, longitude)[0]
    assert found.mean() * area == pytest.approx(1, abs=0.01)
    away = geo.distance_km(48.2, 16.4, latitude, longitude)
    # On a sphere as on a plane but for the coarsest cells.
    variance = (away**2 * found).sum() / found.sum()
    assert variance == pytest.approx(spread**2 / 2, rel=0.03)
    radii = locate.radii(np.ones((1, 1)), partition, [48.2], [16.4], (0.5, 0.9))
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
    radii = locate.radii(p, partition, latitude, longitude, (0.5, 0.9))
    there = sphere(8_000)
    found = locate.density(p, partition, *there)
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
    half, most, all_ = locate.radii(p, partition, [latitude], [longitude], (0.5, 0.9, 1.0))
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
