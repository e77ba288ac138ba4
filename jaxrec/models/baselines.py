"""Baselines without factors: popularity, EASE, item neighbours and random walks.

X [users, items] holds what is learned from: 1 on liked ratings, or (stars - 1.5) / 2.5 on all. A
model is learned from the users of `train`; X of whoever asks may come from elsewhere.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.data.dataset import LIKED, Ratings
from jaxrec.errors import InputError
from jaxrec.topk.ranking import Product, Table

LARGEST = 20_000
"""Rows of the largest dense system that is solved: 1.6 GB in double precision."""
BLOCK = 512
"""Items whose similarities are dense at a time."""


def interactions(ratings: Ratings, users: int, items: int, target: str) -> sparse.csr_array:
    """X [users, items] of the `target`, `liked` or `graded`."""
    if target == "liked":
        ratings = ratings.liked
        values = np.ones(len(ratings.users))
    else:
        values = (ratings.stars - 1.5) / 2.5
    return sparse.csr_array((values, (ratings.users, ratings.items)), shape=(users, items))


def popularity(train: Ratings, users: int, items: int) -> Product:
    """The number of a film's ratings of at least 4 stars, the same for everyone."""
    count = np.bincount(train.items[train.stars >= LIKED], minlength=items)
    ones = jnp.ones((users, 1), jnp.float32)
    return Product(ones, jnp.asarray(count[:, None], jnp.float32))


def ease(
    X: sparse.csr_array,
    known: sparse.csr_array,
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
        known: [users, items] the rows that ask; their seen items are not scored rightly.
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
            f"EASE needs a dense system of {min(rows, items):,} rows; {LARGEST:,} are possible"
        )
    if rows <= items:
        A = np.vstack([X.toarray(), text])
        MA = np.linalg.solve(A @ A.T + lambda_ * np.eye(rows), A)
        P = 1 - np.einsum("ri,ri->i", A, MA)  # times lambda
        return _product(known @ A.T, (MA / P).T)
    P = np.linalg.inv((X.T @ X).toarray() + text.T @ text + lambda_ * np.eye(items))
    B = -P / np.diagonal(P)
    np.fill_diagonal(B, 0)
    return _product(known, B.T)


def item_neighbours(
    X: sparse.csr_array, known: sparse.csr_array, neighbours: int, shrinkage: float
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

    return _neighbour_scores(similarity, known, neighbours)


def random_walks(
    X: sparse.csr_array, known: sparse.csr_array, alpha: float, beta: float, neighbours: int
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

    return _neighbour_scores(similarity, known, neighbours)


def _neighbour_scores(
    similarity: Callable[[int, int], NDArray[np.floating]], known: sparse.csr_array, neighbours: int
) -> Table:
    """Scores of the sparse rows that `similarity(start, stop)` makes, cut to the best of each."""
    items = known.shape[1]
    scores = np.zeros(known.shape, np.float32)
    for start in range(0, items, BLOCK):
        stop = min(start + BLOCK, items)
        block = similarity(start, stop)
        np.fill_diagonal(block[:, start:stop], 0)
        kept = np.argpartition(-block, min(neighbours, items - 1), axis=1)[:, :neighbours]
        row = np.repeat(np.arange(stop - start), kept.shape[1])
        value = np.take_along_axis(block, kept, axis=1).ravel()
        weights = sparse.csr_array((value, (row, kept.ravel())), shape=block.shape)
        scores[:, start:stop] = (known @ weights.T).toarray()
    return Table(jnp.asarray(scores))


def _product(left: Any, right: NDArray[np.floating]) -> Product:
    dense = left.toarray() if sparse.issparse(left) else left
    return Product(jnp.asarray(dense, jnp.float32), jnp.asarray(right, jnp.float32))
