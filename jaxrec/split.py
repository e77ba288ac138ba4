"""Cuts each user's ratings into parts, reproducibly."""

import hashlib
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.dataset import Ratings

FEWEST_RATINGS = 5
"""Users with fewer ratings are left out of the published split."""


class Split(NamedTuple):
    """Positions of ratings; disjoint, in the order in which training visits them."""

    train: NDArray[np.int64]
    """[n_train]"""
    test: NDArray[np.int64]
    """[n_test] what is held out: the test part, or validation inside a train part."""

    def sha256(self) -> str:
        """Hash of both parts in their order."""
        digest = hashlib.sha256()
        for part in self:
            digest.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
        return digest.hexdigest()


def published_split(ratings: Ratings, seed: int = 42) -> Split:
    """Per-user split of the published reports.

    Users in ascending id, each one's n ratings in file order: of `RandomState(seed).permutation(n)`
    the first ceil(0.2 n) places are test, the rest train, in that order. Users with fewer than
    `FEWEST_RATINGS` ratings are in neither part.
    """
    return _cut_each_user(ratings, np.arange(len(ratings.users)), 0.2, seed, FEWEST_RATINGS)


def validation_split(ratings: Ratings, split: Split, seed: int = 42) -> Split:
    """Cut the train part of `split` into train and validation (as `test`), for choosing settings.

    Of `RandomState(seed + 1).permutation(n)` the first ceil(0.1 n) places of a user's n train
    ratings, in train order, are validation.
    """
    return _cut_each_user(ratings, split.train, 0.1, seed + 1, 1)


def _cut_each_user(
    ratings: Ratings, positions: np.ndarray, share: float, seed: int, fewest: int
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
            continue
        held_out = int(np.ceil(share * n))
        test.append(own[permutation(n)[:held_out]])
        train.append(own[permutation(n)[held_out:]])
    return Split(np.concatenate(train), np.concatenate(test))
