"""The rows of the score card that learn, by name and in the order of the card.

| row           | what it is                                                               |
|---------------|--------------------------------------------------------------------------|
| `popularity`  | the most liked items                                                     |
| `itemknn`     | cosine neighbours of items                                               |
| `rp3beta`     | random walks with a popularity penalty                                   |
| `ease`, `ease-graded` | linear item-item weights, of liked or of all ratings               |
| `ease+text`, `ease-graded+text` | the same with the item features as further rows          |
| `sparse-ease`, `sparse-ease+text` | their weights by a sparse inverse, where theirs do not fit |
| `ials`        | irspack's iALS with item features, if irspack is installed               |
| `pmf`         | all-pairs PMF, no text                                                   |
| `text`        | U_u . W^T e_i: the factors of `pmf` and the ridge map of text to its V    |
| `pmf+text`    | all-pairs PMF whose item factors have the prior mean W^T e_i             |
"""

from jaxrec.models import ease, factorization, ials, neighbours, sparse_ease
from jaxrec.models.model import Arrays, Asking, Evidence, Settings
from jaxrec.topk.scorer import Linear, Product

Scored = Product | Linear

MODELS = neighbours.MODELS | ease.MODELS | sparse_ease.MODELS | ials.MODELS | factorization.MODELS


def learn(name: str, evidence: Evidence, settings: Settings | None = None) -> Arrays:
    """What a row learns; settings that are not given are the defaults."""
    model = MODELS[name]
    return model.learn(evidence, model.settings | (settings or {}))


def ask(name: str, arrays: Arrays, asking: Asking, settings: Settings | None = None) -> Scored:
    """Scores of users who ask a row that has learned `arrays`; settings as it was learned with."""
    model = MODELS[name]
    return model.ask(arrays, asking, model.settings | (settings or {}))


def fit(name: str, evidence: Evidence, settings: Settings | None = None) -> Scored:
    """Learn a row, and ask it for all users of the evidence."""
    return ask(name, learn(name, evidence, settings), evidence.asking, settings)
