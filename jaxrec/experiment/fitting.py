"""What is fitted in a run folder, and kept there: PMF, rows that learn, lessons for encoders."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxrec import __version__
from jaxrec.border import lesson
from jaxrec.border.embeddings import Embeddings
from jaxrec.border.lesson import LessonSettings
from jaxrec.errors import InputError
from jaxrec.evaluation.card import Curve
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.split import Split
from jaxrec.evaluation.task import validation_tasks
from jaxrec.experiment.choices import (
    Fusion,
    evidence,
    evidence_with,
    familiarity_of,
    identity_with_settings,
    of_signal,
)
from jaxrec.experiment.folder import RunFolder, nobody
from jaxrec.experiment.kept import Arrays, Identity, as_json, holds, keep, write
from jaxrec.experiment.rows import pmf_settings_of, settings_of
from jaxrec.fusion.gate import fused_scorer
from jaxrec.fusion.published import content_profiles, published_fusion
from jaxrec.models.factorization import ask_factors, of_factors
from jaxrec.models.registry import ask, learn
from jaxrec.pmf.fit import fit_pmf
from jaxrec.pmf.objective import Factors, PmfSettings, training_pairs
from jaxrec.pmf.sequential import fit_sequential
from jaxrec.pmf.sweeps import Checkpoints, OnSweep
from jaxrec.topk.scorer import AnyScorer, Linear, Product

PUBLISHED = PmfSettings(
    "logistic", factors=100, lambda_=0.001, nu=1.0, w0=0.0, sweeps=200, solver="sequential"
)
"""The published fit, by a solver of its own (`jaxrec.pmf.sequential`)."""

DEFAULTS = {
    "all-pairs": PmfSettings(),
    "gaussian": PmfSettings("gaussian", factors=100, lambda_=10.0, nu=0.0, w0=0.0, sweeps=20),
    "logistic": PmfSettings("logistic", factors=100, lambda_=0.3, nu=0.0, w0=0.0, sweeps=20),
}
"""By likelihood; the best of a few on validation inside seed 42's train (benchmarks/LOG.md)."""

GRID = 20
"""alpha is chosen among 0, 1/20, ..., 1."""

GRADIENT_SWEEPS = 200
"""Steps along the gradient are smaller than sweeps of least squares."""


def train_pmf(
    run: RunFolder,
    settings: PmfSettings,
    on_sweep: OnSweep = lambda sweep, loss: None,
) -> dict[str, Any]:
    """Fit factors on the train part and write them; resumes a fit that was interrupted.

    Args:
        run: where they are kept.
        settings: of the fit.
        on_sweep: told of every sweep.

    Returns:
        The card of the factors. It says whether they were `asked` for, having other settings than
        the tuned or default ones; else they are stale once others are tuned.
    """
    row = row_of(settings)
    identity = _factors_identity(run, settings, "train")
    checkpoints = Checkpoints(run.path / "checkpoints" / row, identity)
    factors, losses = fit_factors(run, run.protocol.split, settings, checkpoints, on_sweep)
    card = identity | {"losses": losses, "asked": settings != pmf_settings_of(run)}
    write(run.factors_path(row), {"U": factors.U, "V": factors.V}, card)
    checkpoints.clear()
    return run.read_factors(row)[1]


def asked_settings(
    run: RunFolder,
    likelihood: str | None,
    options: dict[str, Any],
    density: float | None = None,
) -> PmfSettings:
    """Settings of a fit that a user asks for: given ones, else those of likelihood or solver.

    Args:
        run: whose tuned settings are the defaults.
        likelihood: by name; None for the default.
        options: fields of `PmfSettings`, None where nothing was given.
        density: see `pmf_settings_of`.

    Raises:
        InputError: a target is given that the likelihood does not learn.
    """
    settings = DEFAULTS[likelihood] if likelihood else pmf_settings_of(run, density=density)
    if options["solver"] == PUBLISHED.solver:
        settings = PUBLISHED if likelihood is None else PUBLISHED._replace(likelihood=likelihood)
    if options["target"] is not None and settings.likelihood != "all-pairs":
        raise InputError(f"--target is for all-pairs; {settings.likelihood} learns the values")
    if options["solver"] == "gradient":
        settings = settings._replace(sweeps=GRADIENT_SWEEPS)
    return settings._replace(**{name: of for name, of in options.items() if of is not None})


def missing_factors(run: RunFolder, rows: set[str], tuned: bool = False) -> dict[str, PmfSettings]:
    """Of `mf` and `pmf` among `rows` those without factors, or with stale ones, and what fits them.

    With `tuned` those asked for are given up for the tuned settings, too.

    Raises:
        InputError: factors that are there are of another experiment.
    """
    missing = {}
    for row, settings in (("mf", PUBLISHED), ("pmf", pmf_settings_of(run))):
        if row not in rows:
            continue
        if row in run.factors_rows():
            run.read_factors(row)
        there = row in run.factors_rows()
        if row == "pmf" and there:
            there = not pmf_is_stale(run) and not (tuned and not fitted_as_tuned(run))
        if not there:
            missing[row] = settings
    return missing


def pmf_is_stale(run: RunFolder) -> bool:
    """Are there factors of row `pmf`, fitted with settings that nobody asked for or tuned?"""
    if "pmf" not in run.factors_rows():
        return False
    card = run.read_factors("pmf")[1]
    return not card.get("asked", True) and not holds(card, _pmf_identity(run, "pmf"))


def refresh_pmf(run: RunFolder) -> None:
    """Fit stale factors of row `pmf` again; say so where others were asked for than are tuned."""
    if pmf_is_stale(run):
        run.say("pmf: was made from something else; made again")
        train_pmf(run, pmf_settings_of(run))
    elif not fitted_as_tuned(run):
        run.say(f"pmf: not fitted with the tuned settings; run `{run.factors_command('pmf')}`")


def asked_for(run: RunFolder) -> bool:
    """Are there factors of row `pmf` whose settings somebody has asked for?"""
    return "pmf" in run.factors_rows() and run.read_factors("pmf")[1].get("asked", True)


def fitted_as_tuned(run: RunFolder) -> bool:
    """Have the factors of row `pmf` the tuned settings, as far as there are both?"""
    if not run.tuned_path("pmf").exists() or "pmf" not in run.factors_rows():
        return True
    return settings_on(run.read_factors("pmf")[1]) == pmf_settings_of(run)


def row_of(settings: PmfSettings) -> str:
    """The row of the score card that factors fitted by `settings` make."""
    return "mf" if settings.solver == "sequential" else "pmf"


def fit_factors(
    run: RunFolder,
    split: Split,
    settings: PmfSettings,
    checkpoints: Checkpoints | None = None,
    on_sweep: OnSweep = lambda sweep, loss: None,
) -> tuple[Factors, list[float]]:
    """Fit factors on the train part of `split`; returns them and the loss of every sweep."""
    train, seed = run.dataset.interactions.at(split.train), run.fit_seed
    shape = run.dataset.users, run.dataset.items
    if settings.solver != "sequential":
        pairs = training_pairs(train, run.dataset.feedback, settings)
        return fit_pmf(
            pairs, *shape, settings, seed=seed, checkpoints=checkpoints, on_sweep=on_sweep
        )
    for name, value in PUBLISHED._asdict().items():
        if name not in ("factors", "sweeps", "lambda_") and getattr(settings, name) != value:
            raise InputError(f"the sequential solver has {name} {value} only; leave it out")
    return fit_sequential(
        train,
        run.dataset.feedback,
        *shape,
        factors=settings.factors,
        sweeps=settings.sweeps,
        lambda_=settings.lambda_,
        seed=seed,
        checkpoints=checkpoints,
        on_sweep=on_sweep,
    )


def validation_factors(
    run: RunFolder, split: Split, settings: PmfSettings, on_sweep: OnSweep
) -> Factors:
    """Factors fitted on train without validation, or as they were kept."""
    path = run.path / "validation" / "factors.safetensors"
    identity = _factors_identity(run, settings, "train without validation")
    identity["split_sha256"] = split.sha256()
    checkpoints = Checkpoints(path.parent / "checkpoints", identity)

    def make() -> Arrays:
        factors, _ = fit_factors(run, split, settings, checkpoints, on_sweep)
        return {"U": factors.U, "V": factors.V}

    arrays = keep(path, identity, make, nobody)
    checkpoints.clear()
    return Factors(arrays["U"], arrays["V"])


def alpha_curves(
    run: RunFolder,
    settings: PmfSettings,
    fusion: str,
    embeddings: dict[str, Embeddings],
    on_sweep: OnSweep = lambda sweep, loss: None,
) -> dict[str, Curve]:
    """Validation NDCG@25 over alpha = 0, 1/20, ..., 1, for each of `embeddings`.

    The factors are fitted anew on train without validation; the test part is not touched.
    """
    split, task = validation_tasks(run.dataset, run.protocol)[0]
    factors = validation_factors(run, split, settings, on_sweep)
    train = run.dataset.interactions.at(split.train)
    curves = {}
    for name, found in embeddings.items():
        profiles = content_profiles(fusion, train, run.dataset.feedback, found.E, run.dataset.users)

        def ndcg(
            alpha: float, profiles: Array = profiles, E: NDArray[np.float32] = found.E
        ) -> float:
            scorer = published_fusion(fusion, factors, profiles, E, task.catalogue, alpha)
            return evaluate(scorer, task, (25,), run.budget.memory).metrics["ndcg@25"]

        curves[name] = tuple((step / GRID, ndcg(step / GRID)) for step in range(GRID + 1))
    return curves


def best(curve: Curve) -> float:
    """The alpha of the highest point; of equal ones the largest."""
    return max(curve, key=lambda point: (point[1], point[0]))[0]


def settings_on(factors_card: dict[str, Any]) -> PmfSettings:
    """The settings that a card of factors states."""
    return PmfSettings(*(factors_card[name] for name in PmfSettings._fields))


def describe(factors_card: dict[str, Any]) -> str:
    """The settings that a card of factors states, in a line."""
    settings = settings_on(factors_card)
    likelihood = settings.likelihood
    if likelihood == "all-pairs":
        likelihood += f" ({settings.target}, w0 {settings.w0:g})"
    return (
        f"{likelihood} PMF, {settings.factors} factors{' and biases' if settings.biases else ''},"
        f" lambda {settings.lambda_:g}, nu {settings.nu:g}, at most {settings.sweeps} sweeps,"
        f" solver {settings.solver}"
    )


def _factors_identity(run: RunFolder, settings: PmfSettings, part: str) -> Identity:
    """All that decides a fit of PMF."""
    own = {
        "seed": run.fit_seed,
        "part": part,
        "jaxrec": __version__,
        "synthetic": run.dataset.synthetic,
    }
    return as_json(settings._asdict() | own | run.identity())


def learned(run: RunFolder, row: str) -> Arrays:
    """What a row has learned of the train part, now or as it was kept."""

    def make() -> Arrays:
        own, settings = evidence(run, run.protocol.split, row), settings_of(run, row)
        if row == "text" and "pmf" in run.factors_rows():
            factors = _factors_of_pmf(run)
            if factors is None:
                run.say("text: fits PMF anew, for the factors of row pmf have other settings")
            else:
                own.plain[pmf_settings_of(run, row)] = factors
        return learn(row, own, settings)

    return keep(run.model_path(row), identity_with_settings(run, row), make, run.say)


def fitted(run: RunFolder, row: str) -> Product | Linear:
    """What a row that has learned of the train part scores for all users."""
    asking = evidence(run, run.protocol.split, row).asking
    return ask(row, learned(run, row), asking, settings_of(run, row))


def learned_pmf(run: RunFolder) -> Arrays:
    """What the factors of row `pmf` are as `learned` gives them.

    Raises:
        InputError: the factors are absent or of another experiment.
    """
    items = run.dataset.interactions.items[run.protocol.split.train]
    rated = np.bincount(items, minlength=run.dataset.items) > 0
    factors, card = run.read_factors("pmf")
    return of_factors(factors, rated, settings_on(card).w0)


def fitted_pmf(run: RunFolder) -> Product | Linear:
    """What the factors of row `pmf` score for all users; those who are given are folded in."""
    settings = settings_on(run.read_factors("pmf")[1])
    asking = evidence_with(run, run.protocol.split, None).asking
    return ask_factors(learned_pmf(run), asking, settings)


def _factors_of_pmf(run: RunFolder) -> Factors | None:
    """Those of row `pmf`, if they are what row `text` would fit."""
    try:
        factors, card = run.read_factors("pmf")
    except InputError:
        return None  # damaged, or of another experiment
    return factors if holds(card, _pmf_identity(run, "text")) else None


def _pmf_identity(run: RunFolder, row: str) -> Identity:
    """Of the PMF of train that a row's settings make."""
    return _factors_identity(run, pmf_settings_of(run, row), "train")


def fused(run: RunFolder, fusion: Fusion) -> AnyScorer:
    """The row `hybrid`: signals of the whole train part, fused as was learned on validation."""
    learned, rows, _ = fusion
    signals: tuple[AnyScorer, ...] = tuple(of_signal(row, partial(fitted, run)) for row in rows)
    return fused_scorer(learned, signals, familiarity_of(run, run.protocol.split))


def write_lesson(
    run: RunFolder, folder: Path, kind: str, settings: LessonSettings, model: str | None = None
) -> dict[str, Any]:
    """Write into `folder` what an encoder of one of `run.kinds_of_texts` learns from.

    `model` is that encoder, as cards call it.

    Only under `published` may `settings` let validation be learned from.

    Returns:
        The card (see `jaxrec.border.lesson`).

    Raises:
        InputError: the folds do not suit the protocol, or PMF was tuned on another split.
    """
    if not run.protocol.rules.as_published:
        settings = settings._replace(validation=True)  # it judges what reads the embeddings
    pmf = pmf_settings_of(run)
    texts = run.item_texts(kind)
    return lesson.write_lesson(
        folder, run.dataset, run.protocol, texts, settings, pmf, run.fit_seed, model
    )


def refuse_taught(run: RunFolder, model: str, card: dict[str, Any]) -> None:
    """Raise InputError if a lesson taught `model` what is held out here, or chosen on.

    Args:
        run: where its embeddings would be used.
        model: as the user calls it.
        card: of the lesson; empty for an encoder that has had none.
    """
    if run.taught_elsewhere(card):
        raise InputError(
            f"{model} was fine-tuned on another split of this data and may know what is held out"
            " here; give its base model, with --finetune"
        )
    if run.taught_what_judges({"training": card}):
        raise InputError(
            f"{model} was fine-tuned on the ratings on which this run chooses; give its base model,"
            " with --finetune"
        )
