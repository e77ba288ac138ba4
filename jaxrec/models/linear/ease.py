"""EASE: linear item-item weights, of liked or graded interactions, with and without text."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from jaxrec.errors import InputError
from jaxrec.models import cost
from jaxrec.models.cost import DOUBLE, FEW
from jaxrec.models.model import (
    Arrays,
    Asking,
    Evidence,
    Model,
    Range,
    Settings,
    appended,
    linear_shares,
    resident,
)
from jaxrec.topk.scorer import Linear, Product, product

BLOCK = 1024
"""Items that are worked on at a time."""
UNSOLVED = "EASE cannot be solved with so small a lambda; take a larger one"


def ease(
    X: sparse.csr_array,
    lambda_: float,
    E: NDArray[np.floating] | None = None,
    text_weight: float = 1.0,
) -> Arrays:
    """EASE (Steck 2019, eq. 8): the item-item weights B, zero on the diagonal, of a ridge X ~ X B.

    With P = (X^T X + lambda)^-1, B_ji = -P_ji / P_ii. With text, every feature of the items is one
    more row of A = [X; text_weight E^T] in place of X (a "user" who rates each item by it), as in
    Jeunen, Van Balen & Goethals 2020 (CEASE).

    Up to `DOUBLE` items it is in double precision, beyond in single: half the time and the memory.
    On the 5,000 most liked items of amazon-sports B moves by 6e-8, and of 100,000 places 3 differ.

    By the Woodbury identity a system as large as the shorter side of A suffices: with M = (A A^T +
    lambda)^-1 and P = (1 - A^T M A) / lambda, the score of an unseen item i is x B_i = x A^T M a_i
    / (lambda P_ii). Where items are fewer, P of X alone is inverted in place, and text corrects it
    by as many dimensions as it has: P - P F (1 + F^T P F)^-1 F^T P, with F = text_weight E. So
    single precision does, though text's share of the Gramian is 10^5 times lambda.

    An item n of features e that nobody has interacted with is a further column a = [0; text_weight
    e] of A. Bordering P by it, with g = A^T a and s = lambda (1 + a^T M a) = lambda + |a|^2 -
    g^T P g, gives the weights of old items on it exactly, A^T M a = P g, and of it on old items i
    (P g)_i / (s P_ii), but for what it adds to P_ii.

    Args:
        X: [users, items] what is learned from.
        lambda_: L2 weight of B.
        E: [items, features].
        text_weight: of the features.

    Returns:
        `left` and `right` [items, rank], of which B is the product, but for the diagonal; or
        `weights` [items, items], which is B, and `of_item` [items], -1 / P_ii. With text also
        `to_left` and `to_right` [features, rank or items], which make A^T a and P A^T a of an
        item's features.

    Raises:
        InputError: the Gramian is not positive definite, as far as precision goes.
    """
    X = X[np.flatnonzero(np.diff(X.indptr))]
    F = None if E is None else text_weight * E.astype(np.float64)
    features = 0 if F is None else F.shape[1]
    if FEW * (X.shape[0] + features) <= X.shape[1]:
        found = _by_users(X, lambda_, np.zeros((X.shape[1], 0)) if F is None else F)
    else:
        found = by_items(X, lambda_, F)
    for name in ("to_left", "to_right") if F is not None else ():
        found[name] = (text_weight * found[name]).astype(np.float32)
    return found


def _by_users(X: sparse.csr_array, lambda_: float, F: NDArray[np.floating]) -> Arrays:
    """`left` and `right`, and what makes them of a feature of weight 1."""
    items, rows = X.shape[1], X.shape[0] + F.shape[1]
    XF, XT = X @ F, sparse.csr_array(X.T)
    AAT = np.block([[(X @ XT).toarray(), XF], [XF.T, F.T @ F]]) + lambda_ * np.eye(rows)
    M = linalg.cho_solve(linalg.cho_factor(AAT, overwrite_a=True), np.eye(rows))
    left, right = (np.empty((items, rows), np.float32) for _ in range(2))
    for start in range(0, items, BLOCK):
        part = slice(start, start + BLOCK)
        A = np.hstack([XT[part].toarray(), F[part]])
        MA = A @ M
        P = 1 - np.einsum("ir,ir->i", A, MA)  # times lambda
        left[part], right[part] = A, MA / P[:, None]
    of_text = slice(X.shape[0], rows)
    return {"left": left, "right": right, "to_left": np.eye(rows)[of_text], "to_right": M[of_text]}


def by_items(X: sparse.csr_array, lambda_: float, F: NDArray[np.floating] | None) -> Arrays:
    """`weights`, and what makes a new item's of a feature of weight 1."""
    precision = np.float64 if X.shape[1] <= DOUBLE else np.float32
    P = inverse(X.astype(precision), lambda_)
    found: Arrays = {}
    if F is not None:
        F = F.astype(precision)
        PF = P @ F
        H: NDArray[Any] = text_correction(PF, F).astype(precision)
        for start in range(0, len(P), BLOCK):
            P[start : start + BLOCK] -= H[:, start : start + BLOCK].T @ H
        found = {"to_left": F.T, "to_right": F.T @ P}
    of_item = -1 / np.diagonal(P)
    for start in range(0, len(P), BLOCK):
        P[start : start + BLOCK] *= of_item
    np.fill_diagonal(P, 0)
    return found | {"weights": P.astype(np.float32, copy=False), "of_item": of_item}


def text_correction(PF: NDArray[np.floating], F: NDArray[np.floating]) -> NDArray[np.floating]:
    """H [features, items] of P - H^T H = (P^-1 + F F^T)^-1, from P F and F [items, features].

    Raises:
        InputError: P is not positive definite, as far as precision or what it leaves out goes.
    """
    small = np.eye(F.shape[1]) + F.T.astype(np.float64) @ PF
    try:
        root = linalg.cholesky((small + small.T) / 2, lower=True)
    except linalg.LinAlgError:
        raise InputError(UNSOLVED) from None
    return linalg.solve_triangular(root, PF.T, lower=True)


def inverse(X: sparse.csr_array, lambda_: float) -> NDArray[np.floating]:
    """(X^T X + lambda)^-1 [items, items], in one array's memory: LAPACK works in its own place."""
    items, XT = X.shape[1], sparse.csr_array(X.T)
    P = np.zeros((items, items), X.dtype)
    for start in range(0, items, BLOCK):
        P[start : start + BLOCK, start:] = (XT[start : start + BLOCK] @ X[:, start:]).toarray()
    P[np.diag_indices(items)] += lambda_
    # what is above the diagonal here is below it in Fortran's order
    potrf, potri = linalg.get_lapack_funcs(("potrf", "potri"), dtype=X.dtype)
    _, failed = potrf(P.T, lower=1, overwrite_a=1, clean=0)
    if not failed:
        _, failed = potri(P.T, lower=1, overwrite_c=1)
    if failed:
        raise InputError(UNSOLVED)
    for start in range(0, items, BLOCK):
        stop = start + BLOCK
        own = P[start:stop, start:stop]
        own[:] = np.triu(own) + np.triu(own, 1).T
        P[stop:, start:stop] = P[start:stop, stop:].T
    return P


def ask(arrays: Arrays, asking: Asking, settings: Settings) -> Product | Linear:
    if "weights" in arrays:
        return ask_linear(arrays, arrays["weights"], asking, settings)
    X = asking.matrix(len(arrays["right"]), settings["target"])
    own = np.unique(X.indices)  # of one user who asks, a few rows of many
    return product(X[:, own] @ arrays["left"][own].astype(np.float64), arrays["right"])


def ask_linear(
    arrays: Arrays,
    W: sparse.csr_array | NDArray[np.floating],
    asking: Asking,
    settings: Settings,
) -> Linear:
    """Scores by item-item weights W, and by `left` and `right` if there are such."""
    left, right = arrays.get("left"), arrays.get("right")
    items = len(arrays["of_item"] if right is None else right)
    X = asking.matrix(items, settings["target"])
    return Linear(X.astype(np.float32), W, left, right)


def _place(arrays: Arrays, features: NDArray[np.float32], settings: Settings) -> Arrays:
    """Items of these features, each as if it were the only one that is new; see `ease`."""
    if "weights" in arrays:
        return place_linear(arrays, features, settings)
    left, right = features @ arrays["to_left"], features @ arrays["to_right"]
    along = np.sum(left * right, axis=1, keepdims=True)
    more = {"left": left / (1 + along), "right": right}
    return arrays | {name: appended(arrays[name], added) for name, added in more.items()}


def place_linear(arrays: Arrays, features: NDArray[np.float32], settings: Settings) -> Arrays:
    """`_place` where there are item-item weights: new items are rows of `left` and `right`.

    With R = `to_right` and G = `to_left` [features, items], an old item says R^T e of the new one,
    which says -R of_item / s of the old ones; new ones a_m . a_n - g_m . P g_n over s_m of each
    other. Behind the columns that there are, those of R^T, and as many of the other way.
    """
    G, R, of_item = arrays["to_left"], arrays["to_right"], arrays["of_item"]
    old, (d, items) = arrays.get("right"), R.shape
    among = settings["text_weight"] ** 2 * np.eye(d, dtype=np.float32) - G @ R.T
    s = settings["lambda_"] + np.sum((features @ among) * features, axis=1, keepdims=True)
    if old is None or len(old) == items:  # the first that are placed
        none = np.zeros((items, 0), np.float32)
        zeros = np.zeros((items, d), np.float32)
        arrays = arrays | {
            "left": np.hstack([arrays.get("left", none), R.T, zeros]),
            "right": np.hstack([arrays.get("right", none), zeros, -(R * of_item).T]),
        }
    before = np.zeros((len(features), arrays["right"].shape[1] - 2 * d), np.float32)
    left = np.hstack([before, features @ among / s, features / s])
    right = np.hstack([before, features, np.zeros_like(features)])
    return arrays | {
        "left": appended(arrays["left"], left),
        "right": appended(arrays["right"], right),
    }


def _vectors(arrays: Arrays) -> NDArray[np.float32] | None:
    """None where there are item-item weights."""
    return None if "weights" in arrays else arrays["right"]


def _ease(evidence: Evidence, settings: Settings) -> Arrays:
    return ease(evidence.matrix(settings["target"]), settings["lambda_"])


def _ease_with_text(evidence: Evidence, settings: Settings) -> Arrays:
    X, E = evidence.matrix(settings["target"]), evidence.features(settings["metadata"])
    return ease(X, settings["lambda_"], E, settings["text_weight"])


def _prepared(arrays: Arrays) -> Arrays:
    return arrays if "weights" in arrays else resident(arrays)


SPACE: dict[str, Range | tuple] = {"lambda_": Range(10.0, 2000.0)}
TEXT_SPACE = SPACE | {"metadata": Range(0.1, 10.0), "text_weight": Range(0.05, 50.0)}
TRIED: tuple[Settings, ...] = ({"lambda_": 600.0}, {"lambda_": 60.0})
TRIED_WITH_TEXT = ({"text_weight": 1.0}, {"text_weight": 20.0}, *TRIED)

MODELS = {
    "ease": Model(
        "EASE, liked",
        _ease,
        ask,
        {"target": "liked", "lambda_": 200.0},
        SPACE,
        cost.ease,
        linear_shares(ask),
        tried=TRIED,
        vectors=_vectors,
        prepared=_prepared,
    ),
    "ease-graded": Model(
        "EASE, graded",
        _ease,
        ask,
        {"target": "graded", "lambda_": 200.0},
        SPACE,
        cost.ease,
        linear_shares(ask),
        ungraded="ease",
        tried=TRIED,
        vectors=_vectors,
        prepared=_prepared,
    ),
    "ease+text": Model(
        "EASE, liked, with text",
        _ease_with_text,
        ask,
        {"target": "liked", "lambda_": 200.0, "metadata": 1.0, "text_weight": 5.0},
        TEXT_SPACE,
        cost.ease,
        linear_shares(ask),
        text=True,
        place=_place,
        tried=TRIED_WITH_TEXT,
        vectors=_vectors,
        prepared=_prepared,
    ),
    "ease-graded+text": Model(
        "EASE, graded, with text",
        _ease_with_text,
        ask,
        {"target": "graded", "lambda_": 200.0, "metadata": 1.0, "text_weight": 5.0},
        TEXT_SPACE,
        cost.ease,
        linear_shares(ask),
        text=True,
        ungraded="ease+text",
        place=_place,
        tried=TRIED_WITH_TEXT,
        vectors=_vectors,
        prepared=_prepared,
    ),
}
