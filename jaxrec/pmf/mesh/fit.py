"""The fit by alternating least squares over a mesh; see the package."""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from numpy.typing import NDArray

from jaxrec.budget import give_back_at_once
from jaxrec.devices import Mesh
from jaxrec.errors import InputError
from jaxrec.pmf.half_sweep import RELAXATION, STEPS, Held, over_all_pairs
from jaxrec.pmf.mesh.checkpoints import OnMesh, State
from jaxrec.pmf.mesh.halves import How, expected, moments, solve_items, solve_users
from jaxrec.pmf.mesh.layout import Items, Layout, Rows, lay_out_on
from jaxrec.pmf.objective import Observed, PmfSettings, dtype_of, link_of
from jaxrec.pmf.sweeps import Checkpoints, OnSweep, run_sweeps
from jaxrec.pmf.text_prior import TextPrior

GATHERED = 2**30
"""Default byte budget of the item vectors that a device holds besides its own."""
DRAWN = 2**20
"""Numbers that are drawn at once where those of other processes' users are passed over."""


def fit_on(
    mesh: Mesh,
    observed: Observed,
    shape: tuple[int, int],
    settings: PmfSettings,
    rng: np.random.Generator,
    means: tuple[NDArray[np.floating] | None, NDArray[np.floating] | None],
    features: NDArray[np.floating] | None,
    checkpoints: Checkpoints | None,
    on_sweep: OnSweep,
    gathered: int = GATHERED,
) -> tuple[NDArray[np.floating], NDArray[np.floating], list[float]]:
    """As `jaxrec.pmf.fit.fit_pmf`; U of this process's own users and all of V, biases last."""
    dtype = dtype_of(settings)
    if not mesh.summed(np.array([len(observed.users)]))[0]:
        raise InputError("there are no observed pairs to learn from")
    give_back_at_once()
    layout = lay_out_on(mesh, observed, shape, settings, means, dtype, gathered)
    users, items = layout.users, layout.items
    start = np.zeros((len(users.order.vectors), layout.columns), dtype)
    start[:, : settings.factors] = drawn(rng, users.before, shape[0], settings.factors)[
        users.order.vectors
    ]
    fit = _Fit(mesh, layout, settings)
    prior = None if features is None else Prior.of(mesh, items, features, layout.V_rows, settings)

    U = mesh.cut(users.spread(start))
    V = fit.first(layout.V_rows)
    rows = layout.V_rows
    if prior is not None:
        rows = rows._replace(mean=V)  # nothing, until there is a V to learn W of
    V, _, _ = fit.items(V, rows, U, relaxation=1.0)
    del start, U

    def sweep(state: State) -> tuple[State, float]:
        U, _, penalty = fit.users(state)
        rows, cost = layout.V_rows, 0.0
        if prior is not None:
            W, mean = jax.block_until_ready(expected(state.V, prior.E, prior.P, mesh=mesh))
            rows = rows._replace(mean=mean)
            cost = settings.lambda_w * float(np.sum(np.asarray(W, np.float64) ** 2))
        V, objective, constant = fit.items(state.V, rows, U)
        (total,) = mesh.summed(np.array([_sum(mesh, objective) + _sum(mesh, penalty)]))
        return State(U, V), float(total) + constant + cost

    state, losses = run_sweeps(
        sweep,
        State(fit.first(layout.U_rows), V),
        settings.sweeps,
        None if checkpoints is None else OnMesh(checkpoints, mesh, layout),
        on_sweep,
        settings.tolerance,
    )
    U_placed = np.zeros((shape[0], layout.columns), dtype)
    U_placed[users.order.vectors] = users.gathered(mesh.parts(state.U))
    V_placed = np.zeros((shape[1], layout.columns), dtype)
    V_placed[items.order.vectors] = items.gathered(mesh.whole(state.V))
    if prior is not None and features is not None:
        W, _ = jax.block_until_ready(expected(state.V, prior.E, prior.P, mesh=mesh))
        unrated = np.setdiff1d(np.arange(shape[1]), items.order.vectors)
        V_placed[unrated] = features[unrated].astype(dtype) @ np.asarray(W)
    return U_placed, V_placed, losses


def drawn(rng: np.random.Generator, before: int, users: int, factors: int) -> NDArray[np.floating]:
    """The first U [users, factors] of a process, those of the users before its own passed over.

    A process draws them all again, a block at a time: so it is the U that one process would draw.
    """
    scale, rest = factors**-0.5, before * factors
    while rest:
        rest -= len(rng.normal(0, scale, min(rest, DRAWN)))
    return rng.normal(0, scale, (users, factors))


class Prior(NamedTuple):
    """`TextPrior`, cut over the devices by items."""

    E: Array
    """[rows, features]"""
    P: Array
    """[features of each device, its rows]"""

    @classmethod
    def of(
        cls,
        mesh: Mesh,
        items: Items,
        features: NDArray[np.floating],
        rows: Rows,
        settings: PmfSettings,
    ) -> "Prior":
        """Of the features of all items."""
        ridge = items.gathered(mesh.whole(rows.ridge))
        whole = TextPrior.of(features[items.order.vectors], ridge, settings.lambda_w)
        E, P = (items.spread(np.asarray(part))[mesh.own] for part in (whole.E, whole.P.T))
        return cls(*mesh.cut((E, np.swapaxes(P, 1, 2))))


class _Fit(NamedTuple):
    """Halves of sweeps on a mesh, each waited for."""

    mesh: Mesh
    layout: Layout
    settings: PmfSettings

    def first(self, rows: Rows) -> Array:
        """Where vectors start: at their prior means."""
        if rows.mean is not None:
            return rows.mean
        own = rows.ridge.shape[0] // self.mesh.size
        shape = self.mesh.parallel, own, self.layout.columns
        return self.mesh.cut(np.zeros(shape, rows.ridge.dtype))

    def users(self, state: State) -> tuple[Array, Array, Array]:
        """New U, objectives and penalties."""
        layout = self.layout
        live, vectors = layout.V_rows.live, (len(layout.items.order.vectors), layout.users.vectors)
        pairs, _, how = self._pairs(state.V, live, *vectors)
        relaxation = np.asarray(RELAXATION[self.settings.likelihood], state.U.dtype)
        given = state.U, layout.U_rows, state.V, live, pairs, relaxation
        return jax.block_until_ready(solve_users(*given, how=how))

    def items(
        self, V: Array, rows: Rows, U: Array, relaxation: float | None = None
    ) -> tuple[Array, Array, float]:
        """New V, objectives, and what they lack, in all, of being complete."""
        layout = self.layout
        live, vectors = layout.U_rows.live, (layout.users.vectors, len(layout.items.order.vectors))
        pairs, constant, how = self._pairs(U, live, *vectors)
        if relaxation is None:
            relaxation = RELAXATION[self.settings.likelihood]
        given = V, rows, U, live, pairs, np.asarray(relaxation, V.dtype)
        V, objective, _ = jax.block_until_ready(solve_items(*given, how=how))
        return V, objective, vectors[1] * constant

    def _pairs(
        self, held: Array, live: Array, others: int, vectors: int
    ) -> tuple[Held, float, How]:
        """The sum over all pairs, its constant apart, and what solves by it."""
        settings, mesh = self.settings, self.mesh
        found = None
        if settings.w0:
            found = moments(held, live, mesh=mesh, biases=settings.biases)
            found = jax.block_until_ready(found)
        size = (others, self.layout.columns), held.dtype
        of = vectors, self.layout.ratings, mesh.devices.devices.flat[0]
        pairs = over_all_pairs(*size, found, settings.w0, *of)
        constant, pairs = pairs.constant, pairs._replace(constant=0.0)
        if len(mesh.processes) > 1:  # machines that differ may turn the basis another way
            pairs = multihost_utils.broadcast_one_to_all(pairs)
        steps = STEPS[settings.likelihood] + (pairs.pairs.ndim == 2)
        of_items = settings.biases, self.layout.items.tiles
        return pairs, constant, How(mesh, link_of(settings), steps, *of_items)


def _sum(mesh: Mesh, values: Array) -> float:
    """Of this process's part of [rows], in double precision."""
    return float(mesh.parts(values).sum(dtype=np.float64))
