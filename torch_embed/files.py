"""The border with jaxrec: item texts are read from Parquet, embeddings written as safetensors."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import save

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


def write_embeddings(
    path: Path, item_ids: NDArray[np.int64], E: NDArray[np.float32], card: dict[str, Any]
) -> None:
    """Write `item_ids` [items] and `embeddings` [items, dim], then the card with the file's hash.

    Both are written beside their place and renamed: whole or absent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        content = save({"item_ids": item_ids, "embeddings": E})
        partial.write_bytes(content)
        partial.replace(path)
        card = card | {"sha256": hashlib.sha256(content).hexdigest()}
        partial.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        partial.replace(path.with_suffix(".json"))
    finally:
        partial.unlink(missing_ok=True)
