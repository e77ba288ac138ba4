"""The programs of the two halves of a sweep; each runs on all devices of a mesh at once."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrec.devices import AXIS, Mesh
from jaxrec.pmf.half_sweep import Held, Vector, rows_of, solve_vectors
from jaxrec.pmf.mesh.layout import Rows
from jaxrec.pmf.mesh.passes import Kernel, padded, solve_by_passes, sums_of


class How(NamedTuple):
    """What a program is compiled for."""

    mesh: Mesh
    link: str
    steps: int
    biases: bool
    """Is the last column the vector's bias, and the other side's offset?"""
    tiles: int
    """In which item vectors are gathered."""

    def by_tile(self, of: Any) -> Any:
        """[tiles, ...] of a device's arrays; with one tile they are left as they are.

        XLA would copy all pairs to take an axis of one off them.
        """
        if self.tiles == 1:
            return of
        return jax.tree.map(lambda a: a.reshape(self.tiles, -1, *a.shape[1:]), of)


@partial(jax.jit, static_argnames=("mesh", "biases"))
@jax.default_matmul_precision("highest")
def moments(X: Array, live: Array, *, mesh: Mesh, biases: bool) -> tuple[Array, Array, Array]:
    """S^T S, sum of o_j f_j and of o_j^2 over all vectors of X [rows, columns]."""

    def on_device(X: Array, live: Array) -> tuple[Array, Array, Array]:
        S, offset = _seen(X, live, biases)
        if offset is not None:
            S = jnp.concatenate([S, offset[:, None]], axis=1)
        all_of_it = jax.lax.psum(S.T @ S, AXIS)
        if offset is None:
            zeros = jnp.zeros(S.shape[1], S.dtype)
            return all_of_it, zeros, zeros[0]
        return all_of_it[:-1, :-1], all_of_it[-1, :-1], all_of_it[-1, -1]

    return mesh.together(on_device, (True, True), (False, False, False))(X, live)


@partial(jax.jit, static_argnames=("how",))
@jax.default_matmul_precision("highest")
def solve_users(
    U: Array, rows: Rows, V: Array, live: Array, pairs: Held, relaxation: Array, *, how: How
) -> tuple[Array, Array, Array]:
    """Move every user's vector; item vectors are gathered.

    Args:
        U: [rows, columns] of all devices, as all arrays are.
        rows: of the users.
        V: [rows, columns]
        live: [rows] of the items.
        pairs: of the item vectors; see `jaxrec.pmf.half_sweep.over_all_pairs`.
        relaxation: scalar.
        how: it is compiled.

    Returns:
        New U, the users' objectives and penalties [rows].
    """
    one_function = _is_cpu(how.mesh)

    def on_device(
        U: Array, rows: Rows, V: Array, live: Array, pairs: Held, relaxation: Array
    ) -> tuple[Array, Array, Array]:
        (S, offset), count = _turned(V, live, pairs, how.biases), len(U)
        own, tiles = Vector(U, rows.mean, rows.ridge, rows.live), how.by_tile(rows.tiles)

        def gathered(S: Array, offset: Array | None) -> Held:
            """One tile's item vectors."""
            parts = (S, offset)
            whole = jax.tree.map(lambda part: jax.lax.all_gather(part, AXIS, tiled=True), parts)
            return pairs._replace(S=whole[0], offset=whole[1])

        if how.tiles == 1:
            own = jax.tree.map(lambda a: padded(a, rows_of(tiles)), own)
            found = solve_vectors(
                own,
                gathered(S, offset),
                relaxation,
                tiles,
                link=how.link,
                steps=how.steps,
                in_one_function=one_function,
            )
            return jax.tree.map(lambda a: a[:count], found)

        def over(kernel: Kernel, sums: int, *brought: Array) -> Array:
            def tile(total: Array, of: Any) -> tuple[Array, None]:
                vectors, mine = of
                held = gathered(*vectors)
                more = sums_of(kernel, sums, brought, held, mine, how.link, one_function)
                return total + more, None

            nothing = jnp.zeros((count, sums), U.dtype)
            return jax.lax.scan(tile, nothing, (how.by_tile((S, offset)), tiles))[0]

        return solve_by_passes(own, pairs, relaxation, over, link=how.link, steps=how.steps)

    cut = True, True, True, True, False, False
    program = how.mesh.together(on_device, cut, (True, True, True))
    return program(U, rows, V, live, pairs, relaxation)


@partial(jax.jit, static_argnames=("how",))
@jax.default_matmul_precision("highest")
def solve_items(
    V: Array, rows: Rows, U: Array, live: Array, pairs: Held, relaxation: Array, *, how: How
) -> tuple[Array, Array, Array]:
    """Move every item's vector; user vectors stay where they are. Arguments as `solve_users`."""
    one_function = _is_cpu(how.mesh)

    def on_device(
        V: Array, rows: Rows, U: Array, live: Array, pairs: Held, relaxation: Array
    ) -> tuple[Array, Array, Array]:
        S, offset = _turned(U, live, pairs, how.biases)
        held, tiles = pairs._replace(S=S, offset=offset), how.by_tile(rows.tiles)

        def over(kernel: Kernel, sums: int, *brought: Array) -> Array:
            def tile(of: Any) -> Array:
                vectors, mine = of
                whole = jax.lax.all_gather(vectors, AXIS, tiled=True)
                given = tuple(jnp.split(whole, len(brought), axis=1))
                found = sums_of(kernel, sums, given, held, mine, how.link, one_function)
                return jax.lax.psum_scatter(found, AXIS, tiled=True)

            sent = jnp.concatenate(brought, axis=1)
            if how.tiles == 1:
                return tile((sent, tiles))
            return jax.lax.map(tile, (how.by_tile(sent), tiles)).reshape(-1, sums)

        own = Vector(V, rows.mean, rows.ridge, rows.live)
        return solve_by_passes(own, pairs, relaxation, over, link=how.link, steps=how.steps)

    cut = True, True, True, True, False, False
    program = how.mesh.together(on_device, cut, (True, True, True))
    return program(V, rows, U, live, pairs, relaxation)


@partial(jax.jit, static_argnames=("mesh",))
@jax.default_matmul_precision("highest")
def expected(V: Array, E: Array, P: Array, *, mesh: Mesh) -> tuple[Array, Array]:
    """W = P V of the text prior [features, columns] and the item means E W.

    Args:
        V: [rows, columns]
        E: [rows, features]
        P: [features of each device, its rows]
        mesh: the devices.
    """

    def on_device(V: Array, E: Array, P: Array) -> tuple[Array, Array]:
        W = jax.lax.psum(P @ V, AXIS)
        return W, E @ W

    return mesh.together(on_device, (True, True, True), (False, True))(V, E, P)


def _is_cpu(mesh: Mesh) -> bool:
    return mesh.devices.devices.flat[0].platform == "cpu"


def _seen(X: Array, live: Array, biases: bool) -> tuple[Array, Array | None]:
    """A device's vectors and offsets as the other side's vectors meet them; 0 in padding."""
    if not biases:
        return X * live[:, None], None
    return X.at[:, -1].set(1) * live[:, None], X[:, -1] * live


def _turned(X: Array, live: Array, pairs: Held, biases: bool) -> tuple[Array, Array | None]:
    """`_seen`, in the eigenbasis if there is one."""
    S, offset = _seen(X, live, biases)
    return S if pairs.basis is None else S @ pairs.basis, offset
