"""Opens the run folder that a command is about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrec.console.session import Session

if TYPE_CHECKING:
    from jaxrec.budget import Budget
    from jaxrec.experiment.folder import RunFolder


def open_existing(session: Session, budget: Budget | None = None) -> RunFolder:
    """Open a run folder that is there, or of data that are named."""
    from jaxrec.experiment.folder import check_run

    if session.data is None:
        check_run(session.path)
    return open_run_of(session, budget=budget)


def budget_of(mebibytes: int | None, minutes: float | None = None) -> Budget:
    """What the options allow, from now on."""
    from jaxrec.budget import Budget

    return Budget.of(mebibytes, minutes)


def open_run_of(
    session: Session, path: Path | None = None, budget: Budget | None = None, **asked: Any
) -> RunFolder:
    """Open or make the run folder; in `path`, where data that nobody has named are made up."""
    from jaxrec.experiment.folder import open_run
    from jaxrec.sources.library import SYNTHETIC, AbsentError

    place, terminal = path or session.path, session.terminal
    asked = {"protocol": session.protocol, "seed": session.seed, "say": terminal.say} | asked
    asked |= {"strict": session.strict, "progress": terminal.verbosity >= 0, "core": session.core}
    try:
        with terminal.reading() as on_bytes:
            opened = open_run(place, session.data, on_bytes=on_bytes, **asked)
    except AbsentError as error:
        if path is None or session.data is not None or (place / "experiment.json").exists():
            raise
        terminal.warn(str(error), "Going on with SYNTHETIC data made by jaxrec.")
        opened = open_run(place, SYNTHETIC, **asked)
    terminal.say(opened.title)
    if budget is not None:
        opened = replace(opened, budget=budget)
    terminal.detail(f"data from {opened.dataset.source}, SHA-256 {opened.dataset.sha256}")
    return opened
