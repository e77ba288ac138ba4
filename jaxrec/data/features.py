"""What is known of an item beside its ratings, as numbers: text embedding, year and genres."""

import re

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset
from jaxrec.data.texts import NO_GENRES

YEAR = re.compile(r"\((\d{4})[^()]*\)\s*$")
"""Of `Heat (1995)` and `Doctor Who (2005-2010)`: the last bracket, its first year."""
DECADE = 10.0


def years(dataset: Dataset) -> NDArray[np.float64]:
    """[items] year in the title's last bracket; NaN where there is none."""
    found = (YEAR.search(title) for title in dataset.titles)
    return np.array([np.nan if match is None else float(match[1]) for match in found])


def year_features(dataset: Dataset, width: float = DECADE) -> NDArray[np.float32]:
    """[items, bins] smooth bins: a Gaussian of `width` / 2 years around every half `width`.

    Rows have norm 1, or 0 without a year.
    """
    year = years(dataset)
    if np.isnan(year).all():
        return np.zeros((dataset.items, 0), np.float32)
    step = width / 2
    centres = np.arange(np.nanmin(year), np.nanmax(year) + step, step)
    bins = np.exp(-0.5 * ((year[:, None] - centres) / step) ** 2)
    return _unit(np.nan_to_num(bins))


def genre_features(dataset: Dataset) -> NDArray[np.float32]:
    """[items, genres] 1 where the item has the genre, rows scaled to norm 1 (0 without genres)."""
    sets = [
        set() if genres == NO_GENRES else set(filter(None, genres.split("|")))
        for genres in dataset.genres
    ]
    names = sorted(set().union(*sets))
    return _unit(np.array([[name in own for name in names] for own in sets], np.float32))


def item_features(
    dataset: Dataset, E: NDArray[np.floating] | None = None, metadata: float = 1.0
) -> NDArray[np.float32]:
    """[items, features] unit embeddings E [items, dim], year and genres times `metadata`, and 1."""
    parts = [np.ones((dataset.items, 1), np.float32)]
    if metadata > 0:
        parts += [metadata * year_features(dataset), metadata * genre_features(dataset)]
    if E is not None:
        parts.append(E)
    return np.hstack(parts).astype(np.float32)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
