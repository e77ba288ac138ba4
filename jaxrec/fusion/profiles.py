"""User profiles: what a user's rated items say, in the space of the item embeddings.

A profile is a weighted mean of embeddings, so with unit rows E_i its product with e_i is the
weighted mean of cos(e_i, e_j) over the items j that the user rated.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.data.feedback import Feedback

CHUNK = 8192
"""Interactions gathered at a time, so that memory does not grow with their number."""


def recency_weights(ratings: Interactions, feedback: Feedback, users: int) -> NDArray[np.float64]:
    """[n] published weight of every rating, liked or not: exp(t') times the value / the best one.

    t' is the user's train time scaled to [0, 1]; 1 where all times are equal or unknown.
    """
    if ratings.times is None:
        return np.e * ratings.values / feedback.best
    first = np.full(users, np.iinfo(np.int64).max)
    last = np.full(users, np.iinfo(np.int64).min)
    np.minimum.at(first, ratings.users, ratings.times)
    np.maximum.at(last, ratings.users, ratings.times)
    start, span = first[ratings.users], (last - first)[ratings.users]
    scaled = np.where(span > 0, (ratings.times - start) / np.maximum(span, 1), 1.0)
    return np.exp(scaled) * ratings.values / feedback.best


def weighted_profiles(
    ratings: Interactions, weights: NDArray[np.floating], E: NDArray[np.float32], users: int
) -> Array:
    """[users, dim] sum over the user's ratings of w e_i / sum of w; zeros without ratings."""
    profiles = jnp.zeros((users, E.shape[1]))
    embeddings = jnp.asarray(E)
    for start in range(0, len(weights), CHUNK):
        part = slice(start, start + CHUNK)
        fill = CHUNK - len(weights[part])
        profiles = _add(
            profiles,
            embeddings,
            np.pad(ratings.users[part], (0, fill)),
            np.pad(ratings.items[part], (0, fill)),
            np.pad(weights[part], (0, fill)).astype(np.float32),
        )
    total = np.bincount(ratings.users, weights, minlength=users)
    return profiles / jnp.asarray(np.where(total > 0, total, 1), jnp.float32)[:, None]


def liked_profiles(
    ratings: Interactions, feedback: Feedback, E: NDArray[np.float32], users: int
) -> Array:
    """[users, dim] unit profiles of liked items weighted by their values (eq. 2); zeros if none."""
    liked = ratings.liked(feedback)
    profiles = weighted_profiles(liked, liked.values, E, users)
    norm = jnp.linalg.norm(profiles, axis=1, keepdims=True)
    return profiles / jnp.where(norm > 0, norm, 1)


@partial(jax.jit, donate_argnums=0)
def _add(profiles: Array, E: Array, users: Array, items: Array, weights: Array) -> Array:
    return profiles.at[users].add(weights[:, None] * E[items])
