"""Two EASE, of interactions and of text: their blend, and the one drawn to the other."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.models import cost
from jaxrec.models.cost import DOUBLE
from jaxrec.models.linear.ease import SPACE, ask, by_items, inverse
from jaxrec.models.model import (
    Arrays,
    Evidence,
    Model,
    Range,
    Settings,
    appended,
    linear_shares,
)


class TextEase(NamedTuple):
    """C, the EASE of text: items are given features by "users" of whom each is one feature.

    With M = (lambda + F^T F)^-1 and P = (lambda + F F^T)^-1 = (1 - F M F^T) / lambda, C_ji of an
    item i and another one is F_j M . F_i / (lambda P_ii), and so no array is items x items.
    """

    mean: NDArray[np.floating]
    """[features] of what it was made from, which is taken off."""
    M: NDArray[np.floating]
    """[features, features]"""

    @classmethod
    def of(cls, E: NDArray[np.floating], lambda_: float) -> "TextEase":
        """Of these items' features [items, features]."""
        mean = E.mean(axis=0, dtype=np.float64)
        F = E - mean
        return cls(mean, np.linalg.inv(F.T @ F + lambda_ * np.eye(F.shape[1])))

    def sides(self, E: NDArray[np.floating]) -> tuple[NDArray[Any], NDArray[Any]]:
        """`left` and `right` [items, features] of items with these features.

        C is their product, but for the diagonal.
        """
        F = E - self.mean
        left = F @ self.M
        return left, F / (1 - np.sum(left * F, axis=1, keepdims=True))

    def placed(self, E: NDArray[np.floating]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The same of items that it was not made from, each as if it were the only one.

        Of P bordered by one of features f, an old item says F_j M . f of it, and it of an old one
        M f . F_i / (lambda P_ii (1 + f^T M f)), but for what it adds to P_ii.
        """
        F = E - self.mean
        left = F @ self.M
        return left / (1 + np.sum(left * F, axis=1, keepdims=True)), F


def add_ease(
    X: sparse.csr_array, lambda_: float, E: NDArray[np.floating], text_lambda: float, share: float
) -> Arrays:
    """Add-EASE (Jeunen, Van Balen & Goethals 2020, eq. 9): (1 - share) B + share C.

    Args:
        X: [users, items] what is learned from.
        lambda_: L2 weight of B, the EASE of X.
        E: [items, features].
        text_lambda: L2 weight of C, the EASE of text.
        share: of C, 0 to 1.

    Returns:
        `weights` and `of_item` as `ease` has them, `left` and `right` of C, and `mean` and `M`.
    """
    text = TextEase.of(E, text_lambda)
    left, right = text.sides(E)
    found = by_items(X, lambda_, None)
    found["weights"] *= np.float32(1 - share)
    return found | _single({"left": share * left, "right": right}) | text._asdict()


def l3ae(
    X: sparse.csr_array,
    lambda_: float,
    E: NDArray[np.floating],
    text_lambda: float,
    text_weight: float,
) -> Arrays:
    """L3AE (Moon, Kim & Lee 2025): EASE that is drawn to the EASE of text.

    The minimum of |X - X B|^2 + lambda |B|^2 + mu |B - C|^2 whose diagonal is 0. With C = L R^T
    but for its diagonal, and P = (X^T X + lambda + mu)^-1, it is mu P L R^T - P diag(s) but for the
    diagonal, which is 0 by s_i = (1 + mu (P L)_i . R_i) / P_ii.

    Args:
        X: [users, items] what is learned from.
        lambda_: L2 weight of B.
        E: [items, features].
        text_lambda: L2 weight of C.
        text_weight: mu over lambda.

    Returns:
        `weights` and `of_item`, -P diag(s) and -s, and `left` and `right` of what is added, and
        `mean` and `M`.
    """
    text, mu = TextEase.of(E, text_lambda), text_weight * lambda_
    left, right = text.sides(E)
    precision = np.float64 if X.shape[1] <= DOUBLE else np.float32
    P = inverse(X.astype(precision), lambda_ + mu)
    left = mu * (P @ left)
    of_item = -(1 + np.sum(left * right, axis=1)) / np.diagonal(P)
    P *= of_item.astype(precision)
    np.fill_diagonal(P, 0)
    found = {"weights": P.astype(np.float32, copy=False), "of_item": of_item}
    return found | _single({"left": left, "right": right}) | text._asdict()


def _single(arrays: Arrays) -> Arrays:
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _place_by_text(
    share: Callable[[Settings], float],
    arrays: Arrays,
    features: NDArray[np.float32],
    settings: Settings,
) -> Arrays:
    """By C alone, for nobody has interacted with them; `share` of it is what B has of C there."""
    left, right = TextEase(arrays["mean"], arrays["M"]).placed(features)
    more = _single({"left": share(settings) * left, "right": right})
    return arrays | {name: appended(arrays[name], added) for name, added in more.items()}


def _add_ease(evidence: Evidence, settings: Settings) -> Arrays:
    X, E = evidence.matrix(settings["target"]), evidence.features(settings["metadata"])
    return add_ease(X, settings["lambda_"], E, settings["text_lambda"], settings["share"])


def _l3ae(evidence: Evidence, settings: Settings) -> Arrays:
    X, E = evidence.matrix(settings["target"]), evidence.features(settings["metadata"])
    return l3ae(X, settings["lambda_"], E, settings["text_lambda"], settings["text_weight"])


def _share(settings: Settings) -> float:
    return settings["share"]


def _drawn(settings: Settings) -> float:
    """How far B goes to C where X says nothing: mu / (lambda + mu)."""
    return settings["text_weight"] / (1 + settings["text_weight"])


OF_TEXT: dict[str, Range | tuple] = SPACE | {
    "target": ("liked", "graded"),
    "metadata": Range(0.1, 10.0),
    "text_lambda": Range(0.1, 1000.0),
}

MODELS = {
    "add-ease": Model(
        "EASE and the EASE of text",
        _add_ease,
        ask,
        {"target": "graded", "lambda_": 200.0, "metadata": 1.0, "text_lambda": 10.0, "share": 0.3},
        OF_TEXT | {"share": Range(0.01, 0.99, log=False)},
        cost.ease_by_items,
        linear_shares(ask),
        text=True,
        place=partial(_place_by_text, _share),
        named_only=True,
        tried=({"share": 0.1}, {"text_lambda": 100.0}, {"share": 0.6}),
    ),
    "l3ae": Model(
        "EASE drawn to the EASE of text",
        _l3ae,
        ask,
        {"target": "graded", "lambda_": 200.0, "metadata": 1.0}
        | {"text_lambda": 10.0, "text_weight": 1.0},
        OF_TEXT | {"text_weight": Range(0.01, 100.0)},
        cost.ease_by_items,
        linear_shares(ask),
        text=True,
        place=partial(_place_by_text, _drawn),
        named_only=True,
        tried=({"text_weight": 0.3}, {"text_lambda": 100.0}, {"text_weight": 3.0}),
    ),
}
