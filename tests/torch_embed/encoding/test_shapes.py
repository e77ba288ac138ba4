"""Models known by their shapes alone."""

import pytest
import torch
from transformers import AutoModel, Qwen3Config

from torch_embed.encoding.adapters import Lora, count, with_lora
from torch_embed.encoding.shapes import QWEN3, SHARED, parameters, shape_of
from torch_embed.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_the_published_share_of_parameters() -> None:
    config = Qwen3Config(**SHARED, **QWEN3["qwen3-4b"])
    with torch.device("meta"):
        model = with_lora(AutoModel.from_config(config), Lora())
    assert count(model) == (5_898_240, 4_027_672_576)


def test_a_shape_says_how_many_weights() -> None:
    linear, other = parameters(shape_of("qwen3-4b"))
    assert linear + other == 4_027_672_576 - 5_898_240  # without the adapters
    with pytest.raises(InputError, match="no model 'gpt'"):
        shape_of("gpt")
