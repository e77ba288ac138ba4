"""The rating matrix as tiles of rows: one layout for every likelihood, once by user, once by item.

Rows are numbered by falling length, so that neighbours are of about one length; shard s of P takes
the places s, s + P, s + 2 P, ..., which gives every worker (a processor core or a device) the same
number of rows and about the same number of ratings. Within a shard, B rows at a time make a tile.
A tile's ratings are cut into chunks of C of each row, and the solver streams a tile's chunks; how
many there are is data, not shape. So one compiled program serves rows of every length, and padding
is at most C - 1 slots a row plus what B rows differ in length.

On a CPU B is 1: a core solves one row at a time, whose chunk and vectors stay in its first-level
cache. On an accelerator short rows are solved by the thousand, the longest one at a time.

Tried and lost (figures in benchmarks/LOG.md): rows padded to classes of length, gathered once per
half-sweep into [rows, length, factors] (padding 1.3 to 2.2, one compiled shape per class, and the
gathered array leaves the cache); chunks of 16 slots added up with `segment_sum` (scatter is slow).
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

LONG = 64
"""Rows of more ratings than this, on average, are cut into chunks of 16 instead of 8."""
TILE_SLOTS = 2**14
"""On an accelerator a tile takes the rows (a power of 4) whose ratings fill about so many slots."""
MOST_ROWS = 4**6


class Tiles(NamedTuple):
    """Tiles of B rows each; arrays of NumPy or, once put on a device, of JAX."""

    first: Any
    """[tiles] int32: the first chunk of each tile."""
    chunks: Any
    """[tiles] int32: how many chunks it has."""
    columns: Any
    """[chunks, B, C] int32: the other side's place of each rating; 0 in padding."""
    scale: Any
    """[chunks, B, C] square root of the rating's weight; 0 in padding."""
    targets: Any
    """[chunks, B, C] target times `scale`."""


class Order(NamedTuple):
    """One side's rows in the order of the solver, by falling length."""

    rows: NDArray[np.intp]
    """[n] the row at each place."""
    lengths: NDArray[np.int64]
    """[n] its number of ratings."""
    places: NDArray[np.int32]
    """[count] the place of each row; -1 if it has none."""


def order_rows(of: NDArray[np.int32], count: int, *, empty: bool) -> Order:
    """Give `count` rows their places; `of` [n] is the row of each rating.

    Rows without a rating get places only if `empty` is true.
    """
    lengths = np.bincount(of, minlength=count)
    rows = np.argsort(-lengths, kind="stable")
    if not empty:
        rows = rows[: np.count_nonzero(lengths)]
    places = np.full(count, -1, np.int32)
    places[rows] = np.arange(len(rows))
    return Order(rows, lengths[rows], places)


def lay_out(
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    targets: NDArray[np.floating],
    weights: NDArray[np.floating],
    order: Order,
    *,
    workers: int,
    single: bool,
) -> list[tuple[Tiles, ...]]:
    """Lay one side's ratings out in tiles.

    Args:
        rows: [n] the row's place of each rating.
        columns: [n] the other side's place.
        targets: [n].
        weights: [n].
        order: of the rows.
        workers: how many shards.
        single: make tiles of one row only.

    Returns:
        For each worker its tiles of 1 row, then of 4 rows, and so on, all of one shape.
    """
    chunk = 16 if len(rows) > LONG * len(order.lengths) else 8
    plan = [(1, len(order.lengths[::workers]), chunk)]
    if not single:
        plan = _plan(order.lengths[::workers])
    size = sum(tile_rows * tiles for tile_rows, tiles, _ in plan)
    filled = np.zeros(size * workers, np.int64)
    filled[: len(order.lengths)] = order.lengths
    lengths = filled.reshape(size, workers).T  # each shard's rows
    chunks, slots = _room(lengths, plan)

    # A counting sort by shard and row, in compiled code; padding goes last within its row, and a
    # complex number brings scale and target along.
    filling = np.repeat(np.arange(lengths.size, dtype=np.int32), (slots - lengths).reshape(-1))
    of_place = np.arange(lengths.size, dtype=np.int32).reshape(workers, size).T.reshape(-1)
    count = len(rows) + len(filling)
    row, column = np.empty(count, np.int32), np.zeros(count, np.int32)
    pair = np.zeros(count, np.complex128 if targets.dtype == np.float64 else np.complex64)
    np.take(of_place, rows, out=row[: len(rows)], mode="clip")
    row[len(rows) :] = filling
    column[: len(rows)] = columns
    np.sqrt(weights, out=pair.real[: len(rows)])
    np.multiply(pair.real[: len(rows)], targets, out=pair.imag[: len(rows)])
    entries = scipy.sparse.coo_array(
        (pair, (row, column)), shape=(lengths.size, int(columns.max(initial=0)) + 1)
    )
    entries.has_canonical_format = True  # do not add up what a user rated twice
    by_row = entries.tocsr()
    fields = by_row.indices, by_row.data.real.copy(), by_row.data.imag.copy()

    shards, start = [], 0
    for worker in range(workers):
        first_row, tiles = 0, []
        for (tile_rows, _, chunk), of_tile in zip(plan, chunks[worker], strict=True):
            end_row = first_row + tile_rows * len(of_tile)
            stop = start + int(slots[worker, first_row:end_row].sum())
            first = (np.cumsum(of_tile) - of_tile).astype(np.int32)
            blocks = (_by_chunk(field[start:stop], of_tile, tile_rows, chunk) for field in fields)
            tiles.append(Tiles(first, of_tile.astype(np.int32), *blocks))
            first_row, start = end_row, stop
        shards.append(tuple(tiles))
    return shards


def _room(
    lengths: NDArray[np.int64], plan: list[tuple[int, int, int]]
) -> tuple[list[list[NDArray[np.int64]]], NDArray[np.int64]]:
    """How many chunks each tile has, by shard and part, and how many slots each row [shards, size].

    A part's last row also holds the slots by which its shard falls short of the fullest, so that
    all shards are of one shape; and one chunk at least, as nothing can be cut from an empty array.
    """
    chunks: list[list[NDArray[np.int64]]] = [[] for _ in lengths]
    slots, row = np.zeros_like(lengths), 0
    for tile_rows, tiles, chunk in plan:
        here = slice(row, row + tile_rows * tiles)
        longest = lengths[:, here].reshape(len(lengths), tiles, tile_rows).max(axis=2)
        of_tile = -(-longest // chunk)
        slots[:, here] = np.repeat(of_tile * chunk, tile_rows, axis=1)
        total = of_tile.sum(axis=1) * tile_rows * chunk
        slots[:, here.stop - 1] += max(total.max(), tile_rows * chunk) - total
        for mine, counts in zip(chunks, of_tile, strict=True):
            mine.append(counts)
        row = here.stop
    return chunks, slots


def _by_chunk(field: NDArray, chunks: NDArray[np.int64], tile_rows: int, chunk: int) -> NDArray:
    """[chunks, B, C] from slots that stand row by row."""
    if tile_rows == 1:
        return field.reshape(-1, 1, chunk)
    blocks = np.zeros((len(field) // (tile_rows * chunk), tile_rows, chunk), field.dtype)
    start = 0
    for count in chunks:
        stop = start + count
        tile = field[start * tile_rows * chunk : stop * tile_rows * chunk]
        blocks[start:stop] = tile.reshape(tile_rows, count, chunk).swapaxes(0, 1)
        start = stop
    return blocks


def _plan(lengths: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(rows per tile, tiles, chunk) of each part of a shard whose rows have `lengths`.

    A chunk of all rows is a sixteenth of `TILE_SLOTS`: large steps, yet little padding.
    """
    plan, lo = [], 0
    tile_rows = 1
    while lo < len(lengths):
        # as long as tiles of this many rows are full enough, go on with them
        while tile_rows < MOST_ROWS and lengths[lo] * tile_rows * 4 <= TILE_SLOTS:
            tile_rows *= 4
        enough = np.flatnonzero(lengths[lo:] * tile_rows * 4 <= TILE_SLOTS)
        stop = len(lengths) if tile_rows == MOST_ROWS or not len(enough) else lo + int(enough[0])
        count = -(-(stop - lo) // tile_rows)
        plan.append((tile_rows, count, max(TILE_SLOTS // (16 * tile_rows), 4)))
        lo += count * tile_rows
    return plan
