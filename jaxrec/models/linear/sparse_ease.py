"""EASE where items are too many for a matrix of all pairs: a sparse inverse and a few directions.

P = (X^T X + lambda)^-1 is far from sparse where items are alike in the large, all the popular ones
say. So a few directions F of X are taken out, X^T X ~ F F^T and what is left: of that the inverse
is found item by item on the pairs that matter (Steck 2019, Markov Random Fields for Collaborative
Filtering; SANSA, Spisak et al. 2023, approximates the whole inverse by a sparse factorisation). F
is put back as EASE's text is, which is of low rank too: by the same formulas, beside the text.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from jaxrec.devices import placement
from jaxrec.models import cost
from jaxrec.models.cost import DIRECTIONS
from jaxrec.models.linear.ease import (
    TRIED,
    TRIED_WITH_TEXT,
    ask_linear,
    place_linear,
    text_correction,
)
from jaxrec.models.linear.neighbours import arrays_of, values_of, weights_of
from jaxrec.models.model import Arrays, Asking, Evidence, Model, Range, Settings, linear_shares
from jaxrec.topk.scorer import Linear

BLOCK = 256
"""Items whose products with all others are dense at a time, and that are solved at once."""
KEPT = 10
"""So many times the neighbours of an item are pairs of it that are kept of the Gramian."""
ROUNDS = 4
"""In which the directions that are taken out are found."""


def directions(X: sparse.csr_array) -> NDArray[np.floating]:
    """F [items, rank], of which F F^T is nearly the best X^T X of that rank, and never too much.

    With U an orthonormal basis of what users say along the main directions (by rounds of subspace
    iteration from a seed; Halko, Martinsson & Tropp 2011), F = X^T U, and X^T X - F F^T = X^T (1 -
    U U^T) X is positive semidefinite, however good U is.
    """
    F = np.random.default_rng(0).normal(size=(X.shape[1], min(DIRECTIONS, *X.shape)))
    for _ in range(ROUNDS):
        U, _ = np.linalg.qr(X @ F)
        F = X.T @ U
    return F


def sparse_inverse(
    X: sparse.csr_array, lambda_: float, neighbours: int, F: NDArray[np.floating]
) -> sparse.csr_array:
    """P ~ (X^T X - F F^T + lambda)^-1 [items, items], symmetric.

    With G the difference and S the `neighbours` of item i of which it says most, |G_ij| / sqrt(G_jj
    + lambda), the column of i is that of the inverse over S and i alone: with b = (G_SS +
    lambda)^-1 G_Si it is P_ii = 1 / (G_ii + lambda - G_Si . b) and P_Si = -b P_ii. What two columns
    say of a pair is averaged. Of G the `KEPT` x `neighbours` largest pairs of each item are kept.
    """
    items, X, F32 = X.shape[1], X.astype(np.float32), F.astype(np.float32)
    XT = sparse.csr_array(X.T)
    diagonal = np.asarray((X.astype(np.float64) ** 2).sum(axis=0)) - np.sum(F**2, axis=1) + lambda_
    neighbours, few = (min(k, items - 1) for k in (neighbours, KEPT * neighbours))
    scale = (1 / np.sqrt(diagonal)).astype(np.float32)

    def pairs_of(start: int) -> tuple[NDArray[np.int32], sparse.csr_array]:
        part = slice(start, start + BLOCK)
        G = (XT[part] @ X).toarray() - F32[part] @ F32.T
        row = np.arange(len(G))
        most = np.abs(G) * scale
        most[row, start + row] = -1  # no neighbour of itself, however few others there are
        kept = _largest(most, few)
        values = np.take_along_axis(G, kept, axis=1)
        near = _largest(np.abs(values) * scale[kept], neighbours)
        starts = np.arange(len(G) + 1) * few
        found = sparse.csr_array((values.ravel(), kept.ravel(), starts), shape=G.shape)
        found.eliminate_zeros()
        return np.take_along_axis(kept, near, axis=1), found

    S, parts = zip(*placement().each(pairs_of, range(0, items, BLOCK)), strict=True)
    P = _solved(_symmetric(sparse.vstack(parts, format="csr")), diagonal, np.concatenate(S))
    return sparse.csr_array(P + P.T) / 2


def _symmetric(G: sparse.csr_array) -> sparse.csr_array:
    """G, of which a pair may be there in one direction only, in both."""
    ones = sparse.csr_array((np.ones_like(G.data), G.indices, G.indptr), shape=G.shape)
    found, there = (sparse.csr_array(of + of.T) for of in (G, ones))
    for of in (found, there):
        of.sort_indices()
    found.data /= there.data
    return found


def _largest(values: NDArray[np.floating], k: int) -> NDArray[np.int32]:
    """[rows, k] places of the largest of each row, in ascending order."""
    return np.sort(np.argpartition(-values, k - 1, axis=1)[:, :k].astype(np.int32), axis=1)


def _solved(
    G: sparse.csr_array, diagonal: NDArray[np.floating], S: NDArray[np.int32]
) -> sparse.csr_array:
    """P over each item and its S [items, neighbours], of G beside its `diagonal` plus lambda."""
    (items, size), at = S.shape, values_of(G)
    itself, (one, other) = np.arange(size), np.triu_indices(size, 1)

    def columns_of(start: int) -> NDArray[np.floating]:
        own = S[start : start + BLOCK]
        block = np.arange(start, start + len(own))
        G_SS, g = np.zeros((len(own), size, size)), at(block[:, None], own)
        G_SS[:, one, other] = G_SS[:, other, one] = at(own[:, one], own[:, other])
        G_SS[:, itself, itself] = diagonal[own]
        b = np.linalg.solve(G_SS, g[..., None])[..., 0]
        P = 1 / (diagonal[block] - np.sum(g * b, axis=1))
        return np.hstack([-b * P[:, None], P[:, None]])

    with threadpool_limits(1):  # small systems, one after the other
        values = np.concatenate(placement().each(columns_of, range(0, items, BLOCK)))
    columns = np.hstack([S, np.arange(items, dtype=np.int32)[:, None]])
    starts = np.arange(items + 1) * (size + 1)
    P = sparse.csr_array((values.ravel(), columns.ravel(), starts), shape=(items, items))
    P.eliminate_zeros()
    return P


def sparse_ease(
    X: sparse.csr_array,
    lambda_: float,
    neighbours: int,
    E: NDArray[np.floating] | None = None,
    text_weight: float = 1.0,
) -> Arrays:
    """EASE by a sparse P of X but for a few directions F, and F and text as corrections of it.

    Returns:
        `weights`, `columns`, `starts`: sparse B [items, items], of what is left of X; `left` and
        `right` [items, rank], of which the product is what F and text add to B; `of_item` [items],
        -1 / P_ii. With text also `to_left` and `to_right` [features, items], as `ease` has them.
    """
    F = directions(X)
    P, rank = sparse_inverse(X, lambda_, neighbours, F), F.shape[1]
    if E is not None:
        F = np.hstack([F, text_weight * E])
    H = text_correction(P @ F, F)
    diagonal = P.diagonal() - np.sum(H**2, axis=0)
    found = {"left": H.T, "right": (H / diagonal).T, "of_item": -1 / diagonal}
    if E is not None:
        text = F[:, rank:].T
        to_right = text @ P - (text @ H.T) @ H
        found |= {"to_left": text_weight * text, "to_right": text_weight * to_right}
    P.setdiag(0)
    P.eliminate_zeros()
    W = sparse.csr_array(P @ sparse.diags_array(found["of_item"]))
    return {name: array.astype(np.float32) for name, array in found.items()} | arrays_of(
        W.astype(np.float32)
    )


def _ask(arrays: Arrays, asking: Asking, settings: Settings) -> Linear:
    return ask_linear(arrays, weights_of(arrays), asking, settings)


def _learn(evidence: Evidence, settings: Settings) -> Arrays:
    X = evidence.matrix(settings["target"])
    return sparse_ease(X, settings["lambda_"], settings["neighbours"])


def _learn_with_text(evidence: Evidence, settings: Settings) -> Arrays:
    X, E = evidence.matrix(settings["target"]), evidence.features(settings["metadata"])
    how = settings["lambda_"], settings["neighbours"], E, settings["text_weight"]
    return sparse_ease(X, *how)


SETTINGS = {"target": "graded", "lambda_": 200.0, "neighbours": 50}
SPACE: dict[str, Range | tuple] = {"lambda_": Range(10.0, 2000.0), "neighbours": Range(20, 200)}

MODELS = {
    "sparse-ease": Model(
        "EASE, sparse",
        _learn,
        _ask,
        SETTINGS,
        SPACE,
        cost.sparse_ease,
        linear_shares(_ask),
        in_place_of=("ease", "ease-graded"),
        tried=TRIED,
    ),
    "sparse-ease+text": Model(
        "EASE, sparse, with text",
        _learn_with_text,
        _ask,
        SETTINGS | {"metadata": 1.0, "text_weight": 5.0},
        SPACE | {"metadata": Range(0.3, 5.0), "text_weight": Range(0.5, 50.0)},
        cost.sparse_ease,
        linear_shares(_ask),
        text=True,
        place=place_linear,
        in_place_of=("ease+text", "ease-graded+text"),
        tried=TRIED_WITH_TEXT,
    ),
}
