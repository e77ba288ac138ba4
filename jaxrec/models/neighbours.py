"""Popularity, item neighbours and random walks.

X [users, items] holds what is learned from (see `model.matrix`); a model is learned from the users
of train, X of whoever asks may come from elsewhere.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.models.model import Evidence, Model, Range, Settings
from jaxrec.topk.scorer import Product, Table

BLOCK = 512
"""Items whose similarities are dense at a time."""


def popularity(liked: NDArray[np.integer], users: int, items: int) -> Product:
    """How often each item is liked, the same for everyone; `liked` [n] are the liked items."""
    count = np.bincount(liked, minlength=items)
    ones = jnp.ones((users, 1), jnp.float32)
    return Product(ones, jnp.asarray(count[:, None], jnp.float32))


def item_neighbours(
    X: sparse.csr_array, asking: sparse.csr_array, neighbours: int, shrinkage: float
) -> Table:
    """Item KNN: cosines of item columns, shrunk, the best `neighbours` of each item kept.

    S_ij = x_i . x_j / (|x_i| |x_j| + shrinkage); the score of i is the sum of S_ij over the user's
    items j (Deshpande & Karypis 2004).
    """
    norms = np.sqrt(np.asarray((X**2).sum(axis=0)))
    columns = sparse.csr_array(X.T)

    def similarity(start: int, stop: int) -> NDArray[np.floating]:
        products = (columns[start:stop] @ X).toarray()
        return products / (np.outer(norms[start:stop], norms) + shrinkage + 1e-12)

    return _neighbour_scores(similarity, asking, neighbours)


def random_walks(
    X: sparse.csr_array, asking: sparse.csr_array, alpha: float, beta: float, neighbours: int
) -> Table:
    """RP3beta (Paudel et al. 2017): three steps of a random walk from the user to items.

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

    return _neighbour_scores(similarity, asking, neighbours)


def _neighbour_scores(
    similarity: Callable[[int, int], NDArray[np.floating]],
    asking: sparse.csr_array,
    neighbours: int,
) -> Table:
    """Scores of the sparse rows that `similarity(start, stop)` makes, cut to the best of each."""
    items = asking.shape[1]
    scores = np.zeros(asking.shape, np.float32)
    for start in range(0, items, BLOCK):
        stop = min(start + BLOCK, items)
        block = similarity(start, stop)
        np.fill_diagonal(block[:, start:stop], 0)
        kept = np.argpartition(-block, min(neighbours, items - 1), axis=1)[:, :neighbours]
        row = np.repeat(np.arange(stop - start), kept.shape[1])
        value = np.take_along_axis(block, kept, axis=1).ravel()
        weights = sparse.csr_array((value, (row, kept.ravel())), shape=block.shape)
        scores[:, start:stop] = (asking @ weights.T).toarray()
    return Table(jnp.asarray(scores))


def _popularity(evidence: Evidence, settings: Settings) -> Product:
    liked = evidence.train.liked(evidence.dataset.feedback)
    return popularity(liked.items, *evidence.shape)


def _item_neighbours(evidence: Evidence, settings: Settings) -> Table:
    X, asking = evidence.matrices(settings["target"])
    return item_neighbours(X, asking, settings["neighbours"], settings["shrinkage"])


def _random_walks(evidence: Evidence, settings: Settings) -> Table:
    X, asking = evidence.matrices(settings["target"])
    return random_walks(X, asking, settings["alpha"], settings["beta"], settings["neighbours"])


SPACE: dict[str, Range | tuple] = {"target": ("liked", "graded"), "neighbours": Range(10, 1000)}

MODELS = {
    "popularity": Model("most liked", _popularity, {}, {}),
    "itemknn": Model(
        "item neighbours",
        _item_neighbours,
        {"target": "graded", "neighbours": 84, "shrinkage": 0.65},
        SPACE | {"shrinkage": Range(0.1, 1000.0)},
    ),
    "rp3beta": Model(
        "random walks",
        _random_walks,
        {"target": "liked", "neighbours": 128, "alpha": 0.5, "beta": 0.4},
        SPACE | {"alpha": Range(0.3, 2.0), "beta": Range(0.0, 1.0, log=False)},
    ),
}
