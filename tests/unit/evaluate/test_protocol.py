import json
import math

import numpy as np
import pytest

from nogps.earth import geo
from nogps.evaluate import protocol


def made_row(distance) -> protocol.Row:
    return protocol.row("model", distance, right_class=np.isfinite(distance))


@pytest.mark.parametrize(("hits", "n"), [(20, 237), (1, 5), (400, 412)])
def test_wilson_ends_where_the_share_is_just_not_rejected(hits, n):
    """Its ends are the shares from which `hits` of n is 1.96 standard errors away."""
    for end in protocol.wilson(hits, n):
        share = end / 100
        assert abs(hits / n - share) / math.sqrt(share * (1 - share) / n) == pytest.approx(
            1.96, abs=1e-4
        )


def test_wilson_at_the_ends():
    low, high = protocol.wilson(0, 10)
    assert (low, round(high, 1)) == (0.0, 27.8)
    low, high = protocol.wilson(10, 10)
    assert (round(low, 1), high) == (72.2, 100.0)


def test_a_hit_is_at_most_the_radius_away():
    row = made_row(np.array([1.0, 1.0000001, 25.0, 200.0, 750.0, 2500.0, 2500.1]))
    counts = {key: round(value * 7 / 100) for key, value in row.hits.items()}
    assert counts == {
        "street_1km": 1,
        "city_25km": 3,
        "region_200km": 4,
        "country_750km": 5,
        "continent_2500km": 6,
        "right_class": 7,
    }


def test_photos_without_an_answer_are_misses_and_count():
    row = made_row(np.array([0.0, 0.0, np.nan, np.nan]))
    assert row.n == 4
    assert row.hits["continent_2500km"] == 50
    assert row.geoguessr == 2500
    assert row.mean_km == pytest.approx(math.pi * geo.EARTH_RADIUS_KM / 2)
    all_missed = made_row(np.full(3, np.nan))
    assert all_missed.median_km == pytest.approx(20015.1, abs=0.1)


def test_a_distance_of_known_length():
    """San Francisco to Los Angeles is 559 km; a factor of 2 pi would make it 3,513."""
    truth, guess = np.array([[37.7749, -122.4194]]), np.array([[34.0522, -118.2437]])
    row = made_row(geo.distance_km(*truth.T, *guess.T))
    assert row.median_km == pytest.approx(559.12, abs=0.1)
    assert (row.hits["region_200km"], row.hits["country_750km"]) == (0, 100)


def test_a_row_is_the_same_after_json():
    """But for what is not a number, which JSON cannot hold and which is left out."""
    distance = np.array([0.5, 700.0, np.nan])
    held = np.array([True, False, False])
    more = {"radius_50_km": 12.3456789, "calibration_error": math.nan}
    row = protocol.row("model", distance, more, right_class=held, within_radius_50=~held)
    numbers = row.to_json()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == {
        **numbers,
        "ci95": {key: list(ends) for key, ends in numbers["ci95"].items()},
    }
    assert numbers["n"] == 3
    assert numbers["country_750km"] == pytest.approx(200 / 3, abs=1e-6)
    assert (numbers["right_class"], numbers["within_radius_50"]) == (33.333333, 66.666667)
    assert numbers["ci95"]["street_1km"] == pytest.approx(protocol.wilson(1, 3), abs=1e-6)
    assert set(numbers["ci95"]) == {*geo.RADII_KM, "right_class", "within_radius_50"}
    assert numbers["radius_50_km"] == 12.345679
    assert "calibration_error" not in numbers
    again = protocol.Row.from_json("model", numbers)
    assert again.to_json() == numbers
    assert (again.name, again.n, again.more) == ("model", 3, {"radius_50_km": 12.345679})
    assert again.hits == pytest.approx(row.hits) and list(again.hits) == list(row.hits)
    assert again.intervals["street_1km"] == pytest.approx(row.intervals["street_1km"])
    assert (again.median_km, again.geoguessr) == pytest.approx((row.median_km, row.geoguessr))


def test_balanced_gives_each_class_the_same_say():
    label = np.array([0, 0, 0, 0, 3, -1, -1])
    right = np.array([True, True, True, False, False, True, False])
    assert protocol.balanced(label, right) == pytest.approx((75 + 0) / 2)
    assert math.isnan(protocol.balanced(label[5:], right[5:]))
