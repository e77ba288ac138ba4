"""Recommends to the users of an experiment, by a row of its score card."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.errors import InputError
from jaxrec.evaluation.card import read_card
from jaxrec.evaluation.task import evaluation_task
from jaxrec.experiment.choices import measured_fusion
from jaxrec.experiment.fitting import refresh_pmf
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.rows import Row, lacking, rows_of
from jaxrec.experiment.scoring import PUBLISHED_FUSION, Fusion, made_from, scorer_of
from jaxrec.explanation.words import in_short
from jaxrec.serving.fit import model_of_train, servable
from jaxrec.serving.lists import Told, as_table, in_lines, latest, places
from jaxrec.serving.model import Lists, Wanted, ranked_by
from jaxrec.serving.strangers import of_strangers
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.scorer import AnyScorer


def of_run(
    run: RunFolder,
    users: NDArray[np.int32],
    wanted: Wanted,
    row: str,
    as_evaluated: bool = False,
) -> tuple[Lists, dict[str, Any]]:
    """The best items for users of an experiment, by a row as it was measured.

    Args:
        run: has what the row needs.
        users: [n] positions in `dataset.user_ids`.
        wanted: how many, and of what.
        row: a row of the score card. Fusion and alpha of the published rows are those of the last
            score card, or the published ones if there is none or it is stale.
        as_evaluated: give the lists that were measured, held-out items included; else an item that
            a user has interacted with is not named, held out or not.

    Returns:
        The lists, and how they were made: the row, its fusion and alpha.

    Raises:
        InputError: the row cannot be made, or the last score card, whose fusion is asked for, is
            of another version; `as_evaluated`, and nothing is known of a user.
    """
    (of_card,) = rows_of(run, (row,))
    needed = lacking(run, of_card)
    if needed is not None:
        raise InputError(f"row {row} is absent: {needed}")
    if of_card.factors == "pmf":
        refresh_pmf(run)
    task, dataset = evaluation_task(run.dataset, run.protocol), run.dataset
    strange = task.seen.lengths[users] == 0
    for user in users[strange & as_evaluated]:
        raise InputError(
            f"user {dataset.user_ids[user]} has no train interaction and was not evaluated; the"
            f" {run.protocol.name} split leaves users with few of them out"
        )
    scorer, how = scorer_of(run, of_card, task, _last_fusion(run, of_card), measured_fusion)
    how.pop("settings", None)
    split = run.protocol.split
    rated = dataset.interactions
    rated = rated.at(split.known) if as_evaluated else rated
    seen = ItemSets.of(rated, dataset.users)

    def of_nobody() -> AnyScorer:
        chosen = of_strangers(dataset, split.train, split.train, run.protocol.seed)
        how["strangers"] = chosen.in_words(None)
        return chosen.scorer(dataset.users, None)

    ranked = [(~strange, lambda: scorer), (strange, of_nobody)]
    how_ranked = users, wanted, users, seen, task.catalogue, task.tie_order, run.budget.memory
    found = ranked_by(ranked, *how_ranked)
    return Lists(*found, strange), {"row": row} | how


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


def in_words(how: dict[str, Any]) -> str:
    """By what was recommended."""
    settings = [f"{name} {how[name]}" for name in ("fusion", "alpha") if name in how]
    return f"Recommended by {', '.join([how['row'], *settings])}:"


def for_user(
    run: RunFolder,
    user: str,
    wanted: Wanted,
    row: str,
    as_evaluated: bool = False,
    explain: bool = False,
) -> Told:
    """`of_run` for one: a user's latest train interactions, then what is recommended, and why.

    Raises:
        InputError: see `of_run`; to `explain`, see `servable`.
    """
    dataset = run.dataset
    (position,) = positions = dataset.user_ids.positions([user])
    of_row = servable(run, row) if explain else None
    found, how = of_run(run, positions, wanted, row, as_evaluated)
    listed, why = found.items[0][found.items[0] >= 0], list[str]()
    if of_row is not None and len(listed):
        model = model_of_train(run, of_row)
        strange = bool(found.strange[0])
        explanations = model.explain(model.asking(positions), listed, strange=strange)
        why = [in_short(model.catalogue, explanation) for explanation in explanations]
    known = dataset.interactions.at(run.protocol.split.known)
    own = known.at(np.flatnonzero(known.users == position))
    told = in_words(how)
    if found.strange[0]:
        told = f"Nothing of user {user} is in the train part: {how['strangers']}:"
    lines = [
        *(["SYNTHETIC DATA made by jaxrec"] if dataset.synthetic else []),
        f"User {user}, latest interactions:",
        *latest(dataset.catalogue, dataset.feedback, own),
        told,
        *in_lines(dataset.catalogue, found.items[0], found.scores[0], why),
    ]
    of_stranger = {"stranger": bool(found.strange[0])}
    served = {"user": user} | how | of_stranger
    return Told(lines, served | {"items": places(dataset.catalogue, found)})


def in_table(
    run: RunFolder,
    wanted: Wanted,
    row: str,
    as_evaluated: bool = False,
) -> tuple[pl.DataFrame, str]:
    """`of_run` of every user, or of those evaluated, as a table; and in words by what."""
    users = run.dataset.interactions.users
    known = np.unique(users[run.protocol.split.known] if as_evaluated else users)
    found, how = of_run(run, known, wanted, row, as_evaluated)
    return as_table(run.dataset.catalogue, run.dataset.user_ids[known], found), in_words(how)
