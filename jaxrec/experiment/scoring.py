"""The score card: every row of a run folder that can be made, measured."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from jaxrec.border.draws import Taught
from jaxrec.budget import Budget, Cost, Stage, in_time
from jaxrec.data.features import category_shares
from jaxrec.devices import Mesh
from jaxrec.errors import InputError, excused, grouped, survived
from jaxrec.evaluation.card import (
    AbsentRow,
    Curve,
    Draws,
    FusionCard,
    RowCard,
    ScoreCard,
    keep_replaced,
    read_card,
    write_card,
)
from jaxrec.evaluation.foreign_metrics import metrics_as
from jaxrec.evaluation.measure import Evaluation, beyond_accuracy, evaluate, places_differing
from jaxrec.evaluation.metrics import CALIBRATION_ALPHA
from jaxrec.evaluation.protocol import Rules
from jaxrec.evaluation.significance import COMPARED, against, how_sure, row_cards
from jaxrec.evaluation.task import Task, evaluation_task, unseen_task
from jaxrec.experiment import choices
from jaxrec.experiment.choices import (
    choose_embeddings,
    chosen_embeddings,
    fusion_identity,
    identity_with_settings,
    learn_fusion,
    learned_fusion,
)
from jaxrec.experiment.fitting import (
    GRID,
    alpha_curves,
    best,
    describe,
    fitted,
    fitted_as_tuned,
    fitted_pmf,
    fused,
    pmf_is_stale,
    refresh_pmf,
    settings_on,
)
from jaxrec.experiment.folder import PER_USER, RunFolder
from jaxrec.experiment.kept import card_of, hash_on_card
from jaxrec.experiment.rows import Row, cost_of, lacking, reads_texts, rows_of, settings_of
from jaxrec.files import file_sha256, json_sha256, whole_file
from jaxrec.fusion.gate import Learned
from jaxrec.fusion.published import ALPHA, content_profiles, published_fusion
from jaxrec.models.registry import MODELS
from jaxrec.pmf.sweeps import OnSweep
from jaxrec.side_by_side import cores
from jaxrec.topk.scorer import AnyScorer, product, worked_out


class Fusion(NamedTuple):
    """How collaborative and content scores are fused."""

    name: str
    alpha: float | None
    """Weight of the collaborative branch; None to choose it on validation."""


INTERRUPTED = "interrupted before it was measured; the same command goes on"
PUBLISHED_FUSION = Fusion("published", ALPHA)
BLOCK = 2**16
"""Users whose figures are written at once."""


class Traits(NamedTuple):
    """By what items of a list are told apart, whoever likes them."""

    embeddings: str | None
    """Name of those that are read; None without any, or where none is chosen."""
    E: NDArray[np.float32] | None
    """[items, dim] of the honest texts."""
    categories: NDArray[np.float32] | None
    """[items, categories] see `category_shares`."""

    @classmethod
    def of(cls, run: RunFolder) -> "Traits":
        """Those of the items of a run."""
        name, E = None, None
        with excused(lambda why: run.say(f"diversity is not measured: {why}")):
            if (name := chosen_embeddings(run)) is not None:
                E = run.read_embeddings(name, "honest").E
        return cls(name, E, category_shares(run.dataset.catalogue))


class Measured(NamedTuple):
    """A row's lists, and how they were made."""

    evaluation: Evaluation
    how: dict[str, Any]
    """Fields of `RowCard` beside the figures."""


class Interrupted(KeyboardInterrupt):
    """Measuring was interrupted; what was measured is on the `card`."""

    def __init__(self, card: ScoreCard):
        super().__init__()
        self.card = card


def score_card(
    run: RunFolder,
    ks: tuple[int, ...] = (25,),
    fusion: Fusion = PUBLISHED_FUSION,
    on_sweep: OnSweep = lambda sweep, loss: None,
    on_row: Callable[[Stage], None] = lambda stage: None,
    only: tuple[str, ...] = (),
    library: str | None = None,
) -> ScoreCard:
    """Measure every row that can be made, write `results.json` and return what it holds.

    A row that does not fit the budget of the run is absent, with the reason, and so is one that
    fails, whatever the cause; the others are measured.

    Args:
        run: where models are kept; those that are absent are fitted, but for the factors of `mf`
            and `pmf`.
        ks: cut-offs.
        fusion: of the hybrid rows.
        on_sweep: told of the sweeps of the fit that choosing alpha needs.
        on_row: told of every row: that it waits, is under way, and what became of it.
        only: names of rows; all by default.
        library: one whose definitions of metrics are computed from the same lists too.

    Raises:
        Interrupted: by the user, after a row or more.
    """
    task, rows = evaluation_task(run.dataset, run.protocol), rows_of(run, only)
    measured: dict[str, Measured] = {}
    absent = {row.name: why for row in rows if (why := lacking(run, row)) is not None}
    _make_choices(run, rows, absent)
    traits = Traits.of(run)
    curves = _curves_for(run, rows, absent, fusion, on_sweep)
    before = [row.name for row in rows if row.name not in absent]  # `hybrid`, which is last
    expected = {
        row.name: cost_of(run, row.name, before if row.name == "hybrid" else ()) for row in rows
    }
    possible = {name: cost for name, cost in expected.items() if name not in absent}
    absent |= _beyond_the_time(run.budget, possible)
    for name, cost in expected.items():
        on_row(Stage(name, cost, absent=absent.get(name)))
    interrupted = False
    try:
        for row in [row for row in rows if row.name not in absent]:
            name, start = row.name, time.monotonic()
            stage = Stage(name, expected[name], under_way=True)
            if (why := run.budget.too_long(stage.expected)) is not None:
                absent[name] = why
                on_row(replace(stage, under_way=False, absent=why))
                continue
            on_row(stage)
            tell, made = partial(absent.__setitem__, name), None
            with survived(tell):
                made = _made(run, row, task, fusion, curves.get(row.embeddings or "", ()))
            metrics: dict[str, float] = {}
            if made is not None:
                with survived(tell, (InputError,)):  # what it refuses, it refuses of every row
                    measured[name] = _measure(run, *made, task, ks, traits, library)
                    metrics = measured[name].evaluation.metrics
            del made
            took, why = time.monotonic() - start, absent.get(name)
            on_row(replace(stage, under_way=False, took=took, metrics=metrics, absent=why))
    except KeyboardInterrupt:
        interrupted = True
        absent |= {row.name: INTERRUPTED for row in rows if row.name not in measured | absent}
    if not measured and interrupted:
        raise KeyboardInterrupt
    if not measured:
        raise InputError(f"nothing can be measured yet ({grouped(absent)})")
    card = _card(run, rows, measured, absent, task, traits, chosen_alpha=bool(curves))
    if not interrupted or not run.results_path.exists() or results_are_stale(run):
        evaluations = {name: found.evaluation for name, found in measured.items()}
        if (told := keep_replaced(run.results_path, card, (PER_USER,))) is not None:
            run.say(told)
        with whole_file(run.per_user_path) as path:
            _per_user_table(evaluations, run.dataset.user_ids.names).sink_parquet(path)
        files: dict[str, str | None] = {PER_USER: file_sha256(run.per_user_path)}
        card = replace(card, made_from=card.made_from | {"files": files})
        write_card(run.results_path, card)
    if interrupted:
        raise Interrupted(card)
    return card


def _beyond_the_time(budget: Budget, expected: dict[str, Cost]) -> dict[str, str]:
    """Of rows that take too long all together the longest, and why; `hybrid` goes last."""
    gone: dict[str, str] = {}
    longest = sorted(expected, key=lambda name: (name == "hybrid", -expected[name].seconds))
    total = sum(cost.seconds for cost in expected.values())
    for name in longest:
        if total <= budget.left:
            break
        total -= expected[name].seconds
        gone[name] = (
            f"it takes about {in_time(expected[name].seconds)}, and not all would be done within"
            f" --budget; give a longer one, or --row {name}"
        )
    return gone


def _card(
    run: RunFolder,
    rows: list[Row],
    measured: dict[str, Measured],
    absent: dict[str, str],
    task: Task,
    traits: Traits,
    chosen_alpha: bool,
) -> ScoreCard:
    """Of what was measured, in the order of the rows."""
    evaluations = {name: found.evaluation for name, found in measured.items()}
    figures = row_cards(evaluations, {row.name: row.label for row in rows}, task.seen.lengths)
    cards = {row.name: replace(row, **measured[row.name].how) for row in figures}
    return ScoreCard(
        protocol=task.card
        | {"intervals": how_sure(task.card["users_evaluated"])}
        | {"cores": f"{len(cores())}; with another number of them last digits differ"}
        | {"beyond_accuracy": _in_words(run, traits)}
        | _how_chosen(run, rows, measured, chosen_alpha),
        rows=tuple(
            cards[row.name]
            if row.name in measured
            else AbsentRow(row.name, row.label, absent[row.name])
            for row in rows
        ),
        made_from=made_from(run, [row for row in rows if row.name in measured]),
        hybrid=_hybrid_card(run, evaluations) if "hybrid" in evaluations else None,
        draws=_draws(rows, cards),
        **_shown(run.protocol.rules),
    )


def _draws(rows: list[Row], cards: dict[str, RowCard]) -> dict[str, Draws]:
    """Of the rows that were measured those whose encoder was fine-tuned more than once."""
    found: dict[str, list[RowCard]] = {}
    for row in rows:
        if row.name in cards and row.embeddings and (taught := Taught.read(row.embeddings)):
            first = row.name.removesuffix(row.embeddings) + Taught(taught.base).name
            found.setdefault(first, []).append(cards[row.name])
    return {name: Draws.of(drawn) for name, drawn in found.items() if len(drawn) > 1}


def _make_choices(run: RunFolder, rows: list[Row], absent: dict[str, str]) -> None:
    """What must hold before rows are read: embeddings chosen, factors of the settings of now.

    The rows for which it cannot are made `absent`, with the reason.
    """
    readers = [row.name for row in rows if reads_texts([row]) and row.name not in absent]
    if readers:
        with excused(lambda why: absent.update(dict.fromkeys(readers, why))):
            choose_embeddings(run)
    if any(row.factors == "pmf" and row.name not in absent for row in rows):
        with excused(lambda why: absent.update(pmf=why)):
            refresh_pmf(run)


def made_from(run: RunFolder, rows: list[Row]) -> dict[str, dict[str, str | None]]:
    """A hash of all that each row of a card is made from as things stand, by the rows' names."""

    def of(row: Row) -> str:
        if row.name == "hybrid":
            return json_sha256(fusion_identity(run))
        if row.learned:
            return json_sha256(identity_with_settings(run, row.name))
        factors = row.factors and hash_on_card(run.factors_path(row.factors))
        embeddings = row.embeddings and hash_on_card(run.embeddings_path(row.embeddings))
        return json_sha256({"factors": factors, "embeddings": embeddings})

    return {"rows": {row.name: of(row) for row in rows}}


def results_are_stale(run: RunFolder) -> bool:
    """Is the last score card of other settings, factors or embeddings, or another version?"""
    if not run.results_path.exists():
        return False
    try:
        used = read_card(run.results_path).made_from.get("rows", {})
        now = made_from(run, [row for row in rows_of(run, tuple(used)) if row.name in used])["rows"]
        return now != used or ("pmf" in used and pmf_is_stale(run))
    except InputError:
        return True  # of another version or damaged, or the embeddings are to be chosen anew


def read_fresh_card(run: RunFolder) -> ScoreCard:
    """The last score card; InputError if there is none with figures, or it is damaged or stale."""
    remedy = f"run `{run.command('eval')}`"
    if not run.results_path.exists():
        raise InputError(f"{run.path} has no score card; {remedy}")
    card = read_card(run.results_path)
    if not card.measured:
        raise InputError(f"{run.results_path}: no row was measured; {remedy}")
    if results_are_stale(run):
        raise InputError(f"{run.results_path}: made from something else by now; {remedy}")
    return card


def set_stale_results_aside(run: RunFolder) -> str | None:
    """Rename stale results; return a line that says so."""
    if not results_are_stale(run):
        return None
    aside = run.results_path.replace(run.path / "results.stale.json")
    return (
        f"The last score card was made from something else and is stale; it is now {aside}."
        f" Run `{run.command('eval')}` for a new one."
    )


def _made(
    run: RunFolder, row: Row, task: Task, fusion: Fusion, curve: Curve
) -> tuple[AnyScorer, dict[str, Any]]:
    """`scorer_of` a row, with the best alpha of `curve` if there is one.

    Raises:
        InputError: it does not rank the cold items that are the only candidates.
    """
    of = Fusion(fusion.name, best(curve)) if curve else fusion
    scorer, how = scorer_of(run, row, task, of)
    if curve and row.factors is not None:
        how["alpha_curve"] = curve
    if _is_cold(task) and not _tells_apart(scorer, task):
        raise InputError("it scores every cold item alike")
    return scorer, how


def _measure(
    run: RunFolder,
    scorer: AnyScorer,
    how: dict[str, Any],
    task: Task,
    ks: tuple[int, ...],
    traits: Traits,
    library: str | None,
) -> Measured:
    """The lists of a scorer that was made in the way `how`."""
    memory = run.budget.memory
    evaluation = evaluate(scorer, task, ks, memory)
    how["beyond_accuracy"] = beyond_accuracy(evaluation, task, traits.E, traits.categories)
    if library is not None:
        how["metrics_as"] = {library: {k: metrics_as(library, evaluation, task, k) for k in ks}}
    if _is_cold(task):
        how["all_unseen"] = _unseen(run, scorer, task, ks, memory)
    return Measured(evaluation, how)


def _in_words(run: RunFolder, traits: Traits) -> str:
    """For the protocol card: by which conventions lists are measured beyond accuracy."""
    said = "novelty = -log2 of the share of users that have an item, of at least one of them;"
    said += " Gini over the candidates, 0 = all listed alike"
    if traits.E is not None:
        said += f"; diversity = 1 - cosine in {traits.embeddings}, over pairs of a list"
    if traits.categories is not None:
        columns = " and ".join(run.dataset.catalogue.categories)
        said += f"; miscalibration = KL of {columns}, a user's from her list's, alpha"
        said += f" {CALIBRATION_ALPHA}"
    return said


def _is_cold(task: Task) -> bool:
    """Has no candidate a train rating?"""
    return not task.item_counts[task.catalogue].any()


def _shown(rules: Rules) -> dict[str, Any]:
    """What the card is to be shown with, and whether it is one of several folds."""
    return {
        "reference": "mf" if rules.as_published else "pmf",
        "retrieved_ideal": rules.as_published,
        "folds": rules.folds,
    }


def _per_user_table(evaluations: dict[str, Evaluation], user_ids: NDArray[Any]) -> pl.LazyFrame:
    """Every user's figures: `row`, `user_id`, one column a metric, `tail_` before those of it.

    Made block by block while it is written.
    """

    def block(row: str, start: int) -> pl.DataFrame:
        found, of = evaluations[row], slice(start, start + BLOCK)
        tail = {f"tail_{name}": v for name, v in found.by_item_third["tail"].items()}
        columns = {"user_id": user_ids[found.users[of]]}
        columns |= {name: values[of] for name, values in (found.per_user | tail).items()}
        return pl.DataFrame(columns).select(pl.lit(row).alias("row"), pl.all())

    def blocks(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        for row, found in evaluations.items():
            for start in range(0, len(found.users), BLOCK):
                yield block(row, start)

    return register_io_source(blocks, schema=block(next(iter(evaluations)), 0).schema)


def _how_chosen(
    run: RunFolder, rows: list[Row], measured: dict[str, Measured], chosen_alpha: bool
) -> dict[str, str]:
    """For the protocol card: how alpha, factors and settings came about, and by what texts."""
    card = {}
    if chosen_alpha:
        card["alpha"] = f"of 0, 1/{GRID}, ..., 1 the best NDCG@25 on validation, a part of train"
        if run.protocol.rules.as_published:
            card["alpha"] += "; texts hold the tags of validation pairs too"
    rows = [row for row in rows if row.name in measured]
    for row in rows:
        if row.factors is not None:
            card[row.factors] = describe(run.read_factors(row.factors)[1])
    fused = learned_fusion(run) if any(row.name == "hybrid" for row in rows) else None
    read = {row.name for row in rows} | set(fused.signals if fused else ())
    tuned = [name for name in MODELS if name in read and run.tuned_path(name).exists()]
    if "pmf" in tuned and not fitted_as_tuned(run):
        tuned.remove("pmf")
    changed = [name for name in tuned if settings_of(run, name) != MODELS[name].settings]
    card["tuned_on_validation"] = ", ".join(changed) or "none (defaults)"
    if kept := [name for name in tuned if name not in changed]:
        card["tuned_on_validation"] += f"; searched, defaults kept: {', '.join(kept)}"
    if reads_texts(rows):
        catalogue = run.dataset.catalogue
        beside = " and ".join([*catalogue.numbers, *catalogue.categories])
        texts = chosen_embeddings(run) or "no embeddings"
        card["text_rows_read"] = ", ".join(filter(None, [texts, beside]))
    return card


def _hybrid_card(run: RunFolder, evaluations: dict[str, Evaluation]) -> FusionCard:
    fusion = learned_fusion(run)
    assert fusion is not None
    return fusion_card(fusion.learned, fusion.signals, evaluations)


def fusion_card(
    learned: Learned,
    signals: tuple[str, ...],
    evaluations: dict[str, Evaluation],
    mesh: Mesh | None = None,
) -> FusionCard:
    """How a fusion was chosen, how it stands, and how far text changed its lists.

    Args:
        learned: the fusion.
        signals: the rows that it fuses.
        evaluations: of all rows by name, `hybrid` among them.
        mesh: whose processes have other users each, if there are several.
    """
    found = evaluations["hybrid"]
    differing = {}
    if "pmf" in evaluations:
        k = min(25, found.lists.shape[1])
        lists = found.lists[:, :k], evaluations["pmf"].lists[:, :k]
        differing = {k: places_differing(*lists, mesh=mesh)}
    compared = [name for name in found.per_user if name.partition("@")[0] in COMPARED]
    return FusionCard(
        signals=signals,
        winner=learned.winner,
        **{
            name: dict(zip(signals, getattr(learned, source), strict=True))
            for name, source in (("weights", "convex"), ("adds", "adds"), ("alone", "alone"))
        },
        validation_ndcg=learned.ndcg,
        calibration=learned.calibration,
        against=against(
            {
                row: np.stack([other.per_user[name] for name in compared], axis=1)[None]
                for row, other in evaluations.items()
            },
            compared,
            mesh=mesh,
        ),
        places_differing=differing,
    )


def _unseen(
    run: RunFolder, scorer: AnyScorer, task: Task, ks: tuple[int, ...], memory: int
) -> dict[str, float]:
    """Cold items among all unseen ones: their share of the lists, and P@K on them."""
    everything = unseen_task(run.dataset, run.protocol)
    found = evaluate(scorer, everything, ks, memory)
    k = max(ks)
    cold = task.catalogue[np.maximum(found.lists, 0)] & (found.lists >= 0)
    return found.metrics | {
        f"cold_share@{k}": float(cold.mean()),
        f"precision_on_cold@{k}": found.hits / max(int(cold.sum()), 1),
    }


def _tells_apart(scorer: AnyScorer, task: Task) -> bool:
    """Does it rank the candidates at all? Else the order would be drawn."""
    some = np.flatnonzero(task.relevant.lengths)[:16].astype(np.int32)
    candidates = jnp.broadcast_to(task.catalogue, (len(some), len(task.catalogue)))
    scores = np.asarray(worked_out(scorer, some)(jnp.asarray(some), candidates))[:, task.catalogue]
    return bool(np.ptp(scores, axis=1).any())


def scorer_of(
    run: RunFolder,
    row: Row,
    task: Task,
    fusion: Fusion,
    of_hybrid: Callable[[RunFolder], choices.Fusion] = learn_fusion,
) -> tuple[AnyScorer, dict[str, Any]]:
    """The scorer of a row that lacks nothing, and its fusion and alpha if it has one.

    Args:
        run: where it is kept.
        row: of the score card.
        task: whom to serve.
        fusion: of the published rows.
        of_hybrid: what `hybrid` is fused by.
    """
    if row.name == "hybrid":
        found = of_hybrid(run)
        return fused(run, found), {"fusion": found.learned.winner}
    if row.learned:
        return fitted(run, row.name), {"settings": settings_of(run, row.name)}
    if row.name == "pmf":
        return fitted_pmf(run), {}
    factors = None if row.factors is None else run.read_factors(row.factors)[0]
    if row.embeddings is None:
        assert factors is not None, "a row needs factors, embeddings or a model"
        return product(*factors), {}
    train = run.dataset.interactions.at(run.protocol.split.train)
    E = run.read_embeddings(row.embeddings).E
    profiles = content_profiles(fusion.name, train, run.dataset.feedback, E, run.dataset.users)
    if factors is None:
        return product(profiles, E), {"fusion": fusion.name}
    alpha = PUBLISHED_FUSION.alpha if fusion.alpha is None else fusion.alpha
    assert alpha is not None
    scorer = published_fusion(fusion.name, factors, profiles, E, task.catalogue, alpha)
    return scorer, {"fusion": fusion.name, "alpha": alpha}


def _curves_for(
    run: RunFolder,
    rows: list[Row],
    absent: dict[str, str],
    fusion: Fusion,
    on_sweep: OnSweep,
) -> dict[str, Curve]:
    """`alpha_curves` of the embeddings that are fused, if alpha is to be chosen.

    Where it cannot be, the fused rows are made `absent`, with the reason.
    """
    fused_rows = {
        row.name: row.embeddings
        for row in rows
        if row.factors is not None and row.embeddings is not None and row.name not in absent
    }
    curves: dict[str, Curve] = {}
    if fusion.alpha is not None:
        return curves
    for name, of in tuple(fused_rows.items()):
        if run.taught_what_judges(card_of(run.embeddings_path(of))):
            absent[name] = "its encoder has learned from validation, which chooses; give an --alpha"
            del fused_rows[name]
    if fused_rows:
        with excused(lambda why: absent.update(dict.fromkeys(fused_rows, why))):
            settings = settings_on(run.read_factors("mf")[1])
            embeddings = {name: run.read_embeddings(name) for name in fused_rows.values()}
            curves = alpha_curves(run, settings, fusion.name, embeddings, on_sweep)
    return curves
