"""Scorers that tests give and ask."""

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from jaxrec.topk.scorer import AnyScorer, Linear, worked_out


def table(scores: ArrayLike) -> Linear:
    """The scorer that looks up scores [users, items]."""
    scores = np.asarray(scores, np.float32)
    return Linear(sparse.eye_array(len(scores), dtype=np.float32, format="csr"), scores)


def scores_by(scorer: AnyScorer, users: NDArray[np.integer], items: int) -> NDArray[np.floating]:
    """[users, items] of these users."""
    here = worked_out(scorer, users)
    return np.asarray(here(jnp.asarray(users), jnp.ones((len(users), items), bool)))
