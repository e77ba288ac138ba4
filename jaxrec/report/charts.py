"""The figures of a report: rows of a score card, drawn from above to below.

Each gives a `Chart`, or None where the card has nothing to draw.
"""

from collections.abc import Mapping, Sequence
from math import isnan, nan

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from jaxrec.evaluation.card import Comparison, Figures, FusionCard, Interval, ScoreCard, Summary
from jaxrec.report.drawing import COLOURS, INK, Chart, panels, styled
from jaxrec.report.plot import METRICS
from jaxrec.report.verdict import SURE

FAR = 0.5
"""What is further away than this share is told and not drawn, that the rest can be read."""
NEAR = 0.005
"""So far leads are drawn at the least, or an axis would tell ties apart."""
APART = 0.055
"""Of an axis' height between two labels."""


@styled
def bars(card: ScoreCard, k: int, prefix: str) -> Chart:
    """Precision, recall and NDCG of every row, with intervals over the users."""
    rows = {row.name: row.figures for row in card.measured.values()}
    figure, (axes,) = panels(0.9 + 0.42 * len(rows))
    place, width = np.arange(len(rows)), 0.8 / len(METRICS)
    for number, (metric, label) in enumerate(METRICS.items()):
        name = f"{metric}@{k}"
        axes.barh(
            place + (number - 1) * width,
            [of.metrics[name] for of in rows.values()],
            width,
            xerr=_whiskers([of.metrics[name] for of in rows.values()],
                           [of.ci95[name] for of in rows.values()]),
            color=COLOURS[number],
            ecolor=INK,
            error_kw={"elinewidth": 0.7},
            label=f"{label}@{k}",
        )  # fmt: skip
    _rows(axes, list(rows))
    axes.figure.legend(loc="outside upper left", ncols=len(METRICS))
    best = max(rows, key=lambda row: _or_least(rows[row].metrics[f"ndcg@{k}"]))
    says = f"Precision, recall and NDCG at {k} of {len(rows)} rows; the best NDCG has {best}"
    return Chart(f"{prefix}rows", f"Rows at {k}", says, figure)


@styled
def leads(
    against: Mapping[str, Mapping[str, Comparison]],
    means: Mapping[str, Mapping[str, float]],
    k: int,
    prefix: str,
) -> Chart | None:
    """By how much `hybrid` leads each row, as shares of the row's NDCG, with intervals.

    Args:
        against: by metric and row.
        means: by row and metric.
        k: cut-off.
        prefix: of the file's name.
    """
    name = f"ndcg@{k}"
    of = {row: found for row, found in against.get(name, {}).items() if means[row][name] > 0}
    if not of:
        return None
    lead = {row: found.difference / means[row][name] for row, found in of.items()}
    order = sorted(of, key=lambda row: lead[row])
    figure, (axes,) = panels(0.8 + 0.24 * len(of))
    for place, row in enumerate(order):
        colour = COLOURS[0] if of[row].p_holm < SURE else COLOURS[1]
        if abs(lead[row]) > FAR:
            axes.annotate(f"{lead[row]:+z.0%}", (1, place), xycoords=("axes fraction", "data"),
                          ha="right", va="center", color=INK)  # fmt: skip
            continue
        low, high = (bound / means[row][name] for bound in of[row].ci95)
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot(lead[row], place, "o", color=colour, markersize=5)
    axes.axvline(0, color=INK, linewidth=0.8)
    _rows(axes, order)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -NEAR), max(high, NEAR))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(f"lead of hybrid in NDCG@{k}")
    title = f"Leads of hybrid; blue: p after Holm is below {SURE}"
    sure = sum(found.p_holm < SURE for found in of.values())
    says = (
        f"hybrid over each of {len(of)} rows in NDCG at {k}: from {lead[order[0]]:+z.1%} over"
        f" {order[0]} to {lead[order[-1]]:+z.1%} over {order[-1]}; {sure} are significant"
    )
    return Chart(f"{prefix}leads", title, says, figure)


@styled
def alphas(card: ScoreCard, prefix: str) -> Chart | None:
    """What alpha was chosen by: validation NDCG@25 of the published fusions."""
    rows = {row.name: row for row in card.measured.values() if row.alpha_curve}
    if not rows:
        return None
    figure, (axes,) = panels(2.8)
    for number, row in enumerate(rows.values()):
        at, ndcg = np.array(row.alpha_curve).T
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(at, ndcg, ".-", color=colour, label=row.name)
        axes.plot(at[np.nanargmax(ndcg)], np.nanmax(ndcg), "o", color=colour)
    axes.set_xlabel("alpha, the weight of the collaborative branch")
    axes.set_ylabel("validation NDCG@25")
    axes.legend()
    chosen = ", ".join(f"{row.name} {row.alpha}" for row in rows.values())
    return Chart(f"{prefix}alpha", "Choice of alpha", f"Best alpha: {chosen}", figure)


@styled
def signals(hybrid: FusionCard, prefix: str) -> Chart:
    """Of each signal of `hybrid`: its weight, what it reaches alone and what it adds."""
    figure, each = panels(0.8 + 0.3 * len(hybrid.signals), 3, sharey=True)
    told = {"weight": hybrid.weights, "NDCG@25 alone": hybrid.alone, "adds": hybrid.adds}
    for number, (axes, (title, of)) in enumerate(zip(each, told.items(), strict=True)):
        heights = [of[signal] for signal in hybrid.signals]
        axes.barh(range(len(heights)), heights, 0.6, color=COLOURS[number])
        axes.set_title(title)
        axes.locator_params(axis="x", nbins=2)
    _rows(each[0], list(hybrid.signals))
    says = "; ".join(
        f"{name} weighs {hybrid.weights[name]:.2f}, reaches {hybrid.alone[name]:.4f} alone, adds"
        f" {hybrid.adds[name]:+z.4f}"
        for name in hybrid.signals
    )
    return Chart(f"{prefix}signals", "What hybrid is made of", says, figure)


@styled
def thirds(card: ScoreCard, of: str, k: int, prefix: str) -> Chart | None:
    """NDCG of every row on each third, with intervals, beside that of the reference.

    Args:
        card: the score card.
        of: `item` or `user`.
        k: cut-off.
        prefix: of the file's name.
    """
    kind = f"by_{of}_third"
    rows = {row.name: own for row in card.measured.values() if (own := getattr(row, kind))}
    if not rows:
        return None
    names, metric = list(next(iter(rows.values()))), f"ndcg@{k}"
    figure, each = panels(0.8 + 0.24 * len(rows), len(names), sharey=True)
    for axes, third in zip(each, names, strict=True):
        for place, (row, own) in enumerate(rows.items()):
            figures = own[third]
            p = (figures.p_vs_pmf or {}).get(metric, nan)
            colour = COLOURS[0] if row != card.reference else COLOURS[1]
            low, high = figures.ci95[metric]
            axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
            face = colour if p < SURE or row == card.reference else "none"
            axes.plot(figures.metrics[metric], place, "o", color=colour, markerfacecolor=face,
                      markersize=4.5)  # fmt: skip
        if card.reference in rows:
            base = rows[card.reference][third].metrics[metric]
            axes.axvline(base, color=COLOURS[1], linewidth=0.8, linestyle="--")
        axes.set_title(third)
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=3)
    _rows(each[0], list(rows))
    figure.supxlabel(f"NDCG@{k}; filled: p against pmf below {SURE}", fontsize=9)
    parts = {"item": "items by popularity", "user": "users by activity"}[of]
    return Chart(
        f"{prefix}{of}-thirds",
        f"By {parts}",
        f"NDCG at {k} of {len(rows)} rows on each third of the {parts}: {', '.join(names)}",
        figure,
    )


@styled
def trade_offs(card: ScoreCard, k: int, prefix: str) -> Chart | None:
    """NDCG against how novel the lists are, and how much of the catalogue they show."""
    ndcg = {row: of.figures.metrics[f"ndcg@{k}"] for row, of in card.measured.items()}
    best = max(map(_or_least, ndcg.values()))
    near = {row: of for row, of in card.measured.items() if ndcg[row] > (1 - FAR) * best}
    kinds = {"novelty": "novelty, bits", "coverage": "share of the catalogue that is listed"}
    drawn = dict[str, dict[str, tuple[float, float]]]()
    for kind in kinds:
        found = {
            row: (of.figures.metrics | of.beyond_accuracy).get(f"{kind}@{k}", nan)
            for row, of in near.items()
        }
        if points := {row: (at, ndcg[row]) for row, at in found.items() if not isnan(at)}:
            drawn[kind] = points
    if not drawn:
        return None
    figure, each = panels(3.2 * len(drawn), len(drawn), below=True)
    for axes, (kind, points) in zip(each, drawn.items(), strict=True):
        at = np.array(list(points.values()))
        axes.plot(*at.T, "o", color=COLOURS[0], markersize=4.5)
        _label(axes, list(points), at)
        axes.set_xlabel(kinds[kind])
        axes.set_ylabel(f"NDCG@{k}")
    far = [row for row in card.measured if row not in near]
    title = "Accuracy and what lies beyond"
    title += f" (too far below: {', '.join(far)})" if far else ""
    says = f"NDCG at {k} against {' and '.join(drawn)} of {len(near)} rows"
    return Chart(f"{prefix}beyond", title, says, figure)


@styled
def curve(
    name: str, title: str, series: Mapping[str, Sequence[float]], step: str, prefix: str
) -> Chart:
    """Figures of a training by its steps, a panel each; NaN is left out."""
    figure, each = panels(1.6 * len(series) + 0.4, len(series), below=True, sharex=True)
    for number, (axes, (label, values)) in enumerate(zip(each, series.items(), strict=True)):
        at = np.flatnonzero(~np.isnan(values))
        axes.plot(at, np.asarray(values)[at], ".-", color=COLOURS[number % len(COLOURS)])
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    each[-1].set_xlabel(step)
    ends = (f"{label} ends at {values[-1]:.6g}" for label, values in series.items())
    return Chart(f"{prefix}{name}", title, f"{title}: {', '.join(ends)}", figure)


@styled
def side_by_side(figures: Mapping[str, Mapping[str, Figures]], k: int) -> Chart:
    """NDCG of the rows of several run folders, by folder and row, with intervals."""
    metric, rows = f"ndcg@{k}", list(dict.fromkeys(row for of in figures.values() for row in of))
    width = 0.8 / len(figures)
    figure, (axes,) = panels(0.9 + (0.12 + 0.12 * len(figures)) * len(rows))
    for number, (run, of) in enumerate(figures.items()):
        known = {row: own for row, own in of.items() if metric in own.metrics}
        place = np.array([rows.index(row) for row in known]) + (number + 0.5) * width - 0.4
        values = [own.metrics[metric] for own in known.values()]
        whiskers = _whiskers(values, [own.ci95[metric] for own in known.values()])
        axes.barh(place, values, width, xerr=whiskers, color=COLOURS[number % len(COLOURS)],
                  ecolor=INK, error_kw={"elinewidth": 0.7}, label=run)  # fmt: skip
    _rows(axes, rows)
    axes.set_xlabel(f"NDCG@{k}")
    axes.figure.legend(loc="outside upper left", ncols=1)
    return Chart("side-by-side", "Side by side", f"NDCG at {k} of {', '.join(figures)}", figure)


@styled
def means(summary: Summary, k: int) -> Chart:
    """Mean NDCG of the rows of a study with intervals, and the figure of each run folder."""
    metric, rows = f"ndcg@{k}", summary.rows
    figure, (axes,) = panels(0.8 + 0.26 * len(rows))
    values = [of[metric].mean for of in rows.values()]
    whiskers = _whiskers(values, [of[metric].ci95 for of in rows.values()])
    axes.barh(range(len(rows)), values, 0.6, xerr=whiskers, color=COLOURS[0], ecolor=INK,
              error_kw={"elinewidth": 0.8})  # fmt: skip
    for place, of in enumerate(rows.values()):
        axes.plot(of[metric].by_run, [place] * len(of[metric].by_run), "|", color=COLOURS[1])
    _rows(axes, list(rows))
    axes.set_xlabel(f"mean NDCG@{k}; ticks: each run folder")
    says = f"Mean NDCG at {k} of {len(rows)} rows over {len(summary.runs)} run folders"
    return Chart("study", "Means over the study", says, figure)


def _or_least(value: float) -> float:
    return -1.0 if isnan(value) else value


def _whiskers(values: Sequence[float], intervals: Sequence[Interval]) -> np.ndarray:
    """[2, n] how far intervals reach to either side."""
    return np.abs(np.array(intervals).reshape(-1, 2).T - np.array(values))


def _rows(axes: Axes, names: list[str]) -> None:
    """Rows from above to below, by their names."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _label(axes: Axes, names: list[str], at: np.ndarray) -> None:
    """Names to the right of points [n, 2], by height, pushed apart until none lies on another."""
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.6 * (high - low))
    low, high = axes.get_ylim()
    heights = (np.sort(at[:, 1]) - low) / (high - low)
    for place in range(1, len(heights)):
        heights[place] = max(heights[place], heights[place - 1] + APART)
    heights[-1] = min(heights[-1], 1)
    for place in range(len(heights) - 2, -1, -1):
        heights[place] = min(heights[place], heights[place + 1] - APART)
    for point, height in zip(np.argsort(at[:, 1], kind="stable"), heights, strict=True):
        axes.annotate(names[point], at[point], (0.68, height), textcoords="axes fraction",
                      va="center", arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.3},
                      fontsize=9)  # fmt: skip
