"""What is minimised: settings, observed pairs, L2 weights, and the factors that minimise it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.data.feedback import Feedback
from jaxrec.errors import InputError

LIKELIHOODS = ("gaussian", "logistic", "all-pairs")
TARGETS = ("liked", "graded")
SOLVERS = ("alternating", "gradient")


class PmfSettings(NamedTuple):
    """What is minimised, and for how long."""

    likelihood: str = "all-pairs"
    factors: int = 128
    lambda_: float = 0.3
    nu: float = 0.5
    """How the L2 weight of a vector grows with its ratings; 0: not at all, 1: in proportion."""
    w0: float = 0.1
    """Weight of every pair; 0 unless the likelihood is `all-pairs`."""
    target: str = "graded"
    """Of the `all-pairs` likelihood; see the package."""
    biases: bool = False
    sweeps: int = 15
    """At most; each moves all users, then all items, or takes one step along the gradient."""
    tolerance: float = 0.0
    """Stop when a sweep lowers the objective by less than this share of it; 0 never does."""
    solver: str = "alternating"
    """`alternating` least squares (`half_sweep`) or `gradient` (L-BFGS, `gradient`)."""
    float64: bool = False
    """Compute in double precision instead of single."""
    item_lambda: float | None = None
    """Of the items, where it differs from `lambda_`."""
    item_nu: float | None = None
    """Of the items, where it differs from `nu`."""
    lambda_w: float = 1.0
    """L2 weight of W; without item features of no effect."""


def dtype_of(settings: PmfSettings) -> type[np.floating]:
    """The precision of a fit."""
    return np.float64 if settings.float64 else np.float32


def link_of(settings: PmfSettings) -> str:
    """The name of g."""
    return "logistic" if settings.likelihood == "logistic" else "identity"


class Observed(NamedTuple):
    """Observed pairs, [n] each."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    targets: NDArray[np.floating]
    weights: NDArray[np.floating]


class Factors(NamedTuple):
    """x_ui = U_u . V_i, in units of the target or, for the logistic likelihood, in logits."""

    U: NDArray[np.floating]
    """[users, factors]"""
    V: NDArray[np.floating]
    """[items, factors]"""


def observe(interactions: Interactions, feedback: Feedback, settings: PmfSettings) -> Observed:
    """The observed pairs of a likelihood (see the package).

    Args:
        interactions: of users and items.
        feedback: what their values mean.
        settings: likelihood, target and, for counts, w0.

    Raises:
        InputError: the likelihood is one of stars, the feedback of another kind.
    """
    users, items = interactions.users, interactions.items
    values = interactions.values.astype(np.float64, copy=False)
    ones = np.broadcast_to(1.0, values.shape)
    check_kind(feedback, settings.likelihood)
    if settings.likelihood == "gaussian":
        return Observed(users, items, values, ones)
    if settings.likelihood == "logistic":
        return Observed(users, items, feedback.unit(values), ones)
    if settings.target == "graded":
        grades = feedback.graded(values)
        if feedback.kind == "counts":
            return Observed(users, items, 1 + settings.w0 / grades, grades)
        return Observed(users, items, grades, ones)
    liked = np.flatnonzero(feedback.liked(values))
    return Observed(users[liked], items[liked], ones[: len(liked)], ones[: len(liked)])


def training_pairs(
    interactions: Interactions, feedback: Feedback, settings: PmfSettings
) -> Observed:
    """`observe`, where there must be something to learn from; else InputError."""
    check_some(interactions)
    observed = observe(interactions, feedback, settings)
    if not len(observed.users):
        raise InputError(f"no {feedback.liked_rule} to learn from")
    return observed


def check_kind(feedback: Feedback, likelihood: str) -> None:
    """Raise InputError if a likelihood of stars meets feedback that knows no dislike."""
    if likelihood != "all-pairs" and feedback.kind != "stars":
        raise InputError(
            f"the {likelihood} likelihood is one of stars, and these are {feedback.kind}, which say"
            " nothing of what is not liked; take all-pairs"
        )


def check_some(interactions: Interactions) -> None:
    """Raise InputError if there is nothing to train on."""
    if not len(interactions.users):
        raise InputError("no training ratings; the published split takes users with 5 or more")


def ridges(
    lengths: NDArray[np.integer], others: int, settings: PmfSettings, side: str
) -> NDArray[np.floating]:
    """Lambda (n + w0 N)^nu of the vectors of a side with `lengths` ratings, N = `others`."""
    lambda_, nu = settings.lambda_, settings.nu
    if side == "items":
        lambda_ = lambda_ if settings.item_lambda is None else settings.item_lambda
        nu = nu if settings.item_nu is None else settings.item_nu
    with np.errstate(over="ignore"):
        weights = lambda_ * (lengths + settings.w0 * others) ** nu
    if len(weights) and not weights.max() < np.finfo(np.float32).max:
        raise InputError(
            f"lambda {lambda_:g}, nu {nu:g} and w0 {settings.w0:g} make an L2"
            f" weight of {weights.max():g}; give smaller ones"
        )
    return weights


def check_settings(settings: PmfSettings) -> None:
    """Raise InputError unless the settings make an objective."""
    if settings.likelihood not in LIKELIHOODS:
        raise InputError(
            f"no likelihood {settings.likelihood!r}; there are: {', '.join(LIKELIHOODS)}"
        )
    if settings.target not in TARGETS:
        raise InputError(f"no target {settings.target!r}; there are: {', '.join(TARGETS)}")
    least_of = {"factors": 1, "sweeps": 1, "lambda_": 0, "nu": 0, "w0": 0}
    for name, least in (least_of | {"item_lambda": 0, "item_nu": 0, "lambda_w": 1e-6}).items():
        value = getattr(settings, name)
        if value is not None and not least <= value < np.inf:
            raise InputError(f"{name.strip('_')} is {value:g}; it must be at least {least}")
    if settings.solver not in SOLVERS:
        raise InputError(f"no solver {settings.solver!r}; there are: {', '.join(SOLVERS)}")
    if settings.likelihood != "all-pairs" and settings.w0 != 0:
        raise InputError(f"w0 is {settings.w0:g}; only the all-pairs likelihood weighs all pairs")
    if settings.likelihood == "all-pairs" and settings.w0 <= 0:
        raise InputError(f"w0 is {settings.w0:g}; the all-pairs likelihood needs it above 0")
