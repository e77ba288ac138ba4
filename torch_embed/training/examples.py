"""Batches of training examples: which texts a step embeds, and the loss of their embeddings."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from torch_embed.errors import InputError
from torch_embed.training import losses
from torch_embed.training.lesson import NONE, Lesson, Pairs, Targets
from torch_embed.training.recipe import Settings

RIDGE = 1.0
"""L2 weight of the head at the start."""


class Batch(NamedTuple):
    """One step's work."""

    items: NDArray[np.int64]
    """[n] positions of the texts to embed."""
    loss: Callable[[Tensor, Tensor], Tensor]
    """Of their embeddings [n, dim] and the head [features + dim, factors]."""


def examples_of(lesson: Lesson, fold: int) -> NDArray[np.int64]:
    """Which examples are for the model of `fold`."""
    examples = lesson.pairs if lesson.targets is None else lesson.targets
    assert examples is not None
    own = np.flatnonzero(examples.fold == fold)
    if not len(own):
        raise InputError(f"no training examples for fold {fold}: too few ratings")
    return own


def make_batch(
    lesson: Lesson, settings: Settings, examples: NDArray[np.int64], device: torch.device
) -> Batch:
    """The batch of some examples, by their numbers."""
    if lesson.targets is not None:
        return _alignment(lesson.targets, examples, device)
    assert lesson.pairs is not None
    pairs = lesson.pairs.at(examples)
    n = len(examples)
    if settings.loss == "info-nce":
        mask = _false_negatives(lesson, pairs) if settings.mask else None
        not_negative = None if mask is None else torch.from_numpy(mask).to(device)

        def nce(E: Tensor, head: Tensor) -> Tensor:
            return losses.info_nce(
                E[:n], E[n:], settings.temperature, settings.symmetric, not_negative
            )

        return Batch(np.concatenate([pairs.anchors[:, 0], pairs.positives]), nce)
    if settings.loss == "contrastive":
        together = torch.arange(2 * n, device=device) < n

        def apart(E: Tensor, head: Tensor) -> Tensor:
            first, second = E[:n].repeat(2, 1), E[n:]
            return losses.contrastive(first, second, together, settings.margin)

        return Batch(np.concatenate([pairs.anchors[:, 0], pairs.positives, pairs.negatives]), apart)
    anchors, place = np.unique(pairs.anchors[pairs.anchors != NONE], return_inverse=True)
    profile = torch.from_numpy(np.nonzero(pairs.anchors != NONE)[0]).to(device)
    column = torch.from_numpy(place).to(device)

    def nearer(E: Tensor, head: Tensor) -> Tensor:
        profiles = torch.zeros(n, E.shape[1], device=E.device, dtype=E.dtype)
        profiles = profiles.index_add(0, profile, E[2 * n :][column])
        return losses.triplet(profiles, E[:n], E[n : 2 * n], settings.margin)

    return Batch(np.concatenate([pairs.positives, pairs.negatives, anchors]), nearer)


def _alignment(of: Targets, examples: NDArray[np.int64], device: torch.device) -> Batch:
    items = of.items[examples]
    features, targets, weights = (
        torch.from_numpy(array).to(device)
        for array in (of.features[items], of.targets[examples], of.weights[examples])
    )

    def error(E: Tensor, head: Tensor) -> Tensor:
        return losses.alignment(torch.hstack([features, E]) @ head, targets, weights)

    return Batch(items, error)


def _false_negatives(lesson: Lesson, pairs: Pairs) -> NDArray[np.bool_]:
    """[n, n] where positive s is no negative of anchor r.

    User r likes both, or user s does, or the text of s is that of anchor or positive r.
    """
    of_positive, of_anchor = (
        np.array([lesson.texts[item] for item in items])
        for items in (pairs.positives, pairs.anchors[:, 0])
    )
    users = pairs.users.tolist()
    by_r, by_s = (
        np.array([[(user, item) in pairs.likes for item in items.tolist()] for user in users])
        for items in (pairs.positives, pairs.anchors[:, 0])
    )
    equal = (of_positive[:, None] == of_positive) | (of_anchor[:, None] == of_positive)
    return by_r | by_s.T | equal


def first_head(
    lesson: Lesson, examples: NDArray[np.int64], E: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The head to begin with, [features + dim, factors]: ridge of the targets on embeddings E."""
    if lesson.targets is None:
        return np.zeros((0, 0), np.float32)
    _, items, targets, weights, features = lesson.targets
    X = np.hstack([features[items[examples]], E[items[examples]]]).astype(np.float64)
    weighted = X.T * weights[examples]
    head = np.linalg.solve(weighted @ X + RIDGE * np.eye(X.shape[1]), weighted @ targets[examples])
    return head.astype(np.float32)


def unit_mean(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean of embeddings [items, dim], scaled to norm 1."""
    mean = torch.from_numpy(np.mean(parts, axis=0))
    return functional.normalize(mean, dim=-1).numpy()
