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
STEPS = {"gaussian": 5, "logistic": 3, "all-pairs": 2}
"""By likelihood, conjugate-gradient steps of half a sweep; one more outside the eigenbasis."""
RELAXATION = {"gaussian": 1.3, "logistic": 1.0, "all-pairs": 1.3}
"""By likelihood."""


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

    S: Array | None
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
    laid = lay_out(vectors, columns, targets, weights, order.lengths, **how)
    # what is put on a named device is "committed" to it, and so is all that comes of it: a program
    # would be compiled for the first factors and again for later ones
    places = [None] * len(devices) if len(set(devices)) == 1 else devices
    tiles = [jax.device_put(part, place) for part, place in zip(laid, places, strict=True)]
    size = rows_of(laid[0])
    prior = jnp.asarray(ridge), None if mean is None else jnp.asarray(mean)
    return Shards(tiles, devices, size, len(vectors), *prior)


def hold(
    shards: Shards, S: Array, offset: Array | None, w0: float, paired: Array | None = None
) -> Held:
    """Prepare the other side's vectors f_j and offsets o_j for solving `shards`.

    The sum over all pairs runs over the vectors of `paired`, if that is given, instead of S.
    """
    moments = None if w0 == 0 else _moments(S if paired is None else paired, offset)
    held = over_all_pairs(
        S.shape, S.dtype, moments, w0, len(shards.ridge), shards.ratings, shards.devices[0]
    )
    turned = S if held.basis is None else _rotate(S, held.basis)
    return held._replace(S=turned, offset=offset)


def over_all_pairs(
    shape: tuple[int, ...],
    dtype: np.dtype,
    moments: tuple[Array, Array, Array] | None,
    w0: float,
    vectors: int,
    ratings: int,
    device: jax.Device,
) -> Held:
    """What is `Held`, but for S and offset, which stay empty.

    The eigenbasis saves each vector a product with S^T S per step, and a step, and costs a product
    of all f_j with it: it is taken where that is cheaper, and where S^T S is too large to be read
    in one function. The eigenproblem is solved on the host.

    Args:
        shape: (other, columns) of S.
        dtype: of S.
        moments: S^T S, sum over j of o_j f_j and of o_j^2; None where w0 is 0.
        w0: weight of every pair.
        vectors: how many are to be solved.
        ratings: how many they have.
        device: one of those that solve them.

    Raises:
        FloatingPointError: the moments are not finite.
    """
    others, columns = shape
    zeros = np.zeros(columns, dtype)
    if moments is None:
        return Held(None, None, None, zeros, zeros, 0.0)
    pairs, linear, squares = (w0 * np.asarray(moment) for moment in moments)
    held = Held(None, None, None, pairs, linear, float(squares))
    without = 2 * columns * ratings + 4 * columns**2 * vectors  # multiplications
    small = pairs.nbytes < AMONG_THREADS or device.platform != "cpu"
    if small and columns**2 * (others + 2 * vectors) + 5 * columns**3 > without:
        return held
    if not np.isfinite(pairs).all():
        raise FloatingPointError("the factors are not finite")
    with _blas().limit(limits=1):  # its idle threads would spin on the cores that come next
        eigenvalues, basis = np.linalg.eigh(pairs)
    return held._replace(basis=basis, pairs=np.maximum(eigenvalues, 0), linear=linear @ basis)


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

    x, live = own(X), own(jnp.ones(len(X), X.dtype))
    state = Vector(x, None if mean is None else own(mean), own(ridge), live)
    return solve_vectors(
        state,
        held,
        relaxation,
        tiles,
        link=link,
        steps=steps,
        in_one_function=in_one_function,
    )


class Vector(NamedTuple):
    """What a vector brings: [columns] and scalars; with a leading axis, many vectors."""

    x: Array
    mean: Array | None
    ridge: Array
    live: Array
    """1, or 0 for a padding vector, which stays as it is."""

    def rotated(self, basis: NDArray[np.floating] | None) -> "Vector":
        """Many vectors in the eigenbasis, if there is one."""
        if basis is None:
            return self
        mean = None if self.mean is None else self.mean @ basis
        return self._replace(x=self.x @ basis, mean=mean)

    @property
    def away(self) -> Array:
        """From the prior mean."""
        return self.x if self.mean is None else self.x - self.mean


def solve_vectors(
    vectors: Vector,
    held: Held,
    relaxation: Array,
    tiles: tuple[Tiles, ...],
    *,
    link: str,
    steps: int,
    in_one_function: bool,
) -> tuple[Array, Array, Array]:
    """New x of the vectors of a shard; their objectives and penalties [size]."""
    vectors = vectors.rotated(held.basis)
    program = partial(_solve_tiles, held=held, relaxation=relaxation, link=link, steps=steps)
    x, objective = over_parts(program, vectors, tiles, in_one_function)
    return unturned(vectors._replace(x=x), held, objective)


def unturned(vectors: Vector, held: Held, objective: Array) -> tuple[Array, Array, Array]:
    """Solved vectors out of the eigenbasis, their objectives, and their penalties."""
    x = vectors.x
    penalty = vectors.ridge * (vectors.away**2 @ jnp.ones(x.shape[1], x.dtype))
    return x if held.basis is None else x @ held.basis.T, objective, penalty


def over_parts(
    program: Callable[[Any, Tiles], Any],
    vectors: Any,
    tiles: tuple[Tiles, ...],
    in_one_function: bool,
) -> Any:
    """What `program` makes of the vectors of each part of a shard; pytrees with a leading axis.

    Args:
        program: of some vectors and their tiles.
        vectors: of the shard.
        tiles: its parts.
        in_one_function: compile the program into one function.
    """
    mark = {"inlineable": "false", "xla_cpu_small_call": "true"} if in_one_function else {}
    found, start = [], 0
    for part in tiles:
        count, tile_vectors = len(part.first), part.columns.shape[1]
        here = slice(start, start + count * tile_vectors)
        start = here.stop
        own = jax.tree.map(lambda a, here=here: a[here], vectors)
        with set_xla_metadata(**mark) if mark else nullcontext():
            found.append(jax.jit(program)(own, part))
    return jax.tree.map(lambda *columns: jnp.concatenate(columns), *found)


def rows_of(tiles: tuple[Tiles, ...]) -> int:
    """Vectors of a shard, padding of its parts included."""
    return sum(len(part.first) * part.columns.shape[1] for part in tiles)


def _solve_tiles(
    vectors: Vector, tiles: Tiles, *, held: Held, relaxation: Array, link: str, steps: int
) -> tuple[Array, Array]:
    """Solve tile after tile; the vectors' x and objectives."""

    def one(vector: Vector, slots: Slots) -> tuple[Array, Array]:
        return _solve_vector(vector, Ratings(slots, held, link), relaxation=relaxation, steps=steps)

    return each_vector(one, vectors, tiles, (vectors.x, jnp.zeros_like(vectors.ridge)))


class Slots(NamedTuple):
    """The slots of one vector: some chunks of C, one after the other."""

    columns: Array
    """[chunks, C] of all vectors, as the next two; see `Tiles`."""
    scale: Array
    targets: Array
    first: Array
    """The vector's first chunk."""
    chunks: Array
    """How many it has."""


def each_vector(work: Callable[[Any, Slots], Any], vectors: Any, tiles: Tiles, found: Any) -> Any:
    """`work` of one vector after the other, or of as many as make a tile.

    Args:
        work: of a vector and its slots.
        vectors: pytree with a leading axis.
        tiles: of them.
        found: a pytree as `work` returns it, with that axis, to be overwritten.
    """
    tile_vectors = tiles.columns.shape[1]
    lanes: Any = (1, 1, 1, None, None)

    def tile(number: Array, found: Any) -> Any:
        start = number * tile_vectors
        own = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, tile_vectors), vectors)
        where = tiles.first[number], tiles.chunks[number]
        if tile_vectors == 1:
            slots = Slots(tiles.columns[:, 0], tiles.scale[:, 0], tiles.targets[:, 0], *where)
            one = work(jax.tree.map(lambda a: a[0], own), slots)
            new = jax.tree.map(lambda a: a[None], one)
        else:
            slots = Slots(tiles.columns, tiles.scale, tiles.targets, *where)
            new = jax.vmap(work, in_axes=(0, Slots(*lanes)))(own, slots)
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        return jax.tree.map(put, found, new)

    return jax.lax.fori_loop(0, len(tiles.first), tile, found)


class Ratings(NamedTuple):
    """A vector's ratings: what they add to its gradient, its curvature and its objective."""

    slots: Slots
    held: Held
    link: str

    def _over_chunks(self, add: Callable, start: Any) -> Any:
        slots, (S, offset, *_) = self.slots, self.held
        assert S is not None

        def chunk(number: Array) -> tuple[Array, Array, Array, Array | float]:
            """F [C, columns] times scale, scale, scaled targets, scaled offsets."""
            place = slots.first + number
            cut = partial(jax.lax.dynamic_index_in_dim, index=place, keepdims=False)
            which, scale = cut(slots.columns), cut(slots.scale)
            F = S.at[which].get(mode="promise_in_bounds") * scale[:, None]
            o = 0.0 if offset is None else scale * offset.at[which].get(mode="clip")
            return F, scale, cut(slots.targets), o

        return jax.lax.fori_loop(0, slots.chunks, lambda c, total: add(total, *chunk(c)), start)

    def _errors(self, x: Array, F: Array, scale: Array, target: Array, o: Array | float) -> tuple:
        """Scaled errors at x, and the slope of g there (None: 1)."""
        z = F @ x + o
        if self.link == "identity":
            return target - z, None
        p = jax.nn.sigmoid(z / jnp.where(scale > 0, scale, 1))
        return target - scale * p, p * (1 - p)

    def residual(self, x: Array, start: tuple[Array, Array]) -> tuple[Array, Array]:
        """`start` and half the descent at x [columns], and the loss there."""

        def add(total: tuple[Array, Array], *slots: Array) -> tuple[Array, Array]:
            residual, loss = total
            e, slope = self._errors(x, *slots)
            return residual + (e if slope is None else e * slope) @ slots[0], loss + _dot(e, e)

        return self._over_chunks(add, start)

    def curved(self, x: Array, p: Array, start: Array) -> Array:
        """`start` and the curvature at x times p, [columns]."""

        def add(total: Array, *slots: Array) -> Array:
            F = slots[0]
            y = F @ p
            if self.link == "logistic":
                y = y * self._errors(x, *slots)[1] ** 2
            return total + y @ F

        return self._over_chunks(add, start)

    def loss(self, x: Array, start: Array) -> Array:
        """`start` and the loss at x."""

        def add(total: Array, *slots: Array) -> Array:
            e, _ = self._errors(x, *slots)
            return total + _dot(e, e)

        return self._over_chunks(add, start)


def of_pairs(x: Array, held: Held) -> Array:
    """Half the gradient of the sum over all pairs, but for its linear part."""
    return x * held.pairs if held.pairs.ndim == 1 else x @ held.pairs


def quadratic(vector: Vector, held: Held) -> Array:
    """The sum over all pairs and the prior of one vector, but for a constant."""
    x = vector.x
    return jnp.sum(x * (of_pairs(x, held) + 2 * held.linear) + vector.ridge * vector.away**2)


def descent(vector: Vector, held: Held) -> Array:
    """Half the descent of `quadratic`."""
    return -(of_pairs(vector.x, held) + held.linear + vector.ridge * vector.away)


def scaling(vector: Vector, held: Held) -> Array:
    """The preconditioner: one over the curvature's diagonal, but for the vector's ratings."""
    own = vector.ridge + (held.pairs if held.pairs.ndim == 1 else jnp.diagonal(held.pairs))
    return 1 / jnp.where(own > 0, own, 1)


class Search(NamedTuple):
    """How far conjugate gradients are."""

    moved: Array
    residual: Array
    p: Array
    """Where to go next."""
    rz: Array
    """Residual times what the preconditioner makes of it."""

    @classmethod
    def of(cls, residual: Array, scaling: Array) -> "Search":
        """At the start of it."""
        z = residual * scaling
        return cls(jnp.zeros_like(residual), residual, z, _dot(residual, z))

    def step(self, h: Array, scaling: Array) -> "Search":
        """The next one, h being the curvature times p."""
        length = _ratio(self.rz, _dot(self.p, h))
        residual = self.residual - length * h
        z = residual * scaling
        after = _dot(residual, z)
        p = z + _ratio(after, self.rz) * self.p
        return Search(self.moved + length * self.p, residual, p, after)


def after_move(r0: Array, search: Search, before: Array, relaxation: Array) -> Array:
    """The objective of a quadratic after `relaxation` times the move."""
    # its gradients are -2 r0 before and -2 r after it
    r = r0 + relaxation * (search.residual - r0)
    return before - _dot(relaxation * search.moved, r0 + r)


def _solve_vector(
    vector: Vector, ratings: Ratings, *, relaxation: Array, steps: int
) -> tuple[Array, Array]:
    """New x and its objective; see the module for what is minimised."""
    x, held = vector.x, ratings.held
    diagonal = scaling(vector, held)
    residual, before = ratings.residual(x, (descent(vector, held), quadratic(vector, held)))
    r0 = residual * vector.live

    def step(_: Array, search: Search) -> Search:
        h = ratings.curved(x, search.p, of_pairs(search.p, held) + vector.ridge * search.p)
        return search.step(h, diagonal)

    search = jax.lax.fori_loop(0, steps, step, Search.of(r0, diagonal))
    moved = relaxation * search.moved
    if ratings.link == "identity":
        return x + moved, after_move(r0, search, before, relaxation)

    def loss(x: Array) -> Array:
        return ratings.loss(x, quadratic(vector._replace(x=x), held))

    def worse(tried: tuple[Array, Array, Array]) -> Array:
        halvings, _, now = tried
        return (now > before) & (halvings < HALVINGS)

    def halve(tried: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        halvings, moved, _ = tried
        moved = halved(halvings, moved)
        return halvings + 1, moved, loss(x + moved)

    tried = jnp.zeros((), jnp.int32), moved, loss(x + moved)
    _, moved, now = jax.lax.while_loop(worse, halve, tried)
    return x + moved, now


def halved(halvings: Array, moved: Array) -> Array:
    """A step that has been halved so often and does not descend yet."""
    return jnp.where(halvings == HALVINGS - 1, 0, moved / 2)


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum(a * b)


def _ratio(a: Array, b: Array) -> Array:
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)
