"""What an encoder's files say is done, or refused in a line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import RobertaConfig, T5Config

from tests.tiny_models import dense, pooling, tiny_bert, tiny_qwen3, with_modules, write_json
from torch_embed.encoding.encode import encode
from torch_embed.encoding.encoder import load_encoder
from torch_embed.encoding.layout import longest, read_layout, token_lengths, token_limit
from torch_embed.errors import InputError

PROMPTS = "config_sentence_transformers.json"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as raised:
        load_encoder(str(folder), "cpu")
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("kind", ["CNN", "LSTM", "WordWeights", "Router"])
def test_a_module_that_is_not_known_is_named(tmp_path: Path, kind: str) -> None:
    folder = with_modules(tiny_bert(tmp_path), pooling("mean_tokens"), (kind, {}, {}))
    line = refused(folder)
    assert f"module sentence_transformers.models.{kind} (in 2_{kind})" in line
    assert str(folder) in line


def test_a_module_of_the_models_own_is_named(tmp_path: Path) -> None:
    folder = with_modules(tiny_bert(tmp_path), pooling("mean_tokens"))
    write_json(folder / "modules.json", [{"type": "custom_st.Transformer", "path": ""}])
    assert "module custom_st.Transformer (in its root)" in refused(folder)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([], "lists no Pooling"),
        ([dense(32, 8), pooling("mean_tokens")], "lists Transformer, Dense, Pooling"),
        ([pooling("mean_tokens"), pooling("cls_token")], "Transformer, Pooling, Pooling"),
        ([pooling("attention")], "pooling 'pooling_mode_attention' in 1_Pooling is not one of"),
        ([pooling(pooling_mode="attention")], "pooling 'attention' in 1_Pooling is not one of"),
        (
            [
                pooling("mean_tokens"),
                ("Dense", dense(32, 8)[1] | {"module_input_name": "token_embeddings"}, {}),
            ],
            "Dense in 2_Dense is applied to token_embeddings",
        ),
    ],
)
def test_what_cannot_be_done_in_that_order_is_one_line(
    tmp_path: Path, modules: list, message: str
) -> None:
    assert message in refused(with_modules(tiny_bert(tmp_path), *modules))


def test_a_listed_folder_that_is_absent_is_named(tmp_path: Path) -> None:
    folder = with_modules(tiny_bert(tmp_path), pooling("mean_tokens"))
    (folder / "1_Pooling" / "config.json").unlink()
    assert "lists 1_Pooling, but 1_Pooling/config.json is not there" in refused(folder)


def test_a_layer_that_no_list_names_is_not_left_out(tmp_path: Path) -> None:
    folder = with_modules(tiny_bert(tmp_path), pooling("mean_tokens"), dense(32, 8))
    (folder / "modules.json").unlink()
    assert "2_Dense is a module's, but there is no modules.json" in refused(folder)


@pytest.mark.parametrize(("tiny", "assumed"), [(tiny_bert, "mean"), (tiny_qwen3, "last")])
def test_an_assumed_pooling_is_said(tmp_path: Path, tiny: Any, assumed: str) -> None:
    encoder = load_encoder(str(tiny(tmp_path)), "cpu")
    (note,) = encoder.card()["notes"]
    assert note == f"no file says how its tokens are pooled; {assumed} pooling is assumed"
    assert encoder.told() == f"{encoder.name}: {note}"
    with_modules(tmp_path, pooling("mean_tokens"))
    assert load_encoder(str(tmp_path), "cpu").told() is None


@pytest.mark.parametrize(("ends", "said"), [([], True), ([("Normalize", {}, {})], False)])
def test_another_similarity_is_said_where_lengths_matter(
    tmp_path: Path, ends: list, said: bool
) -> None:
    folder = with_modules(tiny_bert(tmp_path), pooling("cls_token"), *ends)
    write_json(folder / PROMPTS, {"similarity_fn_name": "dot"})
    notes = load_encoder(str(folder), "cpu").notes
    assert [note[:47] for note in notes] == said * [
        "its makers compare its embeddings by dot; here "
    ]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (PROMPTS, {"model_type": "SparseEncoder"}, "it is a SparseEncoder"),
        (PROMPTS, {"default_prompt_name": "no"}, "default prompt 'no' is none of its prompts"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "for fill-mask"),
    ],
)
def test_another_kind_of_model_is_one_line(
    tmp_path: Path, file: str, content: dict, message: str
) -> None:
    folder = with_modules(tiny_bert(tmp_path), pooling("mean_tokens"))
    write_json(folder / file, content)
    assert message in refused(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auto_map": {"AutoModel": "code.Model"}}, "brings code of its own (code.Model)"),
        ({"num_hidden_layers": 3}, "its files hold no encoder.layer.2."),
        ({"is_encoder_decoder": True}, "bert is an encoder with a decoder"),
    ],
)
def test_a_transformer_that_would_compute_something_else_is_one_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = tiny_bert(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | change)
    assert message in refused(folder)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, ""),
        ({"prompts": {"query": "a "}, "default_prompt_name": None}, ""),
        ({"prompts": {"query": "a ", "document": "b "}}, "b "),
        ({"prompts": {"query": "a ", "passage": "c "}, "default_prompt_name": "query"}, "c "),
        ({"prompts": {"query": "a ", "search_document": "d "}}, "d "),
        ({"prompts": {"query": "a ", "document": ""}, "default_prompt_name": "query"}, "a "),
        ({"prompts": {"sts": "e ", "document": ""}, "default_prompt_name": "sts"}, "e "),
    ],
)
def test_items_get_the_prompt_of_documents(tmp_path: Path, told: dict, expected: str) -> None:
    write_json(tiny_bert(tmp_path) / PROMPTS, told)
    assert read_layout(str(tmp_path)).prompt == expected


def test_texts_are_lowered_where_the_model_lowers_them(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path)
    plain = encode(load_encoder(str(folder), "cpu"), ["a b", "A b"])
    assert abs(plain[0] - plain[1]).max() > 1e-2  # the tiny vocabulary has no capitals
    write_json(folder / "sentence_bert_config.json", {"do_lower_case": True})
    lowered = encode(load_encoder(str(folder), "cpu"), ["a b", "A b"])
    assert (lowered == plain[0]).all()


@pytest.mark.parametrize(
    ("settings", "tokenizer", "expected"),
    [
        ({}, 40, 40),
        ({}, 10**30, 64),
        ({"max_seq_length": 16}, 40, 16),
        ({"max_seq_length": 50}, 40, 50),  # as sentence-transformers has it
        ({"max_seq_length": 512}, 512, 64),
    ],
)
def test_the_length_is_what_the_files_say_as_far_as_there_are_positions(
    tmp_path: Path, settings: dict, tokenizer: int, expected: int
) -> None:
    folder = tiny_bert(tmp_path)
    write_json(folder / "sentence_roberta_config.json", settings)
    layout = read_layout(str(folder))
    encoder = load_encoder(str(folder), "cpu")
    encoder.tokenizer.model_max_length = tokenizer
    assert longest(layout, encoder.tokenizer, encoder.model.config) == expected
    if expected == 64:
        roberta = RobertaConfig(max_position_embeddings=64, pad_token_id=1)
        assert longest(layout, encoder.tokenizer, roberta) == 62


def test_a_length_that_nothing_says_is_one_line(tmp_path: Path) -> None:
    encoder = load_encoder(str(tiny_bert(tmp_path)), "cpu")
    encoder.tokenizer.model_max_length = 10**30
    with pytest.raises(InputError, match="no file says how many tokens it reads"):
        longest(read_layout(str(tmp_path)), encoder.tokenizer, T5Config())


def test_tokens_are_counted_without_weights(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path)
    write_json(folder / PROMPTS, {"prompts": {"document": "a b "}})
    (folder / "model.safetensors").unlink()
    # [CLS] a b ... [SEP], and longer than the encoder reads
    assert token_lengths(str(folder), ["c", "c d e", "c " * 100]) == [5, 7, 104]
    assert token_limit(str(folder)) == 64
    with pytest.raises(InputError, match="no model 'gpt'"):
        token_lengths("gpt", ["a"])


def test_an_adapter_keeps_what_its_base_lists(tmp_path: Path) -> None:
    from torch_embed.encoding.adapters import Lora, trainable

    base = with_modules(tiny_bert(tmp_path / "base"), pooling("cls_token"), dense(32, 8))
    encoder = trainable(load_encoder(str(base), "cpu"), Lora())
    encoder.model.save_pretrained(tmp_path / "adapter")
    again = load_encoder(str(tmp_path / "adapter"), "cpu")
    assert (again.pooling, again.dim) == ("cls", 8)
    torch.testing.assert_close(again.layers.state_dict(), encoder.layers.state_dict())
