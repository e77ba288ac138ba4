from collections.abc import Callable
from math import log2

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.tree_util import Partial

from jaxrec.data.dataset import Dataset
from jaxrec.devices import placement
from jaxrec.evaluation.measure import evaluate, places_differing
from jaxrec.evaluation.protocol import Protocol
from jaxrec.evaluation.task import Task, evaluation_task
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.ranking import top_k
from jaxrec.topk.scorer import Product, product
from tests.conftest import make_ratings
from tests.scored import table


def look_up(table: Array, users: Array, candidates: Array) -> Array:
    return table[users]


def rows(pairs: list[tuple[int, int]], users: int) -> ItemSets:
    return ItemSets.of(make_ratings([(u, i, 5.0, 0) for u, i in pairs]), users)


def test_three_users_by_hand() -> None:
    """User 0 has seen the best item, user 1 has nothing relevant, user 2 misses one of two."""
    task = Task(
        seen=rows([(0, 4)], 3),
        relevant=rows([(0, 3), (2, 4), (2, 0)], 3),
        catalogue=np.ones(5, bool),
        item_counts=np.ones(5, int),
        card={},
    )
    scorer = Partial(look_up, jnp.tile(jnp.arange(5.0), (3, 1)))
    found = evaluate(scorer, task, ks=(1, 2))
    assert found.users.tolist() == [0, 2]
    assert found.hits == 2
    assert found.per_user["precision@1"].tolist() == [1, 1]
    assert found.per_user["precision@2"].tolist() == [0.5, 0.5]
    assert found.per_user["recall@2"].tolist() == [1, 0.5]
    ideal = [1, 1 + 1 / log2(3)]
    assert found.per_user["ndcg@2"].tolist() == pytest.approx([1 / ideal[0], 1 / ideal[1]])
    assert found.metrics["recall@2"] == 0.75


def test_k_may_be_the_whole_catalogue_and_exceed_the_candidates() -> None:
    task = Task(
        rows([(0, 0), (0, 1)], 1),
        rows([(0, 2)], 1),
        np.array([1, 1, 1, 0], bool),
        np.ones(4, int),
        {},
    )
    found = evaluate(Partial(look_up, jnp.zeros((1, 4))), task, ks=(4,))
    assert found.metrics["recall@4"] == 1
    assert found.metrics["precision@4"] == 0.25


def test_without_an_order_ties_go_to_the_lower_item() -> None:
    for relevant, hits in ((0, 1), (3, 0)):
        task = Task(rows([], 1), rows([(0, relevant)], 1), np.ones(4, bool), np.ones(4, int), {})
        assert evaluate(Partial(look_up, jnp.zeros((1, 4))), task, ks=(1,)).hits == hits


def test_a_small_budget_and_a_ragged_last_block_change_nothing(synthetic: Dataset) -> None:
    task = evaluation_task(synthetic, Protocol.of("published", synthetic, 42))
    table = np.random.default_rng(0).normal(size=(synthetic.users, synthetic.items))
    scorer = Partial(look_up, jnp.asarray(table, jnp.float32))
    whole = evaluate(scorer, task, ks=(5, 10))
    traced: list[tuple[int, ...]] = []

    def look_up_and_tell(table: Array, users: Array, candidates: Array) -> Array:
        traced.append(candidates.shape)
        return table[users]

    telling = Partial(look_up_and_tell, *scorer.args)
    at_once = placement().parallel
    parts = evaluate(telling, task, ks=(5, 10), memory=at_once * 7 * 32 * synthetic.items)
    [(block, items)] = traced
    assert 1 < block <= 7
    assert items == synthetic.items
    for name, values in whole.per_user.items():
        assert values.tolist() == parts.per_user[name].tolist()


def test_hits_are_those_of_the_recommended_lists(synthetic: Dataset) -> None:
    """An oracle in NumPy over the lists that `top_k` hands out."""
    protocol = Protocol.of("published", synthetic, 42)
    task = evaluation_task(synthetic, protocol)
    table = np.random.default_rng(1).normal(size=(synthetic.users, synthetic.items))
    scorer = Partial(look_up, jnp.asarray(table, jnp.float32))
    found = evaluate(scorer, task, ks=(10,))
    lists, _ = top_k(scorer, found.users, task.seen, task.catalogue, 10)
    test = synthetic.interactions.at(protocol.split.test)
    train = synthetic.interactions.at(protocol.split.train)
    for user, recommended, precision in zip(
        found.users, lists, found.per_user["precision@10"], strict=True
    ):
        liked = test.items[(test.users == user) & (test.values >= 4)]
        assert precision == pytest.approx(np.isin(recommended, liked).sum() / 10)
        assert not np.isin(recommended, train.items[train.users == user]).any()


def test_the_published_task(movielens: Dataset) -> None:
    task = evaluation_task(movielens, Protocol.of("published", movielens, 42))
    assert task.card["users_evaluated"] == 600
    assert task.catalogue.sum() == 8_965


def test_a_test_rating_below_four_stars_is_not_relevant(
    make_dataset: Callable[..., Dataset],
) -> None:
    data = make_dataset([(0, i, 3.5, i) for i in range(10)], users=1, items=10)
    task = evaluation_task(data, Protocol.of("published", data, 42))
    assert task.card["users_evaluated"] == 0
    with pytest.raises(ValueError, match="no user has a relevant item"):
        evaluate(Partial(look_up, jnp.zeros((1, 10))), task, ks=(1,))


def test_a_liked_test_item_without_a_train_rating_is_neither_candidate_nor_relevant(
    make_dataset: Callable[..., Dataset],
) -> None:
    data = make_dataset([(0, i, 5.0, i) for i in range(10)], users=1, items=10)
    task = evaluation_task(data, Protocol.of("published", data, 42))
    assert task.catalogue.sum() == 8
    assert len(task.relevant.items) == 0


def test_what_measures_is_compiled_once_for_all_scorers(compiled: Callable[[str], int]) -> None:
    shape = 3, 7
    task = Task(rows([(0, 4)], 3), rows([(0, 3), (2, 4)], 3), np.ones(7, bool), np.ones(7, int), {})
    evaluate(table(jnp.zeros(shape)), task, ks=(3,))
    for dim in (2, 3):
        evaluate(Product(jnp.zeros((3, dim)), jnp.zeros((7, dim))), task, ks=(3,))
    assert compiled("_measure_block") == 1


def test_a_cut_off_is_at_least_one() -> None:
    task = Task(rows([], 1), rows([(0, 1)], 1), np.ones(5, bool), np.ones(5, int), {})
    with pytest.raises(ValueError, match="k is 0; it must be at least 1"):
        evaluate(Partial(look_up, jnp.zeros((1, 5))), task, ks=(0,))


@pytest.mark.parametrize("k", [4, 25])
def test_beyond_the_candidates_lists_are_filled_up_and_k_still_divides(k: int) -> None:
    task = Task(rows([(0, 0)], 1), rows([(0, 2)], 1), np.ones(4, bool), np.ones(4, int), {})
    found = evaluate(Partial(look_up, jnp.array([[9.0, 1.0, 2.0, 3.0]])), task, ks=(2, k))
    assert found.lists.tolist() == [[3, 2, 1] + [-1] * (k - 3)]
    assert found.metrics[f"precision@{k}"] == pytest.approx(1 / k)
    assert found.metrics["precision@2"] == 0.5
    assert found.metrics[f"ndcg@{k}"] == pytest.approx(1 / log2(3))
    assert not found.tied.any()


def test_a_constant_scorer_ranks_like_a_drawn_order(synthetic: Dataset) -> None:
    """Whatever the order of the catalogue: nobody profits from a file sorted by popularity."""
    task = evaluation_task(synthetic, Protocol.of("strict", synthetic, 1))
    assert task.tie_order is not None
    found = evaluate(table(jnp.zeros((synthetic.users, synthetic.items))), task, ks=(10,))
    for user, mine in zip(found.users, found.lists, strict=True):
        seen = task.seen.items[task.seen.starts[user] : task.seen.starts[user + 1]]
        expected = [item for item in task.tie_order if item not in seen][:10]
        assert mine.tolist() == expected
    assert found.tied_share == 1


def test_lists_with_equal_scores_are_told_from_others() -> None:
    """Equal on the list, equal to one left out, equal among those left out, all different."""
    scores = jnp.array([[5, 5, 4, 3, 2], [5, 4, 4, 3, 2], [5, 4, 3, 3, 2], [5, 4, 3, 2, 1]], float)
    nothing = rows([], 4)
    relevant = rows([(user, 4) for user in range(4)], 4)
    task = Task(nothing, relevant, np.ones(5, bool), np.ones(5, int), {})
    found = evaluate(table(scores), task, ks=(1, 2))
    assert found.tied.tolist() == [True, True, False, False]
    assert found.tied_share == 0.5
    cut = task._replace(catalogue=np.array([1, 1, 0, 1, 1], bool))
    assert evaluate(table(scores), cut, ks=(2,)).tied.tolist() == [True, False, False, False]


def test_a_score_that_is_not_a_number_is_refused() -> None:
    task = Task(rows([], 1), rows([(0, 1)], 1), np.ones(2, bool), np.ones(2, int), {})
    with pytest.raises(ValueError, match="not a number"):
        evaluate(Partial(look_up, jnp.array([[0.0, jnp.nan]])), task, ks=(1,))


def test_places_that_differ_by_hand() -> None:
    """Of six places two hold what is not on the other's list; an empty place does not differ."""
    mine, theirs = np.array([[1, 2, 3], [4, 5, -1]]), np.array([[3, 9, 1], [8, 4, -1]])
    for users in (1, 2):
        assert places_differing(mine, theirs, users) == 2 / 6


@pytest.mark.parametrize("kind", ["product", "table"])
def test_one_item_without_a_score_is_refused_among_many(kind: str) -> None:
    """Maxima of long rows, as they are vectorised, do not tell."""
    users, items = 20, 5_000
    left, right = (np.random.default_rng(n).normal(size=(n, 4)) for n in (users, items))
    right[97] = np.nan
    relevant = rows([(user, user) for user in range(users)], users)
    task = Task(rows([], users), relevant, np.ones(items, bool), np.ones(items, int), {})
    scorer = product(left, right) if kind == "product" else table(left @ right.T)
    with pytest.raises(ValueError, match="not a number"):
        evaluate(scorer, task)
    everybody = np.arange(users, dtype=np.int32)
    with pytest.raises(ValueError, match="not a number"):
        top_k(scorer, everybody, task.seen, task.catalogue, 5)
    without = task._replace(catalogue=np.arange(items) != 97)
    assert evaluate(scorer, without).lists.shape == (users, 25)
