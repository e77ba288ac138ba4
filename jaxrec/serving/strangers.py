"""What somebody gets of whom nothing is known: what serves such users best, by validation.

| kind                | how an item is scored                                                   |
|---------------------|-------------------------------------------------------------------------|
| `most liked`        | by the number of users who like it                                      |
| `most liked lately` | the same, of the latest fifth of all interactions                       |
| `most liked in ...` | likes by users of one's segment (a country, say), and a few by everyone |

Validation hides a fifth of the users altogether, and looks for what they like.
"""

from typing import NamedTuple

import numpy as np
from jax import Array
from jax.tree_util import Partial
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset, Interactions
from jaxrec.data.feedback import Feedback
from jaxrec.data.ids import NONE
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.split import cold_user_split
from jaxrec.evaluation.task import Task, drawn_order
from jaxrec.models.model import appended
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.scorer import Product, product

LATE = 0.2
"""Share of the interactions that are late."""
BY_EVERYONE = 20.0
"""Likes that a segment's items get beside its own, spread as everybody's are."""
K = 25
LIKED, LATELY = "most liked", "most liked lately"


class Segments(NamedTuple):
    """Which segment users belong to."""

    column: str
    """What a segment is called: `country`."""
    of: dict[str, str]
    """By user as written."""

    @property
    def names(self) -> list[str]:
        """All segments, ascending."""
        return sorted(set(self.of.values()))


class Strangers(NamedTuple):
    """What those get of whom nothing is known."""

    kind: str
    """Of those without a segment."""
    ndcg: dict[str, float]
    """NDCG@25 on validation, by kind."""
    liked: NDArray[np.float32]
    """[items, 1 + segments] scores: of everybody, then of each segment, where validation prefers
    what is liked in one's own."""
    segments: Segments | None
    """As they were given."""

    def _column(self, segment: str | None) -> int:
        """Of `liked`: the segment's own, if there is one."""
        if segment is None or self.segments is None or self.liked.shape[1] == 1:
            return 0
        names = self.segments.names
        return 1 + names.index(segment) if segment in names else 0

    def scorer(self, users: int, segment: str | None) -> Product:
        """The same scores for so many users."""
        return product(np.ones((users, 1)), self.liked[:, [self._column(segment)]])

    def segment_of(self, user: str) -> str | None:
        """A user's segment, if it is known."""
        return None if self.segments is None else self.segments.of.get(user)

    def called(self, segment: str | None) -> str:
        """The kind of what somebody of a segment gets."""
        return f"most liked in {segment}" if self._column(segment) else self.kind

    def in_words(self, segment: str | None) -> str:
        """What somebody of a segment gets, and why."""
        known = () if self.segments is None else self.segments.names
        unknown = segment not in (None, *known)
        kind = self.called(segment)
        figures = ", ".join(f"{name} {ndcg:.4f}" for name, ndcg in self.ndcg.items())
        return (
            f"{kind} (NDCG@{K} for such users on validation: {figures or 'nothing to judge by'}"
            f"{f'; of segment {segment} nothing is known' if unknown else ''})"
        )

    def with_items(self, n: int) -> "Strangers":
        """With so many items more, which nobody has liked."""
        return self._replace(liked=appended(self.liked, n))


def of_strangers(
    dataset: Dataset,
    train: NDArray[np.int64],
    fitted: NDArray[np.int64],
    seed: int,
    segments: Segments | None = None,
) -> Strangers:
    """Choose on validation inside `train` what strangers get, and make it of `fitted`.

    Args:
        dataset: whose users are known by `segments`, perhaps.
        train: positions of interactions that may be chosen on.
        fitted: positions of those that the lists are made of.
        seed: of the users that validation hides.
        segments: of users.
    """
    member = _members(dataset, segments)
    figures = _validated(dataset, train, seed, segments, member)
    general = {name: ndcg for name, ndcg in figures.items() if name in (LIKED, LATELY)}
    kind = max(general, key=lambda name: general[name], default=LIKED)
    interactions = dataset.interactions.at(fitted)
    tables = _tables(interactions, dataset.feedback, dataset.items, segments, member)
    chosen = [tables[kind]]
    if segments is not None:
        own, instead = _own(segments), _there(kind, segments)
        if figures.get(own, 0.0) > figures.get(instead, 0.0):
            chosen.append(tables[own])
    return Strangers(kind, figures, np.hstack(chosen).astype(np.float32), segments)


def _own(segments: Segments) -> str:
    return f"most liked in {segments.column}"


def _there(kind: str, segments: Segments) -> str:
    """A kind, by users whose segment is known."""
    return f"{kind}, of known {segments.column}"


def _members(dataset: Dataset, segments: Segments | None) -> NDArray[np.int32]:
    """[users] the number of each one's segment, -1 where it is unknown."""
    member = np.full(dataset.users, NONE, np.int32)
    if segments is not None:
        number = {name: at for at, name in enumerate(segments.names)}
        users = dataset.user_ids.find(segments.of)
        of = np.array([number[name] for name in segments.of.values()], np.int32)
        member[users[users != NONE]] = of[users != NONE]
    return member


def _tables(
    interactions: Interactions,
    feedback: Feedback,
    items: int,
    segments: Segments | None,
    member: NDArray[np.int32],
) -> dict[str, NDArray[np.floating]]:
    """[items, 1] by kind, and [items, segments] of segments."""

    def likes(of: Interactions) -> NDArray[np.floating]:
        return np.bincount(of.liked(feedback).items, minlength=items)[:, None].astype(float)

    tables = {LIKED: likes(interactions)}
    times = interactions.times
    if times is not None and len(times) and times.min() < times.max():
        late = times >= np.quantile(times, 1 - LATE)
        tables[LATELY] = likes(interactions.at(np.flatnonzero(late)))
    if segments is not None:
        own = np.zeros((items, len(segments.names)))
        liked = interactions.liked(feedback)
        known = member[liked.users] != NONE
        np.add.at(own, (liked.items[known], member[liked.users[known]]), 1)
        everyone = tables[LIKED] / max(tables[LIKED].sum(), 1)
        tables[_own(segments)] = own + BY_EVERYONE * everyone
    return tables


def _validated(
    dataset: Dataset,
    train: NDArray[np.int64],
    seed: int,
    segments: Segments | None,
    member: NDArray[np.int32],
) -> dict[str, float]:
    """NDCG@25 of every kind for users who are hidden; empty where there is nothing to find."""
    split = cold_user_split(dataset.interactions, train, dataset.user_ids, seed + 1)
    hidden = dataset.interactions.at(np.concatenate([split.given, split.test]))
    nothing = ItemSets(np.zeros(dataset.users + 1, np.int64), np.zeros(0, np.int32))
    relevant = ItemSets.of(hidden.liked(dataset.feedback), dataset.users)
    if not len(split.train) or not len(relevant.items):
        return {}
    shown = dataset.interactions.at(split.train)
    counts = np.bincount(shown.items, minlength=dataset.items)
    everything, order = np.ones(dataset.items, bool), drawn_order(dataset, seed)
    task = Task(nothing, relevant, everything, counts, {}, order)
    figures, known = {}, member != NONE
    for kind, table in _tables(shown, dataset.feedback, dataset.items, segments, member).items():
        by_segment = kind not in (LIKED, LATELY)
        of = np.where(known, member, 0) if by_segment else np.zeros(dataset.users, np.int32)
        found = evaluate(Partial(_of_segment, table.T.astype(np.float32), of), task, (K,))
        ndcg, there = found.per_user[f"ndcg@{K}"], known[found.users]
        if not by_segment:
            figures[kind] = float(np.mean(ndcg))
        if segments is not None and there.any():
            name = kind if by_segment else _there(kind, segments)
            figures[name] = float(np.mean(ndcg[there]))
    return figures


def _of_segment(scores: Array, segment: Array, users: Array, candidates: Array) -> Array:
    """Scores [block, items] of users by what is liked in each one's segment."""
    return scores[segment[users]]
