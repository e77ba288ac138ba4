"""Exact top-K of blocks of users and items.

Tie rule: higher score first, then earlier in a given order of the items, or else lower item index.

XLA's top-K sorts a heap of the whole row. So the maxima of groups of neighbouring items come first:
the best K groups, ties to the lower one, hold the best K items, ties to the lower one (an item left
out has K better or earlier ones, one in each group that was preferred to its own). Only those
groups' items are sorted.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxrec.devices import placement
from jaxrec.errors import InputError
from jaxrec.topk.blocks import BYTES, MEMORY, over_users
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.scorer import AnyScorer, Product, Scorer, worked_out

FEWEST = 16
"""If fewer users than this fit the budget, items are cut into blocks too."""


Seen = tuple[Array, Array] | Array
"""Pairs of (place in a block, item), see `ItemSets.pairs`; or [block, items] bool, for few users,
so that one program serves them whatever they have."""


def membership(seen: Seen, block: int, items: int) -> Array:
    """[block, items] bool: is (place in the block, item) among `seen`?"""
    if not isinstance(seen, tuple):
        return seen
    return jnp.zeros((block, items), bool).at[seen].set(True, mode="drop")


def rank(
    scorer: Scorer,
    users: Array,
    seen: Seen,
    catalogue: Array,
    k: int,
    tie_order: Array | None = None,
    allowed: Array | None = None,
) -> tuple[Array, Array]:
    """Items and scores of the `k` best unseen items of each user.

    Args:
        scorer: see `jaxrec.topk.scorer`.
        users: [block].
        seen: see `Seen`.
        catalogue: [items] bool.
        k: how many.
        tie_order: [items] in the order in which equal scores are ranked; by index if it is None.
        allowed: [items] bool, which of the catalogue may be listed; all by default. What else is
            unseen still is a candidate, so that its absence moves no score.

    Returns:
        items: [block, k] int32, best first; -1 where a user has fewer than k candidates.
        scores: [block, k]; -inf there, NaN throughout where a candidate's score is not a number.
    """
    scores = unseen_scores(scorer, users, seen, catalogue)
    lost = broken(scorer, users, scores, catalogue)[:, None]
    listed = catalogue if allowed is None else catalogue & allowed
    items, top_scores = best(scores, listed, k, tie_order)
    return items, jnp.where(lost, jnp.nan, top_scores)


def broken(scorer: Scorer, users: Array, scores: Array, catalogue: Array) -> Array:
    """[block] is a candidate's score not a number?

    Maxima do not tell: vectorised, they may lose it. Of a product the two sides do, which are far
    smaller.
    """
    if not isinstance(scorer, Product):
        return jnp.any(jnp.isnan(scores) & catalogue, axis=1)
    of_items = jnp.any(jnp.isnan(scorer.right), axis=1) & catalogue
    return jnp.any(jnp.isnan(scorer.left[users]), axis=1) | jnp.any(of_items)


def unseen_scores(scorer: Scorer, users: Array, seen: Seen, catalogue: Array) -> Array:
    """[block, items] scores, -inf where an item is among `seen`; arguments as `rank`."""
    candidates = catalogue & ~membership(seen, len(users), len(catalogue))
    scores = scorer(users, candidates)
    if not isinstance(seen, tuple):
        return jnp.where(seen, -jnp.inf, scores)
    return scores.at[seen].set(-jnp.inf, mode="drop")


def rank_by_item_blocks(
    scorer: Product,
    users: Array,
    seen: tuple[Array, Array],
    catalogue: Array,
    k: int,
    width: int,
    tie_order: Array | None = None,
) -> tuple[Array, Array]:
    """`rank`, `width` items at a time, the best so far merged with those of each block."""
    left, items = scorer.left[users], len(catalogue)
    order = jnp.arange(items, dtype=jnp.int32) if tie_order is None else tie_order
    place, item = seen
    item = jnp.zeros_like(order).at[order].set(jnp.arange(items, dtype=jnp.int32))[item]

    def block(number: Array, so_far: tuple[Array, Array]) -> tuple[Array, Array]:
        start = jnp.minimum(number * width, items - width)  # the last block overlaps
        own = jax.lax.dynamic_slice_in_dim(order, start, width)
        mine = start + jnp.arange(width) >= number * width
        here = (item >= start) & (item < start + width)
        scores = left @ scorer.right[own].T
        known = jnp.where(here, place, len(users)), item - start
        scores = scores.at[known].set(-jnp.inf, mode="drop")
        found, found_scores = best(scores, catalogue[own] & mine, min(k, width))
        both = jnp.concatenate([so_far[1], found_scores], axis=1)
        top_scores, which = jax.lax.top_k(both, k)
        moved = jnp.where(found >= 0, own[found], -1)
        merged = jnp.take_along_axis(jnp.concatenate([so_far[0], moved], axis=1), which, axis=1)
        return merged, top_scores

    nothing = (
        jnp.full((len(users), k), -1, jnp.int32),
        jnp.full((len(users), k), -jnp.inf, left.dtype),
    )
    found, found_scores = jax.lax.fori_loop(0, math.ceil(items / width), block, nothing)
    lost = broken(scorer, users, found_scores, catalogue)[:, None]
    return found, jnp.where(lost, jnp.nan, found_scores)


def best(
    scores: Array, catalogue: Array, k: int, tie_order: Array | None = None
) -> tuple[Array, Array]:
    """Items and scores of the k best of each row [items] among `catalogue`; see `rank`."""
    items = scores.shape[1]
    if k > items:
        found, found_scores = best(scores, catalogue, items, tie_order)
        missing = ((0, 0), (0, k - items))
        return (
            jnp.pad(found, missing, constant_values=-1),
            jnp.pad(found_scores, missing, constant_values=-jnp.inf),
        )
    if tie_order is None:
        return _best(scores, catalogue, k)
    places, found_scores = _best(scores[:, tie_order], catalogue[tie_order], k)
    return jnp.where(places >= 0, tie_order[places], -1), found_scores


def _best(scores: Array, catalogue: Array, k: int) -> tuple[Array, Array]:
    """`best`, k at most the number of items, ties by index."""
    block, items = scores.shape
    size = int(np.clip(2 ** round(math.log2(items / k) / 2), 8, 64))
    groups, rest = divmod(items, size)
    maxima = _maxima(jnp.where(catalogue, scores, -jnp.inf)[:, : groups * size], size)
    if rest:
        last = jnp.where(catalogue, scores, -jnp.inf)[:, groups * size :]
        maxima = jnp.concatenate([maxima, jnp.max(last, axis=1, keepdims=True)], axis=1)
    if maxima.shape[1] < 2 * k:
        of = jnp.broadcast_to(jnp.arange(items, dtype=jnp.int32), scores.shape)
        kept = jnp.where(catalogue, scores, -jnp.inf)
    else:
        _, best_groups = jax.lax.top_k(jnp.where(maxima == 0, 0, maxima), k)
        first = jnp.sort(best_groups, axis=1) * size  # by item again: ties go to the lower one
        start = jnp.minimum(first, items - size)  # the last group overlaps
        cut = jax.vmap(lambda row, at: jax.lax.dynamic_slice(row, (at,), (size,)), (None, 0))
        kept = jax.vmap(cut)(scores, start)
        of = start[..., None] + jnp.arange(size, dtype=jnp.int32)
        kept = jnp.where((of >= first[..., None]) & catalogue[of], kept, -jnp.inf)
        kept, of = kept.reshape(block, -1), of.reshape(block, -1)
    kept = jnp.where(kept == 0, 0, kept)  # -0 would rank below 0
    top_scores, which = jax.lax.top_k(kept, k)
    top_items = jnp.take_along_axis(of, which, axis=1)
    top_items = jnp.where(top_scores == -jnp.inf, -1, top_items)
    return top_items, top_scores


def _maxima(scores: Array, size: int) -> Array:
    """[block, groups] of groups of `size` neighbours, eight lanes at a time."""
    lanes = scores.reshape(len(scores), -1, size // 8, 8)
    return jnp.max(jnp.max(lanes, axis=2), axis=2)


@partial(jax.jit, static_argnames=("k", "width"))
@jax.default_matmul_precision("highest")  # an accelerator's default would reorder the lists
def _rank_unseen(
    scorer: Scorer,
    users: Array,
    seen: Seen,
    catalogue: Array,
    k: int,
    width: int | None,
    tie_order: Array | None,
    allowed: Array | None,
) -> tuple[Array, Array]:
    if width is None:
        return rank(scorer, users, seen, catalogue, k, tie_order, allowed)
    assert isinstance(scorer, Product)
    assert isinstance(seen, tuple)
    if allowed is not None:
        catalogue = catalogue & allowed
    return rank_by_item_blocks(scorer, users, seen, catalogue, k, width, tie_order)


def top_k(
    scorer: AnyScorer,
    users: NDArray[np.int32],
    seen: ItemSets,
    catalogue: NDArray[np.bool_],
    k: int,
    memory: int = MEMORY,
    tie_order: NDArray[np.int32] | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """The `k` best items of each user that the user has not seen.

    Args:
        scorer: see `jaxrec.topk.scorer`.
        users: [n] whom to serve.
        seen: the items each user already has.
        catalogue: [items] which items may be recommended.
        k: how many.
        memory: bytes that the arrays of the blocks under way may take. If they do not hold 16
            users' scores, a `Product` is ranked by blocks of items too.
        tie_order: [items] in the order in which equal scores are ranked, as `Task` has it; by index
            by default.
        allowed: [items] which of them may be listed (see `rank`); all by default.

    Returns:
        items: [n, k] int32, best first; -1 where a user has fewer than k unseen items.
        scores: [n, k] on the scorer's scale; -inf there.

    Raises:
        InputError: k is not at least 1.
        ValueError: a score is not a number.
    """
    items = len(catalogue)
    check_k(k)
    if not len(users):
        return np.zeros((0, k), np.int32), np.zeros((0, k), np.float32)
    place, width = placement(), None
    parallel = place.parallel
    if isinstance(scorer, Product) and memory // parallel < BYTES * items * FEWEST:
        width = int(np.clip(memory // parallel // (BYTES * FEWEST), min(k, items), items))

    def serve(
        block: NDArray[np.int32], pairs: tuple[NDArray[np.int32], NDArray[np.int32]]
    ) -> tuple[Array, Array]:
        here = worked_out(scorer, block)
        return _rank_unseen(here, block, pairs, catalogue, k, width, tie_order, allowed)

    lists, scores = over_users(serve, users, width or items, (seen,), memory, place)
    check_scores(np.isnan(scores))
    return lists, scores


def top_k_of_block(
    scorer: AnyScorer,
    seen: NDArray[np.bool_],
    catalogue: Array,
    k: int,
    tie_order: Array | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """`top_k` of one block of users, in one compiled call that is the same for all of that size.

    Args:
        scorer: of these users and no others.
        seen: [users, items] what each of them has.
        catalogue: [items] which items may be recommended.
        k: how many.
        tie_order: see `top_k`.

    Raises:
        ValueError: a score is not a number.
    """
    users = np.arange(len(seen), dtype=np.int32)
    here = worked_out(scorer, users)
    found = _rank_unseen(here, users, seen, catalogue, k, None, tie_order, None)
    items, scores = (np.asarray(part) for part in found)
    check_scores(np.isnan(scores))
    return items, scores


def check_k(k: int) -> None:
    """Raise InputError unless k is at least 1."""
    if k < 1:
        raise InputError(f"k is {k}; it must be at least 1")


def check_scores(lost: NDArray[np.bool_]) -> None:
    """Raise ValueError if of any user a score is not a number."""
    if lost.any():
        raise ValueError("a score is not a number; the factors or embeddings hold NaN")
