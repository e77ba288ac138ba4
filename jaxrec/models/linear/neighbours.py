"""Popularity, item neighbours, random walks, sparse linear weights, and neighbours by content.

X [users, items] holds what is learned from, and the same of whoever asks (see `model.matrix`).
Neighbours are learned as weights W [items, items], sparse: w_ji is what an interaction with item j
says of item i, and the scores of X are X W.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from jaxrec.devices import placement
from jaxrec.models import cost
from jaxrec.models.model import (
    Arrays,
    Asking,
    Evidence,
    Model,
    Range,
    Settings,
    Shares,
    appended,
    linear_shares,
    resident,
    said,
)
from jaxrec.topk.scorer import Linear, Product, product

BLOCK = 512
"""Items whose similarities are dense at a time."""
SOLVED = 256
"""Items whose weights are solved at once."""
SWEEPS, TOLERANCE = 100, 1e-4
"""Of coordinate descent: at most so many, until none moves a weight by more."""


def item_neighbours(X: sparse.csr_array, neighbours: int, shrinkage: float) -> sparse.csr_array:
    """W of item KNN: cosines of item columns, shrunk, the best `neighbours` of each item kept.

    S_ij = x_i . x_j / (|x_i| |x_j| + shrinkage); the score of i is the sum of S_ij over the user's
    items j (Deshpande & Karypis 2004).
    """
    norms = np.sqrt(np.asarray((X**2).sum(axis=0)))
    columns = sparse.csr_array(X.T)

    def similarity(start: int, stop: int) -> NDArray[np.floating]:
        products = (columns[start:stop] @ X).toarray()
        return products / (np.outer(norms[start:stop], norms) + shrinkage + 1e-12)

    return _weights(similarity, X.shape[1], neighbours)


def random_walks(
    X: sparse.csr_array, alpha: float, beta: float, neighbours: int
) -> sparse.csr_array:
    """W of RP3beta (Paudel et al. 2017): three steps of a random walk from the user to items.

    Transition probabilities are raised to `alpha`, and the probability of an item is divided by
    its popularity to the power `beta`. As in Ferrari Dacrema et al. 2019 the best `neighbours` of
    each item are kept.
    """
    ones = sparse.csr_array((np.ones_like(X.data), X.indices, X.indptr), shape=X.shape)
    of_user, of_item = np.asarray(ones.sum(axis=1)), np.asarray(ones.sum(axis=0))

    def steps(matrix: sparse.csr_array, sums: NDArray[np.floating]) -> sparse.csr_array:
        probability = (1 / np.maximum(sums, 1)) ** alpha
        return sparse.csr_array(sparse.diags_array(probability) @ matrix)

    to_users, to_items = steps(sparse.csr_array(ones.T), of_item), steps(ones, of_user)
    penalty = np.maximum(of_item, 1.0) ** -beta

    def similarity(start: int, stop: int) -> NDArray[np.floating]:
        """Of items start..stop as ends of the walk: [stop - start, items it comes from]."""
        ends = sparse.csr_array(to_items[:, start:stop])
        return (to_users @ ends).toarray().T * penalty[start:stop, None]

    return _weights(similarity, X.shape[1], neighbours)


def slim(X: sparse.csr_array, l1: float, l2: float, neighbours: int) -> sparse.csr_array:
    """W of SLIM (Ning & Karypis 2011, eq. 4), each item's from its `neighbours` alone (fsSLIM).

    Column w_i minimises 1/2 |x_i - X w_i|^2 + l2/2 |w_i|^2 + l1 |w_i|_1 over w_i >= 0 that are 0
    but on the items S of the largest cosines with i. With G = X^T X, coordinate descent (Friedman,
    Hastie & Tibshirani 2010) sets w_ji to (G_ji - sum over k != j of G_jk w_ki - l1) / (G_jj +
    l2), or 0 if that is less, for one j of S after the other.
    """
    X = X.astype(np.float32)
    items, G = X.shape[1], sparse.csr_array(X.T @ X)
    G.sort_indices()
    diagonal, at = G.diagonal(), values_of(G)
    norms = np.sqrt(diagonal) + 1e-12
    size = min(neighbours, items - 1)

    def columns_of(start: int) -> sparse.csr_array:
        own = np.arange(start, min(start + SOLVED, items))
        cosines = G[own].toarray() / norms
        cosines[np.arange(len(own)), own] = -np.inf
        S = np.sort(np.argpartition(-cosines, size - 1, axis=1)[:, :size], axis=1)
        one, other = np.triu_indices(size, 1)
        G_SS = np.zeros((len(own), size, size), np.float32)
        G_SS[:, one, other] = G_SS[:, other, one] = at(S[:, one], S[:, other])
        w = _non_negative(G_SS, at(own[:, None], S) - l1, diagonal[S] + l2)
        places = np.repeat(np.arange(len(own)), size), S.ravel()
        found = sparse.csr_array((w.ravel(), places), shape=cosines.shape)
        found.eliminate_zeros()
        return found

    with threadpool_limits(1):  # small products, one after the other
        blocks = placement().each(columns_of, range(0, items, SOLVED))
    return sparse.csr_array(sparse.vstack(blocks, format="csr").T)


def _non_negative(
    G: NDArray[np.floating], g: NDArray[np.floating], diagonal: NDArray[np.floating]
) -> NDArray[np.floating]:
    """The w [n, size] >= 0 that minimise 1/2 w^T (G + diagonal) w - g . w, each by itself.

    G [n, size, size] is symmetric, with zeros where `diagonal` [n, size] is.
    """
    w = np.zeros_like(g)
    for _ in range(SWEEPS):
        before = w.copy()
        for j in range(w.shape[1]):
            rest = g[:, j] - np.einsum("nk,nk->n", G[:, j], w)
            w[:, j] = np.maximum(rest, 0) / np.maximum(diagonal[:, j], 1e-12)
        if np.abs(w - before).max(initial=0) < TOLERANCE:
            break
    return w


def values_of(
    G: sparse.csr_array,
) -> Callable[[NDArray[np.integer], NDArray[np.integer]], NDArray[np.floating]]:
    """What looks up G [items, items], of sorted indices, at rows and columns of any shape."""
    items = G.shape[0]
    pairs = np.repeat(np.arange(items), np.diff(G.indptr)) * items + G.indices

    def at(rows: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.floating]:
        wanted = rows.astype(np.int64) * items + columns
        if not len(pairs):  # no two items have a user in common
            return np.zeros(wanted.shape, G.dtype)
        place = np.searchsorted(pairs, wanted).clip(max=len(pairs) - 1)
        return np.where(pairs[place] == wanted, G.data[place], 0)

    return at


def _weights(
    similarity: Callable[[int, int], NDArray[np.floating]], items: int, neighbours: int
) -> sparse.csr_array:
    """W of the sparse rows that `similarity(start, stop)` makes, cut to the best of each."""

    def block(start: int) -> sparse.csr_array:
        stop = min(start + BLOCK, items)
        found = similarity(start, stop)
        np.fill_diagonal(found[:, start:stop], 0)
        kept = np.argpartition(-found, min(neighbours, items - 1), axis=1)[:, :neighbours]
        row = np.repeat(np.arange(stop - start), kept.shape[1])
        value = np.take_along_axis(found, kept, axis=1).ravel()
        there = value != 0
        places = row[there], kept.ravel()[there]
        return sparse.csr_array((value[there], places), shape=found.shape)

    blocks = placement().each(block, range(0, items, BLOCK))
    return sparse.csr_array(sparse.vstack(blocks, format="csr").T)


def arrays_of(W: sparse.csr_array) -> Arrays:
    """What is kept of sparse weights W [items, items]."""
    return {"weights": W.data, "columns": W.indices, "starts": W.indptr}


def weights_of(arrays: Arrays) -> sparse.csr_array:
    """W [items, items] of what `arrays_of` makes of it."""
    items = len(arrays["starts"]) - 1
    own = arrays["weights"], arrays["columns"], arrays["starts"]
    return sparse.csr_array(own, shape=(items, items))


def _ask_neighbours(arrays: Arrays, asking: Asking, settings: Settings) -> Linear:
    W = weights_of(arrays)
    return Linear(asking.matrix(len(arrays["starts"]) - 1, settings["target"]), W)


def _slim(evidence: Evidence, settings: Settings) -> Arrays:
    X = evidence.matrix(settings["target"])
    return arrays_of(slim(X, settings["l1"], settings["l2"], settings["neighbours"]))


def _content(evidence: Evidence, settings: Settings) -> Arrays:
    return of_content(evidence.features(settings["metadata"]))


def of_content(features: NDArray[np.floating]) -> Arrays:
    """`right` [items, features]: features less their `mean`, of norm 1 (or 0)."""
    mean = features.mean(axis=0)
    return {"right": _directions(features - mean), "mean": mean}


def _directions(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)


def _ask_content(arrays: Arrays, asking: Asking, settings: Settings) -> Product:
    """Cosines with the mean of what a user has, weighted by X."""
    right = arrays["right"]
    X = asking.matrix(len(right), settings["target"])
    return product(_directions(X @ np.asarray(right)), right)


def _shares_of_content(
    arrays: Arrays, asking: Asking, items: NDArray[np.integer], settings: Settings
) -> Shares:
    right = arrays["right"].astype(np.float64)
    rows = said(asking.known, asking.feedback, settings["target"])[:, None]
    rows = rows * right[asking.known.items]
    norm = np.linalg.norm(rows.sum(axis=0)) or 1.0
    return Shares(rows @ right[items].T / norm, np.zeros(len(items)))


def _place_content(arrays: Arrays, features: NDArray[np.float32], settings: Settings) -> Arrays:
    return arrays | {"right": appended(arrays["right"], _directions(features - arrays["mean"]))}


def _right(arrays: Arrays) -> NDArray[np.float32]:
    return arrays["right"]


def _place_unknown(arrays: Arrays, features: NDArray[np.float32], settings: Settings) -> Arrays:
    """Items that no other is near to, for a row that reads no features beside some that do."""
    last = np.full(len(features), arrays["starts"][-1], arrays["starts"].dtype)
    return arrays | {"starts": appended(arrays["starts"], last)}


def _popularity(evidence: Evidence, settings: Settings) -> Arrays:
    liked = evidence.train.liked(evidence.dataset.feedback)
    return {"liked": np.bincount(liked.items, minlength=evidence.dataset.items)}


def _ask_popularity(arrays: Arrays, asking: Asking, settings: Settings) -> Product:
    return product(np.ones((asking.users, 1)), _liked(arrays))


def _shares_of_popularity(
    arrays: Arrays, asking: Asking, items: NDArray[np.integer], settings: Settings
) -> Shares:
    """The item's alone."""
    nothing = np.zeros((len(asking.known.users), len(items)))
    return Shares(nothing, arrays["liked"][items].astype(np.float64))


def _liked(arrays: Arrays) -> NDArray[np.floating]:
    return arrays["liked"][:, None].astype(np.float32)


def _item_neighbours(evidence: Evidence, settings: Settings) -> Arrays:
    X = evidence.matrix(settings["target"])
    return arrays_of(item_neighbours(X, settings["neighbours"], settings["shrinkage"]))


def _random_walks(evidence: Evidence, settings: Settings) -> Arrays:
    X = evidence.matrix(settings["target"])
    return arrays_of(random_walks(X, settings["alpha"], settings["beta"], settings["neighbours"]))


SPACE: dict[str, Range | tuple] = {"target": ("liked", "graded"), "neighbours": Range(10, 1000)}

MODELS = {
    "popularity": Model(
        "most liked",
        _popularity,
        _ask_popularity,
        {},
        {},
        cost.popularity,
        _shares_of_popularity,
        vectors=_liked,
    ),
    "itemknn": Model(
        "item neighbours",
        _item_neighbours,
        _ask_neighbours,
        {"target": "graded", "neighbours": 84, "shrinkage": 0.65},
        SPACE | {"shrinkage": Range(0.1, 1000.0)},
        cost.neighbours,
        linear_shares(_ask_neighbours),
        tried=({"shrinkage": 30.0}, {"neighbours": 300}, {"shrinkage": 300.0}),
    ),
    "rp3beta": Model(
        "random walks",
        _random_walks,
        _ask_neighbours,
        {"target": "liked", "neighbours": 128, "alpha": 0.5, "beta": 0.4},
        SPACE | {"alpha": Range(0.3, 2.0), "beta": Range(0.0, 1.0, log=False)},
        cost.neighbours,
        linear_shares(_ask_neighbours),
        place=_place_unknown,
        tried=({"neighbours": 500}, {"beta": 0.2}),
    ),
    "slim": Model(
        "SLIM of near items",
        _slim,
        _ask_neighbours,
        {"target": "graded", "neighbours": 50, "l1": 0.3, "l2": 100.0},
        {
            "target": ("liked", "graded"),
            "neighbours": Range(20, 200),
            "l1": Range(0.01, 30.0),
            "l2": Range(0.1, 1000.0),
        },
        cost.slim,
        linear_shares(_ask_neighbours),
        named_only=True,
    ),
    "content": Model(
        "neighbours by content",
        _content,
        _ask_content,
        {"target": "liked", "metadata": 1.0},
        {"target": ("liked", "graded"), "metadata": Range(0.1, 10.0)},
        cost.content,
        _shares_of_content,
        text=True,
        place=_place_content,
        tried=({"target": "graded"},),
        vectors=_right,
        prepared=resident,
    ),
}
