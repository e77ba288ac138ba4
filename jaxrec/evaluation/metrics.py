"""Ranking metrics as pure functions: of a ranked list's hits, and beyond accuracy, of its items.

Of hits, over the last axis:
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

Beyond accuracy, whoever likes what is listed: what an item tells, how evenly items are listed, how
unlike those of a list are, and how far a list's categories are from what the user has.

>>> self_information(np.array([8, 2, 0]), 8).tolist()  # all have it, a quarter, nobody
[0.0, 2.0, 3.0]
>>> gini(np.array([5, 5])), gini(np.array([0, 0, 9, 0]))
(0.0, 0.75)
>>> float(diversity(np.array([1.0, 1.0]), np.array(2)))  # the sum of two at a right angle
1.0
>>> round(float(miscalibration(np.array([1.0, 0.0]), np.array([0.5, 0.5]))), 4)  # -ln 0.505
0.6832
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.special import rel_entr

CALIBRATION_ALPHA = 0.01
"""Share of what the user has that is mixed into her list, so that KL is finite (Steck 2018)."""


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


def self_information(counts: NDArray[np.integer], users: int) -> NDArray[np.float64]:
    """[items] bits: -log2 of the share of `users` that have the item (Zhou et al. 2010).

    Of an item that nobody has as if one had it, as RecTools does.

    Args:
        counts: [items] users that have each.
        users: all that have any.
    """
    return np.log2(users) - np.log2(np.maximum(counts, 1))


def gini(counts: NDArray[np.integer]) -> float:
    """Gini index of how often each of n items is listed [n]: 0 all alike, 1 - 1/n one alone.

    sum over j = 1..n of (2 j - n - 1) x_j / (n sum x), x ascending; NaN where nothing is listed.
    """
    x, n = np.sort(counts).astype(np.float64), len(counts)
    total = n * x.sum()
    return float((2 * np.arange(1, n + 1) - n - 1) @ x / total) if total > 0 else float("nan")


def diversity(total: NDArray[np.floating], n: NDArray[np.integer]) -> NDArray[np.float64]:
    """[...] mean of 1 - cosine over the pairs of each list (Ziegler et al. 2005).

    The cosines of all n (n - 1) ordered pairs sum to |total|^2 - n.

    Args:
        total: [..., dim] sum of the unit vectors of the list's items.
        n: [...] items on the list; NaN where they make no pair.
    """
    pairs = np.where(n > 1, n * (n - 1.0), np.nan)
    return 1 - ((total.astype(np.float64) ** 2).sum(-1) - n) / pairs


def miscalibration(
    has: NDArray[np.floating], listed: NDArray[np.floating], alpha: float = CALIBRATION_ALPHA
) -> NDArray[np.float64]:
    """[...] nats: KL(p | (1 - alpha) q + alpha p), 0 where a list is like the user (Steck 2018).

    Args:
        has: [..., categories] weights of what the user has, p when they sum to 1.
        listed: [..., categories] of what is on her list, q when they sum to 1.
        alpha: see above.

    Returns:
        NaN where one of the two is without any category.
    """
    p, q = _distribution(has), _distribution(listed)
    return rel_entr(p, (1 - alpha) * q + alpha * p).sum(-1)


def _distribution(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    total = weights.sum(-1, keepdims=True, dtype=np.float64)
    return weights / np.where(total > 0, total, np.nan)


def _discounts(k: int) -> Array:
    return 1 / jnp.log2(jnp.arange(2, k + 2))


def _dcg(hits: Array, k: int) -> Array:
    return jnp.sum(hits[..., :k] * _discounts(k), -1)


def _ideal_dcg(count: Array, k: int) -> Array:
    return jnp.cumsum(_discounts(k))[jnp.maximum(count, 1) - 1]
