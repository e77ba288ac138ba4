"""The metrics of other libraries beside what they compute themselves on the same lists."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxrec.evaluation.foreign_metrics import LIBRARIES, metrics_as, metrics_of_hits
from jaxrec.evaluation.measure import Evaluation
from jaxrec.evaluation.task import Task
from jaxrec.topk.item_sets import ItemSets
from tests.conftest import make_ratings

FOLDER = Path(__file__).parent.parent / "fixtures"
GIVEN = json.loads((FOLDER / "lists.json").read_text())
LISTS, RELEVANT = np.array(GIVEN["lists"]), [np.array(items) for items in GIVEN["relevant"]]
K = LISTS.shape[1]


def ours(library: str) -> dict[str, float]:
    hits = np.stack([np.isin(mine, liked) for mine, liked in zip(LISTS, RELEVANT, strict=True)])
    lengths = np.array([len(liked) for liked in RELEVANT])
    return metrics_of_hits(library, hits, lengths, np.ones_like(hits), K)


def test_rectools() -> None:
    """Its output is a fixture; fixtures/make_rectools_metrics.py made it."""
    expected = json.loads((FOLDER / "rectools_metrics.json").read_text())
    assert ours("rectools") == pytest.approx(expected)


def test_cornac() -> None:
    metrics = pytest.importorskip("cornac.metrics", reason="the bench extra")
    classes = metrics.Precision, metrics.Recall, metrics.FMeasure, metrics.NDCG, metrics.HitRatio
    expected = {
        metric.name: np.mean(
            [
                metric.compute(gt_pos=liked, pd_rank=mine)
                for mine, liked in zip(LISTS, RELEVANT, strict=True)
            ]
        )
        for metric in (of(k=K) for of in classes)
    }
    assert ours("cornac") == pytest.approx(expected)


def test_lenskit() -> None:
    ranking = pytest.importorskip("lenskit.metrics.ranking", reason="the bench extra")
    data = pytest.importorskip("lenskit.data", reason="the bench extra")
    metrics = [
        getattr(ranking, name)(n=K)
        for name in ("Precision", "Recall", "NDCG", "AveragePrecision", "RecipRank", "Hit")
    ]
    pairs = [
        (data.ItemList(mine, ordered=True), data.ItemList(liked))
        for mine, liked in zip(LISTS, RELEVANT, strict=True)
    ]
    expected = {
        metric.label: np.mean([metric.measure_list(*pair) for pair in pairs]) for metric in metrics
    }
    assert ours("lenskit") == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore")
def test_ranx() -> None:
    ranx = pytest.importorskip("ranx", reason="the bench extra")
    found = ours("ranx")
    qrels = ranx.Qrels({str(u): {str(i): 1 for i in liked} for u, liked in enumerate(RELEVANT)})
    run = ranx.Run(
        {str(u): {str(i): float(K - r) for r, i in enumerate(mine)} for u, mine in enumerate(LISTS)}
    )
    assert found == pytest.approx(ranx.evaluate(qrels, run, list(found)))


@pytest.mark.filterwarnings("ignore")
def test_implicit() -> None:
    """Implicit ranks for itself, so it gets factors that make these lists."""
    evaluation = pytest.importorskip("implicit.evaluation", reason="the bench extra")
    als = pytest.importorskip("implicit.cpu.als", reason="the bench extra")
    from scipy.sparse import csr_matrix

    users, items = len(LISTS), 30
    scores = np.zeros((users, items), np.float32)
    np.put_along_axis(scores, LISTS, np.arange(K, 0, -1, dtype=np.float32), axis=1)
    model = als.AlternatingLeastSquares(factors=items)
    model.user_factors, model.item_factors = scores, np.eye(items, dtype=np.float32)
    relevant = np.zeros((users, items))
    for user, liked in enumerate(RELEVANT):
        relevant[user, liked] = 1
    expected = evaluation.ranking_metrics_at_k(
        model, csr_matrix((users, items)), csr_matrix(relevant), K=K, show_progress=False
    )
    assert ours("implicit") == pytest.approx({name: expected[name] for name in ours("implicit")})


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_short_list_counts_its_hits(library: str) -> None:
    hits = np.array([[True, False, False]])
    there = np.array([[True, False, False]])
    found = metrics_of_hits(library, hits, np.array([2]), there, 3)
    precision = {"implicit": 1 / 2, "lenskit": 1.0}.get(library, 1 / 3)
    assert next(iter(found.values())) == pytest.approx(precision)


def test_lists_are_told_hits_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users without a list of their own in between, and an empty place."""
    monkeypatch.setattr("jaxrec.evaluation.foreign_metrics.BLOCK", 2)
    users = np.array([1, 2, 4, 5, 6], np.int32)
    pairs = [(1, 3), (2, 9), (2, 0), (4, 1), (5, 9), (6, 2), (6, 7)]
    relevant = ItemSets.of(make_ratings([(u, i, 5.0, 0) for u, i in pairs]), 7)
    lists = np.array([[9, 3], [0, 9], [9, -1], [-1, -1], [2, 3]], np.int32)
    task = Task(relevant, relevant, np.ones(10, bool), np.ones(10, int), {})
    figures = {"precision@2": np.zeros(5, np.float32)}
    thirds = np.zeros(10, np.int8)
    found = Evaluation(users, lists, figures, {}, task.catalogue, thirds, np.zeros(5, bool))
    hits = np.array([[0, 1], [1, 1], [0, 0], [0, 0], [1, 0]], bool)
    expected = metrics_of_hits("ranx", hits, np.array([1, 2, 1, 1, 2]), lists >= 0, 2)
    assert metrics_as("ranx", found, task, 2) == expected
