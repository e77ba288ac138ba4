"""Learning: settings on validation, and the factors of row `pmf`."""

from __future__ import annotations

import sys
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxrec.commands.opening import budget_of, hold, open_run_of
from jaxrec.console import options as ask
from jaxrec.console.session import Session, on_run_folder, resumable
from jaxrec.errors import InputError
from jaxrec.launch import Place, joined, place_of, together, wait
from jaxrec.locks import of_run
from jaxrec.tracking import Record, check_tracker, tell

if TYPE_CHECKING:
    from jaxrec.console.terminal import Terminal
    from jaxrec.experiment.folder import RunFolder
    from jaxrec.pmf.objective import PmfSettings


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

    with resumable():
        found, lost = tune_all(opened, trials, terminal.sweeps, terminal.say)
    for row, why in lost.items():
        terminal.lost(f"tuning {row}", why)
    return found


@click.command("train-pmf")
@on_run_folder()
@ask.pmf_options
@ask.launch_options
def train_pmf(
    session: Session,
    likelihood: str | None,
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    **options: Any,
) -> None:
    """Fit the collaborative branch; interrupted, the same command resumes.

    Several processes read their own parts each of what `jaxrec data shard` has cut.
    """
    place = place_of(coordinator, processes, process)
    with joined(place):
        if place.processes == 1:
            opened = open_run_of(session)
            from jaxrec.experiment.fitting import asked_settings

            train(opened, asked_settings(opened, likelihood, options), session.terminal)
        else:
            train_together(session, place, likelihood, options)


def train_together(
    session: Session, place: Place, likelihood: str | None, options: dict[str, Any]
) -> None:
    """What each of several processes does: its own users' pairs, and the fit of them all.

    `RUN/vectors` gets `ROW-items.parquet`, of each process I `ROW-users-I.parquet` (a name and a
    vector a row, as `jaxrec export` writes them), and when all are whole `ROW.json`.
    """
    if not place.speaks:
        session.terminal.verbosity = -1
    if session.data is None:
        raise InputError("several processes need --data, a folder that `jaxrec data shard` made")
    import numpy as np

    from jaxrec.devices import Mesh
    from jaxrec.evaluation.protocol import Protocol
    from jaxrec.experiment.fitting import asked_settings, row_of
    from jaxrec.experiment.folder import RunFolder
    from jaxrec.files import whole_file, write_json
    from jaxrec.pmf.fit import fit_pmf
    from jaxrec.pmf.objective import observe
    from jaxrec.pmf.sweeps import Checkpoints
    from jaxrec.serving.export import vector_table
    from jaxrec.sources.sharded.layout import read_card
    from jaxrec.sources.sharded.reading import read_shard

    if (session.path / "experiment.json").exists():
        raise InputError(
            f"{session.path} is the run folder of an experiment by one process; give another --run"
        )
    if place.speaks:
        hold(of_run(session.path), session.path)
    folder = Path(session.data)
    shard = read_card(folder)
    dataset = read_shard(folder, shard.own(place.process, place.processes))
    seed = 42 if session.seed is None else session.seed
    protocol = Protocol.of(session.protocol or "strict", dataset, seed)
    run = RunFolder(session.path, dataset, protocol)
    train, users = dataset.interactions.at(protocol.split.train), sum(shard.users)
    density = together(len(train.users)) / (users * dataset.items)
    settings = asked_settings(run, likelihood, options, density)
    pairs = observe(train, dataset.feedback, settings)
    of_all = together(len(pairs.users))
    session.terminal.say(f"{of_all:,} pairs of {users:,} users, in {place.processes} processes")
    row = row_of(settings)
    identity = settings._asdict() | {"protocol": protocol.name, "seed": seed, "pairs": of_all}
    identity |= {"interactions": list(shard.interactions), "users": list(shard.users)}
    # whichever process has which users: what is of which item, but for whose it is
    each = (pairs.items.astype(np.uint64) + 1) * pairs.targets.astype(np.float64).view(np.uint64)
    identity["checksum"] = together(int(each.sum(dtype=np.uint64) % 2**31)) % 2**31
    checkpoints = Checkpoints(session.path / "checkpoints" / f"{row}-together", identity)
    what = f"{row}: {settings.likelihood} PMF, {settings.factors} factors"
    with session.terminal.sweeps(what, settings.sweeps) as on_sweep:
        factors, losses = fit_pmf(
            pairs,
            dataset.users,
            dataset.items,
            settings,
            seed=run.fit_seed,
            checkpoints=checkpoints,
            on_sweep=on_sweep,
            placement=Mesh.of(),
        )
    vectors = session.path / "vectors"
    if place.speaks:
        for older in (vectors / f"{row}.json", *vectors.glob(f"{row}-users-*.parquet")):
            older.unlink(missing_ok=True)
    wait("older files are gone")
    with whole_file(vectors / f"{row}-users-{place.process}.parquet") as partial:
        vector_table("user_id", dataset.user_ids, factors.U).write_parquet(partial)
    if place.speaks:
        with whole_file(vectors / f"{row}-items.parquet") as partial:
            vector_table("item_id", dataset.item_ids, factors.V).write_parquet(partial)
    wait("vectors are written")
    if place.speaks:
        write_json(vectors / f"{row}.json", identity | {"losses": losses})
        checkpoints.clear()
    session.terminal.say(f"{what}: objective {losses[-1]:.6g} after {len(losses)} sweeps")
    session.terminal.say(f"written: {vectors}")


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
