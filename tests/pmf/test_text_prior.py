"""PMF whose item factors have the prior mean W^T e_i, W learned too."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from jaxrec.errors import InputError
from jaxrec.pmf.fit import fit_pmf, fold_in
from jaxrec.pmf.objective import Observed, PmfSettings, observe, ridges
from jaxrec.sources.synthetic import STARS
from tests.conftest import make_ratings

USERS, ITEMS, DIM = 9, 7, 3
SETTINGS = PmfSettings(
    factors=2, lambda_=0.4, nu=0.5, w0=0.2, sweeps=400, float64=True, item_lambda=0.3, lambda_w=0.8
)


def problem() -> tuple[Observed, NDArray[np.floating]]:
    rng = np.random.default_rng(4)
    rows = [
        (u, i, float(rng.integers(1, 11)) / 2, 0)
        for u in range(USERS)
        for i in range(ITEMS - 1)  # the last item has no rating
        if rng.random() < 0.5
    ]
    return observe(make_ratings(rows), STARS, SETTINGS), rng.normal(size=(ITEMS, DIM))


def objective(
    observed: Observed, E: NDArray[np.floating], U: NDArray, V: NDArray, W: NDArray
) -> float:
    """The module's formula, item by item that has a rating."""
    users, items, targets, weights = observed
    n_user, n_item = np.bincount(users, minlength=USERS), np.bincount(items, minlength=ITEMS)
    rated = n_item > 0
    x = U @ V[rated].T
    of_user = ridges(n_user, ITEMS, SETTINGS, "users")
    of_item = ridges(n_item, USERS, SETTINGS, "items")[rated]
    errors = targets - np.sum(U[users] * V[items], axis=1)
    return float(
        np.sum(weights * errors**2)
        + SETTINGS.w0 * np.sum(x**2)
        + np.sum(of_user * np.sum(U**2, axis=1))
        + np.sum(of_item * np.sum((V - E @ W)[rated] ** 2, axis=1))
        + SETTINGS.lambda_w * np.sum(W**2)
    )


def test_it_is_the_minimum_that_a_gradient_solver_finds() -> None:
    observed, E = problem()
    factors, losses = fit_pmf(observed, USERS, ITEMS, SETTINGS, item_features=E)
    k, sizes = SETTINGS.factors, np.cumsum([USERS, ITEMS])

    def of(flat: NDArray) -> float:
        U, V, W = np.split(flat.reshape(-1, k), sizes)
        return objective(observed, E, U, V, W)

    # W of the fit is not returned: with U and V held, the objective is a ridge regression
    W = minimize(lambda w: of(np.concatenate([factors.U.ravel(), factors.V.ravel(), w])),
                 np.zeros(DIM * k)).x  # fmt: skip
    start = np.concatenate([factors.U.ravel(), factors.V.ravel(), W])
    assert of(start) == pytest.approx(losses[-1], rel=1e-5)
    found = minimize(of, start, method="L-BFGS-B")
    assert found.fun == pytest.approx(losses[-1], rel=1e-5)


def test_the_objective_never_rises() -> None:
    observed, E = problem()
    losses = fit_pmf(observed, USERS, ITEMS, SETTINGS._replace(sweeps=30), item_features=E)[1]
    assert all(after <= before + 1e-9 for before, after in pairwise(losses))


def test_an_item_without_ratings_is_what_its_features_say() -> None:
    observed, E = problem()
    E[-1] = E[0]
    factors, _ = fit_pmf(observed, USERS, ITEMS, SETTINGS, item_features=E)
    rated = np.unique(observed.items)
    n = np.bincount(observed.items, minlength=ITEMS)
    precision = np.diag(ridges(n, USERS, SETTINGS, "items")[rated])
    gram = E[rated].T @ precision @ E[rated] + SETTINGS.lambda_w * np.eye(DIM)
    W = np.linalg.solve(gram, E[rated].T @ precision @ factors.V[rated])
    np.testing.assert_allclose(factors.V[-1], E[-1] @ W, atol=1e-6)


def test_a_train_user_folds_in_to_the_same_factors() -> None:
    """Items without ratings have factors, but no part in the sum over all pairs."""
    observed, E = problem()
    factors, _ = fit_pmf(observed, USERS, ITEMS, SETTINGS, item_features=E)
    rated = np.bincount(observed.items, minlength=ITEMS) > 0
    U = fold_in(observed, USERS, factors, SETTINGS, paired=rated)
    np.testing.assert_allclose(U, factors.U, atol=1e-5)
    assert np.abs(fold_in(observed, USERS, factors, SETTINGS) - factors.U).max() > 1e-3


def test_features_of_no_weight_are_plain_pmf() -> None:
    observed, E = problem()
    how = SETTINGS._replace(lambda_w=1e9)
    plain, _ = fit_pmf(observed, USERS, ITEMS - 1, how)
    with_text, _ = fit_pmf(observed, USERS, ITEMS - 1, how, item_features=E[:-1])
    np.testing.assert_allclose(with_text.U @ with_text.V.T, plain.U @ plain.V.T, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "E", "message"),
    [
        ({}, np.ones((3, 2)), "features of 3 items"),
        ({}, np.full((ITEMS, 1), np.nan), "not finite"),
        ({"biases": True}, np.ones((ITEMS, 1)), "no biases"),
        ({"solver": "gradient"}, np.ones((ITEMS, 1)), "alternating solver"),
        ({"lambda_w": 0.0}, np.ones((ITEMS, 1)), "lambda_w is 0"),
    ],
)
def test_what_does_not_go_together_is_refused(
    change: dict, E: NDArray[np.floating], message: str
) -> None:
    observed, _ = problem()
    with pytest.raises(InputError, match=message):
        fit_pmf(observed, USERS, ITEMS, SETTINGS._replace(**change), item_features=E)
