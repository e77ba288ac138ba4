"""Exact top-K of a block of users, and the plan of such blocks.

A scorer is a `jax.tree_util.Partial` of a pure function: `scorer(users, candidates) -> scores`,
`users [block]` int32, `candidates [block, items]` bool, `scores [block, items]` float. Being a
pytree, it passes through `jit` with its arrays as arguments, not as constants.

Tie rule: higher score first, then lower item index.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxrec.errors import InputError
from jaxrec.sparse_rows import Rows

Scorer = Callable[[Array, Array], Array]

MEMORY = 2**30
"""Default byte budget of a block's arrays."""


def user_blocks(users: NDArray[np.int32], items: int, memory: int) -> list[NDArray[np.int32]]:
    """Cut `users` into blocks of one length, the last filled up with its own last user.

    A block's arrays, about eight [block, items] ones of four bytes, keep within `memory` bytes;
    128 users at most, so that scores stay in the processor's cache.
    """
    block = int(np.clip(memory // (32 * items), 1, min(128, max(len(users), 1))))
    parts = [users[start : start + block] for start in range(0, len(users), block)]
    return [np.pad(part, (0, block - len(part)), mode="edge") for part in parts]


def membership(pairs: tuple[Array, Array], block: int, items: int) -> Array:
    """[block, items] bool: is (place in the block, item) among `pairs` (see `Rows.pairs`)?"""
    return jnp.zeros((block, items), bool).at[pairs].set(True, mode="drop")


def rank(scorer: Scorer, users: Array, candidates: Array, k: int) -> tuple[Array, Array]:
    """Items and scores of the `k` best candidates of each user.

    Returns:
        items: [block, k] int32, best first; -1 where a user has fewer than k candidates.
        scores: [block, k]; -inf there, NaN throughout where a candidate's score is not a number.
    """
    scores = scorer(users, candidates)
    scores = jnp.where(scores == 0, 0, scores)  # -0 would rank below 0
    scores = jnp.where(candidates, scores, -jnp.inf)
    broken = jnp.any(jnp.isnan(scores), axis=1, keepdims=True)
    top_scores, top_items = jax.lax.top_k(scores, k)
    top_items = jnp.where(top_scores == -jnp.inf, -1, top_items)
    return top_items, jnp.where(broken, jnp.nan, top_scores)


@partial(jax.jit, static_argnames="k")
def _rank_unseen(
    scorer: Scorer, users: Array, seen: tuple[Array, Array], catalogue: Array, k: int
) -> tuple[Array, Array]:
    unseen = ~membership(seen, len(users), len(catalogue))
    return rank(scorer, users, catalogue & unseen, k)


def top_k(
    scorer: Scorer,
    users: NDArray[np.int32],
    seen: Rows,
    catalogue: NDArray[np.bool_],
    k: int,
    memory: int = MEMORY,
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """The `k` best items of each user that the user has not seen.

    Args:
        scorer: see the module.
        users: [n] whom to serve.
        seen: the items each user already has.
        catalogue: [items] which items may be recommended.
        k: how many, at most the catalogue's size.
        memory: bytes that a block's arrays may take.

    Returns:
        items: [n, k] int32, best first; -1 where a user has fewer than k unseen items.
        scores: [n, k] on the scorer's scale; -inf there.

    Raises:
        InputError: k is out of range.
        ValueError: a score is not a number.
    """
    check_k(k, len(catalogue))
    blocks = user_blocks(users, len(catalogue), memory)
    size = seen.most_pairs(blocks)
    found = [_rank_unseen(scorer, b, seen.pairs(b, size), catalogue, k) for b in blocks]
    items, scores = (np.concatenate(column)[: len(users)] for column in zip(*found, strict=True))
    check_scores(scores)
    return items, scores


def check_k(k: int, items: int) -> None:
    """Raise InputError unless 1 <= k <= items."""
    if not 1 <= k <= items:
        raise InputError(f"k is {k}; it must lie between 1 and the catalogue's {items} items")


def check_scores(scores: NDArray[np.floating]) -> None:
    """Raise ValueError if a ranked score is not a number."""
    if np.isnan(scores).any():
        raise ValueError("a score is not a number; the factors or embeddings hold NaN")
