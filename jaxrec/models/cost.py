"""What rows take: bytes and seconds by the size of the data.

The rates were measured on two cores of an AMD EPYC (AVX2) by benchmarks/cost.py, which prints them
beside what was estimated.
"""

from typing import Any, NamedTuple

import numpy as np

from jaxrec.budget import Cost
from jaxrec.data.dataset import Interactions
from jaxrec.sets.vectors import FITS

Settings = dict[str, Any]

PRODUCT = 1 / 60e9
"""Seconds of a multiplication with addition in a dense product of single precision."""
INVERSE = 1 / 40e9
"""Of one in an inverse of single precision, of which there are items^3 / 2."""
SPARSE = 4e-9
"""Of one in a product of two sparse matrices."""
ROWS = 0.5e-9
"""Of one in a sparse times a dense matrix."""
SELECT = 20e-9
"""Of a pair of items of which the best are selected."""
LOOK_UP = 300e-9
"""Of a pair of items that is looked up among the pairs kept."""
COORDINATE = 30e-9
"""Of a pair of near items in all sweeps of coordinate descent."""
SWEEP = 0.7e-9
"""Of a factor of an interaction in a sweep of all-pairs PMF."""
SEQUENTIAL = 17e-9
"""Of a factor of a rating in a pass of the published solver, which takes one after the other."""
EXPONENTIAL = 4e-9
"""Of a logit of a softmax, and of its gradient."""
ADAM = 10e-9
"""Of a parameter in a step of Adam."""
RANK = 10e-9
"""Of a score that is ranked."""
FUSED = 5e-3
"""Of a user whose candidates are ranked by each combination that is tried."""
START = 2.0
"""Of what is compiled, read and written whatever the size."""
DOUBLE = 4096
"""Up to so many items EASE is in double precision, else in single."""
DIRECTIONS = 32
"""What a sparse EASE takes out before it inverts."""
FEW = 4
"""So many times fewer users and features than items, and their side of EASE is solved."""
MATRIX = 40
"""Bytes of an interaction in the matrix of users and items, and its transpose."""


class Size(NamedTuple):
    """Of the data."""

    users: int
    items: int
    interactions: int
    """Of the train part."""
    pairs: float
    """Of interactions of the same user: the sum of squares of what each has."""
    features: int
    """Of items: embeddings, numbers, categories."""

    @property
    def density(self) -> float:
        """Share of all pairs of user and item that is learned from."""
        return self.interactions / (self.users * self.items)

    @classmethod
    def of(cls, interactions: Interactions, users: int, items: int, features: int) -> "Size":
        """Of these interactions."""
        each = np.bincount(interactions.users).astype(float)
        return cls(users, items, len(interactions.users), float(np.sum(each**2)), features)


def ranking(size: Size) -> float:
    """Seconds until everybody's scores are ranked and measured."""
    return RANK * size.users * size.items


def fusion(size: Size) -> float:
    """Seconds until `hybrid` has its weights: of 5,000 users at most, some hundred combinations."""
    return START + FUSED * min(size.users, 5000)


def popularity(size: Size, settings: Settings) -> Cost:
    """Of row `popularity`."""
    return Cost(MATRIX * size.interactions, START, ranking(size))


def neighbours(size: Size, settings: Settings) -> Cost:
    """Of item neighbours and random walks."""
    _, items, interactions, pairs, _ = size
    kept = min(settings["neighbours"], items)
    memory = MATRIX * interactions + 24 * min(items, 512) * items + 24 * items * kept
    learning = SPARSE * pairs + SELECT * items**2
    return Cost(memory, START + learning, SPARSE * interactions * kept + ranking(size))


def slim(size: Size, settings: Settings) -> Cost:
    """Of SLIM, each item's weights from its nearest items."""
    _, items, interactions, pairs, _ = size
    kept = min(settings["neighbours"], items)
    gramian = min(pairs, float(items**2))
    memory = MATRIX * interactions + 32 * gramian + 8 * 512 * (2 * items + kept**2)
    learning = SPARSE * pairs + SELECT * items**2
    learning += (LOOK_UP / 2 + COORDINATE) * items * kept**2
    return Cost(memory, START + learning, SPARSE * interactions * kept + ranking(size))


def content(size: Size, settings: Settings) -> Cost:
    """Of neighbours by content."""
    users, items, interactions, _, features = size
    memory = MATRIX * interactions + 16 * features * (items + users)
    asking = ROWS * interactions * features + PRODUCT * users * items * features + ranking(size)
    return Cost(memory, START, asking)


def ease(size: Size, settings: Settings) -> Cost:
    """Of EASE, whose users' side is solved where it is much the shorter one."""
    users, items, _, _, features = size
    features = features if "text_weight" in settings else 0
    rows = users + features
    if FEW * rows > items:
        return ease_by_items(size, settings)
    solved = INVERSE * (rows**3 + 2 * rows**2 * items)
    memory = 24 * rows**2 + 8 * rows * items + 16 * features * items
    return Cost(memory, START + solved, PRODUCT * rows * users * items + ranking(size))


def ease_by_items(size: Size, settings: Settings) -> Cost:
    """Of linear models that invert the Gramian of the items."""
    _, items, interactions, pairs, features = size
    features = features if "metadata" in settings else 0
    corrected = 2 * PRODUCT * features * items**2
    learning = SPARSE * pairs + INVERSE * items**3 / 2 + corrected + 4e-9 * items**2
    square = (12 if items <= DOUBLE else 4) * items**2
    memory = MATRIX * interactions + square + 12 * features * items + 24 * min(items, 1024) * items
    asking = 2e-9 * items**2 + ROWS * interactions * items + ranking(size)
    return Cost(memory, START + learning, asking)


def sparse_ease(size: Size, settings: Settings) -> Cost:
    """Of EASE by a sparse inverse, and by as many dense columns as there are directions in it."""
    users, items, interactions, pairs, features = size
    columns = DIRECTIONS + (features if "text_weight" in settings else 0)
    kept = min(settings["neighbours"], items)
    dense = 24 * min(items, 512) * items + 40 * columns * items
    memory = MATRIX * interactions + dense + 400 * items * kept
    learning = SPARSE * pairs + SELECT * items**2 + LOOK_UP * items * kept**2 / 2
    asking = SPARSE * interactions * 2 * kept + PRODUCT * users * items * columns + ranking(size)
    return Cost(memory, START + learning, asking)


def pmf(size: Size, settings: Settings) -> Cost:
    """Of all-pairs PMF, with or without text."""
    users, items, interactions, _, features = size
    factors = settings["factors"]
    swept = settings["sweeps"] * factors * (SWEEP * interactions + 50e-9 * (users + items))
    mapped = 0.0
    if "metadata" in settings:
        mapped = PRODUCT * items * features * (features + settings["sweeps"] * factors)
    memory = MATRIX * interactions + 16 * factors * (users + items) + 16 * features * items
    asking = PRODUCT * users * items * factors + ranking(size)
    return Cost(memory, START + swept + mapped, asking)


def sequential(size: Size, settings: Settings) -> Cost:
    """Of the published PMF, in double precision."""
    users, items, interactions, _, _ = size
    factors = settings["factors"]
    passed = SEQUENTIAL * settings["sweeps"] * factors * interactions
    memory = MATRIX * interactions + 32 * factors * (users + items)
    return Cost(memory, START + passed, PRODUCT * users * items * factors + ranking(size))


def sets(size: Size, settings: Settings) -> Cost:
    """Of the set model, whose epochs have 40 steps at least."""
    users, items, interactions, _, features = size
    dim, drawn = settings["dim"], min(items, FITS)
    epoch = users * (3 * PRODUCT * dim + EXPONENTIAL) * drawn
    epoch += max(40, users / settings["batch"]) * ADAM * 2 * dim * items
    memory = MATRIX * interactions + 24 * dim * items + 16 * features * items
    memory += 16 * min(settings["batch"], users) * drawn
    asking = PRODUCT * users * items * dim + ranking(size)
    return Cost(memory, START + settings["epochs"] * epoch, asking)
