"""The text prior: item factors are expected where their features say, V_i ~ N(W^T e_i, 1/ridge_i).

W is part of the model. With V held, the objective sum_i ridge_i |V_i - W^T e_i|^2 + lambda_w |W|^2
is a ridge regression of the factors on the features, whose solution W = P V is linear in V: P is
computed once, and a refit between two sweeps is a matrix product. An item without ratings
is left out of the objective, of the sum over all pairs too: that nobody has rated it yet says
nothing of what it is. It takes no part in the regression and gets the mean W^T e_i as its factors.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray


class TextPrior(NamedTuple):
    """What refitting W needs."""

    E: Array
    """[rated items, features]"""
    P: Array
    """[features, rated items] the ridge regression."""
    lambda_w: Array

    @classmethod
    def of(
        cls, E: NDArray[np.floating], ridge: NDArray[np.floating], lambda_w: float
    ) -> "TextPrior":
        """Of the features [rated items, features] and prior precisions [rated items]."""
        exact = E.astype(np.float64)
        weighted = exact.T * ridge
        gram = weighted @ exact + lambda_w * np.eye(E.shape[1])
        P = np.linalg.solve(gram, weighted)
        return cls(*(jnp.asarray(part, ridge.dtype) for part in (E, P, lambda_w)))

    def fit(self, V: Array) -> tuple[Array, Array, Array]:
        """W [features, factors] of the rated items' V, their means E W, and lambda_w |W|^2."""
        return _fit(self, V)


@jax.jit
@jax.default_matmul_precision("highest")
def _fit(prior: TextPrior, V: Array) -> tuple[Array, Array, Array]:
    W = prior.P @ V
    return W, prior.E @ W, prior.lambda_w * jnp.sum(W**2)
