"""Takes scores apart, as they rank.

A fused score is the sum over signals of weight x (score - mean) / deviation, mean and deviation
over the user's candidates, and of what the item gets by how many have it. So a share of a signal's
score is weight / deviation times as much of the fused one, and the mean is a part of its own.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.explanation.parts import Explanation, SignalParts
from jaxrec.fusion.gate import Familiarity, Weights, gated, opened, scale, standardise
from jaxrec.models.model import Shares
from jaxrec.topk.scorer import AnyScorer, Scorer, worked_out


class Signal(NamedTuple):
    """As one user asks it."""

    scorer: AnyScorer
    """Of that user alone."""
    shares: Shares
    """Of the items that are explained."""


class Field(NamedTuple):
    """What an item competes with."""

    candidates: NDArray[np.bool_]
    """[items] what the user can get."""
    tie_order: NDArray[np.int32] | None
    """[items] in the order in which equal scores are ranked; by position if it is None."""

    def rank(self, scores: NDArray[np.floating], item: int) -> int:
        """From 1, of an item by these scores [items]."""
        place = np.arange(len(scores)) if self.tie_order is None else np.argsort(self.tie_order)
        ahead = (scores > scores[item]) | ((scores == scores[item]) & (place < place[item]))
        return 1 + int(np.sum(ahead & self.candidates))


class _Weighed(NamedTuple):
    """Scores [signals, 1, items], and how they become one."""

    raw: Array
    z: Array
    """What is weighed."""
    weights: Array
    mean: Array
    """[signals, 1, 1]"""
    spread: Array
    """[signals, 1, 1]"""
    beside: Array
    """[1, items] what an item gets beside the signals."""
    scores: Array
    """[1, items] that rank."""


def explained(
    row: str,
    signals: Mapping[str, Signal],
    fusion: tuple[Weights, Familiarity] | None,
    known: Interactions,
    items: NDArray[np.integer],
    field: Field,
) -> list[Explanation]:
    """Why items are scored as they are, for one user.

    Args:
        row: that scores.
        signals: by name, in the order of the fusion; one alone where nothing is fused.
        fusion: the gate, and how much is known of the user and of all items.
        known: what is known of the user.
        items: [n] candidates that are explained.
        field: what they compete with.
    """
    nobody, over = np.zeros(1, np.int32), field.candidates[None]
    scorers = tuple(worked_out(signal.scorer, nobody) for signal in signals.values())
    weighed = _weigh(scorers, nobody, over, fusion)
    of = jax.tree.map(lambda array: np.asarray(array, np.float64), weighed)
    factors = of.weights / of.spread  # [signals, 1, items]

    def parts(name: str, signal: int, place: int) -> SignalParts:
        item, shares = items[place], signals[name].shares
        factor, score = factors[signal, 0, item], of.raw[signal, 0, item]
        of_known, of_item = shares.of_known[:, place], shares.of_item[place]
        return SignalParts(
            name,
            weight=float(of.weights[signal, 0, item]),
            score=float(score),
            standardised=float(of.z[signal, 0, item]),
            of_known=factor * of_known,
            of_item=float(factor * of_item),
            of_mean=float(-factor * of.mean[signal, 0, 0]),
            rest=float(factor * (score - of_known.sum() - of_item)),
        )

    return [
        Explanation(
            row,
            int(item),
            score=float(of.scores[0, item]),
            rank=field.rank(of.scores[0], item),
            candidates=int(field.candidates.sum()),
            best=float(of.scores[0, field.candidates].max()),
            known=known,
            signals=tuple(parts(name, signal, place) for signal, name in enumerate(signals)),
            of_familiarity=float(of.beside[0, item]),
        )
        for place, item in enumerate(items)
    ]


@jax.jit
@jax.default_matmul_precision("highest")  # as lists are ranked
def _weigh(
    scorers: tuple[Scorer, ...],
    nobody: Array,
    over: Array,
    fusion: tuple[Weights, Familiarity] | None,
) -> _Weighed:
    raw = jnp.stack([scorer(nobody, over) for scorer in scorers])
    if fusion is None:
        one, nothing = jnp.ones((1, 1, 1)), jnp.zeros((1, 1, 1))
        return _Weighed(raw, raw, jnp.ones_like(raw), nothing, one, 0 * raw[0], raw[0])
    weights, familiarity = fusion
    known = familiarity.users, familiarity.items[None]
    mean, spread = jax.vmap(scale, (0, None))(raw, over)
    z = jax.vmap(standardise, (0, None))(raw, over)
    of_user, of_item, beside = opened(weights, *known)
    return _Weighed(raw, z, of_user + of_item, mean, spread, beside, gated(weights, z, *known))
