"""Cuts ratings into what is learned from and what is held out, reproducibly."""

import hashlib
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions

FEWEST_RATINGS = 5
"""Users with fewer ratings have none held out."""
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
FOLDS = 5
"""Of `cold_item_split`."""
NONE = np.zeros(0, np.int64)


class Split(NamedTuple):
    """Positions of ratings; disjoint, in the order in which training visits them."""

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


def published_split(ratings: Interactions, seed: int = 42) -> Split:
    """Per-user split of the published reports.

    Users in ascending id, each one's n ratings in file order: of `RandomState(seed).permutation(n)`
    the first ceil(0.2 n) places are test, the rest train, in that order. Users with fewer than
    `FEWEST_RATINGS` ratings are in neither part.
    """
    everything = np.arange(len(ratings.users))
    return _cut_each_user(ratings, everything, TEST_SHARE, seed, keep_short=False)


def strict_split(ratings: Interactions, seed: int) -> Split:
    """`published_split`, but users with fewer than `FEWEST_RATINGS` ratings stay in train."""
    everything = np.arange(len(ratings.users))
    return _cut_each_user(ratings, everything, TEST_SHARE, seed, keep_short=True)


def per_user_validation(ratings: Interactions, split: Split, seed: int) -> Split:
    """Cut the train part of `split` into train and validation (as `test`), for choosing settings.

    Of `RandomState(seed + 1).permutation(n)` the first ceil(0.1 n) places of a user's n train
    ratings, in train order, are validation.
    """
    return _cut_each_user(ratings, split.train, VALIDATION_SHARE, seed + 1, fewest=1)


def temporal_split(
    ratings: Interactions, positions: NDArray[np.int64], share: float = TEST_SHARE
) -> Split:
    """Of the ratings at `positions` the latest ceil(share n) are test; ties in file order."""
    order = positions[np.lexsort((positions, ratings.times[positions]))]
    cut = len(order) - int(np.ceil(share * len(order)))
    return Split(np.sort(order[:cut]), np.sort(order[cut:]))


def cold_item_split(
    ratings: Interactions, positions: NDArray[np.int64], seed: int, fold: int
) -> Split:
    """All ratings of a fifth of the items are test.

    The items with a rating at `positions`, in ascending order and permuted by `RandomState(seed)`,
    are cut into `FOLDS` runs of nearly equal length, of which the one numbered `fold` is cold.
    """
    rated = np.unique(ratings.items[positions])
    folds = np.array_split(np.random.RandomState(seed).permutation(rated), FOLDS)
    cold = np.isin(ratings.items[positions], folds[fold])
    return Split(positions[~cold], positions[cold])


def cold_user_split(ratings: Interactions, positions: NDArray[np.int64], seed: int) -> Split:
    """All ratings of a fifth of the users are kept from training: half are given, half test.

    Of the users with a rating at `positions`, the first ceil(0.2 n) of `RandomState(seed)`'s
    permutation are cold. Of a cold user's m ratings, in the order of `positions`, the first
    ceil(m / 2) places of `RandomState(seed).permutation(m)` are test.
    """
    users = np.unique(ratings.users[positions])
    chosen = np.random.RandomState(seed).permutation(users)[: int(np.ceil(TEST_SHARE * len(users)))]
    cold = np.isin(ratings.users[positions], chosen)
    halves = _cut_each_user(ratings, positions[cold], 0.5, seed, fewest=2)
    return Split(positions[~cold], halves.test, given=halves.train)


def _cut_each_user(
    ratings: Interactions,
    positions: NDArray[np.int64],
    share: float,
    seed: int,
    fewest: int = FEWEST_RATINGS,
    keep_short: bool = True,
) -> Split:
    @cache
    def permutation(n: int) -> np.ndarray:
        # NumPy's legacy generator is frozen, so the published order comes back for ever.
        return np.random.RandomState(seed).permutation(n)

    by_user = positions[np.argsort(ratings.users[positions], kind="stable")]
    starts = np.flatnonzero(np.diff(ratings.users[by_user], prepend=-1))
    train, test = [by_user[:0]], [by_user[:0]]
    for own in np.split(by_user, starts[1:]):
        n = len(own)
        if n < fewest:
            if keep_short:
                train.append(own)
            continue
        held_out = int(np.ceil(share * n))
        test.append(own[permutation(n)[:held_out]])
        train.append(own[permutation(n)[held_out:]])
    return Split(np.concatenate(train), np.concatenate(test))
