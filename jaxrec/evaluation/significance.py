"""How sure the figures are: users are drawn anew, with replacement (bootstrap).

From `MANY` users on nobody is drawn: the quantiles of the mean over such draws follow from its
first three moments (see `Spread`), which one pass over blocks of users adds up. There the two
differ by no more than two bootstraps of other seeds do.
"""

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.evaluation.card import Comparison, Figures, Numbers, RowCard
from jaxrec.evaluation.measure import (
    ITEM_THIRDS,
    USER_THIRDS,
    Evaluation,
    PerUser,
    means,
    user_thirds,
)

RESAMPLES = 10_000
BATCH_BYTES = 2**26
MANY = 5_000
BLOCK = 512
"""Users whose figures are added up at once: their powers stay in the processor's cache."""
LEAST_P = 2 / (RESAMPLES + 1)
"""The smallest p that a bootstrap gives, and so the smallest that is claimed without one."""

Z = 1.959963984540054
"""97.5 % quantile of the normal distribution."""

Part = tuple[str, str]
"""Kind of third, `item` or `user`, and which."""
EVERYTHING: Part = ("", "")


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


class Spread(NamedTuple):
    """How the mean of a column of figures varies over draws of users; [...] each.

    Its quantile at z of the normal distribution is, by Cornish & Fisher's (1937) expansion to the
    skewness, `mean + sd (z + skew (z^2 - 1) / 6)`.
    """

    mean: NDArray[np.float64]
    """NaN where nobody has a figure."""
    sd: NDArray[np.float64]
    skew: NDArray[np.float64]
    """Third cumulant / sd^3."""

    @classmethod
    def of(cls, sums: NDArray[np.float64]) -> "Spread":
        """From sums [4, ...] as `power_sums` has them.

        Of users without a figure the mean is a ratio of two sums, so that each of the n others adds
        the cumulants of (x - mean) / n (delta method).
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            n, (mean, square, cube) = sums[0], sums[1:] / sums[0]
            variance = np.maximum(square - mean**2, 0) / n
            third = (cube - 3 * mean * square + 2 * mean**3) / n**2
            skew = np.where(variance > 0, third / variance**1.5, 0)
        return cls(mean, np.sqrt(variance), skew)

    def interval(self) -> NDArray[np.float64]:
        """[2, ...] 95 % interval."""
        z = np.array([-Z, Z]).reshape(2, *[1] * self.mean.ndim)
        return self.mean + self.sd * (z + self.skew * (z**2 - 1) / 6)

    def p_value(self) -> NDArray[np.float64]:
        """Two-sided p that the mean is 0, below 0.05 just where the interval excludes 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            at_zero = -self.mean / self.sd
            root = np.sqrt(np.maximum(1 + self.skew * at_zero * 2 / 3 + self.skew**2 / 9, 0))
            z = (2 * at_zero + self.skew / 3) / (root + 1)  # whose quantile is 0
        p = np.maximum(np.vectorize(math.erfc)(np.abs(z) / math.sqrt(2)), LEAST_P)
        # without a spread, or without anybody, only a mean that is not 0 tells anything
        return np.where(self.sd > 0, p, np.where(np.abs(self.mean) > 0, LEAST_P, 1.0))


def power_sums(blocks: Iterable[NDArray[np.floating]]) -> NDArray[np.float64]:
    """[4, columns] sums of 1, x, x^2 and x^3 over the users of blocks [users, columns] of x.

    A NaN has no part. Sums of columns, not products with ones: BLAS would start threads for each.
    """
    sums: NDArray[np.float64] = np.zeros((4, 1))
    for values in blocks:
        there = ~np.isnan(values)
        x = np.zeros(values.shape)
        np.copyto(x, values, where=there)
        square = x * x
        powers = np.count_nonzero(there, axis=0), x.sum(0), square.sum(0), (square * x).sum(0)
        sums = sums + np.stack(powers)
    return sums


def spread(values: NDArray[np.floating]) -> Spread:
    """Of the means of columns [users, columns]."""
    starts = range(0, len(values), BLOCK)
    return Spread.of(power_sums(values[start : start + BLOCK] for start in starts))


def intervals(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """[2, columns] 95 % intervals of the means of columns [users, columns]."""
    if len(values) < MANY:
        return interval(bootstrap_means(values))
    return spread(values).interval()


def how_sure(users: int) -> str:
    """For the protocol card: what intervals and p are of so many users."""
    if users < MANY:
        return f"bootstrap over the users, {RESAMPLES:,} draws"
    return "bootstrap over the users, by the first three moments of its means (Cornish-Fisher)"


def holm(p: dict[str, float]) -> dict[str, float]:
    """Holm's correction (1979) of several p values, by name."""
    corrected, highest = {}, 0.0
    for place, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, (len(p) - place) * p[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p}


def against(
    per_user: dict[str, NDArray[np.floating]], name: str = "hybrid"
) -> dict[str, Comparison]:
    """How row `name` stands against every other: difference, ratio, interval and p by Holm.

    Args:
        per_user: [users] one metric, by row; the same users in every row.
        name: the row that is compared.
    """
    others = [row for row in per_user if row != name]
    if not others:
        return {}
    columns = np.stack([per_user[name] - per_user[row] for row in others], axis=1)
    if len(columns) < MANY:
        boot = bootstrap_means(columns)
        (low, high), p = interval(boot), p_value(boot)
    else:
        moments = spread(columns)
        (low, high), p = moments.interval(), moments.p_value()
    corrected = holm(dict(zip(others, p.tolist(), strict=True)))
    own = float(np.nanmean(per_user[name]))
    return {
        row: Comparison(
            difference=float(np.nanmean(columns[:, number])),
            relative=own / float(np.nanmean(per_user[row])) - 1
            if np.nanmean(per_user[row]) > 0
            else float("nan"),
            ci95=(float(low[number]), float(high[number])),
            p_holm=corrected[row],
        )
        for number, row in enumerate(others)
    }


def row_cards(
    evaluations: dict[str, Evaluation], labels: dict[str, str], known: NDArray[np.integer]
) -> list[RowCard]:
    """The figures of every row: of everything, by item third and by user third; and its gains.

    Intervals and p against row `pmf` are by bootstrap over users, with the same draws for all, or
    by moments where users are many.

    Args:
        evaluations: by the rows' names, of one task.
        labels: of the rows, by name.
        known: [users] interactions known of each user.
    """
    users = next(iter(evaluations.values())).users
    thirds = user_thirds(known[users])
    sure = _by_bootstrap if len(users) < MANY else _by_moments
    figures = sure(evaluations, thirds)
    for row, found in evaluations.items():
        for part, coverage in _coverage(found, thirds).items():
            figures[row][part].metrics.update(coverage)
    metrics = {row: of[EVERYTHING].metrics for row, of in figures.items()}
    return [
        RowCard(
            name=row,
            label=labels[row],
            users=len(found.users),
            hits=found.hits,
            figures=figures[row][EVERYTHING],
            by_item_third={third: figures[row]["item", third] for third in ITEM_THIRDS},
            by_user_third={third: figures[row]["user", third] for third in USER_THIRDS},
            tied_share=found.tied_share,
            gains={
                over: _gains(metrics[row], metrics[over])
                for over in ("mf", "pmf")
                if over in metrics
            },
        )
        for row, found in evaluations.items()
    ]


def _coverage(found: Evaluation, thirds: NDArray[np.int8]) -> dict[Part, Numbers]:
    """Of everything, and of each third of the items and of the users [n] by `thirds`."""
    by_third = [found.listed(thirds == number) for number in range(len(USER_THIRDS))]
    listed = {k: np.any([of[k] for of in by_third], axis=0) for k in by_third[0]}
    coverage = {EVERYTHING: found.coverage(listed)}
    for number, third in enumerate(ITEM_THIRDS):
        coverage["item", third] = found.coverage(listed, number)
    for number, third in enumerate(USER_THIRDS):
        coverage["user", third] = found.coverage(by_third[number])
    return coverage


def _by_moments(
    evaluations: dict[str, Evaluation], thirds: NDArray[np.int8]
) -> dict[str, dict[Part, Figures]]:
    """Means, intervals and p of every part of every row, from sums over blocks of users."""
    names = list(next(iter(evaluations.values())).per_user)
    sums = np.stack(
        [
            power_sums(_row_blocks(evaluations, np.flatnonzero(thirds == number)))
            for number in range(len(USER_THIRDS))
        ],
        axis=1,
    )
    # [power, user third, figure or lead over pmf, row, everything or item third, name]
    sums = sums.reshape(*sums.shape[:2], -1, len(evaluations), 1 + len(ITEM_THIRDS), len(names))
    everybody, everything = sums.sum(axis=1), sums[..., 0, :]
    parts = {EVERYTHING: everybody[..., 0, :]}
    parts |= {("item", third): everybody[..., n, :] for n, third in enumerate(ITEM_THIRDS, start=1)}
    parts |= {("user", third): everything[:, n] for n, third in enumerate(USER_THIRDS)}
    found: dict[str, dict[Part, Figures]] = {row: {} for row in evaluations}
    for part, of in parts.items():
        spread = Spread.of(of)
        ci95, p = spread.interval(), spread.p_value()
        for place, row in enumerate(evaluations):
            own = (spread.mean[0, place], ci95[:, 0, place].T, p[-1, place])
            mean, bounds, lead = (dict(zip(names, each.tolist(), strict=True)) for each in own)
            intervals = {name: (low, high) for name, (low, high) in bounds.items()}
            found[row][part] = Figures(mean, intervals, lead if len(of[0]) > 1 else None)
    return found


def _row_blocks(
    evaluations: dict[str, Evaluation], users: NDArray[np.int64]
) -> Iterator[NDArray[np.float32]]:
    """The figures [block, columns] of blocks of `users`, which are places in an evaluation.

    Of each row by everything and item third and by name; then, with a row `pmf`, their leads over
    it.
    """
    rows = list(evaluations)
    for start in range(0, len(users), BLOCK):
        of = users[start : start + BLOCK]
        values = [
            figures[of]
            for found in evaluations.values()
            for per_user in (found.per_user, *found.by_item_third.values())
            for figures in per_user.values()
        ]
        block = np.stack(values, axis=1).reshape(len(of), len(rows), -1)
        lead = [block - block[:, [rows.index("pmf")]]] if "pmf" in rows else []
        yield np.concatenate([block, *lead], axis=1).reshape(len(of), -1)


def _by_bootstrap(
    evaluations: dict[str, Evaluation], thirds: NDArray[np.int8]
) -> dict[str, dict[Part, Figures]]:
    """Means, intervals and p of every part of every row, by drawing users."""
    rows = {row: _parts(found, thirds) for row, found in evaluations.items()}
    values = {
        (row, part, name): users
        for row, parts in rows.items()
        for part, per_user in parts.items()
        for name, users in per_user.items()
    }
    boot = bootstrap_means(np.stack(list(values.values()), axis=1))
    ci95 = dict(zip(values, interval(boot).T.tolist(), strict=True))
    p: dict[tuple[str, Part, str], float] = {}
    if "pmf" in rows:
        by_row = boot.reshape(len(boot), len(rows), -1)
        lead = p_value(by_row - by_row[:, [list(rows).index("pmf")]])
        p = dict(zip(values, lead.ravel().tolist(), strict=True))
    return {
        row: {
            part: Figures(
                metrics=means(per_user),
                ci95={name: tuple(ci95[row, part, name]) for name in per_user},
                p_vs_pmf={name: p[row, part, name] for name in per_user} if p else None,
            )
            for part, per_user in parts.items()
        }
        for row, parts in rows.items()
    }


def _parts(found: Evaluation, thirds: NDArray[np.int8]) -> dict[Part, PerUser]:
    """Users' figures: of everything, and of each third of the items and of the users."""
    parts = {EVERYTHING: found.per_user}
    parts |= {("item", third): found.by_item_third[third] for third in ITEM_THIRDS}
    for number, third in enumerate(USER_THIRDS):
        parts["user", third] = {
            name: np.where(thirds == number, values, np.nan).astype(np.float32)
            for name, values in found.per_user.items()
        }
    return parts


def _gains(metrics: Numbers, over: Numbers) -> Numbers:
    """Relative; of metrics in which there is something to gain over."""
    return {name: value / over[name] - 1 for name, value in metrics.items() if over[name] > 0}
