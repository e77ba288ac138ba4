"""How sure the figures are: users are drawn anew, with replacement (bootstrap)."""

import warnings

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
    boot = bootstrap_means(columns)
    low, high = interval(boot)
    corrected = holm(dict(zip(others, p_value(boot).tolist(), strict=True)))
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

    Intervals and p against row `pmf` are by bootstrap over users, with the same draws for all.

    Args:
        evaluations: by the rows' names, of one task.
        labels: of the rows, by name.
        known: [users] interactions known of each user.
    """
    figures = _figures({row: _parts(found, known) for row, found in evaluations.items()})
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


def _parts(found: Evaluation, known: NDArray[np.integer]) -> dict[Part, tuple[PerUser, Numbers]]:
    """Users' figures and coverage: of everything, and of each third of the items and the users."""
    parts = {EVERYTHING: (found.per_user, found.coverage())}
    for number, third in enumerate(ITEM_THIRDS):
        coverage = found.coverage(of=found.item_thirds == number)
        parts["item", third] = found.by_item_third[third], coverage
    of = user_thirds(known[found.users])
    for number, third in enumerate(USER_THIRDS):
        per_user = {
            name: np.where(of == number, values, np.nan).astype(np.float32)
            for name, values in found.per_user.items()
        }
        parts["user", third] = per_user, found.coverage(users=of == number)
    return parts


def _figures(
    rows: dict[str, dict[Part, tuple[PerUser, Numbers]]],
) -> dict[str, dict[Part, Figures]]:
    """Means, intervals and p of every part of every row."""
    values = {
        (row, part, name): users
        for row, parts in rows.items()
        for part, (per_user, _) in parts.items()
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
                metrics=means(per_user) | coverage,
                ci95={name: tuple(ci95[row, part, name]) for name in per_user},
                p_vs_pmf={name: p[row, part, name] for name in per_user} if p else None,
            )
            for part, (per_user, coverage) in parts.items()
        }
        for row, parts in rows.items()
    }


def _gains(metrics: Numbers, over: Numbers) -> Numbers:
    """Relative; of metrics in which there is something to gain over."""
    return {name: value / over[name] - 1 for name, value in metrics.items() if over[name] > 0}
