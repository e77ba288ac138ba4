"""Learned fusion: a gate that weighs signals by how much is known about user and item.

The signals are scores of other models, standardised over each user's candidates, so that their
scales do not matter and may move between the fit the gate was learned on and the final one. With z
the standardised signals, f_u the user's and g_i the item's familiarity features,

    y_ui = sum over signals c of z_c (a_c + b_c . f_u + d_c . g_i)  +  (h + H^T f_u) . g_i

b = d = h = H = 0 is the convex combination. How the weights are learned is in `learning`.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from numpy.typing import NDArray

from jaxrec.topk.scorer import AnyScorer, Scorer, single

UNRATED = 2
"""Column of `Familiarity.items` that says whether an item has no rating."""
WINNERS = ("signal", "convex", "gate")
"""What a fusion may be: the best signal alone, a convex combination, or the gate. Of equal ones the
first is kept."""
Weights = dict[str, Array]
"""`a` [signals], `b` [signals, user features], `d` [signals, item features], `h` [item features],
`H` [user features, item features]."""


class Familiarity(NamedTuple):
    """How much is known of users and items."""

    users: Array
    """[users, user features]"""
    items: Array
    """[items, item features]"""


def familiarity(user_counts: NDArray[np.integer], item_counts: NDArray[np.integer]) -> Familiarity:
    """Decimal logarithms of the numbers of ratings, and for items their square and whether none."""
    return Familiarity(of_users(user_counts), of_items(item_counts))


def of_users(counts: NDArray[np.integer]) -> Array:
    """`Familiarity.users`."""
    return single((np.log10(1 + counts) - 2)[:, None])


def of_items(counts: NDArray[np.integer]) -> Array:
    """`Familiarity.items`."""
    item = np.log10(1 + counts) - 1
    return single(np.stack([item, item**2, counts == 0], axis=1))


def standardise(scores: Array, over: Array) -> Array:
    """Scores [users, items] less their mean, in standard deviations, over the candidates `over`."""
    mean, spread = scale(scores, over)
    return jnp.where(over, scores - mean, 0) / spread


def scale(scores: Array, over: Array) -> tuple[Array, Array]:
    """[users, 1] mean and standard deviation of scores [users, items] `over` the candidates.

    Of scores that are all the same the deviation is taken as 1.
    """
    count = jnp.maximum(jnp.sum(over, axis=1, keepdims=True), 1)
    mean = jnp.sum(jnp.where(over, scores, 0), axis=1, keepdims=True) / count
    away = jnp.where(over, scores - mean, 0)
    spread = jnp.sqrt(jnp.sum(away**2, axis=1, keepdims=True) / count)
    return mean, jnp.where(spread > 0, spread, 1)


def gated(weights: Weights, z: Array, users: Array, items: Array) -> Array:
    """The module's formula: fused scores [block, items].

    Args:
        weights: of the gate.
        z: [signals, block, items], standardised.
        users: [block, user features].
        items: [block or 1, items, item features].
    """
    of_user, of_item, by_item = opened(weights, users, items)
    return sum(z[c] * (of_user[c] + of_item[c]) for c in range(len(z))) + by_item


def opened(weights: Weights, users: Array, items: Array) -> tuple[Array, Array, Array]:
    """The gate of these users and items, arguments as `gated`.

    Returns:
        What each signal weighs by the user [signals, block, 1] and, to be added, by the item
        [signals, block or 1, items]; and what the item gets beside the signals [block, items].
    """
    of_user = (weights["a"] + users @ weights["b"].T).T[..., None]
    of_item = jnp.moveaxis(items @ weights["d"].T, -1, 0)
    by_user = weights["h"] + users @ weights["H"]  # [block, item features]
    # the items' features are the same for all users, or each user has items of her own
    by_item = by_user @ items[0].T if len(items) == 1 else jnp.einsum("bf,bif->bi", by_user, items)
    return of_user, of_item, by_item


class Learned(NamedTuple):
    """What was learned on validation."""

    winner: str
    """One of `WINNERS`."""
    weights: dict[str, Any]
    """The winner's gate, as lists."""
    convex: list[float]
    """[signals] weights of the convex combination, whose sum is 1, whatever won."""
    adds: list[float]
    """[signals] what validation NDCG@25 of that loses without the signal, the others' weights
    growing in proportion."""
    alone: list[float]
    """[signals] validation NDCG@25 of each by itself, among the candidates that were fused."""
    ndcg: dict[str, float]
    """Validation NDCG@25, cross-fitted, of each of `WINNERS`."""
    calibration: dict[str, float]
    """What `calibrate` found; empty where nothing was calibrated."""

    @property
    def gate(self) -> Weights:
        """`weights` as arrays."""
        return {name: single(np.array(value)) for name, value in self.weights.items()}

    def heard(self) -> list[int]:
        """The signals that have a weight at all."""
        a, b, d = (np.array(self.weights[name]) for name in "abd")
        return np.flatnonzero(np.column_stack([a, b, d]).any(axis=1)).tolist()

    def of_signals(self, kept: list[int]) -> "Learned":
        """The fusion of these signals alone, the others having no weight."""
        own = {name: [self.weights[name][signal] for signal in kept] for name in "abd"}
        return self._replace(weights=self.weights | own)

    @property
    def varied(self) -> bool:
        """Does a weight differ between users or items?"""
        return any(np.any(self.weights[name]) for name in "bd")

    def weighing(self, known: Familiarity) -> NDArray[np.float64]:
        """[signals, items] what each signal weighs for the one user of `known`."""
        a, b, d = (np.array(self.weights[name], np.float64) for name in "abd")
        of_user = a + b @ np.asarray(known.users, np.float64)[0]
        return of_user[:, None] + d @ np.asarray(known.items, np.float64).T

    def moved(self, by: NDArray[np.floating]) -> "Learned":
        """The signals' weights by so much [signals] more, of all users and items."""
        a = np.array(self.weights["a"], np.float64) + by
        return self._replace(weights=self.weights | {"a": a.tolist()})

    def levelled(self, a: NDArray[np.floating]) -> "Learned":
        """The weights [signals] alone, the same for all users and items."""
        nothing = {name: np.zeros_like(self.weights[name]).tolist() for name in "bdhH"}
        return self._replace(weights=nothing | {"a": a.tolist()})


def fused_scorer(
    learned: Learned, signals: tuple[AnyScorer, ...], familiarity: Familiarity
) -> Partial:
    """The fusion as a scorer; signals and familiarity may be of another fit than learning was."""
    return gated_scorer(learned.gate, signals, familiarity)


def gated_scorer(
    weights: Weights, signals: tuple[AnyScorer, ...], familiarity: Familiarity
) -> Partial:
    """`fused_scorer` of weights that are arrays already."""
    return Partial(_fuse, weights, signals, familiarity)


def _fuse(
    weights: dict[str, Array],
    signals: tuple[Scorer, ...],
    familiarity: Familiarity,
    users: Array,
    candidates: Array,
) -> Array:
    z = standardised(signals, users, candidates)
    return gated(weights, z, familiarity.users[users], familiarity.items[None])


def standardised(scorers: tuple[Scorer, ...], users: Array, candidates: Array) -> Array:
    """[signals, block, items]"""
    return jnp.stack([standardise(scorer(users, candidates), candidates) for scorer in scorers])
