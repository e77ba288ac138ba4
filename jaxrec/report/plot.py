"""Draws a score card: rows as grouped bars with intervals, and how the fusion was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np

from jaxrec.errors import InputError
from jaxrec.evaluation.card import FusionCard, ScoreCard
from jaxrec.files import whole_file
from jaxrec.report.drawing import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = {"precision": "P", "recall": "R", "ndcg": "NDCG"}


def plot_card(card: ScoreCard, k: int, path: Path) -> None:
    """Draw precision, recall and NDCG at `k` of every measured row into `path`.

    The format is that of the suffix; without one it is PNG.

    Whiskers are 95 % intervals over draws of users. Where there is a hybrid, a second panel has
    what each of its signals weighs, reaches alone and adds.

    Raises:
        InputError: the file's ending is not one that matplotlib can write.
    """
    matplotlib.use("Agg")
    from matplotlib import pyplot

    ratios = [max(6.0, 0.9 * len(card.measured))] + [4.0] * (card.hybrid is not None)
    figure, axes = pyplot.subplots(
        1,
        len(ratios),
        figsize=(sum(ratios), 4.5),
        width_ratios=ratios,
        squeeze=False,
        layout="constrained",
    )
    _bars(axes[0, 0], card, k)
    if card.hybrid is not None:
        _signals(axes[0, 1], card.hybrid)
    try:
        with whole_file(path) as partial:
            partial.write_bytes(drawn(figure, path.suffix[1:].lower() or "png", dpi=150))
    except ValueError as error:
        raise InputError(f"{path}: {str(error).splitlines()[0]}") from None
    finally:
        pyplot.close(figure)


def _bars(axes: Axes, card: ScoreCard, k: int) -> None:
    rows = card.measured
    place, width = np.arange(len(rows)), 0.8 / len(METRICS)
    for number, (metric, label) in enumerate(METRICS.items()):
        name = f"{metric}@{k}"
        height = np.array([row.figures.metrics[name] for row in rows.values()])
        interval = np.array([row.figures.ci95[name] for row in rows.values()]).T
        axes.bar(
            place + (number - 1) * width,
            height,
            width,
            yerr=np.abs(interval - height),
            capsize=2,
            label=f"{label}@{k}",
        )
    axes.set_xticks(place, list(rows), rotation=30, ha="right", parse_math=False)
    axes.legend()
    axes.set_title(card.title, parse_math=False)


def _signals(axes: Axes, hybrid: FusionCard) -> None:
    place = np.arange(len(hybrid.signals))
    axes.barh(place, [hybrid.weights[name] for name in hybrid.signals])
    axes.set_yticks(
        place,
        [f"{name}\n{hybrid.alone[name]:.4f}, {hybrid.adds[name]:+z.4f}" for name in hybrid.signals],
        parse_math=False,
    )
    axes.invert_yaxis()
    axes.set_xlabel("weight; validation NDCG@25 alone, and what it adds")
    axes.set_title(f"hybrid: {hybrid.winner}")
