import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nogps.model import objectives
from tests.partitions import (
    KINDS,
    chains,
    classes,
    families,
    labels,
    leaf,
    positions,
    right_outputs,
    softmax,
)

KM = 75.0
ALL = list(objectives.OBJECTIVES)


def built(loss: str, kind: str, smoothing_km: float = KM) -> objectives.Objective:
    return objectives.objective_class(loss)(classes(kind), smoothing_km)


def outputs_for(objective: objectives.Objective, n: int = 400, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(n, objective.head.outputs, generator=torch.Generator().manual_seed(seed))


def haversine_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    (lat_a, lng_a), (lat_b, lng_b) = (tuple(map(math.radians, place)) for place in (a, b))
    h = math.sin((lat_b - lat_a) / 2) ** 2
    h += math.cos(lat_a) * math.cos(lat_b) * math.sin((lng_b - lng_a) / 2) ** 2
    return 2 * 6371.0088 * math.asin(min(1.0, math.sqrt(h)))


def smooth(place: tuple[float, float], kind: str, smoothing_km: float) -> np.ndarray:
    points = list(zip(*classes(kind).points(), strict=True))
    if kind == "north_south":  # the nearest point of each half, straight south and north
        divide = float(classes(kind).tokens[0].partition("<")[2])
        points = [(min(place[0], divide), place[1]), (max(place[0], divide), place[1])]
    km = np.array([haversine_km(place, point) for point in points])
    weights = np.exp(-(km - km.min()) / smoothing_km)
    return weights / weights.sum()


def test_the_example_has_what_the_tests_are_about():
    outside = labels("adaptive") < 0
    assert outside.sum() > 20
    assert len(np.unique(classes("adaptive").levels)) > 2
    assert len({cell.level() for cell in families("adaptive")}) > 2
    teaching = built("hierarchical", "adaptive").teaches(
        built("hierarchical", "adaptive").targets(*positions())
    )
    assert 5 < (teaching.numpy() & outside).sum() < outside.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_softmax_is_the_log_probability_of_the_right_class(kind):
    objective = built("softmax", kind)
    targets = objective.targets(*positions())
    assert targets.tolist() == labels(kind).tolist()
    inside = np.flatnonzero(labels(kind) >= 0)
    outputs = outputs_for(objective)
    p = softmax(outputs.double().numpy())
    loss = objective(outputs[inside], targets[inside])
    assert loss.numpy() == pytest.approx(
        -np.log(p[inside, labels(kind)[inside]]), rel=1e-5, abs=1e-6
    )


@pytest.mark.parametrize("smoothing_km", [20.0, 75.0, 1500.0])
@pytest.mark.parametrize("kind", KINDS)
def test_smoothed_targets_are_those_of_plain_haversine(kind, smoothing_km):
    objective = built("smoothed", kind, smoothing_km)
    targets = objective.targets(*positions())
    q = np.array([smooth(place, kind, smoothing_km) for place in zip(*positions(), strict=True)])
    assert objective.smooth(targets).numpy() == pytest.approx(q, abs=2e-4)
    outputs = outputs_for(objective)
    expected = -(q * np.log(softmax(outputs.double().numpy()))).sum(axis=1)
    assert objective(outputs, targets).numpy() == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_of_two_halves_the_smoothed_target_is_the_own_one():
    objective = built("smoothed", "north_south")
    likely = objective.smooth(objective.targets(*positions())).argmax(dim=1).numpy()
    assert (likely == labels("north_south")).all()


@settings(max_examples=60)
@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(5, 3000))
def test_smoothed_targets_of_any_place(latitude, longitude, smoothing_km):
    objective = built("smoothed", "adaptive", smoothing_km)
    found = objective.smooth(objective.targets(np.array([latitude]), np.array([longitude])))
    expected = smooth((latitude, longitude), "adaptive", smoothing_km)
    assert found.sum().item() == pytest.approx(1, abs=1e-5)
    assert found[0].numpy() == pytest.approx(expected, abs=1e-3)


def slow_hierarchical(p: np.ndarray, place: tuple[float, float], label: int, kind: str) -> float:
    """Level by level: the classes that share the photo's cell, or else its own class."""
    terms = []
    for level in sorted({cell.level() for cell in families(kind)}):
        held = families(kind).get(leaf(*place).parent(level))
        if held is None and label >= 0:
            held = [label]
        if held is not None:
            terms.append(-math.log(sum(p[each] for each in held)))
    if label >= 0:
        terms.append(-math.log(p[label]))
    return sum(terms) / len(terms) if terms else 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_hierarchical_is_the_slow_loop_over_levels(kind):
    objective = built("hierarchical", kind)
    outputs = outputs_for(objective)
    loss = objective(outputs, objective.targets(*positions())).numpy()
    p = softmax(outputs.double().numpy())
    places = zip(p, zip(*positions(), strict=True), labels(kind), strict=True)
    expected = [slow_hierarchical(*each, kind) for each in places]
    assert loss == pytest.approx(np.array(expected), rel=1e-4, abs=1e-5)


def test_a_cell_has_the_probability_of_its_classes_however_they_share_it():
    """Outside every class, only the sum over the cell counts; inside one, the share does too."""
    objective = built("hierarchical", "adaptive")
    coarse, held = next(iter(families("adaptive").items()))
    places = list(zip(*positions(), strict=True))
    inside = np.array([coarse.contains(leaf(*place)) for place in places])
    deeper = [cell for cell in families("adaptive") if cell.level() > coarse.level()]
    only = [not any(cell.contains(leaf(*place)) for cell in deeper) for place in places]
    chosen = np.flatnonzero(inside & (labels("adaptive") < 0) & only)
    own = np.flatnonzero(inside & np.isin(labels("adaptive"), held))
    assert len(chosen) and len(own)
    p = softmax(outputs_for(objective, 1).double().numpy())
    shared = p.copy()
    shared[0, held] = p[0, held[::-1]]
    targets = objective.targets(*positions())

    def loss(probabilities: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        outputs = torch.from_numpy(np.log(probabilities)).expand(len(numbers), -1)
        return objective(outputs, targets[numbers]).numpy()

    assert loss(shared, chosen) == pytest.approx(loss(p, chosen))
    assert loss(p, chosen) == pytest.approx(-np.log(p[0, held].sum()))
    assert loss(shared, own) != pytest.approx(loss(p, own))


@pytest.mark.parametrize("size", [0.0, 1.0, 60.0])
def test_photos_outside_every_class_teach_hierarchical_a_finite_gradient(size):
    objective = built("hierarchical", "adaptive")
    targets = objective.targets(*positions())
    chosen = np.flatnonzero(objective.teaches(targets).numpy() & (labels("adaptive") < 0))
    outputs = (size * outputs_for(objective, len(chosen))).requires_grad_()
    objective(outputs, targets[chosen]).sum().backward()
    assert torch.isfinite(outputs.grad).all()
    if size < 60:  # so unequal, some photos are right already
        assert (outputs.grad.abs().amax(dim=1) > 1e-6).all()
    silent = np.flatnonzero(~objective.teaches(targets).numpy())
    outputs = outputs_for(objective, len(silent)).requires_grad_()
    objective(outputs, targets[silent]).sum().backward()
    assert outputs.grad.abs().max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_multilabel_says_yes_to_a_class_and_the_cells_around_it(kind):
    objective = built("multilabel", kind)
    yes = chains(kind)
    targets = objective.targets(*positions())
    said = np.arange(objective.head.outputs) == targets.numpy()[:, :, None]
    assert (said.any(axis=1) == yes).all()
    outputs = outputs_for(objective)
    p = 1 / (1 + np.exp(-outputs.double().numpy()))
    weight = objective.yes_weight.numpy()
    expected = np.where(yes, -weight * np.log(p), -np.log(1 - p)).mean(axis=1)
    assert objective(outputs, targets).numpy() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    # A class scores by its own yes and by those of the cells that hold it.
    for label in range(len(classes(kind))):
        held = [n for n, family in enumerate(families(kind).values()) if label in family]
        around = [len(classes(kind)) + n for n in held]
        score = np.log(p[:, [label, *around]]).mean(axis=1)
        assert objective.head(outputs)[:, label].numpy() == pytest.approx(score, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_yeses_of_multilabel_weigh_as_much_as_its_noes(kind):
    """So that without any evidence nothing pulls an output up or down."""
    objective = built("multilabel", kind)
    inside = np.flatnonzero(labels(kind) >= 0)
    bias = torch.zeros(objective.head.outputs, requires_grad=True)
    targets = objective.targets(*positions())
    objective(bias.expand(len(inside), -1), targets[inside]).sum().backward()
    yeses = chains(kind)[inside].sum(axis=0)
    pull = 0.5 * (len(inside) - yeses) / objective.head.outputs  # of the noes alone
    assert (pull > 0).all()
    assert bias.grad.numpy() / pull == pytest.approx(0, abs=1e-4)


def test_which_photos_teach():
    teaches = {
        loss: built(loss, "adaptive").teaches(built(loss, "adaptive").targets(*positions())).numpy()
        for loss in ALL
    }
    inside = labels("adaptive") >= 0
    around = [
        any(cell.contains(leaf(*place)) for cell in families("adaptive"))
        for place in zip(*positions(), strict=True)
    ]
    assert (teaches["softmax"] == inside).all()
    assert (teaches["hierarchical"] == inside | around).all()
    assert teaches["smoothed"].all() and teaches["multilabel"].all()


@pytest.mark.parametrize("loss", ALL)
def test_each_loss_works_with_two_halves(loss):
    objective = built(loss, "north_south")
    targets = objective.targets(*positions())
    assert objective.teaches(targets).all()
    outputs = outputs_for(objective).requires_grad_()
    each = objective(outputs, targets)
    each.sum().backward()
    assert each.shape == (400,) and torch.isfinite(each).all()
    assert torch.isfinite(outputs.grad).all()
    assert objective.head(outputs).shape == (400, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ALL)
def test_knowing_the_right_class_costs_nothing_and_the_next_class_much(loss, kind):
    objective = built(loss, kind, smoothing_km=1.0)
    inside = labels(kind) >= 0
    latitude, longitude = (each[inside] for each in positions())
    if loss == "smoothed":  # there the class point counts, and not the border of the cell
        latitude, longitude = (each[labels(kind)[inside]] for each in classes(kind).points())
    targets = objective.targets(latitude, longitude)
    known = right_outputs(loss, kind)
    assert objective(torch.from_numpy(known).float(), targets).max() < 1e-3
    scores = objective.head(torch.from_numpy(known))
    assert (scores.argmax(dim=1).numpy() == labels(kind)[inside]).all()
    n = len(classes(kind))
    for shift in (1, -1):
        known_shifted = np.concatenate([np.roll(known[:, :n], shift, axis=1), known[:, n:]], axis=1)
        assert objective(torch.from_numpy(known_shifted).float(), targets).min() > 0.3


def test_class_weights_give_every_class_the_same_say():
    partition, label = classes("adaptive"), labels("adaptive")
    inside = label >= 0
    weights = objectives.class_weights(partition.photos, label, 1.0).numpy()
    assert weights.mean() == pytest.approx(1, rel=1e-5)
    say = np.bincount(label[inside], weights=weights[inside])
    assert say == pytest.approx(say[0], rel=1e-5)
    median = np.median([weights[label == each][0] for each in range(len(partition))])
    assert weights[~inside] == pytest.approx(median, rel=1e-5)
    assert (objectives.class_weights(partition.photos, label, 0.0) == 1).all()


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=6),
    st.lists(st.integers(-1, 5), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_class_weights_fall_with_the_class_and_have_mean_one(photos, label, balance):
    photos = np.array(photos)
    label = np.minimum(np.array(label), len(photos) - 1)
    weights = objectives.class_weights(photos, label, balance).double().numpy()
    assert weights.mean() == pytest.approx(1, rel=1e-5)
    inside = label >= 0
    level = weights[inside] * photos[label[inside]] ** balance
    assert level == pytest.approx(level[:1].repeat(inside.sum()), rel=1e-4)
