"""Prompts before texts, and texts that are longer than an encoder reads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer

from jaxrec.border.texts import write_texts
from jaxrec.data.dataset import Dataset
from tests.tiny_models import WORDS, pooling, tiny_bert, tiny_qwen3, with_modules, write_json
from torch_embed.encoding import encode as encoding
from torch_embed.encoding.encode import check, embed_file, encode, in_words, tokenize
from torch_embed.encoding.encoder import Encoder, load_encoder
from torch_embed.errors import InputError

LONG = "a b c d e f g h i j a"
TEXTS = ["a b c", LONG, "d"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Reads six tokens: `[CLS]`, four of the text, `[SEP]`."""
    folder = tiny_bert(tmp_path_factory.mktemp("bert"))
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 6})
    return str(folder)


def words(encoder: Encoder, tokens: list[int]) -> str:
    return " ".join(WORDS[token] for token in tokens)


def unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x / np.linalg.norm(x)


def test_a_long_text_is_cut(folder: str) -> None:
    encoder = load_encoder(folder, "cpu")
    assert words(encoder, tokenize(encoder, TEXTS)[1]) == "[CLS] a b c d [SEP]"
    theirs = encoder.tokenizer(TEXTS, truncation=True, max_length=6)["input_ids"]
    assert tokenize(encoder, TEXTS) == theirs
    np.testing.assert_array_equal(encode(encoder, [LONG]), encode(encoder, ["a b c d"]))


def test_windows_are_averaged_by_the_tokens_they_hold(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "BATCH_TOKENS", 12)
    encoder = load_encoder(folder, "cpu", long="mean")
    told: list[float] = []
    E = encode(encoder, TEXTS, told.append)
    parts = encode(encoder, ["a b c d", "e f g h", "i j a"])
    expected = unit(np.array([4, 4, 3]) @ parts)
    np.testing.assert_allclose(E[1], expected, atol=1e-6)
    short = load_encoder(folder, "cpu")
    np.testing.assert_allclose(E[[0, 2]], encode(short, TEXTS)[[0, 2]], atol=1e-6)
    assert sum(told) == pytest.approx(len(TEXTS))


def test_every_window_has_the_prompt(folder: str) -> None:
    encoder = load_encoder(folder, "cpu", prompt="j i ", long="mean")
    plain = load_encoder(folder, "cpu")
    E = encode(encoder, ["a b c", "d"])
    parts = encode(plain, ["j i a b", "j i c", "j i d"])
    np.testing.assert_allclose(E[0], unit(2 * parts[0] + parts[1]), atol=1e-6)
    np.testing.assert_allclose(E[1], parts[2], atol=1e-6)


def test_what_is_cut_for_training_is_the_text_and_not_the_prompt(folder: str) -> None:
    encoder = load_encoder(folder, "cpu", prompt="j ")
    assert words(encoder, tokenize(encoder, [LONG], most=4)[0]) == "[CLS] j a b [SEP]"
    assert words(encoder, tokenize(encoder, [LONG], most=9)[0]) == "[CLS] j a b c [SEP]"


def test_a_prompt_that_leaves_no_room_is_one_line(folder: str) -> None:
    with pytest.raises(InputError, match="leaves none to the texts; give a shorter --prompt"):
        encode(load_encoder(folder, "cpu", prompt="a b c d "), TEXTS)


def test_a_prompt_may_be_read_and_not_pooled(tmp_path: Path) -> None:
    folder = with_modules(tiny_bert(tmp_path), pooling("mean_tokens", include_prompt=False))
    encoder = load_encoder(str(folder), "cpu", prompt="j i ")
    tokens = encoder.tokenizer("j i a b c", return_tensors="pt")
    with torch.no_grad():
        hidden = encoder.model(**tokens).last_hidden_state[0, 3:]  # after [CLS] j i
    np.testing.assert_allclose(encode(encoder, TEXTS)[0], unit(hidden.mean(0).numpy()), atol=1e-6)


def test_sentence_transformers_prompt_alike(tmp_path: Path) -> None:
    """Pooled with the prompt and without it, padded on either side."""
    peer = pytest.importorskip("sentence_transformers")
    for tiny, flag, end in (
        (tiny_bert, "cls_token", "[SEP]"),
        (tiny_qwen3, "mean_tokens", "[END]"),
    ):
        for include in (True, False):
            folder = tmp_path / f"{tiny.__name__}-{include}"
            with_modules(tiny(folder), pooling(flag, include_prompt=include))
            tokenizer = AutoTokenizer.from_pretrained(folder)
            tokenizer.sep_token = end  # by which they know that the prompt has ended
            tokenizer.save_pretrained(folder)
            told = {"prompts": {"document": "a b "}, "default_prompt_name": "document"}
            write_json(folder / "config_sentence_transformers.json", told)
            encoder = load_encoder(str(folder), "cpu")
            model = peer.SentenceTransformer(str(folder), device="cpu")
            expected = model.encode(TEXTS, normalize_embeddings=True)
            np.testing.assert_allclose(encode(encoder, TEXTS), expected, atol=1e-5)
            check(encoder, TEXTS)
            bare = load_encoder(str(folder), "cpu", prompt="")
            expected = model.encode(TEXTS, prompt="", normalize_embeddings=True)
            np.testing.assert_allclose(encode(bare, TEXTS), expected, atol=1e-5)


def test_the_card_says_what_became_of_long_texts(
    folder: str, synthetic: Dataset, tmp_path: Path
) -> None:
    items = synthetic.items
    texts = ["a b c"] * (items - 2) + [LONG, f"{LONG} b"]
    write_texts(tmp_path / "texts.parquet", synthetic, texts)
    out = tmp_path / "E.safetensors"
    card = embed_file(load_encoder(folder, "cpu"), tmp_path / "texts.parquet", out)
    assert json.loads(out.with_suffix(".json").read_text())["too_long"] == 2
    assert in_words(card) == (
        f"embeddings of 32 dimensions; 2 of {items:,} texts were cut: the longest has 14 tokens,"
        " the encoder reads 6; --long mean reads all of them in windows"
    )
    assert in_words(card | {"long": "mean"}).endswith(
        f"2 of {items:,} texts were read in windows of 6 tokens: the longest has 14 tokens"
    )
    assert in_words(card | {"too_long": 0}) == "embeddings of 32 dimensions"


@pytest.mark.parametrize(("how", "again"), [({}, 0), ({"prompt": "a "}, 3), ({"long": "mean"}, 3)])
def test_texts_that_were_read_otherwise_are_encoded_again(
    folder: str,
    synthetic: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: dict[str, Any],
    again: int,
) -> None:
    texts = [TEXTS[item % 3] for item in range(synthetic.items)]
    write_texts(tmp_path / "texts.parquet", synthetic, texts)
    first = tmp_path / "first.safetensors"
    embed_file(load_encoder(folder, "cpu"), tmp_path / "texts.parquet", first)
    encoded: list[str] = []

    def watched(encoder: Encoder, texts: list[str], *more: object) -> NDArray[np.float32]:
        encoded.extend(texts)
        return encode(encoder, texts)

    monkeypatch.setattr(encoding, "encode", watched)
    encoder = load_encoder(folder, "cpu", **how)
    out = tmp_path / "again.safetensors"
    card = embed_file(encoder, tmp_path / "texts.parquet", out, reuse=[first])
    assert len(encoded) == again
    assert card["prompt"] == how.get("prompt", "")
    assert card["long"] == how.get("long", "cut")
