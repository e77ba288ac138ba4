"""A catalogue made from a seed, so that every command runs with nothing downloaded.

Each user has a taste for a few genres and, within them, for a few themes. Titles and tags name the
themes, genres are given, so text explains a part of the ratings; the rest is the item's quality,
the user's mood and noise. Popular items are rated more often, as in real data.
"""

import numpy as np
import polars as pl

from jaxrec.data.assemble import catalogue_of
from jaxrec.data.batches import Mending
from jaxrec.data.dataset import Catalogue, Dataset, Interactions, Remarks
from jaxrec.data.feedback import Feedback
from jaxrec.data.ids import Ids
from jaxrec.sources.guess import FILMS

STARS = Feedback.of("stars", np.arange(1, 11) / 2)
"""Half stars, as MovieLens has them."""

_GENRES = [
    "Action", "Adventure", "Animation", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Horror", "Romance", "Sci-Fi", "Thriller",
]  # fmt: skip
_THEMES = [
    "Harbour", "Winter", "Robot", "Orchard", "Detective", "Island", "Circus", "Galaxy",
    "Wedding", "Desert", "Ghost", "Chess", "Volcano", "Library", "Train", "Wolf",
    "Painter", "Submarine", "Garden", "Boxing", "Castle", "Jazz", "River", "Clock",
]  # fmt: skip
_FRAMES = ["The {} Affair", "Return to the {}", "{} Nights", "A {} Story", "Last {}", "My {} Year"]


def synthetic_dataset(users: int = 300, items: int = 800, seed: int = 0) -> Dataset:
    """Make a data set with planted tastes; the same arguments give the same data set."""
    rng = np.random.default_rng(seed)
    genres = np.stack([rng.choice(len(_GENRES), 2, replace=False) for _ in range(items)])
    themes = rng.integers(len(_THEMES), size=items)
    quality = rng.normal(0, 0.4, items)
    popularity = rng.permutation(1 / np.arange(3, items + 3) ** 0.7)
    popularity *= np.exp(quality)

    genre_taste = rng.normal(0, 0.6, (users, len(_GENRES)))
    theme_taste = rng.normal(0, 0.6, (users, len(_THEMES)))
    mood = rng.normal(0, 0.3, users)
    activity = rng.geometric(1 / 45, users) + 19

    rows: list[tuple[int, int, float, int]] = []
    tagged: list[tuple[int, int, str]] = []
    for user in range(users):
        taste = genre_taste[user, genres].sum(1) + theme_taste[user, themes]
        appeal = popularity * np.exp(0.8 * taste)
        chosen = rng.choice(items, min(activity[user], items), False, appeal / appeal.sum())
        noise = rng.normal(0, 0.5, len(chosen))
        stars = 3.3 + mood[user] + quality[chosen] + 0.7 * taste[chosen] + noise
        stars = np.clip(np.round(2 * stars) / 2, 0.5, 5.0)
        session = np.arange(len(chosen)) // max(1, len(chosen) // 2)  # two visits, apart
        days = user + session * users // 2
        times = 1_000_000_000 + 86_400 * days + 60 * np.arange(len(chosen))
        rows += [
            (user, int(i), float(r), int(t)) for i, r, t in zip(chosen, stars, times, strict=True)
        ]
        for item in chosen[rng.random(len(chosen)) < 0.03]:
            tagged.append((user, int(item), _THEMES[themes[item]].lower()))

    years = rng.integers(1950, 2020, items)
    titles = [
        f"{_FRAMES[rng.integers(len(_FRAMES))].format(_THEMES[t])} ({y})"
        for t, y in zip(themes, years, strict=True)
    ]
    rated_by, rated, given, at = (np.array(column) for column in zip(*rows, strict=True))
    return Dataset(
        name="synthetic",
        source=f"made by jaxrec from seed {seed}: {users} users, {items} items",
        user_ids=Ids(np.arange(1, users + 1), "user"),
        catalogue=films(
            list(range(1, items + 1)),
            titles,
            ["|".join(_GENRES[g] for g in sorted(pair)) for pair in genres],
        ),
        interactions=Interactions(rated_by.astype(np.int32), rated.astype(np.int32), given, at),
        feedback=STARS,
        remarks=Remarks(
            np.array([u for u, _, _ in tagged], np.int32),
            np.array([i for _, i, _ in tagged], np.int32),
            [word for _, _, word in tagged],
            np.zeros(len(tagged), np.int64),
        ),
        synthetic=True,
    )


def films(ids: list[int] | list[str], titles: list[str], genres: list[str]) -> Catalogue:
    """A catalogue of films from their titles, `Heat (1995)`, and genres joined by `|`."""
    table = pl.DataFrame({"movieId": ids, "title": titles, "genres": genres})
    return catalogue_of(table, FILMS, False, Mending(strict=True), lambda row: f"film {row + 1}")
