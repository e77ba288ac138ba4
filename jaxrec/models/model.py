"""What a row that learns is, what it may learn from, and who asks it.

A row first learns arrays from the train part, and these are what is kept of it; whoever asks is
then scored by them: users it was learned from, and users who were not there. So a model is used in
an experiment, and years later, in the same way.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.budget import Cost
from jaxrec.data.dataset import Dataset, Interactions
from jaxrec.data.features import item_features
from jaxrec.data.feedback import Feedback
from jaxrec.evaluation.split import Split
from jaxrec.models.cost import Settings, Size
from jaxrec.pmf.objective import Factors, PmfSettings
from jaxrec.topk.scorer import Linear, Product, single

Arrays = dict[str, NDArray[Any]]
"""What a row has learned, by name; the first axis of `right` and `V` is that of the items."""
NOBODY = -1
"""Of `Asking.trained`: no user who was learned from."""


class Asking(NamedTuple):
    """Users who ask, and what is known of them."""

    known: Interactions
    """Of users numbered from 0, whoever they are."""
    trained: NDArray[np.int32]
    """[users] where a user was among those learned from, with exactly these interactions; or
    `NOBODY`."""
    feedback: Feedback

    @property
    def users(self) -> int:
        """How many ask."""
        return len(self.trained)

    @property
    def apart(self) -> "Asking":
        """A new user for each interaction, who has nothing else."""
        n = len(self.known.users)
        known = self.known._replace(users=np.arange(n, dtype=np.int32))
        return self._replace(known=known, trained=np.full(n, NOBODY, np.int32))

    def without(self, item: int) -> "Asking":
        """The same as if nobody had this item; who had it is known by the rest alone."""
        had = self.known.items == item
        trained = self.trained.copy()
        trained[self.known.users[had]] = NOBODY
        return self._replace(known=self.known.at(np.flatnonzero(~had)), trained=trained)

    def matrix(self, items: int, target: str) -> sparse.csr_array:
        """X [users, items] of what is known; see `matrix`."""
        return matrix(self.known, self.feedback, self.users, items, target)


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
    def asking(self) -> Asking:
        """All users of the data set, as far as they are known."""
        interactions = self.dataset.interactions
        trained = np.arange(self.dataset.users, dtype=np.int32)
        trained[interactions.users[self.split.given]] = NOBODY
        return Asking(interactions.at(self.split.known), trained, self.dataset.feedback)

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items."""
        return self.dataset.users, self.dataset.items

    @property
    def density(self) -> float:
        """Share of all pairs of user and item that is in train."""
        return len(self.split.train) / (self.dataset.users * self.dataset.items)

    def features(self, metadata: float) -> NDArray[np.float32]:
        """[items, features] of embeddings, and of what else the catalogue says times `metadata`."""
        return item_features(self.dataset.catalogue, self.E, metadata)

    def matrix(self, target: str) -> sparse.csr_array:
        """X [users, items] of train; see `matrix`."""
        return matrix(self.train, self.dataset.feedback, *self.shape, target)


class Shares(NamedTuple):
    """What a user's scores are the sums of, as far as they can be told apart."""

    of_known: NDArray[np.floating]
    """[known, items] of each interaction of hers, in the order of `Asking.known`."""
    of_item: NDArray[np.floating]
    """[items] of the item, whoever asks."""


class Range(NamedTuple):
    """Where a setting is searched."""

    low: float
    high: float
    log: bool = True

    @property
    def whole(self) -> bool:
        """Only whole numbers?"""
        return isinstance(self.low, int)


def _none(arrays: Arrays) -> None:
    """No vectors."""


def _same(arrays: Arrays) -> Arrays:
    """As they are."""
    return arrays


def resident(arrays: Arrays) -> dict[str, Any]:
    """With `right`, the items' side of scores that are products, where it is computed with."""
    return arrays | {"right": single(arrays["right"])}


class Model(NamedTuple):
    """A row that learns."""

    label: str
    learn: Callable[[Evidence, Settings], Arrays]
    """From evidence."""
    ask: Callable[[Arrays, Asking, Settings], Product | Linear]
    """Scores of users who ask, numbered as they are there."""
    settings: Settings
    """The best on validation, of `jaxrec run --seeds 5 --trials 15` or of what LOG.md says."""
    space: dict[str, Range | tuple]
    """Where a search looks."""
    cost: Callable[[Size, Settings], Cost]
    """About, of these settings."""
    shares: Callable[[Arrays, Asking, NDArray[np.integer], Settings], Shares]
    """What the scores of some items are made of, of the one user who asks."""
    text: bool = False
    """Does it read texts?"""
    needs: str | None = None
    """A package that may be absent."""
    ungraded: str | None = None
    """The row that it would be again where values are no grades."""
    place: Callable[[Arrays, NDArray[np.float32], Settings], Arrays] | None = None
    """With further items of these features [items, features], which nobody has interacted with;
    None where features say nothing."""
    in_place_of: tuple[str, ...] = ()
    """Rows whose place it takes where they do not fit."""
    named_only: bool = False
    """Is it there only when it is named, for the time it takes?"""
    tried: tuple[Settings, ...] = ()
    """What a search tries right after the settings above: what is better on some other data."""
    vectors: Callable[[Arrays], NDArray[Any] | None] = _none
    """[items, dim] the items' side of scores that are products of two; None where they are not."""
    prepared: Callable[[Arrays], Arrays] = _same
    """The same, and what is worth making once for those who ask one after the other."""

    @property
    def lacks(self) -> str | None:
        """The package that is absent, if one is."""
        return self.needs if self.needs is not None and find_spec(self.needs) is None else None


def linear_shares(
    ask: Callable[[Arrays, Asking, Settings], Product | Linear],
) -> Callable[[Arrays, Asking, NDArray[np.integer], Settings], Shares]:
    """`Model.shares` of a row whose scores add up over what is known of a user.

    An interaction gives what somebody is scored by `ask` who has nothing else.
    """

    def shares(
        arrays: Arrays, asking: Asking, items: NDArray[np.integer], settings: Settings
    ) -> Shares:
        return Shares(ask(arrays, asking.apart, settings).at(items), np.zeros(len(items)))

    return shares


def ridge_map(
    features: NDArray[np.floating],
    counts: NDArray[np.integer],
    targets: NDArray[np.floating],
    ridge: float,
) -> NDArray[np.floating]:
    """[features, columns] the ridge regression of targets [items, columns] on items' features.

    An item weighs the root of how many have it [items].
    """
    E = features.astype(np.float64)
    weighted = E.T * np.sqrt(counts)
    return np.linalg.solve(weighted @ E + ridge * np.eye(E.shape[1]), weighted @ targets)


def appended(array: NDArray[Any], more: NDArray[Any] | int) -> NDArray[Any]:
    """An array with further rows behind its own: these, or so many that are zero."""
    if isinstance(more, int):
        more = np.zeros((more, *array.shape[1:]), array.dtype)
    return np.concatenate([array, more.astype(array.dtype)])


def matrix(
    interactions: Interactions, feedback: Feedback, users: int, items: int, target: str
) -> sparse.csr_array:
    """X [users, items] of a `target`: `liked` (1 on what is liked) or `graded` (see `Feedback`)."""
    if target == "liked":
        interactions = interactions.liked(feedback)
    places = interactions.users, interactions.items
    values = said(interactions, feedback, target)
    return sparse.csr_array((values, places), shape=(users, items))


def said(interactions: Interactions, feedback: Feedback, target: str) -> NDArray[np.floating]:
    """[n] the entry of each interaction in `matrix`; 0 where it has none."""
    values = interactions.values
    return 1.0 * feedback.liked(values) if target == "liked" else feedback.graded(values)
