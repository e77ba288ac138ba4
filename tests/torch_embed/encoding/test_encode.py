import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from jaxrec.border.embeddings import read_embeddings
from jaxrec.border.texts import texts_sha256, write_texts
from jaxrec.data.dataset import Dataset
from jaxrec.data.features import item_texts
from tests.tiny_models import tiny_bert, tiny_qwen3
from torch_embed import bert as torch_bert
from torch_embed.encoding import encode as encoding
from torch_embed.encoding.encode import batches, check, embed_file, encode, estimate_seconds, pool
from torch_embed.encoding.encoder import Encoder, load_encoder
from torch_embed.errors import InputError
from torch_embed.files import read_encoded, read_texts
from torch_embed.names import names_of

TEXTS = ["a b c", "d", "e f g h i j a b", "a", "b c d e"]
FIXTURE = Path(__file__).parents[2] / "fixtures" / "minilm_embeddings.npz"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return load_encoder(str(tiny_bert(tmp_path_factory.mktemp("bert"))), "cpu")


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return load_encoder(str(tiny_qwen3(tmp_path_factory.mktemp("qwen3"))), "cpu")


def test_minilm_says_what_sentence_transformers_says() -> None:
    stored = np.load(FIXTURE)
    encoder = load_encoder("minilm", "cpu")
    E = encode(encoder, stored["texts"].tolist())
    assert (E * stored["E"]).sum(1).min() >= 0.99999
    assert (encoder.pooling, encoder.tokenizer.padding_side) == ("mean", "right")
    assert encoder.max_length == 256
    assert encoder.weights_sha256 == (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )


def test_pooling_by_hand() -> None:
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]]])
    assert pool(hidden, torch.tensor([[1, 1, 0]]), "mean").tolist() == [[2, 4]]
    assert pool(hidden, torch.tensor([[0, 1, 1]]), "last").tolist() == [[9, 9]]
    assert pool(hidden, torch.tensor([[1, 1, 0]]), "cls").tolist() == [[1, 2]]


def test_pooling_and_padding_follow_the_model(bert: Encoder, qwen3: Encoder) -> None:
    assert (bert.pooling, bert.tokenizer.padding_side) == ("mean", "right")
    assert (qwen3.pooling, qwen3.tokenizer.padding_side) == ("last", "left")


def test_pooling_is_read_from_the_folder(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 3}')
    encoder = load_encoder(str(folder), "cpu")
    assert (encoder.pooling, encoder.max_length) == ("cls", 3)
    assert len(encoding.tokenize(encoder, ["a b c d"])[0]) == 3


@pytest.mark.parametrize("name", ["bert", "qwen3"])
def test_order_is_kept_and_batches_do_not_matter(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = request.getfixturevalue(name)
    monkeypatch.setattr(encoding, "BATCH_TOKENS", 16)
    together = encode(encoder, TEXTS)
    alone = np.concatenate([encode(encoder, [text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_batches_cover_every_text_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 130, 200).tolist()
    plan = list(batches(lengths, 100))
    assert sorted(i for batch in plan for i in batch) == list(range(200))
    for batch in plan:
        assert len(batch) * max(lengths[i] for i in batch) <= 100 or len(batch) == 1


def test_a_sound_encoder_passes_the_check(bert: Encoder, qwen3: Encoder) -> None:
    check(bert, TEXTS)
    check(qwen3, TEXTS)
    assert estimate_seconds(bert, TEXTS) > 0


def test_the_wrong_padding_side_is_refused(tmp_path: Path) -> None:
    encoder = load_encoder(str(tiny_bert(tmp_path)), "cpu")
    encoder.tokenizer.padding_side = "left"
    with pytest.raises(InputError, match=r"depends on its batch .* padding side 'left'"):
        check(encoder, TEXTS)


def test_a_file_is_not_embedded_by_an_unsound_encoder(synthetic: Dataset, tmp_path: Path) -> None:
    encoder = load_encoder(str(tiny_bert(tmp_path / "model")), "cpu")
    encoder.tokenizer.padding_side = "left"
    write_texts(tmp_path / "texts.parquet", synthetic, item_texts(synthetic))
    with pytest.raises(InputError, match="depends on its batch"):
        embed_file(encoder, tmp_path / "texts.parquet", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_only_ours_is_called_by_a_short_name(tmp_path: Path) -> None:
    (tmp_path / "minilm").mkdir()
    for ours in ("minilm", "sentence-transformers/all-MiniLM-L6-v2"):  # as cards have it
        assert names_of(ours) == ["minilm"]
    assert names_of("BAAI/bge-small") == ["bge-small", "baai-bge-small"]
    assert names_of("someone/minilm") == ["someone-minilm"]
    for taught in ("bert-ft", "bert-ft-draw2"):
        assert names_of(f"someone/{taught}") == [f"someone-{taught}"]
    first, second, *_ = names_of(str(tmp_path / "minilm"))
    assert first == f"{tmp_path.name.lower()}-minilm"
    assert second == f"{tmp_path.parent.name.lower()}-{first}"


@pytest.mark.parametrize("content", [None, "{", '{"model_type": "bert"}'])
def test_a_folder_without_a_model_is_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"cannot be loaded|no model in the folder") as raised:
        load_encoder(str(tmp_path))
    assert "\n" not in str(raised.value)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    encoder = load_encoder(str(tiny_bert(tmp_path)), "cpu")
    with torch.no_grad():
        next(encoder.model.parameters()).fill_(torch.nan)
    with pytest.raises(InputError, match="not finite"):
        check(encoder, TEXTS)


def test_bfloat16_is_refused_where_it_would_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    with pytest.raises(InputError, match="no bfloat16 arithmetic; leave --dtype out"):
        load_encoder("minilm", dtype="bfloat16")


def test_an_unknown_model_is_one_line() -> None:
    with pytest.raises(InputError, match="no model 'gpt'"):
        load_encoder("gpt")


def test_a_model_that_is_not_here_is_one_line_offline() -> None:
    with pytest.raises(InputError, match="model 'qwen3-4b' cannot be loaded") as raised:
        load_encoder("qwen3-4b")
    assert "\n" not in str(raised.value)


def test_embeddings_cross_the_border(synthetic: Dataset, bert: Encoder, tmp_path: Path) -> None:
    texts = item_texts(synthetic)
    write_texts(tmp_path / "texts.parquet", synthetic, texts)
    out = tmp_path / "embeddings" / "bert.safetensors"
    card = embed_file(bert, tmp_path / "texts.parquet", out)
    read = read_embeddings(out, synthetic.items, texts_sha256(synthetic, texts), "mend")
    assert read.E.tolist() == load_file(out)["embeddings"].tolist()
    assert read.card["dim"] == card["dim"] == 32
    assert {path.name for path in out.parent.iterdir()} == {"bert.safetensors", "bert.json"}
    assert json.loads(out.with_suffix(".json").read_text())["weights_sha256"]


def test_a_folder_that_vanishes_while_texts_are_encoded_is_not_made_again(
    synthetic: Dataset, bert: Encoder, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    write_texts(run / "texts.parquet", synthetic, item_texts(synthetic))

    def gone(texts: float) -> None:
        shutil.rmtree(run, ignore_errors=True)

    with pytest.raises(InputError, match=r"run was removed while this command wrote into it; give"):
        embed_file(bert, run / "texts.parquet", run / "embeddings" / "honest" / "a.st", gone)
    assert not run.exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"sha256": "another"}'])
def test_nothing_is_taken_from_embeddings_whose_card_is_damaged(
    synthetic: Dataset, bert: Encoder, tmp_path: Path, damage: str
) -> None:
    write_texts(tmp_path / "texts.parquet", synthetic, item_texts(synthetic))
    out = tmp_path / "bert.safetensors"
    embed_file(bert, tmp_path / "texts.parquet", out)
    assert read_encoded(out, bert.card())
    out.with_suffix(".json").write_text(damage)
    assert read_encoded(out, bert.card()) == {}


def test_texts_without_a_card_are_refused(synthetic: Dataset, tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.parquet", synthetic, item_texts(synthetic))
    (tmp_path / "texts.json").unlink()
    with pytest.raises(InputError, match=r"texts\.json: no such file"):
        read_texts(tmp_path / "texts.parquet")


def test_loading_prints_nothing() -> None:
    code = "from torch_embed.encoding.encoder import load_encoder; load_encoder('minilm')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_equal_texts_are_encoded_once(bert: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    windows = encoding._windows

    def counted(encoder: Encoder, texts: list[str], **how: Any) -> encoding.Windows:
        seen.append(len(texts))
        return windows(encoder, texts, **how)

    monkeypatch.setattr(encoding, "_windows", counted)
    E = encode(bert, ["a b", "c", "a b", "a b"])
    assert seen == [2]
    np.testing.assert_array_equal(E[[0, 0]], E[[2, 3]])
    assert not np.allclose(E[0], E[1])


@pytest.mark.parametrize("name", ["bert", "qwen3"])
def test_progress_is_work_and_ends_at_the_number_of_texts(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, told = request.getfixturevalue(name), list[float]()
    monkeypatch.setattr(encoding, "_plan", lambda encoder, lengths: list(batches(lengths, 12)))
    encode(encoder, [*TEXTS, "a"], told.append)  # equal texts count, too
    assert sum(told) == pytest.approx(6)
    assert told[0] > told[-1]  # the longest text is more work than the shortest


def test_the_check_sees_a_forward_pass_that_is_not_transformers(
    bert: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = encoding.bert.read(bert.model)
    wrong = weights._replace(places=weights.places.flip(0))
    monkeypatch.setattr(encoding.bert, "read", lambda *args: wrong)
    with pytest.raises(InputError, match="depends on its batch"):
        check(bert, TEXTS)


def test_cores_share_the_batches_and_get_their_threads_back(
    bert: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(encoding, "_plan", lambda encoder, lengths: list(batches(lengths, 6)))
    try:
        torch.set_num_threads(3)
        several = encode(bert, TEXTS)
        assert torch.get_num_threads() == 3
        torch.set_num_threads(1)
        np.testing.assert_allclose(encode(bert, TEXTS), several, atol=1e-6)
    finally:
        torch.set_num_threads(threads)


def on_a_processor(monkeypatch: pytest.MonkeyPatch, bfloat16: bool) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: bfloat16)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)


@pytest.mark.parametrize(("has_bfloat16", "dtype"), [(True, "bfloat16"), (False, "int8")])
def test_fast_is_what_the_processor_has_and_is_on_the_card(
    has_bfloat16: bool, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_processor(monkeypatch, has_bfloat16)
    monkeypatch.setattr("torch_embed.bert.engine", lambda: "x86")
    encoder = load_encoder(str(tiny_bert(tmp_path)), dtype="fast")
    assert encoder.card()["dtype"] == dtype


def test_fast_is_refused_where_nothing_is_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_processor(monkeypatch, bfloat16=False)
    with pytest.raises(InputError, match="int8 is for a plain BERT on a CPU; leave --fast"):
        load_encoder(str(tiny_qwen3(tmp_path)), dtype="int8")
    monkeypatch.setattr("torch_embed.bert.engine", lambda: None)
    with pytest.raises(InputError, match="nothing here is faster than float32; leave --fast out"):
        load_encoder("minilm", dtype="fast")
    with pytest.raises(InputError, match="multiplies no 8-bit integers; leave --dtype out"):
        load_encoder("minilm", dtype="int8")


@pytest.mark.skipif(torch_bert.engine() is None, reason="this torch multiplies no 8-bit integers")
def test_integers_embed_nearly_the_same(tmp_path: Path) -> None:
    stored = np.load(FIXTURE)
    encoder = load_encoder("minilm", "cpu", dtype="int8")
    check(encoder, stored["texts"].tolist())
    assert (encode(encoder, stored["texts"].tolist()) * stored["E"]).sum(1).min() > 0.97
