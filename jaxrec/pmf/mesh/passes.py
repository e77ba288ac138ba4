"""Conjugate gradients of many vectors at once, where each needs sums that others work out.

The same steps as `half_sweep` takes of one vector after the other; but what a vector's ratings add
to its gradient, its curvature and its objective comes of a pass over all pairs, whoever holds them.
"""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import Array

from jaxrec.devices import AXIS
from jaxrec.pmf.half_sweep import (
    HALVINGS,
    Held,
    Ratings,
    Search,
    Slots,
    Vector,
    after_move,
    descent,
    each_vector,
    halved,
    of_pairs,
    over_parts,
    quadratic,
    rows_of,
    scaling,
    unturned,
)
from jaxrec.pmf.tiles import Tiles

Kernel = Callable[[tuple[Array, ...], Ratings], Array]
"""What one vector's own ratings add, [sums], from some [columns] that it brings."""


class Pass(Protocol):
    """A pass over all pairs of some vectors."""

    def __call__(self, kernel: Kernel, sums: int, *brought: Array) -> Array:
        """[n, sums] of each vector over all its ratings, `brought` [n, columns] each."""


def sums_of(
    kernel: Kernel,
    sums: int,
    brought: tuple[Array, ...],
    held: Held,
    tiles: tuple[Tiles, ...],
    link: str,
    in_one_function: bool,
) -> Array:
    """[n, sums] of each vector over the ratings in `tiles`."""

    def of_part(vectors: tuple[Array, ...], part: Tiles) -> Array:
        def one(vector: tuple[Array, ...], slots: Slots) -> Array:
            return kernel(vector, Ratings(slots, held, link))

        nothing = jnp.zeros((len(vectors[0]), sums), vectors[0].dtype)
        return each_vector(one, vectors, part, nothing)

    count = len(brought[0])
    vectors = tuple(padded(vector, rows_of(tiles)) for vector in brought)
    return over_parts(of_part, vectors, tiles, in_one_function)[:count]


def padded(rows: Array, count: int) -> Array:
    """[count, ...], the rest zero."""
    return jnp.pad(rows, [(0, count - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def solve_by_passes(
    vectors: Vector, held: Held, relaxation: Array, over: Pass, *, link: str, steps: int
) -> tuple[Array, Array, Array]:
    """As `jaxrec.pmf.half_sweep.solve_vectors`; `over` is called as often on every device."""
    vectors = vectors.rotated(held.basis)
    x, columns = vectors.x, vectors.x.shape[1]
    each = jax.vmap
    diagonal = each(lambda vector: scaling(vector, held))(vectors)

    found = over(_residual, columns + 1, x)
    residual = each(lambda vector: descent(vector, held))(vectors) + found[:, :columns]
    before = each(lambda vector: quadratic(vector, held))(vectors) + found[:, columns]
    r0 = residual * vectors.live[:, None]

    search = each(Search.of)(r0, diagonal)
    for _ in range(steps):  # a loop of XLA would hold a copy of all pairs
        h = of_pairs(search.p, held) + vectors.ridge[:, None] * search.p
        # the curvature of a logistic function depends on where the vector stands
        brought = (search.p, x) if link == "logistic" else (search.p,)
        search = each(Search.step)(search, h + over(_curved, columns, *brought), diagonal)
    if link == "identity":
        now = each(after_move, in_axes=(0, 0, 0, None))(r0, search, before, relaxation)
        return unturned(vectors._replace(x=x + relaxation * search.moved), held, now)

    def loss(x: Array) -> Array:
        rest = each(lambda vector: quadratic(vector, held))(vectors._replace(x=x))
        return rest + over(_loss, 1, x)[:, 0]

    def worse(tried: tuple[Array, Array, Array]) -> Array:
        halvings, _, now = tried
        any_worse = jax.lax.pmax(jnp.any(now > before).astype(jnp.int32), AXIS)
        return (any_worse > 0) & (halvings < HALVINGS)

    def halve(tried: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        halvings, moved, now = tried
        again = (now > before)[:, None]
        moved = jnp.where(again, halved(halvings, moved), moved)
        return halvings + 1, moved, jnp.where(again[:, 0], loss(x + moved), now)

    moved = relaxation * search.moved
    tried = jnp.zeros((), jnp.int32), moved, loss(x + moved)
    _, moved, now = jax.lax.while_loop(worse, halve, tried)
    return unturned(vectors._replace(x=x + moved), held, now)


def _residual(brought: tuple[Array, ...], ratings: Ratings) -> Array:
    (x,) = brought
    residual, loss = ratings.residual(x, (jnp.zeros_like(x), jnp.zeros((), x.dtype)))
    return jnp.append(residual, loss)


def _curved(brought: tuple[Array, ...], ratings: Ratings) -> Array:
    p, x = brought[0], brought[-1]
    return ratings.curved(x, p, jnp.zeros_like(p))


def _loss(brought: tuple[Array, ...], ratings: Ratings) -> Array:
    (x,) = brought
    return ratings.loss(x, jnp.zeros((), x.dtype))[None]
