"""Accuracy by region, and the weights made of it."""

import numpy as np
import pytest
import s2sphere
from hypothesis import given
from hypothesis import strategies as st

from nogps.base.errors import InputError
from nogps.earth import geo
from nogps.evaluate import regions
from nogps.evaluate.protocol import wilson

PARIS, SYDNEY = (48.85, 2.35), (-33.87, 151.21)


def table():
    """Three photos in Paris, one of them without an answer, and one in Sydney."""
    latitude, longitude = np.array([PARIS, PARIS, SYDNEY, PARIS]).T
    distance = [200.0, 900.0, 0.0, np.nan]
    return regions.by_region(latitude, longitude, distance, 2)


def token(position, level=2):
    point = s2sphere.LatLng.from_degrees(*position)
    return s2sphere.CellId.from_lat_lng(point).parent(level).to_token()


def test_each_region_counts_its_own_photos():
    rows = table().set_index("region")
    assert sorted(rows.index) == list(rows.index) == sorted([token(PARIS), token(SYDNEY)])
    paris, sydney = rows.loc[token(PARIS)], rows.loc[token(SYDNEY)]
    assert (paris["n"], sydney["n"]) == (3, 1)
    hits = {"street_1km": 0, "city_25km": 0, "region_200km": 1, "country_750km": 1}
    for key, count in hits.items():
        assert paris[key] == pytest.approx(100 * count / 3)
        assert (paris[f"{key}_low"], paris[f"{key}_high"]) == wilson(count, 3)
        assert sydney[key] == 100
    assert (paris["latitude"], paris["longitude"]) == pytest.approx(PARIS)


def test_a_photo_without_an_answer_is_a_miss_and_scores_nothing():
    paris = table().set_index("region").loc[token(PARIS)]
    assert paris["continent_2500km"] == pytest.approx(200 / 3)
    expected = geo.geoguessr_score([200.0, 900.0]).sum() / 3
    assert paris["geoguessr"] == pytest.approx(expected)


def test_a_finer_level_has_more_regions():
    latitude, longitude = [48.85, 50.85], [2.35, 4.35]  # Paris and Brussels
    assert len(regions.by_region(latitude, longitude, [1.0, 1.0], 2)) == 1
    assert len(regions.by_region(latitude, longitude, [1.0, 1.0], 6)) == 2


def test_the_mean_of_a_region_is_the_spherical_one():
    found = regions.by_region([89.9, 89.9], [0.0, 40.0], [1.0, 1.0], 0)
    assert found["latitude"].iloc[0] == pytest.approx(
        geo.spherical_mean([89.9, 89.9], [0.0, 40.0])[0]
    )
    assert found["latitude"].iloc[0] > 89.9


def test_a_position_off_the_globe_is_named():
    with pytest.raises(InputError, match="latitude 91"):
        regions.by_region([91.0], [0.0], [1.0], 2)


counts = st.lists(
    st.tuples(st.integers(1, 5000), st.floats(0, 5000, allow_subnormal=False)),
    min_size=1,
    max_size=40,
)


@given(counts)
def test_weights_have_mean_one_over_photos_and_bounds(pairs):
    n, score = (np.array(column) for column in zip(*pairs, strict=True))
    weight = regions.weights(n, score)
    assert np.average(weight, weights=n) == pytest.approx(1)
    assert weight.max() / weight.min() <= regions.MOST**2 * (1 + 1e-9)


@given(counts)
def test_of_regions_with_as_many_photos_the_worse_never_weighs_less(pairs):
    score = np.sort([score for _, score in pairs])
    weight = regions.weights(np.full(len(score), 50), score)
    assert (np.diff(weight) <= 1e-9).all()


def test_half_the_score_is_twice_the_weight_and_few_photos_move_it_little():
    n, score = np.array([10**6, 10**6, 2]), np.array([1000.0, 2000.0, 0.0])
    weight = regions.weights(n, score)
    assert weight[0] / weight[1] == pytest.approx(2, rel=1e-3)
    # Two photos without any score: 20 of 22 parts are the overall score, 1500.
    assert weight[2] / weight[1] == pytest.approx((22 / 20) / (1500 / 2000), rel=1e-3)


def test_a_model_that_knows_nothing_asks_for_nothing():
    assert regions.weights(np.array([3, 5]), np.zeros(2)).tolist() == [1, 1]
