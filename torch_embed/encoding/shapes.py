"""What a model is like, before it is loaded: its configuration and how many weights it has."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PretrainedConfig, Qwen3Config

from torch_embed.encoding.layout import transformer_of
from torch_embed.errors import InputError
from torch_embed.hub import hub_source

QWEN3: dict[str, dict[str, Any]] = {
    "qwen3-0.6b": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28}
    | {"num_attention_heads": 16},
    "qwen3-4b": {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36}
    | {"num_attention_heads": 32},
    "qwen3-8b": {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36}
    | {"num_attention_heads": 32},
}
"""Shapes of Qwen3-Embedding, so that nothing need be downloaded to say that it will not fit."""
SHARED: dict[str, Any] = {
    "vocab_size": 151_665,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
}
"""What these have in common."""


def shape_of(model: str) -> PretrainedConfig:
    """The configuration of a model, known or read; InputError if it is neither."""
    if model in QWEN3:
        return Qwen3Config(**SHARED, **QWEN3[model])
    try:
        source, path = transformer_of(hub_source(model))
        return AutoConfig.from_pretrained(source, subfolder=path)
    except (OSError, ValueError) as error:
        raise InputError(f"model {model!r}: {str(error).splitlines()[0]}") from None


def parameters(config: PretrainedConfig) -> tuple[int, int]:
    """Weights of the linear layers, and all others."""
    with torch.device("meta"):
        network = AutoModel.from_config(config)
    linear = sum(
        module.weight.numel() for module in network.modules() if isinstance(module, torch.nn.Linear)
    )
    return linear, sum(p.numel() for p in network.parameters()) - linear
