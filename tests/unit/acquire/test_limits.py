"""Candidates drawn evenly and by weights of regions, and the file that holds those."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.weighted_sampling import compared, line
from nogps.acquire import limits
from nogps.acquire.candidate import Candidate
from nogps.acquire.candidates import sample_photos
from nogps.acquire.service import SearchSpec
from nogps.base.errors import InputError
from nogps.earth import s2
from nogps.evaluate import regions

HERE, THERE, UNKNOWN = (48.85, 2.35), (-33.87, 151.21), (40.7, -74.0)


def token(position, level=2):
    return s2.to_token(s2.parent(s2.cell_ids(*position), level)[0])


def candidates(*places, of_each=2000):
    """Positions of as many photos at each place, in turn."""
    return np.tile(np.array(places), (of_each, 1)).T


def drawn_from(latitude, longitude, photos, weights, seed):
    """Which rows of a table are drawn."""
    table = pd.DataFrame({"latitude": latitude, "longitude": longitude})
    search = SearchSpec(limits.Limits(), frozenset(), photos=photos, weights=weights, seed=seed)
    return sample_photos(table, search).index.to_numpy()


@given(
    st.integers(0, 60), st.integers(0, 60), st.integers(0, 5), st.sampled_from([None, 0.2, 1, 7])
)
def test_draws_are_nested_and_keep_the_order(fewer, more, seed, weight):
    latitude, longitude = candidates(HERE, THERE, of_each=31)
    weights = {} if weight is None else {token(HERE): weight}
    fewer, more = sorted((max(fewer, 1), max(more, 1)))
    small = drawn_from(latitude, longitude, fewer, weights, seed)
    large = drawn_from(latitude, longitude, more, weights, seed)
    assert len(small) == fewer
    assert set(small) <= set(large)
    assert (np.diff(large) > 0).all()


@pytest.mark.parametrize(("photos", "weights"), [(0, {}), (60, {}), (1000, {}), (0, {"1": 3.0})])
def test_all_are_taken_as_they_are(photos, weights):
    latitude, longitude = candidates(HERE, THERE, of_each=30)
    drawn = drawn_from(latitude, longitude, photos, weights, 0)
    assert drawn.tolist() == list(range(60))


@pytest.mark.parametrize("photos", [60, 1000])
def test_weights_that_leave_nothing_out_are_refused(photos):
    latitude, longitude = candidates(HERE, THERE, of_each=30)
    with pytest.raises(InputError, match="there is nothing to weigh"):
        drawn_from(latitude, longitude, photos, {token(HERE): 3.0}, 0)


def test_another_seed_draws_others():
    latitude, longitude = candidates(HERE, of_each=100)
    drawn = [drawn_from(latitude, longitude, 50, {}, seed).tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_places_are_drawn_in_proportion_to_their_weights():
    latitude, longitude = candidates(HERE, THERE, UNKNOWN)
    drawn = drawn_from(latitude, longitude, 600, {token(HERE): 4.0, token(THERE): 0.5}, 0)
    here, there, unknown = np.bincount(drawn % 3)
    # Of 600, about 436, 55 and 109, less a little because what is drawn is not put back.
    assert 3.2 < here / unknown < 4.4
    assert 0.35 < there / unknown < 0.75


def test_evenly_means_each_candidate_alike():
    latitude, longitude = candidates(HERE, THERE)
    assert abs(np.bincount(drawn_from(latitude, longitude, 1000, {}, 0) % 2)[0] - 500) < 60
    # Nor does the place in the list matter.
    drawn = drawn_from(latitude, longitude, 1000, {}, 0)
    assert abs(drawn.mean() - 2000) < 120


def written(tmp_path, table):
    path = tmp_path / "weights.csv"
    table.to_csv(path, index=False)
    return path


def fold(name, level=2, **changes):
    latitude, longitude = candidates(HERE, THERE, of_each=40)
    distance = np.tile([10.0, 5000.0], 40)
    return regions.by_region(latitude, longitude, distance, level).assign(fold=name, **changes)


def test_only_the_validation_fold_steers(tmp_path):
    path = written(tmp_path, pd.concat([fold("test", weight=9.0), fold("val")]))
    weights = limits.read_weights(path)
    assert weights == pytest.approx(fold("val").set_index("region")["weight"].to_dict())
    assert weights[token(THERE)] > 1 > weights[token(HERE)]


def test_tokens_are_not_taken_for_numbers(tmp_path):
    tokens = ["05", "4e9"]
    for each, level in zip(tokens, (2, 4), strict=True):
        assert s2.level(s2.from_token(each)) == level
        table = pd.DataFrame({"fold": ["val"], "region": [each], "weight": [2.0]})
        assert limits.read_weights(written(tmp_path, table)) == {each: 2.0}


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (fold("val").drop(columns="weight"), "has no column weight"),
        (fold("val").drop(columns="fold"), "has no column fold"),
        (fold("test"), "has no row of the fold val"),
        (fold("val", weight="much"), "has the weight 'much'"),
        (fold("val", weight=-1.0), "has the weight '-1.0'"),
        (fold("val", weight=0.0), "has the weight '0.0'"),
        (fold("val", weight=np.inf), "has the weight 'inf'"),
        (fold("val", weight=np.nan), "has the weight ''"),
        (fold("val", region="Paris"), "has two rows"),
        (fold("val").head(1).assign(region="Paris"), "names a region that is none: 'Paris'"),
        (pd.concat([fold("val"), fold("val", 3)]), "has regions of several S2 levels"),
    ],
)
def test_a_garbled_table_is_one_sentence(tmp_path, table, what):
    path = written(tmp_path, table)
    with pytest.raises(InputError) as error:
        limits.read_weights(path)
    assert str(error.value).startswith(f"sampling.weights: {path} {what}")
    assert "copy metrics/regions.csv" in str(error.value)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b'a,b\n"'])
def test_a_file_that_is_no_table_is_one_sentence(tmp_path, content):
    path = tmp_path / "weights.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"sampling.weights: {path} ")):
        limits.read_weights(path)


def test_a_folder_is_no_file_of_weights(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        limits.read_weights(tmp_path)


def kept(folder, placed, drawn):
    """What a run of the experiment leaves, with one answer for each held-out photo."""
    folder.mkdir()
    latitude, longitude = candidates(HERE, THERE, of_each=20)
    owner = [f"{number // 4}" for number in range(40)]
    pd.DataFrame(
        {"photo_id": np.arange(40), "latitude": latitude, "longitude": longitude, "owner": owner}
    ).assign(set="held_out", distance_km=np.where(placed, 10.0, 9000.0)).to_parquet(
        folder / "predictions.parquet"
    )
    positions = np.repeat([HERE, THERE], drawn, axis=0)
    pd.DataFrame(positions, columns=["latitude", "longitude"]).to_parquet(
        folder / "candidates.parquet"
    )
    return folder


def test_the_experiment_measures_where_the_first_run_was_worst(tmp_path):
    there = np.arange(40) % 2 == 1  # the first run fared badly there
    first = kept(tmp_path / "first", ~there, (5, 5))
    # On the test fold it was the other way round, which must not count.
    other = fold("test", weight=[0.1, 9.0] if fold("val")["weight"].iloc[0] > 1 else [9.0, 0.1])
    pd.concat([fold("val"), other]).to_csv(first / "regions.csv", index=False)
    table = compared(
        3, first, kept(tmp_path / "even", ~there, (7, 3)), kept(tmp_path / "more", there, (4, 6))
    )
    worst = line("worst fifth", 3, table[table["worst"]])
    assert table["worst"].tolist() == there.tolist()
    assert (worst["n"], worst["even_drawn"], worst["weighted_drawn"]) == (20, 3, 6)
    assert (worst["even_region_200km"], worst["weighted_region_200km"]) == (0, 100)
    assert worst["change_region_200km"] == worst["change_region_200km_low"] == 100
    overall = line("everywhere", 3, table)
    assert (overall["n"], overall["even_drawn"], overall["weighted_drawn"]) == (40, 10, 10)
    assert overall["change_country_750km"] == 0


def test_a_limit_is_how_many_are_taken():
    thinning = limits.Thinning(limits.Limits(per_owner=2, taken_to="2020-01-31"))
    photos = [
        Candidate(str(each), "folder", each, 0, "ann", "", taken_at=f"2020-01-{day}T12:00:00")
        for each, day in enumerate((30, 31, 31))
    ]
    assert [thinning.takes(each) for each in photos] == [True, True, False]
    assert thinning.rejections["over_owner"] == 1
