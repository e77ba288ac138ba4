"""Factors of the rows `mf` and `pmf`: fitted, kept in the run folder, read back."""

from typing import Any

from jaxrec import __version__
from jaxrec.errors import InputError
from jaxrec.evaluation.split import Split
from jaxrec.experiment.factors_file import read_factors, write_factors
from jaxrec.experiment.fitting import settings_of
from jaxrec.experiment.folder import RunFolder
from jaxrec.pmf.fit import fit_pmf
from jaxrec.pmf.objective import Factors, PmfSettings, training_pairs
from jaxrec.pmf.sequential import fit_sequential
from jaxrec.pmf.sweeps import Checkpoints, OnSweep

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

GRADIENT_SWEEPS = 200
"""Steps along the gradient are smaller than sweeps of least squares."""


def train_pmf(
    run: RunFolder, settings: PmfSettings, on_sweep: OnSweep = lambda sweep, loss: None
) -> dict[str, Any]:
    """Fit factors on the train part and write them; resumes a fit that was interrupted.

    Returns:
        The card of the factors.
    """
    row = row_of(settings)
    card = _factors_card(run, settings, "train") | run.identity()
    checkpoints = Checkpoints(run.path / "checkpoints" / row, card)
    factors, losses = fit(run, run.protocol.split, settings, checkpoints, on_sweep)
    write_factors(run.factors_path(row), factors, card | {"losses": losses})
    checkpoints.clear()
    return run.read_factors(row)[1]


def fitted_by(run: RunFolder, settings: PmfSettings) -> bool:
    """Were the factors that are there fitted with these settings?"""
    return settings_on(run.read_factors(row_of(settings))[1]) == settings


def pmf_settings_of(run: RunFolder) -> PmfSettings:
    """What `train-pmf` fits by default: what was tuned in this run folder, else the defaults."""
    return PmfSettings(**settings_of(run, "pmf"))


def row_of(settings: PmfSettings) -> str:
    """The row of the score card that factors fitted by `settings` make."""
    return "mf" if settings.solver == "sequential" else "pmf"


def fit(
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
    card = _factors_card(run, settings, "train without validation") | run.identity()
    card["split_sha256"] = split.sha256()
    try:
        factors, found = read_factors(path, "")
        if all(found.get(key) == value for key, value in card.items()):
            return factors
    except InputError:
        pass  # absent or half written: fitted anew
    checkpoints = Checkpoints(path.parent / "checkpoints", card)
    factors, losses = fit(run, split, settings, checkpoints, on_sweep)
    write_factors(path, factors, card | {"losses": losses})
    checkpoints.clear()
    return factors


def settings_on(factors_card: dict[str, Any]) -> PmfSettings:
    """The settings that a card of factors states."""
    missing = [name for name in PmfSettings._fields if name not in factors_card]
    if missing:
        raise InputError(f"a card of factors lacks {', '.join(missing)}; run `jaxrec train-pmf`")
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


def _factors_card(run: RunFolder, settings: PmfSettings, part: str) -> dict[str, Any]:
    """All that decides a fit, beside the data."""
    return settings._asdict() | {
        "seed": run.fit_seed,
        "part": part,
        "jaxrec": __version__,
        "synthetic": run.dataset.synthetic,
    }
