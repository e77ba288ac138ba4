"""Gaussian PMF (Salakhutdinov & Mnih 2008, eq. 4): regularised least squares on observed ratings.

For V fixed the objective is a quadratic in each row of U and the other way round. Each half-sweep
takes a few steps of conjugate gradients on all rows at once, from where the row stands, so the
objective never rises. The quadratic's gradient and curvature come from the objective itself by
automatic differentiation.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrec.dataset import Ratings, check_not_empty
from jaxrec.factors import Factors
from jaxrec.sweeps import Checkpoints, OnSweep, run_sweeps

CG_STEPS = 4
"""Conjugate-gradient steps per half-sweep."""
INITIAL_SCALE = 0.1
"""Standard deviation of the initial factors."""


class State(NamedTuple):
    """U [users, factors] and V [items, factors]."""

    U: Array
    V: Array


class Observed(NamedTuple):
    """Observed ratings, [n] each."""

    users: Array
    items: Array
    stars: Array


def objective(U: Array, V: Array, observed: Observed, lambda_: Array | float) -> Array:
    """Sum over observed of (R_ui - U_u . V_i)^2 + lambda (|U|^2 + |V|^2), in stars squared."""
    error = observed.stars - jnp.sum(U[observed.users] * V[observed.items], axis=1)
    return jnp.sum(error**2) + lambda_ * (jnp.sum(U**2) + jnp.sum(V**2))


def fit_gaussian(
    ratings: Ratings,
    users: int,
    items: int,
    *,
    factors: int = 100,
    sweeps: int = 20,
    lambda_: float = 10.0,
    seed: int = 42,
    checkpoints: Checkpoints | None = None,
    on_sweep: OnSweep = lambda sweep, loss: None,
) -> tuple[Factors, list[float]]:
    """Minimise `objective` over both factors.

    Args:
        ratings: training ratings.
        users: rows of U.
        items: rows of V; a row without a rating ends at zero.
        factors: columns of U and V.
        sweeps: passes over the ratings, each updating U, then V.
        lambda_: L2 weight of both factors.
        seed: of the initial factors, drawn from N(0, 0.1^2).
        checkpoints: where to save and resume.
        on_sweep: told the sweep and the objective after each sweep.

    Returns:
        Factors (float32) whose products are stars, and the objective after every sweep.

    Raises:
        InputError: there are no ratings.
        FloatingPointError: the objective is not finite.
    """
    check_not_empty(ratings)
    observed = Observed(
        jnp.asarray(ratings.users), jnp.asarray(ratings.items), _single(ratings.stars)
    )
    rng = np.random.default_rng(seed)
    start = State(
        *(_single(rng.normal(0, INITIAL_SCALE, (rows, factors))) for rows in (users, items))
    )

    def sweep(state: State) -> tuple[State, Array]:
        return _sweep(state, observed, lambda_)

    state, losses = run_sweeps(sweep, start, sweeps, checkpoints, on_sweep)
    return Factors(np.asarray(state.U), np.asarray(state.V)), losses


def _single(array: np.ndarray) -> Array:
    return jnp.asarray(array, jnp.float32)


@jax.jit
def _sweep(state: State, observed: Observed, lambda_: Array | float) -> tuple[State, Array]:
    U, V = state
    U = _descend(lambda U: objective(U, V, observed, lambda_), U)
    V = _descend(lambda V: objective(U, V, observed, lambda_), V)
    return State(U, V), objective(U, V, observed, lambda_)


def _descend(quadratic: Callable[[Array], Array], X: Array) -> Array:
    """`CG_STEPS` steps of conjugate gradients on each row of X [rows, factors] on its own."""
    gradient, curvature = jax.linearize(jax.grad(quadratic), X)

    def dot(a: Array, b: Array) -> Array:
        return jnp.sum(a * b, axis=1, keepdims=True)

    def ratio(a: Array, b: Array) -> Array:
        return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)

    def step(_: int, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        X, residual, direction = carry
        curved = curvature(direction)
        length = ratio(dot(residual, residual), dot(direction, curved))
        after = residual - length * curved
        turn = ratio(dot(after, after), dot(residual, residual))
        return X + length * direction, after, after + turn * direction

    return jax.lax.fori_loop(0, CG_STEPS, step, (X, -gradient, -gradient))[0]
