from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array
from jax.tree_util import Partial

from jaxrec.devices import Cores, workers
from jaxrec.topk import ranking as topk
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.ranking import top_k
from jaxrec.topk.scorer import product
from tests.conftest import make_ratings


def look_up(table: Array, users: Array, candidates: Array) -> Array:
    return table[users]


def by_numpy(
    scores: np.ndarray, seen: np.ndarray, catalogue: np.ndarray, k: int, order: np.ndarray | None
) -> list[list[int]]:
    place = np.arange(scores.shape[1]) if order is None else np.argsort(order)
    lists = []
    for row, known in zip(scores, seen, strict=True):
        items = np.flatnonzero(catalogue & ~known)
        best = items[np.lexsort((place[items], -row[items]))][:k].tolist()
        lists.append(best + [-1] * (k - len(best)))
    return lists


@settings(max_examples=40)
@given(st.data())
def test_equals_a_full_sort_with_ties_in_their_order(data: st.DataObject) -> None:
    users, items = data.draw(st.integers(1, 5)), data.draw(st.sampled_from([1, 3, 12, 64, 101]))
    k = data.draw(st.sampled_from([1, 3, 12]))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    scores = rng.integers(-2, 3, (users, items)).astype(np.float32)  # many ties
    seen = rng.random((users, items)) < 0.3
    catalogue = rng.random(items) < 0.8
    order = rng.permutation(items).astype(np.int32) if data.draw(st.booleans()) else None
    rated = [(u, i, 3.0, 0) for u, i in np.argwhere(seen)]
    found, values = top_k(
        Partial(look_up, jnp.asarray(scores)),
        np.arange(users, dtype=np.int32),
        ItemSets.of(make_ratings(rated), users),
        catalogue,
        k,
        tie_order=order,
    )
    assert found.tolist() == by_numpy(scores, seen, catalogue, k, order)
    expected = np.take_along_axis(scores, np.maximum(found, 0), axis=1)
    assert np.where(found >= 0, values == expected, values == -np.inf).all()


def test_the_memory_budget_changes_blocks_not_lists() -> None:
    rng = np.random.default_rng(0)
    scorer = Partial(look_up, jnp.asarray(rng.normal(size=(50, 40)), jnp.float32))
    seen = ItemSets.of(make_ratings([(u, u % 40, 3.0, 0) for u in range(50)]), 50)
    users, catalogue = np.arange(50, dtype=np.int32), np.ones(40, bool)
    roomy, _ = top_k(scorer, users, seen, catalogue, 5)
    tight, _ = top_k(scorer, users, seen, catalogue, 5, memory=7 * 32 * 40)
    assert roomy.tolist() == tight.tolist()


@settings(max_examples=30)
@given(st.data())
def test_blocks_of_items_give_the_lists_of_whole_rows(data: st.DataObject) -> None:
    users, items = 3, data.draw(st.sampled_from([40, 101]))
    k, width = data.draw(st.sampled_from([1, 7])), data.draw(st.sampled_from([7, 16, 40]))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    left, right = (rng.integers(-1, 2, (rows, 2)).astype(np.float32) for rows in (users, items))
    seen = rng.random((users, items)) < 0.3
    catalogue = rng.random(items) < 0.8
    order = rng.permutation(items).astype(np.int32)
    found, _ = jax.jit(topk.rank_by_item_blocks, static_argnames=("k", "width"))(
        topk.Product(jnp.asarray(left), jnp.asarray(right)),
        jnp.arange(users),
        tuple(jnp.asarray(column) for column in np.nonzero(seen)),
        jnp.asarray(catalogue),
        k=k,
        width=width,
        tie_order=order,
    )
    assert found.tolist() == by_numpy(left @ right.T, seen, catalogue, k, order)


def test_a_small_budget_ranks_by_blocks_of_items_within_it() -> None:
    rng = np.random.default_rng(0)
    users, items, k, memory = 40, 5_000, 5, 2**19
    scorer = topk.Product(*(jnp.asarray(rng.normal(size=(n, 8)), jnp.float32) for n in (40, items)))
    seen = ItemSets.of(make_ratings([(u, u, 3.0, 0) for u in range(users)]), users)
    lowered: list[Any] = []
    jitted = topk._rank_unseen

    def watched(*arguments: Any) -> Any:
        lowered.append((arguments[1], jitted.lower(*arguments)))
        return jitted(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "_rank_unseen", watched)
        found, _ = top_k(
            scorer, np.arange(users, dtype=np.int32), seen, np.ones(items, bool), k, memory
        )
    roomy, _ = top_k(scorer, np.arange(users, dtype=np.int32), seen, np.ones(items, bool), k)
    assert found.tolist() == roomy.tolist()
    used = lowered[0][1].compile().memory_analysis().temp_size_in_bytes
    assert used * len(workers()) <= memory  # a block per core at once


@pytest.mark.parametrize(
    ("items", "memory", "cores", "k", "width"),
    [
        (40, {"memory": 32 * 16 * 40}, 1, 5, None),
        (40, {"memory": 32 * 16 * 40 - 1}, 1, 5, 39),
        (40, {"memory": 32 * 16 * 40}, 2, 5, 20),
        (40, {"memory": 1}, 1, 5, 5),
        (40, {"memory": 1}, 1, 50, 40),
        (2**21, {}, 1, 5, None),
        (2**21 + 1, {}, 1, 5, 2**21),
    ],
)
def test_items_are_cut_where_16_users_do_not_fit_in_a_core_s_part(
    items: int,
    memory: dict[str, Any],
    cores: int,
    k: int,
    width: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """32 bytes each of an item, 1 GiB by default; a block is no narrower than the list."""
    asked: set[int | None] = set()

    def ranked(_: Any, users: np.ndarray, *given: Any) -> tuple[np.ndarray, np.ndarray]:
        asked.add(given[3])
        return np.zeros((len(users), k), np.int32), np.zeros((len(users), k))

    monkeypatch.setattr(topk, "_rank_unseen", ranked)
    monkeypatch.setattr(topk, "placement", lambda: Cores(cores))
    seen = ItemSets.of(make_ratings([]), 3)
    scorer = product(np.ones((3, 1)), np.ones((items, 1)))
    top_k(scorer, np.arange(3, dtype=np.int32), seen, np.ones(items, bool), k, **memory)
    assert asked == {width}


@pytest.mark.parametrize("memory", [1, topk.MEMORY])
def test_of_the_catalogue_only_what_is_allowed_is_listed(memory: int) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(3, 2)), rng.normal(size=(40, 2))
    seen, (catalogue, allowed) = rng.random((3, 40)) < 0.3, rng.random((2, 40)) < 0.6
    rated = ItemSets.of(make_ratings([(u, i, 3.0, 0) for u, i in np.argwhere(seen)]), 3)
    users = np.arange(3, dtype=np.int32)
    found, _ = top_k(
        product(left, right), users, rated, catalogue, 20, memory=memory, allowed=allowed
    )
    assert found.tolist() == by_numpy(left @ right.T, seen, catalogue & allowed, 20, None)


def counted(users: Array, candidates: Array) -> Array:
    """Scores how many candidates there are."""
    return jnp.where(candidates, jnp.sum(candidates, axis=1, keepdims=True), 0.0)


def test_what_is_not_allowed_is_a_candidate_still() -> None:
    seen = ItemSets.of(make_ratings([(0, 1, 3.0, 0)]), 1)
    catalogue, allowed = np.array([True] * 4 + [False]), np.array([False, True, False, True, True])
    found, scores = top_k(
        Partial(counted), np.zeros(1, np.int32), seen, catalogue, 2, allowed=allowed
    )
    assert (found.tolist(), scores.tolist()) == ([[3, -1]], [[3, -np.inf]])


def test_nobody_is_served_nothing() -> None:
    seen = ItemSets.of(make_ratings([]), 1)
    found, scores = top_k(
        Partial(look_up, jnp.ones((1, 3))), np.zeros(0, np.int32), seen, np.ones(3, bool), 2
    )
    assert found.shape == scores.shape == (0, 2)


def test_nan_of_an_item_that_is_no_candidate_does_no_harm() -> None:
    scores = jnp.asarray([[1.0, np.nan, 2.0]])
    seen = ItemSets.of(make_ratings([(0, 1, 3.0, 0)]), 1)
    found, _ = top_k(Partial(look_up, scores), np.zeros(1, np.int32), seen, np.ones(3, bool), 2)
    assert found.tolist() == [[2, 0]]


def test_k_is_at_least_one() -> None:
    seen = ItemSets.of(make_ratings([]), 1)
    with pytest.raises(ValueError, match="k is 0; it must be at least 1"):
        top_k(Partial(look_up, jnp.ones((1, 3))), np.zeros(1, np.int32), seen, np.ones(3, bool), 0)


def test_beyond_the_catalogue_a_list_is_filled_up_by_blocks_of_items_too() -> None:
    """A budget of one byte asks for blocks."""
    scorer, seen = product(np.ones((1, 1)), np.arange(3.0)[:, None]), make_ratings([])
    found, scores = top_k(
        scorer, np.zeros(1, np.int32), ItemSets.of(seen, 1), np.ones(3, bool), 5, memory=1
    )
    assert found.tolist() == [[2, 1, 0, -1, -1]]
    assert scores.tolist() == [[2, 1, 0, -np.inf, -np.inf]]


def test_minus_zero_ties_with_zero() -> None:
    scorer = Partial(look_up, jnp.asarray([[-0.0, 0.0, -0.0, 0.0]]))
    seen = ItemSets.of(make_ratings([]), 1)
    found, _ = top_k(scorer, np.zeros(1, np.int32), seen, np.ones(4, bool), 4)
    assert found.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("broken", [np.nan, -np.nan])
def test_a_score_that_is_not_a_number_is_refused(broken: float) -> None:
    scorer = Partial(look_up, jnp.asarray([[1.0, broken, 2.0]]))
    seen = ItemSets.of(make_ratings([]), 1)
    with pytest.raises(ValueError, match="not a number"):
        top_k(scorer, np.zeros(1, np.int32), seen, np.ones(3, bool), 1)


def test_nan_in_either_side_of_a_product_is_told_whatever_maxima_make_of_it() -> None:
    users, catalogue = jnp.arange(2), jnp.array([True, True, False])
    left, right = np.ones((2, 3)), np.ones((3, 3))

    def broken(left: np.ndarray, right: np.ndarray) -> list[bool]:
        return topk.broken(product(left, right), users, jnp.ones((2, 3)), catalogue).tolist()

    nan = np.where(np.eye(3) > 0, np.nan, 1)
    assert broken(left, right) == [False, False]
    assert broken(np.stack([left[0], nan[2]]), right) == [False, True]
    assert broken(left, np.stack([right[0], nan[2], right[0]])) == [True, True]
    assert broken(left, np.stack([right[0], right[0], nan[2]])) == [False, False]  # not listed
