from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, Qwen3Config, Qwen3Model

from tests.tiny_models import SIZES
from torch_embed import bert

TEXTS = [[2, 5, 6, 7, 8, 3], [2, 9, 8, 7, 6, 3], [2, 5, 3], [2, 3]]


def a_bert(**changed: object) -> BertModel:
    torch.manual_seed(0)
    model = BertModel(BertConfig(**SIZES | changed)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # biases and norms that are not 0 and 1
    return model


@torch.inference_mode()
def by_transformers(model: BertModel) -> torch.Tensor:
    """[all tokens, width], each text alone."""
    return torch.cat([model(torch.tensor([ids])).last_hidden_state[0] for ids in TEXTS])


def test_texts_end_to_end_are_what_transformers_makes_of_each() -> None:
    model = a_bert()
    with torch.inference_mode():
        hidden = bert.forward(bert.read(model), TEXTS)
    torch.testing.assert_close(hidden, by_transformers(model), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(bert.engine() is None, reason="this torch multiplies no 8-bit integers")
def test_integers_are_near_and_leave_torch_as_it_was() -> None:
    model, before = a_bert(), torch.backends.quantized.engine
    with torch.inference_mode():
        hidden = bert.forward(bert.read(model, int8=True), TEXTS)
    exact = by_transformers(model)
    gap = float((hidden - exact).norm() / exact.norm())
    assert 1e-4 < gap < 0.1
    assert torch.backends.quantized.engine == before


def test_what_is_not_a_plain_bert_is_left_to_transformers() -> None:
    class Other(BertModel):
        pass

    assert bert.is_plain(a_bert())
    assert not bert.is_plain(Other(BertConfig(**SIZES)))
    assert not bert.is_plain(a_bert(hidden_act="relu"))
    assert not bert.is_plain(a_bert(is_decoder=True))
    assert not bert.is_plain(Qwen3Model(Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=8)))
    replaced: Any = a_bert()
    replaced.encoder.layer[0].output.dense = torch.nn.LazyLinear(32)  # as packed layers are
    assert not bert.is_plain(replaced)
