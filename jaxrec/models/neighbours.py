"""Popularity, item neighbours and random walks.

X [users, items] holds what is learned from, and the same of whoever asks (see `model.matrix`).
Neighbours are learned as weights W [items, items], sparse: w_ji is what an interaction with item j
says of item i, and the scores of X are X W.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.devices import placement
from jaxrec.models import cost
from jaxrec.models.model import Arrays, Asking, Evidence, Model, Range, Settings
from jaxrec.topk.scorer import Linear, Product, product

BLOCK = 512
"""Items whose similarities are dense at a time."""


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


def _popularity(evidence: Evidence, settings: Settings) -> Arrays:
    liked = evidence.train.liked(evidence.dataset.feedback)
    return {"liked": np.bincount(liked.items, minlength=evidence.dataset.items)}


def _ask_popularity(arrays: Arrays, asking: Asking, settings: Settings) -> Product:
    return product(np.ones((asking.users, 1)), _liked(arrays))


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
        "most liked", _popularity, _ask_popularity, {}, {}, cost.popularity, vectors=_liked
    ),
    "itemknn": Model(
        "item neighbours",
        _item_neighbours,
        _ask_neighbours,
        {"target": "graded", "neighbours": 84, "shrinkage": 0.65},
        SPACE | {"shrinkage": Range(0.1, 1000.0)},
        cost.neighbours,
    ),
    "rp3beta": Model(
        "random walks",
        _random_walks,
        _ask_neighbours,
        {"target": "liked", "neighbours": 128, "alpha": 0.5, "beta": 0.4},
        SPACE | {"alpha": Range(0.3, 2.0), "beta": Range(0.0, 1.0, log=False)},
        cost.neighbours,
    ),
}
