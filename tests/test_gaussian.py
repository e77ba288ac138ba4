from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jaxrec.dataset import Dataset, Ratings
from jaxrec.gaussian import Observed, fit_gaussian, objective
from jaxrec.split import published_split
from jaxrec.sweeps import Checkpoints

pytestmark = pytest.mark.timeout(120)

LAMBDA = 1.5


@pytest.fixture
def train(synthetic: Dataset) -> Ratings:
    return synthetic.ratings.at(published_split(synthetic.ratings).train)


def by_hand(U: np.ndarray, V: np.ndarray, ratings: Ratings) -> float:
    error = ratings.stars - (U[ratings.users] * V[ratings.items]).sum(1)
    return float((error**2).sum() + LAMBDA * ((U**2).sum() + (V**2).sum()))


def test_the_objective_is_within_a_thousandth_of_a_reference_minimiser(
    synthetic: Dataset, train: Ratings
) -> None:
    k, users, items = 6, synthetic.users, synthetic.items
    factors, losses = fit_gaussian(train, users, items, factors=k, sweeps=60, lambda_=LAMBDA)

    def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        U, V = x[: users * k].reshape(users, k), x[users * k :].reshape(items, k)
        error = train.stars - (U[train.users] * V[train.items]).sum(1)
        dU, dV = 2 * LAMBDA * U, 2 * LAMBDA * V
        np.add.at(dU, train.users, -2 * error[:, None] * V[train.items])
        np.add.at(dV, train.items, -2 * error[:, None] * U[train.users])
        return by_hand(U, V, train), np.concatenate([dU.ravel(), dV.ravel()])

    start = np.random.default_rng(1).normal(0, 0.1, (users + items) * k)
    reference = scipy.optimize.minimize(
        value_and_gradient, start, jac=True, method="L-BFGS-B",
        options={"maxiter": 5000, "maxfun": 10000, "ftol": 1e-12},
    )  # fmt: skip
    assert losses[-1] == pytest.approx(by_hand(*factors, train), rel=1e-5)
    assert losses[-1] <= 1.001 * reference.fun


def test_gradients_agree_with_finite_differences(train: Ratings) -> None:
    with jax.enable_x64(True):
        observed = Observed(*(jnp.asarray(column) for column in train[:3]))
        rng = np.random.default_rng(0)
        U, V = (jnp.asarray(rng.normal(0, 1, (rows, 3))) for rows in (60, 120))
        for position, start in enumerate((U, V)):
            direction = jnp.asarray(rng.normal(0, 1, start.shape))

            def along(
                t: float, position: int = position, start: jax.Array = start,
                direction: jax.Array = direction,
            ) -> jax.Array:  # fmt: skip
                moved = start + t * direction
                pair = (moved, V) if position == 0 else (U, moved)
                return objective(*pair, observed, LAMBDA)

            slope = float(jax.grad(along)(0.0))
            assert slope == pytest.approx(float(along(1e-4) - along(-1e-4)) / 2e-4, rel=1e-6)


def test_the_objective_never_rises(synthetic: Dataset, train: Ratings) -> None:
    _, losses = fit_gaussian(train, synthetic.users, synthetic.items, factors=8, sweeps=15)
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(losses))


def test_rows_without_ratings_end_at_zero(synthetic: Dataset, train: Ratings) -> None:
    factors, _ = fit_gaussian(train, synthetic.users + 1, synthetic.items + 1, factors=4, sweeps=5)
    assert np.abs(factors.U[-1]).max() < 1e-5
    assert np.abs(factors.V[-1]).max() < 1e-5


def test_a_fit_resumes_from_its_checkpoint(
    synthetic: Dataset, train: Ratings, tmp_path: Path
) -> None:
    told: list[int] = []

    def fit(sweeps: int, folder: str) -> np.ndarray:
        told.clear()
        factors, _ = fit_gaussian(
            train, synthetic.users, synthetic.items, factors=4, sweeps=sweeps,
            checkpoints=Checkpoints(tmp_path / folder, {}, every=0.0),
            on_sweep=lambda sweep, loss: told.append(sweep),
        )  # fmt: skip
        return factors.V

    unbroken = fit(5, "unbroken")
    fit(3, "broken")
    assert fit(5, "broken").tobytes() == unbroken.tobytes()
    assert told == [3, 4, 5]
