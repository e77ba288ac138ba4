"""How sure the figures are: users are drawn anew, with replacement (bootstrap)."""

import warnings

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
BATCH_BYTES = 2**26


def bootstrap_means(
    values: NDArray[np.floating], seed: int = 0, resamples: int = RESAMPLES
) -> NDArray[np.float32]:
    """[resamples, columns] means of every column over the same draws of users.

    All columns share the draws, so differences of columns are paired; SciPy's bootstrap would draw
    for each anew.

    Args:
        values: [users, columns]; a NaN has no part in its column's mean, which is NaN of a draw
            without any other figure.
        seed: of the draws.
        resamples: how many.
    """
    rng, users = np.random.default_rng(seed), len(values)
    there = ~np.isnan(values)
    filled = np.where(there, values, 0).astype(np.float32)
    partly = not there.all()
    means = np.empty((resamples, values.shape[1]), np.float32)
    size = max(1, BATCH_BYTES // (8 * users))
    for start in range(0, resamples, size):
        draws = rng.multinomial(users, np.full(users, 1 / users), min(size, resamples - start))
        weights = draws.astype(np.float32)
        count = weights @ there.astype(np.float32) if partly else users
        with np.errstate(invalid="ignore"):  # nobody has a figure: 0 / 0
            means[start : start + size] = weights @ filled / count
    return means


def interval(means: NDArray[np.floating]) -> NDArray[np.floating]:
    """[2, ...] 95 % percentile interval of bootstrap means [resamples, ...]."""
    if not np.isnan(means).any():
        return np.percentile(means, [2.5, 97.5], axis=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice")
        return np.nanpercentile(means, [2.5, 97.5], axis=0)


def p_value(differences: NDArray[np.floating]) -> NDArray[np.floating]:
    """Two-sided p that a mean difference is 0, from bootstrap means [resamples, ...] of it.

    Twice the share of means on the other side of 0, the sample itself counted as one, so that it is
    never 0 (Davison & Hinkley 1997, eq. 4.11). A NaN counts for both sides.
    """
    beyond = np.minimum((~(differences > 0)).sum(axis=0), (~(differences < 0)).sum(axis=0))
    return np.minimum(1.0, 2 * (beyond + 1) / (len(differences) + 1))


def holm(p: dict[str, float]) -> dict[str, float]:
    """Holm's correction (1979) of several p values, by name."""
    corrected, highest = {}, 0.0
    for place, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, (len(p) - place) * p[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p}
