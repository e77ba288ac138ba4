"""EASE: linear item-item weights, of liked or graded interactions, with and without text."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.errors import InputError
from jaxrec.models.model import Arrays, Asking, Evidence, Model, Range, Settings, appended
from jaxrec.topk.scorer import Product, product

LARGEST = 20_000
"""Rows of the largest dense system that is solved: 1.6 GB in double precision."""


def ease(
    X: sparse.csr_array,
    lambda_: float,
    E: NDArray[np.floating] | None = None,
    text_weight: float = 1.0,
) -> Arrays:
    """EASE (Steck 2019, eq. 8): the item-item weights B, zero on the diagonal, of a ridge X ~ X B.

    With text, every feature of the items is one more row of X (a "user" who rates each item by it),
    as in Jeunen, Van Balen & Goethals 2020 (CEASE). By the Woodbury identity only a system as large
    as the shorter side of A = [X; text_weight E^T] is solved: with M = (A A^T + lambda)^-1 and
    P = (A^T A + lambda)^-1 = (1 - A^T M A) / lambda, the score of an unseen item i is
    x B_i = x A^T M a_i / (lambda P_ii).

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
        `right` [items, rank] and, where users and features are fewer than items, `left` [items,
        rank], else left is the identity: B is left times right, but for the diagonal. With text
        also `to_left` and `to_right` [features, rank], which make the same of an item's features.

    Raises:
        InputError: both sides are too long for a dense system.
    """
    X = X[np.flatnonzero(np.diff(X.indptr))]
    items = X.shape[1]
    text = np.zeros((0, items)) if E is None else text_weight * E.T.astype(np.float64)
    rows = X.shape[0] + len(text)
    if min(rows, items) > LARGEST:
        raise InputError(
            f"EASE needs a dense system of {min(rows, items):,} rows; {LARGEST:,} are possible:"
            " take other rows (--row), as pmf"
        )
    if rows <= items:
        A = np.vstack([X.toarray(), text])
        of_text = text_weight * np.eye(rows)[:, X.shape[0] :]  # [rows, features]
        MA, M_text = np.split(
            np.linalg.solve(A @ A.T + lambda_ * np.eye(rows), np.hstack([A, of_text])),
            [items],
            axis=1,
        )
        P = 1 - np.einsum("ri,ri->i", A, MA)  # times lambda
        found = {"left": A.T, "right": (MA / P).T, "to_left": of_text.T, "to_right": M_text.T}
    else:
        P = np.linalg.inv((X.T @ X).toarray() + text.T @ text + lambda_ * np.eye(items))
        found = {"right": (-P / np.diagonal(P)).T}
        found |= {"to_left": text_weight * text, "to_right": text_weight * text @ P}
    if E is None:
        found = {name: array for name, array in found.items() if not name.startswith("to_")}
    return {name: array.astype(np.float32) for name, array in found.items()}


def _ask(arrays: Arrays, asking: Asking, settings: Settings) -> Product:
    right = arrays["right"]
    X = asking.matrix(len(right), settings["target"])
    if "left" in arrays:
        own = np.unique(X.indices)  # of one user who asks, a few rows of many
        return product(X[:, own] @ arrays["left"][own].astype(np.float64), right)
    if "placed" not in arrays:
        return product(X.toarray(), right)
    known = arrays["to_right"].shape[1]
    left = X[:, known:] @ arrays["placed"]
    left[:, :known] += X[:, :known].toarray()
    return product(left, right)


def _place(arrays: Arrays, features: NDArray[np.float32], settings: Settings) -> Arrays:
    """Items of these features, each as if it were the only one that is new; see `ease`."""
    left, right = features @ arrays["to_left"], features @ arrays["to_right"]
    along = np.sum(left * right, axis=1, keepdims=True)
    if "left" in arrays:
        more = {"left": appended(arrays["left"], left / (1 + along))}
    else:
        a = settings["text_weight"] * features
        s = settings["lambda_"] + np.sum(a**2, axis=1, keepdims=True) - along
        # of new items with one another a_m . a_n counts too: further columns, 0 for old items
        right, before = np.hstack([right, a]), arrays["right"]
        wider = right.shape[1] - before.shape[1]
        arrays = arrays | {"right": np.pad(before, ((0, 0), (0, wider)))}
        placed = arrays.get("placed", np.zeros((0, right.shape[1]), np.float32))
        more = {"placed": appended(placed, np.hstack([-left, a]) / s)}
    return arrays | more | {"right": appended(arrays["right"], right)}


def _vectors(arrays: Arrays) -> NDArray[np.float32] | None:
    """None where the users' side is as wide as the catalogue."""
    return arrays["right"] if "left" in arrays else None


def _ease(evidence: Evidence, settings: Settings) -> Arrays:
    return ease(evidence.matrix(settings["target"]), settings["lambda_"])


def _ease_with_text(evidence: Evidence, settings: Settings) -> Arrays:
    X, E = evidence.matrix(settings["target"]), evidence.features(settings["metadata"])
    return ease(X, settings["lambda_"], E, settings["text_weight"])


SPACE: dict[str, Range | tuple] = {"lambda_": Range(10.0, 2000.0)}
TEXT_SPACE = SPACE | {"metadata": Range(0.3, 5.0), "text_weight": Range(0.5, 50.0)}

MODELS = {
    "ease": Model(
        "EASE, liked",
        _ease,
        _ask,
        {"target": "liked", "lambda_": 200.0},
        SPACE,
        vectors=_vectors,
    ),
    "ease-graded": Model(
        "EASE, graded",
        _ease,
        _ask,
        {"target": "graded", "lambda_": 200.0},
        SPACE,
        ungraded="ease",
        vectors=_vectors,
    ),
    "ease+text": Model(
        "EASE, liked, with text",
        _ease_with_text,
        _ask,
        {"target": "liked", "lambda_": 180.0, "metadata": 1.0, "text_weight": 25.0},
        TEXT_SPACE,
        text=True,
        place=_place,
        vectors=_vectors,
    ),
    "ease-graded+text": Model(
        "EASE, graded, with text",
        _ease_with_text,
        _ask,
        {"target": "graded", "lambda_": 200.0, "metadata": 1.0, "text_weight": 5.0},
        TEXT_SPACE,
        text=True,
        ungraded="ease+text",
        place=_place,
        vectors=_vectors,
    ),
}
