"""PMF: without text, with a text prior, and text alone mapped to factors; and the peer iALS."""

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.sparse import csr_matrix

from jaxrec.data.dataset import Interactions
from jaxrec.data.feedback import Feedback
from jaxrec.errors import InputError
from jaxrec.models import cost
from jaxrec.models.model import (
    NOBODY,
    Arrays,
    Asking,
    Evidence,
    Model,
    Range,
    Settings,
    Shares,
    appended,
    resident,
    ridge_map,
)
from jaxrec.pmf.fit import fit_pmf, fold_in
from jaxrec.pmf.objective import Factors, Observed, PmfSettings, observe, ridges, training_pairs
from jaxrec.pmf.text_prior import TextPrior
from jaxrec.topk.scorer import Product, product

FEW = 64
"""Users who are folded in one by one on the host, where nothing is to be compiled for them."""
KEPT = 8
"""Fits of PMF without text that are remembered of a split; a search makes many."""


def pmf_settings(settings: Settings, density: float) -> PmfSettings:
    """Those among a row's settings that are PMF's.

    Two are in units that suit data of any density. In place of w0, the weight of a pair, a row has
    `unobserved`, w0 over the density: the weight of all pairs together in interactions. In place of
    lambda_w it has `text_ridge`, lambda_w times the density. They hold on three data sets that
    differ fortyfold in density (benchmarks/LOG.md).

    Args:
        settings: of the row; or PMF's own.
        density: share of all pairs that is observed.
    """
    own = {key: value for key, value in settings.items() if key in PmfSettings._fields}
    if "unobserved" in settings:
        own["w0"] = settings["unobserved"] * density
    if "text_ridge" in settings:
        own["lambda_w"] = settings["text_ridge"] / density
    return PmfSettings(**own)


def row_settings(settings: PmfSettings, density: float) -> Settings:
    """Settings of row `pmf` that are these on data of this density."""
    own = {name: value for name, value in settings._asdict().items() if name in ALL_PAIRS}
    return own | {"unobserved": settings.w0 / density}


def of_factors(factors: Factors, rated: NDArray[np.bool_], w0: float) -> Arrays:
    """What row `pmf` has learned; `rated` [items] have interactions in train."""
    return {"U": factors.U, "V": factors.V, "rated": rated.astype(np.uint8), "w0": np.array([w0])}


def _as_learned(arrays: Arrays, settings: Settings) -> PmfSettings:
    """With the w0 of the fit, whatever the density where somebody asks."""
    return pmf_settings(settings, 1.0)._replace(w0=float(arrays["w0"][0]))


Observing = Callable[[Interactions, Feedback, PmfSettings], Observed]
"""What pairs an objective is of."""


def user_factors(
    arrays: Arrays, asking: Asking, settings: PmfSettings, observe: Observing = observe
) -> NDArray[np.floating]:
    """[users, factors] as they were learned; of others the minimum with V held (`fold_in`).

    Args:
        arrays: `U`, `V` and which items are `rated`.
        asking: whose factors.
        settings: of the fit.
        observe: what the fit was of.

    Raises:
        InputError: somebody is to be folded in, and these factors have biases.
    """
    factors = Factors(arrays["U"], arrays["V"])
    U = factors.U[asking.trained]  # of nobody the last, for a moment
    new = np.flatnonzero(asking.trained == NOBODY)
    if not len(new):
        return U
    if settings.biases:
        raise InputError("factors with biases know nobody new; run `jaxrec train-pmf` without")
    pairs, place = observe(asking.known, asking.feedback, settings), np.full(len(U), NOBODY)
    place[new] = np.arange(len(new))
    own = place[pairs.users] != NOBODY
    pairs = Observed(*(column[own] for column in pairs))
    pairs = pairs._replace(users=place[pairs.users].astype(np.int32))
    if len(new) <= FEW and settings.likelihood != "logistic":
        U[new] = _few_folded_in(arrays, pairs, len(new), settings)
    else:
        U[new] = fold_in(pairs, len(new), factors, settings, paired=arrays["rated"] > 0)
    return U


def _few_folded_in(
    arrays: Arrays, pairs: Observed, users: int, settings: PmfSettings
) -> NDArray[np.floating]:
    """What `fold_in` is for, of an objective that is quadratic: a linear system a user."""
    V, squares = arrays["V"], _squares(arrays)
    lengths = np.bincount(pairs.users, minlength=users)
    ridge = ridges(lengths, len(V), settings, "users")
    order = np.argsort(pairs.users, kind="stable")
    found = np.zeros((users, V.shape[1]))
    for user, of_user in enumerate(np.split(order, np.cumsum(lengths)[:-1])):
        if not len(of_user):
            continue
        own, weights = V[pairs.items[of_user]].astype(np.float64), pairs.weights[of_user]
        A = (own * weights[:, None]).T @ own + settings.w0 * squares
        A[np.diag_indices_from(A)] += ridge[user]
        b = (weights * pairs.targets[of_user]) @ own
        try:
            found[user] = linalg.cho_solve(linalg.cho_factor(A, overwrite_a=True), b)
        except linalg.LinAlgError:  # without a ridge it may have no inverse
            found[user] = linalg.lstsq(A, b)[0]
    return found


def _squares(arrays: Arrays) -> NDArray[np.floating]:
    """[factors, factors] the sum over all `rated` of V V^T."""
    if "squares" in arrays:
        return arrays["squares"]
    counted = arrays["V"][arrays["rated"] > 0].astype(np.float64)
    return counted.T @ counted


def _prepared(arrays: Arrays) -> Arrays:
    """With V on the device, as `right` where scores are of no other, and what fold-in sums up."""
    found = resident({"right": arrays["V"]} | arrays)
    if "right" not in arrays and arrays["V"].dtype == np.float32:
        found["V"] = np.asarray(found["right"])  # of one memory, on a processor
    return found | {"squares": _squares(arrays)}


def _right(arrays: Arrays) -> NDArray[np.floating]:
    """V, wherever it lies."""
    return arrays.get("right", arrays["V"])


def shares_of_factors(
    arrays: Arrays,
    asking: Asking,
    right: NDArray[np.floating],
    settings: PmfSettings,
    observe: Observing = observe,
) -> Shares:
    """What U_u . right_i is made of, of one user and some items.

    Where the objective is least for her, U_u = A^-1 sum over her items j of w_j g'_j (t_j - g_j +
    g'_j x_j) V_j, with A = sum of w_j g'_j^2 V_j V_j^T + w0 sum over `rated` of V V^T + ridge: of
    the identity, where g' = 1 and g_j = x_j, w_j t_j V_j (Hu, Koren & Volinsky 2008, eq. 4). Item
    j gives its term times right_i. Factors as they were learned are near that minimum, and those
    folded in at it but for rounding.

    Args:
        arrays: as `user_factors` reads them.
        asking: the one user.
        right: [items, factors] the other side of the scores.
        settings: of the fit.
        observe: what the fit was of.
    """
    V, known = arrays["V"], asking.known.items
    pairs = observe(asking.known, asking.feedback, settings)
    own = V[pairs.items].astype(np.float64)
    (ridge,) = ridges(np.array([len(own)]), len(V), settings, "users")
    slope, offset = np.ones(len(own)), np.zeros(len(own))  # offset: of g_j from g'_j x_j
    if settings.likelihood == "logistic":
        x = own @ user_factors(arrays, asking, settings, observe)[0].astype(np.float64)
        g = 1 / (1 + np.exp(-x))
        slope = g * (1 - g)
        offset = g - slope * x
    A = (own * (pairs.weights * slope**2)[:, None]).T @ own + ridge * np.eye(V.shape[1])
    A += settings.w0 * _squares(arrays)
    inverse = np.linalg.pinv(A, 1e-12, hermitian=True)  # without a ridge it may have none
    towards = inverse @ right.T.astype(np.float64)
    said = (pairs.weights * slope * (pairs.targets - offset))[:, None] * (own @ towards)
    of_known = np.zeros((len(known), len(right)))
    order = np.argsort(known)
    of_known[order[np.searchsorted(known, pairs.items, sorter=order)]] = said
    return Shares(of_known, np.zeros(len(right)))


def item_factors(arrays: Arrays) -> NDArray[np.floating]:
    """V."""
    return arrays["V"]


def _pairs(evidence: Evidence, settings: PmfSettings) -> Observed:
    return training_pairs(evidence.train, evidence.dataset.feedback, settings)


def _plain_factors(evidence: Evidence, settings: Settings) -> Arrays:
    """Without text, of these settings fitted once."""
    how = pmf_settings(settings, evidence.density)
    if how not in evidence.plain:
        while len(evidence.plain) >= KEPT:
            evidence.plain.pop(next(iter(evidence.plain)))
        pairs = _pairs(evidence, how)
        evidence.plain[how] = fit_pmf(pairs, *evidence.shape, how, seed=evidence.seed)[0]
    counts = np.bincount(evidence.train.items, minlength=evidence.dataset.items)
    return of_factors(evidence.plain[how], counts > 0, how.w0)


def ask_factors(arrays: Arrays, asking: Asking, settings: PmfSettings) -> Product:
    """U_u . V_i of whoever asks."""
    return product(user_factors(arrays, asking, settings), _right(arrays))


def _ask(arrays: Arrays, asking: Asking, settings: Settings) -> Product:
    return ask_factors(arrays, asking, _as_learned(arrays, settings))


def _shares(
    arrays: Arrays, asking: Asking, items: NDArray[np.integer], settings: Settings
) -> Shares:
    return shares_of_factors(arrays, asking, arrays["V"][items], _as_learned(arrays, settings))


def _pmf_with_text(evidence: Evidence, settings: Settings) -> Arrays:
    """Factors, and W [features, factors] of the items' prior means."""
    how, E = pmf_settings(settings, evidence.density), evidence.features(settings["metadata"])
    pairs, (users, items) = _pairs(evidence, how), evidence.shape
    factors, _ = fit_pmf(pairs, users, items, how, seed=evidence.seed, item_features=E)
    counts = np.bincount(pairs.items, minlength=items)
    rated = counts > 0
    ridge = ridges(counts[rated], users, how, "items").astype(factors.V.dtype)
    W = TextPrior.of(E[rated], ridge, how.lambda_w).fit(jnp.asarray(factors.V[rated]))[0]
    return of_factors(factors, rated, how.w0) | {"W": np.asarray(W)}


def _place_factors(arrays: Arrays, features: NDArray[np.float32], settings: Settings) -> Arrays:
    """Items at their prior means."""
    V = appended(arrays["V"], features @ arrays["W"])
    return arrays | {"V": V, "rated": appended(arrays["rated"], len(features))}


def _text(evidence: Evidence, settings: Settings) -> Arrays:
    """`pmf`, and `right`: what a ridge of all factors on features says of each item's."""
    plain = _plain_factors(evidence, settings)
    V, E = plain["V"], evidence.features(settings["metadata"]).astype(np.float64)
    counts = np.bincount(evidence.train.items, minlength=len(V))
    W = ridge_map(E, counts, V, settings["ridge"])
    return plain | {"right": (E @ W).astype(np.float32), "W": W.astype(np.float32)}


def _ask_text(arrays: Arrays, asking: Asking, settings: Settings) -> Product:
    return product(user_factors(arrays, asking, _as_learned(arrays, settings)), arrays["right"])


def _shares_of_text(
    arrays: Arrays, asking: Asking, items: NDArray[np.integer], settings: Settings
) -> Shares:
    return shares_of_factors(arrays, asking, arrays["right"][items], _as_learned(arrays, settings))


def _place_text(arrays: Arrays, features: NDArray[np.float32], settings: Settings) -> Arrays:
    """Items where their features say; `pmf` itself knows nothing of them."""
    right = appended(arrays["right"], features @ arrays["W"])
    unknown = {name: appended(arrays[name], len(features)) for name in ("V", "rated")}
    return arrays | unknown | {"right": right}


def _mapped(arrays: Arrays) -> NDArray[np.float32]:
    return arrays["right"]


def _ials(evidence: Evidence, settings: Settings) -> Arrays:
    """The iALS of irspack, with item features as side information."""
    from irspack.recommenders import IALSRecommender

    how = _ials_settings(settings, evidence.density)
    pairs = confidences(evidence.train, evidence.dataset.feedback, how)
    X = csr_matrix((pairs.weights, (pairs.users, pairs.items)), shape=evidence.shape)
    E = evidence.features(settings["metadata"])
    model = IALSRecommender(
        X,
        n_components=settings["factors"],
        alpha0=how.w0,
        reg=settings["lambda_"],
        nu=settings["nu"],
        item_features=E,
        lambda_item_feature=settings["lambda_w"],
        train_epochs=settings["sweeps"],
        random_seed=evidence.seed,
    )
    try:
        with redirect_stdout(StringIO()):  # a progress bar that cannot be turned off
            model.learn()
    except RuntimeError as error:  # so its own search passes over such settings
        raise FloatingPointError(f"irspack: {error}") from None
    U, V = (np.array(of) for of in (model.get_user_embedding(), model.get_item_embedding()))
    to_mean = np.array(model.trainer_as_ials.core_trainer.item_feature_weight)
    return of_factors(Factors(U, V), np.ones(len(V), bool), how.w0) | {
        "W": _placing(U, to_mean, how)
    }


def _placing(
    U: NDArray[np.floating], to_mean: NDArray[np.floating], settings: PmfSettings
) -> NDArray[np.float32]:
    """W [features, factors] that makes V_i of an item nobody has of its features f_i.

    Its part of the objective is w0 sum_u (U_u . V_i)^2 + r |V_i - M^T f_i|^2, with M `to_mean` and
    r its L2 weight, so that V_i = r (w0 U^T U + r)^-1 M^T f_i.
    """
    (ridge,) = ridges(np.zeros(1, int), len(U), settings, "items")
    held = settings.w0 * (U.T.astype(np.float64) @ U) + ridge * np.eye(U.shape[1])
    return (ridge * np.linalg.solve(held, to_mean.T).T).astype(np.float32)


def _ask_ials(arrays: Arrays, asking: Asking, settings: Settings) -> Product:
    """Its objective for a user is that of all-pairs PMF (Rendle 2021), and so is her minimum."""
    how = _ials_as_learned(arrays, settings)
    return product(user_factors(arrays, asking, how, confidences), _right(arrays))


def _shares_of_ials(
    arrays: Arrays, asking: Asking, items: NDArray[np.integer], settings: Settings
) -> Shares:
    how = _ials_as_learned(arrays, settings)
    return shares_of_factors(arrays, asking, arrays["V"][items], how, confidences)


def _ials_as_learned(arrays: Arrays, settings: Settings) -> PmfSettings:
    """With the w0 of the fit, whatever the density where somebody asks."""
    return _ials_settings(settings, 1.0)._replace(w0=float(arrays["w0"][0]))


def _ials_settings(settings: Settings, density: float) -> PmfSettings:
    names = {"factors", "lambda_", "nu", "target", "unobserved"}
    return pmf_settings({name: settings[name] for name in names & set(settings)}, density)


def confidences(interactions: Interactions, feedback: Feedback, settings: PmfSettings) -> Observed:
    """Pairs of target 1, as iALS has them: weighted 1 if `liked`, or by `graded` where above 0."""
    if settings.target == "liked":
        interactions = interactions.liked(feedback)
    values = interactions.values
    weights = np.ones(len(values)) if settings.target == "liked" else feedback.graded(values)
    some = np.flatnonzero(weights > 0)
    pairs = interactions.users[some], interactions.items[some]
    return Observed(*pairs, np.ones(len(some)), weights[some])


PMF_SPACE: dict[str, Range | tuple] = {
    "factors": (32, 64, 128, 192, 256, 512, 1024),
    "lambda_": Range(0.01, 3.0),
    "nu": Range(0.0, 1.0, log=False),
    "unobserved": Range(0.5, 100.0),
}
TEXT_SPACE: dict[str, Range | tuple] = {
    "metadata": Range(0.1, 10.0),
    "text_ridge": Range(1e-3, 1e3),
    "item_lambda": Range(0.01, 3.0),
    "item_nu": Range(0.0, 1.0, log=False),
}
"""At the highest `text_ridge` text is silent."""
IALS_SPACE: dict[str, Range | tuple] = {
    "target": ("liked", "graded"),
    "factors": Range(4, 300, log=False),
    "lambda_": Range(1e-4, 1.0),
    "nu": Range(0.3, 1.0, log=False),
    "unobserved": Range(0.2, 100.0),
    "sweeps": Range(5, 50),
    "metadata": Range(0.3, 5.0),
    "lambda_w": Range(0.01, 100.0),
}
"""As far as irspack's own `default_tune_range`, whose w0 is 0.003 to 1, and as PMF's at least."""
ALL_PAIRS: Settings = {
    name: value for name, value in PmfSettings()._asdict().items() if name not in ("w0", "lambda_w")
} | {"unobserved": 7.0}

MODELS = {
    "ials": Model(
        "irspack iALS with item features",
        _ials,
        _ask_ials,
        {"target": "liked", "factors": 192, "lambda_": 0.27, "nu": 0.5, "unobserved": 6.0}
        | {"metadata": 0.5, "lambda_w": 3.0, "sweeps": 15},
        IALS_SPACE,
        cost.pmf,
        _shares_of_ials,
        text=True,
        needs="irspack",
        place=_place_factors,
        tried=(
            {"target": "graded"},
            {"factors": 256, "lambda_": 0.13, "unobserved": 15.0},
            {"factors": 256, "lambda_": 0.27},
        ),
        vectors=item_factors,
        prepared=_prepared,
    ),
    "pmf": Model(
        "PMF of train-pmf",
        _plain_factors,
        _ask,
        ALL_PAIRS,
        PMF_SPACE,
        cost.pmf,
        _shares,
        tried=({"factors": 256}, {"unobserved": 15.0}, {"unobserved": 3.0}),
        vectors=item_factors,
        prepared=_prepared,
    ),
    "text": Model(
        "text mapped to factors",
        _text,
        _ask_text,
        ALL_PAIRS | {"metadata": 1.0, "ridge": 0.2},
        {"metadata": Range(0.3, 5.0), "ridge": Range(0.01, 100.0)},
        cost.pmf,
        _shares_of_text,
        text=True,
        place=_place_text,
        tried=({"ridge": 2.0}, {"ridge": 0.02}),
        vectors=_mapped,
        prepared=_prepared,
    ),
    "pmf+text": Model(
        "PMF with text prior",
        _pmf_with_text,
        _ask,
        ALL_PAIRS
        | {"factors": 256, "lambda_": 0.15, "metadata": 1.0}
        | {"text_ridge": 0.1, "item_lambda": 0.3, "item_nu": 0.5},
        PMF_SPACE | TEXT_SPACE,
        cost.pmf,
        _shares,
        text=True,
        place=_place_factors,
        tried=(
            {"unobserved": 15.0, "text_ridge": 0.05},
            {"factors": 512},
            {"lambda_": 0.3, "text_ridge": 1.0},
            {"lambda_": 0.3, "text_ridge": 1000.0},
        ),
        vectors=item_factors,
        prepared=_prepared,
    ),
}
