"""PMF by alternating least squares, against float64 NumPy on problems small enough to check."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize

from jaxrec import InputError, Interactions, Observed, PmfSettings, fit_pmf, fold_in
from jaxrec.data.feedback import Feedback
from jaxrec.pmf import half_sweep
from jaxrec.pmf.objective import Factors, observe, ridges, training_pairs
from jaxrec.pmf.sweeps import Checkpoints
from jaxrec.sources.synthetic import STARS

USERS, ITEMS = 30, 40
GAUSSIAN = PmfSettings("gaussian", factors=3, lambda_=0.4, nu=1.0, w0=0.0, sweeps=4)
LOGISTIC = PmfSettings("logistic", factors=3, lambda_=0.01, nu=1.0, w0=0.0, sweeps=4)
LIKED = PmfSettings(factors=3, target="liked", sweeps=4)
GRADED = LIKED._replace(target="graded")
COUNTS = GRADED._replace(lambda_=2.0)
PLAYS = Feedback("counts", confidence="linear")
EVERY = {
    "gaussian": GAUSSIAN,
    "gaussian, biases": GAUSSIAN._replace(biases=True),
    "logistic": LOGISTIC,
    "logistic, biases": LOGISTIC._replace(biases=True),
    "liked": LIKED,
    "graded": GRADED,
    "graded, biases": GRADED._replace(biases=True),
    "counts": COUNTS,
}
every = pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY)


def meaning(settings: PmfSettings) -> Feedback:
    """The same values, read as stars or as counts."""
    return PLAYS if settings.lambda_ == COUNTS.lambda_ else STARS


@pytest.fixture(scope="module")
def ratings() -> Interactions:
    """Row lengths from 1 to 25; user 29 and item 39 have no rating."""
    rng = np.random.default_rng(3)
    chance = np.linspace(0.7, 0.02, USERS)[:, None] * np.linspace(1, 0.3, ITEMS)
    chance[-1], chance[:, -1] = 0, 0
    users, items = np.nonzero(rng.random((USERS, ITEMS)) < chance)
    order = rng.permutation(len(users))
    stars = rng.integers(1, 11, len(users)) / 2
    return Interactions(
        users[order].astype(np.int32),
        items[order].astype(np.int32),
        stars,
        np.arange(len(users)),
    )


def objective(
    factors: Factors,
    ratings: Interactions,
    settings: PmfSettings,
    user_means: np.ndarray | float = 0.0,
    item_means: np.ndarray | float = 0.0,
) -> float:
    """The definition in jaxrec.pmf.fit, all pairs spelt out."""
    users, items, targets, weights = observe(ratings, meaning(settings), settings)
    U, V = (np.asarray(X, np.float64) for X in factors)
    x = U @ V.T
    k = settings.factors
    own_U = U[:, :k] - user_means, U[:, k : k + 1]
    own_V = V[:, :k] - item_means, V[:, k + 1 :]
    g = 1 / (1 + np.exp(-x)) if settings.likelihood == "logistic" else x
    loss = (weights * (targets - g[users, items]) ** 2).sum() + settings.w0 * (x**2).sum()
    for X, of, count, others in (
        (own_U, users, len(U), len(V)),
        (own_V, items, len(V), len(U)),
    ):
        n = np.bincount(of, minlength=count)
        weight = settings.lambda_ * (n + settings.w0 * others) ** settings.nu
        loss += sum((weight[:, None] * part**2).sum() for part in X)
    return float(loss)


def fit(
    ratings: Interactions, settings: PmfSettings, **options: object
) -> tuple[Factors, list[float]]:
    pairs = training_pairs(ratings, meaning(settings), settings)
    return fit_pmf(pairs, USERS, ITEMS, settings, **options)  # type: ignore[arg-type]


@every
def test_the_reported_objective_is_that_of_the_factors(
    ratings: Interactions, settings: PmfSettings
) -> None:
    factors, losses = fit(ratings, settings)
    assert losses[-1] == pytest.approx(objective(factors, ratings, settings), rel=1e-5)


@every
def test_no_sweep_raises_the_objective(ratings: Interactions, settings: PmfSettings) -> None:
    _, losses = fit(ratings, settings)
    assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(losses))


@pytest.mark.parametrize(
    "settings", [GAUSSIAN, LOGISTIC, LIKED, GRADED], ids=["gaussian", "logistic", "liked", "graded"]
)
def test_it_ends_where_a_float64_minimiser_of_the_same_objective_does(
    ratings: Interactions, settings: PmfSettings
) -> None:
    # the problem has local minima: the best of several starts of each
    settings = settings._replace(sweeps=100)
    ours = min(fit(ratings, settings, seed=seed)[1][-1] for seed in range(7))
    k = settings.factors

    def unpack(x: np.ndarray) -> Factors:
        return Factors(x[: USERS * k].reshape(-1, k), x[USERS * k :].reshape(-1, k))

    users, items, targets, weights = observe(ratings, meaning(settings), settings)
    ridge_U = ridges(np.bincount(users, minlength=USERS), ITEMS, settings, "users")[:, None]
    ridge_V = ridges(np.bincount(items, minlength=ITEMS), USERS, settings, "items")[:, None]

    def gradient(x: np.ndarray) -> np.ndarray:
        U, V = unpack(x)
        product = U @ V.T
        slope = 2 * settings.w0 * product
        p = product[users, items]
        if settings.likelihood == "logistic":
            p = 1 / (1 + np.exp(-p))
            slope[users, items] -= 2 * weights * (targets - p) * p * (1 - p)
        else:
            slope[users, items] -= 2 * weights * (targets - p)
        return np.concatenate(
            [(slope @ V + 2 * ridge_U * U).ravel(), (slope.T @ U + 2 * ridge_V * V).ravel()]
        )

    best = min(
        scipy.optimize.minimize(
            lambda x: objective(unpack(x), ratings, settings),
            np.random.default_rng(seed).normal(0, 0.5, (USERS + ITEMS) * k),
            jac=gradient,
            method="L-BFGS-B",
            options={"maxiter": 3000},
        ).fun
        for seed in range(5)
    )
    assert ours <= best * 1.001


@pytest.mark.parametrize("name", ["gaussian, biases", "logistic", "graded"])
def test_the_gradient_solver_ends_where_the_alternating_one_does(
    ratings: Interactions, name: str
) -> None:
    settings = EVERY[name]
    ends = [
        min(
            fit(ratings, settings._replace(solver=solver, sweeps=sweeps), seed=seed)[1][-1]
            for seed in range(4)
        )
        for solver, sweeps in (("alternating", 60), ("gradient", 150))
    ]
    assert ends[1] == pytest.approx(ends[0], rel=0.02)


def test_the_gradient_solver_reports_the_objective_of_its_factors(ratings: Interactions) -> None:
    means = np.random.default_rng(1).normal(size=(ITEMS, 3))
    settings = GRADED._replace(biases=True, solver="gradient", sweeps=20)
    factors, losses = fit(ratings, settings, item_means=means)
    expected = objective(factors, ratings, settings, item_means=means)
    assert losses[-1] == pytest.approx(expected, rel=1e-5)


def test_with_means_the_factors_shrink_towards_them(ratings: Interactions) -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(USERS, 3)), rng.normal(size=(ITEMS, 3))
    factors, losses = fit(ratings, GRADED, user_means=means[0], item_means=means[1])
    assert losses[-1] == pytest.approx(objective(factors, ratings, GRADED, *means), rel=1e-5)
    tight = GRADED._replace(lambda_=1e6)
    factors, _ = fit(ratings, tight, user_means=means[0], item_means=means[1])
    np.testing.assert_allclose(factors.U, means[0], atol=1e-3)
    np.testing.assert_allclose(factors.V, means[1], atol=1e-3)


def test_means_and_biases_together(ratings: Interactions) -> None:
    means = np.random.default_rng(1).normal(size=(ITEMS, 3))
    settings = GRADED._replace(biases=True)
    factors, losses = fit(ratings, settings, item_means=means)
    expected = objective(factors, ratings, settings, item_means=means)
    assert losses[-1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("solver", ["alternating", "gradient"])
def test_a_row_without_ratings_or_mean_is_zero(ratings: Interactions, solver: str) -> None:
    factors, _ = fit(ratings, GAUSSIAN._replace(solver=solver))
    assert not factors.U[-1].any()
    assert not factors.V[-1].any()


def test_an_item_without_ratings_minimises_its_part_under_a_mean(ratings: Interactions) -> None:
    means = np.zeros((ITEMS, 3))
    means[-1] = 1
    (U, V), _ = fit(ratings, GRADED._replace(sweeps=40), item_means=means)
    ridge = float(ridges(np.array([0]), USERS, GRADED, "items")[0])
    A = GRADED.w0 * U.T @ U + ridge * np.eye(3)
    np.testing.assert_allclose(V[-1], np.linalg.solve(A, ridge * means[-1]), rtol=2e-3)


@pytest.mark.parametrize("settings", [GAUSSIAN, GRADED], ids=["gaussian", "graded"])
@pytest.mark.parametrize("side", ["users", "items"])
def test_fold_in_is_the_closed_form(
    ratings: Interactions, settings: PmfSettings, side: str
) -> None:
    factors, _ = fit(ratings, settings)
    found = fold_in(
        observe(ratings, meaning(settings), settings),
        USERS if side == "users" else ITEMS,
        factors,
        settings,
        side=side,
    )
    users, items, targets, weights = observe(ratings, meaning(settings), settings)
    of, to, held = users, items, factors.V.astype(np.float64)
    if side == "items":
        of, to, held = items, users, factors.U.astype(np.float64)
    for row in range(len(found)):
        mine = of == row
        F = held[to[mine]]
        ridge = float(ridges(np.array([mine.sum()]), len(held), settings, "users")[0])
        A = F.T @ (weights[mine, None] * F) + settings.w0 * held.T @ held + ridge * np.eye(3)
        x = np.linalg.solve(A, F.T @ (weights[mine] * targets[mine])) if mine.any() else 0
        np.testing.assert_allclose(found[row], x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("lambda_", [0.3, 0.01])
def test_fold_in_with_a_link_is_the_minimum(ratings: Interactions, lambda_: float) -> None:
    settings = LOGISTIC._replace(lambda_=lambda_)
    factors, _ = fit(ratings, settings)
    found = fold_in(observe(ratings, meaning(settings), settings), USERS, factors, settings)
    users, items, targets, _ = observe(ratings, meaning(settings), settings)
    V = factors.V.astype(np.float64)
    for user in range(0, USERS - 1, 4):
        mine = users == user

        def loss(x: np.ndarray, mine: np.ndarray = mine) -> float:
            p = 1 / (1 + np.exp(-V[items[mine]] @ x))
            return float(((targets[mine] - p) ** 2).sum() + lambda_ * mine.sum() * (x @ x))

        assert loss(found[user].astype(np.float64)) <= (
            scipy.optimize.minimize(loss, np.zeros(len(found[user])), tol=1e-10).fun + 1e-5
        )


def test_fold_in_of_rows_without_ratings_gives_their_means(ratings: Interactions) -> None:
    factors, _ = fit(ratings, GAUSSIAN)
    nobody = ratings.at(np.zeros(0, np.int64))
    means = np.random.default_rng(0).normal(size=(4, 3))
    settings = GAUSSIAN._replace(nu=0.0)
    np.testing.assert_allclose(
        fold_in(observe(nobody, meaning(settings), settings), 4, factors, settings, means=means),
        means,
        rtol=1e-5,
    )
    assert not fold_in(observe(nobody, meaning(settings), settings), 4, factors, settings).any()


def test_fold_in_of_a_fitted_user_is_his_factors(ratings: Interactions) -> None:
    settings = GRADED._replace(sweeps=100)
    factors, _ = fit(ratings, settings)
    np.testing.assert_allclose(
        fold_in(observe(ratings, meaning(settings), settings), USERS, factors, settings),
        factors.U,
        rtol=1e-2,
        atol=1e-3,
    )


@pytest.mark.parametrize("settings", [LOGISTIC, GRADED], ids=["logistic", "graded"])
def test_neither_workers_nor_tiles_change_the_result(
    ratings: Interactions, settings: PmfSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = np.random.default_rng(1).normal(size=(ITEMS, 3))
    settings = settings._replace(biases=True)
    expected, _ = fit(ratings, settings, item_means=means)
    device = half_sweep.workers()[0]
    monkeypatch.setattr(half_sweep, "workers", lambda: [device] * 3)
    three, _ = fit(ratings, settings, item_means=means)
    for a, b in zip(expected, three, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5)
    original = half_sweep.lay_out

    def by_fours(*arguments: object, **options: object) -> object:
        return original(*arguments, **options | {"single": False})  # type: ignore[arg-type]

    monkeypatch.setattr(half_sweep, "lay_out", by_fours)
    monkeypatch.setattr("jaxrec.pmf.tiles.TILE_SLOTS", 256)
    tiled, _ = fit(ratings, settings, item_means=means)
    for a, b in zip(expected, tiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("basis", [True, False])
def test_with_and_without_the_eigenbasis_the_end_is_the_same(
    ratings: Interactions, basis: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything: biases and means; `hold` chooses by cost, here by force."""
    means = np.random.default_rng(1).normal(size=(ITEMS, 3))
    settings = GRADED._replace(biases=True, sweeps=60)
    hold = half_sweep.hold

    def forced(shards: half_sweep.Shards, *rest: object) -> half_sweep.Held:
        # hardly any or very many ratings, as far as the estimate of costs is concerned
        return hold(shards._replace(ratings=10**9 if basis else -(10**9)), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("jaxrec.pmf.fit.hold", forced)
    factors, losses = fit(ratings, settings, item_means=means)
    expected = objective(factors, ratings, settings, item_means=means)
    assert losses[-1] == pytest.approx(expected, rel=1e-5)
    again, _ = fit(ratings, settings._replace(float64=True, sweeps=200), item_means=means)
    assert expected <= objective(again, ratings, settings, item_means=means) * 1.001


@pytest.mark.parametrize("of", [{}, {"float64": True}, {"biases": True}], ids=repr)
def test_so_many_factors_that_their_gramian_would_be_read_by_several_threads(
    ratings: Interactions, of: dict[str, Any]
) -> None:
    settings = GRADED._replace(factors=400, sweeps=2, **of)
    factors, losses = fit(ratings, settings)
    assert losses[-1] == pytest.approx(objective(factors, ratings, settings), rel=1e-5)


def test_the_same_seed_gives_the_same_bytes(ratings: Interactions) -> None:
    a, b = fit(ratings, GRADED)[0], fit(ratings, GRADED)[0]
    assert a.U.tobytes() == b.U.tobytes()
    assert a.V.tobytes() == b.V.tobytes()
    assert fit(ratings, GRADED, seed=1)[0].U.tobytes() != a.U.tobytes()


def test_each_side_is_compiled_once(ratings: Interactions, compiled: Callable[[str], int]) -> None:
    fit(ratings, GRADED._replace(factors=7))  # a shape of its own
    assert compiled("_solve_shard") == 2


def test_double_precision_is_one_switch(ratings: Interactions) -> None:
    factors, losses = fit(ratings, GRADED._replace(float64=True))
    assert factors.U.dtype == factors.V.dtype == np.float64
    assert losses[-1] == pytest.approx(objective(factors, ratings, GRADED), rel=1e-12)
    assert fit(ratings, GRADED)[0].U.dtype == np.float32


def test_it_stops_once_a_sweep_gains_less_than_the_tolerance(ratings: Interactions) -> None:
    _, losses = fit(ratings, GRADED._replace(sweeps=50, tolerance=1e-3))
    gains = [(a - b) / a for a, b in itertools.pairwise(losses)]
    assert gains[-1] <= 1e-3
    assert all(gain > 1e-3 for gain in gains[:-1])
    assert len(losses) < 50


def test_an_interrupted_fit_goes_on_to_the_same_result(
    ratings: Interactions, tmp_path: Path
) -> None:
    whole, losses = fit(ratings, GRADED)

    def stop(sweep: int, loss: float) -> None:
        if sweep == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(ratings, GRADED, checkpoints=Checkpoints(tmp_path / "c", {}), on_sweep=stop)
    told: list[int] = []
    again, resumed = fit(
        ratings,
        GRADED,
        checkpoints=Checkpoints(tmp_path / "c", {}),
        on_sweep=lambda sweep, _: told.append(sweep),
    )
    assert told == [2, 3, 4]
    assert resumed == losses
    np.testing.assert_array_equal(again.U, whole.U)


def shape(users: list[int], items: list[int]) -> Interactions:
    n = len(users)
    stars = np.resize(np.array([4.0, 5.0, 4.5]), n)
    return Interactions(np.array(users, np.int32), np.array(items, np.int32), stars, np.arange(n))


SHAPES = {
    "one rating": (shape([0], [0]), 1, 1),
    "one user": (shape([0] * 9, [*range(9)]), 1, 9),
    "one item": (shape([*range(9)], [0] * 9), 9, 1),
    "empty rows": (shape([1, 3], [2, 2]), 6, 7),
    "all ratings of one user": (shape([2] * 20, [*range(20)]), 5, 20),
    "rated twice": (shape([0, 0, 1], [1, 1, 0]), 2, 2),
}


@pytest.mark.parametrize("case", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("settings", [GAUSSIAN, LOGISTIC, GRADED], ids=lambda s: s.likelihood)
def test_any_shape_of_matrix(case: tuple[Interactions, int, int], settings: PmfSettings) -> None:
    ratings, users, items = case
    settings = settings._replace(factors=25)  # more than items
    factors, losses = fit_pmf(
        training_pairs(ratings, meaning(settings), settings), users, items, settings
    )
    assert factors.U.shape == (users, 25)
    assert factors.V.shape == (items, 25)
    assert losses[-1] == pytest.approx(objective(factors, ratings, settings), rel=1e-4, abs=1e-5)


def test_observed_pairs_can_be_given_as_they_are(ratings: Interactions) -> None:
    expected, _ = fit(ratings, GRADED)
    found, _ = fit_pmf(observe(ratings, STARS, GRADED), USERS, ITEMS, GRADED)
    np.testing.assert_array_equal(found.U, expected.U)
    users, items, targets, weights = observe(ratings, STARS, GRADED)
    heavy, _ = fit_pmf(Observed(users, items, targets, weights * 9), USERS, ITEMS, GRADED)
    error = [np.abs(targets - (f.U @ f.V.T)[users, items]).mean() for f in (heavy, expected)]
    assert error[0] < error[1]


def test_a_weight_is_as_good_as_a_repetition(ratings: Interactions) -> None:
    users, items, targets, weights = observe(ratings, STARS, LIKED)
    settings = LIKED._replace(nu=0.0)
    double, _ = fit_pmf(Observed(users, items, targets, 2 * weights), USERS, ITEMS, settings)
    twice = Observed(*(np.concatenate([a, a]) for a in (users, items, targets, weights)))
    repeated, _ = fit_pmf(twice, USERS, ITEMS, settings)
    np.testing.assert_allclose(double.U, repeated.U, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"likelihood": "poisson"}, "no likelihood 'poisson'"),
        ({"target": "stars"}, "no target 'stars'"),
        ({"w0": 0.0}, "needs it above 0"),
        ({"lambda_": -1.0}, "lambda is -1; it must be at least 0"),
        ({"nu": float("inf")}, "nu is inf"),
        ({"nu": 100.0}, "make an L2 weight of .*; give smaller ones"),
        ({"solver": "magic"}, "no solver 'magic'"),
        ({"likelihood": "gaussian"}, "only the all-pairs likelihood"),
    ],
)
def test_settings_that_make_no_objective_are_refused(
    ratings: Interactions, change: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fit(ratings, GRADED._replace(**change))


def test_ratings_and_means_that_do_not_fit_are_refused(ratings: Interactions) -> None:
    with pytest.raises(InputError, match=r"a rating of user \d+ .* of 5 only"):
        fit_pmf(observe(ratings, STARS, GRADED), 5, ITEMS, GRADED)
    with pytest.raises(InputError, match=r"shape \(2, 2\); \(30, 3\) is needed"):
        fit(ratings, GRADED, user_means=np.zeros((2, 2)))
    with pytest.raises(InputError, match="the gaussian likelihood is one of stars, and these are"):
        observe(ratings, Feedback("likes"), GAUSSIAN)
    factors = Factors(np.zeros((USERS, 3)), np.zeros((7, 3)))
    with pytest.raises(InputError, match=r"a rating of item \d+ .* of 7 only"):
        fold_in(observe(ratings, STARS, GRADED), USERS, factors, GRADED)
    with pytest.raises(InputError, match="no side 'item'"):
        fold_in(observe(ratings, STARS, GRADED), USERS, factors, GRADED, side="item")


def test_without_a_liked_rating_there_is_nothing_to_learn(ratings: Interactions) -> None:
    with pytest.raises(InputError, match="no ratings of at least 4"):
        fit(ratings._replace(values=np.full_like(ratings.values, 1.0)), LIKED)


@pytest.mark.filterwarnings("ignore:OpenBLAS is configured")
def test_implicit_reaches_no_lower_objective_on_the_same_weights(ratings: Interactions) -> None:
    implicit = pytest.importorskip("implicit", reason="the bench extra is not installed")
    import scipy.sparse

    settings = LIKED._replace(nu=0.0, sweeps=60)
    liked = ratings.values >= 4
    counts = scipy.sparse.csr_matrix(
        (np.full(liked.sum(), 11.0), (ratings.users[liked], ratings.items[liked])), (USERS, ITEMS)
    )
    # its confidence c = 11: w = w0 (c - 1) = 1, t = c / (c - 1) = 1.1, lambda = w0 its lambda
    model = implicit.als.AlternatingLeastSquares(
        factors=3, regularization=3.0, iterations=200, use_cg=False, random_state=0, num_threads=1
    )
    model.fit(counts, show_progress=False)
    pairs = Observed(
        ratings.users[liked], ratings.items[liked], np.full(liked.sum(), 1.1), np.ones(liked.sum())
    )

    def loss(U: np.ndarray, V: np.ndarray) -> float:
        x = U.astype(np.float64) @ V.T.astype(np.float64)
        observed = ((pairs.targets - x[pairs.users, pairs.items]) ** 2).sum()
        return observed + 0.1 * (x**2).sum() + 0.3 * ((U**2).sum() + (V**2).sum())

    ours, _ = fit_pmf(pairs, USERS, ITEMS, settings)
    assert loss(*ours) <= loss(model.user_factors, model.item_factors) * 1.001
