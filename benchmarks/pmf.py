"""PMF beside its peers. Run: python benchmarks/pmf.py MEASURE (needs the `bench` extra).

| measure              | what                                                                     |
|----------------------|--------------------------------------------------------------------------|
| published-training   | published fit, 200 sweeps: seconds, compilation included, beside Cornac  |
| published-factors    | largest difference of any factor to Cornac's, after 3 and 200 sweeps     |
| gaussian-reference   | Gaussian objective beside a float64 L-BFGS minimiser on a small problem  |
"""

import statistics
from collections.abc import Callable

import click
import jax
import numpy as np
from harness import interleave, report

from jaxrec import PmfSettings, Ratings, fit_pmf, fit_sequential, load_dataset, published_split
from jaxrec.synthetic import synthetic_dataset


def cornac_pmf(train: Ratings, sweeps: int) -> tuple[np.ndarray, np.ndarray]:
    """Cornac's PMF with the published settings; rows of U and V in our numbering."""
    from cornac.data import Dataset
    from cornac.models import PMF

    triples = list(zip(*(column.tolist() for column in train[:3]), strict=True))
    data = Dataset.from_uir(triples, seed=42)
    model = PMF(
        k=100,
        max_iter=sweeps,
        learning_rate=0.005,
        lambda_reg=0.001,
        gamma=0.9,
        variant="non_linear",
        seed=42,
    )
    model.fit(data)
    U, V = np.zeros((train.users.max() + 1, 100)), np.zeros((train.items.max() + 1, 100))
    U[list(data.uid_map)] = model.U[list(data.uid_map.values())]
    V[list(data.iid_map)] = model.V[list(data.iid_map.values())]
    return U, V


def published_train() -> tuple[Ratings, int, int]:
    data = load_dataset("ml-latest-small")
    train = data.ratings.at(published_split(data.ratings).train)
    return train, int(train.users.max()) + 1, int(train.items.max()) + 1


def published_training() -> None:
    train, users, items = published_train()

    def ours() -> None:
        jax.clear_caches()
        fit_sequential(train, users, items)

    mine, theirs = interleave(ours, lambda: cornac_pmf(train, 200), repeats=3)
    report(
        "published-training", statistics.median(mine), statistics.median(theirs), "Cornac PMF", "s"
    )


def published_factors() -> None:
    train, users, items = published_train()
    for sweeps in (3, 200):
        (U, V), _ = fit_sequential(train, users, items, sweeps=sweeps)
        their_U, their_V = cornac_pmf(train, sweeps)
        gap = max(np.abs(U - their_U).max(), np.abs(V - their_V).max())
        print(f"after {sweeps} sweeps: largest difference {gap:.3g}")
    report("published-factors", float(gap), 0.0, "Cornac PMF", "largest absolute difference")


def gaussian_reference() -> None:
    import scipy.optimize

    data = synthetic_dataset(users=60, items=120)
    train = data.ratings.at(published_split(data.ratings).train)
    users, items, k, lambda_ = data.users, data.items, 6, 1.5

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        U, V = x[: users * k].reshape(users, k), x[users * k :].reshape(items, k)
        error = train.stars - (U[train.users] * V[train.items]).sum(1)
        dU, dV = 2 * lambda_ * U, 2 * lambda_ * V
        np.add.at(dU, train.users, -2 * error[:, None] * V[train.items])
        np.add.at(dV, train.items, -2 * error[:, None] * U[train.users])
        value = (error**2).sum() + lambda_ * ((U**2).sum() + (V**2).sum())
        return float(value), np.concatenate([dU.ravel(), dV.ravel()])

    settings = PmfSettings("gaussian", factors=k, lambda_=lambda_, nu=0.0, w0=0.0, sweeps=60)
    factors, _ = fit_pmf(train, users, items, settings)
    ours = objective(np.concatenate([factors.U.ravel(), factors.V.ravel()]).astype(np.float64))[0]
    starts = np.random.default_rng(0).normal(0, 0.1, (5, (users + items) * k))
    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-12}
    found = [
        scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun
        for start in starts
    ]
    report("gaussian-reference", ours, min(found), "L-BFGS, float64, best of 5", "objective")


MEASURES: dict[str, Callable[[], None]] = {
    "published-training": published_training,
    "published-factors": published_factors,
    "gaussian-reference": gaussian_reference,
}


@click.command()
@click.argument("measure", type=click.Choice(list(MEASURES)))
def main(measure: str) -> None:
    MEASURES[measure]()


if __name__ == "__main__":
    main()
