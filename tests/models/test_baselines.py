"""Baselines against dense formulas in NumPy."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.data.dataset import Dataset
from jaxrec.evaluation.protocol import Protocol
from jaxrec.models.factorization import of_factors
from jaxrec.models.linear.ease import ease
from jaxrec.models.linear.neighbours import item_neighbours, random_walks, slim
from jaxrec.models.linear.text_ease import TextEase, add_ease, l3ae
from jaxrec.models.model import NOBODY, Arrays, Asking, Evidence, Settings, matrix
from jaxrec.models.registry import MODELS, ask, learn
from jaxrec.pmf.objective import Factors
from jaxrec.sources.synthetic import STARS
from jaxrec.topk.scorer import Product
from tests.conftest import make_ratings
from tests.scored import scores_by


def some_matrix(users: int, items: int) -> sparse.csr_array:
    rng = np.random.default_rng(5)
    return sparse.csr_array((rng.random((users, items)) < 0.3) * rng.random((users, items)))


def linear(X: sparse.csr_array, arrays: Arrays) -> NDArray[np.floating]:
    """Scores of the rows of X by item-item weights, or by left times right."""
    if "weights" in arrays:
        return X @ arrays["weights"]
    return X @ arrays["left"] @ arrays["right"].T


def item_weights(arrays: Arrays, settings: Settings) -> NDArray[np.floating]:
    """[items, items] what row `ease+text` scores whom who has one item, by the item."""
    items = len(arrays["right"] if "right" in arrays else arrays["weights"])
    each = make_ratings([(item, item, 5.0, 0) for item in range(items)])
    asking = Asking(each, np.full(items, NOBODY, np.int32), STARS)
    how = {"target": "liked"} | settings
    return scores_by(MODELS["ease+text"].ask(arrays, asking, how), np.arange(items), items)


def test_targets() -> None:
    ratings = make_ratings([(0, 0, 5.0, 0), (0, 1, 3.0, 0), (1, 1, 4.0, 0)])
    assert matrix(ratings, STARS, 2, 2, "liked").toarray().tolist() == [[1, 0], [0, 1]]
    assert matrix(ratings, STARS, 2, 2, "graded").toarray() == pytest.approx(
        np.array([[1.4, 0.6], [0, 1.0]])
    )


def test_popularity_is_alike_for_everyone() -> None:
    ratings = make_ratings([(0, 0, 5.0, 0), (1, 0, 4.0, 0), (0, 1, 3.5, 0)])
    asking = Asking(ratings, np.full(2, NOBODY, np.int32), STARS)
    scores = MODELS["popularity"].ask({"liked": np.array([2, 0, 0])}, asking, {})
    assert scores_by(scores, np.arange(2), 3).tolist() == [[2, 0, 0]] * 2


@pytest.mark.parametrize("shape", [(4, 60), (40, 12)], ids=["fewer users", "fewer items"])
@pytest.mark.parametrize("text", [False, True])
def test_ease_is_steck_s_closed_form(shape: tuple[int, int], text: bool) -> None:
    X = some_matrix(*shape)
    E = np.random.default_rng(1).normal(size=(shape[1], 3)) if text else None
    A = X.toarray() if E is None else np.vstack([X.toarray(), 2.0 * E.T])
    P = np.linalg.inv(A.T @ A + 7.0 * np.eye(shape[1]))
    B = -P / np.diagonal(P)
    np.fill_diagonal(B, 0)
    found = linear(X, ease(X, 7.0, E, 2.0))
    unseen = X.toarray() == 0
    np.testing.assert_allclose(found[unseen], (X.toarray() @ B)[unseen], rtol=1e-4, atol=1e-6)


def test_features_of_no_column_are_no_text() -> None:
    for shape in ((4, 60), (40, 12)):
        X = some_matrix(*shape)
        found = linear(X, ease(X, 7.0, np.zeros((shape[1], 0)), 2.0))
        np.testing.assert_allclose(found, linear(X, ease(X, 7.0)), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 60), (40, 12)], ids=["fewer users", "fewer items"])
def test_a_new_item_is_placed_as_if_it_had_been_there(shape: tuple[int, int]) -> None:
    """Bordered by one column of features: Steck's form of the whole, up to its own small change."""
    X, rng = some_matrix(*shape), np.random.default_rng(1)
    E, e, settings = rng.normal(size=(shape[1], 3)), rng.normal(size=(1, 3)), {"lambda_": 7.0}
    settings |= {"text_weight": 0.3}
    A = np.vstack([np.pad(X.toarray(), ((0, 0), (0, 1))), 0.3 * np.vstack([E, e]).T])
    P = np.linalg.inv(A.T @ A + 7.0 * np.eye(shape[1] + 1))
    B = -P / np.diagonal(P)
    place = MODELS["ease+text"].place
    assert place is not None
    arrays = place(ease(X, 7.0, E, 0.3), e.astype(np.float32), settings)
    found = item_weights(arrays, settings)
    np.testing.assert_allclose(found[:-1, -1], B[:-1, -1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[-1, :-1], B[-1, :-1], rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("shape", [(4, 60), (40, 12)], ids=["fewer users", "fewer items"])
def test_new_items_speak_for_one_another(shape: tuple[int, int]) -> None:
    """A user has one new item: how another one scores, asked as a model is asked."""
    X, rng = some_matrix(*shape), np.random.default_rng(1)
    items, (first, second) = shape[1], (shape[1], shape[1] + 1)
    E = rng.normal(size=(items + 2, 3))
    A = np.vstack([np.pad(X.toarray(), ((0, 0), (0, 2))), 0.3 * E.T])
    P = np.linalg.inv(A.T @ A + 7.0 * np.eye(items + 2))
    model, settings = MODELS["ease+text"], {"lambda_": 7.0, "text_weight": 0.3, "target": "liked"}
    arrays = ease(X, 7.0, E[:items], 0.3)
    assert model.place is not None
    for e in E[items:]:  # one after the other
        arrays = model.place(arrays, e[None].astype(np.float32), settings)
    asking = Asking(make_ratings([(0, first, 5.0, 0)]), np.full(1, NOBODY, np.int32), STARS)
    scored = model.ask(arrays, asking, settings)
    found = scores_by(scored, np.arange(1), items + 2)[0, second]
    assert found == pytest.approx(-P[first, second] / P[second, second], rel=0.05, abs=1e-3)


def ease_of_text(E: NDArray[np.floating], lambda_: float) -> NDArray[np.floating]:
    """C, by Steck's form with the features in place of users."""
    F = E - E.mean(axis=0)
    P = np.linalg.inv(F @ F.T + lambda_ * np.eye(len(F)))
    C = -P / np.diagonal(P)
    np.fill_diagonal(C, 0)
    return C


def test_add_ease_blends_two_of_them() -> None:
    X, E = some_matrix(40, 12), np.random.default_rng(1).normal(size=(12, 3))
    arrays = add_ease(X, 7.0, E, 2.0, 0.3)
    found = X @ arrays["weights"] + X @ arrays["left"] @ arrays["right"].T
    expected = X @ (0.7 * ease(X, 7.0)["weights"] + 0.3 * ease_of_text(E, 2.0))
    unseen = X.toarray() == 0
    np.testing.assert_allclose(found[unseen], expected[unseen], rtol=1e-4, atol=1e-6)


def test_l3ae_is_the_minimum_of_its_objective() -> None:
    """By each column of B apart, which its 0 on the diagonal leaves a ridge regression."""
    X, E = some_matrix(40, 12), np.random.default_rng(1).normal(size=(12, 3))
    lambda_, mu, C, dense = 7.0, 7.0 * 0.8, ease_of_text(E, 2.0), X.toarray()
    B = np.zeros((12, 12))
    for i in range(12):
        others = np.arange(12) != i
        A, c = dense[:, others], C[others, i]
        left = A.T @ A + (lambda_ + mu) * np.eye(11)
        B[others, i] = np.linalg.solve(left, A.T @ dense[:, i] + mu * c)
    arrays = l3ae(X, lambda_, E, 2.0, 0.8)
    found = X @ arrays["weights"] + X @ arrays["left"] @ arrays["right"].T
    unseen = dense == 0
    np.testing.assert_allclose(found[unseen], (dense @ B)[unseen], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("items", "features"), [(60, 3), (20, 50)])
def test_what_old_items_say_of_a_new_one_by_text_is_a_ridge(items: int, features: int) -> None:
    """However many features there are: its own on theirs."""
    E, e = np.split(np.random.default_rng(1).normal(size=(items + 1, features)), [items])
    text = TextEase.of(E, 0.5)
    F, f = E - E.mean(axis=0), e[0] - E.mean(axis=0)
    expected = np.linalg.solve(F @ F.T + 0.5 * np.eye(items), F @ f)
    np.testing.assert_allclose(text.sides(E)[0] @ text.placed(e)[1][0], expected, rtol=1e-6)


@pytest.mark.parametrize("row", ["add-ease", "l3ae"])
def test_a_new_item_has_the_weights_of_its_text(row: str) -> None:
    """As if it had been there without interactions, up to its small change of C."""
    N = 240
    X, E = some_matrix(40, 12), np.random.default_rng(1).normal(size=(N, 3))
    X = sparse.csr_array(np.pad(X.toarray(), ((0, 0), (0, N - 13))))
    model = MODELS[row]
    settings = model.settings | {"target": "liked", "lambda_": 7.0, "text_lambda": 2.0}

    def made(items: int) -> Arrays:
        own = sparse.csr_array(np.pad(X.toarray(), ((0, 0), (0, items - N + 1))))
        if row == "l3ae":
            return l3ae(own, 7.0, E[:items], 2.0, settings["text_weight"])
        return add_ease(own, 7.0, E[:items], 2.0, settings["share"])

    assert model.place is not None
    placed = model.place(made(N - 1), E[N - 1 :].astype(np.float32), settings)
    each = make_ratings([(item, item, 5.0, 0) for item in range(N)])
    asking = Asking(each, np.full(N, NOBODY, np.int32), STARS)
    found, expected = (
        scores_by(model.ask(arrays, asking, settings), np.arange(N), 60)
        for arrays in (placed, made(N))
    )
    scale = np.abs(expected[:-1, -1]).max()
    np.testing.assert_allclose(found[:-1, -1], expected[:-1, -1], atol=0.1 * scale)
    np.testing.assert_allclose(found[-1, :-1], expected[-1, :-1], atol=0.1 * scale)


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
    found = (X @ item_neighbours(X, neighbours, 0.5)).toarray()
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
    found = (X @ random_walks(X, 0.7, 0.4, neighbours)).toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_random_walks_are_those_of_irspack() -> None:
    irspack = pytest.importorskip("irspack.recommenders", reason="the bench extra")
    X = some_matrix(30, 12)
    X.data[:] = 1
    peer = irspack.RP3betaRecommender(sparse.csr_matrix(X), alpha=1.0, beta=0.6, top_k=12)
    peer.learn()
    expected = np.asarray(peer.get_score(np.arange(30)))
    found = (X @ random_walks(X, 1.0, 0.6, 12)).toarray()
    unseen = X.toarray() == 0
    scale = found[unseen].sum() / expected[unseen].sum()
    np.testing.assert_allclose(found[unseen], scale * expected[unseen], rtol=1e-4)


def nearest(X: NDArray[np.floating], neighbours: int) -> list[NDArray[np.integer]]:
    """Of each item the others of the largest cosines."""
    norms = np.linalg.norm(X, axis=0)
    cosines = X.T @ X / np.outer(norms, norms)
    np.fill_diagonal(cosines, -np.inf)
    return [np.argsort(-row)[: min(neighbours, len(row) - 1)] for row in cosines]


@pytest.mark.parametrize("neighbours", [4, 100])
def test_slim_is_where_no_weight_can_move(neighbours: int) -> None:
    """The conditions of Karush, Kuhn and Tucker, of each item over its neighbours."""
    X, l1, l2 = some_matrix(40, 12), 0.3, 0.5
    dense = X.toarray()
    W = slim(X, l1, l2, neighbours).toarray()
    near = nearest(dense, neighbours)
    down = dense.T @ (dense @ W - dense) + l2 * W + l1  # what the objective grows by with a weight
    assert (W >= 0).all()
    assert (W > 0).sum() > 12
    for item, own in enumerate(near):
        assert not np.delete(W[:, item], own).any()
        slope, weight = down[own, item], W[own, item]
        np.testing.assert_allclose(slope[weight > 0], 0, atol=2e-3)
        assert (slope[weight == 0] > -2e-3).all()


def test_slim_is_the_elastic_net_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="of the embed extra")
    X, l1, l2 = some_matrix(40, 12), 0.3, 0.5
    dense, found = X.toarray(), slim(X, l1, l2, 5).toarray()
    peer = linear_model.ElasticNet(
        alpha=(l1 + l2) / 40, l1_ratio=l1 / (l1 + l2), positive=True, fit_intercept=False, tol=1e-8
    )
    for item, own in enumerate(nearest(dense, 5)):
        peer.fit(dense[:, own], dense[:, item])
        np.testing.assert_allclose(found[own, item], peer.coef_, atol=1e-3)


def test_blocks_of_items_change_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    X = some_matrix(40, 12)
    whole = slim(X, 0.3, 0.5, 5).toarray()
    monkeypatch.setattr("jaxrec.models.linear.neighbours.SOLVED", 5)
    np.testing.assert_allclose(slim(X, 0.3, 0.5, 5).toarray(), whole, atol=1e-3)


def test_items_that_nobody_shares_have_no_weights() -> None:
    assert slim(sparse.csr_array(np.eye(4)), 0.1, 0.1, 2).nnz == 0


@pytest.fixture
def some_evidence(synthetic: Dataset) -> Evidence:
    E = np.random.default_rng(0).normal(size=(synthetic.items, 4)).astype(np.float32)
    E /= np.linalg.norm(E, axis=1, keepdims=True)
    return Evidence(synthetic, Protocol.of("strict", synthetic, 1).split, E, 1, {})


def newcomers(evidence: Evidence) -> Asking:
    """All users, as if nobody had been learned from."""
    asking = evidence.asking
    return asking._replace(trained=np.full(asking.users, NOBODY, np.int32))


@pytest.mark.parametrize("target", ["liked", "graded"])
def test_content_is_the_cosine_with_the_mean_of_what_a_user_has(
    some_evidence: Evidence, target: str
) -> None:
    settings = {"target": target, "metadata": 0.5}
    features = some_evidence.features(0.5)
    e = features - features.mean(axis=0)
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    X = some_evidence.matrix(target).toarray()
    mean = X @ e
    norms = np.linalg.norm(mean, axis=1, keepdims=True)
    expected = mean @ e.T / np.where(norms > 0, norms, 1)
    arrays = learn("content", some_evidence, settings)
    everybody = np.arange(len(X))
    for asking in (some_evidence.asking, newcomers(some_evidence)):
        found = scores_by(ask("content", arrays, asking, settings), everybody, len(e))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    place = MODELS["content"].place
    assert place is not None
    right = place(arrays, features[:3], settings)["right"]
    np.testing.assert_allclose(right[-3:], e[:3], atol=1e-6)


IALS = {"factors": 6, "lambda_": 0.2, "nu": 0.6, "sweeps": 100}


@pytest.mark.parametrize("target", ["liked", "graded"])
def test_ials_folds_in_at_the_minimum_of_its_objective(
    some_evidence: Evidence, target: str
) -> None:
    """Confidences above 0 of target 1, and w0 of all pairs of target 0 (Rendle 2021)."""
    items, how = some_evidence.shape[1], IALS | {"target": target}
    V = np.random.default_rng(0).normal(0, 0.5, (items, 6)).astype(np.float32)
    arrays = of_factors(Factors(np.zeros((1, 6)), V), np.ones(items, bool), 0.1)
    scored = MODELS["ials"].ask(arrays, newcomers(some_evidence), how)
    assert isinstance(scored, Product)
    U = np.asarray(scored.left, float)
    C = np.maximum(some_evidence.matrix(target).toarray(), 0)
    ridge = 0.2 * ((C > 0).sum(axis=1) + 0.1 * items) ** 0.6
    slope = (C * (U @ V.T - 1)) @ V + 0.1 * U @ (V.T @ V) + ridge[:, None] * U
    assert np.abs(slope[C.any(axis=1)]).max() < 1e-3
    assert ((C > 0).sum() < (some_evidence.matrix("graded") != 0).sum()) or target == "graded"


@pytest.mark.parametrize("target", ["liked", "graded"])
def test_ials_is_irspack_s_for_newcomers_and_new_items(
    some_evidence: Evidence, target: str
) -> None:
    irspack = pytest.importorskip("irspack.recommenders", reason="the bench extra")
    how = MODELS["ials"].settings | IALS | {"target": target, "lambda_w": 2.0}
    how |= {"unobserved": 0.1 / some_evidence.density}
    arrays, E = learn("ials", some_evidence, how), some_evidence.features(how["metadata"])
    X = sparse.csr_matrix(np.maximum(some_evidence.matrix(target).toarray(), 0))
    peer = irspack.IALSRecommender(
        X, n_components=6, alpha0=0.1, reg=0.2, nu=0.6, item_features=E,
        lambda_item_feature=2.0, train_epochs=100, random_seed=1, solver_type="CHOLESKY",
    )  # fmt: skip
    peer.learn()
    core = peer.trainer_as_ials.core_trainer
    expected = peer.get_user_embedding() @ peer.get_item_embedding().T
    np.testing.assert_allclose(arrays["U"] @ arrays["V"].T, expected, atol=0.03)
    core.user, core.item = arrays["U"], arrays["V"]
    scored = ask("ials", arrays, newcomers(some_evidence), how)
    assert isinstance(scored, Product)
    np.testing.assert_allclose(scored.left, peer.compute_user_embedding(X), atol=2e-3)
    place = MODELS["ials"].place
    assert place is not None
    placed = place(arrays, E[:5], how)["V"][-5:]
    expected = np.asarray(
        peer.get_user_embedding() @ peer.compute_item_embedding_from_features(E[:5]).T
    )
    np.testing.assert_allclose(arrays["U"] @ placed.T, expected, atol=0.03)


def test_a_search_of_ials_passes_over_what_irspack_cannot_solve(
    some_evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    irspack = pytest.importorskip("irspack.recommenders", reason="the bench extra")

    def fail(self: object) -> None:
        raise RuntimeError("not positive definite")

    monkeypatch.setattr(irspack.IALSRecommender, "learn", fail)
    with pytest.raises(FloatingPointError, match="irspack: not positive definite"):
        learn("ials", some_evidence)
