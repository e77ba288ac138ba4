"""4-bit layers mean the same on processors that pack them and on those that do not."""

import numpy as np
import pytest
import torch

from tests.tiny_models import tiny_qwen3
from torch_embed.encoding.adapters import Lora, trainable
from torch_embed.encoding.encode import encode
from torch_embed.encoding.encoder import load_encoder
from torch_embed.encoding.nf4 import is_packed, layers

TEXTS = ["a b c", "d", "e f g h i j a b", "a", "b c d e"]

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Layers of 16 to 64 outputs and 32 or 64 inputs: some fit the packing, some do not."""
    return str(tiny_qwen3(tmp_path_factory.mktemp("qwen3"), hidden=64))


def test_gradients_through_4_bits_are_those_of_the_weights(folder: str, packing: bool) -> None:
    """Every layer's, after an evaluation, which packs where it may."""
    from bitsandbytes.functional import dequantize_4bit

    encoder = trainable(load_encoder(folder, "cpu", nf4=True), Lora())
    encoder.model.eval()
    encode(encoder, TEXTS)
    encoder.model.train()
    rng = torch.Generator().manual_seed(0)
    for layer in layers(encoder.model):
        x = torch.randn(5, layer.in_features, generator=rng, dtype=torch.bfloat16)
        x.requires_grad_()
        upstream = torch.randn(5, layer.out_features, generator=rng, dtype=torch.bfloat16)
        layer(x).backward(upstream)
        weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        assert x.grad is not None
        torch.testing.assert_close(x.grad, upstream @ weight.to(torch.bfloat16))


def test_a_training_step_leaves_evaluation_as_it_was(folder: str, packing: bool) -> None:
    encoder = trainable(load_encoder(folder, "cpu", nf4=True), Lora(dropout=0.0))
    encoder.model.eval()
    before = encode(encoder, TEXTS)
    encoder.model.train()
    tokens = encoder.tokenizer(TEXTS[:1], return_tensors="pt")
    encoder.model(**tokens).last_hidden_state.float().sum().backward()
    encoder.model.eval()
    np.testing.assert_array_equal(encode(encoder, TEXTS), before)


def test_a_processor_that_packs_encodes_the_same(folder: str, packing: bool) -> None:
    """To the eight bits of bfloat16; and only layers are packed that can be."""
    encoder = load_encoder(folder, "cpu", nf4=True)
    exact = trainable(load_encoder(folder, "cpu", nf4=True), Lora())
    exact.model.eval()
    assert (encode(encoder, TEXTS) * encode(exact, TEXTS)).sum(axis=1).min() > 1 - 1e-3
    for layer in layers(encoder.model):
        fits = layer.out_features % 32 == 0 and layer.in_features % 64 == 0
        assert is_packed(layer) == (packing and fits)
    assert not any(map(is_packed, layers(exact.model)))


def test_what_has_been_packed_is_not_trained(folder: str, packing: bool) -> None:
    encoder = load_encoder(folder, "cpu", nf4=True)
    encode(encoder, TEXTS)
    if not packing:
        trainable(encoder, Lora())
        return
    with pytest.raises(ValueError, match="evaluated in 4 bits; load it anew"):
        trainable(encoder, Lora())
