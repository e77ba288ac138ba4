"""How an encoder is fine-tuned."""

from dataclasses import dataclass, replace
from typing import NamedTuple

LOSSES = ("info-nce", "contrastive", "triplet", "alignment")
PAIRS_OF = {"info-nce": "liked", "contrastive": "disliked", "triplet": "profile", "alignment": None}
"""Which kind of training pairs a loss reads (see jaxrec's border); alignment reads targets."""


@dataclass(frozen=True)
class Settings:
    """All that decides a fine-tuning, beside encoder and training data."""

    loss: str
    """One of `LOSSES`."""
    epochs: int
    batch: int
    """Examples of a step."""
    rate: float
    """AdamW's learning rate of the encoder."""
    warmup: int
    """Steps in which the rate rises from 0; then it falls linearly to 0."""
    max_tokens: int
    """Longer texts are cut."""
    head_rate: float = 1e-3
    """Learning rate of the linear head of `alignment`."""
    weight_decay: float = 0.01
    temperature: float = 0.05
    """Of InfoNCE; 1 / scale."""
    symmetric: bool = False
    """InfoNCE in both directions."""
    margin: float = 0.2
    """Of `contrastive` and `triplet`."""
    mask: bool = True
    """Leave false negatives out of InfoNCE: equal texts, pairs that either's user likes."""
    tag_dropout: float = 0.0
    """Share of the texts that are read without tags."""
    drop_last: bool = False
    """Leave out the last batch of an epoch if it is not full."""
    patience: int | None = 1
    """Stop after so many epochs without a better validation figure; None: never."""
    micro_tokens: int = 8192
    """Padded tokens whose activations are held; a larger batch goes through the encoder twice."""
    checkpoint_every: int = 100
    """Steps."""
    bfloat16: bool = False
    """Compute in bfloat16 where that is safe (autocast)."""
    seed: int = 0


class Preset(NamedTuple):
    """Settings, and what training data they want."""

    settings: Settings
    folds: int = 1
    """Models for cross-fitting."""
    per_user: int = 10
    """Training pairs of a user."""
    popularity: float = 0.0
    """Power by which often liked items are drawn less (see `jaxrec.border.pairs`)."""


PUBLISHED = Preset(
    Settings(
        "info-nce", epochs=2, batch=16, rate=2e-5, warmup=100, max_tokens=128, mask=False,
        drop_last=True, patience=None,
    )
)  # fmt: skip
"""The recipe of the published reports: InfoNCE at scale 20 on 10 random liked pairs a user."""
BEST = Preset(
    Settings("alignment", epochs=2, batch=32, rate=1e-4, warmup=50, max_tokens=48, tag_dropout=0.3),
    folds=3,
    popularity=0.5,
)
"""Alignment; rate, batch and epochs are the best of a few on one inner cold fold.

What they lost against is in benchmarks/LOG.md, the other losses in benchmarks/README.md. On items
that have ratings no loss is worth its time (see there)."""
PRESETS = {"best": BEST, "published": PUBLISHED}


def preset(name: str, lora: bool) -> Preset:
    """One of `PRESETS`; published adapters are trained three epochs and stopped early."""
    found = PRESETS[name]
    if name == "published" and lora:
        return found._replace(settings=replace(found.settings, epochs=3, patience=1))
    return found
