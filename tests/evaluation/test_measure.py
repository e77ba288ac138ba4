from collections import defaultdict
from collections.abc import Callable
from math import log2
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import Array
from jax.tree_util import Partial

from jaxrec.data.dataset import Dataset
from jaxrec.devices import placement
from jaxrec.evaluation.measure import Evaluation, beyond_accuracy, evaluate, places_differing
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


def test_thirds_of_the_items_by_hand() -> None:
    """Item 0 is the head, 1 and 2 are the middle, 3 to 5 the tail; listed are 0, 1 and 3."""
    counts, relevant = np.array([10, 5, 5, 4, 3, 3]), rows([(0, 0), (0, 3), (0, 5)], 1)
    task = Task(rows([], 1), relevant, np.ones(6, bool), counts, {})
    scorer = Partial(look_up, jnp.array([[9.0, 8.0, 1.0, 7.0, 2.0, 3.0]]))
    found = evaluate(scorer, task, ks=(3,)).by_item_third
    assert [found[third]["precision@3"][0] for third in ("head", "tail")] == [
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    ]
    assert [found[third]["recall@3"][0] for third in ("head", "tail")] == [1, 0.5]
    assert found["tail"]["mrr@3"][0] == pytest.approx(1 / 3)
    assert np.isnan(found["middle"]["precision@3"][0])


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


def evaluation_of(lists: list[list[int]], task: Task, ks: tuple[int, ...]) -> Evaluation:
    """These lists, of users 0, 1, ..., with nothing said of their hits."""
    users, nothing = np.arange(len(lists), dtype=np.int32), np.zeros(len(lists), np.float32)
    figures = {f"precision@{k}": nothing for k in ks}
    thirds, tied = np.zeros(len(task.catalogue), np.int8), np.zeros(len(lists), bool)
    table = np.array(lists, np.int32)
    return Evaluation(users, table, figures, {}, task.catalogue, thirds, tied)


def test_beyond_accuracy_by_hand() -> None:
    """As RecTools defines novelty and popularity: its own example, then lists of unlike items."""
    seen = rows([(0, 0), (0, 1), (1, 0), (2, 0)], 3)
    task = Task(seen, rows([], 3), np.ones(4, bool), np.zeros(4, int), {})
    found = evaluation_of([[2, -1], [1, 2], [0, 1]], task, (1, 2))
    figures = beyond_accuracy(found, task)
    assert figures["novelty@1"] == pytest.approx((log2(3) + log2(3) + 0) / 3)
    assert figures["novelty@2"] == pytest.approx((log2(3) + log2(3) + log2(3) / 2) / 3)
    assert figures["popularity@2"] == pytest.approx((0 + 0.5 + 2) / 3)
    assert figures["gini@2"] == pytest.approx((0 * -3 + 1 * -1 + 2 * 1 + 2 * 3) / (4 * 5))
    assert set(figures) == {f"{name}@{k}" for name in ("novelty", "popularity", "gini") for k in (
        1, 2)}  # fmt: skip
    E, genres = np.eye(4)[[0, 1, 0, 2]], np.array([[1, 0], [0.5, 0.5], [0, 1], [0, 0]])
    figures = beyond_accuracy(found, task, E, genres)
    assert np.isnan(figures["diversity@1"])  # an item alone is in no pair
    assert figures["diversity@2"] == 1  # of users 1 and 2
    alone = 0.99 * np.array([0, 1]) + 0.01 * np.array([0.75, 0.25])  # user 0's p
    expected = 0.75 * np.log(0.75 / alone[0]) + 0.25 * np.log(0.25 / alone[1])
    only_user_0 = found._replace(users=found.users[:1], lists=found.lists[:1])
    assert beyond_accuracy(only_user_0, task, E, genres)["miscalibration@2"] == pytest.approx(
        expected
    )


ITEMS, DIM = 9, 3


@given(
    st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=4, unique=True), min_size=1, max_size=9),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, ITEMS - 1)), min_size=1, unique=True),
    st.integers(0, 99),
    st.integers(1, 4),
)
def test_beyond_accuracy_is_what_a_loop_over_users_says(
    listed: list[list[int]], known: list[tuple[int, int]], seed: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    E = rng.normal(size=(ITEMS, DIM))
    E /= np.linalg.norm(E, axis=1, keepdims=True)
    genres = (rng.random((ITEMS, 3)) < 0.4).astype(float)
    genres /= np.maximum(genres.sum(1, keepdims=True), 1)
    catalogue = rng.random(ITEMS) < 0.9
    listed = [[item for item in own if catalogue[item]] for own in listed]
    task = Task(rows(known, 9), rows([], 9), catalogue, np.zeros(ITEMS, int), {})
    found = evaluation_of([own + [-1] * (4 - len(own)) for own in listed], task, (4, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxrec.evaluation.measure.BLOCK", block)
        figures = beyond_accuracy(found, task, E, genres)

    counts = np.bincount([item for _, item in known], minlength=ITEMS)
    users = len({user for user, _ in known})
    for k in (2, 4):
        cut = [own[:k] for own in listed]
        told: dict[str, list[Any]] = defaultdict(list)
        for user, own in enumerate(cut):
            has = genres[[item for other, item in known if other == user]].sum(0)
            q = genres[own].sum(0)
            if own:
                told["novelty"].append(np.mean([-log2(max(counts[i], 1) / users) for i in own]))
                told["popularity"].append(counts[own].mean())
            if len(own) > 1:
                pairs = [1 - E[i] @ E[j] for i in own for j in own if i != j]
                told["diversity"].append(np.mean(pairs))
            if has.sum() and q.sum():
                p, q = has / has.sum(), q / q.sum()
                mixed = 0.99 * q + 0.01 * p
                told["miscalibration"].append(
                    sum(p[g] * np.log(p[g] / mixed[g]) for g in range(3) if p[g] > 0)
                )
        for name in ("novelty", "popularity", "diversity", "miscalibration"):
            expected = np.mean(told[name]) if told[name] else np.nan
            assert figures[f"{name}@{k}"] == pytest.approx(expected, abs=1e-6, nan_ok=True)
        times = [sum(item in own for own in cut) for item in np.flatnonzero(catalogue)]
        apart = [abs(a - b) for a in times for b in times]  # half the relative mean difference
        gini = sum(apart) / (2 * len(times) * sum(times)) if sum(times) else np.nan
        assert figures[f"gini@{k}"] == pytest.approx(gini, nan_ok=True)
