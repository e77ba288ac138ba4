"""What is asked for, and what is made of it."""

from typing import Any

import pytest

from torch_embed.encoding.adapters import Lora
from torch_embed.errors import InputError
from torch_embed.training import recipe
from torch_embed.training.recipe import BEST, LOSSES, PUBLISHED, resolve

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "gpu_has_bfloat16", lambda: False)


def test_nothing_asked_is_the_preset() -> None:
    assert resolve("minilm") == BEST
    assert resolve("minilm", "published") == PUBLISHED
    unset: dict[str, Any] = {"epochs": None, "folds": None, "nf4": None, "lora": None}
    assert resolve("minilm", None, dtype=None, **unset) == BEST


@pytest.mark.parametrize(
    ("model", "asked", "nf4", "lora"),
    [
        ("minilm", {}, False, None),
        ("minilm", {"lora": True}, False, Lora()),
        ("minilm", {"nf4": True}, True, Lora()),
        ("minilm", {"modules": ("key",)}, False, Lora(modules=("key",))),
        ("qwen3-0.6b", {}, True, Lora()),
        ("qwen3-0.6b", {"nf4": False}, False, None),
        ("qwen3-0.6b", {"nf4": False, "lora": False}, False, None),
        ("qwen3-0.6b", {"modules": ("o_proj",)}, True, Lora(modules=("o_proj",))),
    ],
)
def test_a_large_model_is_held_in_4_bits_and_adapted(
    model: str, asked: dict[str, Any], nf4: bool, lora: Lora | None
) -> None:
    found = resolve(model, **asked)
    assert (found.nf4, found.lora) == (nf4, lora)


def test_published_adapters_are_watched() -> None:
    whole, adapted = (resolve("minilm", "published", lora=lora) for lora in (False, True))
    assert (whole.settings.epochs, whole.watched) == (2, False)
    assert (adapted.settings.epochs, adapted.watched) == (3, True)


def test_what_is_asked_for_goes_where_it_belongs() -> None:
    found = resolve("minilm", epochs=7, mask=False, folds=2, per_user=3, popularity=0.0)
    assert (found.settings.epochs, found.settings.mask) == (7, False)
    assert (found.folds, found.per_user, found.popularity) == (2, 3, 0.0)
    assert found.settings.rate == BEST.settings.rate
    assert found.with_seed(5).settings.seed == 5


def test_a_loss_says_what_it_reads() -> None:
    kinds = [resolve("minilm", loss=loss).pairs for loss in LOSSES]
    assert kinds == ["liked", "disliked", "profile", None]


def test_a_gpu_computes_in_bfloat16_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "check_dtype", lambda dtype: None)
    assert not resolve("minilm").settings.bfloat16
    assert resolve("minilm", dtype="bfloat16").settings.bfloat16
    monkeypatch.setattr(recipe, "gpu_has_bfloat16", lambda: True)
    assert resolve("minilm").settings.bfloat16
    assert not resolve("minilm", dtype="float32").settings.bfloat16


@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        ("minilm", {"lora": False, "nf4": True}, "--full trains no 4-bit weights; give --no-nf4"),
        ("qwen3-4b", {"lora": False}, "--full trains no 4-bit weights; give --no-nf4 too"),
        ("minilm", {"lora": False, "modules": ("key",)}, "--full trains no adapters; leave --lora"),
        ("gpt", {}, "no model 'gpt'"),
    ],
)
def test_contradictions_are_one_line(model: str, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        resolve(model, **asked)
    assert "\n" not in str(refused.value)
