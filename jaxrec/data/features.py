"""What is known of an item beside its interactions, as numbers: embedding, numbers, categories."""

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Catalogue


def number_features(catalogue: Catalogue, column: str) -> NDArray[np.float32]:
    """[items, bins] smooth bins of a column of numbers.

    With w the column's width in `Catalogue.numbers`, bins are Gaussians of w / 2 around every half
    w, so that items less than w apart are alike. Rows have norm 1, or 0 without a number.
    """
    number = catalogue.table[column].cast(float).fill_null(np.nan).to_numpy()
    if np.isnan(number).all():
        return np.zeros((len(number), 0), np.float32)
    step = catalogue.numbers[column] / 2
    centres = np.arange(np.nanmin(number), np.nanmax(number) + step, step)
    bins = np.exp(-0.5 * ((number[:, None] - centres) / step) ** 2)
    return _unit(np.nan_to_num(bins))


def category_features(catalogue: Catalogue, column: str) -> NDArray[np.float32]:
    """[items, words] 1 where the item is of the category, rows of norm 1 (0 without any)."""
    sets = [set(words or ()) for words in catalogue.table[column].to_list()]
    names = sorted(set().union(*sets))
    return _unit(np.array([[name in own for name in names] for own in sets], np.float32))


def item_features(
    catalogue: Catalogue, E: NDArray[np.floating] | None = None, metadata: float = 1.0
) -> NDArray[np.float32]:
    """[items, features] 1, numbers and categories times `metadata`, embeddings E [items, dim]."""
    parts = [np.ones((len(catalogue.ids), 1), np.float32)]
    if metadata > 0:
        parts += [metadata * number_features(catalogue, column) for column in catalogue.numbers]
        parts += [
            metadata * category_features(catalogue, column) for column in catalogue.categories
        ]
    if E is not None:
        parts.append(E)
    return np.hstack(parts).astype(np.float32)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
