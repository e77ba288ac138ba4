"""Searches a row's settings on validation; every trial is kept, so that a search goes on later."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm

from jaxrec.budget import Budget, Cost
from jaxrec.devices import workers
from jaxrec.errors import InputError, excused
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.task import Task, judges, validation_tasks
from jaxrec.experiment.choices import choose_embeddings, evidence, identity_of
from jaxrec.experiment.fitting import asked_for
from jaxrec.experiment.folder import RunFolder, nobody
from jaxrec.experiment.rows import cost_of, pointless, rows_of, signals_of, too_much
from jaxrec.files import check_seal, check_there, refused_as, sealed, write_sealed
from jaxrec.models.cost import START, Size
from jaxrec.models.model import Evidence, Model, Range, Settings
from jaxrec.models.registry import MODELS, OWN, fit
from jaxrec.side_by_side import cores, shares, side_by_side

K = 25
JUDGES = 5000
"""At most so many users judge a trial."""
GLANCE = 500
"""So many of them first, of each validation part."""
SURE = 2.0
"""Standard errors by which settings lead the defaults, or stay behind, by more than chance; of one
trial (see `threshold`)."""
SHORT = 15.0
"""Seconds of a row's short search, at the least."""
MOST = 15
"""Trials of a short search."""
LONG = 30.0
"""Seconds that a search takes, by estimates, before it is worth processes of its own."""
PROCESS, INTERACTION = 600_000_000, 60
"""Bytes of a process that has imported JAX, and of each interaction in it beside a row's arrays."""
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
    """How many trials each row has, that of the defaults among them.

    One at least beside the defaults, and as many as take half of a row's mean time on the score
    card, or `SHORT` seconds if that is more: the same time for each, by estimates, so that a run
    with the same data has the same trials whatever else the machine does and whichever rows are
    asked for. Where the budget's time is too short for all, the time of each is cut.

    Args:
        run: the experiment; rows that it has settings of are left out, and so is row `pmf` where
            somebody has asked for other factors.
        rows: of `tunable()`.
    """
    known = [row.name for row in rows_of(run) if row.name in tunable()]
    costs = {row: MODELS[row].cost(run.size, MODELS[row].settings) for row in {*known, *rows}}
    possible = [row for row in rows if _possible(run, row)]
    if "pmf" in possible:
        with excused(lambda why: possible.remove("pmf")):
            possible = [row for row in possible if row != "pmf" or not asked_for(run)]
    return shared_out(costs, possible, run.size, _parts(run), run.budget.left)


def shared_out(
    costs: dict[str, Cost], rows: list[str], size: Size, parts: int = 1, left: float = math.inf
) -> dict[str, int]:
    """`short_search` of some `rows`, with validation of so many parts, in so many seconds."""
    seconds = max(SHORT, sum(cost.seconds for cost in costs.values()) / max(len(costs), 1) / 2)
    once = {row: parts * seconds_of_trial(costs[row], size) for row in rows}
    found = {row: min(MOST, max(2, 1 + int(seconds / once[row]))) for row in rows}
    if (total := sum(found[row] * once[row] for row in rows)) > left:
        seconds *= max(left, 0.0) / total
        found = {row: min(MOST, int(seconds / once[row])) for row in rows}
    return {row: trials for row, trials in found.items() if trials > 1}


def seconds_of_trial(cost: Cost, size: Size) -> float:
    """Learning, and asking for those who judge."""
    return cost.learning + min(1.0, JUDGES / size.users) * cost.asking


def _possible(run: RunFolder, row: str) -> bool:
    """Can it be made here, and is it to be searched?"""
    return not run.tuned_path(row).exists() and _refused(run, row) is None


def _refused(run: RunFolder, row: str) -> str | None:
    """Why a row cannot be made here, if so."""
    (own,) = rows_of(run, (row,))
    return pointless(run, own) or too_much(run, row)


def _parts(run: RunFolder) -> int:
    """Of validation, for each of which a trial is fitted."""
    return run.protocol.rules.folds if run.protocol.rules.cold_items else 1


def threshold(trials: int) -> float:
    """Standard errors that the best of so many trials must lead by.

    That one of them does so by chance is then as likely as `SURE` of a single one (Sidak 1967).
    """
    return float(norm.isf(1 - (1 - norm.sf(SURE)) ** (1 / max(trials, 1))))


class Trials:
    """What the trials of a row's search are judged by.

    A trial is fitted on each validation part's train and judged by NDCG@25 of `JUDGES` users at
    most: a `GLANCE` at a few of them first, then the others. It ends as soon as it is below the
    defaults by `SURE` standard errors of the difference over the users seen until then (a race
    against the defaults, after Maron and Moore 1994).
    """

    def __init__(self, run: RunFolder, row: str):
        self.row = row
        self.budget = run.budget
        self.size = run.size
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
        # first, so that no trial's arrays are held beside theirs
        self.defaults = self._of_defaults()
        """[judges] of the default settings; None where they cannot be fitted."""

    def figures(
        self, settings: Settings, goes_on: Callable[[list[NDArray[Any]]], None]
    ) -> NDArray[np.floating]:
        """[judges] NDCG@25; `goes_on` is told what is known after every task, and may raise."""
        found: list[NDArray[Any]] = []
        for inner, tasks in self.parts:
            scorer = fit(self.row, inner, settings)
            for task in tasks:
                found.append(evaluate(scorer, task, (K,), self.budget.memory).per_user[f"ndcg@{K}"])
                goes_on(found)
        return np.concatenate(found)

    def _of_defaults(self) -> NDArray[np.floating] | None:
        try:
            return self.figures(MODELS[self.row].settings, lambda found: None)
        except InputError:
            raise
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

    def trial_of_defaults(self) -> FrozenTrial:
        """The trial of the default settings; pruned where they cannot be fitted."""
        model, found = MODELS[self.row], self.defaults
        return optuna.trial.create_trial(
            state=TrialState.PRUNED if found is None else TrialState.COMPLETE,
            params={name: model.settings[name] for name in model.space},
            distributions=_distributions(model),
            value=None if found is None else float(np.mean(found)),
            user_attrs={LEAD: 0.0},
        )

    def __call__(self, trial: optuna.Trial) -> float:
        """NDCG@25 of a trial's settings.

        Raises:
            TrialPruned: it is below the defaults by more than chance, or cannot be fitted.
        """

        def goes_on(found: list[NDArray[Any]]) -> None:
            trial.report(float(np.mean(np.concatenate(found))), len(found))
            if self.lead(found) < -SURE:
                raise optuna.TrialPruned

        model = MODELS[self.row]
        settings = model.settings | trial.params
        if (why := self.budget.too_large(model.cost(self.size, settings))) is not None:
            raise optuna.TrialPruned(why)
        try:
            found = self.figures(settings, goes_on)
        except (FloatingPointError, ValueError) as error:  # an InputError, too: of these settings
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

    The defaults come first, then what other data prefer (`Model.tried`), one after the other with
    the best settings until then. A row is fitted on train without validation and judged by
    validation (see `Trials`); the test part is not touched. The defaults stay where nothing leads
    them by more than chance. Trials of the same row, data, split and embeddings that were made
    before count, and what comes after them is what would have come without an interruption.

    Args:
        run: where `tuned/` is written.
        row: one of `tunable()`.
        trials: how many in all, as far as the budget's time allows.
        on_trial: told of every trial.

    Returns:
        The best `settings`, their `validation_ndcg@25` and their `lead` over the defaults in
        standard errors (None where these cannot be fitted), the number of `trials`, of them those
        `ended_early`, and what each came to, `by_trial`: of one that ended early until then, None
        where it gave no figure.

    Raises:
        InputError: the row cannot be made of these data, or no trial gave a figure.
    """
    model = MODELS[row]
    if (why := _refused(run, row)) is not None:
        raise InputError(why)
    if model.text:
        choose_embeddings(run)
    study, path = _study(run, row), run.tuned_path(row)
    for killed in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(killed.number, state=TrialState.FAIL)  # else it decides what is drawn
    default = {name: model.settings[name] for name in model.space}
    before = study.get_trials(deepcopy=False, states=FINISHED)
    begun = any(trial.params == default for trial in before)
    graded = run.dataset.feedback.has_grades
    tried = [other for other in model.tried if graded or "target" not in other]
    study.sampler = _sampler(run, model, before, len(tried))
    start, first_cost = time.monotonic(), cost_of(run, row)
    judged = None
    while (done := len(study.get_trials(deepcopy=False, states=FINISHED))) < trials:
        fresh = done - len(before)
        spent = (time.monotonic() - start) / fresh if fresh else first_cost.seconds
        if run.budget.left < spent:
            break
        judged = judged or Trials(run, row)
        if begun:
            if done <= len(tried):
                best = _best(study, default)
                so_far = default if best is None else best.params
                if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                    study.enqueue_trial(so_far | tried[done - 1])  # else of who was killed then
            _one_more(study, judged)
        else:
            study.add_trial(judged.trial_of_defaults())
            begun = True
        best = _best(study, default)
        on_trial(done + 1, float("nan") if best is None else best.values[0])
    if not done and (why := run.budget.too_long(first_cost)) is not None:
        raise InputError(why)
    best = _best(study, default)
    if best is None:
        raise InputError(f"no trial of row {row} gave a figure; give more --trials")
    finished = study.get_trials(deepcopy=False, states=FINISHED)
    ended = [trial for trial in finished if trial.state == TrialState.PRUNED]
    lead = best.user_attrs[LEAD]
    card = {
        "row": row,
        "settings": model.settings | best.params,
        "made_from": identity_of(run, row),
        f"validation_ndcg@{K}": best.values[0],
        LEAD: lead if math.isfinite(lead) else None,
        "trials": done,
        "ended_early": len(ended),
        "by_trial": [trial.value for trial in finished],
        "command": f"jaxrec tune --row {row} --trials {max(done, trials)}"
        f" --seed {run.protocol.seed}",
    }
    write_sealed(path, card)
    return card


def tune_all(
    run: RunFolder, trials: dict[str, int], bar: Bar, say: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """`tune` rows with so many trials each, showing a `bar` of each; several at once may be open.

    Rows of a long search are searched side by side, by processes that have their own cores (see
    `beside`), others one after the other: the trials are the same. The embeddings that text models
    read are chosen before.

    Returns:
        By row what `tune` found, and of the others why they could not be tuned.
    """
    found: dict[str, dict[str, Any]] = {}
    lost: dict[str, str] = {}
    reading = [row for row in trials if MODELS[row].text and _refused(run, row) is None]
    if reading:
        with excused(lambda why: lost.update(dict.fromkeys(reading, why))):
            run = replace(run, reads=choose_embeddings(run))
    rows = [row for row in trials if row not in lost]
    together = beside(run, {row: trials[row] for row in rows})

    def tell(row: str) -> None:
        say(f"{row}: {_in_words(found[row])}")

    for row in rows:
        if row not in together.rows:
            with excused(partial(lost.__setitem__, row)):
                with bar(row, trials[row], f"NDCG@{K}") as on_trial, _kept_trials(run, row):
                    found[row] = tune(run, row, trials[row], on_trial)
                tell(row)
    with ExitStack() as bars:
        shared = replace(run, budget=together.budget, say=nobody, plain={}), trials
        happens = side_by_side(_search, shared, together.rows, together.places)
        bars.enter_context(closing(happens))
        open_bars: dict[str, tuple[ExitStack, OnTrial]] = {}
        for row, kind, value in happens:
            if kind == "begun":
                own = bars.enter_context(ExitStack())
                open_bars[row] = own, own.enter_context(bar(row, trials[row], f"NDCG@{K}"))
            elif kind == "told":
                _, on_trial = open_bars[row]
                run.say(value) if isinstance(value, str) else on_trial(*value)
            else:
                open_bars[row][0].close()
                with excused(partial(lost.__setitem__, row)):
                    if kind == "failed":
                        raise value
                    found[row] = value
                    tell(row)
    return (
        {row: found[row] for row in trials if row in found},
        {row: lost[row] for row in trials if row in lost},
    )


def _search(
    shared: tuple[RunFolder, dict[str, int]], row: str, tell: Callable[[str | tuple], None]
) -> dict[str, Any]:
    """`tune` in a process of its own."""
    run, trials = shared
    with _kept_trials(run, row):
        return tune(
            replace(run, say=tell), row, trials[row], lambda trial, best: tell((trial, best))
        )


def _kept_trials(run: RunFolder, row: str) -> AbstractContextManager[None]:
    """Around what writes trials: where they cannot be written, their file is named."""
    return refused_as(run.tuned_path(row).with_suffix(".trials"))


class Beside(NamedTuple):
    """What is searched side by side, and how."""

    rows: list[str]
    """The longest first."""
    places: list[list[int]]
    """The cores of each process."""
    budget: Budget
    """Of each; its end is by a clock that all processes of a machine have."""


def beside(run: RunFolder, trials: dict[str, int]) -> Beside:
    """Which rows to search side by side; none where little is gained, or an accelerator works.

    A row on one core takes less than twice the time that it takes on two, but a process has to be
    started. By estimates, so that the same data and machine give the same. Each process has its
    part of --memory, and a row that might not fit is searched by itself.
    """
    each = {}
    for row, count in trials.items():
        if MODELS[row] is OWN.get(row) and _refused(run, row) is None:
            cost = MODELS[row].cost(run.size, MODELS[row].settings)
            each[row] = count * _parts(run) * max(seconds_of_trial(cost, run.size) - START, 0.0)
    largest = {row: _largest(run, row) for row in each}
    process = PROCESS + INTERACTION * run.size.interactions

    def of(processes: int) -> Beside:
        memory = run.budget.memory // processes - process
        fit = [row for row in each if largest[row] <= memory]
        fit.sort(key=lambda row: -each[row])
        budget = run.budget._replace(memory=memory)
        return Beside(fit, shares(min(processes, len(fit))), budget)

    def saved(plan: Beside) -> float:
        there = sum(each[row] for row in plan.rows)
        return there - there / max(len(plan.places), 1) if there >= LONG else 0.0

    plans = map(of, range(1, len(cores()) + 1)) if workers()[0].platform == "cpu" else ()
    best = max(plans, key=saved, default=None)
    return best if best is not None and saved(best) > 0 else Beside([], [], run.budget)


def _largest(run: RunFolder, row: str) -> float:
    """Bytes that a trial takes at most."""
    model = MODELS[row]
    ends = [(at.high,) if isinstance(at, Range) else at for at in model.space.values()]
    corners = (dict(zip(model.space, corner, strict=True)) for corner in product(*ends))
    return max(model.cost(run.size, model.settings | corner).memory for corner in corners)


def _in_words(card: dict[str, Any]) -> str:
    """What came of a search."""
    defaults, found = MODELS[card["row"]].settings, card["settings"]
    changed = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in found.items()
        if value != defaults[name]
    ]
    said, trials = f"{card[f'validation_ndcg@{K}']:.4f} on validation", card["trials"]
    if changed:
        return f"{said} by {', '.join(changed)}, of {trials} trials"
    if trials == 1:
        return f"{said} by the defaults; nothing else was tried"
    return f"{said} by the defaults; none of {trials - 1} others leads by more than chance"


def _best(study: optuna.Study, default: Settings) -> FrozenTrial | None:
    """Of the trials that lead the defaults by more than chance the best, else the defaults'.

    Where the defaults cannot be fitted every other trial leads them; where they have not been, as
    their trial was interrupted, there is none.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    others = len(study.get_trials(deepcopy=False, states=FINISHED)) - 1
    enough = threshold(others)
    found = [trial for trial in complete if trial.user_attrs.get(LEAD, 0.0) >= enough]
    found = found or [trial for trial in complete if trial.params == default]
    return max(found, key=lambda trial: trial.values[0], default=None)


def _study(run: RunFolder, row: str) -> optuna.Study:
    """The trials of this row, data, split and embeddings that were made before, to go on with."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = run.tuned_path(row).with_suffix(".trials")
    check_there(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    model = MODELS[row]
    if path.exists() and not (written := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, written.rfind(b"\n") + 1)  # somebody was killed while writing it

    def opened() -> optuna.Study:
        return optuna.create_study(
            study_name=f"{row} {identity_of(run, row)} {model.settings} {model.space}",
            storage=JournalStorage(Journal(path)),
            direction="maximize",
            load_if_exists=True,
        )

    try:
        return opened()
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError):
        # a line is none of optuna's
        aside = path.replace(path.with_suffix(".damaged"))
        run.say(f"{row}: its earlier trials cannot be read; they are now {aside}")
        return opened()


class Journal(JournalFileBackend):
    """Trials, a line for each thing that befell them, sealed; of earlier versions without a seal.

    Who writes has the run folder (`jaxrec.locks`): optuna's own lock would outlive a kill.
    """

    def __init__(self, path: Path):
        super().__init__(str(path), _Held(str(path)))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines at the end."""
        super().append_logs([sealed(log) for log in logs])

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Read lines; InputError for one that is not as it was written."""
        for log in super().read_logs(log_number_from):
            check_seal(self._path, log, "remove it")
            yield log


class _Held(JournalFileOpenLock):
    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _sampler(
    run: RunFolder, model: Model, before: list[FrozenTrial], tried: int
) -> optuna.samplers.TPESampler:
    """What draws further trials, as it is where these were made without an interruption.

    Args:
        run: its seed.
        model: whose settings.
        before: the trials until now, the first that of the defaults.
        tried: how many after that were not drawn.
    """
    sampler = optuna.samplers.TPESampler(
        seed=1000 * run.fit_seed % 2**32,
        multivariate=True,
        n_startup_trials=1 + len(model.tried),
    )
    again = optuna.create_study(direction="maximize", sampler=sampler)
    for number, trial in enumerate(before):
        if number:
            if number <= tried:
                again.enqueue_trial(trial.params)
            again.tell(again.ask(_distributions(model)), state=TrialState.FAIL)
        again.add_trial(trial)
    return sampler


def _one_more(study: optuna.Study, judged: Trials) -> None:
    """A trial that was queued, or else is drawn."""
    trial = study.ask(_distributions(MODELS[judged.row]))
    try:
        value = judged(trial)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except BaseException:  # an interrupted one does not count
        study.tell(trial, state=TrialState.FAIL)
        raise
    else:
        study.tell(trial, value)


def _distributions(model: Model) -> dict[str, BaseDistribution]:
    """Where a row's settings are searched, as optuna has it."""
    return {name: _distribution(where) for name, where in model.space.items()}


def _distribution(where: Range | tuple) -> BaseDistribution:
    if not isinstance(where, Range):
        return CategoricalDistribution(where)
    if where.whole:
        return IntDistribution(int(where.low), int(where.high), log=where.log)
    return FloatDistribution(where.low, where.high, log=where.log)
