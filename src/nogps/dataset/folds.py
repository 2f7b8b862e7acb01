"""Train, val and test folds that share no owner, sequence, place or near-duplicate picture."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nogps.base.errors import InputError
from nogps.dataset import tables
from nogps.earth import s2

FOLDS = ("train", "val", "test")
LEFT_OUT = "left_out"  # a photo whose owner and place belong to different folds

Groups = NDArray[np.int64]  # shape (n,): photos with one number belong together


@dataclass(frozen=True)
class Bonds:
    """What photos may share; each array has shape (n,) and numbers its groups from 0."""

    owners: Groups  # where nobody knows the owner, the candidate is one
    sequences: Groups  # of one drive, walk or burst; the candidate where it is of none
    places: Groups  # each candidate is one when places are switched off
    pictures: Groups  # near-duplicates, joined in chains


def bonds(photos: pd.DataFrame, place_level: int, near_duplicate_bits: int) -> Bonds:
    """Who took each photo, in which sequence and S2 cell it lies, which pictures look the same.

    A row a photo, as `tables.read_photos` gives them. Where `owner` or `sequence` is "", the photos
    of a candidate still belong together; -1 for a level or a number of bits switches that bond off.
    """
    candidate = photos["candidate_id"]
    places = _numbered(candidate)
    if place_level >= 0:
        ids = s2.cell_ids(photos["latitude"].to_numpy(), photos["longitude"].to_numpy())
        places = _numbered(s2.parent(ids, place_level))
    pictures = np.arange(len(photos))
    if near_duplicate_bits >= 0:
        pairs = near_duplicates(tables.phashes(photos), near_duplicate_bits)
        pictures = _components(len(photos), pairs)
    owners, sequences = (_named(photos[each], candidate) for each in ("owner", "sequence"))
    return Bonds(owners, sequences, places, pictures)


def near_duplicates(phash: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """Pairs (shape (m, 2)) that join all hashes (n, 4) differing in at most `bits` <= 15 bits.

    Hashes that differ in 15 bits agree in at least one of their 16 words of 16 bits, so only
    photos that share a word are compared. Equal hashes are joined in a chain, not all to all.
    """
    unique, number = np.unique(phash, axis=0, return_inverse=True)
    order = np.argsort(number, kind="stable")
    same = number[order][1:] == number[order][:-1]
    pairs = [np.stack([order[:-1][same], order[1:][same]], axis=1)]
    first = order[np.concatenate([[True], ~same])] if len(order) else order
    words = np.ascontiguousarray(unique).view(np.uint16)
    for word in words.T:
        by_word = np.argsort(word, kind="stable")
        step, left = 1, np.arange(len(by_word) - 1)
        while len(left):
            left = left[left + step < len(by_word)]
            left = left[word[by_word[left]] == word[by_word[left + step]]]
            a, b = by_word[left], by_word[left + step]
            close = hamming(unique[a], unique[b]) <= bits
            pairs.append(np.stack([first[a[close]], first[b[close]]], axis=1))
            step += 1
    return np.unique(np.concatenate(pairs).astype(np.int64), axis=0)


def assign(bonds: Bonds, *, val: float, test: float, seed: int) -> NDArray[np.str_]:
    """A fold for each photo: train, val, test or left_out; `val` and `test` are shares.

    Photos tied by owner, sequence, place or picture, directly or through others, go to one fold.
    Where such a knot is larger than a whole fold (well-travelled owners, famous places), it is
    cut: its places are dealt out, each owner follows one of their photos, drawn by chance, and
    their photos that lie in other folds are left out. InputError if some fold would be empty.
    """
    count = len(bonds.owners)
    rng = np.random.default_rng(seed)
    people = _merge(_merge(bonds.owners, bonds.pictures), bonds.sequences)
    knots = _merge(people, bonds.places)
    folds = np.full(count, LEFT_OUT, dtype="<U8")
    sizes = np.bincount(knots)
    left = {"test": test * count, "val": val * count, "train": (1 - test - val) * count}
    for knot in np.flatnonzero(sizes > min(left.values())):
        inside = np.flatnonzero(knots == knot)
        folds[inside] = _cut(people[inside], bonds.places[inside], val=val, test=test, rng=rng)
        for fold in FOLDS:
            left[fold] -= np.count_nonzero(folds[inside] == fold)
        sizes[knot] = 0
    whole = rng.permutation(np.flatnonzero(sizes))
    chosen = np.full(len(sizes), "", dtype="<U8")
    for knot in whole[np.argsort(-sizes[whole], kind="stable")]:  # the large while there is room
        fold = _fold_with_room(left, sizes[knot], rng.random())
        chosen[knot] = fold
        left[fold] -= sizes[knot]
    folds = np.where(chosen[knots] == "", folds, chosen[knots])
    for fold in FOLDS:
        if fold not in folds:
            raise InputError(
                f"no photos are left for the {fold} fold: {count} photos tied by owner, "
                f"sequence, place or picture form {len(np.unique(knots))} group(s); give more "
                "photos, or loosen split.place_level or split.near_duplicate_bits"
            )
    return folds


def leaks(bonds: Bonds, folds: NDArray[np.str_]) -> dict[str, int]:
    """How many owners, sequences, places and groups of near-duplicates stand in several folds."""
    table = pd.DataFrame({"fold": folds, **vars(bonds)}).query("fold != @LEFT_OUT")
    counts = {name: int((table.groupby(name)["fold"].nunique() > 1).sum()) for name in vars(bonds)}
    counts["near_duplicates"] = counts.pop("pictures")
    return counts


def _fold_with_room(left: dict[str, float], size: int, chance: float) -> str:
    """One of the folds that `size` photos fit in, drawn in proportion to their room."""
    room = {fold: lacking for fold, lacking in left.items() if lacking >= size}
    mark = chance * sum(room.values())
    for fold, lacking in room.items():
        mark -= lacking
        if mark <= 0:
            return fold
    return max(left, key=left.__getitem__)


def _cut(
    people: Groups, places: Groups, *, val: float, test: float, rng: np.random.Generator
) -> NDArray[np.str_]:
    people, places = _numbered(people), _numbered(places)
    of_place = rng.choice(FOLDS, size=places.max() + 1, p=[1 - val - test, val, test])
    fold = of_place[places].astype("<U8")
    # By chance rather than by majority, which would put nearly everybody into train.
    drawn = rng.permutation(len(people))
    of_person = np.empty(people.max() + 1, dtype="<U8")
    of_person[people[drawn]] = fold[drawn]
    return np.where(of_person[people] == fold, fold, LEFT_OUT)


def _named(name: pd.Series, candidate: pd.Series) -> Groups:
    """Groups of photos of one name, or of one candidate where that is ""."""
    # Apart, else a candidate might be called as an owner is.
    return _numbered(pd.MultiIndex.from_arrays([name, candidate.where(name == "", "")]))


def _numbered(values: np.ndarray | pd.Series | pd.Index) -> Groups:
    return pd.factorize(values)[0].astype(np.int64)


def _components(count: int, pairs: NDArray[np.int64]) -> Groups:
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _merge(a: Groups, b: Groups) -> Groups:
    """Groups of photos tied by `a` or `b`, directly or through others."""
    nodes = coo_array((np.ones(len(a)), (a, b + a.max() + 1)), shape=(a.max() + b.max() + 2,) * 2)
    return _numbered(connected_components(nodes, directed=False)[1][a])


def hamming(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bits that differ between hashes of shape (..., 4)."""
    return np.bitwise_count(a ^ b).sum(axis=-1, dtype=np.int64)
