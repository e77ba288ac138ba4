"""The rows of the score card that learn, by name and in the order of the card.

| row           | what it is                                                               |
|---------------|--------------------------------------------------------------------------|
| `popularity`  | the most liked items                                                     |
| `itemknn`     | cosine neighbours of items                                               |
| `rp3beta`     | random walks with a popularity penalty                                   |
| `ease`, `ease-graded` | linear item-item weights, of liked or of all ratings               |
| `ease+text`, `ease-graded+text` | the same with the item features as further rows          |
| `ials`        | irspack's iALS with item features, if irspack is installed               |
| `pmf`         | all-pairs PMF, no text                                                   |
| `text`        | U_u . W^T e_i: the factors of `pmf` and the ridge map of text to its V    |
| `pmf+text`    | all-pairs PMF whose item factors have the prior mean W^T e_i             |
"""

from jaxrec.models import ease, factorization, ials, neighbours
from jaxrec.models.model import Evidence, Settings
from jaxrec.topk.scorer import Product, Table

MODELS = neighbours.MODELS | ease.MODELS | ials.MODELS | factorization.MODELS


def fit(name: str, evidence: Evidence, settings: Settings | None = None) -> Product | Table:
    """Fit a row; settings that are not given are the defaults."""
    model = MODELS[name]
    return model.fit(evidence, model.settings | (settings or {}))
