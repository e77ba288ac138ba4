"""Fits the learned rows in a run folder, and keeps what was fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jaxrec import __version__
from jaxrec.errors import InputError
from jaxrec.evaluation.split import Split
from jaxrec.evaluation.task import Task, calibration_task, validation_tasks
from jaxrec.experiment.factors_file import read_factors, write_factors
from jaxrec.experiment.folder import RunFolder
from jaxrec.files import file_sha256, read_json, write_json
from jaxrec.models.model import Evidence, Settings
from jaxrec.models.registry import MODELS, fit
from jaxrec.pmf.objective import Factors
from jaxrec.topk.blocks import MEMORY
from jaxrec.topk.scorer import Product, Scorer, Table, product

if TYPE_CHECKING:
    from jaxrec.fusion.gate import Familiarity, Learned, Part

SIGNALS = ("pmf+text", "ease-graded+text", "text")
"""What `hybrid` fuses; the convex combination is of the first two."""


def content_name(run: RunFolder) -> str | None:
    """The embeddings that text models read: of several those that validation prefers.

    None if there are none. `validation_ndcg` of each is kept in `content.json`.
    """
    names = run.embedding_names("honest")
    if len(names) < 2:
        return next(iter(names), None)
    paths = {name: run.embeddings_path(name, "honest") for name in names}
    hashes = {
        name: read_json(path.with_suffix(".json")).get("sha256") for name, path in paths.items()
    }
    settings = {row: settings_of(run, row) for row in SIGNALS}
    there = read_json(run.content_path) if run.content_path.exists() else {}
    figures = there.get("ndcg", {}) if there.get("settings") == settings else {}
    known_figures = {name: figures.get(name, {}) for name in names}
    for name in names:
        if known_figures[name].get("sha256") != hashes[name]:
            ndcg = validation_ndcg(run, run.read_embeddings(name, "honest").E)
            known_figures[name] = {"sha256": hashes[name], "validation_ndcg@25": ndcg}
    if known_figures != figures:
        write_json(run.content_path, {"settings": settings, "ndcg": known_figures})
    return max(names, key=lambda name: known_figures[name]["validation_ndcg@25"])


def known(run: RunFolder, split: Split) -> Evidence:
    """What models of this run may learn from."""
    name = content_name(run)
    E = None if name is None else run.read_embeddings(name, "honest").E
    return Evidence(run.dataset, split, E, run.fit_seed)


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


def fitted(run: RunFolder, row: str) -> Product | Table:
    """A row's model of the train part, fitted or as it was kept."""
    settings = settings_of(run, row)
    path, card = run.model_path(row), _card(run, row, settings)
    try:
        factors, found = read_factors(path, "")
        if all(found.get(key) == value for key, value in card.items()):
            return product(*factors)
    except InputError:
        pass  # absent or half written: fitted anew
    model = fit(row, known(run, run.protocol.split), settings)
    if isinstance(model, Product):
        write_factors(path, Factors(np.asarray(model.left), np.asarray(model.right)), card)
    return model


def fitted_factors(run: RunFolder, row: str) -> Factors:
    """A row's model that is a product of two factors."""
    model = fitted(run, row)
    assert isinstance(model, Product), f"{row} has no factors"
    return Factors(np.asarray(model.left), np.asarray(model.right))


def validation_ndcg(run: RunFolder, E: NDArray[np.float32], memory: int = MEMORY) -> float:
    """NDCG@25 on validation of the fusion, were E [items, dim] the embeddings of the texts.

    Args:
        run: its settings and splits.
        E: unit embeddings.
        memory: bytes that the arrays of ranking may take.
    """
    from jaxrec.fusion.gate import learn_fusion

    tasks = validation_tasks(run.dataset, run.protocol)
    learned = learn_fusion([_part(run, *task, E) for task in tasks], run.protocol.seed, memory)
    return max(learned.ndcg.values())


def _part(run: RunFolder, split: Split, task: Task, E: NDArray[np.float32] | None = None) -> Part:
    """The signals fitted on an inner split, and what they are judged by."""
    from jaxrec.fusion.gate import Part

    inner = known(run, split) if E is None else Evidence(run.dataset, split, E, run.fit_seed)
    signals = tuple(fit(row, inner, settings_of(run, row)) for row in SIGNALS)
    return Part(signals, _knowledge(run, split), task)


def learned_fusion(run: RunFolder, memory: int = MEMORY) -> Learned:
    """The fusion of this run, learned on validation or as it was kept."""
    # Flax and optax take most of a second to import; a fit of PMF does without
    from jaxrec.fusion.calibration import calibrate
    from jaxrec.fusion.gate import Learned, learn_fusion

    card = {row: _card(run, row, settings_of(run, row)) for row in SIGNALS}
    if run.hybrid_path.exists():
        found = read_json(run.hybrid_path)
        if found.get("made_from") == card and set(Learned._fields) <= set(found):
            return Learned(**{key: found[key] for key in Learned._fields})
    parts = [_part(run, *inner) for inner in validation_tasks(run.dataset, run.protocol)]
    learned = learn_fusion(parts, run.protocol.seed, memory)
    if run.protocol.rules.cold_items:
        mixed = _part(run, *calibration_task(run.dataset, run.protocol))
        learned = calibrate(learned, mixed, run.protocol.seed, memory)
    write_json(run.hybrid_path, learned._asdict() | {"signals": SIGNALS, "made_from": card})
    return learned


def hybrid(run: RunFolder, memory: int = MEMORY) -> tuple[Scorer, Learned]:
    """The row `hybrid`: signals of the whole train part, fused as was learned on validation."""
    from jaxrec.fusion.gate import fused_scorer

    learned = learned_fusion(run, memory)
    signals: tuple[Scorer, ...] = tuple(fitted(run, row) for row in SIGNALS)
    return fused_scorer(learned, signals, _knowledge(run, run.protocol.split)), learned


def _knowledge(run: RunFolder, split: Split) -> Familiarity:
    from jaxrec.fusion.gate import familiarity

    ratings = run.dataset.interactions
    users = np.bincount(ratings.users[split.known], minlength=run.dataset.users)
    items = np.bincount(ratings.items[split.train], minlength=run.dataset.items)
    return familiarity(users, items)


def _card(run: RunFolder, row: str, settings: Settings) -> dict[str, Any]:
    """All that decides a fit."""
    return {"row": row, "settings": settings, "jaxrec": __version__} | identity_of(run, row)


def identity_of(run: RunFolder, row: str) -> dict[str, Any]:
    """What a row learns from: data, split, seed and embeddings."""
    card: dict[str, Any] = {"seed": run.fit_seed}
    if MODELS[row].text:
        name = content_name(run)
        path = None if name is None else run.embeddings_path(name, "honest")
        card |= {"embeddings": name, "embeddings_sha256": path and file_sha256(path)}
    return card | run.identity()
