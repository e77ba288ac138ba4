"""Settings and vectors of the set model, and the vectors of users who ask."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FITS = 2**15
"""So many items are all in the softmax's denominator; of more, so many others are drawn."""


class SetSettings(NamedTuple):
    """Of the model and of how it learns."""

    dim: int = 128
    temperature: float = 0.2
    apart: float = 0.3
    """How readily the two vectors of an item part; 0: they are one."""
    rate: float = 4e-3
    """Of Adam at its highest; it rises over a tenth of the steps and falls as a cosine."""
    batch: int = 256
    """Users of a step, at most; an epoch has 40 steps where users suffice."""
    least_shown: float = 0.2
    """The least share of what a user has that is shown."""
    most_shown: float = 0.8
    epochs: int = 10


class Vectors(NamedTuple):
    """What was learned."""

    inward: NDArray[np.float32]
    """[items, dim] v, whose sum a user is."""
    right: NDArray[np.float32]
    """[items, dim + 1] w over the temperature, and the bias."""
    learned: NDArray[np.bool_]
    """[items] does anybody have it, but for what was hidden? The others are where they began."""
    curve: tuple[float, ...]
    """NDCG@25 of the judges before the first epoch and after each."""


def positive(X: sparse.csr_array) -> sparse.csr_array:
    """What users have, of X [users, items]: what is above 0, for stars above `neutral`."""
    X = sparse.csr_array(X, dtype=np.float32, copy=True)
    X.data = np.maximum(X.data, 0)
    X.eliminate_zeros()
    return X


def of_users(X: sparse.csr_array, inward: NDArray[np.float32]) -> NDArray[np.float32]:
    """[users, dim + 1] the unit sums of the vectors of what users have, X [users, items], and 1.

    Of a user who has nothing the bias alone speaks.
    """
    u = X @ inward
    norms = np.linalg.norm(u, axis=1, keepdims=True)
    return np.column_stack([u / np.where(norms > 0, norms, 1), np.ones(len(u))]).astype(np.float32)
