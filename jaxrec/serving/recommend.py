"""Recommendations: for a user, for somebody new, for all; and what is similar."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset, Ratings
from jaxrec.errors import InputError
from jaxrec.evaluation.card import read_card
from jaxrec.evaluation.protocol import evaluation_task
from jaxrec.experiment.fitting import content_name, fitted_factors, settings_of
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.pmf_rows import settings_on
from jaxrec.experiment.rows import Row
from jaxrec.experiment.scoring import PUBLISHED_FUSION, Fusion, lacking, rows_of, scorer_of
from jaxrec.fusion.published import mf_scorer
from jaxrec.models.registry import pmf_settings
from jaxrec.pmf.factors import Factors
from jaxrec.pmf.fit import fold_in
from jaxrec.topk.item_sets import Rows
from jaxrec.topk.ranking import MEMORY, top_k

DEFAULT_ROW = "hybrid"

COLD_ROW = "pmf+text"
"""Into whose factors somebody new is folded."""

SHOWN = 10
"""Items that an ambiguous title lists."""


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
    known = np.unique(dataset.ratings.users[run.protocol.split.known])
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
    if measured is None or measured.fusion is None or run.results_are_stale():
        return PUBLISHED_FUSION
    alpha = PUBLISHED_FUSION.alpha if measured.alpha is None else measured.alpha
    return Fusion(measured.fusion, alpha)


def recommend_liked(
    run: RunFolder, liked: list[int], k: int, row: str = COLD_ROW, memory: int = MEMORY
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """The `k` best other items for somebody who likes the items `liked`.

    The user is folded into the factors of `row` (`pmf+text` or `pmf`) in closed form, five stars
    for each item.

    Returns:
        items: [k] positions in `dataset.item_ids`, -1 where nothing is left.
        scores: [k].
    """
    ratings = _ratings_of_one(liked)
    if row not in ("pmf", COLD_ROW):
        raise InputError(f"only rows pmf and {COLD_ROW} know new users, not {row}")
    if row == "pmf":
        factors, card = run.read_factors("pmf")
        settings = settings_on(card)
    else:
        factors, settings = fitted_factors(run, row), pmf_settings(settings_of(run, row))
    if settings.biases or settings.likelihood == "logistic":
        raise InputError("fold-in takes factors without biases; run `jaxrec train-pmf`")
    task = evaluation_task(run.dataset, run.protocol)
    U = fold_in(ratings, 1, factors, settings, paired=task.item_counts > 0)
    scorer = mf_scorer(Factors(U, factors.V))
    nobody = np.zeros(1, np.int32)
    items, scores = top_k(scorer, nobody, Rows.of(ratings, 1), task.catalogue, k, memory)
    return items[0], scores[0]


def similar(
    run: RunFolder, item: int, k: int, memory: int = MEMORY
) -> dict[str, tuple[NDArray[np.int32], NDArray[np.floating]]]:
    """The `k` items nearest to one by cosine, in the space of factors and in that of texts.

    Returns:
        By space, `factors` (of `pmf+text`) and, if there are embeddings, `text`: items [k] and
        cosines [k].
    """
    spaces = {"factors": fitted_factors(run, COLD_ROW).V}
    name = content_name(run)
    if name is not None:
        spaces["text"] = run.read_embeddings(name, "honest").E
    others, everything = _ratings_of_one([item]), np.ones(run.dataset.items, bool)
    nearest = {}
    for space, vectors in spaces.items():
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
        scorer = mf_scorer(Factors(unit[[item]], unit))
        found = top_k(scorer, np.zeros(1, np.int32), Rows.of(others, 1), everything, k, memory)
        nearest[space] = found[0][0], found[1][0]
    return nearest


def find_item(dataset: Dataset, asked: str) -> int:
    """Position of the item with an id, a title or a part of a title, case aside.

    Raises:
        InputError: there is none, or there are several; their ids are listed.
    """
    if asked.isdecimal():
        found = np.flatnonzero(dataset.item_ids == int(asked))
        if len(found):
            return int(found[0])
    titles = [title.casefold() for title in dataset.titles]
    wanted = asked.casefold()
    matches = [item for item, title in enumerate(titles) if title == wanted]
    matches = matches or [item for item, title in enumerate(titles) if wanted in title]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise InputError(f"no item {asked!r} in {dataset.name}; give an id or a part of a title")
    shown = [f"{dataset.item_ids[item]} {dataset.titles[item]}" for item in matches[:SHOWN]]
    more = f" and {len(matches) - SHOWN} more" if len(matches) > SHOWN else ""
    raise InputError(f"{asked!r} is ambiguous, give an id: {'; '.join(shown)}{more}")


def _ratings_of_one(items: list[int]) -> Ratings:
    """Five stars each, of a user numbered 0."""
    distinct = np.unique(np.array(items, np.int32))
    n = len(distinct)
    return Ratings(np.zeros(n, np.int32), distinct, np.full(n, 5.0), np.zeros(n, np.int64))
