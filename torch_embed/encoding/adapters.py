"""Makes a loaded encoder trainable: in full, or by low-rank adapters (LoRA, Hu et al. 2022)."""

from dataclasses import dataclass, replace

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from torch_embed.encoding.encoder import Encoder
from torch_embed.encoding.nf4 import never_pack
from torch_embed.errors import InputError

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "query", "key", "value")
"""Projections that may be adapted, as Qwen3 and BERT call them."""
MODULES = {"bert": ("query", "value")}
"""What is adapted by default, by type of model; else `q_proj` and `v_proj`."""


@dataclass(frozen=True)
class Lora:
    """Adapters; the defaults are the published ones."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.1
    modules: tuple[str, ...] | None = None
    """Which projections; the model's own queries and values by default."""


def with_lora(model: PreTrainedModel, lora: Lora) -> PeftModel:
    """The model with adapters, which alone are trained.

    Raises:
        InputError: the model has no such projection.
    """
    modules = lora.modules or MODULES.get(model.config.model_type, ("q_proj", "v_proj"))
    there = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    for module in modules:
        if module not in ATTENTION or module not in there:
            known = ", ".join(name for name in ATTENTION if name in there)
            raise InputError(f"no attention projection {module!r} in this model; it has {known}")
    return get_peft_model(
        model,
        LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(modules),
            task_type="FEATURE_EXTRACTION",
        ),
    )


def trainable(encoder: Encoder, lora: Lora | None) -> Encoder:
    """The encoder with parameters to train: all, or adapters.

    With adapters activations are computed again in the backward pass (gradient checkpointing), so
    that a large model leaves room for its batch.
    """
    model = encoder.model
    if lora is None:
        if model.dtype != torch.float32:
            model = model.float()  # steps of 2e-5 are lost in bfloat16's eight bits
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return replace(encoder, model=model)
    never_pack(model)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    torch.manual_seed(0)
    return replace(encoder, model=with_lora(model, lora))


def count(model: torch.nn.Module) -> tuple[int, int]:
    """Trainable parameters, and all; a 4-bit weight counts as what it stands for."""
    trained = total = 0
    for parameter in model.parameters():
        packed = getattr(parameter, "quant_state", None)
        size = packed.shape.numel() if packed is not None else parameter.numel()
        total += size
        trained += size if parameter.requires_grad else 0
    return trained, total
