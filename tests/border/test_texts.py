"""Texts on their way to an encoder."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from jaxrec.border.texts import texts_sha256, write_texts
from jaxrec.data.dataset import Dataset
from jaxrec.data.features import item_texts
from jaxrec.data.ids import Ids
from jaxrec.files import write_json
from torch_embed import errors
from torch_embed.files import read_texts


def test_the_file_carries_positions_texts_and_a_hash(synthetic: Dataset, tmp_path: Path) -> None:
    texts = item_texts(synthetic)
    write_texts(tmp_path / "texts.parquet", synthetic, texts)
    table = pl.read_parquet(tmp_path / "texts.parquet")
    assert table["item"].to_list() == list(range(synthetic.items))
    assert table["text"].to_list() == texts
    card = json.loads((tmp_path / "texts.json").read_text())
    assert card["sha256"] == texts_sha256(synthetic, texts)
    assert read_texts(tmp_path / "texts.parquet") == (texts, card["sha256"], "synthetic")


def test_the_hash_is_of_texts_and_ids(synthetic: Dataset) -> None:
    texts = item_texts(synthetic)
    named = [f"item {i}" for i in range(synthetic.items)]

    def with_ids(names: list) -> Dataset:
        catalogue = replace(synthetic.catalogue, ids=Ids(names, "item"))
        return replace(synthetic, catalogue=catalogue)

    hashes = [
        texts_sha256(synthetic, texts),
        texts_sha256(synthetic, [*texts[:-1], "other"]),
        texts_sha256(with_ids(synthetic.item_ids.names[::-1].tolist()), texts),
        texts_sha256(with_ids(named), texts),
        texts_sha256(with_ids(named[::-1]), texts),
    ]
    assert len(set(hashes)) == len(hashes)
    # of what the ids say, not of where they lie
    assert texts_sha256(with_ids(["".join(name) for name in named]), texts) == hashes[3]


def test_texts_in_another_order_are_refused(synthetic: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    write_texts(path, synthetic, item_texts(synthetic))
    card = json.loads((tmp_path / "texts.json").read_text())
    pl.read_parquet(path).reverse().write_parquet(path)
    with pytest.raises(errors.InputError, match=r"texts\.parquet is not as it was written"):
        read_texts(path)
    # of an earlier version, which hashed no file
    write_json(tmp_path / "texts.json", {name: card[name] for name in ("data", "items", "sha256")})
    with pytest.raises(errors.InputError, match="its items are not 0, 1, 2 and so on"):
        read_texts(path)
