"""Searches a row's settings on validation; every trial is kept, so that a search goes on later."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from jaxrec.errors import InputError, excused
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.task import Task, validation_tasks
from jaxrec.experiment.choices import choose_embeddings, evidence, identity_of
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.rows import cost_of, pointless, rows_of, signals_of, too_much
from jaxrec.files import write_json
from jaxrec.models.model import Evidence, Range
from jaxrec.models.registry import MODELS, fit

K = 25
OnTrial = Callable[[int, float], None]
"""Called after each trial with the number of trials done and the best NDCG@25 so far."""

Bar = Callable[[str, int, str], AbstractContextManager[OnTrial]]
"""Of a name, a number of trials and the name of a figure."""


def tunable() -> list[str]:
    """The rows that have settings to search."""
    return [name for name, model in MODELS.items() if model.space]


def rows_to_tune(run: RunFolder, only: tuple[str, ...], named: bool = False) -> list[str]:
    """The tunable rows of a run, or those of `only` and of what `hybrid` fuses if it is among them.

    Rows whose package is absent are left out.

    Raises:
        InputError: `named`, and a row of `only` cannot be tuned.
    """
    for row in only if named else ():
        if row not in tunable():
            raise InputError(f"no row {row!r} to tune; there are {', '.join(tunable())}")
    wanted = {*only, *(signals_of(run).rows if "hybrid" in only else ())}
    wanted = wanted or {row.name for row in rows_of(run)}
    return [row for row in tunable() if MODELS[row].lacks is None and row in wanted]


def tune(
    run: RunFolder,
    row: str,
    trials: int,
    on_trial: OnTrial = lambda trial, best: None,
) -> dict[str, Any]:
    """Search the settings of a row by TPE (Bergstra et al. 2011), the defaults first.

    The row is fitted on train without validation and judged by NDCG@25 on validation, under
    `cold-items` by the mean over the inner folds; the test part is not touched. Trials of the same
    row, data, split and embeddings that were made before count.

    Args:
        run: where `tuned/` is written.
        row: one of `tunable()`.
        trials: how many in all, as far as the budget's time allows.
        on_trial: told of every trial.

    Returns:
        The best `settings`, their `validation_ndcg@25`, the number of `trials`.

    Raises:
        InputError: the row cannot be made of these data, or no trial gave a figure.
    """
    model = MODELS[row]
    (own,) = rows_of(run, (row,))
    if (why := pointless(run, own) or too_much(run, row)) is not None:
        raise InputError(why)
    if model.text:
        choose_embeddings(run)
    parts = [
        (evidence(run, split, row), task)
        for split, task in validation_tasks(run.dataset, run.protocol)
    ]
    study, path = _study(run, row), run.tuned_path(row)
    finished = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
    before = len(study.get_trials(deepcopy=False, states=finished))
    # a search that goes on must not draw what it has drawn before
    seed = 1000 * run.fit_seed + before
    study.sampler = optuna.samplers.TPESampler(seed=seed % 2**32, multivariate=True)
    if not before:
        study.enqueue_trial({name: model.settings[name] for name in model.space})
    complete = (optuna.trial.TrialState.COMPLETE,)
    start, first = time.monotonic(), cost_of(run, row)
    while (done := len(study.get_trials(deepcopy=False, states=finished))) < trials:
        spent = (time.monotonic() - start) / (done - before) if done > before else first.seconds
        if run.budget.left < spent:
            break
        study.optimize(partial(_ndcg, row, parts, run.budget.memory), n_trials=1)
        there = study.get_trials(deepcopy=False, states=complete)
        on_trial(done + 1, study.best_value if there else float("nan"))
    if not done and (why := run.budget.too_long(first)) is not None:
        raise InputError(why)
    if not study.get_trials(deepcopy=False, states=complete):
        raise InputError(f"no trial of row {row} gave a figure; give more --trials")
    card = {
        "row": row,
        "settings": model.settings | study.best_params,
        "made_from": identity_of(run, row),
        f"validation_ndcg@{K}": study.best_value,
        "trials": done,
        "command": f"jaxrec tune --row {row} --trials {trials} --seed {run.protocol.seed}",
    }
    write_json(path, card)
    return card


def tune_all(
    run: RunFolder, rows: list[str], trials: int, bar: Bar, say: Callable[[str], None]
) -> dict[str, str]:
    """`tune` rows, showing a `bar` of each.

    Returns:
        By row, why it could not be tuned; the others were.
    """
    lost: dict[str, str] = {}
    for row in rows:
        with excused(partial(lost.__setitem__, row)):
            with bar(row, trials, f"NDCG@{K}") as on_trial:
                card = tune(run, row, trials, on_trial)
            say(f"{row}: {card[f'validation_ndcg@{K}']:.4f} with {card['settings']}")
    return lost


def _ndcg(row: str, parts: list[tuple[Evidence, Task]], memory: int, trial: optuna.Trial) -> float:
    """The mean over the parts of what a row with a trial's settings reaches."""
    space = MODELS[row].space
    settings = {name: _suggest(trial, name, where) for name, where in space.items()}
    try:
        found = [
            evaluate(fit(row, inner, settings), task, (K,), memory).metrics[f"ndcg@{K}"]
            for inner, task in parts
        ]
        return sum(found) / len(found)
    except InputError:
        raise
    except (FloatingPointError, ValueError) as error:
        raise optuna.TrialPruned(str(error)) from None


def _study(run: RunFolder, row: str) -> optuna.Study:
    """The trials of this row, data, split and embeddings that were made before, to go on with."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = run.tuned_path(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    trials_path = path.with_suffix(".trials")
    backend = JournalFileBackend(str(trials_path), JournalFileOpenLock(str(trials_path)))
    return optuna.create_study(
        study_name=f"{row} {identity_of(run, row)} {MODELS[row].space}",
        storage=JournalStorage(backend),
        direction="maximize",
        load_if_exists=True,
    )


def _suggest(trial: optuna.Trial, name: str, where: Range | tuple) -> Any:
    if not isinstance(where, Range):
        return trial.suggest_categorical(name, where)
    if where.whole:
        return trial.suggest_int(name, int(where.low), int(where.high), log=where.log)
    return trial.suggest_float(name, where.low, where.high, log=where.log)
