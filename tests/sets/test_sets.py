"""The set model beside NumPy, and on tastes that were planted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.sets import learning
from jaxrec.sets.learning import learn_vectors
from jaxrec.sets.seeds import Projection
from jaxrec.sets.softmax import Batch, SetModel, loss
from jaxrec.sets.vectors import SetSettings, Vectors, of_users, positive

pytestmark = pytest.mark.timeout(120)
QUICK = SetSettings(dim=8, rate=0.02, batch=32, epochs=10)
GROUPS, EACH = 4, 10


def seeded(rng: np.random.Generator, items: int, dim: int) -> NDArray[np.float32]:
    return Projection.of(rng.normal(size=(items, dim)), dim).seeds(rng.normal(size=(items, dim)))


def planted(users: int, seed: int = 0) -> sparse.csr_array:
    """[users, GROUPS * EACH] likes: of each user five items of one group."""
    rng = np.random.default_rng(seed)
    X = np.zeros((users, GROUPS * EACH), np.float32)
    for user, group in enumerate(rng.integers(0, GROUPS, users)):
        X[user, group * EACH + rng.choice(EACH, 5, replace=False)] = 1
    return sparse.csr_array(X)


def within(vectors: Vectors, X: sparse.csr_array) -> float:
    """Of the best five items of each user the share that is of her group."""
    scores = of_users(X, vectors.inward) @ vectors.right.T
    best = np.argsort(-scores, axis=1)[:, :5] // EACH
    own = X.toarray().argmax(axis=1) // EACH
    return float(np.mean(best == own[:, None]))


def test_seeds_are_unit_vectors_along_the_main_axes() -> None:
    rng = np.random.default_rng(0)
    features = 5 + rng.normal(size=(50, 4)) * [10, 5, 0.1, 0.01]
    projection = Projection.of(features, 2)
    seeds = projection.seeds(features)
    np.testing.assert_allclose(np.linalg.norm(seeds, axis=1), 1, rtol=1e-5)
    away = (features - features.mean(axis=0))[:, :2]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    np.testing.assert_allclose(seeds @ seeds.T, away @ away.T, atol=0.1)
    assert not projection.seeds(features.mean(axis=0, keepdims=True)).any()


def test_dimensions_beyond_those_of_the_features_begin_at_zero() -> None:
    features = np.random.default_rng(0).normal(size=(20, 3))
    seeds = Projection.of(features, 5).seeds(features)
    assert seeds.shape == (20, 5)
    assert not seeds[:, 3:].any()


def test_the_loss_is_that_of_ten_lines_of_numpy() -> None:
    rng = np.random.default_rng(1)
    v, w, b = rng.normal(size=(6, 3)), rng.normal(size=(6, 3)), rng.normal(size=6)
    model = SetModel(jnp.asarray((v + w) / 2, jnp.float32), 0.25, jnp.zeros(6))
    model.difference[...] = jnp.asarray((v - w) / 2 / 0.25, jnp.float32)
    model.bias[...] = jnp.asarray(b, jnp.float32)
    users, items = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 3, 4, 0])
    values = np.array([1.0, 2.0, 0.5, 1.0, 1.5, 0.0])
    shown = np.array([True, True, False, True, False, True])  # the last fills up
    total = 0.0
    for user in range(2):
        of = (users == user) & shown
        u = (values[of, None] * v[items[of]]).sum(axis=0)
        y = u / np.linalg.norm(u) @ w.T / 0.5 + b
        log_p = y - np.log(np.exp(y).sum())
        rest = (users == user) & ~shown
        total += (values[rest] * log_p[items[rest]]).sum()
    batch = Batch(*map(jnp.asarray, (users, items, values, shown, np.arange(6), items, np.ones(6))))
    assert float(loss(model, batch, 2, 0.5)) == pytest.approx(-total / 2.0, rel=1e-5)


def test_a_user_who_is_shown_nothing_has_a_finite_gradient() -> None:
    model = SetModel(jnp.ones((3, 2)), 0.3, jnp.ones(3))
    columns = ([0, 0], [0, 1], [1.0, 1.0], [False, False], [0, 1, 2], [0, 1], [1.0, 1.0, 1.0])
    batch = Batch(*map(jnp.asarray, columns))
    gradient = nnx.grad(lambda model: loss(model, batch, 1, 0.2))(model)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_drawn_candidates_stand_for_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "FITS", 10)
    wanted, known = np.array([3, 50]), np.arange(100)
    exact, found = np.exp(known / 50).sum(), []
    for seed in range(400):
        candidates, each = learning._candidates(wanted, known, np.random.default_rng(seed))
        assert list(candidates[:2]) == [3, 50]
        assert each.sum() == pytest.approx(100)
        found.append((each * np.exp(candidates / 50)).sum())
    assert np.mean(found) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("fits", [2**14, 8])
def test_it_learns_tastes_that_seeds_know_nothing_of(
    fits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "FITS", fits)
    X = planted(400)
    seeds = seeded(np.random.default_rng(2), X.shape[1], 8)
    found = learn_vectors(X, X, seeds, QUICK, seed=0)
    assert within(found, planted(100, seed=9)) > 0.95  # of users it never met
    assert max(found.curve) > 2 * found.curve[0]


def test_the_same_seed_gives_the_same_vectors() -> None:
    X, rng = planted(60), np.random.default_rng(2)
    seeds = seeded(rng, X.shape[1], 8)
    one, two = (learn_vectors(X, X, seeds, QUICK._replace(epochs=2), seed=0) for _ in range(2))
    assert one.right.tobytes() == two.right.tobytes()


def test_what_judges_have_to_find_is_not_learned_from() -> None:
    X = planted(60)
    liked = sparse.csr_array(X.toarray() * (np.arange(X.shape[1]) % 2))
    judges, rest, hidden = learning._hide(X, liked, np.random.default_rng(0))
    there = np.ones(len(hidden.items)), hidden.items, hidden.starts
    apart = sparse.csr_array(there, shape=X.shape)
    assert (rest + apart).toarray().tolist() == X.toarray().tolist()
    assert apart.sum(axis=1)[judges].tolist() == [1] * len(judges)
    assert not (apart.toarray() > liked.toarray()).any()  # only what is liked is to be found


def test_where_nobody_can_judge_the_last_epoch_is_kept() -> None:
    X = planted(400)
    seeds = seeded(np.random.default_rng(2), X.shape[1], 8)
    found = learn_vectors(X, sparse.csr_array(X.shape), seeds, QUICK, seed=0)
    assert within(found, planted(100, seed=9)) > 0.95


def test_where_nobody_has_two_items_seeds_are_the_vectors() -> None:
    X, seeds = sparse.csr_array(np.eye(4, dtype=np.float32)), np.eye(4, dtype=np.float32)
    assert learn_vectors(X, X, seeds, QUICK, seed=0).inward.tolist() == seeds.tolist()


def test_dimensions_that_texts_do_not_have_are_learned() -> None:
    X, features = planted(100), np.ones((GROUPS * EACH, 1))
    seeds = Projection.of(features, 4).seeds(features)
    assert not seeds.any()
    found = learn_vectors(X, X, seeds, QUICK, seed=0)
    assert found.inward.any(axis=0).all()
    assert within(found, X) > 0.8


def test_an_item_that_only_a_judge_has_is_not_learned() -> None:
    X = sparse.csr_array(np.array([[1, 1, 0], [0, 1, 1]], np.float32))
    liked = sparse.csr_array(np.array([[1, 0, 0], [0, 0, 1]], np.float32))
    found = learn_vectors(X, liked, np.eye(3, dtype=np.float32), QUICK, seed=0)
    (judge,), _, _ = learning._hide(X, liked, np.random.default_rng(0))
    assert found.learned.tolist() == ([False, True, True] if judge == 0 else [True, True, False])


def test_the_best_epoch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    X = planted(60)
    seeds = seeded(np.random.default_rng(2), X.shape[1], 8)
    figures, judged = iter([0.1, 0.3, 0.2, 0.3, 0.2]), []

    def judge(model: SetModel, *_: object) -> float:
        judged.append(np.asarray(model.inward))
        return next(figures)

    monkeypatch.setattr(learning, "_judged", judge)
    found = learn_vectors(X, X, seeds, QUICK._replace(epochs=4), seed=0)
    assert found.curve == (0.1, 0.3, 0.2, 0.3, 0.2)
    assert found.inward.tobytes() == judged[3].tobytes()  # of equal ones the last


def test_vectors_that_may_not_part_are_one() -> None:
    X = planted(60)
    seeds = seeded(np.random.default_rng(2), X.shape[1], 8)
    one = learn_vectors(X, X, seeds, QUICK._replace(apart=0.0), seed=0)
    two = learn_vectors(X, X, seeds, QUICK, seed=0)
    np.testing.assert_allclose(one.right[:, :-1] * QUICK.temperature, one.inward, rtol=1e-5)
    assert np.abs(two.right[:, :-1] * QUICK.temperature - two.inward).max() > 0.1


def test_dislikes_are_not_among_what_users_have() -> None:
    X = positive(sparse.csr_array(np.array([[1.0, -0.4, 0.0], [0.0, 0.2, 0.0]])))
    assert X.toarray().tolist() == [[1.0, 0.0, 0.0], [0.0, pytest.approx(0.2), 0.0]]
    assert X.nnz == 2


def test_of_a_user_who_has_nothing_the_bias_speaks() -> None:
    sides = of_users(sparse.csr_array((1, 3)), np.ones((3, 2), np.float32))
    assert sides.tolist() == [[0, 0, 1]]
