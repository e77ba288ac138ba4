"""How an encoder is fine-tuned: presets, and what is asked for made into one of the like."""

from dataclasses import dataclass, replace
from typing import Any

from torch_embed.encoding.adapters import Lora
from torch_embed.encoding.encoder import check_dtype, gpu_has_bfloat16
from torch_embed.encoding.shapes import shape_of
from torch_embed.errors import InputError

LOSSES = ("info-nce", "contrastive", "triplet", "alignment")
PAIRS_OF = {"info-nce": "liked", "contrastive": "disliked", "triplet": "profile", "alignment": None}
"""Which kind of training pairs a loss reads (see jaxrec's border); alignment reads targets."""
OF_RECIPE = ("folds", "per_user", "popularity")
"""What may be changed beside the settings."""


@dataclass(frozen=True)
class Settings:
    """All that decides how an encoder goes through its lesson."""

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


@dataclass(frozen=True)
class Recipe:
    """A fine-tuning, complete: what there is to decide beside the model."""

    settings: Settings
    lora: Lora | None = None
    """The adapters that are trained; None trains every weight."""
    nf4: bool = False
    """Hold the model in 4 bits."""
    folds: int = 1
    """Models for cross-fitting."""
    per_user: int = 10
    """Training pairs of a user."""
    popularity: float = 0.0
    """Power by which often liked items are drawn less (see `jaxrec.border.pairs`)."""

    @property
    def pairs(self) -> str | None:
        """The kind of training pairs that the loss reads; None where it reads targets."""
        return PAIRS_OF[self.settings.loss]

    @property
    def watched(self) -> bool:
        """Is every epoch judged, and the training stopped when it no longer gains?"""
        return self.settings.patience is not None

    @property
    def lesson(self) -> tuple[str | None, int, float, int, bool]:
        """What the lesson is to hold: pairs, how many a user, popularity, folds, validation out."""
        return self.pairs, self.per_user, self.popularity, self.folds, self.watched

    def with_seed(self, seed: int) -> "Recipe":
        """The same, with other draws."""
        return replace(self, settings=replace(self.settings, seed=seed))


PUBLISHED = Recipe(
    Settings(
        "info-nce", epochs=2, batch=16, rate=2e-5, warmup=100, max_tokens=128, mask=False,
        drop_last=True, patience=None,
    )
)  # fmt: skip
"""The recipe of the published reports: InfoNCE at scale 20 on 10 random liked pairs a user."""
PUBLISHED_LORA = replace(PUBLISHED, settings=replace(PUBLISHED.settings, epochs=3, patience=1))
"""Published adapters are trained three epochs and stopped early."""
BEST = Recipe(
    Settings("alignment", epochs=2, batch=32, rate=1e-4, warmup=50, max_tokens=48, tag_dropout=0.3),
    folds=3,
    popularity=0.5,
)
"""Alignment; rate, batch and epochs are the best of a few on one inner cold fold.

What they lost against is in benchmarks/LOG.md, the other losses in benchmarks/README.md. On items
that have ratings no loss is worth its time (see there)."""
PRESETS = {"best": (BEST, BEST), "published": (PUBLISHED, PUBLISHED_LORA)}
"""By name: to train all weights, and to train adapters."""


def resolve(
    model: str,
    preset: str | None = None,
    nf4: bool | None = None,
    lora: bool | None = None,
    modules: tuple[str, ...] = (),
    dtype: str | None = None,
    **changed: Any,
) -> Recipe:
    """The recipe that is asked for; whatever is None is as the preset and the model have it.

    Args:
        model: a short name, a hub id or a folder.
        preset: one of `PRESETS`; `best` by default.
        nf4: hold the model in 4 bits; by default a Qwen3, and nothing else.
        lora: train adapters, or every weight; by default adapters where `nf4` or `modules` want
            them.
        modules: the projections that are adapted; the model's queries and values by default.
        dtype: `float32` or `bfloat16` to compute in; by default bfloat16 on a GPU that has it.
        changed: what is not as in the preset, by the names of `Recipe` and `Settings`.

    Raises:
        InputError: no such model, no such arithmetic here, or the wishes contradict each other.
    """
    if dtype == "int8":
        raise InputError("8-bit integers have no gradients; give --dtype float32, or leave it out")
    check_dtype(dtype)
    large = shape_of(model).model_type.startswith("qwen")
    nf4 = large if nf4 is None else nf4
    if lora is False and nf4:
        raise InputError("--full trains no 4-bit weights; give --no-nf4 too, or --lora")
    if lora is False and modules:
        raise InputError("--full trains no adapters; leave --lora-module out, or give --lora")
    adapters = Lora(modules=modules or None) if lora or nf4 or modules else None
    chosen = PRESETS[preset or "best"][adapters is not None]
    asked = {name: value for name, value in changed.items() if value is not None}
    of_recipe = {name: asked.pop(name) for name in OF_RECIPE if name in asked}
    bfloat16 = dtype == "bfloat16" or (dtype is None and gpu_has_bfloat16())
    settings = replace(chosen.settings, bfloat16=bfloat16, **asked)
    return replace(chosen, settings=settings, lora=adapters, nf4=nf4, **of_recipe)
