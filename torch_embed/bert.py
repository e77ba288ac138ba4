"""BERT's layers (Devlin et al. 2019) without padding: the tokens of all texts one after another.

Only attention sees where a text ends. On a CPU little is left beside the matrix products, which
can be of 8-bit integers, too. transformers' own forward pass stays the reference:
`encode.check` compares the two before anything is embedded.
"""

import warnings
from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding, gelu, layer_norm, linear, scaled_dot_product_attention
from transformers import BertModel

Linear = Callable[[Tensor], Tensor]
"""[tokens, in] to [tokens, out]."""
ENGINES = ("onednn", "x86")
"""What multiplies 8-bit integers, the fastest first."""


class Norm(NamedTuple):
    """Layer normalisation over the last axis."""

    scale: Tensor
    shift: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.scale.shape, self.scale, self.shift, self.eps)


class Layer(NamedTuple):
    """One of BERT's layers."""

    query_key_value: Linear
    out: Linear
    norm: Norm
    up: Linear
    down: Linear
    last_norm: Norm


class Bert(NamedTuple):
    """A BERT's weights, as `forward` reads them."""

    words: Tensor
    """[vocabulary, width]"""
    places: Tensor
    """[positions, width], what every token has besides its word."""
    norm: Norm
    layers: list[Layer]
    heads: int


def is_plain(model: Any) -> bool:
    """Is it a BERT on a CPU and nothing else: no adapters, no 4-bit layers, no decoder?"""
    if type(model) is not BertModel or model.device.type != "cpu":
        return False
    config = model.config
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    return (
        config.hidden_act == "gelu"
        and not (config.is_decoder or config.add_cross_attention)
        and all(type(module) is torch.nn.Linear for module in linears)
    )


def engine() -> str | None:
    """What multiplies 8-bit integers here; None if nothing does."""
    if not hasattr(torch, "quantize_per_channel"):
        return None
    supported = torch.backends.quantized.supported_engines
    return next((name for name in ENGINES if name in supported), None)


@torch.no_grad()
def read(model: Any, int8: bool = False) -> Bert:
    """The weights of a plain BERT; with `int8` those of its layers as 8-bit integers."""
    of, at = (_int8 if int8 else _exact), model.embeddings
    return Bert(
        at.word_embeddings.weight,
        at.position_embeddings.weight + at.token_type_embeddings.weight[0],
        _norm(at.LayerNorm),
        [
            Layer(
                of(
                    layer.attention.self.query, layer.attention.self.key, layer.attention.self.value
                ),
                of(layer.attention.output.dense),
                _norm(layer.attention.output.LayerNorm),
                of(layer.intermediate.dense),
                of(layer.output.dense),
                _norm(layer.output.LayerNorm),
            )
            for layer in model.encoder.layer
        ],
        model.config.num_attention_heads,
    )


def _norm(module: torch.nn.LayerNorm) -> Norm:
    return Norm(module.weight, module.bias, module.eps)


def _stacked(modules: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    return torch.cat([m.weight for m in modules]), torch.cat([m.bias for m in modules])


def _exact(*modules: Any) -> Linear:
    """Several layers of one input as one."""
    weight, bias = _stacked(modules)
    return lambda x: linear(x, weight, bias)


def _int8(*modules: Any) -> Linear:
    """The same; weights in 8 bits by outputs, what comes in by a scale for the batch."""
    weight, bias = _stacked(modules)
    scale = weight.abs().amax(1).clamp(min=1e-12).double() / 127
    zero = torch.zeros(len(weight), dtype=torch.long)
    previous = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine() or previous
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a torch that will drop such tensors
            in_8_bits = torch.quantize_per_channel(weight.float(), scale, zero, 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(in_8_bits, bias.float())
    finally:
        torch.backends.quantized.engine = previous
    return lambda x: torch.ops.quantized.linear_dynamic(x, packed, False)


def forward(bert: Bert, tokens: list[list[int]]) -> Tensor:
    """[all tokens, width] the last hidden states of the texts, one text after another.

    Args:
        bert: the weights.
        tokens: ids of each text; texts of equal length best stand together.
    """
    lengths = [len(ids) for ids in tokens]
    ids = torch.tensor([token for text in tokens for token in text])
    places = torch.cat([torch.arange(length) for length in lengths])
    x = bert.norm(embedding(ids, bert.words) + embedding(places, bert.places))
    for layer in bert.layers:
        mixed = _attention(layer.query_key_value(x), lengths, bert.heads)
        x = layer.norm(x + layer.out(mixed))
        x = layer.last_norm(x + layer.down(gelu(layer.up(x))))
    return x


def _attention(qkv: Tensor, lengths: list[int], heads: int) -> Tensor:
    """[tokens, width] of [tokens, 3 width]: each text's tokens attend to one another."""
    parts, start = [], 0
    for length, run in groupby(lengths):
        texts = len(list(run))
        own = qkv[start : start + texts * length].view(texts, length, 3, heads, -1)
        query, key, value = own.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value)
        parts.append(mixed.transpose(1, 2).reshape(texts * length, -1))
        start += texts * length
    return parts[0] if len(parts) == 1 else torch.cat(parts)
