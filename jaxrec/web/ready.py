"""A model that answers without compiling: its requests come in few shapes, all tried beforehand.

A batch is filled up to one of `SIZES` users, and to one number of interactions, by users who are
thrown away: they have an item that everybody has, the last of them as often as it takes.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.explanation.words import as_json, in_short
from jaxrec.files import read_json
from jaxrec.models.model import NOBODY, Asking
from jaxrec.serving.folder import CARD, read_model
from jaxrec.serving.model import FittedModel, Lists, Wanted
from jaxrec.topk.blocks import CACHED
from jaxrec.web.pages.views import views
from jaxrec.web.titles import Titles

SIZES = (4, 16, 64)
"""Users of a batch, one more than may ask."""
LENGTHS = (64, 2048)
"""Of lists, before what is excluded is taken off."""
ROOM = 2**13
"""Slots of a batch's interactions, at the least; an eighth is left, for folding in rounds up."""
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


class Ready:
    """A model of one folder, and what answering quickly takes beside."""

    def __init__(self, model: FittedModel, sha256: str = "", written: str = ""):
        self.model = model
        self.sha256 = sha256
        """Of the folder."""
        self.written = written
        """When, as ISO 8601."""
        self.titles = Titles(model.catalogue, model.item_counts)
        self.views = views(model)
        self.items = len(model.item_counts)
        self._by_user = np.argsort(model.known.users, kind="stable")
        counts = np.bincount(model.known.users, minlength=len(model.user_ids))
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._everybodys = int(np.argmax(model.item_counts))
        self.sizes = [size for size in SIZES if size <= max(CACHED // self.items, SIZES[0])]
        self.lengths = [length for length in LENGTHS if length < self.items] or [self.items]
        if self.lengths[-1] < min(LENGTHS[-1], self.items):
            self.lengths.append(self.items)
        room = ROOM
        while room - room // 8 < counts.max(initial=0) + SIZES[-1]:
            room *= 2
        self.room = room - room // 8
        """Interactions of a batch."""

    @classmethod
    def read(cls, path: Path) -> "Ready":
        """Of a model folder.

        Raises:
            InputError: see `read_model`.
        """
        model = read_model(path)
        written = datetime.fromtimestamp((path / CARD).stat().st_mtime, UTC)
        sha256 = read_json(path / CARD, "make it again")["sha256"]
        return cls(model, sha256, written.isoformat(timespec="seconds"))

    def user(self, position: int) -> One:
        """A user whom the model knows."""
        own = self._by_user[self._starts[position] : self._starts[position + 1]]
        known = self.model.known
        return One(known.items[own], known.values[own], int(self.model.trained[position]))

    def somebody(self, liked: Sequence[int]) -> One:
        """Somebody who likes these items."""
        known = self.model.somebody(np.array(liked, np.int32)).known
        return One(known.items, known.values, NOBODY)

    def kind(self, one: One) -> str:
        """Who may be in one batch: those alike in this."""
        if not len(one.items):
            return "stranger"
        return "new" if one.trained == NOBODY else "known"

    def length(self, k: int) -> int:
        """How long a list is made of which so many are wanted."""
        return next((length for length in self.lengths if length >= k), self.lengths[-1])

    def lists(self, asking: Sequence[One], k: int) -> Lists:
        """The best items of some who ask, who are of one `kind` and fit `sizes` and `room`."""
        wanted = Wanted.best(self.length(k), self.items)
        if not len(asking[0].items):
            nobody = self.model.somebody(np.zeros(0, np.int32))
            found = self.model.recommend(nobody, wanted)
            rows = np.zeros(len(asking), np.int32)
        else:
            found = self.model.recommend(self._filled_up(asking), wanted)
            rows = np.arange(len(asking), dtype=np.int32)
        return Lists(found.items[rows], found.scores[rows], found.strange[rows])

    def _filled_up(self, asking: Sequence[One]) -> Asking:
        size, n = next(size for size in self.sizes if size > len(asking)), len(asking)
        lengths = [len(one.items) for one in asking]
        fill = self.room - sum(lengths)
        spare = np.minimum(np.arange(n, n + fill), size - 1)
        users = np.concatenate([np.repeat(np.arange(n), lengths), spare]).astype(np.int32)
        more = np.full(fill, self._everybodys, np.int32)
        items = np.concatenate([*(one.items for one in asking), more])
        best = np.full(fill, self.model.feedback.best, np.float64)
        values = np.concatenate([*(one.values for one in asking), best])
        trained = [one.trained for one in asking] + [asking[0].trained] * (size - n)
        known = Interactions(users, items, values)
        return Asking(known, np.array(trained, np.int32), self.model.feedback)

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
        other.model = model
        return other

    def warm_up(self) -> Iterator[Callable[[], object]]:
        """What is to be done once, in the thread that will answer, so that no request compiles."""
        one = self.somebody([self._everybodys])
        stranger = One(np.zeros(0, np.int32), np.zeros(0), NOBODY)
        for who in (one._replace(trained=0), one, stranger):
            for length in self.lengths:
                for size in self.sizes:
                    yield partial(self.lists, [who] * (size - 1), length)
        for length in self.lengths:
            yield partial(self.model.similar, self._everybodys, length)
        other = (self._everybodys + 1) % self.items  # an item that one has is explained otherwise
        yield partial(self.why, one, [other], False)
        for view in list(self.views.values())[1:]:  # one at a time asks for these
            seen = self.seen_as(view)
            yield partial(seen.lists, [one], self.lengths[0])
            yield partial(seen.why, one, [other], False)
