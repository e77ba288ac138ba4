"""Recommends to the users of an experiment by one row of its score card."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.errors import InputError
from jaxrec.evaluation.card import read_card
from jaxrec.evaluation.task import evaluation_task
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.rows import Row
from jaxrec.experiment.scoring import (
    PUBLISHED_FUSION,
    Fusion,
    lacking,
    results_are_stale,
    rows_of,
    scorer_of,
)
from jaxrec.topk.blocks import MEMORY
from jaxrec.topk.ranking import top_k

DEFAULT_ROW = "hybrid"


def recommend(
    run: RunFolder,
    users: NDArray[np.int32],
    k: int,
    row: str = DEFAULT_ROW,
    memory: int = MEMORY,
) -> tuple[NDArray[np.int32], NDArray[np.floating], dict[str, Any]]:
    """The `k` best unseen items of each user by one row of the score card.

    Args:
        run: has trained factors.
        users: [n] positions in `dataset.user_ids`.
        k: how many.
        row: a row of the score card. Fusion and alpha of the published rows are those of the last
            score card, or the published ones if there is none or it is stale.
        memory: bytes that the arrays of ranking may take.

    Returns:
        items: [n, k] positions in `dataset.item_ids`, -1 where nothing is left.
        scores: [n, k].
        how: the row, its fusion and alpha.

    Raises:
        InputError: the row cannot be made, a user has no train rating, or the last score card,
            whose fusion is asked for, is of another version.
    """
    (wanted,) = rows_of(run, (row,))
    needed = lacking(run, wanted)
    if needed is not None:
        raise InputError(f"row {row} needs something first: {needed}")
    task = evaluation_task(run.dataset, run.protocol)
    for user in users[task.seen.lengths[users] == 0]:
        raise InputError(
            f"user {run.dataset.user_ids[user]} has no train rating to recommend from; the"
            f" {run.protocol.name} split leaves users with few ratings out"
        )
    scorer, how = scorer_of(run, wanted, task, _last_fusion(run, wanted), memory)
    how.pop("settings", None)
    items, scores = top_k(scorer, users, task.seen, task.catalogue, k, memory)
    return items, scores, {"row": row} | how


def recommend_all(
    run: RunFolder, k: int, row: str = DEFAULT_ROW, memory: int = MEMORY
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The `k` best unseen items of every user with train ratings, and how (see `recommend`).

    Returns:
        A table of external `user_id`, `rank` from 1, `item_id`, `title` and `score`.
    """
    dataset = run.dataset
    known = np.unique(dataset.interactions.users[run.protocol.split.known])
    items, scores, how = recommend(run, known, k, row, memory)
    place, rank = np.nonzero(items >= 0)
    item = items[place, rank]
    table = pl.DataFrame(
        {
            "user_id": dataset.user_ids[known[place]],
            "rank": rank + 1,
            "item_id": dataset.item_ids[item],
            "title": [dataset.titles[position] for position in item],
            "score": scores[place, rank],
        }
    )
    return table, how


def _last_fusion(run: RunFolder, row: Row) -> Fusion:
    if row.embeddings is None or not run.results_path.exists():
        return PUBLISHED_FUSION
    measured = read_card(run.results_path).measured.get(row.name)
    if measured is None or measured.fusion is None or results_are_stale(run):
        return PUBLISHED_FUSION
    alpha = PUBLISHED_FUSION.alpha if measured.alpha is None else measured.alpha
    return Fusion(measured.fusion, alpha)
