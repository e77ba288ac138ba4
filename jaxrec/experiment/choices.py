"""What an experiment has chosen on validation: settings, embeddings, fusion.

Each choice is made by a step of its own and kept; reading one never fits anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from jaxrec import __version__
from jaxrec.errors import InputError, excuse, excused
from jaxrec.evaluation.split import Split
from jaxrec.evaluation.task import Task, calibration_task, validation_tasks
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.kept import Identity, as_json, hash_on_card
from jaxrec.files import file_sha256, read_json, write_json
from jaxrec.fusion.gate import Familiarity, Learned, familiarity
from jaxrec.models.factorization import pmf_settings
from jaxrec.models.model import Evidence, Settings
from jaxrec.models.registry import MODELS, fit
from jaxrec.pmf.objective import PmfSettings
from jaxrec.topk.blocks import MEMORY
from jaxrec.topk.scorer import Product, Table

if TYPE_CHECKING:
    from jaxrec.fusion.learning import Part

Made = TypeVar("Made")

SIGNALS = ("pmf+text", "ease-graded+text", "text")
"""What `hybrid` fuses; the convex combination is of the first two."""


def settings_of(run: RunFolder, row: str) -> Settings:
    """Those `jaxrec tune` found in this run folder, else the defaults.

    Settings that are no longer the row's are left out.

    Raises:
        InputError: they were tuned on other data or another split, and so perhaps on what is held
            out here.
    """
    path, defaults = run.tuned_path(row), MODELS[row].settings
    if not path.exists():
        return defaults
    tuned, own = read_json(path), run.identity()
    if any(own.get(key, value) != value for key, value in tuned.get("made_from", {}).items()):
        raise InputError(f"{path} was tuned on another split or other data; remove it")
    return defaults | {name: v for name, v in tuned["settings"].items() if name in defaults}


def pmf_settings_of(run: RunFolder) -> PmfSettings:
    """What `train-pmf` fits by default: what was tuned in this run folder, else the defaults."""
    return pmf_settings(settings_of(run, "pmf"))


def choose_embeddings(run: RunFolder) -> str | None:
    """Of several embeddings choose those that text models read: the best on validation.

    The figure of each is kept in `content.json` with what it was made from; one that still holds
    is not computed again.

    Returns:
        Their name; None if there are none.
    """
    names = run.embedding_names("honest")
    if len(names) < 2:
        return next(iter(names), None)
    settings, figures = _signal_settings(run), _known_figures(run)
    for name in names:
        sha256 = hash_on_card(run.embeddings_path(name, "honest"))
        if figures.get(name, {}).get("sha256") != sha256:
            ndcg = validation_ndcg(run, run.read_embeddings(name, "honest").E)
            figures[name] = {"sha256": sha256, "validation_ndcg@25": ndcg}
            write_json(run.content_path, {"settings": settings, "ndcg": figures})
    return chosen_embeddings(run)


def chosen_embeddings(run: RunFolder) -> str | None:
    """The name of the embeddings that text models read; None if there are none.

    Raises:
        InputError: there are several, and the choice was not made or no longer holds.
    """
    names = run.embedding_names("honest")
    if len(names) < 2:
        return next(iter(names), None)
    figures = _known_figures(run)
    for name in names:
        sha256 = hash_on_card(run.embeddings_path(name, "honest"))
        if figures.get(name, {}).get("sha256") != sha256:
            raise InputError(
                f"{run.path} has several embeddings and has not chosen among them; run"
                f" `{run.command('eval')}`"
            )
    return max(names, key=lambda name: figures[name]["validation_ndcg@25"])


def _known_figures(run: RunFolder) -> dict[str, Any]:
    there = read_json(run.content_path) if run.content_path.exists() else {}
    return there.get("ndcg", {}) if there.get("settings") == _signal_settings(run) else {}


def _signal_settings(run: RunFolder) -> Any:
    return as_json({row: settings_of(run, row) for row in SIGNALS})


def evidence(run: RunFolder, split: Split, row: str | None = None) -> Evidence:
    """What `row` of this run may learn from; None for any row.

    Raises:
        InputError: the row reads texts, and embeddings are to be chosen.
    """
    name = chosen_embeddings(run) if row is None or MODELS[row].text else None
    E = None if name is None else run.read_embeddings(name, "honest").E
    return evidence_with(run, split, E)


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


def validation_ndcg(run: RunFolder, E: NDArray[np.float32], memory: int = MEMORY) -> float:
    """NDCG@25 on validation of the fusion, were E [items, dim] the embeddings of the texts.

    Signals that cannot be made here are left out, so that no model costs another its embeddings.

    Args:
        run: its settings and splits.
        E: unit embeddings.
        memory: bytes that the arrays of ranking may take.
    """
    from jaxrec.fusion.learning import Part
    from jaxrec.fusion.learning import learn_fusion as learn

    tasks = validation_tasks(run.dataset, run.protocol)
    lacking: dict[str, str] = {}
    made = [_possible_signals(run, evidence_with(run, split, E), lacking) for split, _ in tasks]
    rows = [row for row in SIGNALS if row not in lacking]
    if len(rows) < 2:
        raise InputError("; ".join(f"no signal {row}: {why}" for row, why in lacking.items()))
    parts = [
        Part(tuple(signals[row] for row in rows), familiarity_of(run, split), task)
        for signals, (split, task) in zip(made, tasks, strict=True)
    ]
    return max(learn(parts, run.protocol.seed, memory).ndcg.values())


def _possible_signals(
    run: RunFolder, inner: Evidence, lacking: dict[str, str]
) -> dict[str, Product | Table]:
    """The signals that can be fitted, by row; `lacking` gets the others, with the reason."""
    made = {}
    for row in SIGNALS:
        if row not in lacking:
            with excused(partial(lacking.__setitem__, row)):
                made[row] = fit(row, inner, settings_of(run, row))
    return made


def learn_fusion(run: RunFolder, memory: int = MEMORY) -> Learned:
    """The fusion of this run, learned on validation or as it was kept.

    Raises:
        InputError: a signal cannot be made, which it names.
    """
    # Flax and optax take most of a second to import; a fit of PMF does without
    from jaxrec.fusion.calibration import calibrate
    from jaxrec.fusion.learning import learn_fusion as learn

    kept = learned_fusion(run)
    if kept is not None:
        return kept
    if run.hybrid_path.exists():
        run.say("hybrid: its fusion was learned from something else; learned again")
    made_from = _fusion_identity(run)
    parts = [
        _part(run, evidence(run, split), task)
        for split, task in validation_tasks(run.dataset, run.protocol)
    ]
    learned = learn(parts, run.protocol.seed, memory)
    if run.protocol.rules.cold_items:
        split, task = calibration_task(run.dataset, run.protocol)
        mixed = _part(run, evidence(run, split), task)
        learned = calibrate(learned, mixed, run.protocol.seed, memory)
    write_json(run.hybrid_path, learned._asdict() | {"signals": SIGNALS, "made_from": made_from})
    return learned


def learned_fusion(run: RunFolder) -> Learned | None:
    """The fusion as it was kept; None where there is none of what there is now."""
    if not run.hybrid_path.exists():
        return None
    found = read_json(run.hybrid_path)
    if found.get("made_from") != _fusion_identity(run) or not set(Learned._fields) <= set(found):
        return None
    return Learned(**{key: found[key] for key in Learned._fields})


def _fusion_identity(run: RunFolder) -> Identity:
    return {row: identity_with_settings(run, row) for row in SIGNALS}


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


def _part(run: RunFolder, inner: Evidence, task: Task) -> Part:
    """The signals fitted on an inner split, and what they are judged by."""
    from jaxrec.fusion.learning import Part

    def fit_own(row: str) -> Product | Table:
        return fit(row, inner, settings_of(run, row))

    signals = tuple(of_signal(row, fit_own) for row in SIGNALS)
    return Part(signals, familiarity_of(run, inner.split), task)
