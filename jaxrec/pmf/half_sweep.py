"""Half a sweep: solve every vector of one side while the other side is held.

With the other side's vectors f_j fixed, vector x minimises on its own

    sum over its ratings of w (t - g(f . x + o))^2  +  w0 sum over all j of (f_j . x + o_j)^2
        +  ridge |x - m|^2

(Hu, Koren & Volinsky 2008, eq. 2-5; Rendle et al. 2021, eq. 4), where g is the identity or the
logistic function, o the offset that a bias of the other side adds, m the prior mean of the vector.
The identity makes it a quadratic, solved by preconditioned conjugate gradients from where the
vector stands; nothing larger than a chunk of the vector's f_j is ever gathered. The sum over all
pairs needs S^T S alone: in its eigenbasis it is a diagonal, which costs nothing and preconditions.
The logistic function is linearised at the vector (Gauss-Newton); a step that does not lower the
vector's objective is halved.

What the steps found is overshot by `relaxation` (successive over-relaxation, Young 1954): for any
value between 0 and 2 a step along a quadratic's descent still lowers it.

XLA's CPU runtime starts every operation of a loop body as a task of its own, which costs more than
a vector's arithmetic, and it works off one program's tasks one by one. So a shard's vectors are
marked to be compiled into one function (as in `sequential`), and each core runs that program on its
own shard, started by its own thread. Without the marks the result is the same.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental.xla_metadata import set_xla_metadata
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from jaxrec.devices import workers
from jaxrec.pmf.tiles import Order, Tiles, lay_out

AMONG_THREADS = 2**19
"""Bytes of an operation's arrays from where on XLA's CPU compiler gives parts of it to several
threads, which one that is compiled into one function cannot have."""
HALVINGS = 4
"""A Gauss-Newton step that does not descend is halved; the last time it is dropped instead."""


class Shards(NamedTuple):
    """One side's vectors, on their workers."""

    tiles: list[tuple[Tiles, ...]]
    devices: list[jax.Device]
    size: int
    """Vectors of a shard; the last may be padding."""
    ratings: int
    ridge: Array
    """[n] weight of each vector's |x - m|^2."""
    mean: Array | None
    """[n, columns] m, or None for 0."""


class Held(NamedTuple):
    """The other side, as the vectors see it."""

    S: Array
    """[other, columns] the f_j, perhaps in the eigenbasis of S^T S."""
    offset: Array | None
    """[other] the o_j."""
    basis: NDArray[np.floating] | None
    """[columns, columns] the eigenbasis, if S is in it."""
    pairs: NDArray[np.floating]
    """[columns, columns] w0 S^T S, or [columns] its diagonal where it has no other entries."""
    linear: NDArray[np.floating]
    """[columns] w0 sum over j of o_j f_j."""
    constant: float
    """w0 sum over j of o_j^2."""


class Half(NamedTuple):
    """What half a sweep gives."""

    X: Array
    """[n, columns]"""
    objective: float
    """Sum over the vectors of what they minimise."""
    penalty: float
    """The part of it that is ridge |x - m|^2."""


def lay_out_vectors(
    vectors: NDArray[np.int32],
    columns: NDArray[np.int32],
    targets: NDArray[np.floating],
    weights: NDArray[np.floating],
    order: Order,
    ridge: NDArray[np.floating],
    mean: NDArray[np.floating] | None,
    few_shapes: bool = False,
) -> Shards:
    """Lay one side out and send it to its workers; arguments as `jaxrec.pmf.tiles.lay_out`."""
    devices = workers()
    single = devices[0].platform == "cpu"
    how = {"workers": len(devices), "single": single, "few_shapes": few_shapes}
    laid = lay_out(vectors, columns, targets, weights, order, **how)
    # what is put on a named device is "committed" to it, and so is all that comes of it: a program
    # would be compiled for the first factors and again for later ones
    places = [None] * len(devices) if len(set(devices)) == 1 else devices
    tiles = [jax.device_put(part, place) for part, place in zip(laid, places, strict=True)]
    size = sum(len(part.first) * part.columns.shape[1] for part in laid[0])
    prior = jnp.asarray(ridge), None if mean is None else jnp.asarray(mean)
    return Shards(tiles, devices, size, len(vectors), *prior)


def hold(
    shards: Shards, S: Array, offset: Array | None, w0: float, paired: Array | None = None
) -> Held:
    """Prepare the other side's vectors f_j and offsets o_j for solving `shards`.

    The sum over all pairs runs over the vectors of `paired`, if that is given, instead of S. The
    eigenbasis saves each vector a product with S^T S per step, and a step, and costs a product of
    all f_j with it: it is taken where that is cheaper, and where S^T S is too large to be read in
    one function. The eigenproblem is solved on the host.
    """
    others, columns = S.shape
    zeros = np.zeros(columns, S.dtype)
    if w0 == 0:
        return Held(S, offset, None, zeros, zeros, 0.0)
    moments = _moments(S if paired is None else paired, offset)
    pairs, linear, squares = (w0 * np.asarray(moment) for moment in moments)
    held = Held(S, offset, None, pairs, linear, float(squares))
    vectors = len(shards.ridge)
    without = 2 * columns * shards.ratings + 4 * columns**2 * vectors  # multiplications
    small = pairs.nbytes < AMONG_THREADS or shards.devices[0].platform != "cpu"
    if small and columns**2 * (others + 2 * vectors) + 5 * columns**3 > without:
        return held
    if not np.isfinite(pairs).all():
        raise FloatingPointError("the factors are not finite")
    with _blas().limit(limits=1):  # its idle threads would spin on the cores that come next
        eigenvalues, basis = np.linalg.eigh(pairs)
    turned = {"pairs": np.maximum(eigenvalues, 0), "linear": linear @ basis}
    return held._replace(S=_rotate(S, basis), basis=basis, **turned)


@cache
def _blas() -> ThreadpoolController:
    """The linear algebra behind NumPy."""
    return ThreadpoolController()


def solve(
    shards: Shards,
    X: Array,
    held: Held,
    pool: ThreadPoolExecutor,
    *,
    relaxation: float = 1.0,
    link: str = "identity",
    steps: int = 2,
) -> Half:
    """Move every vector of X [n, columns] towards its minimum."""
    home = shards.devices[0]
    shared = X, shards.mean, shards.ridge, held._replace(constant=0.0)
    how = np.asarray(relaxation, X.dtype)

    def work(worker: int) -> tuple[Array, Array, Array]:
        device = shards.devices[worker]
        mine = shared if device == home else jax.device_put(shared, device)
        with jax.enable_x64(X.dtype == np.float64):  # a thread starts with the default
            return jax.block_until_ready(
                _solve_shard(
                    *mine,
                    how,
                    shards.tiles[worker],
                    np.int32(worker),
                    shards=len(shards.tiles),
                    size=shards.size,
                    link=link,
                    steps=steps + (held.pairs.ndim == 2),
                    in_one_function=device.platform == "cpu",
                )
            )

    found: Sequence[tuple[Array, Array, Array]] = list(pool.map(work, range(len(shards.tiles))))
    parts = [x for x, _, _ in found]
    if any(device != home for device in shards.devices):
        parts = jax.device_put(parts, home)
    X = _interleave(parts, len(X))
    objectives, penalties = (
        sum(float(np.asarray(part[number]).sum(dtype=np.float64)) for part in found)
        for number in (1, 2)
    )
    return Half(X, objectives + len(X) * held.constant, penalties)


@jax.jit
@jax.default_matmul_precision("highest")  # an accelerator's default is ten bits
def _moments(S: Array, offset: Array | None) -> tuple[Array, Array, Array]:
    o = jnp.zeros(len(S), S.dtype) if offset is None else offset
    return S.T @ S, o @ S, o @ o


@jax.jit
@jax.default_matmul_precision("highest")
def _rotate(S: Array, basis: Array) -> Array:
    return S @ basis


@partial(jax.jit, static_argnames="vectors")
def _interleave(parts: list[Array], vectors: int) -> Array:
    """Place s of part p is vector s P + p."""
    return jnp.stack(parts, axis=1).reshape(-1, parts[0].shape[1])[:vectors]


@partial(jax.jit, static_argnames=("shards", "size", "link", "steps", "in_one_function"))
@jax.default_matmul_precision("highest")
def _solve_shard(
    X: Array,
    mean: Array | None,
    ridge: Array,
    held: Held,
    relaxation: Array,
    tiles: tuple[Tiles, ...],
    shard: Array,
    *,
    shards: int,
    size: int,
    link: str,
    steps: int,
    in_one_function: bool,
) -> tuple[Array, Array, Array]:
    """Vectors `shard`, `shard + shards`, ... of X; their objectives and penalties [size]."""

    def own(of: Array) -> Array:
        filled = jnp.pad(of, [(0, size * shards - len(of))] + [(0, 0)] * (of.ndim - 1))
        cut = filled.reshape(size, shards, *of.shape[1:])
        return jax.lax.dynamic_index_in_dim(cut, shard, axis=1, keepdims=False)

    def rotated(vectors: Array) -> Array:
        return vectors if held.basis is None else vectors @ held.basis

    x, live = own(X), own(jnp.ones(len(X), X.dtype))
    state = Vector(rotated(x), None if mean is None else rotated(own(mean)), own(ridge), live)
    mark = {"inlineable": "false", "xla_cpu_small_call": "true"} if in_one_function else {}
    found, start = [], 0
    for part in tiles:
        count, tile_vectors = len(part.first), part.columns.shape[1]
        here = slice(start, start + count * tile_vectors)
        start = here.stop
        vectors = jax.tree.map(lambda a, here=here: a[here], state)
        program = jax.jit(partial(_solve_tiles, link=link, steps=steps))
        with set_xla_metadata(**mark) if mark else nullcontext():
            found.append(program(vectors, held, relaxation, part))
    x, objective = (jnp.concatenate(column) for column in zip(*found, strict=True))
    away = x if state.mean is None else x - state.mean
    penalty = state.ridge * (away**2 @ jnp.ones(x.shape[1], x.dtype))
    return x if held.basis is None else x @ held.basis.T, objective, penalty


class Vector(NamedTuple):
    """What a vector brings: [columns] and scalars; with a leading axis, many vectors."""

    x: Array
    mean: Array | None
    ridge: Array
    live: Array
    """1, or 0 for a padding vector, which stays as it is."""


def _solve_tiles(
    vectors: Vector, held: Held, relaxation: Array, tiles: Tiles, *, link: str, steps: int
) -> tuple[Array, Array]:
    """Solve tile after tile; the vectors' x and objectives."""
    tile_vectors = tiles.columns.shape[1]
    solve_vector = partial(_solve_vector, held=held, relaxation=relaxation, link=link, steps=steps)

    def tile(number: Array, done: tuple[Array, Array]) -> tuple[Array, Array]:
        start = number * tile_vectors
        own = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, tile_vectors), vectors)
        first, chunks = tiles.first[number], tiles.chunks[number]
        if tile_vectors == 1:
            slots = tiles.columns[:, 0], tiles.scale[:, 0], tiles.targets[:, 0]
            one = solve_vector(jax.tree.map(lambda a: a[0], own), slots, first, chunks)
            x, objective = (a[None] for a in one)
        else:
            lanes = jax.vmap(solve_vector, in_axes=(0, 1, None, None))
            slots = tiles.columns, tiles.scale, tiles.targets
            x, objective = lanes(own, slots, first, chunks)
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        return put(done[0], x), put(done[1], objective)

    return jax.lax.fori_loop(0, len(tiles.first), tile, (vectors.x, jnp.zeros_like(vectors.ridge)))


def _solve_vector(
    vector: Vector,
    slots: tuple[Array, Array, Array],
    first: Array,
    chunks: Array,
    *,
    held: Held,
    relaxation: Array,
    link: str,
    steps: int,
) -> tuple[Array, Array]:
    """New x and its objective; see the module for what is minimised."""
    columns, scales, targets = slots

    def chunk(number: Array) -> tuple[Array, Array, Array, Array | float]:
        """F [C, columns] times scale, scale, scaled targets, scaled offsets."""
        place = first + number
        cut = partial(jax.lax.dynamic_index_in_dim, index=place, keepdims=False)
        which, scale = cut(columns), cut(scales)
        F = held.S.at[which].get(mode="promise_in_bounds") * scale[:, None]
        o = 0.0 if held.offset is None else scale * held.offset.at[which].get(mode="clip")
        return F, scale, cut(targets), o

    def over_chunks(add: Callable, start: Any) -> Any:
        return jax.lax.fori_loop(0, chunks, lambda c, total: add(total, *chunk(c)), start)

    def away(x: Array) -> Array:
        return x if vector.mean is None else x - vector.mean

    def of_pairs(x: Array) -> Array:
        """Half the gradient of the sum over all pairs, but for its linear part."""
        return x * held.pairs if held.pairs.ndim == 1 else x @ held.pairs

    def quadratic(x: Array) -> Array:
        """The sum over all pairs and the prior, but for a constant."""
        return jnp.sum(x * (of_pairs(x) + 2 * held.linear) + vector.ridge * away(x) ** 2)

    def errors(x: Array, F: Array, scale: Array, target: Array, o: Array | float) -> tuple:
        """Scaled errors at x, and the slope of g there (None: 1)."""
        z = F @ x + o
        if link == "identity":
            return target - z, None
        p = jax.nn.sigmoid(z / jnp.where(scale > 0, scale, 1))
        return target - scale * p, p * (1 - p)

    def loss(x: Array) -> Array:
        def add(total: Array, *slots: Array) -> Array:
            e, _ = errors(x, *slots)
            return total + _dot(e, e)

        return over_chunks(add, quadratic(x))

    x = vector.x
    # the curvature's diagonal, but for the vector's ratings
    own = vector.ridge + (held.pairs if held.pairs.ndim == 1 else jnp.diagonal(held.pairs))
    scaling = 1 / jnp.where(own > 0, own, 1)

    def add_residual(total: tuple[Array, Array], *slots: Array) -> tuple[Array, Array]:
        residual, loss = total
        e, slope = errors(x, *slots)
        return residual + (e if slope is None else e * slope) @ slots[0], loss + _dot(e, e)

    def add_curved(total: Array, p: Array, *slots: Array) -> Array:
        F = slots[0]
        y = F @ p
        if link == "logistic":
            y = y * errors(x, *slots)[1] ** 2
        return total + y @ F

    start = -(of_pairs(x) + held.linear + vector.ridge * away(x)), quadratic(x)
    residual, before = over_chunks(add_residual, start)
    r0 = residual = residual * vector.live

    def step(_: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        moved, residual, p, rz = state
        h = over_chunks(
            lambda total, *slots: add_curved(total, p, *slots), of_pairs(p) + vector.ridge * p
        )
        length = _ratio(rz, _dot(p, h))
        residual = residual - length * h
        z = residual * scaling
        after = _dot(residual, z)
        return moved + length * p, residual, z + _ratio(after, rz) * p, after

    z = residual * scaling
    state = jnp.zeros_like(x), residual, z, _dot(residual, z)
    moved, residual, *_ = jax.lax.fori_loop(0, steps, step, state)
    moved = relaxation * moved
    if link == "identity":
        # of a quadratic with gradients -2 r0 before and -2 r after the move
        r = r0 + relaxation * (residual - r0)
        return x + moved, before - _dot(moved, r0 + r)

    def worse(tried: tuple[Array, Array, Array]) -> Array:
        halvings, _, now = tried
        return (now > before) & (halvings < HALVINGS)

    def halve(tried: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        halvings, moved, _ = tried
        moved = jnp.where(halvings == HALVINGS - 1, 0, moved / 2)
        return halvings + 1, moved, loss(x + moved)

    tried = jnp.zeros((), jnp.int32), moved, loss(x + moved)
    _, moved, now = jax.lax.while_loop(worse, halve, tried)
    return x + moved, now


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum(a * b)


def _ratio(a: Array, b: Array) -> Array:
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)
