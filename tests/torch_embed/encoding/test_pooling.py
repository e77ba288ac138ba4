"""Everything that an encoder's files list is applied, as sentence-transformers applies it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn.functional import normalize

from tests.tiny_models import dense, pooling, tiny_bert, tiny_qwen3, with_modules, write_json
from torch_embed.encoding.encode import check, encode
from torch_embed.encoding.encoder import load_encoder
from torch_embed.encoding.pooling import pool
from torch_embed.errors import InputError

TEXTS = ["a b c", "d", "e f g h i j a b", "a", "b c d e"]
HIDDEN = torch.tensor([[[1.0, 8.0], [3.0, 6.0], [5.0, 2.0], [9.0, 9.0]]])

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("cls", [1, 8]),
        ("last", [5, 2]),
        ("max", [5, 8]),
        ("mean", [3, 16 / 3]),
        ("mean_sqrt_len", [9 / 3**0.5, 16 / 3**0.5]),
        ("weightedmean", [(1 + 6 + 15) / 6, (8 + 12 + 6) / 6]),
        ("max+cls", [5, 8, 1, 8]),
    ],
)
def test_a_mode_by_hand_whichever_side_is_padded(mode: str, expected: list[float]) -> None:
    right = pool(HIDDEN, torch.tensor([[1, 1, 1, 0]]), mode)
    left = pool(HIDDEN.roll(1, dims=1), torch.tensor([[0, 1, 1, 1]]), mode)
    torch.testing.assert_close(right, torch.tensor([expected], dtype=torch.float32))
    torch.testing.assert_close(left, torch.tensor([expected], dtype=torch.float32))


@pytest.mark.parametrize(
    ("mode", "expected"), [("cls", [3, 6]), ("mean", [4, 4]), ("weightedmean", [4.2, 3.6])]
)
def test_tokens_of_a_prompt_can_be_left_out(mode: str, expected: list[float]) -> None:
    """Those that stay keep their weights."""
    pooled = pool(HIDDEN, torch.tensor([[1, 1, 1, 0]]), mode, skip=1)
    torch.testing.assert_close(pooled, torch.tensor([expected], dtype=torch.float32))


def hidden_means(folder: Path) -> torch.Tensor:
    """[texts, 32] the oracle's pooled embeddings: one text at a time, so that nothing is padded."""
    encoder = load_encoder(str(folder), "cpu")
    with torch.no_grad():
        each = [encoder.model(**encoder.tokenizer(text, return_tensors="pt")) for text in TEXTS]
    return torch.stack([hidden.last_hidden_state[0].mean(0) for hidden in each])


def test_layers_after_the_pooling_are_applied(tmp_path: Path) -> None:
    norm = {"norm.weight": torch.linspace(0.5, 2, 24), "norm.bias": torch.linspace(-1, 1, 24)}
    _, _, weights = dense(32, 24)
    folder = with_modules(
        tiny_bert(tmp_path),
        pooling("mean_tokens"),
        ("Dropout", {"dropout": 0.5}, {}),
        dense(32, 24),
        ("LayerNorm", {"dimension": 24}, norm),
        ("Normalize", {}, {}),
        dense(24, 8, "linear.Identity", bias=False),
    )
    x = torch.tanh(hidden_means(folder) @ weights["linear.weight"].T + weights["linear.bias"])
    x = torch.nn.functional.layer_norm(x, (24,), norm["norm.weight"], norm["norm.bias"])
    x = normalize(x, dim=-1) @ dense(24, 8, bias=False)[2]["linear.weight"].T
    encoder = load_encoder(str(folder), "cpu")
    np.testing.assert_allclose(encode(encoder, TEXTS), normalize(x, dim=-1), atol=1e-5)
    check(encoder, TEXTS)
    assert [layer["type"] for layer in encoder.card()["layers"]] == [
        "Dense", "LayerNorm", "Normalize", "Dense"
    ]  # fmt: skip


def test_dimensions_are_cut_after_all_layers(tmp_path: Path) -> None:
    folder = with_modules(
        tiny_bert(tmp_path), pooling("mean_tokens"), dense(32, 24), ("Normalize", {}, {})
    )
    whole = encode(load_encoder(str(folder), "cpu"), TEXTS)
    expected = whole[:, :5] / np.linalg.norm(whole[:, :5], axis=1, keepdims=True)
    np.testing.assert_allclose(
        encode(load_encoder(str(folder), "cpu", dim=5), TEXTS), expected, atol=1e-5
    )
    with pytest.raises(InputError, match="no 25 dimensions; it has 24"):
        load_encoder(str(folder), "cpu", dim=25)


def test_weights_of_a_layer_may_be_in_torchs_format_and_are_part_of_the_hash(
    tmp_path: Path,
) -> None:
    folder = with_modules(tiny_bert(tmp_path), pooling("mean_tokens"), dense(32, 24))
    before = load_encoder(str(folder), "cpu")
    safe = folder / "2_Dense" / "model.safetensors"
    weights = load_file(safe)
    safe.unlink()
    torch.save(weights, folder / "2_Dense" / "pytorch_model.bin")
    again = load_encoder(str(folder), "cpu")
    np.testing.assert_array_equal(encode(again, TEXTS), encode(before, TEXTS))
    weights["linear.bias"] += 1
    torch.save(weights, folder / "2_Dense" / "pytorch_model.bin")
    assert load_encoder(str(folder), "cpu").weights_sha256 != again.weights_sha256


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (dense(16, 8), r"Dense in 2_Dense takes 16 dimensions, but gets 32"),
        (dense(32, 8, "sparse.Foo"), r"activation torch\.nn\.modules\.sparse\.Foo"),
        (("Dense", dense(32, 8)[1], {}), "2_Dense has no weights"),
        (("Dense", dense(32, 8)[1], dense(32, 9)[2]), "not the weights of Dense"),
        (("Dense", dense(32, 32)[1] | {"use_residual": True}, {}), "adds a residual"),
    ],
)
def test_a_layer_that_cannot_be_applied_is_one_line(
    tmp_path: Path, module: tuple[str, dict[str, Any], dict], message: str
) -> None:
    folder = with_modules(tiny_bert(tmp_path), pooling("mean_tokens"), module)
    with pytest.raises(InputError, match=message) as raised:
        load_encoder(str(folder), "cpu")
    assert "\n" not in str(raised.value)


def theirs(folder: Path, **how: Any) -> NDArray[np.float32]:
    """The peer's embeddings, scaled to length 1 as ours are."""
    peer = pytest.importorskip("sentence_transformers")
    model = peer.SentenceTransformer(str(folder), device="cpu", **how)
    return model.encode(TEXTS, normalize_embeddings=True)


@pytest.mark.parametrize(
    "modules",
    [
        [pooling("mean_tokens"), dense(32, 24)],
        [pooling("mean_tokens"), dense(32, 24, "activation.GELU", bias=False)],
        [pooling("mean_tokens"), dense(32, 24, None)],
        [pooling("weightedmean_tokens")],
        [pooling("max_tokens"), ("Normalize", {}, {})],
        [pooling("mean_sqrt_len_tokens")],
        [pooling("lasttoken")],
        [pooling("mean_tokens", "cls_token", "lasttoken"), dense(96, 8)],
        [pooling(pooling_mode=["mean", "cls"]), dense(64, 8)],
    ],
)
def test_sentence_transformers_embed_alike(tmp_path: Path, modules: list) -> None:
    folder = with_modules(tiny_bert(tmp_path), *modules)
    encoder = load_encoder(str(folder), "cpu")
    np.testing.assert_allclose(encode(encoder, TEXTS), theirs(folder), atol=1e-5)
    check(encoder, TEXTS)


def test_an_older_model_in_a_sub_folder_is_embedded_alike(tmp_path: Path) -> None:
    folder = with_modules(tiny_qwen3(tmp_path), pooling("weightedmean_tokens"), dense(32, 24))
    inner = folder / "0_Transformer"
    inner.mkdir()
    for path in [*folder.glob("*.*")]:
        if path.name != "modules.json":
            shutil.move(path, inner)
    listed = (folder / "modules.json").read_text()
    (folder / "modules.json").write_text(listed.replace('"path": ""', '"path": "0_Transformer"'))
    write_json(inner / "sentence_bert_config.json", {"max_seq_length": 5})
    encoder = load_encoder(str(folder), "cpu")
    assert encoder.max_length == 5
    np.testing.assert_allclose(encode(encoder, TEXTS), theirs(folder), atol=1e-5)
