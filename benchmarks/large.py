"""A synthetic implicit matrix of the size of MovieLens 20M, with power-law users and items."""

import numpy as np

from jaxrec import Interactions

USERS, ITEMS = 138_493, 26_744


def power_law(users: int = USERS, items: int = ITEMS, seed: int = 0) -> Interactions:
    """Liked ratings of `users` users on `items` items, no pair twice, at least 20 a user.

    A user's number of ratings is 20 plus a log-normal one; items are drawn by their popularity
    1 / (rank + 20), so that the most popular is rated by more than a third of all users.
    """
    rng = np.random.default_rng(seed)
    wanted = 20 + np.minimum(rng.lognormal(3.9, 1.1, users), 5_000).astype(np.int64)
    popularity = np.cumsum(1 / (np.arange(items) + 20))
    popularity /= popularity[-1]
    names = rng.permutation(items).astype(np.int32)
    columns = []
    for start in range(0, users, 5_000):
        count = wanted[start : start + 5_000]
        drawn = np.repeat(np.arange(len(count)), 2 * count)
        pair = drawn * items + np.searchsorted(popularity, rng.random(len(drawn)))
        pair = pair[np.sort(np.unique(pair, return_index=True)[1])]  # each once, in drawn order
        user = pair // items
        nth = np.arange(len(pair)) - np.searchsorted(user, user)
        kept = pair[nth < count[user]]
        columns.append(np.stack([kept // items + start, names[kept % items]]).astype(np.int32))
    user, item = np.concatenate(columns, axis=1)
    return Interactions(user, item, np.full(len(user), 5.0), np.zeros(len(user), np.int64))
