"""Training pairs for encoders: who liked what and who did not, drawn from given ratings alone.

The kinds, each of (user, anchors, positive, negative):

| kind       | anchors                    | positive      | negative        |
|------------|----------------------------|---------------|-----------------|
| `liked`    | one item the user likes    | another       | none            |
| `disliked` | one item the user likes    | another       | one disliked    |
| `profile`  | several items the user likes | another     | one disliked    |
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.data.feedback import Feedback
from jaxrec.errors import InputError

KINDS = ("liked", "disliked", "profile")
FEWEST_LIKED = 5
"""Users with fewer liked ratings make no pairs, as published."""
PROFILE = 5
"""At most so many anchors stand for a user."""
NONE = -1


class Pairs(NamedTuple):
    """Examples for contrastive losses; items are positions in the catalogue."""

    users: NDArray[np.int32]
    """[n]"""
    anchors: NDArray[np.int32]
    """[n, 1 or PROFILE], filled up with `NONE`."""
    positives: NDArray[np.int32]
    """[n]"""
    negatives: NDArray[np.int32]
    """[n], `NONE` in pairs of kind `liked`."""


def draw_pairs(
    ratings: Interactions,
    feedback: Feedback,
    kind: str,
    per_user: int,
    seed: int,
    popularity: float = 0.0,
) -> Pairs:
    """Draw `per_user` examples for every user who likes at least `FEWEST_LIKED` items.

    Anchors and positive of an example are different items; kinds with a negative leave out users
    who dislike nothing.

    Args:
        ratings: all that may be known; nothing else reaches a pair.
        feedback: what is liked and disliked.
        kind: one of `KINDS`.
        per_user: examples of one user.
        seed: of the draws.
        popularity: an item with n likes is drawn with probability proportional to n^-popularity: 0
            draws a user's likes alike, 1 makes up for popular items being liked by more users.

    Raises:
        InputError: pairs with a negative are asked for, and nobody dislikes anything.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind of pairs {kind!r}; there are {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    liked = ratings.liked(feedback)
    disliked = ratings.at(np.flatnonzero(feedback.disliked(ratings.values)))
    if kind != "liked" and not len(disliked.users):
        raise InputError(
            f"nothing is disliked in these {feedback.kind}, and the losses contrastive and triplet"
            " learn from dislikes; give --loss info-nce"
        )
    counts = np.bincount(liked.items, minlength=int(ratings.items.max(initial=0)) + 1)
    likes, dislikes = _by_user(liked), _by_user(disliked)
    found = []
    for user, own in likes.items():
        if len(own) < FEWEST_LIKED or (kind != "liked" and user not in dislikes):
            continue
        # Gumbel keys: their order is that of draws without replacement by these weights
        keys = rng.gumbel(size=(per_user, len(own))) - popularity * np.log(counts[own])
        wanted = min(1 + PROFILE, len(own)) if kind == "profile" else 2
        drawn = own[np.argsort(-keys, axis=1)[:, :wanted]]
        anchors = np.full((per_user, PROFILE if kind == "profile" else 1), NONE, np.int32)
        anchors[:, : wanted - 1] = drawn[:, 1:]
        negatives = np.full(per_user, NONE, np.int32)
        if kind != "liked":
            negatives = rng.choice(dislikes[user], per_user)
        found.append(Pairs(np.full(per_user, user, np.int32), anchors, drawn[:, 0], negatives))
    if not found:
        nothing = np.zeros(0, np.int32)
        return Pairs(nothing, np.zeros((0, 1), np.int32), nothing, nothing)
    return Pairs(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _by_user(ratings: Interactions) -> dict[int, NDArray[np.int32]]:
    order = np.argsort(ratings.users, kind="stable")
    users, starts = np.unique(ratings.users[order], return_index=True)
    items = np.split(ratings.items[order], starts[1:])
    return dict(zip(users.tolist(), items, strict=True)) if len(users) else {}
