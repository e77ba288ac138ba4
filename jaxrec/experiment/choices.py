"""What an experiment has chosen on validation: settings, embeddings, fusion.

Each choice is made by a step of its own and kept; reading one never fits anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from jaxrec import __version__
from jaxrec.errors import InputError, excuse, excused, grouped
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.split import Split
from jaxrec.evaluation.task import Task, calibration_task, validation_tasks
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.kept import Identity, as_json, hash_on_card
from jaxrec.experiment.rows import settings_of, signals_of
from jaxrec.files import Form, file_sha256, read_sealed, write_sealed
from jaxrec.fusion.gate import WINNERS, Familiarity, Learned, familiarity
from jaxrec.models.model import Evidence
from jaxrec.models.registry import MODELS, fit
from jaxrec.topk.scorer import Linear, Product

if TYPE_CHECKING:
    from jaxrec.fusion.learning import Part

Made = TypeVar("Made")
LEARNED: Form = {
    "winner": str, "weights": dict, "convex": list, "adds": list, "alone": list, "ndcg": dict,
    "calibration": dict,
}  # fmt: skip
"""Of a `Learned`."""
FUSION: Form = LEARNED | {"signals": list, "left_out": dict, "failed": dict, "made_from": dict}
"""Of `hybrid.json`: a `Learned`, and how it was learned."""
SLOW = ("set",)
"""Signals that do not choose embeddings, for the time they take."""


def choose_embeddings(run: RunFolder) -> str | None:
    """Of several embeddings choose those that text models read: the best on validation.

    The figure of each is kept in `content.json` with what it was made from; one that still holds
    is not computed again.

    Returns:
        Their name; None if there are none.
    """
    names = _candidates(run)
    if len(names) < 2:
        return next(iter(names), None)
    rows = _choosers(run)
    settings, figures = _settings_of(run, rows), _known_figures(run, rows)
    for name in names:
        sha256 = hash_on_card(run.embeddings_path(name, "honest"))
        if figures.get(name, {}).get("sha256") != sha256:
            ndcg = validation_ndcg(run, partial(_read, run, name))
            figures[name] = {"sha256": sha256, "validation_ndcg@25": ndcg}
            write_sealed(run.content_path, {"settings": settings, "ndcg": figures})
    return chosen_embeddings(run)


def chosen_embeddings(run: RunFolder) -> str | None:
    """The name of the embeddings that text models read; None if there are none.

    Raises:
        InputError: there are several, and the choice was not made or no longer holds.
    """
    names = _candidates(run)
    if len(names) < 2:
        return next(iter(names), None)
    figures = _known_figures(run)  # whatever the budget is now
    for name in names:
        sha256 = hash_on_card(run.embeddings_path(name, "honest"))
        if figures.get(name, {}).get("sha256") != sha256:
            raise InputError(
                f"{run.path} has several embeddings and has not chosen among them; run"
                f" `{run.command('eval')}`"
            )
    return max(names, key=lambda name: figures[name]["validation_ndcg@25"])


def _candidates(run: RunFolder) -> list[str]:
    return run.embedding_names("honest") if run.reads is None else [run.reads]


def _known_figures(run: RunFolder, rows: tuple[str, ...] | None = None) -> dict[str, Any]:
    """By embeddings, as long as they are of the settings of now; of these `rows`, or of any."""
    try:
        form: Form = {"settings": dict, "ndcg": dict}
        there = read_sealed(run.content_path, "made again", form)
    except FileNotFoundError:
        return {}
    except InputError as error:
        run.say(str(error))
        return {}
    used = there["settings"]
    rows = tuple(row for row in used if row in MODELS) if rows is None else rows
    known = there["ndcg"] if used == _settings_of(run, rows) else {}
    return {name: own for name, own in known.items() if {*own} >= {"sha256", "validation_ndcg@25"}}


def _settings_of(run: RunFolder, rows: tuple[str, ...]) -> Any:
    return as_json({row: settings_of(run, row) for row in rows})


def evidence(run: RunFolder, split: Split, row: str | None = None) -> Evidence:
    """What `row` of this run may learn from; None for any row.

    Raises:
        InputError: the row reads texts, and embeddings are to be chosen.
    """
    name = chosen_embeddings(run) if row is None or MODELS[row].text else None
    return evidence_with(run, split, None if name is None else _read(run, name, split))


def _read(run: RunFolder, name: str, split: Split) -> NDArray[np.float32]:
    """[items, dim] the embeddings called `name` as a row may read them on this split."""
    return run.read_embeddings(name, "honest", split).E


def evidence_with(run: RunFolder, split: Split, E: NDArray[np.float32] | None) -> Evidence:
    """The same with embeddings that need not be the chosen ones."""
    of = run.dataset.sha256, split.sha256(), run.fit_seed
    return Evidence(run.dataset, split, E, run.fit_seed, run.plain.setdefault(of, {}))


def identity_of(run: RunFolder, row: str) -> Identity:
    """All that decides a row that learns, beside the settings: data, split, seed and embeddings."""
    identity: Identity = {"seed": run.fit_seed}
    if MODELS[row].text:
        name = chosen_embeddings(run)
        path = None if name is None else run.embeddings_path(name, "honest")
        identity |= {"embeddings": name, "embeddings_sha256": path and file_sha256(path)}
    return identity | run.identity()


def identity_with_settings(run: RunFolder, row: str) -> Identity:
    """All that decides a fitted row."""
    whole = {"row": row, "settings": settings_of(run, row), "jaxrec": __version__}
    return as_json(whole | identity_of(run, row))


def validation_ndcg(run: RunFolder, read: Callable[[Split], NDArray[np.float32]]) -> float:
    """NDCG@25 on validation of the fusion, were the embeddings of the texts what `read` gives.

    Signals that cannot be made here are left out, so that no model costs another its embeddings;
    so are those that a fine-tuned encoder would wait for after each epoch (`SLOW`), or that read no
    texts.

    Args:
        run: its settings and splits.
        read: unit embeddings [items, dim] by whose encoder nothing that the split holds out has
            been learned; asked for each split inside train.
    """
    from jaxrec.fusion.learning import Part
    from jaxrec.fusion.learning import learn_fusion as learn

    tasks = validation_tasks(run.dataset, run.protocol)
    lacking: dict[str, str] = {}
    fits = _choosers(run)
    made = [
        _possible(run, fits, evidence_with(run, split, read(split)), lacking) for split, _ in tasks
    ]
    rows = [row for row in fits if row not in lacking]
    if not rows:
        why = "; ".join(f"no signal {row}: {why}" for row, why in lacking.items())
        raise InputError(why or "within --memory no signal reads texts; give more")
    if len(rows) == 1:
        figures = [
            evaluate(signals[rows[0]], task, (25,), run.budget.memory).metrics["ndcg@25"]
            for signals, (_, task) in zip(made, tasks, strict=True)
        ]
        return sum(figures) / len(figures)
    parts = [
        Part(tuple(signals[row] for row in rows), familiarity_of(run, split), task)
        for signals, (split, task) in zip(made, tasks, strict=True)
    ]
    return max(learn(parts, run.protocol.seed, run.budget.memory).ndcg.values())


def _choosers(run: RunFolder) -> tuple[str, ...]:
    """The signals by which embeddings are chosen; see `validation_ndcg`."""
    signals = signals_of(run, embedded=True).rows
    return tuple(row for row in signals if row not in SLOW and MODELS[row].text)


def _possible(
    run: RunFolder, rows: tuple[str, ...], inner: Evidence, lacking: dict[str, str]
) -> dict[str, Product | Linear]:
    """The signals that can be fitted, by row; `lacking` gets the others, with the reason."""
    made = {}
    for row in rows:
        if row not in lacking:
            with excused(partial(lacking.__setitem__, row)):
                made[row] = fit(row, inner, settings_of(run, row))
    return made


class Fusion(NamedTuple):
    """The fusion of a run."""

    learned: Learned
    signals: tuple[str, ...]
    """The rows that are fused."""
    failed: dict[str, str]
    """Rows that could not be made on validation, and why."""


def learn_fusion(run: RunFolder) -> Fusion:
    """The fusion of this run, learned on validation or as it was kept.

    Raises:
        InputError: there are no two signals that can be made.
    """
    # Flax and optax take most of a second to import; a fit of PMF does without
    from jaxrec.fusion.calibration import calibrate
    from jaxrec.fusion.learning import Part
    from jaxrec.fusion.learning import learn_fusion as learn

    left_out, kept, failed = signals_of(run).left_out, learned_fusion(run), dict[str, str]()
    if kept is not None and kept.signals == signals_of(run, left_out | kept.failed).rows:
        return kept
    if run.hybrid_path.exists():
        run.say("hybrid: its fusion was learned from something else; learned again")
    tasks, memory = validation_tasks(run.dataset, run.protocol), run.budget.memory
    while True:  # in place of a signal that cannot be made, the next
        signals, before = signals_of(run, left_out | failed).rows, len(failed)
        if len(signals) < 2:
            why = grouped(left_out | failed) or "there is nothing else to fuse"
            raise InputError(f"of its signals there is {', '.join(signals) or 'none'}: {why}")
        made = [_possible(run, signals, evidence(run, split), failed) for split, _ in tasks]
        if len(failed) == before:
            break
    for row, why in failed.items():
        run.say(f"hybrid: its signal {row} cannot be made ({why})")
    made_from = _fusion_identity(run, signals)
    parts = [
        Part(tuple(scored[row] for row in signals), familiarity_of(run, split), task)
        for scored, (split, task) in zip(made, tasks, strict=True)
    ]
    learned = learn(parts, run.protocol.seed, memory)
    if run.protocol.rules.cold_items:
        split, task = calibration_task(run.dataset, run.protocol)
        mixed = _part(run, signals, evidence(run, split), task)
        learned = calibrate(learned, mixed, run.protocol.seed, memory)
    how = {"signals": signals, "left_out": left_out, "failed": failed, "made_from": made_from}
    write_sealed(run.hybrid_path, learned._asdict() | how)
    return Fusion(learned, signals, failed)


def learned_fusion(run: RunFolder) -> Fusion | None:
    """The fusion as it was kept; None where there is none of what there is now.

    What did not fit the budget when it was learned need not do so now.
    """
    try:
        found = read_sealed(run.hybrid_path, "learned again", FUSION)
    except FileNotFoundError:
        return None
    except InputError as error:
        run.say(str(error))
        return None
    if not is_fusion(found):
        return None
    signals = signals_of(run, found["left_out"] | found["failed"]).rows
    if list(signals) != found["signals"] or found["made_from"] != _fusion_identity(run, signals):
        return None
    learned = Learned(**{key: found[key] for key in Learned._fields})
    return Fusion(learned, signals, found["failed"])


def is_fusion(found: dict[str, Any]) -> bool:
    """Can what a card of `LEARNED` and its `signals` says be a fusion of these?"""
    sizes = {len(found[name]) for name in ("convex", "adds", "alone")}
    return found["winner"] in WINNERS and sizes == {len(found["signals"])}


def measured_fusion(run: RunFolder) -> Fusion:
    """The fusion as it was measured, whatever the budget is now; learned where there is none."""
    return learned_fusion(run) or learn_fusion(run)


def fusion_identity(run: RunFolder) -> Identity:
    """All that the fusion, as it was kept or would be learned, is made from."""
    kept = learned_fusion(run)
    return _fusion_identity(run, signals_of(run).rows if kept is None else kept.signals)


def _fusion_identity(run: RunFolder, signals: tuple[str, ...]) -> Identity:
    return {row: identity_with_settings(run, row) for row in signals}


def familiarity_of(run: RunFolder, split: Split) -> Familiarity:
    """How much a split knows of users and items."""
    interactions = run.dataset.interactions
    users = np.bincount(interactions.users[split.known], minlength=run.dataset.users)
    items = np.bincount(interactions.items[split.train], minlength=run.dataset.items)
    return familiarity(users, items)


def of_signal(row: str, make: Callable[[str], Made]) -> Made:
    """What `make` makes of a signal; where that is impossible an InputError names the signal."""
    try:
        return make(row)
    except Exception as error:
        if (why := excuse(error)) is None:
            raise
        raise InputError(f"its signal {row} cannot be made: {why}") from error


def _part(run: RunFolder, rows: tuple[str, ...], inner: Evidence, task: Task) -> Part:
    """The signals fitted on an inner split, and what they are judged by."""
    from jaxrec.fusion.learning import Part

    def fit_own(row: str) -> Product | Linear:
        return fit(row, inner, settings_of(run, row))

    signals = tuple(of_signal(row, fit_own) for row in rows)
    return Part(signals, familiarity_of(run, inner.split), task)
