"""Learned fusion on planted signals."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpy.typing import NDArray

from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.task import Task
from jaxrec.fusion.calibration import calibrate
from jaxrec.fusion.gate import Learned, familiarity, fused_scorer, standardise
from jaxrec.fusion.learning import Gate, Part, learn_fusion
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.scorer import Linear, worked_out
from tests.conftest import make_ratings
from tests.scored import table

USERS, ITEMS = 60, 80


def planted(
    relevance: NDArray[np.floating], seed: int = 0
) -> tuple[Task, NDArray[np.int64], NDArray[np.int64]]:
    """The six items of highest `relevance` [users, items] of each user are to be found."""
    top = np.argsort(-relevance, axis=1)[:, :6]
    pairs = [(u, int(i), 5.0, 0) for u in range(USERS) for i in top[u]]
    counts = np.random.default_rng(seed).integers(0, 50, ITEMS)
    nothing = ItemSets.of(make_ratings([]), USERS)
    relevant = ItemSets.of(make_ratings(pairs), USERS)
    return Task(nothing, relevant, np.ones(ITEMS, bool), counts, {}), np.full(USERS, 20), counts


def test_standardised_scores_forget_their_scale() -> None:
    rng = np.random.default_rng(0)
    scores, over = rng.normal(size=(3, 9)), rng.random((3, 9)) < 0.7
    z = np.asarray(standardise(jnp.asarray(scores), jnp.asarray(over)))
    again = np.asarray(standardise(jnp.asarray(5 * scores + 3), jnp.asarray(over)))
    np.testing.assert_allclose(z, again, atol=1e-5)
    for row, kept in zip(z, over, strict=True):
        assert row[kept].mean() == pytest.approx(0, abs=1e-6)
        assert row[kept].std() == pytest.approx(1, abs=1e-5)
        assert not row[~kept].any()


def test_equal_scores_say_nothing() -> None:
    assert not np.asarray(standardise(jnp.ones((1, 4)), jnp.ones((1, 4), bool))).any()


def test_weights_are_moved_and_levelled_by_hand() -> None:
    weights = {"a": [0.5, 0.2], "b": [[1.0], [2.0]], "d": [[1.0], [0.0]], "h": [3.0], "H": [[4.0]]}
    learned = Learned("gate", weights, [0.6, 0.4], [], [], {}, {})
    moved = learned.moved(np.array([0.25, -0.25]))
    assert moved.weights == weights | {"a": [0.75, pytest.approx(-0.05)]}
    assert learned.levelled(np.array([0.1, 0.9])).weights == {
        "a": [0.1, 0.9], "b": [[0.0], [0.0]], "d": [[0.0], [0.0]], "h": [0.0], "H": [[0.0]],
    }  # fmt: skip
    assert learned.varied
    assert not learned.levelled(np.array([0.1, 0.9])).varied


def test_the_gate_is_its_formula() -> None:
    rng = np.random.default_rng(1)
    z, users, items = rng.normal(size=(2, 3, 5)), rng.normal(size=(3, 1)), rng.normal(size=(5, 3))
    gate = Gate(jnp.asarray([0.3, 0.7]), 1, 3)
    weights = {name: rng.normal(size=getattr(gate, name).shape) for name in ("b", "d", "h", "H")}
    for name, value in weights.items():
        getattr(gate, name)[...] = jnp.asarray(value)
    found = np.asarray(gate(*(jnp.asarray(part) for part in (z, users, items[None]))))
    for u in range(3):
        for i in range(5):
            own = [
                (0.3, 0.7)[c] + weights["b"][c] @ users[u] + weights["d"][c] @ items[i]
                for c in range(2)
            ]
            known = (weights["h"] + weights["H"].T @ users[u]) @ items[i]
            assert found[u, i] == pytest.approx(z[:, u, i] @ own + known, abs=1e-4)


def tables(*scores: NDArray[np.floating]) -> tuple[Linear, ...]:
    return tuple(table(of) for of in scores)


def test_the_signal_that_is_right_is_kept_alone() -> None:
    rng = np.random.default_rng(2)
    right, *noise = rng.normal(size=(3, USERS, ITEMS))
    task, users, items = planted(right)
    signals = tables(noise[0], right, noise[1])
    learned = learn_fusion([Part(signals, familiarity(users, items), task)], seed=0)
    assert learned.winner == "signal"
    assert learned.convex == [0, 1, 0]
    assert learned.adds[0] == learned.adds[2] == 0 < learned.adds[1]
    assert learned.alone[1] == learned.ndcg["signal"] == pytest.approx(1)
    assert learned.heard() == [1]


def test_all_signals_of_a_sum_are_heard_by_their_share() -> None:
    """Three signals of which what is to be found is a sum, and noise that must not be heard."""
    first, second, third, noise = np.random.default_rng(8).normal(size=(4, USERS, ITEMS))
    task, users, items = planted(0.5 * first + 0.3 * second + 0.2 * third)
    signals = tables(noise, first, second, third)
    learned = learn_fusion([Part(signals, familiarity(users, items), task)], seed=0)
    assert learned.winner == "convex"
    np.testing.assert_allclose(learned.convex, [0, 0.5, 0.3, 0.2], atol=0.07)
    assert sum(learned.convex) == pytest.approx(1)
    assert learned.ndcg["convex"] > max(learned.alone) + 0.1
    assert learned.adds[1] > learned.adds[2] > learned.adds[3] > learned.adds[0] - 1e-3


def test_a_signal_that_tells_no_candidates_apart_has_no_weight() -> None:
    first, second, truth = np.random.default_rng(10).normal(size=(3, USERS, ITEMS))
    task, users, items = planted(truth)
    signals = tables(truth + first, np.zeros_like(truth), truth + second)
    learned = learn_fusion([Part(signals, familiarity(users, items), task)], seed=0)
    assert learned.convex[1] == 0
    assert learned.weights["a"][1] == pytest.approx(0)


@pytest.mark.filterwarnings("error")
def test_one_user_is_enough() -> None:
    first, truth = np.random.default_rng(11).normal(size=(2, USERS, ITEMS))
    task, users, items = planted(truth)
    task = task._replace(relevant=task.relevant.only(np.array([3], np.int32)))
    part = Part(tables(first, truth), familiarity(users, items), task)
    learned = learn_fusion([part], seed=0)
    assert learned.convex == [0, 1]


def test_what_a_signal_adds_is_the_loss_without_it() -> None:
    noise, truth = np.random.default_rng(9).normal(size=(2, 3, USERS, ITEMS))
    signals = tables(*(truth[0] + noise * np.array([0.7, 1, 1.5])[:, None, None]))
    task, users, items = planted(truth[0])
    known = familiarity(users, items)
    learned = learn_fusion([Part(signals, known, task)], seed=0)
    plain = {"b": [[0.0]] * 3, "d": [[0.0] * 3] * 3, "h": [0.0] * 3, "H": [[0.0] * 3]}

    def ndcg(a: NDArray[np.floating]) -> float:
        convex = learned._replace(weights=plain | {"a": a.tolist()})
        return evaluate(fused_scorer(convex, signals, known), task).metrics["ndcg@25"]

    a = np.array(learned.convex)
    assert len(set(learned.convex)) == 3
    without = [ndcg(a * (np.arange(3) != signal)) for signal in range(3)]
    np.testing.assert_allclose(learned.adds, ndcg(a) - np.array(without), atol=1e-6)


def test_the_gate_trusts_each_signal_where_it_is_right() -> None:
    """The first signal knows items with many ratings, the second those with few."""
    rng = np.random.default_rng(3)
    truth, first_noise, second_noise = rng.normal(size=(3, USERS, ITEMS))
    task, users, items = planted(truth)
    many = items > np.median(items)
    signals = tables(np.where(many, truth, first_noise), np.where(many, second_noise, truth))
    known = familiarity(users, items)
    learned = learn_fusion([Part(signals, known, task)], seed=0)
    assert learned.winner == "gate"
    assert learned.ndcg["gate"] > learned.ndcg["convex"] + 0.05
    measured = evaluate(fused_scorer(learned, signals, known), task).metrics["ndcg@25"]
    assert measured == pytest.approx(learned.ndcg["gate"], abs=0.05)


def test_unrated_items_rise_as_far_as_they_cost_nothing() -> None:
    """Both kinds of items have six to be found, but the unrated ones are scored too low."""
    truth = np.random.default_rng(6).normal(size=(USERS, ITEMS))
    unrated = np.arange(ITEMS) % 2 == 0
    best = [np.argsort(-np.where(kind, truth, -9), axis=1)[:, :6] for kind in (unrated, ~unrated)]
    pairs = [(u, int(i), 5.0, 0) for u in range(USERS) for i in np.concatenate(best, axis=1)[u]]
    counts = np.where(unrated, 0, 20)
    seen, relevant = (ItemSets.of(make_ratings(rows), USERS) for rows in ([], pairs))
    task = Task(seen, relevant, np.ones(ITEMS, bool), counts, {})
    known = familiarity(np.full(USERS, 20), counts)
    part = Part(tables(truth - 4 * unrated, np.zeros_like(truth)), known, task)
    weights = {"a": [1.0, 0.0], "b": [[0.0]] * 2, "d": [[0.0] * 3] * 2, "H": [[0.0] * 3]}
    plain = Learned("convex", weights | {"h": [0.0] * 3}, [], [], [], {}, {})
    fair = calibrate(plain, part, seed=0)

    def hits(learned: Learned) -> NDArray[np.float64]:
        lists = evaluate(fused_scorer(learned, part.signals, known), task).lists
        found = [[np.isin(lists[u], kind[u]).sum() for u in range(USERS)] for kind in best]
        return np.sum(found, axis=1)

    (cold_before, warm_before), (cold, warm) = hits(plain), hits(fair)
    assert cold > cold_before + USERS
    assert warm_before >= warm >= 0.99 * warm_before
    figures = fair.calibration
    assert figures["warm_precision@25"] == pytest.approx(warm / USERS / 25, rel=0.02)
    assert figures["warm_precision_alone@25"] == pytest.approx(warm_before / USERS / 25)
    assert 0 < figures["cold_share@25"] < 1


def test_validation_figures_are_those_of_the_evaluation() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, USERS, ITEMS))
    task, users, items = planted(first + second + rng.normal(size=first.shape))
    known = familiarity(users, items)
    learned = learn_fusion([Part(tables(first, second), known, task)], seed=0)
    assert learned.winner == "convex"
    scorer = fused_scorer(learned, tables(first, second), known)
    measured = evaluate(scorer, task).metrics["ndcg@25"]
    # cross-fitted, by weights that are nearly the same
    assert measured == pytest.approx(learned.ndcg["convex"], abs=0.01)


def test_seen_items_do_not_move_the_scores() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(2, USERS, ITEMS))
    everywhere = familiarity(np.full(USERS, 9), np.full(ITEMS, 9))
    learned = learn_fusion([Part(tables(first, second), everywhere, planted(first)[0])], seed=0)
    candidates = jnp.asarray(rng.random((USERS, ITEMS)) < 0.8)

    def scores(table: NDArray[np.floating]) -> Array:
        users = np.arange(USERS)
        scorer = fused_scorer(learned, tables(table, second), everywhere)
        return worked_out(scorer, users)(jnp.asarray(users), candidates)

    moved = np.where(candidates, first, 1e3)
    same = np.asarray(scores(first))[candidates] == np.asarray(scores(moved))[candidates]
    assert same.all()
