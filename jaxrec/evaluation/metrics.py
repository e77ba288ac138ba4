"""Ranking metrics as pure functions of a ranked list's hits, over the last axis.

`hits [..., K]` says which places of the list, best first, hold a relevant item; `relevant [...]`
counts the user's relevant items (at least one); `k` is the cut-off, 1 <= k <= K.

With hits at ranks 1 and 3 of a list of four, and three relevant items in all:

>>> hits, relevant = jnp.array([True, False, True, False]), jnp.array(3)
>>> round(float(precision(hits, 4)), 4), round(float(recall(hits, relevant, 4)), 4)
(0.5, 0.6667)
>>> round(float(ndcg(hits, relevant, 4)), 4)  # (1 + 1/2) / (1 + 1/log2(3) + 1/2)
0.7039
>>> round(float(ndcg_retrieved(hits, 4)), 4)  # (1 + 1/2) / (1 + 1/log2(3))
0.9197
>>> float(reciprocal_rank(hits, 4)), float(hit_rate(hits, 4))
(1.0, 1.0)
>>> round(float(average_precision(hits, relevant, 4)), 4)  # (1/1 + 2/3) / 3
0.5556
"""

import jax.numpy as jnp
from jax import Array


def precision(hits: Array, k: int) -> Array:
    """P@K = hits / K; the denominator is K even where fewer items could be relevant."""
    return jnp.sum(hits[..., :k], -1) / k


def recall(hits: Array, relevant: Array, k: int) -> Array:
    """R@K = hits / relevant items of the user, also where these outnumber K."""
    return jnp.sum(hits[..., :k], -1) / relevant


def ndcg(hits: Array, relevant: Array, k: int) -> Array:
    """NDCG@K with binary gains: DCG / DCG of the best achievable list, min(K, relevant) hits.

    DCG = sum over ranks r = 1..K of hit_r / log2(r + 1) (Jarvelin & Kekalainen 2002).
    """
    return _dcg(hits, k) / _ideal_dcg(jnp.minimum(relevant, k), k)


def ndcg_retrieved(hits: Array, k: int) -> Array:
    """The published variant: DCG / DCG of the *same* hits moved to the top; 0 without a hit.

    It forgives what was not retrieved, so it is far higher than `ndcg`.
    """
    found = jnp.sum(hits[..., :k], -1)
    return jnp.where(found > 0, _dcg(hits, k) / _ideal_dcg(jnp.maximum(found, 1), k), 0.0)


def reciprocal_rank(hits: Array, k: int) -> Array:
    """MRR@K of one user: 1 / rank of the first hit, 0 if there is none within K."""
    return jnp.max(hits[..., :k] / jnp.arange(1, k + 1), -1)


def average_precision(hits: Array, relevant: Array, k: int) -> Array:
    """MAP@K of one user: the sum over hits within K of the precision there / min(K, relevant)."""
    cut = hits[..., :k]
    at_rank = jnp.cumsum(cut, -1) / jnp.arange(1, k + 1)
    return jnp.sum(cut * at_rank, -1) / jnp.maximum(jnp.minimum(relevant, k), 1)


def hit_rate(hits: Array, k: int) -> Array:
    """1 if there is a hit within K, else 0."""
    return jnp.any(hits[..., :k], -1).astype(float)


def _discounts(k: int) -> Array:
    return 1 / jnp.log2(jnp.arange(2, k + 2))


def _dcg(hits: Array, k: int) -> Array:
    return jnp.sum(hits[..., :k] * _discounts(k), -1)


def _ideal_dcg(count: Array, k: int) -> Array:
    return jnp.cumsum(_discounts(k))[jnp.maximum(count, 1) - 1]
