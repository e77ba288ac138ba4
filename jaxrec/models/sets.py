"""The set model, whose vectors begin with the items' texts."""

import numpy as np
from numpy.typing import NDArray

from jaxrec.models import cost
from jaxrec.models.model import (
    Arrays,
    Asking,
    Evidence,
    Model,
    Range,
    Settings,
    Shares,
    appended,
    resident,
    ridge_map,
    said,
)
from jaxrec.sets.seeds import Projection
from jaxrec.sets.vectors import SetSettings, of_users, positive
from jaxrec.topk.scorer import Product, product


def _learn(evidence: Evidence, settings: Settings) -> Arrays:
    """`inward` and `right` of `Vectors`, and what makes them of features: `to_inward`, `to_right`.

    Items that nobody has lie where a ridge of the others' vectors on their features puts them, and
    so do further ones.
    """
    # Flax and optax take most of a second to import
    from jaxrec.sets.learning import learn_vectors

    features = evidence.features(settings["metadata"])
    X = positive(evidence.matrix(settings["target"]))
    how = SetSettings(**{name: settings[name] for name in SetSettings._fields})
    seeds = Projection.of(features, how.dim).seeds(features)
    found = learn_vectors(X, evidence.matrix("liked"), seeds, how, evidence.seed)
    counts = np.bincount(X.indices, minlength=X.shape[1]) * found.learned
    both = np.hstack([found.inward, found.right])
    ridge = ridge_map(features, counts, both, settings["ridge"]).astype(np.float32)
    to_inward, to_right = np.hsplit(ridge, [how.dim])
    arrays: Arrays = {"inward": found.inward, "right": found.right}
    for name, to in (("inward", to_inward), ("right", to_right)):
        arrays[name] = np.where(found.learned[:, None], arrays[name], features @ to)
    return arrays | {"to_inward": to_inward, "to_right": to_right}


def _ask(arrays: Arrays, asking: Asking, settings: Settings) -> Product:
    X = positive(asking.matrix(len(arrays["inward"]), settings["target"]))
    return product(of_users(X, arrays["inward"]), arrays["right"])


def _shares(
    arrays: Arrays, asking: Asking, items: NDArray[np.integer], settings: Settings
) -> Shares:
    """An item's bias is its own."""
    x = np.maximum(said(asking.known, asking.feedback, settings["target"]), 0)
    rows = x[:, None] * arrays["inward"][asking.known.items]
    right = arrays["right"][items].astype(np.float64)
    norm = np.linalg.norm(rows.sum(axis=0)) or 1.0
    return Shares(rows @ right[:, :-1].T / norm, right[:, -1])


def _place(arrays: Arrays, features: NDArray[np.float32], settings: Settings) -> Arrays:
    more = {name: features @ arrays[f"to_{name}"] for name in ("inward", "right")}
    return arrays | {name: appended(arrays[name], added) for name, added in more.items()}


def _right(arrays: Arrays) -> NDArray[np.float32]:
    return arrays["right"]


MODELS = {
    "set": Model(
        "set model seeded by text",
        _learn,
        _ask,
        {"target": "graded", "metadata": 1.0, "ridge": 0.2} | SetSettings()._asdict(),
        {
            "metadata": Range(0.1, 5.0),
            "temperature": Range(0.05, 1.0),
            "apart": Range(0.05, 1.0),
            "rate": Range(1e-3, 1e-2),
            "most_shown": Range(0.5, 0.95, log=False),
            "ridge": Range(0.01, 100.0),
        },
        cost.sets,
        _shares,
        text=True,
        place=_place,
        tried=({"apart": 0.1}, {"temperature": 0.1}),
        vectors=_right,
        prepared=resident,
    ),
}
