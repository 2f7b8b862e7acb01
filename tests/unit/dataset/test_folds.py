import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nogps.base.errors import InputError
from nogps.dataset import folds
from nogps.dataset.folds import hamming

NO_TIES = {"place_level": -1, "near_duplicate_bits": -1}


def hashes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, size=(count, 4), dtype=np.uint64)


def bonded(owner, *where, sequence=None, candidate=None, **how) -> folds.Bonds:
    """The bonds of photos of which each is a candidate and, unless told, none is of a sequence."""
    count = len(owner)
    sequence = pd.Series([""] * count) if sequence is None else sequence
    candidate = pd.Series(np.arange(count)).astype(str) if candidate is None else candidate
    latitude, longitude, phash = where
    columns = {"latitude": latitude, "longitude": longitude, "owner": np.asarray(owner)}
    columns |= {"candidate_id": np.asarray(candidate), "sequence": np.asarray(sequence)}
    photos = pd.DataFrame({"photo_id": candidate.to_numpy(), **columns})
    photos["phash"] = [each.tobytes() for each in phash]
    return folds.bonds(photos, **how)


def flipped(phash: np.ndarray, bits: int, seed: int = 0) -> np.ndarray:
    chosen = np.random.default_rng(seed).choice(256, size=bits, replace=False)
    out = phash.copy()
    for bit in chosen:
        out[bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return out


def planet(count: int, owners: int, towns: int, seed: int = 0):
    """Owners at home in a town; every fifth photo is taken elsewhere."""
    rng = np.random.default_rng(seed)
    number = rng.integers(owners, size=count)
    owner = pd.Series([f"o{each}" for each in number])
    home = rng.integers(towns, size=owners)
    town = np.where(rng.random(count) < 0.2, rng.integers(towns, size=count), home[number])
    centre = rng.uniform((-60, -180), (70, 180), size=(towns, 2))
    latitude, longitude = (centre[town] + rng.normal(0, 0.001, size=(count, 2))).T
    longitude = (longitude + 180) % 360 - 180  # a town on the date line lies on both sides
    return owner, latitude, longitude, hashes(count, seed)


def shared(values, dealt) -> int:
    """Independent of folds.leaks: values seen in more than one fold."""
    where: dict = {}
    for value, fold in zip(values, dealt, strict=True):
        if fold != folds.LEFT_OUT:
            where.setdefault(value, set()).add(fold)
    return sum(len(each) > 1 for each in where.values())


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    owners=st.integers(60, 200),
    towns=st.integers(60, 200),
    bits=st.sampled_from([-1, 6, 15]),
)
@example(seed=95, owners=95, towns=88, bits=-1)  # a town on the date line
def test_folds_share_no_owner_no_place_and_no_picture(seed, owners, towns, bits):
    owner, latitude, longitude, phash = planet(400, owners, towns, seed)
    for twin in range(0, 40, 2):  # near-duplicates by other owners in other places
        phash[twin] = flipped(phash[twin + 1], 5, seed)
    bonds = bonded(owner, latitude, longitude, phash, place_level=10, near_duplicate_bits=bits)
    dealt = folds.assign(bonds, val=0.15, test=0.2, seed=seed)
    assert shared(owner, dealt) == 0
    assert shared(bonds.places, dealt) == 0
    assert set(folds.leaks(bonds, dealt).values()) == {0}
    if bits >= 6:
        used = dealt != folds.LEFT_OUT
        for a in np.flatnonzero(used):
            near = used & (hamming(phash, phash[a]) <= bits)
            assert set(dealt[near]) == {dealt[a]}


def test_an_owner_on_both_sides_is_counted():
    owner, latitude, longitude, phash = planet(300, 40, 200)
    bonds = bonded(owner, latitude, longitude, phash, **NO_TIES)
    dealt = folds.assign(bonds, val=0.15, test=0.2, seed=0)
    of_one = np.flatnonzero(owner == owner[0])
    dealt[of_one[0]] = "train" if dealt[of_one[0]] != "train" else "test"
    assert folds.leaks(bonds, dealt) == {
        "owners": 1,
        "sequences": 0,
        "places": 0,
        "near_duplicates": 0,
    }


@pytest.mark.parametrize(
    ("people", "level", "bits", "digest"),
    [
        ((400, 90, 80, 3), 10, 12, "7829350b863a1299"),
        ((3000, 300, 30, 0), 10, -1, "cf8b5d7f94e125f3"),
        ((500, 200, 300, 0), -1, -1, "e57418a0887a7698"),
    ],
    ids=["a knot and others", "one knot", "owners alone"],
)
def test_where_there_are_no_sequences_nothing_is_dealt_otherwise(people, level, bits, digest):
    """Folds as they came out before photos could have a sequence."""
    owner, latitude, longitude, phash = planet(*people)
    owner[::7] = ""
    for twin in range(0, 40, 2):
        phash[twin] = flipped(phash[twin + 1], 5, 1)
    each_its_own = pd.Series(np.arange(len(owner))).astype(str).radd("drive ")
    for sequence in (None, each_its_own):
        bonds = bonded(
            owner,
            latitude,
            longitude,
            phash,
            sequence=sequence,
            place_level=level,
            near_duplicate_bits=bits,
        )
        dealt = folds.assign(bonds, val=0.15, test=0.2, seed=0)
        letters = "".join("T" if fold == "test" else fold[0] for fold in dealt)
        assert hashlib.sha256(letters.encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("level", [-1, 10])
@settings(max_examples=20)
@given(seed=st.integers(0, 1000), drives=st.integers(50, 150), owned=st.booleans())
def test_folds_share_no_sequence_whoever_drove(level, seed, drives, owned):
    owner, latitude, longitude, phash = planet(400, 100, 200, seed)
    owner = owner if owned else pd.Series([""] * 400)
    number = np.random.default_rng(seed).integers(drives, size=400)
    sequence = pd.Series([f"s{each}" if each % 5 else "" for each in number])
    bonds = bonded(
        owner,
        latitude,
        longitude,
        phash,
        sequence=sequence,
        place_level=level,
        near_duplicate_bits=-1,
    )
    dealt = folds.assign(bonds, val=0.15, test=0.2, seed=seed)
    assert shared(sequence[sequence != ""], dealt[sequence != ""]) == 0
    assert set(folds.leaks(bonds, dealt).values()) == {0}
    if level < 0 and not owned:
        assert not (dealt == folds.LEFT_OUT).any()


def test_a_sequence_on_both_sides_is_counted():
    owner, latitude, longitude, phash = planet(300, 300, 200)
    owner[:] = ""
    sequence = pd.Series([f"s{each // 3}" for each in range(300)])
    bonds = bonded(owner, latitude, longitude, phash, sequence=sequence, **NO_TIES)
    dealt = folds.assign(bonds, val=0.15, test=0.2, seed=0)
    for photo in (0, 4):
        dealt[photo] = "train" if dealt[photo] != "train" else "test"
    dealt[8] = folds.LEFT_OUT
    assert folds.leaks(bonds, dealt) == {
        "owners": 0,
        "sequences": 2,
        "places": 0,
        "near_duplicates": 0,
    }


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_the_views_of_a_panorama_stay_together_where_nothing_else_ties_them(seed):
    _, latitude, longitude, _ = planet(100, 100, 100, seed)
    views = np.repeat(np.arange(100), 4)
    nobody, candidate = pd.Series([""] * 400), pd.Series([f"p{each}" for each in views])
    where = (latitude[views], longitude[views], hashes(400, seed))
    bonds = bonded(nobody, *where, candidate=candidate, **NO_TIES)
    dealt = folds.assign(bonds, val=0.15, test=0.2, seed=seed)
    assert pd.Series(dealt).groupby(candidate).nunique().max() == 1
    dealt[1] = "val" if dealt[1] != "val" else "test"
    assert folds.leaks(bonds, dealt)["owners"] == 1


def test_an_owner_and_a_candidate_of_one_name_are_two():
    owner = pd.Series(["a", "", ""])
    candidate = pd.Series(["x", "a", "y"])
    bonds = bonded(owner, np.zeros(3), np.zeros(3), hashes(3), candidate=candidate, **NO_TIES)
    assert len(np.unique(bonds.owners)) == 3


def test_shares_come_out_as_asked():
    owner, latitude, longitude, phash = planet(4000, 1500, 3000)
    bonds = bonded(owner, latitude, longitude, phash, **NO_TIES)
    dealt = folds.assign(bonds, val=0.1, test=0.15, seed=1)
    assert abs((dealt == "test").mean() - 0.15) < 0.01
    assert abs((dealt == "val").mean() - 0.10) < 0.01
    assert not (dealt == folds.LEFT_OUT).any()


def test_seed_decides_and_repeats():
    owner, latitude, longitude, phash = planet(500, 200, 300)
    bonds = bonded(owner, latitude, longitude, phash, **NO_TIES)
    first, again, other = (folds.assign(bonds, val=0.1, test=0.2, seed=seed) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_a_knot_too_large_for_train_is_cut_and_leaks_nothing():
    # 300 owners, each with photos in several of 30 towns: everything hangs together.
    owner, latitude, longitude, phash = planet(3000, 300, 30)
    bonds = bonded(owner, latitude, longitude, phash, place_level=10, near_duplicate_bits=-1)
    dealt = folds.assign(bonds, val=0.15, test=0.15, seed=0)
    assert shared(owner, dealt) == 0
    assert shared(bonds.places, dealt) == 0
    assert (dealt == folds.LEFT_OUT).any()
    assert all((dealt == fold).any() for fold in folds.FOLDS)


def test_unknown_owners_are_not_one_owner():
    _, latitude, longitude, phash = planet(200, 5, 200)
    unknown = pd.Series([""] * 200)
    bonds = bonded(unknown, latitude, longitude, phash, **NO_TIES)
    assert len(np.unique(bonds.owners)) == 200


def test_places_and_pictures_can_be_switched_off():
    owner, latitude, longitude, phash = planet(100, 100, 1)
    phash[:] = phash[0]
    on = bonded(owner, latitude, longitude, phash, place_level=6, near_duplicate_bits=8)
    off = bonded(owner, latitude, longitude, phash, **NO_TIES)
    assert len(np.unique(on.places)) < 5
    assert len(np.unique(on.pictures)) == 1
    assert len(np.unique(off.places)) == len(np.unique(off.pictures)) == 100


@pytest.mark.parametrize(
    ("owner", "latitude"),
    [(["me"] * 50, np.linspace(0, 50, 50)), ([""], np.zeros(1)), ([""] * 9, np.zeros(9))],
    ids=["one owner", "one photo", "one place"],
)
def test_too_little_to_split_says_so(owner, latitude):
    count = len(owner)
    bonds = bonded(
        pd.Series(owner),
        latitude,
        np.zeros(count),
        hashes(count),
        place_level=13,
        near_duplicate_bits=-1,
    )
    with pytest.raises(InputError, match=r"no photos are left for the \w+ fold"):
        folds.assign(bonds, val=0.1, test=0.15, seed=0)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), bits=st.integers(0, 15))
def test_near_duplicates_finds_what_comparing_all_pairs_finds(seed, bits):
    rng = np.random.default_rng(seed)
    originals = hashes(20, seed)
    copies = [flipped(originals[each], rng.integers(0, 18), seed + each) for each in range(20)]
    phash = np.concatenate([originals, copies, originals[:3]])
    expected = np.array([[hamming(a, b) <= bits for a in phash] for b in phash])
    pairs = folds.near_duplicates(phash, bits)
    assert all(expected[a, b] for a, b in pairs)
    found = folds._components(len(phash), pairs)
    wanted = folds._components(len(phash), np.argwhere(expected))
    assert (folds._numbered(found) == folds._numbered(wanted)).all()


def test_many_equal_pictures_cost_no_square():
    phash = np.repeat(hashes(1), 200_000, axis=0)
    assert len(folds.near_duplicates(phash, 12)) == 199_999
