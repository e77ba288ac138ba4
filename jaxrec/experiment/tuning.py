"""Searches a row's settings on validation; every trial is kept, so that a search goes on later."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property, partial
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from jaxrec.errors import InputError, excused
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.task import Task, judges, validation_tasks
from jaxrec.experiment.choices import choose_embeddings, evidence, identity_of
from jaxrec.experiment.fitting import asked_for
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.rows import cost_of, pointless, rows_of, signals_of, too_much
from jaxrec.files import write_json
from jaxrec.models.model import Evidence, Range, Settings
from jaxrec.models.registry import MODELS, fit

K = 25
JUDGES = 5000
"""At most so many users judge a trial."""
GLANCE = 500
"""So many of them first, of each validation part."""
SURE = 2.0
"""Standard errors by which settings lead the defaults, or stay behind, for sure."""
SHORT = 15.0
"""Seconds of a row's short search, at the least."""
MOST = 15
"""Trials of a short search."""
LEAD = "lead"
"""Of a trial: how many standard errors it is above the defaults."""
FINISHED = TrialState.COMPLETE, TrialState.PRUNED

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


def short_search(run: RunFolder, rows: list[str]) -> dict[str, int]:
    """How many trials each row has in the same time, beside the defaults'; rows with any.

    All together they take about as long as the rows' share of the score card, and `SHORT` seconds
    each at the least. By estimates, so that a run with the same data has the same trials whatever
    else the machine does. Row `pmf` has none where somebody has asked for other factors.
    """
    possible = [row for row in rows if too_much(run, row) is None and not _unreadable(run, row)]
    if asked_for(run):
        possible = [row for row in possible if row != "pmf"]
    each = {row: cost_of(run, row, ()) for row in possible}
    seconds = max(SHORT, sum(cost.seconds for cost in each.values()) / max(len(each), 1))
    parts = run.protocol.rules.folds if run.protocol.rules.cold_items else 1
    asked = min(1.0, JUDGES / run.size.users)
    found = {}
    for row in possible:
        cost = MODELS[row].cost(run.size, MODELS[row].settings)
        once = parts * (cost.learning + asked * cost.asking)
        found[row] = min(MOST, 1 + int(seconds / once))
    return {row: trials for row, trials in found.items() if trials > 1}


def _unreadable(run: RunFolder, row: str) -> bool:
    (own,) = rows_of(run, (row,))
    return pointless(run, own) is not None


class Trials:
    """What the trials of a row's search are judged by.

    A trial is fitted on each validation part's train and judged by NDCG@25 of `JUDGES` users at
    most: a `GLANCE` at a few of them first, then the others. It ends as soon as it is below the
    defaults for sure, by `SURE` standard errors of the difference over the users seen until then
    (a race against the defaults, after Maron and Moore 1994).
    """

    def __init__(self, run: RunFolder, row: str):
        self.row = row
        self.memory = run.budget.memory
        self.parts: list[tuple[Evidence, list[Task]]] = []
        tasks = validation_tasks(run.dataset, run.protocol)
        for split, task in tasks:
            drawn = judges(task, run.protocol.seed, JUDGES // len(tasks))
            some = np.random.default_rng(run.protocol.seed).permutation(drawn)
            glance = [GLANCE] if len(some) > 2 * GLANCE else []
            shown = [
                task._replace(relevant=task.relevant.only(users))
                for users in np.split(some, glance)
            ]
            self.parts.append((evidence(run, split, row), shown))

    def figures(
        self, settings: Settings, goes_on: Callable[[list[NDArray[Any]]], None]
    ) -> NDArray[np.floating]:
        """[judges] NDCG@25; `goes_on` is told what is known after every task, and may raise."""
        found: list[NDArray[Any]] = []
        for inner, tasks in self.parts:
            scorer = fit(self.row, inner, settings)
            for task in tasks:
                found.append(evaluate(scorer, task, (K,), self.memory).per_user[f"ndcg@{K}"])
                goes_on(found)
        return np.concatenate(found)

    @cached_property
    def defaults(self) -> NDArray[np.floating] | None:
        """[judges] of the default settings; None where they cannot be fitted."""
        try:
            return self.figures(MODELS[self.row].settings, lambda found: None)
        except (FloatingPointError, ValueError):
            return None

    def lead(self, found: list[NDArray[Any]]) -> float:
        """Over the defaults, in standard errors of the mean difference."""
        if self.defaults is None:
            return float("inf")
        figures = np.concatenate(found)
        difference = figures - self.defaults[: len(figures)]
        error = float(np.std(difference)) / len(figures) ** 0.5
        return float(np.mean(difference)) / error if error > 0 else 0.0

    def __call__(self, trial: optuna.Trial) -> float:
        """NDCG@25 of a trial's settings."""
        model = MODELS[self.row]
        own = {name: _suggest(trial, name, where) for name, where in model.space.items()}

        def goes_on(found: list[NDArray[Any]]) -> None:
            trial.report(float(np.mean(np.concatenate(found))), len(found))
            if self.lead(found) < -SURE:
                raise optuna.TrialPruned

        settings = model.settings | own
        try:
            if settings == model.settings and self.defaults is not None:
                found = self.defaults
            else:
                found = self.figures(settings, goes_on)
        except InputError:
            raise
        except (FloatingPointError, ValueError) as error:
            raise optuna.TrialPruned(str(error)) from None
        trial.set_user_attr(LEAD, self.lead([found]))
        return float(np.mean(found))


def tune(
    run: RunFolder,
    row: str,
    trials: int,
    on_trial: OnTrial = lambda trial, best: None,
) -> dict[str, Any]:
    """Search the settings of a row by TPE (Bergstra et al. 2011).

    The defaults come first, then what other data prefer (`Model.tried`). A row is fitted on train
    without validation and judged by validation (see `Trials`); the test part is not touched. The
    defaults stay where nothing leads them for sure. Trials of the same row, data, split and
    embeddings that were made before count.

    Args:
        run: where `tuned/` is written.
        row: one of `tunable()`.
        trials: how many in all, as far as the budget's time allows.
        on_trial: told of every trial.

    Returns:
        The best `settings`, their `validation_ndcg@25` and their `lead` over the defaults in
        standard errors, the number of `trials`, and of them those `ended_early`.

    Raises:
        InputError: the row cannot be made of these data, or no trial gave a figure.
    """
    model = MODELS[row]
    (own,) = rows_of(run, (row,))
    if (why := pointless(run, own) or too_much(run, row)) is not None:
        raise InputError(why)
    if model.text:
        choose_embeddings(run)
    study, path = _study(run, row), run.tuned_path(row)
    before = len(study.get_trials(deepcopy=False, states=FINISHED))
    # a search that goes on must not draw what it has drawn before
    study.sampler = optuna.samplers.TPESampler(
        seed=(1000 * run.fit_seed + before) % 2**32,
        multivariate=True,
        n_startup_trials=1 + len(model.tried),
    )
    if not before:
        default = {name: model.settings[name] for name in model.space}
        graded = run.dataset.feedback.has_grades
        for other in ({}, *model.tried):
            if graded or "target" not in other:
                study.enqueue_trial(default | other)
    start, first_cost = time.monotonic(), cost_of(run, row)
    judged = None
    while (done := len(study.get_trials(deepcopy=False, states=FINISHED))) < trials:
        spent = (time.monotonic() - start) / (done - before) if done > before else None
        if run.budget.left < (first_cost.seconds if spent is None else spent):
            break
        judged = judged or Trials(run, row)
        study.optimize(judged, n_trials=1)
        best = _best(study)
        on_trial(done + 1, float("nan") if best is None else best.values[0])
    if not done and (why := run.budget.too_long(first_cost)) is not None:
        raise InputError(why)
    best = _best(study)
    if best is None:
        raise InputError(f"no trial of row {row} gave a figure; give more --trials")
    ended = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    card = {
        "row": row,
        "settings": model.settings | best.params,
        "made_from": identity_of(run, row),
        f"validation_ndcg@{K}": best.values[0],
        LEAD: best.user_attrs[LEAD],
        "trials": done,
        "ended_early": len(ended),
        "command": f"jaxrec tune --row {row} --trials {trials} --seed {run.protocol.seed}",
    }
    write_json(path, card)
    return card


def tune_all(
    run: RunFolder, trials: dict[str, int], bar: Bar, say: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """`tune` rows with so many trials each, showing a `bar` of each.

    Returns:
        By row what `tune` found, and of the others why they could not be tuned.
    """
    found: dict[str, dict[str, Any]] = {}
    lost: dict[str, str] = {}
    for row, count in trials.items():
        with excused(partial(lost.__setitem__, row)):
            with bar(row, count, f"NDCG@{K}") as on_trial:
                found[row] = tune(run, row, count, on_trial)
            say(f"{row}: {_in_words(found[row])}")
    return found, lost


def _in_words(card: dict[str, Any]) -> str:
    """What came of a search."""
    defaults, found = MODELS[card["row"]].settings, card["settings"]
    changed = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in found.items()
        if value != defaults[name]
    ]
    said = f"{card[f'validation_ndcg@{K}']:.4f} on validation"
    if not changed:
        return f"{said} by the defaults; of {card['trials']} trials none is better for sure"
    return f"{said} by {', '.join(changed)}, of {card['trials']} trials"


def _best(study: optuna.Study) -> FrozenTrial | None:
    """Of the trials that lead the defaults for sure, and of the defaults, the best."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sure = [trial for trial in complete if trial.user_attrs.get(LEAD, 0.0) >= SURE]
    return max(sure or complete[:1], key=lambda trial: trial.values[0], default=None)


def _study(run: RunFolder, row: str) -> optuna.Study:
    """The trials of this row, data, split and embeddings that were made before, to go on with."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = run.tuned_path(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    trials_path = path.with_suffix(".trials")
    backend = JournalFileBackend(str(trials_path), JournalFileOpenLock(str(trials_path)))
    model = MODELS[row]
    return optuna.create_study(
        study_name=f"{row} {identity_of(run, row)} {model.settings} {model.space}",
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
