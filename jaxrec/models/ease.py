"""EASE: linear item-item weights, of liked or graded interactions, with and without text."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.errors import InputError
from jaxrec.models.model import Evidence, Model, Range, Settings
from jaxrec.topk.scorer import Product

LARGEST = 20_000
"""Rows of the largest dense system that is solved: 1.6 GB in double precision."""


def ease(
    X: sparse.csr_array,
    asking: sparse.csr_array,
    lambda_: float,
    E: NDArray[np.floating] | None = None,
    text_weight: float = 1.0,
) -> Product:
    """EASE (Steck 2019, eq. 8): the item-item weights B, zero on the diagonal, of a ridge X ~ X B.

    With text, every feature of the items is one more row of X (a "user" who rates each item by it),
    as in Jeunen, Van Balen & Goethals 2020 (CEASE). By the Woodbury identity only a system as large
    as the shorter side of A = [X; text_weight E^T] is solved: with M = (A A^T + lambda)^-1 and
    P = (A^T A + lambda)^-1 = (1 - A^T M A) / lambda, the score of an unseen item i is
    x A^T M a_i / (lambda P_ii).

    Args:
        X: [users, items] what is learned from.
        asking: [users, items] the rows that ask; their seen items are not scored rightly.
        lambda_: L2 weight of B.
        E: [items, features].
        text_weight: of the features.

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
        MA = np.linalg.solve(A @ A.T + lambda_ * np.eye(rows), A)
        P = 1 - np.einsum("ri,ri->i", A, MA)  # times lambda
        return _product(asking @ A.T, (MA / P).T)
    P = np.linalg.inv((X.T @ X).toarray() + text.T @ text + lambda_ * np.eye(items))
    B = -P / np.diagonal(P)
    np.fill_diagonal(B, 0)
    return _product(asking, B.T)


def _product(left: Any, right: NDArray[np.floating]) -> Product:
    dense = left.toarray() if sparse.issparse(left) else left
    return Product(jnp.asarray(dense, jnp.float32), jnp.asarray(right, jnp.float32))


def _ease(evidence: Evidence, settings: Settings) -> Product:
    return ease(*evidence.matrices(settings["target"]), settings["lambda_"])


def _ease_with_text(evidence: Evidence, settings: Settings) -> Product:
    X, asking = evidence.matrices(settings["target"])
    E = evidence.features(settings["metadata"])
    return ease(X, asking, settings["lambda_"], E, settings["text_weight"])


SPACE: dict[str, Range | tuple] = {"lambda_": Range(10.0, 2000.0)}
TEXT_SPACE = SPACE | {"metadata": Range(0.3, 5.0), "text_weight": Range(0.5, 50.0)}

MODELS = {
    "ease": Model("EASE, liked", _ease, {"target": "liked", "lambda_": 200.0}, SPACE),
    "ease-graded": Model(
        "EASE, graded", _ease, {"target": "graded", "lambda_": 200.0}, SPACE, ungraded="ease"
    ),
    "ease+text": Model(
        "EASE, liked, with text",
        _ease_with_text,
        {"target": "liked", "lambda_": 180.0, "metadata": 1.0, "text_weight": 25.0},
        TEXT_SPACE,
        text=True,
    ),
    "ease-graded+text": Model(
        "EASE, graded, with text",
        _ease_with_text,
        {"target": "graded", "lambda_": 200.0, "metadata": 1.0, "text_weight": 5.0},
        TEXT_SPACE,
        text=True,
        ungraded="ease+text",
    ),
}
