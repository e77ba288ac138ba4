"""Encoders small enough to be made by a test: a BERT and a Qwen3 with a word tokenizer."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
)

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[END]",
    *["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"],
]
SIZES: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def tiny_bert(folder: Path) -> Path:
    """Mean pooling by default, `[CLS] ... [SEP]` around a text."""
    torch.manual_seed(0)
    return _save(folder, BertModel(BertConfig(**SIZES)), "[CLS] $A [SEP]")


def tiny_qwen3(folder: Path, hidden: int = 32) -> Path:
    """Causal; its tokenizer appends the end token, as that of Qwen3-Embedding does."""
    torch.manual_seed(0)
    config = Qwen3Config(**SIZES | {"hidden_size": hidden}, num_key_value_heads=2, head_dim=8)
    return _save(folder, Qwen3Model(config), "$A [END]")


def with_modules(
    folder: Path, *modules: tuple[str, dict[str, Any], dict[str, torch.Tensor]]
) -> Path:
    """List modules after the transformer of a folder: kind, configuration and weights of each."""
    listed = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    for number, (kind, config, weights) in enumerate(modules, 1):
        place = folder / f"{number}_{kind}"
        place.mkdir()
        write_json(place / "config.json", config)
        if weights:
            save_file(weights, place / "model.safetensors")
        listed.append({"path": place.name, "type": f"sentence_transformers.models.{kind}"})
    for number, module in enumerate(listed):
        module["name"] = str(number)
    write_json(folder / "modules.json", listed)
    return folder


def pooling(*flags: str, width: int = 32, **more: Any) -> tuple[str, dict[str, Any], dict]:
    """A Pooling module with these flags on, as older versions write them."""
    on = {f"pooling_mode_{flag}": True for flag in flags}
    return "Pooling", {"word_embedding_dimension": width} | on | more, {}


def dense(
    inputs: int, outputs: int, activation: str | None = "activation.Tanh", bias: bool = True
) -> tuple[str, dict[str, Any], dict[str, torch.Tensor]]:
    """A Dense module with weights drawn by a seed."""
    rng = torch.Generator().manual_seed(1)
    weights = {"linear.weight": torch.randn(outputs, inputs, generator=rng)}
    if bias:
        weights["linear.bias"] = torch.randn(outputs, generator=rng)
    config: dict[str, Any] = {"in_features": inputs, "out_features": outputs, "bias": bias}
    if activation is not None:
        config["activation_function"] = f"torch.nn.modules.{activation}"
    return "Dense", config, weights


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _save(folder: Path, model: PreTrainedModel, template: str) -> Path:
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    specials = [(word, WORDS.index(word)) for word in template.split() if word != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=specials
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    )
    fast.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder
