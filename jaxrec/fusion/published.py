"""Fuses collaborative and content scores by the rules of the published reports.

| fusion           | scale            | how                                                      |
|------------------|------------------|----------------------------------------------------------|
| `published`      | [0, 1]           | both branches min-max scaled per user                    |
| `sigmoid-cosine` | [alpha - 1, 1]   | eq. 3: sigmoid of the logit, cosine of profile and item  |
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.data.feedback import Feedback
from jaxrec.errors import InputError
from jaxrec.fusion.profiles import liked_profiles, recency_weights, weighted_profiles
from jaxrec.topk.scorer import Product

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


def content_profiles(
    fusion: str, train: Interactions, feedback: Feedback, E: NDArray[np.float32], users: int
) -> Array:
    """[users, dim] the profiles that go with `fusion` (see `jaxrec.fusion.published.FUSIONS`)."""
    check_fusion(fusion)
    if fusion == "published":
        return weighted_profiles(train, recency_weights(train, feedback, users), E, users)
    return liked_profiles(train, feedback, E, users)


def published_fusion(
    fusion: str,
    factors: tuple[NDArray[np.floating], NDArray[np.floating]],
    profiles: Array,
    E: NDArray[np.float32],
    vocabulary: NDArray[np.bool_],
    alpha: float,
) -> Partial:
    """The scorer of a fusion; alpha is an argument, so that another alpha compiles nothing anew.

    Args:
        fusion: one of `FUSIONS`.
        factors: U [users, factors] and V [items, factors].
        profiles: [users, dim], see `content_profiles`.
        E: [items, dim] unit embeddings.
        vocabulary: [items] items with a train rating.
        alpha: weight of the collaborative branch, in [0, 1].
    """
    check_fusion(fusion)
    arrays = (*_single(*factors), *_single(profiles, E))
    weight = jnp.float32(alpha)
    if fusion == "published":
        return Partial(_published, *arrays, jnp.asarray(vocabulary), weight)
    return Partial(_sigmoid_cosine, *arrays, weight)


def _single(*arrays: NDArray[np.floating] | Array) -> tuple[Array, ...]:
    return tuple(jnp.asarray(array, jnp.float32) for array in arrays)


def _published(
    U: Array,
    V: Array,
    profiles: Array,
    E: Array,
    vocabulary: Array,
    alpha: Array,
    users: Array,
    candidates: Array,
) -> Array:
    content = Product(profiles, E)(users, candidates)
    collaborative = Product(U, V)(users, candidates)
    return fuse_published(collaborative, content, vocabulary, candidates, alpha)


def _sigmoid_cosine(
    U: Array, V: Array, profiles: Array, E: Array, alpha: Array, users: Array, candidates: Array
) -> Array:
    cosines = Product(profiles, E)(users, candidates)
    return fuse_sigmoid_cosine(Product(U, V)(users, candidates), cosines, alpha)
