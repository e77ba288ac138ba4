"""Learning: settings on validation, and the factors of row `pmf`."""

from __future__ import annotations

import sys
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxrec.commands.opening import budget_of, open_run_of
from jaxrec.console import options as ask
from jaxrec.console.session import Session, on_run_folder, resumable
from jaxrec.hosts.joining import shared_by
from jaxrec.tracking import Record, check_tracker, tell

if TYPE_CHECKING:
    from jaxrec.console.terminal import Terminal
    from jaxrec.experiment.folder import RunFolder
    from jaxrec.pmf.objective import PmfSettings


TRIAL = 20_000
"""Bytes that a trial leaves, about."""


@click.command()
@on_run_folder()
@ask.rows_option
@click.option("--trials", type=click.IntRange(min=1), default=30, show_default=True, help="A row.")
@ask.budget_options
@ask.track_option
@ask.json_option("the settings that were found")
def tune(
    session: Session,
    only: tuple[str, ...],
    trials: int,
    memory: int | None,
    minutes: float | None,
    track: str | None,
    json_path: Path | None,
) -> None:
    """Search settings on validation; interrupted, the same command goes on.

    What is found is used by `eval`, `recommend` and `train-pmf` in this run folder.
    """
    check_tracker(track)
    opened = open_run_of(session, budget=budget_of(memory, minutes))
    from jaxrec.experiment.scoring import set_stale_results_aside
    from jaxrec.experiment.tuning import rows_to_tune
    from jaxrec.files import write_json

    rows = rows_to_tune(opened, only, named=True)
    found = tune_rows(opened, dict.fromkeys(rows, trials), session.terminal)
    if not found:
        sys.exit(2)
    if json_path is not None:
        write_json(json_path, found)
    session.terminal.say(set_stale_results_aside(opened))
    then = f"`{opened.command('train-pmf')}` and `{opened.command('eval')}`"
    session.terminal.say(f"Now {then} use these.")
    if track is not None:
        for card in found.values():
            _tracked(opened, card, track, session.terminal)


def _tracked(opened: RunFolder, card: dict[str, Any], name: str, terminal: Terminal) -> None:
    """Tell a tracker of the search of a row."""
    row, protocol = card["row"], opened.protocol
    split = f"{opened.dataset.name}, protocol {protocol.name}, seed {protocol.seed}"
    of_trials = [nan if value is None else value for value in card["by_trial"]]
    trials = str(card["trials"])
    record = Record(
        path=opened.path,
        title=f"{split}, search of {row}",
        settings={f"{row}/{key}": value for key, value in card["settings"].items()},
        figures={
            f"{row}/{key}": card[key] for key in ("validation_ndcg@25", "trials", "ended_early")
        },
        curves={f"{row}/validation_ndcg@25 of trials": of_trials},
        files=[opened.tuned_path(row)],
        folder=f"search of {row}",
    )
    again = opened.command("tune", "--row", row, "--trials", trials, "--track", name)
    terminal.say(tell(name, record, again))


def tune_rows(
    opened: RunFolder, trials: dict[str, int], terminal: Terminal
) -> dict[str, dict[str, Any]]:
    """Tune rows with so many trials each; tells which could not be, returns what was found."""
    from jaxrec.experiment.tuning import tune_all
    from jaxrec.files import check_space

    check_space(opened.path, TRIAL * sum(trials.values()))
    with resumable():
        found, lost = tune_all(opened, trials, terminal.sweeps, terminal.say)
    for row, why in lost.items():
        terminal.lost(f"tuning {row}", why)
    return found


@click.command("train-pmf")
@on_run_folder()
@ask.pmf_options
@shared_by("fitting.train_pmf")
def train_pmf(session: Session, likelihood: str | None, **options: Any) -> None:
    """Fit the collaborative branch; interrupted, the same command resumes.

    Several processes read their own parts each of what `jaxrec data shard` has cut.
    """
    from jaxrec.experiment.fitting import asked_settings

    opened = open_run_of(session)
    train(opened, asked_settings(opened, likelihood, options), session.terminal)


def train(opened: RunFolder, settings: PmfSettings, terminal: Terminal) -> None:
    from jaxrec.experiment.fitting import row_of, train_pmf
    from jaxrec.experiment.rows import unread_factors
    from jaxrec.experiment.scoring import set_stale_results_aside
    from jaxrec.files import check_space

    # factors and a checkpoint of them
    check_space(opened.path, 8 * settings.factors * (opened.dataset.users + opened.dataset.items))
    what = f"{row_of(settings)}: {settings.likelihood} PMF, {settings.factors} factors"
    with resumable(), terminal.sweeps(what, settings.sweeps) as on_sweep:
        card = train_pmf(opened, settings, on_sweep)
    losses = card["losses"]
    terminal.say(f"{what}: objective {losses[-1]:.6g} after {len(losses)} sweeps")
    terminal.say(unread_factors(opened, card))
    terminal.say(set_stale_results_aside(opened))
