"""The border with jaxrec: item texts are read from Parquet, embeddings written as safetensors."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import load, save

from torch_embed.errors import InputError


class Texts(NamedTuple):
    """Item texts as jaxrec wrote them."""

    item_ids: NDArray[np.int64]
    texts: list[str]
    sha256: str
    """Of the texts and their ids, from the card."""
    data: str
    """Name of the data set."""


def read_texts(path: Path) -> Texts:
    """Read `item_id` and `text` from a Parquet file, and its card.

    Raises:
        InputError: the file, its card or a column is missing or damaged.
    """
    card_path = path.with_suffix(".json")
    for needed in (path, card_path):
        if not needed.exists():
            raise InputError(f"{needed}: no such file; `jaxrec embed` writes it")
    try:
        table = pl.read_parquet(path, columns=["item_id", "text"])
        card = json.loads(card_path.read_text(encoding="utf-8"))
        sha256, data = card["sha256"], card["data"]
    except (pl.exceptions.PolarsError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} or its card is damaged ({reason}); write them again") from None
    return Texts(table["item_id"].to_numpy(), table["text"].to_list(), sha256, data)


def text_hash(text: str) -> bytes:
    """SHA-256 of one text."""
    return hashlib.sha256(text.encode()).digest()


def read_encoded(path: Path, encoder: dict[str, Any]) -> dict[bytes, NDArray[np.float32]]:
    """Embeddings by `text_hash`, if the encoder with the card `encoder` made them; else none."""
    card_path = path.with_suffix(".json")
    if not path.exists() or not card_path.exists():
        return {}
    content = path.read_bytes()
    card = json.loads(card_path.read_text(encoding="utf-8"))
    same = all(card.get(key) == value for key, value in encoder.items())
    if not same or card.get("sha256") != hashlib.sha256(content).hexdigest():
        return {}
    arrays = load(content)
    if "text_sha256" not in arrays:
        return {}
    hashes = (row.tobytes() for row in arrays["text_sha256"])
    return dict(zip(hashes, arrays["embeddings"], strict=True))


def write_embeddings(
    path: Path, texts: Texts, E: NDArray[np.float32], card: dict[str, Any]
) -> None:
    """Write `item_ids` [items], `embeddings` [items, dim] and `text_sha256` [items, 32].

    Then the card with the file's hash. Both are written beside their place and renamed: whole or
    absent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        hashes = np.array([list(text_hash(text)) for text in texts.texts], np.uint8)
        content = save({"item_ids": texts.item_ids, "embeddings": E, "text_sha256": hashes})
        partial.write_bytes(content)
        partial.replace(path)
        card = card | {"sha256": hashlib.sha256(content).hexdigest()}
        partial.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        partial.replace(path.with_suffix(".json"))
    finally:
        partial.unlink(missing_ok=True)
