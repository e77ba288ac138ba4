"""How sure the figures are: users are drawn anew, with replacement (bootstrap).

From `MANY` users on nobody is drawn: the quantiles of the mean over such draws follow from its
first three moments (see `Spread`), which one pass over blocks of users adds up. There the two
differ by no more than two bootstraps of other seeds do.

Over several splits these are drawn anew as well as the users. Splits are so few that a bootstrap
of them is too narrow; what both vary by is taken from a model of two crossed effects (`Crossed`).
"""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from jaxrec.devices import Mesh, added_up
from jaxrec.evaluation.card import Comparison, Comparisons, Figures, Numbers, RowCard
from jaxrec.evaluation.measure import (
    ITEM_THIRDS,
    USER_THIRDS,
    Evaluation,
    PerUser,
    means,
    user_thirds,
)

COMPARED = ("precision", "recall", "ndcg")
"""By which `hybrid` is compared with every other row."""
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
Name = TypeVar("Name")


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


def spread(values: NDArray[np.floating], mesh: Mesh | None = None) -> Spread:
    """Of the means of columns [users, columns]; on a mesh over all processes' users."""
    starts = range(0, max(len(values), 1), BLOCK)
    sums = power_sums(values[start : start + BLOCK] for start in starts)
    return Spread.of(sums if mesh is None else mesh.summed(sums))


class Crossed(NamedTuple):
    """How the mean of a column of figures varies over draws of users and of splits; [columns] each.

    A figure is mean + a_u + b_s + e_us, of users crossed with splits, and the mean is that of the
    splits' means. Its variance is that of a over users plus that of b and e over
    splits (Owen 2007, The pigeonhole bootstrap, whose draws estimate the same sum). Of a few splits
    the second part is hardly known, and a bootstrap takes no account of that. So each part gets
    its own quantile (Banerjee 1961): within sqrt(z^2 users + t^2 splits) of the mean, with t of as
    many degrees of freedom as there are splits less 1, lies the truth at least as often as z and t
    say, at every level and whatever the ratio of the parts, where all effects are normal.
    """

    mean: NDArray[np.float64]
    """NaN where nobody has a figure."""
    users: NDArray[np.float64]
    """Variance of the mean by a."""
    splits: NDArray[np.float64]
    """By b and e; NaN where fewer than two splits have a figure."""
    freedom: NDArray[np.float64]
    """Splits that have a figure, less 1."""
    by_split: NDArray[np.float64]
    """[splits, columns] means over the users of a split."""

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> "Crossed":
        """Of figures [splits, users, columns]; a NaN has no part.

        By splits it is the variance of their means over their number S. A user adds to the mean
        h_u = sum_s c_s (x_us - mean of s), with c_s = 1 / (S U_s) over the U_s users of a split. By
        users it is sum_u h_u^2, less what e adds to it: sum_s c_s^2 over her splits times her
        variance between them. Where everybody is in each split, these are the estimates of the
        analysis of variance (Searle, Casella & McCulloch 1992).
        """
        splits, users, columns = values.shape
        blocks = [values[:, start : start + BLOCK] for start in range(0, users, BLOCK)]
        sums: NDArray[np.float64] = np.zeros((2, splits, columns))
        anywhere: NDArray[np.int64] = np.zeros(columns, int)
        for block in blocks:
            there = ~np.isnan(block)
            x = np.where(there, block, 0).astype(np.float64)
            sums += there.sum(axis=1), x.sum(axis=1)
            anywhere += there.any(axis=0).sum(axis=0)
        counts, totals = sums
        some = (counts > 0).sum(axis=0)
        by_users: NDArray[np.float64] = np.zeros(columns)
        with np.errstate(invalid="ignore", divide="ignore"):
            by_split = totals / counts
            known = np.where(counts > 0, by_split, 0)
            mean = known.sum(axis=0) / some
            share = np.where(counts > 0, 1 / (some * counts), 0)
            for block in blocks:
                there = ~np.isnan(block)
                off, n = np.where(there, block - known[:, None], 0), there.sum(axis=0)
                c = there * share[:, None]
                own = np.where(there, off - off.sum(axis=0) / n, 0)
                within = (own**2).sum(axis=0) / np.maximum(n - 1, 1)
                adds = (c * off).sum(axis=0) ** 2 - within * (c**2).sum(axis=0)
                by_users += adds.sum(axis=0)
            by_users = np.maximum(by_users * anywhere / (anywhere - 1), 0)
            between = np.where(counts > 0, by_split - mean, 0)
            by_splits = (between**2).sum(axis=0) / (some * (some - 1))
            return cls(mean, by_users, by_splits, some - 1.0, by_split)

    def half_width(self, level: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """What the mean is within, but for a share `level` of such draws at the most."""
        z, t = ndtri(1 - level / 2), stdtrit(self.freedom, 1 - level / 2)
        return np.sqrt(z**2 * self.users + t**2 * self.splits)

    def interval(self) -> NDArray[np.float64]:
        """[2, columns] 95 % interval."""
        return self.mean + np.array([[-1], [1]]) * self.half_width(0.05)

    def p_value(self) -> NDArray[np.float64]:
        """Two-sided p that the mean is 0: the level whose interval ends there."""
        # nothing is drawn, so p may be as small as a large family needs; less is not to be believed
        low, high = np.full(self.mean.shape, 1e-6), np.ones(self.mean.shape)
        for _ in range(40):
            level = np.sqrt(low * high)
            excludes = self.half_width(level) < np.abs(self.mean)
            low, high = np.where(excludes, low, level), np.where(excludes, level, high)
        return high


def interval_and_p(
    values: NDArray[np.floating], mesh: Mesh | None = None
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """95 % intervals [2, columns], and p [columns], of the means of figures.

    Users are drawn anew, and where there are several splits these too.

    Args:
        values: [splits, users, columns], of one split or more.
        mesh: whose processes have other users each of the one split, if there are several.
    """
    if len(values) > 1:
        crossed = Crossed.of(values)
        return crossed.interval(), crossed.p_value()
    if mesh is None and values.shape[1] < MANY:
        means = bootstrap_means(values[0])
        return interval(means), p_value(means)
    moments = spread(values[0], mesh)
    return moments.interval(), moments.p_value()


def how_sure(users: int, splits: int = 1, drawn: str = "splits") -> str:
    """For the card: what intervals and p are of so many users, and of several splits.

    `drawn` is what the splits are called.
    """
    if splits > 1:
        return (
            f"users and {drawn} drawn anew: two crossed effects, of which that of the {splits}"
            f" {drawn} has Student's t (Banerjee 1961)"
        )
    if users < MANY:
        return f"bootstrap over the users, {RESAMPLES:,} draws"
    return "bootstrap over the users, by the first three moments of its means (Cornish-Fisher)"


def holm(p: dict[Name, float]) -> dict[Name, float]:
    """Holm's correction (1979) of several p values, by name."""
    corrected, highest = dict[Name, float](), 0.0
    for place, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, (len(p) - place) * p[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p}


def against(
    per_user: Mapping[str, NDArray[np.floating]],
    figures: Sequence[str],
    name: str = "hybrid",
    mesh: Mesh | None = None,
) -> Comparisons:
    """How row `name` stands against every other: difference, ratio, interval and p, by figure.

    p is corrected by Holm over one family, of all the figures and rows.

    Args:
        per_user: [splits, users, figures] by row; the same users in every row.
        figures: their names.
        name: the row that is compared.
        mesh: whose processes have other users each of the one split, if there are several.
    """
    others = [row for row in per_user if row != name]
    if not others:
        return {}
    leads = np.concatenate([per_user[name] - per_user[row] for row in others], axis=2)
    ci95, p = (each.reshape(-1, len(others), len(figures)) for each in interval_and_p(leads, mesh))
    mean, by_split = (each.reshape(-1, len(others), len(figures)) for each in _means(leads, mesh))
    means = {row: _means(values, mesh)[0] for row, values in per_user.items()}
    return in_one_family(
        {
            figure: {
                row: Comparison(
                    difference=float(mean[0, other, number]),
                    relative=float(means[name][number] / means[row][number]) - 1
                    if means[row][number] > 0
                    else float("nan"),
                    ci95=(float(ci95[0, other, number]), float(ci95[1, other, number])),
                    p=float(p[0, other, number]),
                    p_holm=float("nan"),
                    by_split=tuple(by_split[:, other, number].tolist()),
                )
                for other, row in enumerate(others)
            }
            for number, figure in enumerate(figures)
        }
    )


def _means(
    values: NDArray[np.floating], mesh: Mesh | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of figures [splits, users, columns] the means [columns], and those of each split alone."""
    if mesh is None:
        crossed = Crossed.of(values)
        return crossed.mean, crossed.by_split
    mean = spread(values[0], mesh).mean
    return mean, mean[None]


def in_one_family(comparisons: Comparisons) -> Comparisons:
    """The same with p corrected by Holm over all of them."""
    p = {(figure, row): of.p for figure, rows in comparisons.items() for row, of in rows.items()}
    corrected = holm(p)
    return {
        figure: {row: replace(of, p_holm=corrected[figure, row]) for row, of in rows.items()}
        for figure, rows in comparisons.items()
    }


def row_cards(
    evaluations: dict[str, Evaluation],
    labels: dict[str, str],
    known: NDArray[np.integer],
    mesh: Mesh | None = None,
) -> list[RowCard]:
    """The figures of every row: of everything, by item third and by user third; and its gains.

    Intervals and p against row `pmf` are by bootstrap over users, with the same draws for all, or
    by moments where users are many, or of several processes.

    Args:
        evaluations: by the rows' names, of one task.
        labels: of the rows, by name.
        known: [users] interactions known of each user.
        mesh: whose processes have other users each, if there are several: figures are of all.
    """
    users = next(iter(evaluations.values())).users
    thirds = user_thirds(known[users], mesh)
    if mesh is None and len(users) < MANY:
        figures = _by_bootstrap(evaluations, thirds)
    else:
        figures = _by_moments(evaluations, thirds, mesh)
    for row, found in evaluations.items():
        for part, coverage in _coverage(found, thirds, mesh).items():
            figures[row][part].metrics.update(coverage)
        for part, count in added_up(_hits(found, thirds), mesh).items():
            figures[row][part].metrics.update(count)
    metrics = {row: of[EVERYTHING].metrics for row, of in figures.items()}
    everybody = int(added_up(len(users), mesh))
    return [
        RowCard(
            name=row,
            label=labels[row],
            users=everybody,
            hits=int(metrics[row][f"hits@{max(found.ks)}"]),
            figures=figures[row][EVERYTHING],
            by_item_third={third: figures[row]["item", third] for third in ITEM_THIRDS},
            by_user_third={third: figures[row]["user", third] for third in USER_THIRDS},
            tied_share=added_up(int(found.tied.sum()), mesh) / everybody,
            gains={
                over: _gains(metrics[row], metrics[over])
                for over in ("mf", "pmf")
                if over in metrics
            },
        )
        for row, found in evaluations.items()
    ]


def hits(per_user: dict[str, NDArray[np.floating]], users: Any = slice(None)) -> Numbers:
    """`hits@K` of all users or of some, of each `precision@K` [users] among their figures."""
    found: Numbers = {}
    for name, values in per_user.items():
        before, metric, k = name.rpartition("precision@")
        if metric:
            each = float(np.nansum(values[users], dtype=np.float64))
            found[f"{before}hits@{k}"] = float(round(each * int(k)))
    return found


def _hits(found: Evaluation, thirds: NDArray[np.int8]) -> dict[Part, Numbers]:
    """Of everything, and of each third of the items and of the users [n] by `thirds`."""
    counts = {EVERYTHING: hits(found.per_user)}
    for third, per_user in found.by_item_third.items():
        counts["item", third] = hits(per_user)
    for number, third in enumerate(USER_THIRDS):
        counts["user", third] = hits(found.per_user, thirds == number)
    return counts


def _coverage(
    found: Evaluation, thirds: NDArray[np.int8], mesh: Mesh | None
) -> dict[Part, Numbers]:
    """Of everything, and of each third of the items and of the users [n] by `thirds`."""
    by_third = [found.listed(thirds == number) for number in range(len(USER_THIRDS))]
    if mesh is not None:
        own = np.stack([list(of.values()) for of in by_third]).astype(np.int8)
        anywhere = mesh.largest(own).astype(bool)
        by_third = [dict(zip(found.ks, of, strict=True)) for of in anywhere]
    listed = {k: np.any([of[k] for of in by_third], axis=0) for k in by_third[0]}
    coverage = {EVERYTHING: found.coverage(listed)}
    for number, third in enumerate(ITEM_THIRDS):
        coverage["item", third] = found.coverage(listed, number)
    for number, third in enumerate(USER_THIRDS):
        coverage["user", third] = found.coverage(by_third[number])
    return coverage


def _by_moments(
    evaluations: dict[str, Evaluation], thirds: NDArray[np.int8], mesh: Mesh | None
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
    sums = sums if mesh is None else mesh.summed(sums)
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
    for start in range(0, max(len(users), 1), BLOCK):
        of = users[start : start + BLOCK]
        values = [
            figures[of]
            for found in evaluations.values()
            for per_user in (found.per_user, *found.by_item_third.values())
            for figures in per_user.values()
        ]
        block, columns = np.stack(values, axis=1), len(values) // len(rows)
        if "pmf" in rows:
            pmf = rows.index("pmf") * columns
            lead = block - np.tile(block[:, pmf : pmf + columns], len(rows))
            block = np.concatenate([block, lead], axis=1)
        yield block


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
