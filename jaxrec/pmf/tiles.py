"""The observed pairs as tiles of vectors: one layout for every likelihood, by user and by item.

Vectors are numbered by falling length, so that neighbours are of about one length; shard s of P
takes the places s, s + P, s + 2 P, ..., which gives every worker (a processor core or a device) the
same number of vectors and about the same number of ratings. Within a shard, B vectors at a time
make a tile. A tile's ratings are cut into chunks of C of each vector, and the solver streams a
tile's chunks; how many there are is data, not shape. So one compiled program serves vectors of
every length, and padding is at most C - 1 slots a vector plus what B vectors differ in length.

On a CPU B is 1: a core solves one vector at a time, whose chunk and vectors stay in its first-level
cache. On an accelerator, where every operation costs a start and every loop a look at its condition
from the host, a tile is millions of slots: short vectors are solved by the ten thousand, the
longest some at a time.

Tried and lost (figures in benchmarks/LOG.md): vectors padded to classes of length, gathered once
per half-sweep into [vectors, length, factors] (padding 1.3 to 2.2, one compiled shape per class,
and the gathered array leaves the cache); chunks of 16 slots added up with `segment_sum` (scatter is
slow).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

LONG = 64
"""Vectors of more ratings than this, on average, are cut into chunks of 16 instead of 8."""
TILE_SLOTS = 2**22
"""On an accelerator a tile takes as many vectors (a power of 4) as have room in so many slots, or
in as many as there are ratings."""
LEAST_SLOTS = 2**14
"""Of a tile, where ratings are fewer."""
MOST_VECTORS = 4**8


class Tiles(NamedTuple):
    """Tiles of B vectors each; arrays of NumPy or, once put on a device, of JAX."""

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
    """One side's vectors in the order of the solver, by falling length."""

    vectors: NDArray[np.intp]
    """[n] the vector at each place."""
    lengths: NDArray[np.int64]
    """[n] its number of ratings."""
    places: NDArray[np.int32]
    """[count] the place of each vector; -1 if it has none."""


def order_vectors(of: NDArray[np.int32], count: int, *, empty: bool) -> Order:
    """Give `count` vectors their places; `of` [n] is the vector of each rating.

    Vectors without a rating get places only if `empty` is true.
    """
    return by_length(np.bincount(of, minlength=count), empty=empty)


def by_length(lengths: NDArray[np.int64], *, empty: bool) -> Order:
    """Give vectors with so many ratings [count] their places; see `order_vectors`."""
    vectors = np.argsort(-lengths, kind="stable")
    if not empty:
        vectors = vectors[: np.count_nonzero(lengths)]
    places = np.full(len(lengths), -1, np.int32)
    places[vectors] = np.arange(len(vectors))
    return Order(vectors, lengths[vectors], places)


def lay_out(
    vectors: NDArray[np.int32],
    columns: NDArray[np.int32],
    targets: NDArray[np.floating],
    weights: NDArray[np.floating],
    lengths: NDArray[np.integer],
    *,
    workers: int,
    single: bool,
    few_shapes: bool = False,
    largest: Callable[[NDArray[np.int64]], NDArray[np.int64]] = lambda sizes: sizes,
) -> list[tuple[Tiles, ...]]:
    """Lay one side's ratings out in tiles.

    Args:
        vectors: [n] the vector's place of each rating.
        columns: [n] the other side's place.
        targets: [n].
        weights: [n].
        lengths: [places] ratings of the vector at each.
        workers: how many shards.
        single: make tiles of one vector only.
        few_shapes: leave room up to a power of 2, so that one program serves other ratings too.
        largest: the largest of each of some sizes on all processes, of which every one lays its own
            ratings out, with as many places: so that all shards of all of them are of one shape.

    Returns:
        For each worker its tiles of 1 vector, then of 4 vectors, and so on, all of one shape.
    """
    size = -(-len(lengths) // workers)
    filled = np.zeros(size * workers, np.int64)
    filled[: len(lengths)] = lengths
    own = filled.reshape(size, workers).T  # each shard's vectors
    long = largest(np.array([len(vectors) > LONG * len(lengths)], np.int64))
    plan = [(1, size, 16 if long.any() else 8)]
    if not single:
        plan = _plan(largest(own.max(axis=0)))
    size = sum(tile_vectors * tiles for tile_vectors, tiles, _ in plan)
    own = np.pad(own, ((0, 0), (0, size - own.shape[1])))
    chunks, slots = _room(own, plan, few_shapes, largest)

    # A counting sort by shard and vector, in compiled code; padding goes last within its vector
    filling = np.repeat(np.arange(own.size, dtype=np.int32), (slots - own).reshape(-1))
    of_place = np.arange(own.size, dtype=np.int32).reshape(workers, size).T.reshape(-1)
    count = len(vectors) + len(filling)
    vector, column = np.empty(count, np.int32), np.zeros(count, np.int32)
    np.take(of_place, vectors, out=vector[: len(vectors)], mode="clip")
    vector[len(vectors) :] = filling
    column[: len(vectors)] = columns
    entries = scipy.sparse.coo_array(
        (np.arange(count, dtype=np.int32), (vector, column)),
        shape=(own.size, int(columns.max(initial=0)) + 1),
    )
    entries.has_canonical_format = True  # do not add up what a user rated twice
    by_vector = entries.tocsr()
    del entries, vector, column, filling  # of the size of all ratings, as what follows is
    rating, column = by_vector.data, by_vector.indices
    padding = rating >= len(vectors)
    rating[padding] = 0
    if not len(vectors):
        weights = targets = np.zeros(1, targets.dtype)
    scale = np.sqrt(weights[rating])
    scale[padding] = 0
    target = targets[rating]
    target *= scale
    del rating, padding, by_vector
    fields = column, scale, target

    shards, start = [], 0
    for worker in range(workers):
        first_vector, tiles = 0, []
        for (tile_vectors, _, chunk), of_tile in zip(plan, chunks[worker], strict=True):
            end_vector = first_vector + tile_vectors * len(of_tile)
            stop = start + int(slots[worker, first_vector:end_vector].sum())
            first = (np.cumsum(of_tile) - of_tile).astype(np.int32)
            blocks = (
                _by_chunk(field[start:stop], of_tile, tile_vectors, chunk) for field in fields
            )
            tiles.append(Tiles(first, of_tile.astype(np.int32), *blocks))
            first_vector, start = end_vector, stop
        shards.append(tuple(tiles))
    return shards


def _room(
    lengths: NDArray[np.int64],
    plan: list[tuple[int, int, int]],
    few_shapes: bool,
    largest: Callable[[NDArray[np.int64]], NDArray[np.int64]],
) -> tuple[list[list[NDArray[np.int64]]], NDArray[np.int64]]:
    """How many chunks each tile has, by shard and part; slots of each vector [shards, size].

    A part's last vector also holds the slots by which its shard falls short of the fullest, so that
    all shards are of one shape; and one chunk at least, as nothing can be cut from an empty array.
    """
    chunks: list[list[NDArray[np.int64]]] = [[] for _ in lengths]
    slots, vector = np.zeros_like(lengths), 0
    for tile_vectors, tiles, chunk in plan:
        here = slice(vector, vector + tile_vectors * tiles)
        longest = lengths[:, here].reshape(len(lengths), tiles, tile_vectors).max(axis=2)
        of_tile = -(-longest // chunk)
        slots[:, here] = np.repeat(of_tile * chunk, tile_vectors, axis=1)
        total = of_tile.sum(axis=1) * tile_vectors * chunk
        most = max(int(largest(total.max(keepdims=True))[0]), tile_vectors * chunk)
        slots[:, here.stop - 1] += (1 << (most - 1).bit_length() if few_shapes else most) - total
        for mine, counts in zip(chunks, of_tile, strict=True):
            mine.append(counts)
        vector = here.stop
    return chunks, slots


def _by_chunk(field: NDArray, chunks: NDArray[np.int64], tile_vectors: int, chunk: int) -> NDArray:
    """[chunks, B, C] from slots that stand vector by vector."""
    if tile_vectors == 1:
        return field.reshape(-1, 1, chunk)
    blocks = np.zeros((len(field) // (tile_vectors * chunk), tile_vectors, chunk), field.dtype)
    start = 0
    for count in chunks:
        stop = start + count
        tile = field[start * tile_vectors * chunk : stop * tile_vectors * chunk]
        blocks[start:stop] = tile.reshape(tile_vectors, count, chunk).swapaxes(0, 1)
        start = stop
    return blocks


def _plan(lengths: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(vectors per tile, tiles, chunk) of each part of a shard whose vectors have `lengths`.

    A chunk of all vectors is at most a sixteenth of a tile's slots: large steps, yet less padding.
    """
    as_many = 1 << max(int(lengths.sum()).bit_length() - 1, 0)
    slots = min(TILE_SLOTS, max(as_many, LEAST_SLOTS))
    plan, lo = [], 0
    tile_vectors = 1
    while lo < len(lengths):
        # as long as tiles of this many vectors are full enough, go on with them
        most = min(MOST_VECTORS, len(lengths) - lo)
        while tile_vectors < most and lengths[lo] * tile_vectors * 4 <= slots:
            tile_vectors *= 4
        enough = np.flatnonzero(lengths[lo:] * tile_vectors * 4 <= slots)
        last = tile_vectors >= most or not len(enough)
        stop = len(lengths) if last else lo + int(enough[0])
        count = -(-(stop - lo) // tile_vectors)
        longest = 1 << (int(lengths[lo]) - 1).bit_length()
        plan.append((tile_vectors, count, max(min(slots // (16 * tile_vectors), longest), 4)))
        lo += count * tile_vectors
    return plan
