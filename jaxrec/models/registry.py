"""The rows of the score card that learn, by name and in the order of the card.

| row           | what it is                                                               |
|---------------|--------------------------------------------------------------------------|
| `popularity`  | the most liked items                                                     |
| `itemknn`     | cosine neighbours of items                                               |
| `rp3beta`     | random walks with a popularity penalty                                   |
| `slim`        | sparse linear weights above 0 of near items; if named                    |
| `content`     | items like the mean of what a user likes, by features: nothing learned   |
| `ease`, `ease-graded` | linear item-item weights, of liked or of all ratings               |
| `ease+text`, `ease-graded+text` | the same with the item features as further rows          |
| `add-ease`, `l3ae` | EASE and the EASE of text: blended, or the one drawn to the other; if named |
| `sparse-ease`, `sparse-ease+text` | their weights by a sparse inverse, where theirs do not fit |
| `ials`        | irspack's iALS with item features, if irspack is installed               |
| `pmf`         | all-pairs PMF, no text                                                   |
| `text`        | U_u . W^T e_i: the factors of `pmf` and the ridge map of text to its V    |
| `pmf+text`    | all-pairs PMF whose item factors have the prior mean W^T e_i             |
| `set`         | softmax over the catalogue, users sums of vectors seeded by texts |
"""

import numpy as np
from numpy.typing import NDArray

from jaxrec.budget import Cost
from jaxrec.models import factorization, sets
from jaxrec.models.cost import Size
from jaxrec.models.linear import ease, neighbours, sparse_ease, text_ease
from jaxrec.models.model import Arrays, Asking, Evidence, Settings, Shares
from jaxrec.topk.scorer import Linear, Product

Scored = Product | Linear

MODELS = (
    neighbours.MODELS
    | ease.MODELS
    | text_ease.MODELS
    | sparse_ease.MODELS
    | factorization.MODELS
    | sets.MODELS
)
OWN = dict(MODELS)
"""Those that every process finds here; others are added, or put in their place, by a script."""


def costs(size: Size, graded: bool, memory: int) -> dict[str, Cost]:
    """What each of the rows that need not be named takes, if it fits the memory [bytes]."""
    each = {
        name: model.cost(size, model.settings)
        for name, model in MODELS.items()
        if model.lacks is None and not model.named_only and (graded or model.ungraded is None)
    }
    fit = {name: cost for name, cost in each.items() if cost.memory <= memory}
    for name in [name for name in fit if MODELS[name].in_place_of]:
        if any(other in fit for other in MODELS[name].in_place_of):
            fit.pop(name)
    return fit


def cost_of_all(fit: dict[str, Cost]) -> Cost:
    """What rows take that cost so much, and `hybrid`."""
    again = [cost for name, cost in fit.items() if MODELS[name].text]  # `hybrid`, at the most
    return Cost(
        memory=max(cost.memory for cost in fit.values()),
        learning=sum(cost.learning for cost in [*fit.values(), *again]),
        asking=sum(cost.asking for cost in [*fit.values(), *again]),
    )


def learn(name: str, evidence: Evidence, settings: Settings | None = None) -> Arrays:
    """What a row learns; settings that are not given are the defaults."""
    model = MODELS[name]
    return model.learn(evidence, model.settings | (settings or {}))


def ask(name: str, arrays: Arrays, asking: Asking, settings: Settings | None = None) -> Scored:
    """Scores of users who ask a row that has learned `arrays`; settings as it was learned with."""
    model = MODELS[name]
    return model.ask(arrays, asking, model.settings | (settings or {}))


def shares(
    name: str,
    arrays: Arrays,
    asking: Asking,
    items: NDArray[np.integer],
    settings: Settings | None = None,
) -> Shares:
    """What the scores that `ask` gives some items [n] are made of, of the one user who asks."""
    model = MODELS[name]
    return model.shares(arrays, asking, items, model.settings | (settings or {}))


def fit(name: str, evidence: Evidence, settings: Settings | None = None) -> Scored:
    """Learn a row, and ask it for all users of the evidence."""
    return ask(name, learn(name, evidence, settings), evidence.asking, settings)
