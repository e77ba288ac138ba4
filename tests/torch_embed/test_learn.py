"""From a lesson to a saved encoder: a small Qwen3 in NF4 with LoRA, a BERT in full."""

import json
import pkgutil
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from transformers import AutoModel

from tests.tiny_models import (
    WORDS,
    dense,
    pooling,
    tiny_bert,
    tiny_qwen3,
    with_modules,
    write_json,
)
from torch_embed.encoding.adapters import Lora, count, trainable
from torch_embed.encoding.encode import encode
from torch_embed.encoding.encoder import Encoder, load_encoder
from torch_embed.encoding.layout import lesson_of
from torch_embed.errors import InputError
from torch_embed.learn import learn
from torch_embed.training.finetune import Progress
from torch_embed.training.recipe import Recipe, Settings

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

SETTINGS = Settings(
    "alignment", epochs=6, batch=8, rate=1e-2, warmup=2, max_tokens=16, head_rate=1e-2,
    patience=None,
)  # fmt: skip
ITEMS = 40
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Targets that depend on the first word of a text, in the files that jaxrec writes."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    kind = np.arange(ITEMS) % 4
    texts = [
        " ".join([WORDS[5 + k], *rng.choice(WORDS[9:], 1 + i % 4)]) for i, k in enumerate(kind)
    ]
    table: dict[str, Any] = {"item": np.arange(ITEMS), "text": texts, "plain": texts}
    pl.DataFrame(table | {"fold": np.arange(ITEMS, dtype=np.int32) % 2}).write_parquet(
        folder / "texts.parquet"
    )
    # for each of two models what it may see; the first sees all if it is alone
    fold, items = np.divmod(np.arange(2 * ITEMS), ITEMS)
    save_file(
        {
            "fold": fold,
            "items": items,
            "targets": rng.normal(size=(4, 3)).astype(np.float32)[kind[items]],
            "weights": np.ones(len(items), np.float32),
            "features": np.ones((ITEMS, 1), np.float32),
        },
        folder / "targets.safetensors",
    )
    card = {"kind": None, "texts_sha256": "abc", "data": "planted"}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(scope="module")
def qwen3_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_qwen3(tmp_path_factory.mktemp("qwen3"), hidden=64))


def learned(
    base: str, data: Path, folder: Path, **more: Any
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    encoder = load_encoder(base, "cpu", **more.pop("loading", {}))
    of_recipe = {name: more.pop(name) for name in ("lora", "folds") if name in more}
    recipe = Recipe(more.pop("settings", SETTINGS), **of_recipe)
    out = folder / "E.safetensors"
    card = learn(encoder, data, recipe, out, folder / "encoder", **more)
    return card, load_file(out)["embeddings"]


def test_linear_layers_hold_4_bits(qwen3_folder: str, packing: bool) -> None:
    from bitsandbytes.nn import Linear4bit

    encoder = load_encoder(qwen3_folder, "cpu", nf4=True)
    layers = [m for m in encoder.model.modules() if isinstance(m, torch.nn.Linear)]
    assert layers
    assert all(isinstance(layer, Linear4bit) for layer in layers)
    for layer in layers:
        assert isinstance(layer, Linear4bit)
        assert layer.weight.dtype == torch.uint8
        assert layer.weight.numel() * 2 == layer.in_features * layer.out_features
        state = getattr(layer.weight, "quant_state")  # noqa: B009
        assert state.quant_type == "nf4"
        assert state.nested  # double quantisation
    assert encoder.card()["nf4"] is True
    whole = load_encoder(qwen3_folder, "cpu", nf4=False)
    assert count(encoder.model)[1] == count(whole.model)[1]


def test_a_small_qwen3_learns_in_4_bits_reloads_and_is_exported(
    qwen3_folder: str, data: Path, tmp_path: Path, packing: bool
) -> None:
    settings = replace(SETTINGS, epochs=20)
    card, E = learned(
        qwen3_folder, data, tmp_path, loading={"nf4": True}, lora=Lora(), settings=settings
    )
    losses = [of["loss"] for of in card["history"][1:]]
    assert losses[-1] < 0.03 < losses[0]
    # two layers: q_proj 64 -> 32, v_proj 64 -> 16, rank 16
    assert card["trained_parameters"] == 2 * 16 * ((64 + 32) + (64 + 16))
    assert card["nf4"] is True
    texts = pl.read_parquet(data / "texts.parquet")["text"].to_list()
    again = load_encoder(str(tmp_path / "encoder"), "cpu")
    np.testing.assert_allclose(encode(again, texts), E, atol=3e-2)
    alone = np.concatenate([encode(again, [text]) for text in texts[:12]])
    cosines = (alone * encode(again, texts)[:12]).sum(axis=1)
    assert cosines.min() > 1 - 1e-3  # bfloat16 has eight bits


def test_a_killed_run_in_4_bits_ends_like_an_unbroken_one(
    qwen3_folder: str, data: Path, tmp_path: Path, packing: bool
) -> None:
    class Killed(Exception):
        pass

    def dies(progress: Progress) -> None:
        if progress.step == 3:
            raise Killed

    settings = replace(SETTINGS, epochs=2, checkpoint_every=2)
    how: dict[str, Any] = {"loading": {"nf4": True}, "settings": settings}
    _, whole = learned(qwen3_folder, data, tmp_path / "whole", lora=Lora(), **how)
    with pytest.raises(Killed):
        learned(qwen3_folder, data, tmp_path / "broken", lora=Lora(), on_step=dies, **how)
    _, again = learned(qwen3_folder, data, tmp_path / "broken", lora=Lora(), **how)
    np.testing.assert_array_equal(again, whole)


def test_peft_and_sentence_transformers_load_an_adapter(
    qwen3_folder: str, data: Path, tmp_path: Path
) -> None:
    _, E = learned(qwen3_folder, data, tmp_path, lora=Lora())
    texts = pl.read_parquet(data / "texts.parquet")["text"].to_list()
    from peft import PeftModel

    saved = tmp_path / "encoder"
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(qwen3_folder), str(saved)).eval()
    tokenizer = load_encoder(qwen3_folder, "cpu").tokenizer
    with torch.no_grad():
        tokens = tokenizer(texts[:1], return_tensors="pt")
        hidden = model(**tokens).last_hidden_state[0, -1]
    np.testing.assert_allclose(torch.nn.functional.normalize(hidden, dim=0), E[0], atol=1e-4)
    own = load_encoder(str(saved), "cpu")
    alone = np.concatenate([encode(own, [text]) for text in texts])
    np.testing.assert_allclose(alone, encode(own, texts), atol=1e-3)
    sentence_transformers = pytest.importorskip("sentence_transformers")
    theirs = sentence_transformers.SentenceTransformer(str(saved), device="cpu").encode(texts)
    np.testing.assert_allclose(theirs, E, atol=1e-4)
    assert "PeftModel.from_pretrained" in (saved / "README.md").read_text()


def test_sentence_transformers_load_a_whole_model(data: Path, tmp_path: Path) -> None:
    _, E = learned(str(tiny_bert(tmp_path / "bert")), data, tmp_path)
    sentence_transformers = pytest.importorskip("sentence_transformers")
    texts = pl.read_parquet(data / "texts.parquet")["text"].to_list()
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    np.testing.assert_allclose(model.encode(texts), E, atol=1e-4)


@pytest.mark.parametrize("how", [{}, {"lora": Lora()}])
def test_whatever_an_encoder_embeds_says_what_taught_it(
    data: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    base = str(tiny_bert(tmp_path / "bert"))
    card, _ = learned(base, data, tmp_path, settings=replace(SETTINGS, epochs=1), **how)
    saved = str(tmp_path / "encoder")
    assert lesson_of(saved) == load_encoder(saved, "cpu").card()["training"] == card["training"]
    assert lesson_of(base) == {}
    assert "training" not in load_encoder(base, "cpu").card()


@pytest.mark.parametrize("adapters", [False, True])
def test_layers_prompt_and_windows_outlive_a_fine_tuning(
    data: Path, tmp_path: Path, adapters: bool
) -> None:
    """What is saved embeds as what was trained: by the layers as they were, after the prompt."""
    base = with_modules(
        tiny_bert(tmp_path / "bert"),
        pooling("weightedmean_tokens", "cls_token"),
        dense(64, 24),
        ("Normalize", {}, {}),
        dense(24, 8, "linear.Identity"),
    )
    told = {"prompts": {"passage": "a b "}}
    write_json(base / "config_sentence_transformers.json", told)
    write_json(base / "sentence_bert_config.json", {"max_seq_length": 6})
    before = load_encoder(str(base), "cpu", long="mean")
    card, E = learned(
        str(base), data, tmp_path, lora=Lora() if adapters else None, loading={"long": "mean"}
    )
    texts = pl.read_parquet(data / "texts.parquet")["text"].to_list()
    again = load_encoder(str(tmp_path / "encoder"), "cpu")
    np.testing.assert_allclose(encode(again, texts), E, atol=1e-4)
    assert np.abs(encode(before, texts) - E).max() > 1e-2
    torch.testing.assert_close(again.layers.state_dict(), before.layers.state_dict())
    kept = ("prompt", "long", "pooling", "layers", "max_length", "dim")
    assert [card[key] for key in kept] == [again.card()[key] for key in kept]
    assert (again.prompt, again.long) == ("a b ", "mean")
    assert card["weights_sha256"] == [again.weights_sha256]
    peer = pytest.importorskip("sentence_transformers")
    short = [text for text in texts if len(text.split()) < 3]
    model = peer.SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    theirs = model.encode(short, normalize_embeddings=True)
    np.testing.assert_allclose(encode(again, short), theirs, atol=1e-4)


def test_folds_are_saved_and_proved_one_by_one(data: Path, tmp_path: Path) -> None:
    _, E = learned(str(tiny_bert(tmp_path / "bert")), data, tmp_path, folds=2)
    table = pl.read_parquet(data / "texts.parquet")
    for fold in range(2):
        encoder = load_encoder(str(tmp_path / "encoder" / f"fold-{fold}"), "cpu")
        own = table["fold"].to_numpy() == fold
        found = encode(encoder, table["text"].to_list())
        np.testing.assert_allclose(found[own], E[own], atol=1e-4)
        assert np.abs(found[~own] - E[~own]).max() > 1e-2


@pytest.mark.parametrize("when", ["finetune.encode", "finetune.put_weights", "learn.prove"])
def test_a_folder_that_vanishes_while_an_encoder_learns_is_not_made_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    run, base = tmp_path / "run", str(tiny_bert(tmp_path / "bert"))
    lesson = shutil.copytree(data, run / "training" / "honest" / "a")
    module = "torch_embed.learn" if when == "learn.prove" else "torch_embed.training.finetune"
    place = f"{module}.{when.partition('.')[2]}"
    usual = pkgutil.resolve_name(place)

    def gone(*given: Any) -> Any:
        shutil.rmtree(run, ignore_errors=True)
        return usual(*given)

    monkeypatch.setattr(place, gone)
    recipe = Recipe(replace(SETTINGS, epochs=1), folds=2)
    places = run / "embeddings" / "a.safetensors", run / "encoders" / "honest" / "a"
    with pytest.raises(InputError, match=r"run was removed while this command wrote into it; give"):
        learn(load_encoder(base, "cpu"), lesson, recipe, *places)
    assert not run.exists()


def test_training_that_changes_nothing_fails_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=1, rate=0.0)
    with pytest.raises(RuntimeError, match="training changed nothing"):
        learned(str(tiny_bert(tmp_path / "bert")), data, tmp_path, settings=settings)
    assert not (tmp_path / "E.safetensors").exists()


@pytest.mark.parametrize("nf4", [False, True])
def test_an_encoder_that_was_saved_wrongly_fails(
    data: Path,
    tmp_path: Path,
    qwen3_folder: str,
    monkeypatch: pytest.MonkeyPatch,
    nf4: bool,
    packing: bool,
) -> None:
    """As a LoRA folder that silently loads the base model does."""
    base = qwen3_folder if nf4 else str(tiny_bert(tmp_path / "bert"))
    untouched = load_encoder(base, "cpu")

    def save(encoder: Encoder, folder: Path, card: dict, name: str) -> None:
        untouched.model.save_pretrained(folder)
        untouched.tokenizer.save_pretrained(folder)

    monkeypatch.setattr("torch_embed.learn.save_encoder", save)
    with pytest.raises(RuntimeError, match="gives other embeddings than what was trained"):
        learned(base, data, tmp_path, loading={"nf4": nf4}, lora=Lora() if nf4 else None)
    assert not (tmp_path / "encoder").exists()


def test_matryoshka_keeps_the_first_dimensions(
    qwen3_folder: str, data: Path, tmp_path: Path
) -> None:
    encoder = load_encoder(qwen3_folder, "cpu", dim=16)
    whole = encode(load_encoder(qwen3_folder, "cpu"), ["a b", "c"])[:, :16]
    expected = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(encode(encoder, ["a b", "c"]), expected, atol=1e-5)
    card, E = learned(qwen3_folder, data, tmp_path, lora=Lora(), loading={"dim": 16})
    assert (card["dim"], E.shape[1]) == (16, 16)
    sentence_transformers = pytest.importorskip("sentence_transformers")
    texts = pl.read_parquet(data / "texts.parquet")["text"].to_list()
    model = sentence_transformers.SentenceTransformer(
        str(tmp_path / "encoder"), device="cpu", truncate_dim=16
    )
    np.testing.assert_allclose(model.encode(texts, normalize_embeddings=True), E, atol=1e-4)
    assert "truncate_dim=16)\n" in (tmp_path / "encoder" / "README.md").read_text()
    with pytest.raises(InputError, match="no 100 dimensions; it has 64"):
        load_encoder(qwen3_folder, "cpu", dim=100)


def test_gradients_reach_adapters_through_checkpoints(qwen3_folder: str, packing: bool) -> None:
    encoder = trainable(load_encoder(qwen3_folder, "cpu", nf4=True), Lora())
    encoder.model.train()
    tokens = encoder.tokenizer(["a b c"], return_tensors="pt")
    encoder.model(**tokens).last_hidden_state.float().sum().backward()
    trained = [p for p in encoder.model.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None for p in trained)
    assert encoder.model.is_gradient_checkpointing
