"""Draws a score card: rows as grouped bars with intervals, and how the fusion was chosen."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from jaxrec.errors import InputError

METRICS = {"precision": "P", "recall": "R", "ndcg": "NDCG"}


def plot_card(results: dict[str, Any], k: int, path: Path) -> None:
    """Draw precision, recall and NDCG at `k` of every measured row into `path`.

    Whiskers are 95 % intervals by bootstrap over users. Where there is a hybrid, a second panel has
    its NDCG@25 on validation over alpha.

    Raises:
        InputError: the file's ending is not one that matplotlib can write.
    """
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in results["rows"] if "metrics" in row]
    curve = results.get("hybrid", {}).get("alpha_curve")
    ratios = [max(6.0, 0.9 * len(rows)), 4.0] if curve else [max(6.0, 0.9 * len(rows))]
    figure, axes = pyplot.subplots(
        1,
        len(ratios),
        figsize=(sum(ratios), 4.5),
        width_ratios=ratios,
        squeeze=False,
        layout="constrained",
    )
    bars, place = axes[0, 0], np.arange(len(rows))
    width = 0.8 / len(METRICS)
    for number, (metric, label) in enumerate(METRICS.items()):
        name = f"{metric}@{k}"
        height = np.array([row["metrics"][name] for row in rows])
        interval = np.array([row["ci95"][name] for row in rows]).T
        bars.bar(
            place + (number - 1) * width,
            height,
            width,
            yerr=np.abs(interval - height),
            capsize=2,
            label=f"{label}@{k}",
        )
    bars.set_xticks(place, [row["name"] for row in rows], rotation=30, ha="right")
    bars.legend()
    card = results["protocol"]
    synthetic = " (SYNTHETIC DATA)" if card["synthetic"] else ""
    bars.set_title(f"{card['data']}{synthetic}, protocol {card['protocol']}, seed {card['seed']}")
    if curve:
        alpha, ndcg = zip(*curve, strict=True)
        chosen = results["hybrid"]
        axes[0, 1].plot(alpha, ndcg, marker=".")
        axes[0, 1].axvline(chosen["alpha"], linestyle=":")
        axes[0, 1].set_title(f"validation NDCG@25 (winner: {chosen['winner']})")
        axes[0, 1].set_xlabel(f"alpha, weight of {chosen['signals'][0]}")
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:
        raise InputError(f"{path}: {str(error).splitlines()[0]}") from None
    finally:
        pyplot.close(figure)
