"""PMF: without text, with a text prior, and text alone mapped to factors."""

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.data.feedback import Feedback
from jaxrec.models.model import Evidence, Model, Range, Settings
from jaxrec.pmf.fit import fit_pmf, fold_in
from jaxrec.pmf.objective import Factors, PmfSettings, observe, training_pairs
from jaxrec.topk.scorer import Product, product

KEPT = 8
"""Fits of PMF without text that are remembered of a split; a search makes many."""


def pmf_settings(settings: Settings) -> PmfSettings:
    """Those among a row's settings that are PMF's."""
    return PmfSettings(
        **{key: value for key, value in settings.items() if key in PmfSettings._fields}
    )


def _factors(
    evidence: Evidence, settings: PmfSettings, E: NDArray[np.float32] | None = None
) -> Factors:
    """Factors learned from train."""
    pairs = training_pairs(evidence.train, evidence.dataset.feedback, settings)
    users, items = evidence.shape
    return fit_pmf(pairs, users, items, settings, seed=evidence.seed, item_features=E)[0]


def _with_given(evidence: Evidence, factors: Factors, settings: PmfSettings) -> Factors:
    """Users who are given folded in."""
    rated = np.bincount(evidence.train.items, minlength=evidence.shape[1]) > 0
    feedback = evidence.dataset.feedback
    return with_given(factors, evidence.given, feedback, settings, rated)


def with_given(
    factors: Factors,
    given: Interactions,
    feedback: Feedback,
    settings: PmfSettings,
    rated: NDArray[np.bool_],
) -> Factors:
    """Factors with the users of `given` folded in; `rated` [items] were trained on."""
    new = np.unique(given.users)
    if not len(new):
        return factors
    U = factors.U.copy()
    pairs = observe(given, feedback, settings)
    U[new] = fold_in(pairs, len(U), factors, settings, paired=rated)[new]
    return Factors(U, factors.V)


def _plain_factors(evidence: Evidence, settings: Settings) -> Factors:
    """Without text, of these settings fitted once."""
    how = pmf_settings(settings)
    if how not in evidence.plain:
        while len(evidence.plain) >= KEPT:
            evidence.plain.pop(next(iter(evidence.plain)))
        evidence.plain[how] = _factors(evidence, how)
    return _with_given(evidence, evidence.plain[how], how)


def _pmf(evidence: Evidence, settings: Settings) -> Product:
    return product(*_plain_factors(evidence, settings))


def _pmf_with_text(evidence: Evidence, settings: Settings) -> Product:
    how = pmf_settings(settings)
    factors = _factors(evidence, how, evidence.features(settings["metadata"]))
    return product(*_with_given(evidence, factors, how))


def _text(evidence: Evidence, settings: Settings) -> Product:
    """`pmf`, each item's factors replaced by what a ridge of all factors on features says."""
    U, V = _plain_factors(evidence, settings)
    E = evidence.features(settings["metadata"]).astype(np.float64)
    weights = np.sqrt(np.bincount(evidence.train.items, minlength=len(V)))
    gram = (E.T * weights) @ E + settings["ridge"] * np.eye(E.shape[1])
    W = np.linalg.solve(gram, (E.T * weights) @ V)
    return product(U, (E @ W).astype(np.float32))


PMF_SPACE: dict[str, Range | tuple] = {
    "factors": (64, 128, 192),
    "lambda_": Range(0.1, 1.0),
    "nu": Range(0.3, 0.8, log=False),
    "w0": Range(0.04, 0.3),
}
TEXT_SPACE: dict[str, Range | tuple] = {
    "metadata": Range(0.5, 4.0),
    "lambda_w": Range(0.3, 30.0),
    "item_lambda": Range(0.1, 1.0),
    "item_nu": Range(0.3, 0.8, log=False),
}
ALL_PAIRS = PmfSettings()._asdict()

MODELS = {
    "pmf": Model("PMF of train-pmf", _pmf, ALL_PAIRS, PMF_SPACE),
    "text": Model(
        "text mapped to factors",
        _text,
        ALL_PAIRS | {"metadata": 1.0, "ridge": 0.2},
        {"metadata": Range(0.3, 5.0), "ridge": Range(0.01, 100.0)},
        text=True,
    ),
    "pmf+text": Model(
        "PMF with text prior",
        _pmf_with_text,
        ALL_PAIRS | {"metadata": 1.0, "lambda_w": 3.0, "item_lambda": 0.3, "item_nu": 0.5},
        PMF_SPACE | TEXT_SPACE,
        text=True,
    ),
}
