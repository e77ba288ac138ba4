import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array
from jax.tree_util import Partial

from jaxrec import topk
from jaxrec.sparse_rows import Rows
from jaxrec.topk import top_k
from tests.conftest import make_ratings

pytestmark = pytest.mark.timeout(120)


def look_up(table: Array, users: Array, candidates: Array) -> Array:
    return table[users]


def by_numpy(
    scores: np.ndarray, seen: np.ndarray, catalogue: np.ndarray, k: int
) -> list[list[int]]:
    lists = []
    for row, known in zip(scores, seen, strict=True):
        items = np.flatnonzero(catalogue & ~known)
        best = items[np.lexsort((items, -row[items]))][:k].tolist()
        lists.append(best + [-1] * (k - len(best)))
    return lists


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_equals_a_full_sort_with_ties_by_item_index(data: st.DataObject) -> None:
    users, items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 12))
    k = data.draw(st.integers(1, items))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    scores = rng.integers(-2, 3, (users, items)).astype(np.float32)  # many ties
    seen = rng.random((users, items)) < 0.3
    catalogue = rng.random(items) < 0.8
    rated = [(u, i, 3.0, 0) for u, i in np.argwhere(seen)]
    found, values = top_k(
        Partial(look_up, jnp.asarray(scores)),
        np.arange(users, dtype=np.int32),
        Rows.of(make_ratings(rated), users),
        catalogue,
        k,
    )
    assert found.tolist() == by_numpy(scores, seen, catalogue, k)
    expected = np.take_along_axis(scores, np.maximum(found, 0), axis=1)
    assert np.where(found >= 0, values == expected, values == -np.inf).all()


def test_the_memory_budget_changes_blocks_not_lists() -> None:
    rng = np.random.default_rng(0)
    scorer = Partial(look_up, jnp.asarray(rng.normal(size=(50, 40)), jnp.float32))
    seen = Rows.of(make_ratings([(u, u % 40, 3.0, 0) for u in range(50)]), 50)
    users, catalogue = np.arange(50, dtype=np.int32), np.ones(40, bool)
    roomy, _ = top_k(scorer, users, seen, catalogue, 5)
    tight, _ = top_k(scorer, users, seen, catalogue, 5, memory=7 * 32 * 40)
    assert roomy.tolist() == tight.tolist()


def test_blocks_keep_within_the_budget_and_have_one_shape() -> None:
    users = np.arange(1000, dtype=np.int32)
    blocks = list(topk.user_blocks(users, items=1000, memory=32 * 1000 * 60))
    assert {len(block) for block in blocks} == {60}
    assert np.concatenate(blocks)[:1000].tolist() == users.tolist()


@pytest.mark.parametrize("k", [0, 4])
def test_k_must_fit_the_catalogue(k: int) -> None:
    seen = Rows.of(make_ratings([]), 1)
    with pytest.raises(ValueError, match=f"k is {k}; it must lie between 1 and"):
        top_k(Partial(look_up, jnp.ones((1, 3))), np.zeros(1, np.int32), seen, np.ones(3, bool), k)


def test_minus_zero_ties_with_zero() -> None:
    scorer = Partial(look_up, jnp.asarray([[-0.0, 0.0, -0.0, 0.0]]))
    seen = Rows.of(make_ratings([]), 1)
    found, _ = top_k(scorer, np.zeros(1, np.int32), seen, np.ones(4, bool), 4)
    assert found.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("broken", [np.nan, -np.nan])
def test_a_score_that_is_not_a_number_is_refused(broken: float) -> None:
    scorer = Partial(look_up, jnp.asarray([[1.0, broken, 2.0]]))
    seen = Rows.of(make_ratings([]), 1)
    with pytest.raises(ValueError, match="not a number"):
        top_k(scorer, np.zeros(1, np.int32), seen, np.ones(3, bool), 1)
