"""Baselines against dense formulas in NumPy."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.errors import InputError
from jaxrec.models.ease import ease
from jaxrec.models.model import matrix
from jaxrec.models.neighbours import item_neighbours, popularity, random_walks
from jaxrec.sources.synthetic import STARS
from jaxrec.topk.scorer import Product, Table
from tests.conftest import make_ratings


def some_matrix(users: int, items: int) -> sparse.csr_array:
    rng = np.random.default_rng(5)
    return sparse.csr_array((rng.random((users, items)) < 0.3) * rng.random((users, items)))


def all_scores(scorer: Product | Table) -> NDArray[np.floating]:
    if isinstance(scorer, Table):
        return np.asarray(scorer.scores)
    return np.asarray(scorer.left) @ np.asarray(scorer.right).T


def test_targets() -> None:
    ratings = make_ratings([(0, 0, 5.0, 0), (0, 1, 3.0, 0), (1, 1, 4.0, 0)])
    assert matrix(ratings, STARS, 2, 2, "liked").toarray().tolist() == [[1, 0], [0, 1]]
    assert matrix(ratings, STARS, 2, 2, "graded").toarray() == pytest.approx(
        np.array([[1.4, 0.6], [0, 1.0]])
    )


def test_popularity_counts_what_is_liked() -> None:
    ratings = make_ratings([(0, 0, 5.0, 0), (1, 0, 4.0, 0), (0, 1, 3.5, 0)])
    assert all_scores(popularity(ratings.liked(STARS).items, 2, 3)).tolist() == [[2, 0, 0]] * 2


@pytest.mark.parametrize("shape", [(8, 20), (40, 12)], ids=["fewer users", "fewer items"])
@pytest.mark.parametrize("text", [False, True])
def test_ease_is_steck_s_closed_form(shape: tuple[int, int], text: bool) -> None:
    X = some_matrix(*shape)
    E = np.random.default_rng(1).normal(size=(shape[1], 3)) if text else None
    A = X.toarray() if E is None else np.vstack([X.toarray(), 2.0 * E.T])
    P = np.linalg.inv(A.T @ A + 7.0 * np.eye(shape[1]))
    B = -P / np.diagonal(P)
    np.fill_diagonal(B, 0)
    found = all_scores(ease(X, X, 7.0, E, 2.0))
    unseen = X.toarray() == 0
    np.testing.assert_allclose(found[unseen], (X.toarray() @ B)[unseen], rtol=1e-4, atol=1e-6)


def test_features_of_no_column_are_no_text() -> None:
    for shape in ((8, 20), (40, 12)):
        X = some_matrix(*shape)
        found = all_scores(ease(X, X, 7.0, np.zeros((shape[1], 0)), 2.0))
        np.testing.assert_allclose(found, all_scores(ease(X, X, 7.0)), rtol=1e-6)


def test_ease_learns_from_train_and_scores_whoever_asks() -> None:
    X, asking = some_matrix(8, 20), some_matrix(9, 20)
    scores = all_scores(ease(X, asking, 5.0))
    assert scores.shape == (9, 20)
    np.testing.assert_allclose(scores[:8], all_scores(ease(X, asking[:8], 5.0)), rtol=1e-5)


def test_ease_refuses_what_no_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxrec.models.ease.LARGEST", 5)
    with pytest.raises(InputError, match="dense system of 8 rows; 5 are possible"):
        ease(some_matrix(8, 20), some_matrix(8, 20), 5.0)


def keep_best(S: NDArray[np.floating], neighbours: int) -> NDArray[np.floating]:
    kept = np.zeros_like(S)
    for row, values in enumerate(S):
        best = np.argsort(-values, kind="stable")[:neighbours]
        kept[row, best] = values[best]
    return kept


@pytest.mark.parametrize("neighbours", [3, 100])
def test_item_neighbours_are_shrunk_cosines(neighbours: int) -> None:
    X = some_matrix(15, 10)
    dense = X.toarray()
    norms = np.linalg.norm(dense, axis=0)
    S = dense.T @ dense / (np.outer(norms, norms) + 0.5)
    np.fill_diagonal(S, 0)
    expected = dense @ keep_best(S, neighbours).T
    found = all_scores(item_neighbours(X, X, neighbours, 0.5))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("neighbours", [3, 100])
def test_random_walks_take_three_steps(neighbours: int) -> None:
    X = some_matrix(15, 10)
    walked = (X.toarray() > 0).astype(float)
    of_user, of_item = walked.sum(axis=1), walked.sum(axis=0)
    to_users = (walked.T / np.maximum(of_item, 1)[:, None]) ** 0.7
    to_items = (walked / np.maximum(of_user, 1)[:, None]) ** 0.7
    W = (to_users @ to_items) / np.maximum(of_item, 1) ** 0.4
    np.fill_diagonal(W, 0)
    expected = X.toarray() @ keep_best(W.T, neighbours).T
    found = all_scores(random_walks(X, X, 0.7, 0.4, neighbours))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_random_walks_are_those_of_irspack() -> None:
    irspack = pytest.importorskip("irspack.recommenders", reason="the bench extra")
    X = some_matrix(30, 12)
    X.data[:] = 1
    peer = irspack.RP3betaRecommender(sparse.csr_matrix(X), alpha=1.0, beta=0.6, top_k=12)
    peer.learn()
    expected = np.asarray(peer.get_score(np.arange(30)))
    found = all_scores(random_walks(X, X, 1.0, 0.6, 12))
    unseen = X.toarray() == 0
    scale = found[unseen].sum() / expected[unseen].sum()
    np.testing.assert_allclose(found[unseen], scale * expected[unseen], rtol=1e-4)
