"""4-bit layers (NF4 with double quantisation, Dettmers et al. 2023), as bitsandbytes makes them.

On a CPU with bfloat16 instructions (avx512_bf16) bitsandbytes packs a layer's weights for a faster
kernel at its first evaluation without gradients, and keeps them so. A training step through packed
weights has no gradient and says nothing; packing takes layers of some sizes only, and for others
stops with an assertion or an empty shape. So here layers of other sizes are never packed, and none
of a model that is to be trained.
"""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import BitsAndBytesConfig

PACKS = "support_avx512bf16_for_cpu"
"""The attribute of a layer by which bitsandbytes decides, if its version packs at all."""
PACKED_OUTPUTS = 32
"""Packing wants a multiple of so many outputs, and of a quantisation block's inputs."""


def quantisation() -> BitsAndBytesConfig:
    """NF4 with double quantisation, computing in bfloat16."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def is_nf4(model: torch.nn.Module) -> bool:
    """Has the model 4-bit layers?"""
    return any(True for _ in layers(model))


def layers(model: torch.nn.Module) -> Iterator[Any]:
    """The model's 4-bit layers, within adapters too."""
    for module in model.modules():
        # by name, for bitsandbytes takes long to import; an adapter's has the name, too
        kind = type(module)
        if kind.__name__ == "Linear4bit" and kind.__module__.startswith("bitsandbytes."):
            yield module


def pack_only_what_fits(model: torch.nn.Module) -> None:
    """Keep packing from the layers that it cannot hold; before the first evaluation."""
    for layer in layers(model):
        fits = (
            layer.out_features % PACKED_OUTPUTS == 0
            and layer.in_features % layer.weight.blocksize == 0
        )
        setattr(layer, PACKS, getattr(layer, PACKS, False) and fits)


def never_pack(model: torch.nn.Module) -> None:
    """Keep packing from every layer, for gradients to pass.

    Raises:
        ValueError: a layer is packed already; unpacked it would not be what it was.
    """
    for layer in layers(model):
        if is_packed(layer):
            raise ValueError("the model has been evaluated in 4 bits; load it anew to train it")
        setattr(layer, PACKS, False)


def is_packed(layer: Any) -> bool:
    """Has an evaluation packed this 4-bit layer?"""
    return getattr(layer.weight.quant_state, "packing_format_for_cpu", False)
