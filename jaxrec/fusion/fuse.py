"""Fuses collaborative and content scores. The only place where scores are rescaled."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrec.errors import InputError

FUSIONS = ("published", "sigmoid-cosine")
ALPHA = 0.85
"""Published weight of the collaborative branch."""


def check_fusion(name: str) -> None:
    """Raise InputError unless there is a fusion called `name`."""
    if name not in FUSIONS:
        raise InputError(f"no fusion {name!r}; there are {', '.join(FUSIONS)}")


def min_max(scores: Array, over: Array) -> Array:
    """Scale each row so that its values where `over` is true span [0, 1]; 0 where all are equal.

    Args:
        scores: [users, items] on any scale.
        over: [users, items] bool, or [items] for all users alike.
    """
    low = jnp.min(jnp.where(over, scores, jnp.inf), axis=1, keepdims=True)
    high = jnp.max(jnp.where(over, scores, -jnp.inf), axis=1, keepdims=True)
    span = high - low
    return jnp.where(span > 0, (scores - low) / jnp.where(span > 0, span, 1), 0)


def fuse_published(
    mf: Array, content: Array, vocabulary: Array, candidates: Array, alpha: Array | float
) -> Array:
    """The published fusion: alpha minmax(mf) + (1 - alpha) minmax(content).

    Args:
        mf: [users, items] raw collaborative scores, scaled over the whole vocabulary, seen items
            too.
        content: [users, items] content scores, scaled over the unseen candidates.
        vocabulary: [items] bool, items with a train rating.
        candidates: [users, items] bool, unseen candidates.
        alpha: weight of the collaborative branch, in [0, 1].
    """
    return alpha * min_max(mf, vocabulary) + (1 - alpha) * min_max(content, candidates)


def fuse_sigmoid_cosine(logits: Array, cosines: Array, alpha: Array | float) -> Array:
    """DESIGN eq. (3): y = alpha sigmoid(s_MF) + (1 - alpha) cos(E_u, e_i), all [users, items]."""
    return alpha * jax.nn.sigmoid(logits) + (1 - alpha) * cosines
