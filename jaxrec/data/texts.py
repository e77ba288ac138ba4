"""What an encoder reads about each item."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset, columns_of


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
    rows = catalogue.table.select(columns_of(template)).iter_rows(named=True)
    return [
        " ".join(filter(None, [_filled(template, row), *own])).strip() or catalogue.nameless
        for row, own in zip(rows, words, strict=True)
    ]


def _filled(template: str, row: dict[str, Any]) -> str:
    """The template with an item's columns."""
    return template.format(**{name: _written(value) for name, value in row.items()}).strip()


def _written(value: Any) -> str:
    """Lists joined by blanks, nothing for null, 1995 for 1995.0."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(_written, value))
    return f"{value:.15g}" if isinstance(value, float) else str(value).strip()
