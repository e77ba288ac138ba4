"""What is known: who rated what, when, and what is written about each item.

External ids stay in `Dataset.user_ids` and `Dataset.item_ids`; everything else speaks in the int32
positions within those two arrays.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.errors import InputError

RATING_SCALE = (0.5, 5.0)
"""Lowest and highest rating of the MovieLens scale, in stars."""

LIKED = 4.0
"""A rating of so many stars or more counts as liked."""


class Ratings(NamedTuple):
    """Ratings in a fixed order, one per position of the four arrays."""

    users: NDArray[np.int32]
    """[n] positions in `Dataset.user_ids`."""
    items: NDArray[np.int32]
    """[n] positions in `Dataset.item_ids`."""
    stars: NDArray[np.float64]
    """[n] ratings in stars."""
    times: NDArray[np.int64]
    """[n] seconds since 1970-01-01 UTC."""

    def at(self, positions: NDArray[np.integer]) -> "Ratings":
        """The ratings at `positions`, in that order."""
        return Ratings(*(column[positions] for column in self))

    @property
    def liked(self) -> "Ratings":
        """The ratings of at least `LIKED` stars, in the same order."""
        return self.at(np.flatnonzero(self.stars >= LIKED))


def check_not_empty(ratings: Ratings) -> None:
    """Raise InputError if there is nothing to train on."""
    if not len(ratings.users):
        raise InputError("no training ratings; the published split takes users with 5 or more")


class Tags(NamedTuple):
    """Free-text tags in file order."""

    users: NDArray[np.int32]
    """[n] positions in `Dataset.user_ids`, -1 for an author who rated nothing."""
    items: NDArray[np.int32]
    """[n] positions in `Dataset.item_ids`."""
    words: list[str]
    """[n] the tags as written."""
    times: NDArray[np.int64]
    """[n] seconds since 1970-01-01 UTC."""


@dataclass(frozen=True)
class Dataset:
    """A catalogue of items, the ratings and the tags given to them."""

    name: str
    """Short name, printed with every result."""
    source: str
    """Where it was read from: a folder, or how it was made."""
    user_ids: NDArray[np.int64]
    """[users] external ids, ascending."""
    item_ids: NDArray[np.int64]
    """[items] external ids in catalogue order; an item need not have a rating."""
    titles: list[str]
    """[items] titles; a title is not an id (two items may share one)."""
    genres: list[str]
    """[items] genres joined by `|`."""
    ratings: Ratings
    tags: Tags
    synthetic: bool = False
    """True for data that was made, not observed."""

    @property
    def users(self) -> int:
        """How many users have a rating."""
        return len(self.user_ids)

    @property
    def items(self) -> int:
        """How many items the catalogue has, rated or not."""
        return len(self.item_ids)

    def user_positions(self, ids: Sequence[int]) -> NDArray[np.int32]:
        """Positions of external user ids; raises InputError for one that has no rating."""
        positions = np.searchsorted(self.user_ids, ids).clip(max=self.users - 1)
        for user, known in zip(ids, self.user_ids[positions], strict=True):
            if user != known:
                raise InputError(
                    f"no user {user} in {self.name}; ids run from {self.user_ids[0]} to"
                    f" {self.user_ids[-1]}"
                )
        return positions.astype(np.int32)

    @cached_property
    def sha256(self) -> str:
        """Hash of everything in the data set, the same however it was stored."""
        digest = hashlib.sha256()
        for array in (
            self.user_ids,
            self.item_ids,
            *self.ratings,
            self.tags.users,
            self.tags.items,
            self.tags.times,
        ):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        for strings in (self.titles, self.genres, self.tags.words):
            for string in strings:
                encoded = string.encode()
                digest.update(len(encoded).to_bytes(4, "little") + encoded)
        return digest.hexdigest()
