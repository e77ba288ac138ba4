"""A fitted model in use: what it knows of whoever asks, and the lists it gives.

The same in memory whether it was fitted on the train part of an experiment or on everything, and
whether somebody asks whom it was fitted on, who has interacted since, or who comes from outside.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import polars as pl
from jax import Array
from numpy.typing import NDArray

from jaxrec.data.dataset import Catalogue, Interactions
from jaxrec.data.features import FeatureSpace
from jaxrec.data.feedback import Feedback
from jaxrec.data.ids import NONE, Ids
from jaxrec.errors import InputError
from jaxrec.explanation.parts import Explanation
from jaxrec.explanation.split import Field, Signal, explained
from jaxrec.fusion.gate import (
    Familiarity,
    Learned,
    Weights,
    gated,
    gated_scorer,
    of_items,
    of_users,
)
from jaxrec.models.model import NOBODY, Arrays, Asking, Settings, Shares, appended
from jaxrec.models.registry import MODELS, Scored, ask, shares
from jaxrec.serving.strangers import Strangers
from jaxrec.topk.blocks import MEMORY
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.ranking import top_k
from jaxrec.topk.scorer import AnyScorer, Product, product, worked_out


class Lists(NamedTuple):
    """What is recommended to some users, best first."""

    items: NDArray[np.int32]
    """[n, k] positions in the catalogue, -1 where nothing is left."""
    scores: NDArray[np.floating]
    """[n, k]"""
    strange: NDArray[np.bool_]
    """[n] nothing is known of the user, or nothing that tells items apart; such a user got what
    serves strangers best."""


class Pairs(NamedTuple):
    """Pairs of user and item, by position."""

    users: NDArray[np.int32]
    """[n]"""
    items: NDArray[np.int32]
    """[n]"""


class Wanted(NamedTuple):
    """What may be on the lists."""

    k: int
    """At most as many as there are items."""
    allowed: NDArray[np.bool_]
    """[items]"""
    apart: Pairs
    """What a user is not to get. Whatever may not be listed is compared with nevertheless, so that
    no score depends on it."""

    @classmethod
    def best(cls, k: int, items: int) -> "Wanted":
        """The best `k` of that many items, whatever they are; all of them for a larger `k`."""
        nothing = np.zeros(0, np.int32)
        return cls(min(k, items), np.ones(items, bool), Pairs(nothing, nothing))

    def apart_of(self, users: NDArray[np.integer] | None) -> Pairs:
        """What these users [n] are not to get, numbered as they are here; nothing of None."""
        if users is None or not len(users):
            return Pairs(np.zeros(0, np.int32), np.zeros(0, np.int32))
        order = np.argsort(users)
        place = np.searchsorted(users, self.apart.users, sorter=order)
        found = order[place.clip(max=len(users) - 1)].astype(np.int32)
        own = users[found] == self.apart.users
        return Pairs(found[own], self.apart.items[own])


@dataclass(frozen=True)
class FittedModel:
    """A row of the score card, fitted, with what it knows of users and items."""

    row: str
    settings: dict[str, Settings]
    """Of each signal: the rows that `hybrid` fuses, or the row itself."""
    learned: dict[str, Arrays]
    """What each signal has learned."""
    fusion: Learned | None
    """Of several signals."""
    feedback: Feedback
    user_ids: Ids
    catalogue: Catalogue
    known: Interactions
    """All that is known of users."""
    trained: NDArray[np.int32]
    """[users] where a user was when it was fitted, or `NOBODY` who has interacted since."""
    item_counts: NDArray[np.int64]
    """[items] interactions that it was fitted on."""
    candidates: NDArray[np.bool_]
    """[items] what it ranks."""
    tie_order: NDArray[np.int32] | None
    """[items] in the order in which equal scores are ranked; by position if it is None."""
    strangers: Strangers
    space: FeatureSpace
    """What items' features are written in."""
    E: NDArray[np.float32] | None
    """[items, dim] embeddings of the items' texts."""
    card: dict[str, Any]
    """How it came about, and by what figures it was chosen."""

    @property
    def synthetic(self) -> bool:
        """Was it fitted on data that were made?"""
        return bool(self.card["data"]["synthetic"])

    def asking(self, users: NDArray[np.integer]) -> Asking:
        """These users, with all that is known of them."""
        place = np.full(len(self.user_ids), NONE, np.int32)
        place[users] = np.arange(len(users), dtype=np.int32)
        own = self.known.at(np.flatnonzero(place[self.known.users] != NONE))
        return Asking(own._replace(users=place[own.users]), self.trained[users], self.feedback)

    def somebody(self, liked: NDArray[np.integer]) -> Asking:
        """One user from outside, who likes these items as much as one can."""
        items = np.unique(liked).astype(np.int32)
        values = np.full(len(items), self.feedback.best)
        own = Interactions(np.zeros(len(items), np.int32), items, values)
        return Asking(own, np.array([NOBODY], np.int32), self.feedback)

    def scorer(self, asking: Asking) -> AnyScorer:
        """Scores of those who ask, numbered as they are there."""
        signals = self._signals(asking)
        if self.fusion is None:
            return signals[self.row]
        return gated_scorer(self._gate, tuple(signals.values()), self._familiarity(asking))

    def _signals(self, asking: Asking) -> dict[str, Scored]:
        return {
            row: ask(row, arrays, asking, self.settings[row])
            for row, arrays in self.learned.items()
        }

    def _familiarity(self, asking: Asking) -> Familiarity:
        counts = np.bincount(asking.known.users, minlength=asking.users)
        return Familiarity(of_users(counts), self._of_items)

    @cached_property
    def _gate(self) -> Weights:
        assert self.fusion is not None
        return self.fusion.gate

    @cached_property
    def _of_items(self) -> Array:
        return of_items(self.item_counts)

    def prepared(self) -> "FittedModel":
        """The same for those who ask one after the other: what items bring is on the device."""
        learned = {row: MODELS[row].prepared(arrays) for row, arrays in self.learned.items()}
        return replace(self, learned=learned)

    def on_host(self) -> "FittedModel":
        """The same with NumPy's arrays alone, which on a processor are of one memory."""
        learned = {
            row: {name: np.asarray(array) for name, array in arrays.items()}
            for row, arrays in self.learned.items()
        }
        return replace(self, learned=learned)

    def recommend(
        self,
        asking: Asking,
        wanted: Wanted,
        users: NDArray[np.integer] | None = None,
        segment: str | None = None,
        memory: int = MEMORY,
    ) -> Lists:
        """The best items that are not among what is known of a user.

        Args:
            asking: to whom.
            wanted: how many, and of what.
            users: [n] positions of those who ask, whom `wanted` may name; None from outside.
            segment: of those of whom nothing is known.
            memory: bytes that the arrays of ranking may take.
        """
        strange = np.bincount(asking.known.users, minlength=asking.users) == 0
        seen = ItemSets.of(asking.known, asking.users)
        how = wanted, users, seen, self.candidates, self.tie_order, memory
        numbers = np.arange(asking.users, dtype=np.int32)
        items, scores = ranked_by([(~strange, lambda: self.scorer(asking))], numbers, *how)
        listed = items >= 0
        strange |= listed[:, 0] & np.all(np.where(listed, scores, 0) == 0, axis=1)
        served = ranked_by(
            [(strange, lambda: self.strangers.scorer(asking.users, segment))], numbers, *how
        )
        rows = strange[:, None]
        return Lists(np.where(rows, served[0], items), np.where(rows, served[1], scores), strange)

    def explain(
        self,
        asking: Asking,
        items: NDArray[np.integer],
        segment: str | None = None,
        strange: bool | None = None,
    ) -> list[Explanation]:
        """Why `recommend` scores items as it does.

        An item that the user has is scored as if that were not known, the rest being folded in.

        Args:
            asking: the one user.
            items: [n] positions in the catalogue.
            segment: of a user of whom nothing is known.
            strange: was the user served as a stranger (see `Lists`)? By default one is whose best
                score is 0, as that of a list of one item.

        Raises:
            InputError: one of the items is not ranked at all.
        """
        for item in items[~self.candidates[items]]:
            raise InputError(f"{self.catalogue.called(item)} is none of the items that are ranked")
        had = np.isin(items, asking.known.items)
        if had.any():
            each = [(asking.without(item), items[[at]]) for at, item in enumerate(items)]
            return [self.explain(*one, segment, strange)[0] for one in each]
        candidates = self.candidates.copy()
        candidates[asking.known.items] = False
        of = asking.known, items, Field(candidates, self.tie_order)
        if not strange and len(asking.known.items):
            signals = {
                row: Signal(scorer, self._shares(row, asking, items))
                for row, scorer in self._signals(asking).items()
            }
            fusion = None
            if self.fusion is not None:
                fusion = self._gate, self._familiarity(asking)
            found = explained(self.row, signals, fusion, *of)
            if strange is not None or any(one.best != 0 for one in found):
                return found
        kind, scorer = self.strangers.called(segment), self.strangers.scorer(1, segment)
        own = Shares(np.zeros((len(asking.known.items), len(items))), scorer.at(items)[0])
        found = explained(kind, {kind: Signal(scorer, own)}, None, *of)
        return [one._replace(strange=True) for one in found]

    def _shares(self, row: str, asking: Asking, items: NDArray[np.integer]) -> Shares:
        return shares(row, self.learned[row], asking, items, self.settings[row])

    def weights(self, asking: Asking) -> dict[str, NDArray[np.float64]]:
        """By signal, what it weighs [items] for the one user who asks; empty if none are fused."""
        if self.fusion is None:
            return {}
        found = self.fusion.weighing(self._familiarity(asking))
        return dict(zip(self.learned, found, strict=True))

    def vectors(self) -> dict[str, NDArray[np.floating]]:
        """By signal that is a product of two, the items' side [items, dim]."""
        found = {}
        for row, arrays in self.learned.items():
            vectors = MODELS[row].vectors(arrays)
            if vectors is not None:
                found[row] = vectors
        return found

    def product_of(self, row: str, asking: Asking) -> Product:
        """Both sides of the scores of a signal that is a product of two; see `vectors`."""
        found = ask(row, self.learned[row], asking, self.settings[row])
        assert isinstance(found, Product), f"{row} has vectors, and is no product"
        return found

    def reranked(self, asking: Asking, items: NDArray[np.integer]) -> NDArray[np.floating]:
        """[users, n] scores of some items [users, n] alone, as an index of vectors finds them.

        They are those of `scorer`. What standardises a signal that is a product of two comes from
        the mean and covariance of its items' side, so that no other item is scored.
        """
        counts = np.bincount(asking.known.users, minlength=asking.users)
        if self.fusion is None:
            return self._scores(self.row, asking, items)[0]
        z = np.stack([self._standardised(row, asking, items, counts) for row in self.learned])
        known = self._familiarity(asking)
        return np.asarray(gated(self._gate, jnp.asarray(z), known.users, known.items[items]))

    def _scores(
        self, row: str, asking: Asking, items: NDArray[np.integer]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
        """Of `items` [users, n]; and the sums [users] of scores and squares over what is unseen."""
        scored = ask(row, self.learned[row], asking, self.settings[row])
        users, of = asking.known.users, asking.known.items
        if row not in self._moments:
            everybody = np.arange(asking.users)
            everything = jnp.ones((asking.users, len(self.item_counts)), bool)
            here = worked_out(scored, everybody)
            whole = np.asarray(here(jnp.asarray(everybody), everything), np.float64)
            had, sums, squares = whole[users, of], whole.sum(axis=1), (whole**2).sum(axis=1)
            scores = np.take_along_axis(whole, items, axis=1)
        else:
            assert isinstance(scored, Product)
            left, right = np.asarray(scored.left, np.float64), np.asarray(scored.right, np.float64)
            n, mean, second = self._moments[row]
            had = np.sum(left[users] * right[of], axis=1)
            sums, squares = n * left @ mean, n * np.einsum("ud,de,ue->u", left, second, left)
            scores = np.einsum("ud,und->un", left, right[items])
        sums -= np.bincount(users, had, asking.users)
        return scores, sums, squares - np.bincount(users, had**2, asking.users)

    def _standardised(
        self, row: str, asking: Asking, items: NDArray[np.integer], counts: NDArray[np.integer]
    ) -> NDArray[np.floating]:
        """[users, n] a signal's scores, by mean and deviation over what each user does not have."""
        scores, sums, squares = self._scores(row, asking, items)
        unseen = np.maximum(len(self.item_counts) - counts, 1)
        centre = sums / unseen
        spread = np.sqrt(np.maximum(squares / unseen - centre**2, 1e-24))
        return (scores - centre[:, None]) / spread[:, None]

    @cached_property
    def _moments(self) -> dict[str, tuple[int, NDArray[np.floating], NDArray[np.floating]]]:
        """By signal, of the items' vectors: how many, mean [dim], mean of products [dim, dim]."""
        found: dict[str, tuple[int, NDArray[np.floating], NDArray[np.floating]]] = {}
        for row, vectors in self.vectors().items():
            exact = np.asarray(vectors, np.float64)
            found[row] = len(exact), exact.mean(axis=0), exact.T @ exact / len(exact)
        return found

    def similar(self, item: int, k: int) -> dict[str, Lists]:
        """The `k` items nearest to one (or all), as each signal and the texts see it.

        Of a product of two by the cosine of the items' vectors; of other signals by what somebody
        is scored who has liked nothing but that item.

        Returns:
            By signal, or `texts`; none of what has no place for the item or tells no items apart.
        """
        spaces = self.vectors() | ({} if self.E is None else {"texts": self.E})
        itself = ItemSets(np.array([0, 1]), np.array([item], np.int32))
        nobody = np.zeros(1, np.int32)
        k, nearest = min(k, len(self.item_counts)), {}
        for space in dict.fromkeys([*self.learned, *spaces]):
            there = np.ones(len(self.item_counts), bool)
            if (vectors := spaces.get(space)) is None:
                somebody = self.somebody(np.array([item]))
                scorer = ask(space, self.learned[space], somebody, self.settings[space])
            else:
                norms = np.linalg.norm(vectors, axis=1, keepdims=True)
                unit = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
                scorer, there = product(unit[[item]], unit), norms[:, 0] > 0
                if vectors.shape[1] == 1 or not there[item]:
                    continue
            found = top_k(scorer, nobody, itself, there, k)
            if np.any(found[1][0, :1] != 0):
                nearest[space] = Lists(*found, np.zeros(1, bool))
        return nearest

    def with_interactions(self, names: NDArray[Any], more: Interactions) -> "FittedModel":
        """What users have done since, known without a refit: they are folded in when they ask.

        Args:
            names: of users, known or new.
            more: interactions, their users numbered as `names`, their items as the catalogue. Of a
                pair that is known the new value counts; counts add up.
        """
        found = self.user_ids.find(names)
        new = np.flatnonzero(found == NONE)
        ids = self.user_ids
        if len(new):
            found[new] = len(ids) + np.arange(len(new), dtype=np.int32)
            ids = Ids([*ids.names.tolist(), *np.asarray(names)[new].tolist()], ids.what)
        trained = np.concatenate([self.trained, np.full(len(new), NOBODY, np.int32)])
        more = more._replace(users=found[more.users])
        trained[np.unique(more.users)] = NOBODY
        known = _merged(self.known, more, len(self.catalogue.ids), self.feedback)
        return replace(self, user_ids=ids, known=known, trained=trained)

    def with_items(self, catalogue: Catalogue, E: NDArray[np.float32] | None) -> "FittedModel":
        """Items that nobody has interacted with, placed by their features behind all others.

        Args:
            catalogue: of the new items alone, its columns as those of the model's.
            E: [new items, dim] embeddings of their texts, if the model has embeddings.

        Raises:
            InputError: a signal cannot place items, or they have no embeddings.
        """
        check_places_items(self)
        n = len(catalogue.ids)
        learned = {}
        for row, arrays in self.learned.items():
            metadata, place = self.settings[row].get("metadata", 0.0), MODELS[row].place
            assert place is not None
            features = self.space.features(catalogue, E, metadata)
            learned[row] = place(arrays, features, self.settings[row])
        names = [*self.catalogue.ids.names.tolist(), *catalogue.ids.names.tolist()]
        table = pl.concat([self.catalogue.table, catalogue.table], how="vertical_relaxed")
        order, items = self.tie_order, len(self.item_counts)
        return replace(
            self,
            learned=learned,
            catalogue=replace(self.catalogue, ids=Ids(names, "item"), table=table),
            item_counts=appended(self.item_counts, n),
            candidates=np.append(self.candidates, np.ones(n, bool)),
            tie_order=None if order is None else np.append(order, items + np.arange(n)),
            strangers=self.strangers.with_items(n),
            E=None if self.E is None or E is None else appended(self.E, E),
        )


def check_places_items(model: FittedModel) -> None:
    """Raise InputError for a model whose rows do not say where an item belongs by its features."""
    reads = any(MODELS[row].text for row in model.learned)
    blind = [row for row in model.learned if not reads or MODELS[row].place is None]
    if blind:
        raise InputError(
            f"row {', '.join(blind)} reads no texts, and cannot place items that nobody has"
            " interacted with; fit another row, as hybrid"
        )


def ranked_by(
    scorers: Sequence[tuple[NDArray[np.bool_], Callable[[], AnyScorer]]],
    users: NDArray[np.int32],
    wanted: Wanted,
    positions: NDArray[np.integer] | None,
    seen: ItemSets,
    candidates: NDArray[np.bool_],
    tie_order: NDArray[np.int32] | None,
    memory: int,
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """Items and scores [n, k] of users of whom some are scored in this way, some in that.

    Args:
        scorers: which of the users [n], and what makes their scorer.
        users: [n] as the scorers number them.
        wanted: how many, and of what.
        positions: [n] of the users, by which `wanted` names them; None of users without.
        seen: what each has.
        candidates: [items] what is ranked.
        tie_order: [items] in the order in which equal scores are ranked.
        memory: bytes that the arrays of ranking may take.
    """
    apart = wanted.apart_of(positions)
    most = wanted.k + int(np.bincount(apart.users, minlength=1).max())
    items = np.full((len(users), most), NONE, np.int32)
    scores = np.full((len(users), most), -np.inf, np.float32)
    allowed = None if wanted.allowed.all() else wanted.allowed
    for those, make in scorers:
        if those.any():
            how = most, memory, tie_order, allowed
            items[those], scores[those] = top_k(make(), users[those], seen, candidates, *how)
    if len(apart.users):  # what is set apart is dropped from longer lists, so that no score moves
        row = np.arange(len(users), dtype=np.int64)[:, None] * len(candidates)
        drop = np.isin(row + items, apart.users.astype(np.int64) * len(candidates) + apart.items)
        drop &= items != NONE
        order = np.argsort(drop, axis=1, kind="stable")
        items = np.take_along_axis(np.where(drop, NONE, items), order, axis=1)
        scores = np.take_along_axis(np.where(drop, -np.inf, scores), order, axis=1)
    return items[:, : wanted.k], scores[:, : wanted.k]


def _merged(
    known: Interactions, more: Interactions, items: int, feedback: Feedback
) -> Interactions:
    """Each pair once; without times of their own the new ones are as late as the latest."""
    new = more.users.astype(np.int64) * items + more.items
    last = len(new) - 1 - np.unique(new[::-1], return_index=True)[1]
    more, new = more.at(np.sort(last)), new[np.sort(last)]
    pairs = known.users.astype(np.int64) * items + known.items
    again = np.isin(pairs, new)
    if feedback.kind == "counts" and again.any():
        before = dict(zip(pairs[again].tolist(), known.values[again].tolist(), strict=True))
        more = more._replace(values=more.values + [before.get(pair, 0.0) for pair in new.tolist()])
    kept, times = known.at(np.flatnonzero(~again)), None
    if known.times is not None:
        latest = np.full(len(new), known.times.max(initial=0))
        times = np.concatenate([kept.times, latest if more.times is None else more.times])
    return Interactions(
        np.concatenate([kept.users, more.users]),
        np.concatenate([kept.items, more.items]),
        np.concatenate([kept.values, more.values]),
        times,
    )
