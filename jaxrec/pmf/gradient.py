"""PMF by gradients: Flax parameters, the L-BFGS of optax, automatic differentiation.

Minimises the objective of `jaxrec.pmf` for any likelihood as one function of all factors. It is
slower than alternating least squares where that has a closed form; it needs none.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from numpy.typing import NDArray

BLOCK = 2**16
"""Interactions whose factors are gathered at a time; the gradient gathers them again."""


class Pairs(NamedTuple):
    """Observed pairs in blocks [blocks, BLOCK], the last filled up with weight 0."""

    users: Array
    items: Array
    targets: Array
    weights: Array


class Objective(NamedTuple):
    """What is minimised; the arrays of `jaxrec.pmf`."""

    pairs: Pairs
    w0: Array
    user_ridge: Array
    item_ridge: Array
    user_mean: Array
    item_mean: Array


class Factorisation(nnx.Module):
    """x_ui = U_u . V_i (+ b_u + c_i)."""

    def __init__(self, U: NDArray[np.floating], V: NDArray[np.floating], *, biases: bool) -> None:
        self.U, self.V = nnx.Param(jnp.asarray(U)), nnx.Param(jnp.asarray(V))
        if biases:
            self.b = nnx.Param(jnp.zeros(len(U), U.dtype))
            self.c = nnx.Param(jnp.zeros(len(V), V.dtype))
        self.biases = biases

    def __call__(self, users: Array, items: Array) -> Array:
        """X of pairs, [n]."""
        x = jnp.sum(self.U[...][users] * self.V[...][items], axis=1)
        return x + self.b[...][users] + self.c[...][items] if self.biases else x

    def augmented(self) -> tuple[Array, Array]:
        """[users, columns] and [items, columns] whose products are x."""
        U, V = self.U[...], self.V[...]
        if not self.biases:
            return U, V
        b, c = self.b[...][:, None], self.c[...][:, None]
        return (
            jnp.concatenate([U, b, jnp.ones_like(b)], axis=1),
            jnp.concatenate([V, jnp.ones_like(c), c], axis=1),
        )


def objective(model: Factorisation, of: Objective, link: str) -> Array:
    """The objective of `jaxrec.pmf`."""

    @jax.checkpoint
    def block(pairs: Pairs) -> Array:
        x = model(pairs.users, pairs.items)
        g = jax.nn.sigmoid(x) if link == "logistic" else x
        return jnp.sum(pairs.weights * (pairs.targets - g) ** 2)

    observed = jnp.sum(jax.lax.map(block, of.pairs))
    U, V = model.augmented()
    every = of.w0 * jnp.sum((U.T @ U) * (V.T @ V))
    prior = _prior(model.U[...], of.user_mean, of.user_ridge)
    prior += _prior(model.V[...], of.item_mean, of.item_ridge)
    if model.biases:
        prior += jnp.sum(of.user_ridge * model.b[...] ** 2)
        prior += jnp.sum(of.item_ridge * model.c[...] ** 2)
    return observed + every + prior


def _prior(X: Array, mean: Array, ridge: Array) -> Array:
    return jnp.sum(ridge[:, None] * (X - mean) ** 2)


def pairs_in_blocks(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    targets: NDArray[np.floating],
    weights: NDArray[np.floating],
) -> Pairs:
    """Cut [n] columns into blocks."""
    size = min(BLOCK, len(users))
    fill = -len(users) % size
    columns = (
        jnp.asarray(np.pad(column, (0, fill)).reshape(-1, size))
        for column in (users, items, targets, weights)
    )
    return Pairs(*columns)


def start(model: Factorisation) -> tuple[Any, Any, Any]:
    """The model's structure, its parameters and the optimiser's state."""
    structure, parameters = nnx.split(model)
    return structure, parameters, optax.lbfgs().init(parameters)


@partial(jax.jit, static_argnames=("structure", "link"))
def descend(
    structure: Any, parameters: Any, memory: Any, of: Objective, link: str
) -> tuple[Any, Any, Array]:
    """One step of L-BFGS with line search (Nocedal & Wright 2006, ch. 7); also the objective."""

    def value(parameters: Any) -> Array:
        return objective(nnx.merge(structure, parameters), of, link)

    optimiser = optax.lbfgs()
    loss, gradient = optax.value_and_grad_from_state(value)(parameters, state=memory)
    updates, memory = optimiser.update(
        gradient, memory, parameters, value=loss, grad=gradient, value_fn=value
    )
    parameters = optax.apply_updates(parameters, updates)
    return parameters, memory, optax.tree.get(memory, "value")
