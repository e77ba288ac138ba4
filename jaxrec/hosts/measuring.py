"""The score card of several processes: each ranks for its own users, and sums are added up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.budget import Budget
from jaxrec.console.session import Session
from jaxrec.devices import added_up
from jaxrec.errors import InputError
from jaxrec.evaluation.card import ScoreCard, keep_replaced, write_card
from jaxrec.evaluation.measure import NOBODY, beyond_accuracy, evaluate, nobody
from jaxrec.evaluation.significance import MANY, how_sure, row_cards
from jaxrec.evaluation.task import Task, evaluation_task
from jaxrec.experiment.rows import pointless, rows_of
from jaxrec.experiment.scoring import Traits
from jaxrec.files import json_sha256
from jaxrec.hosts.fitting import FITTED, fit_missing, is_there, read_vectors, read_vectors_card
from jaxrec.hosts.launch import Place
from jaxrec.hosts.own import Own
from jaxrec.models.registry import MODELS
from jaxrec.report.tables import first_parts, further_parts
from jaxrec.topk.scorer import Product, product

POPULARITY = "popularity"
"""A sum over users, which needs no fit."""


def run(
    session: Session, place: Place, ks: tuple[int, ...], only: tuple[str, ...], **more: Any
) -> None:
    """What each of several processes does of `jaxrec run`: fit what is missing, and measure."""
    own = Own(session, place)
    rows = asked_rows(own, only)
    with own.writing(own.run.path):
        fit_missing(own, rows, session)
        measure(own, session, ks, rows, more["memory"], more["json_path"])


def evaluation(
    session: Session, place: Place, ks: tuple[int, ...], only: tuple[str, ...], **more: Any
) -> None:
    """What each of several processes does of `jaxrec eval`: measure what was fitted."""
    own = Own(session, place)
    rows = tuple(
        row for row in asked_rows(own, only) if only or row not in FITTED or is_there(own, row)
    )
    with own.writing(own.run.path):
        measure(own, session, ks, rows, more["memory"], more["json_path"])


def asked_rows(own: Own, only: tuple[str, ...]) -> tuple[str, ...]:
    """Those that were asked for; else all that several processes can make of these data.

    Raises:
        InputError: one was asked for that they cannot make.
    """
    possible = (POPULARITY, *FITTED)
    for row in only:
        if row not in possible:
            raise InputError(
                f"row {row} is not for several processes; there are {', '.join(possible)}"
            )
    if only:
        return tuple(row for row in possible if row in only)
    rows = [row for row in rows_of(own.run) if row.name in possible]
    return tuple(row.name for row in rows if pointless(own.run, row) is None)


def measure(
    own: Own,
    session: Session,
    ks: tuple[int, ...],
    rows: tuple[str, ...],
    memory: int | None,
    json_path: Path | None,
) -> None:
    """Measure rows, print the card and write it into the run folder."""
    card = score_card(own, tuple(sorted(set(ks))), rows, Budget.of(memory).memory)
    made = str(own.run.path), ("--data", str(session.data))
    whole = session.terminal.verbosity > 0
    session.terminal.result(*first_parts(card, *made, whole=whole, alone=False))
    session.terminal.result(*further_parts(card))
    if own.place.speaks:
        session.terminal.say(keep_replaced(own.run.results_path, card))
        write_card(own.run.results_path, card)
        if json_path is not None:
            write_card(json_path, card)
    session.terminal.say(f"written: {own.run.results_path}")


def score_card(own: Own, ks: tuple[int, ...], rows: tuple[str, ...], memory: int) -> ScoreCard:
    """Measure rows; the figures are those of all processes' users, alike in all processes.

    Raises:
        InputError: nobody can be evaluated, or vectors are missing.
    """
    task, traits = _task(own), Traits.of(own.run)
    found, beyond = {}, {}
    made_from: dict[str, str | None] = {}
    for row in rows:
        scorer, identity = scorer_of(own, row)
        made_from[row] = json_sha256(identity)
        some = bool(task.relevant.lengths.any())
        found[row] = evaluate(scorer, task, ks, memory) if some else nobody(task, ks)
        beyond[row] = beyond_accuracy(found[row], task, traits.E, traits.categories, own.mesh)
    labels = {row: MODELS[row].label for row in rows}
    cards = row_cards(found, labels, task.seen.lengths, own.mesh)
    cards = [replace(card, beyond_accuracy=beyond[card.name]) for card in cards]
    return ScoreCard(
        protocol=task.card | {"intervals": how_sure(max(MANY, task.card["users_evaluated"]))},
        rows=tuple(cards),
        made_from={"rows": made_from},
    )


def _task(own: Own) -> Task:
    """What each process is to rank, with counts of all of them."""
    task = evaluation_task(own.dataset, own.protocol)
    card: dict[str, Any] = {**task.card}
    for name in ("data_sha256", "split_sha256", "mended"):  # of a part
        card.pop(name, None)
    counted = ("train_interactions", "test_interactions", "users_evaluated", "users_excluded")
    card |= {
        name: int(count)
        for name, count in added_up({name: card[name] for name in counted}, own.mesh).items()
    }
    if not card["users_evaluated"]:
        raise InputError(NOBODY)
    card |= {"checksum": own.identity()["checksum"], "processes": own.place.processes}
    return task._replace(item_counts=own.mesh.summed(task.item_counts), card=card)


def scorer_of(own: Own, row: str) -> tuple[Product, dict[str, Any]]:
    """What scores for a process's own users, and what it was made from."""
    if row == POPULARITY:
        return popularity(own), own.identity()
    folder = own.run.path / "vectors"
    return product(*read_vectors(own, folder, row)), read_vectors_card(own, folder, row)


def popularity(own: Own, everything: bool = False) -> Product:
    """The most liked items of all processes' users."""
    liked = own.train(everything).liked(own.dataset.feedback)
    counts = own.mesh.summed(np.bincount(liked.items, minlength=own.dataset.items))
    return product(np.ones((own.dataset.users, 1)), counts[:, None].astype(np.float32))
