import time

import numpy as np
import pytest

from jaxrec.devices import Cores
from jaxrec.topk import blocks
from jaxrec.topk.item_sets import ItemSets
from tests.conftest import make_ratings


def test_blocks_keep_within_the_budget_and_have_one_shape() -> None:
    users = np.arange(1000, dtype=np.int32)
    parts = blocks.user_blocks(users, items=1000, memory=32 * 1000 * 60)
    assert {len(block) for block in parts} == {59}  # 17 blocks of at most 60
    assert np.concatenate(parts)[:1000].tolist() == users.tolist()
    shared = blocks.user_blocks(users, 1000, 32 * 1000 * 60, parallel=4)
    assert {len(block) for block in shared} == {15}
    assert len(blocks.user_blocks(users, 100, 2**30, parallel=2)) == 2


def test_one_user_is_a_block_and_nobody_is_none() -> None:
    one = blocks.user_blocks(np.array([7], np.int32), 10, 2**30, parallel=2)
    assert [block.tolist() for block in one] == [[7]]
    assert blocks.user_blocks(np.zeros(0, np.int32), 10, 2**30) == []


def test_users_who_fit_in_one_block_are_in_one() -> None:
    users = np.arange(5, dtype=np.int32)
    assert [block.tolist() for block in blocks.user_blocks(users, 10, 2**30)] == [[0, 1, 2, 3, 4]]


def test_a_block_s_scores_are_three_million_however_much_memory_there_is() -> None:
    """Eight bytes each are 24 MB: from 32 MB on the C library maps memory anew at every call."""
    parts = blocks.user_blocks(np.arange(4 * 3072, dtype=np.int32), 1024, 2**40)
    assert [len(block) for block in parts] == [3072] * 4


@pytest.mark.parametrize("memory", [1, 2**30])
def test_every_user_is_worked_on_once_in_blocks_of_one_shape(memory: int) -> None:
    """Results come back in the order of the users, without what fills up the last block."""
    sets = ItemSets.of(make_ratings([(u, u % 3, 4.0, 0) for u in range(7) if u != 5]), 7)
    users, shapes = np.array([6, 5, 0, 3, 2], np.int32), set()

    def work(block: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
        shapes.add((len(block), len(pairs[0])))
        place, item = pairs
        sums = np.zeros(len(block))
        np.add.at(sums, place[place < len(block)], item[place < len(block)] + 1)
        return {"user": block, "sum": sums}

    found = blocks.over_users(work, users, 100, (sets,), memory)
    assert found["user"].tolist() == users.tolist()
    assert found["sum"].tolist() == [1, 0, 1, 1, 3]
    assert len(shapes) == 1


def test_the_first_block_may_be_done_before_the_others_begin() -> None:
    users, place = np.arange(6, dtype=np.int32), Cores(2)
    log: list[str] = []

    def work(block: np.ndarray) -> np.ndarray:
        log.append(f"begin {block[0]}")
        if block[0] == 0:
            time.sleep(0.2)
        log.append(f"end {block[0]}")
        return block

    found = blocks.over_users(work, users, 1, (), 32 * 2, place, first_alone=True)
    assert found.tolist() == users.tolist()
    assert log[:2] == ["begin 0", "end 0"]


def test_sets_of_some_users_alone() -> None:
    sets = ItemSets(np.array([0, 2, 2, 3, 5]), np.array([4, 1, 7, 0, 2], np.int32))
    some = sets.only(np.array([3, 0, 0]))
    assert some.lengths.tolist() == [2, 0, 0, 2]
    assert some.items.tolist() == [4, 1, 0, 2]


def test_a_rounded_size_is_an_eighth_more_at_most_and_one_of_eight_in_a_doubling() -> None:
    sizes = range(1024, 2048)
    assert all(size <= blocks.rounded(size) <= size * 9 / 8 for size in (*range(1024), *sizes))
    assert {blocks.rounded(size) for size in sizes} == {*range(1024, 2049, 128)}
    assert [blocks.rounded(size) for size in (0, 7, 15, 17)] == [0, 7, 15, 18]
