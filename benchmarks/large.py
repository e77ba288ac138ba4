"""A synthetic implicit matrix of the size of MovieLens 20M, with power-law users and items.

Nobody has a taste in it, items are drawn by popularity alone: it tells time and memory, and no
figure of quality.
"""

from pathlib import Path

import numpy as np
import polars as pl

from jaxrec import Interactions

USERS, ITEMS = 138_493, 26_744
WORDS = """
    amber arctic autumn battle bicycle bridge candle castle chapter circle city copper crystal
    dancing desert dragon driver echo empire evening falcon family fire forest garden ghost
    golden guitar harbour hidden honey house island journey kitchen lantern letter lonely lost
    machine magic marble midnight mirror mountain night northern ocean orange paper pilot planet
    queen quiet rain red river road salt school season secret shadow silent silver sister snow
    south storm story street summer sun thunder tower train travel valley velvet village violin
    water western whisper white wild window winter wolf wonder yellow young
""".split()  # noqa: SIM905 (a list of them would be longer)
"""Of which titles are made."""


def power_law(
    users: int = USERS, items: int = ITEMS, seed: int = 0, typical: float = 3.9
) -> Interactions:
    """Liked ratings of `users` users on `items` items, no pair twice, at least 20 a user.

    A user's number of ratings is 20 plus a log-normal one, of which `typical` is the logarithm's
    mean; items are drawn by their popularity 1 / (rank + 20), so that the most popular is rated by
    more than a third of all users.
    """
    rng = np.random.default_rng(seed)
    wanted = 20 + np.minimum(rng.lognormal(typical, 1.1, users), 5_000).astype(np.int64)
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


def write_folder(folder: Path, found: Interactions, items: int, stars: bool = False) -> None:
    """The files of a data set: `interactions.parquet`, and `items.parquet` with a title each.

    Titles are eleven words or so, drawn as all else is from a seed.

    Args:
        folder: made if it is not there.
        found: as `power_law` makes them.
        items: how many have a title, with an interaction or not.
        stars: give every interaction 0.5 to 5 stars, three of five of them 4 or more.
    """
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"user_id": found.users, "item_id": found.items}
    if stars:
        share = np.array([1, 1, 1, 1, 2, 7, 4, 12, 18, 13]) / 60
        columns["rating"] = rng.choice(np.arange(1, 11) / 2, len(found.users), p=share)
    pl.DataFrame(columns).write_parquet(folder / "interactions.parquet")
    words = rng.choice(WORDS, (items, 14))
    lengths = rng.integers(8, 15, items)
    titles = [" ".join(own[:n]) for own, n in zip(words.tolist(), lengths, strict=True)]
    pl.DataFrame({"item_id": np.arange(items), "title": titles}).write_parquet(
        folder / "items.parquet"
    )
