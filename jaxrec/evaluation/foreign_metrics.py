"""The metrics of other libraries, computed from our lists: the same names mean different things.

| library  | precision@K   | recall@K         | NDCG@K                | MAP@K over       |
|----------|---------------|------------------|-----------------------|------------------|
| ours     | hits / K      | hits / n         | ideal: min(K, n) hits | min(K, n)        |
| cornac   | hits / K      | hits / n         | ours                  | (no cut-off)     |
| implicit | pooled, below | (none)           | ours                  | min(K, n)        |
| lenskit  | hits / length | hits / min(K, n) | ranks 1 and 2 alike   | min(length, n)   |
| rectools | hits / K      | hits / n         | ideal: K hits         | n                |
| ranx     | hits / K      | hits / n         | ours                  | n                |

implicit's precision is the sum of all users' hits over the sum of their min(K, n).
n is the number of the user's relevant items, length that of the list where it has fewer than K.
Metrics that need the whole ranking (Cornac's MAP and MRR, AUC) cannot be had from lists.
"""

import numpy as np
from numpy.typing import NDArray

from jaxrec.evaluation.measure import Evaluation
from jaxrec.evaluation.task import Task

LIBRARIES = ("cornac", "implicit", "lenskit", "rectools", "ranx")
NAMES = {
    "rectools": ("Precision", "Recall", "NDCG", "MAP", "MRR", "HitRate"),
    "ranx": ("precision", "recall", "ndcg", "map", "mrr", "hit_rate"),
}
"""Two libraries that differ in their ideal and their spelling alone."""
BLOCK = 4096
"""Users at once."""


def metrics_as(library: str, found: Evaluation, task: Task, k: int) -> dict[str, float]:
    """Figures of the lists by the definitions of `library`, under its own names."""
    lists, relevant, items = found.lists[:, :k], task.relevant, len(task.catalogue)
    hits = np.empty(lists.shape, bool)
    for start in range(0, len(lists), BLOCK):
        mine, users = lists[start : start + BLOCK], found.users[start : start + BLOCK]
        place, item = relevant.pairs(users, int(relevant.lengths[users].sum()))
        wanted = place * np.int64(items) + item
        on_list = np.arange(len(mine))[:, None] * items + mine
        hits[start : start + BLOCK] = np.isin(on_list, wanted) & (mine >= 0)
    return metrics_of_hits(library, hits, relevant.lengths[found.users], lists >= 0, k)


def metrics_of_hits(
    library: str,
    hits: NDArray[np.bool_],
    relevant: NDArray[np.integer],
    there: NDArray[np.bool_],
    k: int,
) -> dict[str, float]:
    """The same from hits.

    Args:
        library: one of `LIBRARIES`.
        hits: [users, K] does the place hold a relevant item?
        relevant: [users] relevant items of each.
        there: [users, K] does the place hold an item?
        k: the cut-off.
    """
    ranks = np.arange(1, k + 1)
    count, n, length = hits.sum(axis=1), relevant, there.sum(axis=1)
    least = np.minimum(n, k)
    precision_sum = (hits * np.cumsum(hits, axis=1) / ranks).sum(axis=1)
    discounts = 1 / np.log2(np.maximum(ranks, 2) if library == "lenskit" else ranks + 1)
    ideal = np.cumsum(discounts)[k - 1 if library == "rectools" else least - 1]
    ndcg = ((hits @ discounts) / ideal).mean()
    reciprocal = (hits / ranks).max(axis=1).mean()
    hit = (count > 0).mean()
    figures: dict[str, float]
    if library == "cornac":
        precision, recall = count / k, count / n
        figures = {
            f"Precision@{k}": precision.mean(),
            f"Recall@{k}": recall.mean(),
            f"F1@{k}": _harmonic(precision, recall).mean(),
            f"NDCG@{k}": ndcg,
            f"HitRatio@{k}": hit,
        }
    elif library == "implicit":
        figures = {
            "precision": count.sum() / least.sum(),
            "map": (precision_sum / least).mean(),
            "ndcg": ndcg,
        }
    elif library == "lenskit":
        figures = {
            f"Precision@{k}": (count / np.maximum(length, 1)).mean(),
            f"Recall@{k}": (count / least).mean(),
            f"NDCG@{k}": ndcg,
            f"AveragePrecision@{k}": (precision_sum / np.minimum(n, length)).mean(),
            f"RecipRank@{k}": reciprocal,
            f"Hit@{k}": hit,
        }
    else:
        precision, recall, mean_ap = (x.mean() for x in (count / k, count / n, precision_sum / n))
        values = precision, recall, ndcg, mean_ap, reciprocal, hit
        figures = {f"{name}@{k}": value for name, value in zip(NAMES[library], values, strict=True)}
    return {name: float(value) for name, value in figures.items()}


def _harmonic(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.floating]:
    """Harmonic means; 0 of two zeros."""
    both = one + other
    return np.divide(2 * one * other, both, out=np.zeros(len(both)), where=both > 0)
