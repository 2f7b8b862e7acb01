import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nogps.evaluate import analysis
from nogps.evaluate.protocol import wilson

NAN = math.nan


def table(**columns):
    return pd.DataFrame(columns)


# Photos of three classes: 0 mostly goes to 1, two photos lie outside, one was not answered.
ANSWERS = table(
    label=[0, 0, 0, 0, 0, 1, 1, 2, -1, -1],
    guess_label=[1, 1, 1, 0, -1, 1, 0, 1, 1, -1],
)


def test_confused_pairs():
    pairs = analysis.confused_pairs(ANSWERS, most=10)
    assert pairs[["label", "guess_label", "photos", "of", "back"]].values.tolist() == [
        [0, 1, 3, 5, 1],
        [1, 0, 1, 2, 3],
        [2, 1, 1, 1, 0],
    ]
    assert pairs["share"].tolist() == [60, 50, 100]
    assert (pairs["share_low"][0], pairs["share_high"][0]) == wilson(3, 5)
    assert analysis.confused_pairs(ANSWERS, most=1)["photos"].tolist() == [3]


def test_attractors():
    classes = table(photos=[10, 60, 30])
    cells = analysis.attractors(ANSWERS, classes, most=10)
    assert cells[["label", "wrong", "right", "of"]].values.tolist() == [[1, 5, 1, 6], [0, 1, 1, 6]]
    assert cells["train_share"].tolist() == [60, 10]
    assert cells["share"].tolist() == pytest.approx([500 / 6, 100 / 6])
    assert (cells["share_low"][0], cells["share_high"][0]) == wilson(5, 6)
    assert analysis.attractors(ANSWERS, classes, most=1)["label"].tolist() == [1]


labels = st.integers(-1, 3)


@given(st.lists(st.tuples(labels, labels), max_size=40))
def test_pairs_and_attractors_count_every_wrong_answer_once(answers):
    predictions = table(label=[a for a, _ in answers], guess_label=[b for _, b in answers])
    wrong = [(a, b) for a, b in answers if b >= 0 and a != b]
    pairs = analysis.confused_pairs(predictions, most=99)
    counted = pairs[["label", "guess_label", "photos"]].itertuples(index=False, name=None)
    assert {(label, guess): photos for label, guess, photos in counted} == {
        pair: wrong.count(pair) for pair in wrong if pair[0] >= 0
    }
    assert pairs["photos"].is_monotonic_decreasing
    cells = analysis.attractors(predictions, table(photos=[1, 1, 1, 1]), most=99)
    guessed = [b for _, b in wrong]
    assert dict(zip(cells["label"], cells["wrong"], strict=True)) == {
        label: guessed.count(label) for label in guessed
    }


def test_accuracy_counts_a_photo_without_answer_as_a_miss():
    row = analysis.accuracy(pd.Series([0.5, 25.0, 25.001, NAN]))
    assert (row["n"], row["street_1km"], row["city_25km"], row["region_200km"]) == (4, 25, 50, 75)
    assert row["continent_2500km"] == 75
    assert (row["city_25km_low"], row["city_25km_high"]) == wilson(2, 4)


def test_by_nearest_train_puts_each_photo_into_one_range():
    predictions = table(
        nearest_train_km=[0.0, 1.0, 1.5, 25.0, 3000.0], distance_km=[0.0, 9999.0, 10.0, 10.0, NAN]
    )
    ranges = analysis.by_nearest_train(predictions)
    assert ranges[["above_km", "up_to_km", "n", "city_25km"]].values.tolist() == [
        [0, 1, 2, 50],
        [1, 25, 2, 100],
        [2500, math.inf, 1, 0],
    ]


def test_by_confidence_divides_the_answered_photos_evenly():
    confidence = [0.9, NAN, 0.1, 0.3, 0.2, 0.5]
    predictions = table(confidence=confidence, distance_km=[1.0, NAN, 9000.0, 90.0, 90.0, 90.0])
    groups = analysis.by_confidence(predictions, groups=2)
    assert groups[["from", "to", "n"]].values.tolist() == [[0.1, 0.3, 3], [0.5, 0.9, 2]]
    assert groups["region_200km"].tolist() == pytest.approx([200 / 3, 100])
    assert len(analysis.by_confidence(predictions.head(1))) == 1


def test_reliability_and_calibration_error():
    predictions = table(
        confidence=[0.05, 0.15, 0.15, 0.95, 1.0, 0.5, NAN],
        label=[0, 0, 0, 0, 0, -1, 0],  # the one outside every class could not be right
        guess_label=[1, 0, 1, 0, 0, 0, -1],
    )
    bins = analysis.reliability(predictions)
    assert bins["n"].tolist() == [1, 2, 2]
    assert bins["confidence"].tolist() == pytest.approx([5, 15, 97.5])
    assert bins["share"].tolist() == [0, 50, 100]
    assert (bins["share_low"][1], bins["share_high"][1]) == wilson(1, 2)
    error = analysis.expected_calibration_error(bins)
    assert error == pytest.approx((1 * 5 + 2 * 35 + 2 * 2.5) / 5)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_error_is_that_of_its_definition(answers):
    confidence, right = (np.array(column) for column in zip(*answers, strict=True))
    predictions = table(confidence=confidence, label=0, guess_label=np.where(right, 0, 1))
    expected = 0.0
    for k in range(10):
        chosen = np.minimum(np.floor(confidence * 10), 9) == k
        if chosen.any():
            expected += chosen.sum() * abs(confidence[chosen].mean() - right[chosen].mean())
    error = analysis.expected_calibration_error(analysis.reliability(predictions))
    assert error == pytest.approx(100 * expected / len(right))


def test_coverage():
    predictions = table(
        distance_km=[10.0, 10.0, 100.0, NAN],
        radius_50_km=[10.0, 9.0, 50.0, NAN],
        radius_90_km=[20.0, 20.0, 200.0, NAN],
    )
    rows = analysis.coverage(predictions)
    assert rows[["promised", "radius_km", "n", "within"]].values.tolist() == [
        [50, 10, 3, 1],
        [90, 20, 3, 3],
    ]
    assert (rows["share_low"][0], rows["share_high"][0]) == wilson(1, 3)


def test_no_photos():
    columns = "label guess_label confidence distance_km radius_50_km radius_90_km nearest_train_km"
    nothing = pd.DataFrame(columns=columns.split(), dtype=float)
    bins = analysis.reliability(nothing)
    assert math.isnan(analysis.expected_calibration_error(bins))
    for rows in (
        bins,
        analysis.confused_pairs(nothing, 10),
        analysis.attractors(nothing, table(photos=[3]), 10),
        analysis.by_nearest_train(nothing),
        analysis.by_confidence(nothing),
        analysis.coverage(nothing),
    ):
        assert rows.empty


def calibration_error(confidence, right, bins=10) -> float:
    told = pd.DataFrame(
        {"label": 0, "guess_label": np.where(right, 0, 1), "confidence": confidence}
    )
    return analysis.expected_calibration_error(analysis.reliability(told, bins))


def test_calibration_error_of_known_cases():
    sure, half = np.full(10, 1.0), np.full(10, 0.5)
    all_right, alternating = np.ones(10, dtype=bool), np.arange(10) % 2 == 0
    assert calibration_error(sure, all_right) == 0
    assert calibration_error(sure, ~all_right) == 100
    assert calibration_error(half, alternating) == 0
    assert calibration_error(half, all_right) == 50
    # Too sure in one bin is not made good by too unsure in another.
    mixed = calibration_error(np.r_[sure, half], np.r_[alternating, all_right])
    assert mixed == 50
    assert math.isnan(calibration_error(sure[:0], all_right[:0]))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 20))
def test_calibration_error_is_the_slow_sum_over_bins(photos, bins):
    confidence, right = (np.array(each) for each in zip(*photos, strict=True))
    error = 0.0
    for each in range(bins):
        held = [p for p in photos if min(int(p[0] * bins), bins - 1) == each]
        if held:
            sureness = sum(p for p, _ in held) / len(held)
            share = sum(hit for _, hit in held) / len(held)
            error += len(held) / len(photos) * abs(sureness - share)
    found = calibration_error(confidence, right, bins)
    assert found == pytest.approx(100 * error, abs=1e-9)
