"""A fused score taken apart, beside NumPy."""

import numpy as np
import pytest

from jaxrec.explanation.split import Field, Signal, explained
from jaxrec.fusion.gate import Learned, familiarity
from jaxrec.models.model import Shares
from tests.conftest import make_ratings
from tests.scored import table

ITEMS, KNOWN = 6, make_ratings([(0, 4, 5.0, 0), (0, 5, 3.0, 0)])
CANDIDATES = np.array([True, True, True, True, False, False])


def fusion(rng: np.random.Generator) -> Learned:
    shapes = {"a": (2,), "b": (2, 1), "d": (2, 3), "h": (3,), "H": (1, 3)}
    weights = {name: rng.normal(size=shape).tolist() for name, shape in shapes.items()}
    return Learned("gate", weights, [0.5, 0.5], [0, 0], [0, 0], {}, {})


def test_a_fused_score_is_weighed_away_from_the_mean_of_the_candidates() -> None:
    rng = np.random.default_rng(0)
    raw, counts = rng.normal(3, 2, (2, ITEMS)), rng.integers(0, 9, ITEMS)
    own = rng.normal(size=(2, 2, ITEMS))  # [signals, known, items]
    learned, items = fusion(rng), np.array([2, 0])
    near = familiarity(np.array([2]), counts)
    signals = {
        name: Signal(table(raw[[s]]), Shares(own[s][:, items], np.full(2, 0.5)))
        for s, name in enumerate(("one", "two"))
    }
    found = explained(
        "hybrid", signals, (learned.gate, near), KNOWN, items, Field(CANDIDATES, None)
    )
    a, b, d, h, H = (np.array(learned.weights[name]) for name in "abdhH")
    f, g = np.asarray(near.users)[0], np.asarray(near.items)
    scores = np.zeros(ITEMS)
    for s in range(2):
        mean, sd = raw[s, :4].mean(), raw[s, :4].std()
        weights = a[s] + b[s] @ f + g @ d[s]
        scores += weights * (raw[s] - mean) / sd
        for explanation in found:
            i, parts = explanation.item, explanation.signals[s]
            factor = weights[i] / sd
            expected = [weights[i], raw[s, i], factor * own[s, 0, i], factor * own[s, 1, i]]
            expected += [factor * 0.5, -factor * mean]
            expected += [factor * (raw[s, i] - own[s, :, i].sum() - 0.5)]
            got = [parts.weight, parts.score, *parts.of_known, parts.of_item, parts.of_mean]
            assert [*got, parts.rest] == pytest.approx(expected, rel=1e-4, abs=1e-5)
            assert parts.part == pytest.approx(parts.weight * parts.standardised, rel=1e-4)
    beside = g @ (h + f @ H)
    for explanation in found:
        i = explanation.item
        assert explanation.of_familiarity == pytest.approx(beside[i], rel=1e-4, abs=1e-6)
        assert explanation.score == pytest.approx(scores[i] + beside[i], rel=1e-4)
        assert explanation.rank == 1 + np.sum((scores + beside)[:4] > scores[i] + beside[i])
        assert explanation.best == pytest.approx((scores + beside)[:4].max(), rel=1e-4)
        assert explanation.candidates == 4


def test_one_signal_is_its_own_score() -> None:
    shares = Shares(np.array([[0.25], [0.5]]), np.array([1.0]))
    signals = {"one": Signal(table(np.array([[2.0, 1, 0, 0, 9, 9]])), shares)}
    (found,) = explained("one", signals, None, KNOWN, np.array([0]), Field(CANDIDATES, None))
    assert (found.score, found.rank, found.of_familiarity) == (2.0, 1, 0.0)
    (parts,) = found.signals
    assert (parts.weight, parts.standardised, parts.of_mean, parts.rest) == (1.0, 2.0, 0.0, 0.25)
    assert found.of_known.tolist() == [0.25, 0.5]
    assert found.strongest is parts


def test_equal_scores_rank_in_their_order_and_what_is_no_candidate_not_at_all() -> None:
    scores = np.array([1.0, 2, 1, 1, 9, 9])
    assert [Field(CANDIDATES, None).rank(scores, item) for item in (1, 0, 2, 3)] == [1, 2, 3, 4]
    order = np.array([5, 3, 4, 2, 1, 0], np.int32)
    assert [Field(CANDIDATES, order).rank(scores, item) for item in (1, 3, 2, 0)] == [1, 2, 3, 4]
