"""What an encoder reads about each item."""

import string
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset


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
