"""Losses against what a pencil or NumPy says."""

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_embed.training.losses import alignment, contrastive, info_nce, triplet

RNG = np.random.default_rng(0)


def unit(rows: int, dim: int = 5) -> Tensor:
    vectors = RNG.normal(size=(rows, dim))
    return torch.tensor(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_info_nce_of_orthogonal_pairs() -> None:
    """Every anchor meets itself at cosine 1 and n - 1 others at 0."""
    eye = torch.eye(4, dtype=torch.float64)
    expected = -np.log(np.exp(20) / (np.exp(20) + 3))
    assert info_nce(eye, eye, temperature=0.05).item() == pytest.approx(expected, rel=1e-6)
    assert info_nce(eye, eye.roll(1, 0), 0.05).item() == pytest.approx(20 + expected, rel=1e-6)


def test_info_nce_is_its_formula_masked_and_both_ways() -> None:
    a, b = unit(6), unit(6)
    mask = torch.tensor(RNG.random((6, 6)) < 0.3)
    logits = (a @ b.T).numpy() / 0.1
    kept = ~mask.numpy() | np.eye(6, dtype=bool)

    def entropy(logits: np.ndarray, kept: np.ndarray) -> float:
        total = np.log((np.exp(logits) * kept).sum(axis=1))
        return float(np.mean(total - np.diag(logits)))

    found = info_nce(a, b, 0.1, not_negative=mask).item()
    assert found == pytest.approx(entropy(logits, kept))
    both = info_nce(a, b, 0.1, symmetric=True, not_negative=mask).item()
    assert both == pytest.approx((entropy(logits, kept) + entropy(logits.T, kept.T)) / 2)


def test_contrastive_by_hand() -> None:
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    second = torch.tensor([[0.0, 1.0], [0.8, 0.6], [-1.0, 0.0]])
    together = torch.tensor([True, False, False])
    # distances sqrt(2), sqrt(0.4), 2; the last is beyond the margin
    expected = (2 / 2 + (1 - np.sqrt(0.4)) ** 2 / 2 + 0) / 3
    assert contrastive(first, second, together, margin=1.0).item() == pytest.approx(expected)


def test_equal_texts_have_a_gradient() -> None:
    first = torch.tensor([[1.0, 0.0]], requires_grad=True)
    contrastive(first, first.detach().clone(), torch.tensor([False]), 0.5).backward()
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()


def test_triplet_by_hand() -> None:
    profiles = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    liked = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    disliked = torch.tensor([[0.8, 0.6], [1.0, 0.0]])
    # 0.2 + 0.8 - 0.6 = 0.4; 0.2 + 0 - 1 < 0
    assert triplet(profiles, liked, disliked, margin=0.2).item() == pytest.approx(0.2)


def test_alignment_by_hand() -> None:
    predicted, targets = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2)
    assert alignment(predicted, targets, torch.tensor([0.5, 1.5])).item() == pytest.approx(0.625)
