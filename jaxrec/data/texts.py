"""What an encoder reads about each item."""

import hashlib
import string
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset
from jaxrec.files import whole_file, write_json


def item_texts(
    dataset: Dataset, readable: NDArray[np.bool_] | None = None, published: bool = False
) -> list[str]:
    """[items] the text of each item: its template filled in, then the remarks on it.

    Remarks are in lower case and file order, duplicates kept; all is joined by blanks. An item of
    which nothing is known has the catalogue's word for it.

    Args:
        dataset: catalogue and remarks.
        readable: [remarks] which remarks may be read; all by default.
        published: fill in the template of the published texts.
    """
    catalogue, remarks = dataset.catalogue, dataset.remarks
    words: list[list[str]] = [[] for _ in range(dataset.items)]
    may_read = np.ones(len(remarks.words), bool) if readable is None else readable
    for item, word, may in zip(remarks.items, remarks.words, may_read, strict=True):
        if may:
            words[item].append(word.lower())
    template = (catalogue.published_text if published else None) or catalogue.text
    columns = [name for _, name, _, _ in string.Formatter().parse(template) if name]
    rows = catalogue.table.select(columns).iter_rows(named=True)
    return [
        " ".join(filter(None, [_filled(template, row), *own])).strip() or catalogue.nameless
        for row, own in zip(rows, words, strict=True)
    ]


def _filled(template: str, row: dict[str, Any]) -> str:
    """The template with an item's columns; lists are joined by blanks, nothing stands for null."""
    return template.format(
        **{
            name: " ".join(value) if isinstance(value, list) else str(value or "").strip()
            for name, value in row.items()
        }
    ).strip()


def texts_sha256(dataset: Dataset, texts: list[str]) -> str:
    """Hash of the texts and the ids they belong to."""
    digest = hashlib.sha256(dataset.item_ids.content())
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(4, "little") + encoded)
    return digest.hexdigest()


def write_texts(path: Path, dataset: Dataset, texts: list[str]) -> None:
    """Write `path` (Parquet: `item_id`, `text`) and its card beside it (JSON)."""
    with whole_file(path) as partial:
        pl.DataFrame({"item_id": dataset.item_ids.names, "text": texts}).write_parquet(partial)
    card = {"data": dataset.name, "items": len(texts), "sha256": texts_sha256(dataset, texts)}
    write_json(path.with_suffix(".json"), card)
