"""What gives scores.

A scorer is a pytree that is called `scorer(users, candidates) -> scores`, `users [block]` int32,
`candidates [block, items]` bool, `scores [block, items]` float: a `jax.tree_util.Partial` of a pure
function, which passes through `jit` with its arrays as arguments, or a `Product`, which can also be
evaluated for a block of items at a time.

Item-item weights are sparse, or as wide as the catalogue, and so are the users' sides of their
scores: a `Linear` stays on the host. Whoever calls a scorer for a block of users first has what
lies on the host `worked_out` for them; nothing of size users x items ever exists.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy import sparse


class Product(NamedTuple):
    """The scorer left_u . right_i."""

    left: Array
    """[users, dim]"""
    right: Array
    """[items, dim]"""

    def __call__(self, users: Array, candidates: Array) -> Array:
        """Scores [block, items]."""
        return self.left[users] @ self.right.T

    def at(self, items: NDArray[np.integer]) -> NDArray[np.floating]:
        """Scores [users, n] of some items [n] alone, in double precision."""
        left, right = np.asarray(self.left, np.float64), np.asarray(self.right)[items]
        return left @ right.T


class Scores(NamedTuple):
    """The scorer of one block of users, whose scores are there."""

    scores: Array
    """[block, items]"""

    def __call__(self, users: Array, candidates: Array) -> Array:
        """Scores [block, items]."""
        return self.scores


@dataclass(frozen=True)
class Linear:
    """The scorer x_u (W + left right^T): what users have, times item-item weights.

    No pytree but a leaf of one, which no compiled function takes: it is to be `worked_out`.
    """

    X: sparse.csr_array
    """[users, items]"""
    W: sparse.csr_array | NDArray[np.floating]
    """[first items, first items] what an interaction with the one says of the other."""
    left: NDArray[np.floating] | None = None
    """[items, rank]"""
    right: NDArray[np.floating] | None = None
    """[items, rank]"""

    def of(self, users: NDArray[np.integer]) -> Scores:
        """Scores of a block of users."""
        X, first = self.X[users], self.W.shape[0]
        found = X[:, :first] @ self.W
        if sparse.issparse(found):
            found = found.toarray()
        if self.left is not None and self.right is not None:
            rest = (X @ self.left) @ self.right.T
            rest[:, :first] += found
            found = rest
        return Scores(single(found))

    def at(self, items: NDArray[np.integer]) -> NDArray[np.floating]:
        """Scores [users, n] of some items [n] alone, in double precision."""
        X, first = self.X.astype(np.float64), self.W.shape[0]
        found, old = np.zeros((X.shape[0], len(items))), items < first
        by_weights = X[:, :first] @ self.W[:, items[old]]
        found[:, old] = by_weights.toarray() if sparse.issparse(by_weights) else by_weights
        if self.left is not None and self.right is not None:
            found += (X @ self.left) @ self.right[items].T
        return found


Scorer = Product | Scores | Callable[[Array, Array], Array]
AnyScorer = Scorer | Linear
"""To be worked out for a block of users, if not all of it is."""


def worked_out(scorers: Any, users: NDArray[np.integer]) -> Any:
    """Scorers for a block of users [block], with nothing left that lies on the host."""
    return jax.tree.map(lambda part: part.of(users) if isinstance(part, Linear) else part, scorers)


def product(left: NDArray[np.floating] | Array, right: NDArray[np.floating] | Array) -> Product:
    """The scorer left [users, dim] times right [items, dim], in single precision.

    Of factors U, V the collaborative score U_u . V_i; of profiles and unit embeddings the content
    score.
    """
    return Product(single(left), single(right))


def single(array: NDArray[Any] | Array) -> Array:
    """An array in single precision; NumPy converts its own, with nothing to compile."""
    if isinstance(array, np.ndarray):
        array = array.astype(np.float32, copy=False)
    return jnp.asarray(array, jnp.float32)
