"""Who holds what: users and items over the devices of a mesh, and the observed pairs laid out."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxrec.devices import Mesh, on_the_host
from jaxrec.pmf.objective import Observed, PmfSettings, ridges
from jaxrec.pmf.tiles import Order, Tiles, by_length, lay_out, order_vectors


class Rows(NamedTuple):
    """One side's vectors, cut over the devices; some rows are padding."""

    tiles: tuple[Tiles, ...]
    """A device's own pairs by this side's vectors, those of one tile of items after the other."""
    ridge: Array
    """[rows]"""
    mean: Array | None
    """[rows, columns]"""
    live: Array
    """[rows] 1, or 0 of padding."""


class Users(NamedTuple):
    """This process's users on its D devices: place p is row p // D of device p % D."""

    order: Order
    """Of this process's own."""
    devices: int
    rows: int
    """Of a device, as many on all processes."""
    vectors: int
    """That have a place, on all processes."""
    counts: list[int]
    """Users of each process, with a place or without."""
    before: int
    """Users of the processes before this one: its own user u is user `before + u` of all."""

    def spread(self, values: NDArray) -> NDArray:
        """[own devices, rows, ...] from values in order; 0 in padding."""
        room = np.zeros((self.rows * self.devices, *values.shape[1:]), values.dtype)
        room[: len(values)] = values
        return np.swapaxes(room.reshape(self.rows, self.devices, *values.shape[1:]), 0, 1)

    def gathered(self, parts: NDArray) -> NDArray:
        """In order again, from [own devices, rows, ...]."""
        flat = np.swapaxes(parts, 0, 1).reshape(-1, *parts.shape[2:])
        return flat[: len(self.order.vectors)]


class Items(NamedTuple):
    """All items over all P devices: place p is column p // T of tile p % T.

    A tile's columns are cut over the devices one after the other, so that all tiles have items of
    every length and the columns of one fall in length.
    """

    order: Order
    """Of all, the same on all processes."""
    devices: int
    tiles: int
    width: int
    """Columns of a tile on a device."""

    @property
    def columns(self) -> int:
        """Of a tile on all devices, padding at the end included."""
        return self.width * self.devices

    @property
    def rows(self) -> int:
        """Of a device."""
        return self.width * self.tiles

    def spread(self, values: NDArray) -> NDArray:
        """[devices, rows, ...] from values in order, rows tile by tile; 0 in padding."""
        room = np.zeros((self.rows * self.devices, *values.shape[1:]), values.dtype)
        room[: len(values)] = values
        by_tile = room.reshape(self.devices, self.width, self.tiles, *values.shape[1:])
        return np.swapaxes(by_tile, 1, 2).reshape(self.devices, self.rows, *values.shape[1:])

    def gathered(self, rows: NDArray) -> NDArray:
        """In order again, from [rows, ...] of all devices."""
        by_tile = rows.reshape(self.devices, self.tiles, self.width, *rows.shape[1:])
        flat = np.swapaxes(by_tile, 1, 2).reshape(-1, *rows.shape[1:])
        return flat[: len(self.order.vectors)]


class Layout(NamedTuple):
    """A matrix on a mesh."""

    users: Users
    items: Items
    U_rows: Rows
    V_rows: Rows
    ratings: int
    """On all processes."""
    columns: int
    """Of a vector, its bias included."""


def lay_out_on(
    mesh: Mesh,
    observed: Observed,
    shape: tuple[int, int],
    settings: PmfSettings,
    means: tuple[NDArray[np.floating] | None, NDArray[np.floating] | None],
    dtype: type[np.floating],
    gathered: int,
) -> Layout:
    """Lay this process's pairs out and send them to its devices; all processes at once.

    Args:
        mesh: the devices.
        observed: pairs of this process's own users, these numbered from 0, and of all items.
        shape: this process's users, and all items.
        settings: of the fit.
        means: prior means of these, [users, columns] and [items, columns].
        dtype: of all floating-point arrays.
        gathered: bytes that a tile of item vectors may take.
    """
    columns = settings.factors + int(settings.biases)
    keep = settings.biases or any(mean is not None for mean in means)
    users = _users(mesh, observed.users, shape[0], keep)
    counts = mesh.summed(np.bincount(observed.items, minlength=shape[1]))
    order = by_length(counts, empty=keep)
    tiles = max(-(-len(order.vectors) * columns * np.dtype(dtype).itemsize // gathered), 1)
    width = max(-(-len(order.vectors) // (mesh.size * tiles)), 1)
    items = Items(order, mesh.size, tiles, width)

    row, device = np.divmod(users.order.places[observed.users], users.devices)
    column, tile = np.divmod(order.places[observed.items], tiles)
    shard = device * tiles + tile
    shards = users.devices * tiles
    del device, tile  # of the size of all pairs
    targets, weights = (
        values.astype(dtype, copy=False) for values in (observed.targets, observed.weights)
    )

    on_cpu = mesh.devices.devices.flat[0].platform == "cpu"

    def laid_out(side: tuple[NDArray[np.int32], NDArray[np.int32], int]) -> Any:
        vectors, others, rows = side
        places = vectors * shards + shard
        parts = lay_out(
            places,
            others,
            targets,
            weights,
            np.bincount(places, minlength=rows * shards),
            workers=shards,
            single=on_cpu,
            largest=mesh.largest,
        )
        return jax.tree.map(lambda *of: _stacked(of, users.devices), *parts)

    def fitted(of: Users | Items, mean: NDArray[np.floating] | None, others: int, side: str) -> Any:
        here = slice(None) if isinstance(of, Users) else mesh.own
        ridge = ridges(of.order.lengths, others, settings, side).astype(dtype)
        if mean is not None:
            mean = np.pad(mean[of.order.vectors], ((0, 0), (0, int(settings.biases))))
            mean = of.spread(mean.astype(dtype))[here]
        live = np.ones(len(of.order.vectors), dtype)
        return of.spread(ridge)[here], mean, of.spread(live)[here]

    everybody = sum(users.counts)
    idle = not on_cpu and len(mesh.processes) == 1  # several do all in one order
    laid = on_the_host(laid_out, ((row, column, users.rows), (column, row, items.columns)), idle)
    U_rows = mesh.cut(Rows(next(laid), *fitted(users, means[0], shape[1], "users")))
    V_rows = mesh.cut(Rows(next(laid), *fitted(items, means[1], everybody, "items")))
    return Layout(users, items, U_rows, V_rows, int(counts.sum()), columns)


def _users(mesh: Mesh, of: NDArray[np.int32], count: int, keep: bool) -> Users:
    order, devices = order_vectors(of, count, empty=keep), mesh.parallel
    rows = max(-(-len(order.vectors) // devices), 1)
    rows = int(mesh.largest(np.array([rows]))[0])
    counts, before = mesh.of_each(count).tolist(), mesh.processes.index(jax.process_index())
    vectors = int(mesh.of_each(len(order.vectors)).sum())
    return Users(order, devices, rows, vectors, counts, sum(counts[:before]))


def _stacked(shards: tuple[NDArray, ...], devices: int) -> NDArray:
    """[devices, ...] of shards device by device; one alone is not copied."""
    parts = np.concatenate(shards) if len(shards) > 1 else shards[0]
    return parts.reshape(devices, -1, *parts.shape[1:])
