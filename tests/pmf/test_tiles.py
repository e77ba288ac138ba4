"""The layout holds every rating once, whatever the shape of the matrix."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.pmf import tiles
from jaxrec.pmf.tiles import Tiles, lay_out, order_vectors


def entries(shards: list[tuple[Tiles, ...]]) -> list[tuple[int, int, float, float]]:
    """(row's place, column, scale, scaled target) of every slot with a scale."""
    found = []
    for worker, parts in enumerate(shards):
        row = 0
        for part in parts:
            tile_rows = part.columns.shape[1]
            for first, chunks in zip(part.first, part.chunks, strict=True):
                for lane in range(tile_rows):
                    slots = (field[first : first + chunks, lane].ravel() for field in part[2:])
                    for column, scale, target in zip(*slots, strict=True):
                        if scale > 0:
                            place = row * len(shards) + worker
                            found.append((place, int(column), float(scale), float(target)))
                    row += 1
    return sorted(found)


@settings(max_examples=60)
@given(st.data())
def test_every_rating_has_one_slot(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 12))
    n = data.draw(st.integers(1, 200))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    chance = rng.random(rows) ** 6  # few rows hold most ratings
    of = rng.choice(rows, n, p=chance / chance.sum()).astype(np.int32)
    to = rng.integers(0, columns, n).astype(np.int32)  # pairs may repeat
    targets, weights = rng.normal(size=n), rng.integers(1, 4, n).astype(float) ** 2
    order = order_vectors(of, rows, empty=data.draw(st.booleans()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE_SLOTS", data.draw(st.sampled_from([16, 64, 2**14])))
        shards = lay_out(
            order.places[of],
            to,
            targets,
            weights,
            order.lengths,
            workers=data.draw(st.integers(1, 3)),
            single=data.draw(st.booleans()),
        )
    scale = np.sqrt(weights)
    expected = sorted(
        zip(order.places[of].tolist(), to.tolist(), scale.tolist(), (scale * targets).tolist(),
            strict=True)
    )  # fmt: skip
    assert entries(shards) == expected
    assert all(min(field.shape) > 0 for parts in shards for part in parts for field in part)
    assert len({tuple(field.shape for part in parts for field in part) for parts in shards}) == 1


def test_rows_stand_by_falling_length_and_empty_ones_have_no_place() -> None:
    order = order_vectors(np.array([2, 2, 0, 2, 4, 4], np.int32), 6, empty=False)
    assert order.vectors.tolist() == [2, 4, 0]
    assert order.lengths.tolist() == [3, 2, 1]
    assert order.places.tolist() == [2, -1, 0, -1, 1, -1]
    assert order_vectors(np.array([1], np.int32), 3, empty=True).vectors.tolist() == [1, 0, 2]


def test_padding_is_bounded_on_a_power_law() -> None:
    rng = np.random.default_rng(0)
    chance = 1 / np.arange(1, 20_001)
    of = rng.choice(20_000, 1_000_000, p=chance / chance.sum()).astype(np.int32)
    ones = np.ones(len(of), np.float32)
    order = order_vectors(of, 20_000, empty=False)
    # a core streams what it needs, an accelerator takes few large steps
    for single, padding in ((True, 1.25), (False, 3)):
        shards = lay_out(order.places[of], of, ones, ones, order.lengths, workers=2, single=single)
        slots = sum(part.columns.size for parts in shards for part in parts)
        assert slots <= padding * len(of)
        assert max(len(parts) for parts in shards) <= 7  # compiled shapes


def test_on_an_accelerator_a_vector_alone_takes_its_own_room() -> None:
    """As somebody does whose vector is folded in."""
    ones = np.ones(20, np.float32)
    of = np.zeros(20, np.int32)
    (parts,) = lay_out(of, of, ones, ones, np.array([20]), workers=1, single=False, few_shapes=True)
    assert sum(part.columns.size for part in parts) == 32


def test_vectors_of_one_length_keep_their_order() -> None:
    """Else their places, and so last digits, would hang on NumPy's version and processor."""
    of = np.random.default_rng(0).integers(0, 500, 2_000).astype(np.int32)
    lengths = np.bincount(of, minlength=500)
    by_hand = sorted(range(500), key=lambda vector: -lengths[vector])
    assert order_vectors(of, 500, empty=True).vectors.tolist() == by_hand


def test_what_a_user_rated_twice_has_two_slots() -> None:
    twice, targets = np.zeros(2, np.int32), np.array([1.0, 0.5])
    how = {"workers": 1, "single": True}
    shards = lay_out(twice, twice, targets, np.ones(2), np.array([2]), **how)  # type: ignore[arg-type]
    assert entries(shards) == [(0, 0, 1.0, 0.5), (0, 0, 1.0, 1.0)]


def shapes(
    lengths: list[int], dtype: type = np.float32, **how: Any
) -> list[list[tuple[int, int, int]]]:
    """[chunks, vectors of a tile, slots of a chunk] of each part of each shard."""
    of = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    ones: np.ndarray = np.ones(len(of), dtype)
    given = {"workers": 1, "single": True} | how
    shards = lay_out(of, 0 * of, ones, ones, np.array(lengths), **given)
    assert {part.scale.dtype for parts in shards for part in parts} == {np.dtype(dtype)}
    assert {part.targets.dtype for parts in shards for part in parts} == {np.dtype(dtype)}
    return [[part.columns.shape for part in parts] for parts in shards]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_core_cuts_long_vectors_into_chunks_of_sixteen(dtype: type) -> None:
    """Long is more than 64 ratings on average."""
    assert shapes([64, 64], dtype) == [[(16, 1, 8)]]
    assert shapes([65, 64], dtype) == [[(9, 1, 16)]]
    assert shapes([9, 8, 1], dtype) == [[(4, 1, 8)]]


def test_all_shards_have_the_room_of_the_fullest_and_a_chunk_at_least() -> None:
    assert shapes([20, 3, 2], workers=2) == [[(4, 1, 8)], [(4, 1, 8)]]
    assert shapes([3], workers=3) == [[(1, 1, 8)]] * 3
    assert shapes([0, 0]) == [[(1, 1, 8)]]


@pytest.mark.parametrize(("length", "slots"), [(8, 8), (9, 16), (16, 16), (17, 32), (33, 64)])
def test_with_few_shapes_the_room_is_a_power_of_two(length: int, slots: int) -> None:
    assert shapes([length], few_shapes=True) == [[(slots // 8, 1, 8)]]


def test_each_process_leaves_the_room_that_the_fullest_needs() -> None:
    """Of two one has long vectors, and the other gets chunks of sixteen, too."""
    asked: list[list[int]] = []

    def told(sizes: np.ndarray) -> np.ndarray:
        asked.append(sizes.tolist())
        return sizes

    own = shapes([100, 30], largest=told)
    answers = iter([np.array(sizes) for sizes in asked])
    assert asked == [[1], [9 * 16]]
    assert shapes([5, 1], largest=lambda sizes: next(answers)) == own


@pytest.mark.parametrize(
    ("lengths", "plan"),
    [
        # one of 65, as four would take 260 slots; four of 64; of 9, 16 would have room, but there
        # are three
        ([65, *[64] * 3, *[9] * 3], [(1, 1, 16), (4, 1, 4), (4, 1, 4)]),
        ([65] + [16] * 20, [(1, 1, 16), (16, 2, 4)]),
        ([16] * 16 + [4] * 60, [(16, 1, 4), (64, 1, 4)]),
        ([1] * 300, [(256, 2, 4)]),
        ([200, 190], [(1, 2, 16)]),
        ([16] * 17, [(16, 2, 4)]),
        # as few ratings as these have 64 slots
        ([3, 1], [(4, 1, 4)]),
        ([17], [(1, 1, 4)]),
        ([16, 16], [(4, 1, 4)]),
    ],
)
def test_a_tile_takes_as_many_vectors_as_have_room(
    lengths: list[int], plan: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "TILE_SLOTS", 256)
    monkeypatch.setattr(tiles, "LEAST_SLOTS", 64)
    assert tiles._plan(np.array(lengths)) == plan
