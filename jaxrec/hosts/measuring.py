"""The score card of several processes: each ranks for its own users, and sums are added up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxrec.budget import Budget
from jaxrec.console.session import Session
from jaxrec.devices import added_up
from jaxrec.errors import InputError, grouped
from jaxrec.evaluation.card import AbsentRow, FusionCard, ScoreCard, keep_replaced, write_card
from jaxrec.evaluation.measure import NOBODY, Evaluation, beyond_accuracy, evaluate, nobody
from jaxrec.evaluation.significance import MANY, how_sure, row_cards
from jaxrec.evaluation.task import Task, evaluation_task
from jaxrec.experiment.rows import rows_of
from jaxrec.experiment.scoring import Traits, fusion_card
from jaxrec.files import json_sha256
from jaxrec.hosts.fitting import FITTED, POPULARITY, fit_missing, is_there, possible_rows
from jaxrec.hosts.fusing import HYBRID, is_kept, is_learned, learn, read_fusion, scorer_of
from jaxrec.hosts.launch import Place
from jaxrec.hosts.own import Own
from jaxrec.report.tables import first_parts, further_parts


def run(
    session: Session, place: Place, ks: tuple[int, ...], only: tuple[str, ...], **more: Any
) -> None:
    """What each of several processes does of `jaxrec run`: fit what is missing, and measure."""
    own = Own(session, place)
    rows, absent = asked_rows(own, only), dict[str, str]()
    with own.writing(own.run.path):
        fit_missing(own, possible_rows(own) if HYBRID in rows else rows, session)
        if HYBRID in rows:
            why = learn(own, session, Budget.of(more["memory"]).memory)
            absent |= {} if why is None else {HYBRID: why}
        rows = tuple(row for row in rows if row not in absent)
        measure(own, session, ks, rows, more["memory"], more["json_path"], absent)


def evaluation(
    session: Session, place: Place, ks: tuple[int, ...], only: tuple[str, ...], **more: Any
) -> None:
    """What each of several processes does of `jaxrec eval`: measure what was fitted."""
    own = Own(session, place)
    rows, absent = asked_rows(own, only), dict[str, str]()
    if not only:
        there = {row: is_there(own, row) for row in FITTED} | {HYBRID: is_learned(own)}
        rows = tuple(row for row in rows if there.get(row, True))
        if HYBRID not in rows and is_kept(own):
            absent[HYBRID] = "learned of other vectors; `jaxrec run` learns it anew"
    with own.writing(own.run.path):
        measure(own, session, ks, rows, more["memory"], more["json_path"], absent)


def asked_rows(own: Own, only: tuple[str, ...]) -> tuple[str, ...]:
    """Those that were asked for; else all that several processes can make of these data.

    Raises:
        InputError: one was asked for that they cannot make.
    """
    possible = (POPULARITY, *FITTED, HYBRID)
    for row in only:
        if row not in possible:
            raise InputError(
                f"row {row} is not for several processes; there are {', '.join(possible)}"
            )
    if only:
        return tuple(row for row in possible if row in only)
    return *possible_rows(own), HYBRID


def measure(
    own: Own,
    session: Session,
    ks: tuple[int, ...],
    rows: tuple[str, ...],
    memory: int | None,
    json_path: Path | None,
    absent: dict[str, str],
) -> None:
    """Measure rows, print the card and write it, with why others are `absent`."""
    card = score_card(own, tuple(sorted(set(ks))), rows, Budget.of(memory).memory, absent)
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


def score_card(
    own: Own, ks: tuple[int, ...], rows: tuple[str, ...], memory: int, absent: dict[str, str]
) -> ScoreCard:
    """Measure rows; the figures are those of all processes' users, alike in all processes.

    Args:
        own: a process's part.
        ks: cut-offs.
        rows: by name.
        memory: bytes that the arrays of a block of users may take.
        absent: by name of others, why they are not measured.

    Raises:
        InputError: nobody can be evaluated, there is nothing to measure, or vectors are missing.
    """
    task, traits = _task(own), Traits.of(own.run)
    found, beyond = {}, {}
    made_from: dict[str, str | None] = {}
    if not rows:
        raise InputError(f"nothing can be measured ({grouped(absent)})")
    for row in rows:
        scorer, identity = scorer_of(own, row, own.run.path / "vectors")
        made_from[row] = json_sha256(identity)
        some = bool(task.relevant.lengths.any())
        found[row] = evaluate(scorer, task, ks, memory) if some else nobody(task, ks)
        beyond[row] = beyond_accuracy(found[row], task, traits.E, traits.categories, own.mesh)
    labels = {row.name: row.label for row in rows_of(own.run, (*rows, *absent))}
    cards = row_cards(found, labels, task.seen.lengths, own.mesh)
    cards = [replace(card, beyond_accuracy=beyond[card.name]) for card in cards]
    lacking = [AbsentRow(row, labels[row], why) for row, why in absent.items()]
    return ScoreCard(
        protocol=task.card | {"intervals": how_sure(max(MANY, task.card["users_evaluated"]))},
        rows=(*cards, *lacking),
        made_from={"rows": made_from},
        hybrid=_hybrid(own, found) if HYBRID in found else None,
    )


def _hybrid(own: Own, found: dict[str, Evaluation]) -> FusionCard:
    """How the fusion was chosen, and how it stands."""
    fusion = read_fusion(own, own.run.path / "vectors")
    return fusion_card(fusion.learned, fusion.signals, found, own.mesh)


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
    card["cores"] = f"{own.mesh.size} devices; with another number of them last digits differ"
    return task._replace(item_counts=own.mesh.summed(task.item_counts), card=card)
