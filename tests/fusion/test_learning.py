"""The pieces by which a fusion is learned, each against hand arithmetic or NumPy."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from jaxrec.evaluation.measure import Evaluation, evaluate
from jaxrec.evaluation.task import Task
from jaxrec.fusion import learning
from jaxrec.fusion.calibration import BONUSES, calibrate
from jaxrec.fusion.gate import Learned, familiarity, opened, scale
from jaxrec.fusion.learning import Drawn, Examples, Gate, Part
from jaxrec.topk.item_sets import ItemSets
from tests.conftest import make_ratings
from tests.fusion.test_gate import ITEMS, USERS, planted, tables

UNITS = 20


def test_familiarity_by_hand() -> None:
    """Logarithms, from a hundred ratings of a user and from ten of an item on."""
    users, items = familiarity(np.array([0, 9, 999]), np.array([0, 9, 99]))
    assert users.tolist() == [[-2], [-1], [1]]
    assert items.tolist() == [[-1, 1, 1], [0, 0, 0], [1, 1, 0]]


def test_what_a_scale_is_over_the_candidates() -> None:
    scores, over = jnp.array([[1.0, 3.0, 90.0], [5.0, 5.0, 9.0]]), jnp.array([[True, True, False]])
    mean, spread = scale(scores, jnp.concatenate([over, over]))
    assert mean.tolist() == [[2], [5]]
    assert spread.tolist() == [[1], [1]]  # of two from 2, and of equal ones
    mean, spread = scale(scores, jnp.zeros((2, 3), bool))
    assert mean.tolist() == [[0], [0]]
    assert spread.tolist() == [[1], [1]]


def test_a_gate_of_each_user_s_own_items_is_that_of_all_of_them() -> None:
    rng = np.random.default_rng(0)
    sizes = {"a": (2,), "b": (2, 1), "d": (2, 3), "h": (3,), "H": (1, 3)}
    weights = {name: jnp.asarray(rng.normal(size=size)) for name, size in sizes.items()}
    users, items = jnp.asarray(rng.normal(size=(4, 1))), jnp.asarray(rng.normal(size=(1, 5, 3)))
    shared = opened(weights, users, items)
    own = opened(weights, users, jnp.tile(items, (4, 1, 1)))
    assert [part.shape for part in shared] == [(2, 4, 1), (2, 1, 5), (4, 5)]
    for one, other in zip(shared, own, strict=True):
        np.testing.assert_allclose(jnp.broadcast_to(one, other.shape), other, atol=1e-5)


def test_each_user_may_have_items_of_her_own() -> None:
    """As if each asked alone, be they as few as two."""
    rng = np.random.default_rng(1)
    sizes = {"a": (2,), "b": (2, 1), "d": (2, 3), "h": (3,), "H": (1, 3)}
    weights = {name: jnp.asarray(rng.normal(size=size)) for name, size in sizes.items()}
    users, items = jnp.asarray(rng.normal(size=(2, 1))), jnp.asarray(rng.normal(size=(2, 5, 3)))
    *_, by_item = opened(weights, users, items)
    for u in range(2):
        *_, alone = opened(weights, users[u : u + 1], items[u : u + 1])
        np.testing.assert_allclose(by_item[u], alone[0], atol=1e-5)


def test_bonuses_go_from_minus_three_to_three() -> None:
    assert (BONUSES.min(), BONUSES.max(), len(BONUSES)) == (-3, 3, 61)


def test_what_signals_weigh_for_a_user_by_hand() -> None:
    weights = {"a": [1.0, 0, 0], "b": [[0.0], [2.0], [0]], "d": [[0, 3.0]] + [[0.0] * 2] * 2}
    learned = Learned("gate", weights | {"h": [5.0, 6.0], "H": [[0.0, 0]]}, [], [], [], {}, {})
    assert learned.heard() == [0, 1]
    known = familiarity(np.array([9]), np.array([0]))
    known = known._replace(users=known.users, items=jnp.array([[7.0, 1.0], [7.0, 2.0]]))
    assert learned.weighing(known).tolist() == [[4, 7], [-2, -2], [0, 0]]
    kept = learned.of_signals([1])
    assert kept.weights == {"a": [0], "b": [[2]], "d": [[0, 0]], "h": [5, 6], "H": [[0, 0]]}
    assert kept.varied
    assert not learned.of_signals([2]).varied


def searched(
    ndcg: Callable[[tuple[int, ...]], float], signals: int, speaking: list[int]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Where the search ends, and what it asked about."""
    asked: list[tuple[int, ...]] = []

    def told(units: tuple[int, ...]) -> float:
        assert sum(units) == UNITS
        assert min(units) >= 0
        asked.append(units)
        return ndcg(units)

    each = UNITS * np.eye(signals, dtype=int)
    return learning._search(told, each, np.array(speaking, int)), asked


@pytest.mark.parametrize("best", [(7, 13, 0), (20, 0, 0), (1, 1, 18), (6, 7, 7), (0, 9, 11)])
def test_a_search_ends_at_the_best_of_what_has_one_hill(best: tuple[int, ...]) -> None:
    found, asked = searched(
        lambda units: -float(np.sum((np.array(units) - best) ** 2)), 3, [0, 1, 2]
    )
    assert found == best
    alone = [(20, 0, 0), (0, 20, 0), (0, 0, 20)]
    assert asked[:3] == alone
    # what equal shares leave over the best one has
    even = np.array([6, 6, 6])
    even[np.argmax(best)] += 2
    assert asked[4] == tuple(even.tolist())


def test_a_search_begins_at_the_best_alone_unless_equal_shares_are_better() -> None:
    """And moves four, two, then one of its twentieths, for no less than a millionth."""
    found, asked = searched(lambda units: float(units == (0, 20)), 2, [0, 1])
    assert found == (0, 20)
    assert asked[3:] == [(10, 10), (4, 16), (2, 18), (1, 19)]
    found, asked = searched(lambda units: 1 - 1e-7 * units[0] if units[0] else 0.5, 2, [0, 1])
    assert found == (10, 10)
    assert asked[3:] == [(10, 10), (14, 6), (6, 14), (12, 8), (8, 12), (11, 9), (9, 11)]


def test_a_signal_that_says_nothing_is_not_searched() -> None:
    found, asked = searched(lambda units: float(units[1]), 3, [0, 2])
    assert {units[1] for units in asked} == {0}
    assert found == (20, 0, 0)
    assert searched(lambda units: 1.0, 3, [])[0] == (20, 0, 0)


def some_examples(seed: int = 0) -> Examples:
    """Two signals of 6 users and 8 candidates, some of whom are none."""
    rng = np.random.default_rng(seed)
    there = rng.random((6, 8)) < 0.8
    relevant = there & (rng.random((6, 8)) < 0.3)
    return Examples(
        jnp.asarray(rng.normal(size=(2, 6, 8)), jnp.float32),
        jnp.asarray(rng.normal(size=(6, 1)), jnp.float32),
        jnp.asarray(rng.normal(size=(6, 8, 3)), jnp.float32),
        jnp.asarray(there),
        jnp.asarray(relevant),
        jnp.asarray(relevant.sum(axis=1) + 1),
    )


def test_the_gate_is_learned_by_cross_entropy_over_the_candidates() -> None:
    """As far as SciPy gets with the same loss, by the users that weigh something."""
    of, weight = some_examples(), np.array([1, 1, 0, 1, 1, 0], np.float32)
    start = learning._start(jnp.array([0.75, 0.25]), (1, 3))
    z, users, items, there, relevant, _ = (np.asarray(part, np.float64) for part in of)
    names = sorted(start)
    flat = np.concatenate([np.ravel(start[name]) for name in names]).astype(np.float64)

    def loss(x: NDArray[np.floating]) -> float:
        cuts = np.cumsum([start[name].size for name in names])[:-1]
        own = {
            name: part.reshape(start[name].shape)
            for name, part in zip(names, np.split(x, cuts), strict=True)
        }
        total, count = 0.0, 0.0
        for u in np.flatnonzero(weight):
            y = np.zeros(8)
            for c in range(2):
                y += z[c, u] * (own["a"][c] + own["b"][c] @ users[u] + items[u] @ own["d"][c])
            y += items[u] @ (own["h"] + own["H"].T @ users[u])
            here, found = there[u] > 0, relevant[u] > 0
            total += found.sum() * logsumexp(y[here]) - y[found].sum()
            count += found.sum()
        return total / count + 0.01 * float(np.sum((x - flat) ** 2))

    found = learning._learn(start, of, jnp.asarray(weight))
    reached = loss(np.concatenate([np.ravel(found[name]) for name in names]))
    assert reached < loss(flat) - 0.1
    assert reached == pytest.approx(minimize(loss, flat).fun, abs=5e-4)


def test_figures_of_a_gate_are_among_its_candidates() -> None:
    """NDCG@25 of what is there, of 8 places as these are fewer, of all that is to be found."""
    of = some_examples()
    a = jnp.array([0.4, 0.6])
    y = np.einsum("c,cud->ud", a, of.z)
    expected = []
    for u in range(6):
        ranked = np.argsort(np.where(of.there[u], -y[u], np.inf))
        gains = np.asarray(of.relevant[u])[ranked] / np.log2(np.arange(8) + 2)
        ideal = (1 / np.log2(np.arange(int(of.relevant_in_all[u])) + 2)).sum()
        expected.append(gains.sum() / ideal)
    np.testing.assert_allclose(learning._convex_ndcg(a, of), expected, rtol=1e-5)
    start = learning._start(a, (1, 3))
    np.testing.assert_allclose(learning._ndcg(start, of), expected, rtol=1e-5)


def test_a_feature_that_all_candidates_share_is_left_out() -> None:
    """And the others stay as they are, whatever stands beside the candidates."""
    z, *rest = (np.array(part) for part in some_examples())
    drawn = Drawn(np.arange(6, dtype=np.int32), np.moveaxis(z, 0, 1), *rest)
    drawn.items[..., 0] = np.where(drawn.there, 2.0, 5.0)
    found = learning._examples(drawn).items
    assert not np.asarray(found)[..., 0].any()
    np.testing.assert_array_equal(found[..., 1:], drawn.items[..., 1:])


def test_a_gate_begins_at_the_convex_combination() -> None:
    start = learning._start(jnp.array([0.4, 0.6]), (1, 3))
    assert start["a"].tolist() == pytest.approx([0.4, 0.6])
    sizes = {name: start[name].shape for name in "bdhH"}
    assert sizes == {"b": (2, 1), "d": (2, 3), "h": (3,), "H": (1, 3)}
    assert not any(start[name].any() for name in "bdhH")
    assert isinstance(learning._gate(start), Gate)


def test_who_fills_up_weighs_nothing() -> None:
    of = some_examples()
    found = learning._weight(np.array([True, False, True]), of)
    assert found.tolist() == [1, 0, 1, 0, 0, 0]
    assert found.dtype == jnp.float32


def test_the_candidates_are_the_best_by_the_mean_and_in_the_order_of_ties() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, USERS, ITEMS)).astype(np.float32)
    task, users, items = planted(first)
    drawn = np.array([4, 7], np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "DEPTH", 10)
        for order in (None, rng.permutation(ITEMS).astype(np.int32)):
            own = task._replace(tie_order=order)
            part = Part(tables(first, second), familiarity(users, items), own)
            found = learning.draw(part, drawn, 2**30)
            assert found.who is drawn
            assert found.z.shape == (2, 2, 10)
            assert found.there.all()
            assert found.relevant_in_all.tolist() == [6, 6]
            for place, user in enumerate(drawn):
                both = np.stack([first[user], second[user]])
                scaled = (both - both.mean(1, keepdims=True)) / both.std(1, keepdims=True)
                best = np.argsort(-scaled.mean(axis=0))[:10]
                if order is not None:
                    best = best[np.argsort(np.argsort(order)[best])]
                np.testing.assert_allclose(found.z[place], scaled[:, best], atol=1e-4)
                known = familiarity(users, items)
                np.testing.assert_allclose(found.items[place], known.items[best])
                np.testing.assert_allclose(found.users[place], known.users[user])
                wanted = np.argsort(-first[user])[:6]
                assert found.relevant[place].tolist() == np.isin(best, wanted).tolist()


@pytest.mark.parametrize(("parts", "each"), [(1, 5000), (3, 1666)])
def test_five_thousand_users_teach_at_most_and_parts_share_them(
    parts: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def judges(task: Task, seed: int, most: int) -> NDArray[np.int32]:
        asked.append(most)
        return np.zeros(0, np.int32)

    monkeypatch.setattr(learning, "judges", judges)
    monkeypatch.setattr(learning, "learn_from", lambda drawn, seed: drawn)
    signal = np.zeros((USERS, ITEMS))
    task, users, items = planted(signal)
    learning.learn_fusion([Part(tables(signal), familiarity(users, items), task)] * parts, seed=0)
    assert asked == [each] * parts


def test_of_nobody_there_are_no_candidates() -> None:
    """In the shapes and types of somebody's."""
    signal = np.random.default_rng(3).normal(size=(USERS, ITEMS))
    task, users, items = planted(signal)
    part = Part(tables(signal, -signal), familiarity(users, items), task)
    nobody = learning.draw(part, np.zeros(0, np.int32), 2**30)
    one = learning.draw(part, np.array([4], np.int32), 2**30)
    for none, some in zip(nobody, one, strict=True):
        assert (none.shape, none.dtype) == ((0, *some.shape[1:]), some.dtype)


def test_so_many_users_are_asked_for_a_bonus_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def told(scorer: Any, task: Task, *how: Any) -> Evaluation:
        asked.append(int(np.count_nonzero(task.relevant.lengths)))
        return evaluate(scorer, task, *how)

    monkeypatch.setattr("jaxrec.fusion.calibration.evaluate", told)
    monkeypatch.setattr("jaxrec.fusion.calibration.LEARNERS", 20)
    monkeypatch.setattr("jaxrec.fusion.calibration.BONUSES", BONUSES[:2])
    truth = np.random.default_rng(6).normal(size=(USERS, ITEMS))
    task, users, items = planted(truth)
    weights = {"a": [1.0], "b": [[0.0]], "d": [[0.0] * 3], "h": [0.0] * 3, "H": [[0.0] * 3]}
    plain = Learned("signal", weights, [], [], [], {}, {})
    calibrate(plain, Part(tables(truth), familiarity(users, items), task), seed=5)
    assert asked == [20, 20, 20]


def test_a_bonus_by_numpy() -> None:
    """All figures, each fold's bonus, of -3 to 3 by tenths, chosen on the others."""
    truth = np.random.default_rng(6).normal(size=(USERS, ITEMS))
    unrated = np.arange(ITEMS) % 2 == 0
    wanted = np.argsort(-(truth + 0.3 * unrated), axis=1)[:, :8]
    pairs = [(u, int(i), 5.0, 0) for u in range(USERS) for i in wanted[u]]
    task, users, _ = planted(truth)
    task = task._replace(relevant=ItemSets.of(make_ratings(pairs), USERS))
    known = familiarity(users, np.where(unrated, 0, 20))
    signal = truth + np.random.default_rng(7).normal(size=truth.shape) - 1.5 * unrated
    part = Part(tables(signal, np.zeros_like(signal)), known, task)
    weights = {"a": [1.0, 0.0], "b": [[0.0]] * 2, "d": [[0.0] * 3] * 2, "H": [[0.0] * 3]}
    plain = Learned("convex", weights | {"h": [0.0, 0.0, 0.5]}, [], [], [], {}, {})
    found = calibrate(plain, part, seed=5)

    z = (signal - signal.mean(1, keepdims=True)) / signal.std(1, keepdims=True)

    def counts(bonus: float) -> NDArray[np.integer]:
        lists = np.argsort(-(z + (0.5 + bonus) * unrated), axis=1)[:, :25]
        hits = np.array([np.isin(lists[u], wanted[u]) for u in range(USERS)])
        cold = unrated[lists]
        return np.array([(hits & ~cold).sum(1), (hits & cold).sum(1), cold.sum(1)])

    bonuses = np.linspace(-3, 3, 61)
    curve, alone = np.array([counts(bonus) for bonus in bonuses]), counts(-1e3)[0]

    def best(users: NDArray[np.bool_]) -> int:
        enough = curve[:, 0, users].sum(axis=1) >= 0.99 * alone[users].sum()
        return int(np.flatnonzero(enough).max())

    fold = np.random.default_rng(5).integers(0, 5, USERS)
    warm, hits, places = sum(
        curve[best(fold != held)][:, fold == held].sum(axis=1) for held in range(5)
    )
    bonus = bonuses[best(fold >= 0)]
    assert -3 < bonus < 3
    assert found.weights["h"] == [0, 0, pytest.approx(0.5 + bonus)]
    assert found.calibration == pytest.approx(
        {
            "bonus": bonus,
            "warm_precision@25": warm / 25 / USERS,
            "warm_precision_alone@25": alone.sum() / 25 / USERS,
            "cold_share@25": places / 25 / USERS,
            "precision_on_cold@25": hits / places,
        }
    )
    assert jax.tree.leaves(found.weights) != jax.tree.leaves(plain.weights)
