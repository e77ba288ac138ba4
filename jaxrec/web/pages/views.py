"""A model seen in several ways, each again a model: one lists and explains by it as by any other.

| view      | what it is                                                                     |
|-----------|--------------------------------------------------------------------------------|
| `model`   | the model itself, perhaps by other weights (`weighed`)                         |
| `factors` | matrix factorization alone, of a model that has more                           |
| `texts`   | row `content`: what is near by texts and columns to what one likes; it learns  |
|           | nothing                                                                        |
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from jaxrec.models.linear.neighbours import of_content
from jaxrec.models.model import Arrays, Asking, Settings
from jaxrec.models.registry import MODELS
from jaxrec.serving.model import FittedModel

MODEL: Final = "model"
FACTORS: Final = "factors"
TEXTS: Final = "texts"
OF_FACTORS = ("U", "V", "rated", "w0")
"""What row `text` has of the factors of `pmf` that it maps texts to."""


def views(model: FittedModel) -> dict[str, FittedModel]:
    """By name, the model itself first; those that it has."""
    found = {MODEL: model}
    factors = _factors(model)
    if factors is not None:
        found[FACTORS] = _alone(model, *factors)
    if model.E is not None and model.row != "content":
        settings = MODELS["content"].settings
        features = model.space.features(model.catalogue, model.E, settings["metadata"])
        found[TEXTS] = _alone(model, "content", of_content(features), settings)
    return found


def _factors(model: FittedModel) -> tuple[str, Arrays, Settings] | None:
    """Row, arrays and settings of factors, without texts if they are there; None if there are none
    or nothing else.
    """
    learned, settings = model.learned, model.settings
    if len(learned) > 1 and "pmf" in learned:
        return "pmf", learned["pmf"], settings["pmf"]
    if "text" in learned:
        arrays = {name: learned["text"][name] for name in OF_FACTORS}
        return "pmf", arrays, settings["text"]
    if len(learned) > 1 and "pmf+text" in learned:
        return "pmf+text", learned["pmf+text"], settings["pmf+text"]
    return None


def _alone(model: FittedModel, row: str, arrays: Arrays, settings: Settings) -> FittedModel:
    own: dict[str, Any] = {"settings": {row: settings}, "learned": {row: arrays}}
    return replace(model, row=row, fusion=None, **own)


class Weight(NamedTuple):
    """Of a signal, as the fusion has learned it for the one who asks."""

    mean: float
    """Over the items that one can get."""
    least: float
    most: float


def weights(model: FittedModel, asking: Asking) -> dict[str, Weight]:
    """By fused signal; empty if none are fused."""
    candidates = model.candidates.copy()
    candidates[asking.known.items] = False
    of_candidates = {name: of[candidates] for name, of in model.weights(asking).items()}
    return {
        name: Weight(float(of.mean()), float(of.min()), float(of.max()))
        for name, of in of_candidates.items()
        if len(of)
    }


def weighed(
    model: FittedModel, asking: Asking, wanted: Mapping[str, float], gate: bool
) -> FittedModel:
    """The model by other weights.

    Args:
        model: that fuses signals, or to which `wanted` says nothing.
        asking: the one who asks, of whom the learned weights depend.
        wanted: mean weights by signal; of others as learned. A gate goes on to vary them: an item
            gets of each as much more or less than the mean as it was learned.
        gate: else weights are the same for all items, and nothing else counts.
    """
    if model.fusion is None or (gate and not wanted):
        return model
    own = weights(model, asking)
    now = np.array([wanted.get(name, of.mean) for name, of in own.items()])
    if not gate:
        return replace(model, fusion=model.fusion.levelled(now))
    return replace(model, fusion=model.fusion.moved(now - [of.mean for of in own.values()]))
