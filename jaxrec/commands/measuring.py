"""Measuring: the score card."""

from __future__ import annotations

from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxrec.commands.opening import budget_of, open_run_of
from jaxrec.console import options as ask
from jaxrec.console.session import Session, on_run_folder, resumable, stop
from jaxrec.errors import InputError, excused
from jaxrec.hosts.joining import shared_by
from jaxrec.interruption import GOES_ON, status
from jaxrec.tracking import Record, check_tracker, tell

if TYPE_CHECKING:
    from jaxrec.budget import Stage
    from jaxrec.console.terminal import Terminal
    from jaxrec.evaluation.card import ScoreCard
    from jaxrec.experiment.folder import RunFolder
    from jaxrec.experiment.rows import Row
    from jaxrec.experiment.scoring import Fusion


FIGURES = 60
"""Bytes that the figures of a user take, of each row and cut-off."""


@click.command("eval")
@on_run_folder()
@ask.cutoffs
@ask.rows_option
@ask.budget_options
@ask.eval_options
@ask.track_option
@ask.json_option("the score card")
@shared_by("measuring.evaluation", "-k", "--row", "--memory", "--json")
def evaluate(
    session: Session,
    ks: tuple[int, ...],
    only: tuple[str, ...],
    memory: int | None,
    minutes: float | None,
    fusion: str,
    alpha: str,
    json_path: Path | None,
    plot_path: Path | None,
    library: str | None,
    track: str | None,
) -> None:
    """Measure every row that can be made, and print the table; -v the protocol card above it."""
    weight = ask.alpha_of(alpha)
    check_tracker(track)
    opened = open_run_of(session, budget=budget_of(memory, minutes))
    terminal = session.terminal
    from jaxrec.evaluation.card import write_card
    from jaxrec.experiment.rows import rows_of
    from jaxrec.experiment.scoring import Fusion

    for idle in _without_effect(rows_of(opened, only)):
        if only:
            raise InputError(idle)
        terminal.warn(idle)
    how = Fusion(fusion, weight)
    card = measure(opened, terminal, ks, how, only=only, library=library)
    if json_path is not None:
        write_card(json_path, card)
    if plot_path is not None:
        from jaxrec.report.plot import plot_card

        plot_card(card, max(ks), plot_path)
        terminal.say(f"drawn: {plot_path}")
    tracked(opened, card, track, terminal, () if plot_path is None else (plot_path,))


def _without_effect(rows: list[Row]) -> list[str]:
    """Of options that say how published rows fuse those that none of these rows reads, in words."""
    fusing = [row for row in rows if row.embeddings is not None]
    reading = {"--fusion": fusing, "--alpha": [row for row in fusing if row.factors is not None]}
    names = {"--fusion": "mf+NAME and text+NAME do", "--alpha": "mf+NAME do"}
    return [
        f"{option}: no row that is measured reads it; rows {names[option]}, of --protocol published"
        " or named by --row"
        for option, readers in reading.items()
        if option in ask.given() and not readers
    ]


def tracked(
    opened: RunFolder,
    card: ScoreCard,
    name: str | None,
    terminal: Terminal,
    files: tuple[Path, ...] = (),
) -> None:
    """Tell a tracker of what was measured; if it fails, a line says so, and all else is kept."""
    if name is None:
        return
    again = opened.command("eval", "--track", name)
    terminal.say(tell(name, _record(opened, card, files), again))


def _record(opened: RunFolder, card: ScoreCard, files: tuple[Path, ...]) -> Record:
    from jaxrec.commands.cases import trainings

    settings = {f"protocol/{name}": value for name, value in card.protocol.items()}
    figures: dict[str, float] = {}
    for name, row in card.measured.items():
        settings |= {f"{name}/{key}": value for key, value in (row.settings or {}).items()}
        figures |= {f"{name}/{key}": value for key, value in row.figures.metrics.items()}
    curves = {
        f"{training.name}/{figure}": values
        for training in trainings(opened)
        for figure, values in training.series.items()
    }
    names = ("experiment.json", "results.json", "per_user.parquet", "hybrid.json")
    there = [place for place in (opened.path / name for name in names) if place.exists()]
    figures = {name: value for name, value in figures.items() if isfinite(value)}
    return Record(opened.path, card.title, settings, figures, curves, [*there, *files])


def measure(
    opened: RunFolder,
    terminal: Terminal,
    ks: tuple[int, ...],
    fusion: Fusion,
    alone: bool = True,
    **more: Any,
) -> ScoreCard:
    """Measure and print; `more` are arguments of `score_card`.

    Of a run folder that stands `alone` it is said what that comes to, and what one may do next.
    Interrupted by the user, the command ends with what was measured, and status 130.
    """
    from jaxrec.console.live import rows_told
    from jaxrec.experiment.rows import rows_of
    from jaxrec.experiment.scoring import Interrupted, score_card
    from jaxrec.files import check_space
    from jaxrec.report.tables import first_parts, further_parts

    rows = rows_of(opened, more.get("only", ()))
    check_space(opened.path, FIGURES * len(ks) * len(rows) * opened.dataset.users)
    sweeps, interrupted = 0, False
    if fusion.alpha is None:
        with excused(terminal.detail):
            if any(row.factors == "mf" and row.embeddings is not None for row in rows):
                sweeps = opened.read_factors("mf")[1]["sweeps"]
    remedy = f"try a larger --lambda of `jaxrec train-pmf`, or remove {opened.tuned_path('ROW')}"
    with (
        resumable(remedy),
        rows_told(terminal, max(ks)) as told,
        ExitStack() as bar,  # it ends where the rows begin: a terminal has room for one of them
    ):
        on_sweep = bar.enter_context(terminal.sweeps("PMF on train without validation", sweeps))

        def on_row(stage: Stage) -> None:
            bar.close()
            told(stage)

        try:
            card = score_card(opened, tuple(sorted(set(ks))), fusion, on_sweep, on_row, **more)
        except Interrupted as stopped:
            card, interrupted = stopped.card, True
    made = str(opened.path), opened.data_options
    terminal.result(*first_parts(card, *made, whole=terminal.verbosity > 0, alone=alone))
    if alone and not interrupted:
        terminal.say(_other_commands(opened))
    if terminal.verbosity <= 0:
        terminal.result(f"protocol card: in {opened.results_path}; -v prints it above the table")
    terminal.result(*further_parts(card))
    if interrupted:
        many = len(card.measured)
        kept = "1 row was measured and is" if many == 1 else f"{many} rows were measured and are"
        stop(f"interrupted; {kept} kept; {GOES_ON}", status())
    return card


def _other_commands(opened: RunFolder) -> str:
    """What else one may do with a score card."""
    each = (
        opened.command("report"),
        opened.command("recommend", "--user", "ID"),
        opened.command("explain", "--user", "ID", "--item", "ID"),
    )
    return f"See also {', '.join(f'`{command}`' for command in each)}"
