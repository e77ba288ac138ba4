"""Opens the run folder that a command is about, and holds what it writes into."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxrec.console.session import Session
from jaxrec.locks import held, of_run

if TYPE_CHECKING:
    from jaxrec.budget import Budget
    from jaxrec.experiment.folder import RunFolder


def open_existing(session: Session, budget: Budget | None = None) -> RunFolder:
    """Open a run folder that is there, or of data that are named, to read what it holds."""
    from jaxrec.experiment.folder import check_run

    if session.data is None:
        check_run(session.path)
    return _open(session, session.path, budget)


def hold(lock: Path, folder: Path) -> None:
    """`held` until the command ends; once, however often the command asks.

    Of processes that share a command the first holds it for all.
    """
    context = click.get_current_context()
    own: set[Path] = context.meta.setdefault("jaxrec.locks", set())
    if lock not in own and os.environ.get("RANK", "0") == "0":
        context.with_resource(held(lock, folder))
        own.add(lock)


def budget_of(mebibytes: int | None, minutes: float | None = None) -> Budget:
    """What the options allow, from now on."""
    from jaxrec.budget import Budget

    return Budget.of(mebibytes, minutes)


def open_run_of(
    session: Session, path: Path | None = None, budget: Budget | None = None, **asked: Any
) -> RunFolder:
    """Open or make the run folder, to write into it.

    In `path`, if it is given, data that nobody has named are made up.
    """
    place = path or session.path
    hold(of_run(place), place)
    return _open(session, place, budget, made_up=path is not None, **asked)


def _open(
    session: Session,
    place: Path,
    budget: Budget | None,
    made_up: bool = False,
    **asked: Any,
) -> RunFolder:
    from jaxrec.experiment.folder import open_run
    from jaxrec.sources.library import SYNTHETIC, AbsentError

    terminal = session.terminal
    asked = {"protocol": session.protocol, "seed": session.seed, "say": terminal.say} | asked
    asked |= {"strict": session.strict, "progress": terminal.verbosity >= 0, "core": session.core}
    try:
        with terminal.reading() as on_bytes:
            opened = open_run(place, session.data, on_bytes=on_bytes, **asked)
    except AbsentError as error:
        if not made_up or session.data is not None or (place / "experiment.json").exists():
            raise
        terminal.warn(str(error), "Going on with SYNTHETIC data made by jaxrec.")
        opened = open_run(place, SYNTHETIC, **asked)
    terminal.say(opened.title)
    if budget is not None:
        opened = replace(opened, budget=budget)
    terminal.detail(f"data from {opened.dataset.source}, SHA-256 {opened.dataset.sha256}")
    return opened
