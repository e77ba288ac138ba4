"""The rows of the score card as scorers (see `jaxrec.topk.ranking`).

| row         | scale                                                           |
|-------------|-----------------------------------------------------------------|
| `mf`, `pmf` | U_u . V_i, in stars, logits or units of the target              |
| `text+NAME` | content score: weighted mean of cosines, or the profile's cosine |
| `mf+NAME`   | their fusion, in [0, 1] (`published`) or [alpha - 1, 1]          |
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from numpy.typing import NDArray

from jaxrec.data.dataset import Ratings
from jaxrec.fusion.fuse import check_fusion, fuse_published, fuse_sigmoid_cosine
from jaxrec.fusion.profiles import liked_profiles, recency_weights, weighted_profiles
from jaxrec.pmf.factors import Factors
from jaxrec.topk.ranking import Product


def mf_scorer(factors: Factors) -> Product:
    """Collaborative scores U_u . V_i."""
    return Product(*_single(*factors))


def text_scorer(profiles: Array, E: NDArray[np.float32]) -> Product:
    """Content scores: the product of user profiles [users, dim] and unit embeddings."""
    return Product(*_single(profiles, E))


def content_profiles(fusion: str, train: Ratings, E: NDArray[np.float32], users: int) -> Array:
    """[users, dim] the profiles that go with `fusion` (see `jaxrec.fusion.fuse.FUSIONS`)."""
    check_fusion(fusion)
    if fusion == "published":
        return weighted_profiles(train, recency_weights(train, users), E, users)
    return liked_profiles(train, E, users)


def hybrid_scorer(
    fusion: str,
    factors: Factors,
    profiles: Array,
    E: NDArray[np.float32],
    vocabulary: NDArray[np.bool_],
    alpha: float,
) -> Partial:
    """Fused scores; alpha is an argument, so that another alpha compiles nothing anew."""
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
