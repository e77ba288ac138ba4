"""ELSA, a relative of EASE of low rank (Vancura et al. 2022), in JAX."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray
from scipy import sparse

RATE, BATCH = 0.1, 256
"""Learning rate, and users a step."""


def elsa(
    X: sparse.csr_array,
    rank: int,
    epochs: int,
    E: NDArray[np.floating] | None = None,
    text_weight: float = 1.0,
    seed: int = 0,
) -> Iterator[NDArray[np.float32]]:
    """A [items, rank], rows of norm 1, of y = x (A A^T - 1), after each epoch.

    As there, a user's x and y are compared by |x / |x| - y / |y||^2 / 2 = 1 - cos(x, y). Without
    their relu on y, which what is ranked high never meets, no y [items] need be made: with z = x A,
    x . y = |z|^2 - |x|^2 and |y|^2 = z A^T A z - 2 |z|^2 + |x|^2.

    Features E [items, features], those that are not all zero, are further users, as in CEASE; all
    of them together weigh `text_weight` times as much as the users.
    """
    X = X[np.flatnonzero(np.diff(X.indptr))].astype(np.float32)
    norms = np.sqrt(np.asarray((X**2).sum(axis=1)))
    X = sparse.csr_array(sparse.diags_array(1 / norms, dtype=np.float32) @ X)
    texts = None
    if E is not None:
        long = np.linalg.norm(E, axis=0)
        texts = jnp.asarray((E[:, long > 0] / long[long > 0]).T)
    lengths = np.diff(X.indptr)
    batch = min(BATCH, len(lengths))
    most = int(np.sort(lengths)[-batch:].sum())  # one shape for all batches
    optimiser = optax.nadam(RATE)

    def loss(A: jax.Array, users: jax.Array, items: jax.Array, values: jax.Array) -> jax.Array:
        A = A / jnp.linalg.norm(A, axis=1, keepdims=True)
        ATA = A.T @ A

        def apart(Z: jax.Array) -> jax.Array:
            along = jnp.sum(Z**2, axis=1)
            length = jnp.sum((Z @ ATA) * Z, axis=1) - 2 * along + 1
            return jnp.mean(1 - (along - 1) / jnp.sqrt(jnp.maximum(length, 1e-9)))

        Z = jax.ops.segment_sum(values[:, None] * A[items], users, batch)
        return apart(Z) if texts is None else apart(Z) + text_weight * apart(texts @ A)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(A: jax.Array, state: Any, *own: NDArray[Any]) -> tuple[jax.Array, Any]:
        updates, state = optimiser.update(jax.grad(loss)(A, *own), state)
        return optax.apply_updates(A, updates), state

    rng = np.random.default_rng(seed)
    A = jnp.asarray(rng.normal(size=(X.shape[1], rank)), jnp.float32) / rank**0.5
    state = optimiser.init(A)
    for _ in range(epochs):
        order = rng.permutation(len(lengths))
        for start in range(0, len(order) - batch + 1, batch):
            own = X[order[start : start + batch]]
            users = np.repeat(np.arange(batch), np.diff(own.indptr))
            padded = (np.pad(part, (0, most - own.nnz)) for part in (users, own.indices, own.data))
            A, state = step(A, state, *padded)
        yield np.asarray(A / jnp.linalg.norm(A, axis=1, keepdims=True))
