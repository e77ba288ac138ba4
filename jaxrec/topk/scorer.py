"""What gives scores.

A scorer is a pytree that is called `scorer(users, candidates) -> scores`, `users [block]` int32,
`candidates [block, items]` bool, `scores [block, items]` float: a `jax.tree_util.Partial` of a pure
function, which passes through `jit` with its arrays as arguments, or a `Product`, which can also be
evaluated for a block of items at a time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray


class Product(NamedTuple):
    """The scorer left_u . right_i."""

    left: Array
    """[users, dim]"""
    right: Array
    """[items, dim]"""

    def __call__(self, users: Array, candidates: Array) -> Array:
        """Scores [block, items]."""
        return self.left[users] @ self.right.T


class Table(NamedTuple):
    """The scorer that looks scores up."""

    scores: Array
    """[users, items]"""

    def __call__(self, users: Array, candidates: Array) -> Array:
        """Scores [block, items]."""
        return self.scores[users]


Scorer = Product | Table | Callable[[Array, Array], Array]


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
