"""EASE where items are too many for a matrix of all pairs: a sparse approximate inverse.

P = (X^T X + lambda)^-1 is found item by item on the pairs that matter (Steck 2019, Markov Random
Fields for Collaborative Filtering; SANSA, Spisak et al. 2023, approximates the same inverse by a
sparse factorisation), and what text adds is of low rank: the same formulas as EASE's.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from jaxrec.models import cost
from jaxrec.models.ease import ask_linear, place_linear, text_correction
from jaxrec.models.model import Arrays, Asking, Evidence, Model, Range, Settings
from jaxrec.models.neighbours import arrays_of, weights_of
from jaxrec.topk.scorer import Linear

BLOCK = 512
"""Items whose products with all others are dense at a time, and that are solved at once."""
KEPT = 10
"""So many times the neighbours of an item are pairs of it that the Gramian keeps."""


def sparse_inverse(X: sparse.csr_array, lambda_: float, neighbours: int) -> sparse.csr_array:
    """P ~ (X^T X + lambda)^-1 [items, items], symmetric.

    With S the `neighbours` of item i of which the Gramian G says most, |G_ij| / sqrt(G_jj +
    lambda), the column of i is that of the inverse over S and i alone: with b = (G_SS + lambda)^-1
    G_Si it is P_ii = 1 / (G_ii + lambda - G_Si . b) and P_Si = -b P_ii. What two columns say of a
    pair is averaged. Of G itself the `KEPT` x `neighbours` largest pairs of each item are kept.
    """
    items, XT = X.shape[1], sparse.csr_array(X.T)
    diagonal = np.asarray((X**2).sum(axis=0))
    neighbours = min(neighbours, items - 1)
    S = np.empty((items, neighbours), np.int32)
    parts = []
    for start in range(0, items, BLOCK):
        G = (XT[start : start + BLOCK] @ X).toarray()
        row = np.arange(len(G))
        G[row, start + row] = 0
        most = np.abs(G) / np.sqrt(diagonal + lambda_)
        most[row, start + row] = -1  # no neighbour, however few others there are
        S[start : start + BLOCK] = _largest(most, neighbours)
        kept = _largest(np.abs(G), min(KEPT * neighbours, items - 1))
        values = np.take_along_axis(G, kept, axis=1).ravel()
        places = np.repeat(row, kept.shape[1]), kept.ravel()
        parts.append(sparse.csr_array((values, places), shape=G.shape))
        parts[-1].eliminate_zeros()
    G, there = _symmetric(sparse.vstack(parts, format="csr"))
    G.data /= there.data
    P = _solved(G, diagonal + lambda_, S)
    return sparse.csr_array(P + P.T) / 2


def _symmetric(G: sparse.csr_array) -> tuple[sparse.csr_array, sparse.csr_array]:
    """The sum of G and its transpose, and of how many values it is."""
    ones = sparse.csr_array((np.ones_like(G.data), G.indices, G.indptr), shape=G.shape)
    found = tuple(sparse.csr_array(of + of.T) for of in (G, ones))
    for of in found:
        of.sort_indices()
    return found[0], found[1]


def _largest(values: NDArray[np.floating], k: int) -> NDArray[np.int32]:
    """[rows, k] places of the largest of each row, in ascending order."""
    return np.sort(np.argpartition(-values, k - 1, axis=1)[:, :k].astype(np.int32), axis=1)


def _solved(
    G: sparse.csr_array, diagonal: NDArray[np.floating], S: NDArray[np.int32]
) -> sparse.csr_array:
    """P over each item and its S [items, neighbours], of G beside its `diagonal` plus lambda."""
    items, size = S.shape
    pairs = np.repeat(np.arange(items), np.diff(G.indptr)) * items + G.indices
    values = np.empty((items, size + 1))

    def at(rows: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.floating]:
        wanted = rows.astype(np.int64) * items + columns
        if not len(pairs):  # no two items have a user in common
            return np.zeros(wanted.shape)
        place = np.searchsorted(pairs, wanted).clip(max=len(pairs) - 1)
        return np.where(pairs[place] == wanted, G.data[place], 0)

    itself = np.arange(size)
    with threadpool_limits(1):  # small systems, one after the other
        for start in range(0, items, BLOCK):
            own = S[start : start + BLOCK]
            block = np.arange(start, start + len(own))
            G_SS, g = at(own[:, :, None], own[:, None, :]), at(block[:, None], own)
            G_SS[:, itself, itself] = diagonal[own]
            b = np.linalg.solve(G_SS, g[..., None])[..., 0]
            P = 1 / (diagonal[block] - np.sum(g * b, axis=1))
            values[block, :size], values[block, size] = -b * P[:, None], P
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
    """EASE by a sparse P of X, which text corrects as in `jaxrec.models.ease`.

    Returns:
        `weights`, `columns`, `starts`: sparse B [items, items], of X; `of_item` [items], -1 / P_ii.
        With text also `left` and `right` [items, features], of which the product is what text adds
        to B, and `to_left` and `to_right` [features, items], as `ease` has them.
    """
    P = sparse_inverse(X, lambda_, neighbours)
    diagonal, found = P.diagonal(), {}
    if E is not None and E.shape[1]:
        F = text_weight * E.astype(np.float64)
        H = text_correction(P @ F, F)
        diagonal = diagonal - np.sum(H**2, axis=0)
        to_right = F.T @ P - (F.T @ H.T) @ H
        found = {"to_left": text_weight * F.T, "to_right": text_weight * to_right}
        found |= {"left": H.T, "right": (H / diagonal).T}
    found["of_item"] = -1 / diagonal
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
        in_place_of=("ease", "ease-graded"),
    ),
    "sparse-ease+text": Model(
        "EASE, sparse, with text",
        _learn_with_text,
        _ask,
        SETTINGS | {"metadata": 1.0, "text_weight": 5.0},
        SPACE | {"metadata": Range(0.3, 5.0), "text_weight": Range(0.5, 50.0)},
        cost.sparse_ease,
        text=True,
        place=place_linear,
        in_place_of=("ease+text", "ease-graded+text"),
    ),
}
