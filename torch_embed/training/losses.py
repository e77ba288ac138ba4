"""Contrastive losses on unit embeddings, and the regression of item factors."""

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(
    anchors: Tensor,
    positives: Tensor,
    temperature: float = 0.05,
    symmetric: bool = False,
    not_negative: Tensor | None = None,
) -> Tensor:
    """InfoNCE with in-batch negatives (van den Oord et al. 2018, eq. 4).

    The mean over r of -log softmax_s(anchors_r . positives_s / temperature) at s = r.

    Args:
        anchors: [n, dim] unit.
        positives: [n, dim] unit; those of other rows are the negatives.
        temperature: 1 / scale; the published scale 20 is 0.05.
        symmetric: the mean of this and of the same with the roles exchanged.
        not_negative: [n, n] bool, where positive s is no negative of anchor r; the diagonal is
            ignored.
    """
    logits = anchors @ positives.T / temperature
    if not_negative is not None:
        off = ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(not_negative & off, float("-inf"))
    rows = torch.arange(len(logits), device=logits.device)
    loss = functional.cross_entropy(logits, rows)
    if symmetric:
        loss = (loss + functional.cross_entropy(logits.T, rows)) / 2
    return loss


def contrastive(first: Tensor, second: Tensor, together: Tensor, margin: float = 0.5) -> Tensor:
    """Pairs are drawn together or pushed apart to a margin (Hadsell et al. 2006, eq. 4).

    The mean of d^2 / 2 where `together`, else max(0, margin - d)^2 / 2, with d the distance of the
    unit vectors [n, dim].
    """
    squared = (2 - 2 * (first * second).sum(1)).clamp_min(0)
    # the gradient of a root is infinite at 0, where equal texts are
    distance = torch.sqrt(squared + 1e-12)
    apart = (margin - distance).clamp_min(0) ** 2
    return (torch.where(together, squared, apart) / 2).mean()


def triplet(profiles: Tensor, liked: Tensor, disliked: Tensor, margin: float = 0.2) -> Tensor:
    """A user's profile is nearer to what is liked (Schroff et al. 2015, eq. 3, in cosines).

    The mean of max(0, margin + cos(profile, disliked) - cos(profile, liked)).

    Args:
        profiles: [n, dim], of any length.
        liked: [n, dim] unit.
        disliked: [n, dim] unit.
        margin: by how much nearer.
    """
    unit = functional.normalize(profiles, dim=-1)
    gap = (unit * disliked).sum(1) - (unit * liked).sum(1)
    return (margin + gap).clamp_min(0).mean()


def alignment(predicted: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean square of predicted - targets, [n, factors] with weights [n]."""
    return (weights[:, None] * (predicted - targets) ** 2).mean()
