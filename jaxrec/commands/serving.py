"""Serving: lists, what is similar, vectors; by a model or by an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jaxrec.commands.opening import budget_of, open_existing
from jaxrec.console import options as ask
from jaxrec.console.session import Session, on_run_folder, speaking
from jaxrec.hosts.joining import shared_by

if TYPE_CHECKING:
    from jaxrec.console.terminal import Terminal
    from jaxrec.experiment.folder import RunFolder
    from jaxrec.serving.lists import Told
    from jaxrec.serving.model import FittedModel, Wanted


@click.command()
@on_run_folder()
@ask.recommend_options
@ask.json_option("the list of one user")
@ask.memory_option
@shared_by("lists.for_everybody", "--all", "--out", "--model", "--row", "-k", "--only", "--memory")
def recommend(
    session: Session,
    model: Path | None,
    user: str | None,
    liked: tuple[str, ...],
    everyone: bool,
    k: int,
    row: str | None,
    out: Path | None,
    only: Path | None,
    exclude: Path | None,
    interactions: Path | None,
    segment: str | None,
    explain: bool,
    as_evaluated: bool,
    json_path: Path | None,
    memory: int | None,
) -> None:
    """Recommend items to a user, to somebody new, or to all: never one that the user has.

    Fusion and alpha of the published rows are those of the last `jaxrec eval`.
    """
    who = (user is not None) + everyone + bool(liked)
    if who != 1 and not (who == 0 and segment is not None):
        raise click.UsageError("give --user ID, --liked ITEM, or --all with --out FILE")
    if everyone != (out is not None):
        raise click.UsageError("--all and --out FILE go together")
    if explain and everyone:
        raise click.UsageError("--explain goes with one user, not with --all")
    if everyone and json_path is not None:
        raise click.UsageError("--json is of one user; with --all give --out FILE.jsonl")
    ask.refuse_of_other_source("--interactions", "--segment")
    from jaxrec.serving.additions import wishes, with_interactions

    terminal, budget = session.terminal, budget_of(memory)
    if model is None:
        opened = open_existing(session, budget)
        ids = opened.dataset.user_ids, opened.dataset.item_ids
        wanted, said = wishes(*ids, k, only, exclude, user)
        terminal.say(*said)
        if not liked:
            of_run = user, out, row, as_evaluated, explain, json_path
            _of_experiment(opened, wanted, terminal, *of_run)
            return
        served = _of_train(opened, row, liked)
    else:
        from jaxrec.serving.folder import read_model

        served = read_model(model)
        if interactions is not None:
            served, said = with_interactions(served, interactions)
            terminal.say(*said)
        wanted, said = wishes(served.user_ids, served.catalogue.ids, k, only, exclude, user)
        terminal.say(*said)
    from jaxrec.serving import lists

    if out is not None:
        tables = lists.for_everybody(served, wanted, budget.memory)
        told = lists.write_table(out, tables, served.card["data"]["name"])
        terminal.say(f"Recommended by {served.row}: {told} in {out}")
    elif user is not None:
        how = wanted, segment, budget.memory, explain
        _tell(lists.for_user(served, user, *how), terminal, json_path)
    elif liked:
        with_liked = liked, wanted, budget.memory, explain
        _tell(lists.for_somebody(served, *with_liked), terminal, json_path)
    else:
        how = wanted, segment, budget.memory, explain
        _tell(lists.for_stranger(served, "somebody new", *how), terminal, json_path)


def _tell(told: Told, terminal: Terminal, json_path: Path | None) -> None:
    from jaxrec.files import write_json

    terminal.result(*told.lines)
    if json_path is not None:
        write_json(json_path, told.json)


def _of_experiment(
    opened: RunFolder,
    wanted: Wanted,
    terminal: Terminal,
    user: str | None,
    out: Path | None,
    row: str | None,
    as_evaluated: bool,
    explain: bool,
    json_path: Path | None,
) -> None:
    """The lists of a row as it was measured, of one user or of all."""
    from jaxrec.serving import evaluated
    from jaxrec.serving.fit import row_to_ask
    from jaxrec.serving.lists import write_table

    how = wanted, row or row_to_ask(opened, known_alone=not explain), as_evaluated
    if out is None:
        _tell(evaluated.for_user(opened, str(user), *how, explain), terminal, json_path)
        return
    table, by = evaluated.in_table(opened, *how)
    terminal.say(f"{by} {write_table(out, [table], opened.dataset.name)} in {out}")


def _of_train(opened: RunFolder, row: str | None, items: tuple[str, ...]) -> FittedModel:
    """A row as an experiment measured it; the items that are asked for are looked up first."""
    from jaxrec.serving.fit import model_of_train, row_to_ask, servable

    for item in items:
        opened.dataset.catalogue.find(item)
    return model_of_train(opened, servable(opened, row or row_to_ask(opened)))


@click.command()
@on_run_folder()
@ask.fitted_option
@click.option("--item", required=True, help="Id or title.")
@ask.list_length
@ask.row_option
@ask.json_option("the lists")
@ask.memory_option
def similar(
    session: Session,
    model: Path | None,
    item: str,
    k: int,
    row: str | None,
    json_path: Path | None,
    memory: int | None,
) -> None:
    """List the items most like one, as each signal of a row and their texts see it."""
    ask.refuse_of_other_source()
    from jaxrec.serving.lists import similar_to

    if model is None:
        served = _of_train(open_existing(session, budget_of(memory)), row, (item,))
    else:
        from jaxrec.serving.folder import read_model

        served = read_model(model)
    _tell(similar_to(served, item, k), session.terminal, json_path)


@click.command()
@on_run_folder()
@ask.explain_options
def explain(
    session: Session,
    model: Path | None,
    user: str | None,
    liked: tuple[str, ...],
    item: str,
    k: int,
    row: str | None,
    interactions: Path | None,
    json_path: Path | None,
    memory: int | None,
) -> None:
    """Say what gives an item its score, and which of the user's items speak for it.

    The parts add up to the score that ranks. Of an experiment it is that of the lists that were
    measured, in which what was held out is unknown.
    """
    if (user is not None) == bool(liked):
        raise click.UsageError("give --user ID or --liked ITEM, one of the two")
    ask.refuse_of_other_source("--interactions")
    terminal = session.terminal
    if model is None:
        served = _of_train(open_existing(session, budget_of(memory)), row, (*liked, item))
    else:
        from jaxrec.serving.folder import read_model

        served = read_model(model)
        if interactions is not None:
            from jaxrec.serving.additions import with_interactions

            served, said = with_interactions(served, interactions)
            terminal.say(*said)
    from jaxrec.files import write_json
    from jaxrec.serving.lists import explained

    found, shown = explained(served, user, liked, item, k)
    terminal.result(*shown)
    if json_path is not None:
        write_json(json_path, found)


@click.command()
@ask.export_options
@speaking()
def export(terminal: Terminal, model: Path, to: Path, form: str) -> None:
    """Write the vectors of users and items of every row that is a product of two."""
    from jaxrec.serving.export import check_format, export_model
    from jaxrec.serving.folder import read_model

    check_format(form)
    terminal.say(*export_model(read_model(model), to, form))
