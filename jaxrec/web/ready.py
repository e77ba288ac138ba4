"""A model that answers without compiling: its requests come in few shapes, all tried beforehand.

What items bring to a score is put on the device once, and what a user has is a row of a mask, so
that only how many ask together and how long the lists are is part of a shape: a batch is filled up
to one of `SIZES` by users who have nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.explanation.words import as_json, in_short
from jaxrec.files import read_json
from jaxrec.models.model import NOBODY, Asking
from jaxrec.serving.folder import CARD, read_model
from jaxrec.serving.model import FittedModel, Lists
from jaxrec.titles import Titles
from jaxrec.topk.blocks import CACHED
from jaxrec.topk.ranking import top_k_of_block
from jaxrec.topk.scorer import AnyScorer
from jaxrec.web.pages.views import views

SIZES = (1, 4, 16, 64)
"""Users of a batch."""
LENGTHS = (64, 2048)
"""Of lists, before what is excluded is taken off."""
MOST_REMEMBERED = 2**14
"""Known users whose lists are kept, which are the same each time; at most 20 MB."""
BEFOREHAND = 2**11
"""If there are no more users than this, their lists are made before the first request."""
FEW = 3
"""Items of a user's that are named beside an item."""


class One(NamedTuple):
    """Somebody who asks, and what is known of them."""

    items: NDArray[np.int32]
    """[n]"""
    values: NDArray[np.float64]
    """[n]"""
    trained: int
    """Position of a user the model was fitted on, or `NOBODY`."""
    user: int = NOBODY
    """Position of a user whom the model knows, or `NOBODY`."""


class Listed(NamedTuple):
    """The list of one who asked, best first."""

    items: NDArray[np.int32]
    """[k] positions."""
    scores: NDArray[np.floating]
    """[k]"""
    strange: bool


class Ready:
    """A model of one folder, and what answering quickly takes beside."""

    def __init__(self, model: FittedModel, sha256: str = "", written: str = ""):
        known, self._starts = _by_user(model.known, len(model.user_ids))
        self._model = replace(model, known=known).prepared()
        self.model = self._model.on_host()
        """For whatever is no list."""
        self.sha256 = sha256
        """Of the folder."""
        self.written = written
        """See `dated`."""
        self.titles = Titles(model.catalogue.titles, model.item_counts)
        self.views = {name: view.prepared() for name, view in views(self._model).items()}
        self.items = len(model.item_counts)
        self._candidates = jnp.asarray(model.candidates)
        order = model.tie_order
        self._tie_order = None if order is None else jnp.asarray(order)
        self.remembered: dict[int, Listed] = {}
        """By known user, of the first of `lengths`."""
        self._everybodys = int(np.argmax(model.item_counts))
        self.sizes = [size for size in SIZES if size <= max(CACHED // self.items, SIZES[0])]
        self.lengths = [length for length in LENGTHS if length < self.items] or [self.items]
        if self.lengths[-1] < min(LENGTHS[-1], self.items):
            self.lengths.append(self.items)

    @classmethod
    def read(cls, path: Path) -> "Ready":
        """Of a model folder.

        Raises:
            InputError: see `read_model`.
        """
        model = read_model(path)
        sha256 = read_json(path / CARD, "make it again")["sha256"]
        return cls(model, sha256, dated((path / CARD).stat().st_mtime))

    def user(self, position: int) -> One:
        """A user whom the model knows."""
        own = slice(self._starts[position], self._starts[position + 1])
        known = self.model.known
        trained = int(self.model.trained[position])
        return One(known.items[own], known.values[own].astype(np.float64), trained, position)

    def somebody(self, liked: Sequence[int]) -> One:
        """Somebody who likes these items."""
        known = self.model.somebody(np.array(liked, np.int32)).known
        return One(known.items, known.values, NOBODY)

    def length(self, k: int) -> int:
        """How long a list is made of which so many are wanted."""
        return next((length for length in self.lengths if length >= k), self.lengths[-1])

    def lists(self, asking: Sequence[One], k: int) -> Lists:
        """What `FittedModel.recommend` gives some who ask, no more of them than the last size."""
        n, size = len(asking), next(size for size in self.sizes if size >= len(asking))
        counts = np.array([len(one.items) for one in asking])
        users = np.repeat(np.arange(n, dtype=np.int32), counts)
        items, values = (np.concatenate([one[field] for one in asking]) for field in range(2))
        trained = np.full(size, asking[0].trained, np.int32)
        trained[:n] = [one.trained for one in asking]
        seen = np.zeros((size, self.items), bool)
        seen[users, items] = True
        known = Interactions(users, items, values)
        scorer = self._model.scorer(Asking(known, trained, self.model.feedback))
        listed, scores = self._ranked(scorer, seen, k)
        listed, scores = listed[:n], scores[:n]
        there = listed >= 0
        strange = (counts == 0) | there[:, 0] & np.all(np.where(there, scores, 0) == 0, axis=1)
        if strange.any():
            rows = strange[:, None]
            instead = self._ranked(self.model.strangers.scorer(size, None), seen, k)
            listed = np.where(rows, instead[0][:n], listed)
            scores = np.where(rows, instead[1][:n], scores)
        return Lists(listed, scores, strange)

    def remember(self, user: int, listed: Listed) -> None:
        """Keep a known user's list; the first that was kept goes first."""
        self.remembered[user] = listed
        if len(self.remembered) > MOST_REMEMBERED:
            del self.remembered[next(iter(self.remembered))]

    def _remember(self, users: range) -> None:
        found = self.lists([self.user(user) for user in users], self.lengths[0])
        for user, items, scores, strange in zip(users, *found, strict=True):
            self.remember(user, Listed(items.copy(), scores.copy(), bool(strange)))

    def _ranked(
        self, scorer: AnyScorer, seen: NDArray[np.bool_], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
        return top_k_of_block(scorer, seen, self._candidates, self.length(k), self._tie_order)

    def why(self, one: One, items: Sequence[int], strange: bool) -> list[dict[str, Any]]:
        """What gives items their scores: in words, by signal, and the user's items that say most.

        Args:
            one: who asks.
            items: [n] of the list.
            strange: was it a stranger's?
        """
        n = len(one.items)
        known = Interactions(np.zeros(n, np.int32), one.items, one.values)
        asking = Asking(known, np.array([one.trained], np.int32), self.model.feedback)
        told = []
        for of in self.model.explain(asking, np.array(items, np.int32), strange=strange):
            parts = as_json(self.model.catalogue, of)
            signals = [{"signal": by["signal"], "part": by["part"]} for by in parts["signals"]]
            best = [
                {name: by[name] for name in ("item_id", "title", "part")}
                for by in parts["known"][:FEW]
            ]
            words = in_short(self.model.catalogue, of)
            told.append({"in_words": words, "signals": signals, "known": best})
        return told

    def seen_as(self, model: FittedModel) -> "Ready":
        """The same, answering by another view of the model; see `jaxrec.web.pages.views`."""
        other = copy(self)
        other._model, other.model = model, model.on_host()
        return other

    def warm_up(self) -> Iterator[Callable[[], object]]:
        """What is to be done once, in the thread that will answer, so that no request compiles."""
        one = self.somebody([self._everybodys])
        stranger = One(one.items[:0], one.values[:0], NOBODY)
        for length in self.lengths:
            for size in self.sizes:
                yield partial(self.lists, [one] * (size - 1) + [stranger], length)
            yield partial(self.model.similar, self._everybodys, length)
        other = (self._everybodys + 1) % self.items  # an item that one has is explained otherwise
        yield partial(self.why, one, [other], False)
        for view in list(self.views.values())[1:]:  # one at a time asks for these
            seen = self.seen_as(view)
            yield partial(seen.lists, [one], self.lengths[0])
            yield partial(seen.why, one, [other], False)
        users = range(len(self.model.user_ids))
        for start in range(0, len(users) if len(users) <= BEFOREHAND else 0, self.sizes[-1]):
            yield partial(self._remember, users[start : start + self.sizes[-1]])


def dated(seconds: float) -> str:
    """A file's time as ISO 8601; empty where it is of no year that there is."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""


def _by_user(known: Interactions, users: int) -> tuple[Interactions, NDArray[np.int64]]:
    """Interactions user by user, and where each user's begin [users + 1]; in little memory.

    They are without times, which no row asks for, and of values in single precision if that is
    exact.
    """
    known = known._replace(times=None)
    if np.any(known.users[1:] < known.users[:-1]):
        known = known.at(np.argsort(known.users, kind="stable"))
    values: NDArray[Any] = known.values.astype(np.float32)
    if np.array_equal(values, known.values):
        known = known._replace(values=values)
    counts = np.bincount(known.users, minlength=users)
    return known, np.concatenate([[0], np.cumsum(counts)])
