"""The border with jaxrec: item texts are read from Parquet, embeddings written as safetensors."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import save

from torch_embed.errors import InputError


def read_texts(path: Path) -> tuple[NDArray[np.int64], list[str], str]:
    """Read `item_id` and `text` from a Parquet file, and the texts' hash from its card.

    Raises:
        InputError: the file, its card or a column is missing.
    """
    card_path = path.with_suffix(".json")
    for needed in (path, card_path):
        if not needed.exists():
            raise InputError(f"{needed}: no such file; `jaxrec embed` writes it")
    table = pl.read_parquet(path)
    if table.columns != ["item_id", "text"]:
        raise InputError(f"{path}: columns {table.columns}; expected item_id, text")
    card = json.loads(card_path.read_text(encoding="utf-8"))
    return table["item_id"].to_numpy(), table["text"].to_list(), card["sha256"]


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
