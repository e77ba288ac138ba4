"""The parts of a score: by signal, and within a signal by what is known of the user."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions


class SignalParts(NamedTuple):
    """What a signal gives a score: the sum of `of_known`, `of_item`, `of_mean` and `rest`.

    All four are on the scale of the score, after standardising and weighing.
    """

    signal: str
    weight: float
    """Of what is standardised, for this user and item; 1 where nothing is fused."""
    score: float
    """On the signal's own scale."""
    standardised: float
    """By mean and deviation over the user's candidates; the score where nothing is fused."""
    of_known: NDArray[np.floating]
    """[known] what each of the user's interactions gives."""
    of_item: float
    """What the item has, whoever asks: a bias, or how many like it."""
    of_mean: float
    """That the mean over the candidates is subtracted; 0 where nothing is fused."""
    rest: float
    """What no interaction answers for: rounding, and of factors as they were learned how far the
    fit is from its minimum."""

    @property
    def part(self) -> float:
        """All that the signal gives."""
        return float(np.sum(self.of_known)) + self.of_item + self.of_mean + self.rest


class Explanation(NamedTuple):
    """Why an item has its score: the sum of the `part` of each signal and `of_familiarity`."""

    row: str
    """By which the item is scored."""
    item: int
    """Position in the catalogue."""
    score: float
    """That ranks."""
    rank: int
    """Among the candidates, from 1."""
    candidates: int
    """How many items the user can get."""
    best: float
    """Of the candidates' scores."""
    known: Interactions
    """[known] what is known of the user."""
    signals: tuple[SignalParts, ...]
    of_familiarity: float
    """What the fusion gives the item beside the signals, by how many have it."""
    strange: bool = False
    """What is known says nothing, and the score is that of a stranger."""

    @property
    def of_known(self) -> NDArray[np.floating]:
        """[known] what each of the user's interactions gives, by all signals."""
        return np.sum([signal.of_known for signal in self.signals], axis=0)

    @property
    def strongest(self) -> SignalParts:
        """The signal that gives most."""
        return max(self.signals, key=lambda signal: signal.part)
