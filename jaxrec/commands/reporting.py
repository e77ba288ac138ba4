"""Reporting: one page about what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jaxrec.console import options as ask
from jaxrec.console.session import speaking
from jaxrec.errors import InputError
from jaxrec.files import owner_of, real

if TYPE_CHECKING:
    from jaxrec.console.terminal import Terminal
    from jaxrec.experiment.folder import RunFolder
    from jaxrec.report.page import Section


@click.command()
@ask.report_options
@speaking()
def report(terminal: Terminal, runs: tuple[Path, ...], out: Path, figures: Path | None) -> None:
    """Write one HTML page about a run folder, a study, or several run folders side by side.

    It needs no network. What is stale or damaged is refused.
    """
    from jaxrec import __version__
    from jaxrec.report.page import charts_of, write_page

    if figures is not None and (owner := owner_of(real(figures))) is not None:
        raise InputError(f"--figures {figures}: in {owner}; give a place outside it")
    sections = _sections(runs, terminal)
    write_page(out, sections, __version__)
    terminal.say(f"written: {out}")
    if figures is not None:
        drawn = charts_of(sections)
        for chart in drawn:
            chart.save(figures)
        terminal.say(f"drawn: {len(drawn)} figures, SVG and PNG, in {figures}")


def _sections(paths: tuple[Path, ...], terminal: Terminal) -> list[Section]:
    from jaxrec.commands.cases import evidence
    from jaxrec.experiment.scoring import read_fresh_card
    from jaxrec.report.chapters import of_run, side_by_side

    if any((path / "summary.json").exists() for path in paths):
        if len(paths) > 1:
            raise InputError("a study is reported by itself; give one --run, or run folders alone")
        return [_study(paths[0])]
    found = []
    for path in paths:
        run = _opened(path)
        card = read_fresh_card(run)
        terminal.say(run.title)
        found.append(evidence(run, card, terminal.warn))
    if len(found) == 1:
        return [of_run(found[0])]
    parts = [of_run(one, f"run-{number}-") for number, one in enumerate(found, 1)]
    return [side_by_side(found), *parts]


def _study(path: Path) -> Section:
    from jaxrec.commands.cases import commands_of_study
    from jaxrec.experiment.scoring import read_fresh_card
    from jaxrec.experiment.study import runs_of, summarise
    from jaxrec.report.chapters import of_study

    runs = [_opened(run) for run in runs_of(path)]
    cards = [read_fresh_card(run) for run in runs]
    summary = summarise([run.path for run in runs])
    again = commands_of_study(path, runs, cards[0])
    return of_study(summary, str(path), runs[0].data_options, cards[0].protocol, again)


def _opened(path: Path) -> RunFolder:
    from jaxrec.experiment.folder import check_run, open_run

    check_run(path)
    return open_run(path)
