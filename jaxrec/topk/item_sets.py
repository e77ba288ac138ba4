"""Item sets, one per user, of very different sizes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions


class ItemSets(NamedTuple):
    """Item sets, one per user, one after the other."""

    starts: NDArray[np.int64]
    """[users + 1] those of user u are `items[starts[u]:starts[u + 1]]`."""
    items: NDArray[np.int32]

    @classmethod
    def of(cls, ratings: Interactions, users: int) -> "ItemSets":
        """The items of each user's `ratings`."""
        order = np.argsort(ratings.users, kind="stable")
        counts = np.bincount(ratings.users, minlength=users)
        return cls(np.concatenate([[0], np.cumsum(counts)]), ratings.items[order])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[users] how many items each set has."""
        return np.diff(self.starts)

    def only(self, users: NDArray[np.integer]) -> "ItemSets":
        """Those of `users`; nothing for the others."""
        kept = np.zeros(len(self.lengths), bool)
        kept[users] = True
        starts = np.concatenate([[0], np.cumsum(np.where(kept, self.lengths, 0))])
        return ItemSets(starts, self.items[np.repeat(kept, self.lengths)])

    def pairs(
        self, users: NDArray[np.integer], size: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """All (place in `users`, item) pairs of `users`, as two arrays of length `size`.

        Filled up with the place `len(users)`, which is out of range. A flat list of a block's
        pairs holds hardly any padding, however large its largest set is.
        """
        lengths = self.lengths[users]
        place = np.repeat(np.arange(len(users)), lengths)
        within_set = np.arange(len(place)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        item = self.items[np.repeat(self.starts[users], lengths) + within_set]
        fill = (0, size - len(place))
        return (
            np.pad(place, fill, constant_values=len(users)).astype(np.int32),
            np.pad(item, fill).astype(np.int32),
        )

    def most_pairs(self, blocks: list[NDArray[np.int32]]) -> int:
        """How many pairs the fullest of `blocks` of users has."""
        return max(int(self.lengths[block].sum()) for block in blocks)
