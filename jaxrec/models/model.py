"""What a row that learns is, and what it may learn from."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.data.dataset import Dataset, Interactions
from jaxrec.data.features import item_features
from jaxrec.data.feedback import Feedback
from jaxrec.evaluation.split import Split
from jaxrec.pmf.objective import Factors, PmfSettings
from jaxrec.topk.scorer import Product, Table

Settings = dict[str, Any]


class Evidence(NamedTuple):
    """All that a model may learn from."""

    dataset: Dataset
    split: Split
    """Learned from `train`, asked by the users of `train` and `given`; `test` is not touched."""
    E: NDArray[np.float32] | None
    """[items, dim] embeddings of texts that hold nothing of the held-out part."""
    seed: int
    plain: dict[PmfSettings, Factors]
    """PMF of train without text, by settings: `pmf`, `text` and the trials of a search share it."""

    @property
    def train(self) -> Interactions:
        """What is learned from."""
        return self.dataset.interactions.at(self.split.train)

    @property
    def given(self) -> Interactions:
        """What those give who are not learned from."""
        return self.dataset.interactions.at(self.split.given)

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items."""
        return self.dataset.users, self.dataset.items

    def features(self, metadata: float) -> NDArray[np.float32]:
        """[items, features] of embeddings, and of what else the catalogue says times `metadata`."""
        return item_features(self.dataset.catalogue, self.E, metadata)

    def matrices(self, target: str) -> tuple[sparse.csr_array, sparse.csr_array]:
        """X [users, items] of train, and X of everybody who asks; see `matrix`."""
        known = self.dataset.interactions.at(self.split.known)
        feedback = self.dataset.feedback
        return (
            matrix(self.train, feedback, *self.shape, target),
            matrix(known, feedback, *self.shape, target),
        )


class Range(NamedTuple):
    """Where a setting is searched."""

    low: float
    high: float
    log: bool = True

    @property
    def whole(self) -> bool:
        """Only whole numbers?"""
        return isinstance(self.low, int)


class Model(NamedTuple):
    """A row that learns."""

    label: str
    fit: Callable[[Evidence, Settings], Product | Table]
    settings: Settings
    """Of the best that `jaxrec run --seeds 5 --trials 15` found on validation."""
    space: dict[str, Range | tuple]
    """Where `jaxrec tune` looks."""
    text: bool = False
    """Does it read texts?"""
    needs: str | None = None
    """A package that may be absent."""
    ungraded: str | None = None
    """The row that it would be again where values are no grades."""

    @property
    def lacks(self) -> str | None:
        """The package that is absent, if one is."""
        return self.needs if self.needs is not None and find_spec(self.needs) is None else None


def matrix(
    interactions: Interactions, feedback: Feedback, users: int, items: int, target: str
) -> sparse.csr_array:
    """X [users, items] of a `target`: `liked` (1 on what is liked) or `graded` (see `Feedback`)."""
    if target == "liked":
        interactions = interactions.liked(feedback)
    ones = np.ones(len(interactions.users))
    values = ones if target == "liked" else feedback.graded(interactions.values)
    places = interactions.users, interactions.items
    return sparse.csr_array((values, places), shape=(users, items))
