"""Carries item texts to torch_embed: a file in catalogue order, and a hash that covers the ids.

The hash comes back on the card of whatever was made of the texts, and says that it belongs here.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from jaxrec.data.dataset import Dataset
from jaxrec.files import file_sha256, whole_file, write_sealed


class ItemTexts(NamedTuple):
    """What an encoder reads of the items, by one rule."""

    kind: str
    """Name of the rule."""
    full: list[str]
    """[items]"""
    plain: list[str]
    """[items] the same without tags."""


def texts_sha256(dataset: Dataset, texts: list[str]) -> str:
    """Hash of [items] texts and of the ids they belong to, be these numbers or strings."""
    digest = hashlib.sha256(dataset.item_ids.content())
    for string in texts:
        encoded = string.encode()
        digest.update(len(encoded).to_bytes(4, "little") + encoded)
    return digest.hexdigest()


def write_texts(path: Path, dataset: Dataset, texts: list[str]) -> None:
    """Write `path` (Parquet: `item`, the position in the catalogue, and `text`) and its card.

    The card has the hash of the texts and ids, and that of the file.
    """
    items = np.arange(len(texts), dtype=np.int32)
    with whole_file(path) as partial:
        pl.DataFrame({"item": items, "text": texts}).write_parquet(partial)
        file = file_sha256(partial)
    card = {"data": dataset.name, "items": len(texts), "sha256": texts_sha256(dataset, texts)}
    write_sealed(path.with_suffix(".json"), card | {"file_sha256": file})
