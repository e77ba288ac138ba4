"""Fits the objective of `jaxrec.pmf.objective`, by alternating least squares or by gradients."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxrec.devices import Mesh, Placement, on_the_host, workers
from jaxrec.devices import placement as usual_placement
from jaxrec.errors import InputError
from jaxrec.pmf.half_sweep import (
    RELAXATION,
    STEPS,
    Half,
    Shards,
    hold,
    lay_out_vectors,
    solve,
)
from jaxrec.pmf.mesh.fit import fit_on
from jaxrec.pmf.objective import (
    Factors,
    Observed,
    PmfSettings,
    check_settings,
    dtype_of,
    link_of,
    ridges,
)
from jaxrec.pmf.sweeps import Checkpoints, OnSweep, run_sweeps
from jaxrec.pmf.text_prior import TextPrior
from jaxrec.pmf.tiles import Order, order_vectors

FOLD_IN_STEPS = 50
"""Conjugate-gradient steps of a vector that is folded in."""
FOLD_IN_ROUNDS = 30
"""At most so often, until the objective falls by less than `FOLD_IN_TOLERANCE` of it."""
FOLD_IN_TOLERANCE = 1e-7


class OrderedFactors(NamedTuple):
    """Vectors in the order of the solver; with biases, the last column."""

    U: Array
    V: Array


def fit_pmf(
    observed: Observed,
    users: int,
    items: int,
    settings: PmfSettings = PmfSettings(),  # noqa: B008 - immutable
    *,
    seed: int = 42,
    user_means: NDArray[np.floating] | None = None,
    item_means: NDArray[np.floating] | None = None,
    item_features: NDArray[np.floating] | None = None,
    checkpoints: Checkpoints | None = None,
    on_sweep: OnSweep = lambda sweep, loss: None,
    placement: Placement | None = None,
) -> tuple[Factors, list[float]]:
    """Minimise the objective over both factors.

    On a `Mesh` of several processes each of them calls this with its own users: their pairs, their
    number, their means; users are numbered from 0 in each, and those of all processes are one after
    the other, in the order of the processes. Items are the same for all, as is all else.

    Args:
        observed: the observed pairs (see `jaxrec.pmf.objective.observe`).
        users: vectors of U.
        items: vectors of V.
        settings: of the objective.
        seed: of the initial U, drawn from N(0, 1 / factors); `alternating` solves V for it, then U
            anew, `gradient` draws V too.
        user_means: [users, factors] prior means M_u.
        item_means: [items, factors] prior means M_i.
        item_features: [items, features] E, of which the prior means are learned; an item without a
            rating gets W^T e_i as its factors. For the alternating solver, without biases.
        checkpoints: where to save and resume.
        on_sweep: told the sweep and the objective after each sweep.
        placement: where; a `Mesh` is for the alternating solver. By default the cores, or an
            accelerator, or where there are several a mesh of them.

    Returns:
        Factors, on a mesh U of the process's own users and all of V, whose products are x_ui
        (biases become two columns more), and the objective after every sweep. A vector without a
        rating and without a prior mean is zero, unless there are biases.

    Raises:
        InputError: there are no observed pairs, or a setting is out of range.
        FloatingPointError: the objective is not finite.
    """
    check_settings(settings)
    _check_means(user_means, users, settings)
    _check_means(item_means, items, settings)
    _check_features(item_features, item_means, items, settings)
    _check_range(observed, users, items)
    means = user_means, item_means
    rng = np.random.default_rng(seed)
    if placement is None and settings.solver == "alternating":
        placement = usual_placement()
    if isinstance(placement, Mesh):
        if settings.solver != "alternating":
            raise InputError("a mesh of devices is for the alternating solver")
        with jax.enable_x64(settings.float64):
            given = observed, (users, items), settings, rng, means, item_features
            U, V, losses = fit_on(placement, *given, checkpoints, on_sweep)
        return _factors(U, V, settings), losses
    if not len(observed.users):
        raise InputError("there are no observed pairs to learn from")
    start = rng.normal(0, settings.factors**-0.5, (users, settings.factors))
    how = settings, means, start, rng, checkpoints, on_sweep
    with jax.enable_x64(settings.float64):
        if settings.solver == "gradient":
            return _by_gradient(observed, items, *how)
        return _alternating(observed, items, *how, item_features)


def fold_in(
    observed: Observed,
    vectors: int,
    factors: Factors,
    settings: PmfSettings,
    *,
    means: NDArray[np.floating] | None = None,
    side: str = "users",
    paired: NDArray[np.bool_] | None = None,
) -> NDArray[np.floating]:
    """Factors of new users (or items) from their ratings, the other side held as it is.

    Each vector is the minimum of its own part of the objective, to the precision of the factors:
    the solution of a linear system or, if the likelihood is logistic, of a few in turn; all vectors
    in one compiled call each time.

    Args:
        observed: pairs of the new vectors; with `side="items"` their `items` number the new ones.
        vectors: how many new vectors.
        factors: fitted by `fit_pmf` with these settings, without biases.
        settings: of the fit.
        means: [vectors, factors] prior means.
        side: "users" or "items": what is new.
        paired: [other side] whose pairs the sum over all pairs runs over; by default all. With
            item features `fit_pmf` leaves items without a rating out of it.

    Returns:
        [vectors, factors], zero for a vector without a rating or mean.

    Raises:
        InputError: settings, factors, means or pairs do not belong together.
    """
    check_settings(settings)
    if side not in ("users", "items"):
        raise InputError(f"no side {side!r}; there are users and items")
    held = factors.V if side == "users" else factors.U
    if held.shape[1] != settings.factors:
        raise InputError(f"factors of {held.shape[1]} columns; {settings.factors} are needed")
    _check_means(means, vectors, settings)
    shape = (vectors, len(held)) if side == "users" else (len(held), vectors)
    _check_range(observed, *shape)
    new, known = observed.users, observed.items
    if side == "items":
        new, known = known, new
    with jax.enable_x64(held.dtype == np.float64):
        order = order_vectors(new, vectors, empty=True)
        ridge = ridges(order.lengths, len(held), settings, side).astype(held.dtype)
        mean = None if means is None else means[order.vectors].astype(held.dtype)
        shards = lay_out_vectors(
            order.places[new],
            known,
            observed.targets.astype(held.dtype),
            observed.weights.astype(held.dtype),
            order,
            ridge,
            mean,
            few_shapes=True,
        )
        with ThreadPoolExecutor(len(workers())) as pool:
            other = jnp.asarray(held)
            X = _first(shards, vectors, other)
            counted = None if paired is None else jnp.asarray(np.where(paired[:, None], held, 0))
            state = hold(shards, other, None, settings.w0, counted)
            before = np.inf
            for _ in range(FOLD_IN_ROUNDS):
                half = solve(shards, X, state, pool, link=link_of(settings), steps=FOLD_IN_STEPS)
                X, now = half.X, half.objective
                if before - now <= FOLD_IN_TOLERANCE * abs(now):
                    break
                before = now
        return _placed(X, order, vectors)


def _check_means(means: NDArray[np.floating] | None, vectors: int, settings: PmfSettings) -> None:
    expected = (vectors, settings.factors)
    if means is not None and means.shape != expected:
        raise InputError(f"prior means of shape {means.shape}; {expected} is needed")


def _check_features(
    features: NDArray[np.floating] | None,
    means: NDArray[np.floating] | None,
    items: int,
    settings: PmfSettings,
) -> None:
    if features is None:
        return
    if len(features) != items:
        raise InputError(f"features of {len(features)} items; there are {items}")
    if not np.isfinite(features).all():
        raise InputError("an item feature is not finite")
    if means is not None or settings.biases or settings.solver != "alternating":
        raise InputError(
            "item features go with the alternating solver, no biases and no item means"
        )


def _check_range(observed: Observed, users: int, items: int) -> None:
    for what, ids, count in (("user", observed.users, users), ("item", observed.items, items)):
        if len(ids) and not (ids.min() >= 0 and ids.max() < count):
            raise InputError(f"a rating of {what} {ids.max()} (least {ids.min()}), of {count} only")
    if len(observed.weights) and not observed.weights.min() >= 0:
        raise InputError(f"a weight of {observed.weights.min():g}; none may be below 0")


Means = tuple[NDArray[np.floating] | None, NDArray[np.floating] | None]


def _alternating(
    observed: Observed,
    items: int,
    settings: PmfSettings,
    means: Means,
    start: NDArray[np.floating],
    _: np.random.Generator,
    checkpoints: Checkpoints | None,
    on_sweep: OnSweep,
    features: NDArray[np.floating] | None,
) -> tuple[Factors, list[float]]:
    users, dtype = len(start), dtype_of(settings)
    keep = settings.biases or any(mean is not None for mean in means)
    by_user = order_vectors(observed.users, users, empty=keep)
    by_item = order_vectors(observed.items, items, empty=keep)
    U_side, V_side = _lay_out(observed, by_user, by_item, settings, means)
    prior: TextPrior | None = None
    if features is not None:
        prior = TextPrior.of(features[by_item.vectors], np.asarray(V_side.ridge), settings.lambda_w)
        nothing = jnp.zeros((len(by_item.vectors), settings.factors), dtype)
        V_side = V_side._replace(mean=nothing)  # until there is a V to learn W of
    with ThreadPoolExecutor(len(workers())) as pool:
        solve_half = _Half(settings, pool)
        U = jnp.asarray(_with_bias(start[by_user.vectors].astype(dtype), settings))
        V = solve_half(V_side, _first(V_side, len(by_item.vectors), U), U, relaxation=1.0).X
        U = _first(U_side, len(by_user.vectors), V)

        def sweep(state: OrderedFactors) -> tuple[OrderedFactors, float]:
            users_half, side = solve_half(U_side, *state), V_side
            cost: Array | float = 0.0
            if prior is not None:
                _, mean, cost = prior.fit(state.V)
                side = V_side._replace(mean=mean)
            items_half = solve_half(side, state.V, users_half.X)
            objective = items_half.objective + users_half.penalty + float(cost)
            return OrderedFactors(users_half.X, items_half.X), objective

        state, losses = run_sweeps(
            sweep, OrderedFactors(U, V), settings.sweeps, checkpoints, on_sweep, settings.tolerance
        )
    U_placed, V_placed = _placed(state.U, by_user, users), _placed(state.V, by_item, items)
    if prior is not None and features is not None:
        W = prior.fit(state.V)[0]
        unrated = np.setdiff1d(np.arange(items), by_item.vectors)
        V_placed[unrated] = features[unrated].astype(dtype) @ np.asarray(W)
    return _factors(U_placed, V_placed, settings), losses


def _by_gradient(
    observed: Observed,
    items: int,
    settings: PmfSettings,
    means: Means,
    start: NDArray[np.floating],
    rng: np.random.Generator,
    checkpoints: Checkpoints | None,
    on_sweep: OnSweep,
) -> tuple[Factors, list[float]]:
    from jaxrec.pmf import gradient  # Flax and optax take most of a second to import

    users, k, dtype = len(start), settings.factors, dtype_of(settings)
    V = rng.normal(0, k**-0.5, (items, k))
    counts = (
        np.bincount(observed.users, minlength=users),
        np.bincount(observed.items, minlength=items),
    )
    of = gradient.Objective(
        gradient.pairs_in_blocks(
            observed.users,
            observed.items,
            observed.targets.astype(dtype),
            observed.weights.astype(dtype),
        ),
        *(
            jnp.asarray(part, dtype)
            for part in (
                settings.w0,
                ridges(counts[0], items, settings, "users"),
                ridges(counts[1], users, settings, "items"),
                *(0.0 if mean is None else mean for mean in means),
            )
        ),
    )
    for X, count, mean in zip((start, V), counts, means, strict=True):
        X[count == 0] = 0 if mean is None else mean[count == 0]
    model = gradient.Factorisation(start.astype(dtype), V.astype(dtype), biases=settings.biases)
    structure, parameters, memory = gradient.start(model)

    def sweep(state: tuple) -> tuple[tuple, Array]:
        *state, loss = gradient.descend(structure, *state, of, link_of(settings))
        return tuple(state), loss

    (parameters, _), losses = run_sweeps(
        sweep, (parameters, memory), settings.sweeps, checkpoints, on_sweep, settings.tolerance
    )
    U, V = gradient.nnx.merge(structure, parameters).augmented()
    return Factors(np.asarray(U), np.asarray(V)), losses


class _Half(NamedTuple):
    """Solves one side, the other one held."""

    settings: PmfSettings
    pool: ThreadPoolExecutor

    def __call__(self, side: Shards, X: Array, Y: Array, relaxation: float | None = None) -> Half:
        likelihood = self.settings.likelihood
        S, offset = (_ones_for_bias(Y), Y[:, -1]) if self.settings.biases else (Y, None)
        return solve(
            side,
            X,
            hold(side, S, offset, self.settings.w0),
            self.pool,
            relaxation=RELAXATION[likelihood] if relaxation is None else relaxation,
            link=link_of(self.settings),
            steps=STEPS[likelihood],
        )


@jax.jit
def _ones_for_bias(Y: Array) -> Array:
    """The other side's vectors as the factors and the bias of a vector meet them."""
    return Y.at[:, -1].set(1)


def _with_bias(X: NDArray[np.floating], settings: PmfSettings) -> NDArray[np.floating]:
    return np.pad(X, ((0, 0), (0, int(settings.biases))))


def _first(side: Shards, vectors: int, other: Array) -> Array:
    """Where vectors start: at their prior means."""
    if side.mean is not None:
        return side.mean
    return jnp.asarray(np.zeros((vectors, other.shape[1]), other.dtype))  # nothing to compile


def _lay_out(
    observed: Observed,
    by_user: Order,
    by_item: Order,
    settings: PmfSettings,
    means: Means,
) -> tuple[Shards, Shards]:
    dtype = dtype_of(settings)
    users, items = by_user.places[observed.users], by_item.places[observed.items]
    targets, weights = (
        values.astype(dtype, copy=False) for values in (observed.targets, observed.weights)
    )

    def side(name: str) -> Shards:
        vectors, columns, order, others, mean = {
            "users": (users, items, by_user, len(by_item.places), means[0]),
            "items": (items, users, by_item, len(by_user.places), means[1]),
        }[name]
        ridge = ridges(order.lengths, others, settings, name).astype(dtype)
        if mean is not None:
            mean = _with_bias(mean[order.vectors].astype(dtype), settings)
        with jax.enable_x64(settings.float64):  # which a thread does not know of another
            return lay_out_vectors(vectors, columns, targets, weights, order, ridge, mean)

    idle = workers()[0].platform != "cpu"
    U_side, V_side = on_the_host(side, ("users", "items"), idle)
    return U_side, V_side


def _placed(X: Array, order: Order, count: int) -> NDArray[np.floating]:
    """Back from the order of the solver; vectors without a place are zero."""
    placed = np.zeros((count, X.shape[1]), X.dtype)
    placed[order.vectors] = X
    return placed


def _factors(U: NDArray[np.floating], V: NDArray[np.floating], settings: PmfSettings) -> Factors:
    if not settings.biases:
        return Factors(U, V)
    # U . V = factors + b_u 1 + 1 c_i
    ones_U, ones_V = np.ones((len(U), 1), U.dtype), np.ones((len(V), 1), V.dtype)
    return Factors(np.hstack([U, ones_U]), np.hstack([V[:, :-1], ones_V, V[:, -1:]]))
