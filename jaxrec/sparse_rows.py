"""Item sets, one per user, of very different sizes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.dataset import Ratings


class Rows(NamedTuple):
    """Item sets, one per user, as sparse rows."""

    starts: NDArray[np.int64]
    """[users + 1] row u is `items[starts[u]:starts[u + 1]]`."""
    items: NDArray[np.int32]

    @classmethod
    def of(cls, ratings: Ratings, users: int) -> "Rows":
        """The items of each user's `ratings`."""
        order = np.argsort(ratings.users, kind="stable")
        counts = np.bincount(ratings.users, minlength=users)
        return cls(np.concatenate([[0], np.cumsum(counts)]), ratings.items[order])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[users] how many items each row has."""
        return np.diff(self.starts)

    def padded(self, users: NDArray[np.integer], width: int, fill: int) -> NDArray[np.int32]:
        """[len(users), width] the rows of `users`, filled up with `fill`."""
        places = self.starts[users][:, None] + np.arange(width)
        inside = np.arange(width) < self.lengths[users][:, None]
        padded_items = np.append(self.items, np.int32(fill))
        return padded_items[np.where(inside, places, -1)]
