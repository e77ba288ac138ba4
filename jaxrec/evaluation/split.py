"""Cuts interactions into what is learned from and what is held out, reproducibly.

Where each user is cut by herself, the cut depends on her interactions in their order and, but for
the published rule, on her name: on nobody else, and not on how the file is sorted.
"""

import hashlib
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.data.ids import Ids
from jaxrec.errors import InputError

FEWEST = 5
"""Users with fewer interactions have none held out."""
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
FOLDS = 5
"""Of `cold_item_split`."""
NONE = np.zeros(0, np.int64)


class Split(NamedTuple):
    """Positions of interactions; disjoint, in the order in which training visits them."""

    train: NDArray[np.int64]
    """[n_train]"""
    test: NDArray[np.int64]
    """[n_test] what is held out: the test part, or validation inside a train part."""
    given: NDArray[np.int64] = NONE
    """[n_given] of users who are not in train: known when they ask for recommendations."""

    @property
    def known(self) -> NDArray[np.int64]:
        """[n_train + n_given] what is known of a user who asks."""
        return np.concatenate([self.train, self.given])

    def sha256(self) -> str:
        """Hash of the parts in their order."""
        digest = hashlib.sha256()
        for part in (self.train, self.test, *([self.given] if len(self.given) else [])):
            digest.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
        return digest.hexdigest()


def published_split(interactions: Interactions, seed: int = 42) -> Split:
    """Per-user split of the published reports.

    Users in ascending id, each one's n interactions in file order: of
    `RandomState(seed).permutation(n)` the first ceil(0.2 n) places are test, the rest train, in
    that order. Users with fewer than `FEWEST` interactions are in neither part.
    """
    everything = np.arange(len(interactions.users))
    return _as_published(interactions, everything, TEST_SHARE, seed, FEWEST)


def published_validation(interactions: Interactions, split: Split, seed: int) -> Split:
    """Cut the train part as `published_split` cut the whole, a tenth of it, with seed + 1."""
    return _as_published(interactions, split.train, VALIDATION_SHARE, seed + 1, 1)


def strict_split(interactions: Interactions, users: Ids, seed: int) -> Split:
    """Of each user's n interactions ceil(0.2 n) are test, in an order of her own.

    The order is that of `_in_own_order`. Users with fewer than `FEWEST` interactions stay in train.

    Args:
        interactions: all of them.
        users: names of the users.
        seed: of the order.
    """
    everything = np.arange(len(interactions.users))
    return _drawn(interactions, everything, users.draws(seed, "test"), TEST_SHARE, FEWEST)


def per_user_validation(interactions: Interactions, split: Split, users: Ids, seed: int) -> Split:
    """Cut the train part of `split` into train and validation (as `test`), for choosing settings.

    Of each user's n train interactions ceil(0.1 n) are validation, in an order of her own, if they
    are as many as a user of whom a part is test has at least: settings are to suit those.
    """
    keys = users.draws(seed, "validation")
    return _drawn(interactions, split.train, keys, VALIDATION_SHARE, FEWEST - 1)


def pair_validation(
    interactions: Interactions, split: Split, users: Ids, items: Ids, seed: int
) -> Split:
    """Cut the train part of `split`: each interaction is held out (as `test`) with chance 0.1.

    It is drawn from the names of its user and item alone, so that no other interaction decides it.
    """
    train = interactions.at(split.train)
    of_user, of_item = (ids.draws(seed, "validation") for ids in (users, items))
    keys = of_user[train.users] ^ of_item[train.items]
    held = splitmix64(keys, np.zeros(len(keys), np.int64)) < VALIDATION_SHARE * 2.0**64
    return Split(split.train[~held], split.train[held])


def temporal_split(
    interactions: Interactions, positions: NDArray[np.int64], share: float = TEST_SHARE
) -> Split:
    """Of the n interactions at `positions` about the latest ceil(share n) are test.

    Equal times stay on one side: the cut is the boundary between different times that comes nearest
    to that number, of two as near the later one.

    Raises:
        InputError: there are no times, or they are all equal.
    """
    late = _late(interactions, positions, np.zeros(len(positions), np.int32), share, fewest=1)
    if not late.any():
        raise InputError("all interactions to be cut are of one time; give --protocol strict")
    return Split(positions[~late], positions[late])


def temporal_user_split(
    interactions: Interactions,
    positions: NDArray[np.int64],
    share: float = TEST_SHARE,
    fewest: int = FEWEST,
) -> Split:
    """`temporal_split` of each user's own interactions.

    Users with fewer than `fewest` stay in train, and so do those whose times are all equal.

    Raises:
        InputError: there are no times.
    """
    late = _late(interactions, positions, interactions.users[positions], share, fewest)
    return Split(positions[~late], positions[late])


def leave_one_out_split(
    interactions: Interactions,
    positions: NDArray[np.int64],
    keys: NDArray[np.uint64],
    fewest: int = FEWEST,
) -> Split:
    """Of each user's interactions at `positions` the latest is test.

    Of equally late ones, and without times of all, it is the first in an order of her own (see
    `_in_own_order`). Users with fewer than `fewest` interactions stay in train.

    Args:
        interactions: all of them.
        positions: of those that are cut.
        keys: [users] of the order.
        fewest: see above.
    """
    by_user = _in_own_order(interactions, positions, keys)
    if interactions.times is not None:
        # stable, so that the drawn order decides among equal times
        late_first = np.lexsort((-interactions.times[by_user], interactions.users[by_user]))
        by_user = by_user[late_first]
    place, n, _ = _runs(interactions.users[by_user])
    held_out = (place == 0) & (n >= fewest)
    return Split(by_user[~held_out], by_user[held_out])


def cold_item_split(
    interactions: Interactions, positions: NDArray[np.int64], seed: int, fold: int
) -> Split:
    """All interactions with a fifth of the items are test.

    The items with an interaction at `positions`, in ascending order and permuted by
    `RandomState(seed)`, are cut into `FOLDS` runs of nearly equal length, of which the one numbered
    `fold` is cold.
    """
    known = np.unique(interactions.items[positions])
    folds = np.array_split(np.random.RandomState(seed).permutation(known), FOLDS)
    cold = np.isin(interactions.items[positions], folds[fold])
    return Split(positions[~cold], positions[cold])


def cold_user_split(
    interactions: Interactions, positions: NDArray[np.int64], users: Ids, seed: int
) -> Split:
    """All interactions of a fifth of the users are kept from training: half are given, half test.

    Of the users with an interaction at `positions`, the first ceil(0.2 n) of `RandomState(seed)`'s
    permutation are cold. Of a cold user's m interactions ceil(m / 2) are test, in an order of her
    own; an only one is given.
    """
    there = np.unique(interactions.users[positions])
    chosen = np.random.RandomState(seed).permutation(there)[: int(np.ceil(TEST_SHARE * len(there)))]
    cold = np.isin(interactions.users[positions], chosen)
    halves = _drawn(interactions, positions[cold], users.draws(seed, "half"), 0.5, fewest=2)
    return Split(positions[~cold], halves.test, given=halves.train)


def _drawn(
    interactions: Interactions,
    positions: NDArray[np.int64],
    keys: NDArray[np.uint64],
    share: float,
    fewest: int,
) -> Split:
    """Cut each user's interactions in an order of her own (see `_in_own_order`).

    The first ceil(share n) are held out, of users with fewer than `fewest` none.
    """
    by_user = _in_own_order(interactions, positions, keys)
    place, n, _ = _runs(interactions.users[by_user])
    held_out = place < np.where(n >= fewest, np.ceil(share * n), 0)
    return Split(by_user[~held_out], by_user[held_out])


def _in_own_order(
    interactions: Interactions, positions: NDArray[np.int64], keys: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """The `positions`, users ascending, each one's in an order drawn for her alone.

    They are ordered by the upper halves of the numbers that SplitMix64 gives, seeded with the
    user's key: the first number is of her first interaction in the order of `positions`.
    """
    by_user = positions[np.argsort(interactions.users[positions], kind="stable")]
    users = interactions.users[by_user]
    place, _, _ = _runs(users)
    # user and number in one word: a stable sort of what is nearly in order is far faster than two
    half = np.uint64(32)
    words = (users.astype(np.uint64) << half) | (splitmix64(keys[users], place) >> half)
    return by_user[np.argsort(words, kind="stable")]


def splitmix64(seed: NDArray[np.uint64], place: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The number at `place` (from 0) of SplitMix64's sequence of `seed` (Steele et al. 2014)."""
    z = seed + (place.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _late(
    interactions: Interactions,
    positions: NDArray[np.int64],
    groups: NDArray[np.int32],
    share: float,
    fewest: int,
) -> NDArray[np.bool_]:
    """[n] is the interaction at this position among the latest of its group (see above)?"""
    if interactions.times is None:
        raise InputError("the data have no times to cut by; give --protocol strict")
    if not len(positions):
        return np.zeros(0, bool)
    times = interactions.times[positions]
    order = np.lexsort((times, groups))
    place, n, starts = _runs(groups[order])
    wanted = n - np.ceil(share * n).astype(np.int64)
    may_cut = (place > 0) & (n >= fewest) & (np.diff(times[order], prepend=0) != 0)
    # twice the distance, one more before the wanted place: of two as near the later wins
    far = 2 * len(positions) + 2
    distance = np.where(may_cut, 2 * np.abs(place - wanted) + (place < wanted), far)
    nearest = np.repeat(np.minimum.reduceat(distance, starts), n[starts])
    cut = np.where(nearest < far, wanted + nearest // 2 * (1 - nearest % 2 * 2), n)
    late = np.empty(len(positions), bool)
    late[order] = place >= cut
    return late


def _runs(
    groups: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of groups in ascending order [n]: place in the group, its length [n], the groups' starts."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    lengths = np.diff(starts, append=len(groups))
    place = np.arange(len(groups)) - np.repeat(starts, lengths)
    return place, np.repeat(lengths, lengths), starts


def _as_published(
    interactions: Interactions,
    positions: NDArray[np.int64],
    share: float,
    seed: int,
    fewest: int,
) -> Split:
    @cache
    def permutation(n: int) -> np.ndarray:
        # NumPy's legacy generator is frozen, so the published order comes back for ever.
        return np.random.RandomState(seed).permutation(n)

    by_user = positions[np.argsort(interactions.users[positions], kind="stable")]
    starts = np.flatnonzero(np.diff(interactions.users[by_user], prepend=-1))
    train, test = [by_user[:0]], [by_user[:0]]
    for own in np.split(by_user, starts[1:]):
        n = len(own)
        if n < fewest:
            continue
        held_out = int(np.ceil(share * n))
        test.append(own[permutation(n)[:held_out]])
        train.append(own[permutation(n)[held_out:]])
    return Split(np.concatenate(train), np.concatenate(test))
