"""Encoders small enough to be made by a test: a BERT and a Qwen3 with a word tokenizer."""

from pathlib import Path
from typing import Any

import torch
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
