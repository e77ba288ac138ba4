"""Recommends to the users of an experiment by one row of its score card."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.errors import InputError
from jaxrec.evaluation.card import read_card
from jaxrec.evaluation.task import evaluation_task
from jaxrec.experiment.fitting import refresh_pmf
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.rows import Row, lacking, rows_of
from jaxrec.experiment.scoring import (
    PUBLISHED_FUSION,
    Fusion,
    made_from,
    scorer_of,
)
from jaxrec.files import whole_file
from jaxrec.topk.blocks import MEMORY
from jaxrec.topk.ranking import top_k

DEFAULT_ROW = "hybrid"
LATEST = 5
"""Interactions shown beside a recommendation."""


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
        InputError: the row cannot be made, a user has no train interaction, or the last score card,
            whose fusion is asked for, is of another version.
    """
    (wanted,) = rows_of(run, (row,))
    needed = lacking(run, wanted)
    if needed is not None:
        raise InputError(f"row {row} is absent: {needed}")
    if wanted.factors == "pmf":
        refresh_pmf(run)
    task = evaluation_task(run.dataset, run.protocol)
    for user in users[task.seen.lengths[users] == 0]:
        raise InputError(
            f"user {run.dataset.user_ids[user]} has no train interaction to recommend from; the"
            f" {run.protocol.name} split leaves users with few of them out"
        )
    scorer, how = scorer_of(run, wanted, task, _last_fusion(run, wanted), memory)
    how.pop("settings", None)
    items, scores = top_k(scorer, users, task.seen, task.catalogue, k, memory, task.tie_order)
    return items, scores, {"row": row} | how


def recommend_all(
    run: RunFolder, k: int, row: str = DEFAULT_ROW, memory: int = MEMORY
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The `k` best unseen items of every user with train interactions, and how (see `recommend`).

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
    if measured is None or measured.fusion is None:
        return PUBLISHED_FUSION
    used = read_card(run.results_path).made_from.get("rows", {}).get(row.name)
    if used != made_from(run, [row])["rows"][row.name]:
        return PUBLISHED_FUSION
    alpha = PUBLISHED_FUSION.alpha if measured.alpha is None else measured.alpha
    return Fusion(measured.fusion, alpha)


def list_for_user(
    run: RunFolder, user: str, k: int, row: str = DEFAULT_ROW, memory: int = MEMORY
) -> list[str]:
    """`recommend` in lines: a user's latest interactions, then what is recommended."""
    dataset = run.dataset
    (position,) = positions = dataset.user_ids.positions([user])
    items, scores, how = recommend(run, positions, k, row, memory)
    known = dataset.interactions.at(run.protocol.split.known)
    own = known.at(np.flatnonzero(known.users == position))
    when = np.arange(len(own.users)) if own.times is None else own.times
    latest = np.argsort(-when, kind="stable")[:LATEST]
    return [
        *made_up(run),
        f"User {user}, latest interactions:",
        *(
            f"  {dataset.feedback.written(own.values[at])}"
            f"  {dataset.catalogue.called(own.items[at])}"
            for at in latest
        ),
        in_words(how),
        *ranked(run, items[0], scores[0]),
    ]


def write_all(
    run: RunFolder, out: Path, k: int, row: str = DEFAULT_ROW, memory: int = MEMORY
) -> list[str]:
    """Write `recommend_all` to a Parquet file; returns lines that say what was written."""
    table, how = recommend_all(run, k, row, memory)
    with whole_file(out) as partial:
        table.write_parquet(partial, metadata={"data": run.dataset.name})
    served, users = table["user_id"].n_unique(), run.dataset.users
    lines = [f"{in_words(how)} {len(table):,} rows for {served:,} users in {out}"]
    if served < users:
        lines.append(f"{users - served:,} users without train interactions are left out")
    return lines


def ranked(run: RunFolder, items: NDArray[np.int32], scores: NDArray[np.floating]) -> list[str]:
    """A list in lines: rank, score, title."""
    places = enumerate(zip(items, scores, strict=True), start=1)
    return [
        f"{rank:>4}  {score:8.4f}  {run.dataset.catalogue.called(item)}"
        for rank, (item, score) in places
        if item >= 0
    ]


def made_up(run: RunFolder) -> list[str]:
    """A line that says so, if the data were made."""
    return ["SYNTHETIC DATA made by jaxrec"] if run.dataset.synthetic else []


def in_words(how: dict[str, Any]) -> str:
    """By what was recommended."""
    settings = [f"{name} {how[name]}" for name in ("fusion", "alpha") if name in how]
    return f"Recommended by {', '.join([how['row'], *settings])}:"
