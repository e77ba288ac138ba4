"""From a run folder to a fitted model: what the experiment chose, of its train part or of all."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxrec import __version__
from jaxrec.data.features import FeatureSpace
from jaxrec.errors import InputError, excused, grouped
from jaxrec.evaluation.card import ScoreCard, read_card
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.split import Split
from jaxrec.evaluation.task import drawn_order, evaluation_task, validation_tasks
from jaxrec.experiment.choices import (
    Fusion,
    chosen_embeddings,
    evidence,
    evidence_with,
    measured_fusion,
    of_signal,
)
from jaxrec.experiment.fitting import learned, learned_pmf, pmf_is_stale, refresh_pmf, settings_on
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.rows import Row, lacking, reads_texts, rows_of, settings_of
from jaxrec.experiment.scoring import made_from
from jaxrec.models.factorization import row_settings
from jaxrec.models.model import Arrays, Settings
from jaxrec.models.registry import MODELS, fit, learn
from jaxrec.serving.model import FittedModel
from jaxrec.serving.strangers import Segments, of_strangers

DEFAULT_ROW = "hybrid"
PATHS = ("encoder", "name", "notes", "training", "history", "sha256", "data", "items")
"""On the card of embeddings what a model does without: paths, and what is of the experiment."""


def choose_row(run: RunFolder, asked: str | None) -> tuple[Row, ScoreCard]:
    """The row that is to be fitted, and the score card that has its figures.

    That is the row asked for, or `hybrid`; where it was not measured, of the others the best on
    validation.

    Raises:
        InputError: nothing was measured, not that row, or it has become stale.
    """
    remedy = f"run `{run.command('eval')}`"
    if asked is not None:
        servable(run, asked)
        if asked not in {row.name for row in rows_of(run)}:  # those that are there when named
            remedy = f"run `{run.command('eval', '--row', asked)}`"
    if not run.results_path.exists():
        raise InputError(f"{run.path} has measured nothing that a model is chosen by; {remedy}")
    card = read_card(run.results_path)
    name = asked or DEFAULT_ROW
    if name not in card.measured and asked is None:
        name = _best_on_validation(run, card)
    if name not in card.measured:
        raise InputError(f"{run.path} has no figures of row {name}; {remedy}")
    row = servable(run, name)
    stale = row.factors == "pmf" and pmf_is_stale(run)
    if stale or card.made_from["rows"].get(name) != made_from(run, [row])["rows"][name]:
        raise InputError(f"the figures of row {name} are of other settings or embeddings; {remedy}")
    return row, card


def row_to_ask(run: RunFolder, known_alone: bool = False) -> str:
    """The row that answers where none is named: `hybrid`, if it was measured or nothing was.

    Else it is the best of the score card by NDCG@25 (or at the card's largest cut-off).

    Args:
        run: the experiment.
        known_alone: is a row of the published table, which knows its own users alone, enough?

    Raises:
        InputError: the score card cannot be read.
    """
    card = read_card(run.results_path) if run.results_path.exists() else None
    measured = {} if card is None else card.measured
    figures = {
        row: of.figures.metrics for row, of in measured.items() if row in MODELS or known_alone
    }
    if card is None or DEFAULT_ROW in measured or not figures:
        return DEFAULT_ROW
    metric = f"ndcg@{25 if 25 in card.ks else max(card.ks)}"
    best = max(figures, key=lambda row: figures[row][metric])
    run.say(f"{DEFAULT_ROW} was not measured: {best} has the best {metric.upper()}")
    return best


def servable(run: RunFolder, name: str) -> Row:
    """A row that can be asked by anybody; InputError for one that cannot, or cannot be made."""
    (row,) = rows_of(run, (name,))
    if name not in MODELS and name != "hybrid":
        raise InputError(
            f"row {name} is of the published table, and knows nobody new; take another --row, as"
            f" {DEFAULT_ROW}"
        )
    if (lacks := lacking(run, row)) is not None:
        raise InputError(f"row {name} is absent: {lacks}")
    if row.factors == "pmf" and settings_on(run.read_factors("pmf")[1]).biases:
        command = run.factors_command("pmf")
        raise InputError(f"factors with biases know nobody new; run `{command}` without --biases")
    return row


def _best_on_validation(run: RunFolder, card: ScoreCard) -> str:
    """Of the measured rows that learn; InputError where validation judges none of them."""
    figures, lost = dict[str, float](), dict[str, str]()
    for row in [name for name in card.measured if name in MODELS]:
        with excused(partial(lost.__setitem__, row)):
            settings, memory = _settings(run, servable(run, row), None)[row], run.budget.memory
            found = [
                evaluate(fit(row, evidence(run, split, row), settings), task, (25,), memory)
                for split, task in validation_tasks(run.dataset, run.protocol)
            ]
            figures[row] = float(np.mean([of.metrics["ndcg@25"] for of in found]))
    if not figures:
        why = f" ({grouped(lost)})" if lost else ""
        raise InputError(
            f"{DEFAULT_ROW} was not measured, nor can others be judged{why}; give --row"
        )
    best = max(figures, key=lambda row: figures[row])
    run.say(f"{DEFAULT_ROW} was not measured: {best} is the best on validation")
    return best


def fit_model(
    run: RunFolder,
    row: Row,
    card: dict[str, Any],
    E: NDArray[np.float32] | None,
    segments: Segments | None = None,
) -> FittedModel:
    """Fit a row with what the experiment chose on everything: train, test and whatever is known.

    Args:
        run: the experiment.
        row: see `choose_row`.
        card: how it came about; see `model_card`.
        E: [items, dim] embeddings of texts, of all remarks perhaps; None without any.
        segments: of users, for whom nothing else is known of.
    """
    n = len(run.dataset.interactions.users)
    everything = Split(np.arange(n), np.zeros(0, np.int64))
    own, fusion = evidence_with(run, everything, E), _fusion(run, row)
    settings = _settings(run, row, fusion)

    def fit_one(name: str) -> Arrays:
        return learn(name, own, settings[name])

    arrays = {name: of_signal(name, fit_one) for name in settings}
    return _model(run, row, everything, settings, arrays, fusion, card, E, segments)


def model_of_train(run: RunFolder, row: Row) -> FittedModel:
    """The same as it was measured: learned of what the experiment's users are known by."""
    if row.factors == "pmf":
        refresh_pmf(run)
    fusion = _fusion(run, row)
    settings = _settings(run, row, fusion)
    arrays = {
        name: learned_pmf(run) if row.name == "pmf" else of_signal(name, lambda n: learned(run, n))
        for name in settings
    }
    name = chosen_embeddings(run) if reads_texts([row]) else None
    E = None if name is None else run.read_embeddings(name, "honest").E
    card = {"data": {"synthetic": run.dataset.synthetic}}
    return _model(run, row, run.protocol.split, settings, arrays, fusion, card, E, None)


def _fusion(run: RunFolder, row: Row) -> Fusion | None:
    return measured_fusion(run) if row.name == "hybrid" else None


def _settings(run: RunFolder, row: Row, fusion: Fusion | None) -> dict[str, Settings]:
    """By signal that is heard at all; those of factors that were asked for are theirs."""
    if row.name == "pmf":
        card = run.read_factors("pmf")[1]
        return {"pmf": row_settings(settings_on(card), run.size.density)}
    if fusion is None:
        return {row.name: settings_of(run, row.name)}
    heard = [fusion.signals[signal] for signal in fusion.learned.heard()]
    return {name: settings_of(run, name) for name in heard}


def _model(
    run: RunFolder,
    row: Row,
    split: Split,
    settings: dict[str, Settings],
    arrays: dict[str, Arrays],
    fusion: Fusion | None,
    card: dict[str, Any],
    E: NDArray[np.float32] | None,
    segments: Segments | None,
) -> FittedModel:
    dataset, protocol = run.dataset, run.protocol
    measured = split is protocol.split
    task = evaluation_task(dataset, protocol)
    return FittedModel(
        row=row.name,
        settings=settings,
        learned=arrays,
        fusion=None if fusion is None else fusion.learned.of_signals(fusion.learned.heard()),
        feedback=dataset.feedback,
        user_ids=dataset.user_ids,
        catalogue=dataset.catalogue,
        known=dataset.interactions.at(split.known),
        trained=evidence_with(run, split, None).asking.trained,
        item_counts=np.bincount(dataset.interactions.items[split.train], minlength=dataset.items),
        candidates=task.catalogue if measured else np.ones(dataset.items, bool),
        tie_order=task.tie_order if measured else drawn_order(dataset, protocol.seed),
        strangers=of_strangers(dataset, protocol.split.train, split.known, protocol.seed, segments),
        space=FeatureSpace.of(dataset.catalogue),
        E=E if reads_texts([row]) else None,
        card=card,
    )


def model_card(
    run: RunFolder, row: Row, card: ScoreCard, encoder: dict[str, Any] | None
) -> dict[str, Any]:
    """What a model says of itself: its data, and the figures it was chosen by.

    These are of the experiment, in which it had seen a part of the data only; of the model, which
    has seen all of it, there can be none.

    Args:
        run: the experiment.
        row: that is fitted.
        card: with the figures.
        encoder: the card of the embeddings that it reads.
    """
    dataset = run.dataset
    protocol = {name: value for name, value in card.protocol.items() if name != "mended"}
    if encoder is not None:
        encoder = {name: value for name, value in encoder.items() if name not in PATHS}
    return {
        "jaxrec": __version__,
        "row": row.name,
        "label": row.label,
        "data": {
            "name": dataset.name,
            "sha256": dataset.sha256,
            "licence": dataset.licence,
            "synthetic": dataset.synthetic,
            "users": dataset.users,
            "items": dataset.items,
            "interactions": len(dataset.interactions.users),
        },
        "experiment": {
            "protocol": protocol,
            "figures": {name: of.figures.to_json() for name, of in card.measured.items()},
        },
        "encoder": encoder,
    }
