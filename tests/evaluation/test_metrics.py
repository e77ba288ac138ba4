from math import log2

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.evaluation import metrics

HITS = jnp.array([[True, False, True, False], [False, False, False, False]])
RELEVANT = jnp.array([3, 1])


def test_precision_by_hand() -> None:
    assert metrics.precision(HITS, 4).tolist() == [2 / 4, 0]
    assert metrics.precision(HITS, 1).tolist() == [1, 0]


def test_recall_by_hand() -> None:
    assert metrics.recall(HITS, RELEVANT, 4).tolist() == pytest.approx([2 / 3, 0])


def test_ndcg_by_hand() -> None:
    dcg = 1 / log2(2) + 1 / log2(4)
    ideal = 1 / log2(2) + 1 / log2(3) + 1 / log2(4)
    assert metrics.ndcg(HITS, RELEVANT, 4).tolist() == pytest.approx([dcg / ideal, 0])
    assert metrics.ndcg(HITS, RELEVANT, 1).tolist() == [1, 0]


def test_ndcg_retrieved_by_hand() -> None:
    dcg = 1 / log2(2) + 1 / log2(4)
    ideal = 1 / log2(2) + 1 / log2(3)
    assert metrics.ndcg_retrieved(HITS, 4).tolist() == pytest.approx([dcg / ideal, 0])


def by_numpy(hits: list[bool], relevant: int, k: int) -> dict[str, float]:
    gains = np.array(hits[:k], float)
    discount = 1 / np.log2(np.arange(k) + 2)
    dcg, found = (gains * discount).sum(), int(gains.sum())
    return {
        "precision": found / k,
        "recall": found / relevant,
        "ndcg": dcg / discount[: min(k, relevant)].sum(),
        "ndcg_retrieved": dcg / discount[:found].sum() if found else 0.0,
    }


@settings(max_examples=60)
@given(st.lists(st.booleans(), min_size=1, max_size=10), st.integers(0, 5), st.data())
def test_equals_numpy_and_lies_between_0_and_1(
    hits: list[bool], missed: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(hits)))
    relevant = max(1, sum(hits) + missed)
    ranked, count = jnp.array(hits), jnp.array(relevant)
    ours = {
        "precision": float(metrics.precision(ranked, k)),
        "recall": float(metrics.recall(ranked, count, k)),
        "ndcg": float(metrics.ndcg(ranked, count, k)),
        "ndcg_retrieved": float(metrics.ndcg_retrieved(ranked, k)),
    }
    assert ours == pytest.approx(by_numpy(hits, relevant, k), rel=1e-5)
    assert all(0 <= value <= 1 + 1e-6 for value in ours.values())
