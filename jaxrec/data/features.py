"""What is known of an item beside its interactions: as text, and as numbers."""

import string
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Catalogue, Dataset, columns_of

MOST_BINS = 200
"""Of numbers; of more that would be needed the outermost percents are drawn in."""


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
    parts = string.Formatter().parse(template)
    return "".join(
        between + (_written(row[name]) if name else "") for between, name, _, _ in parts
    ).strip()


def _written(value: Any) -> str:
    """Lists joined by blanks, nothing for null, 1995 for 1995.0."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(_written, value))
    return f"{value:.15g}" if isinstance(value, float) else str(value).strip()


def number_features(catalogue: Catalogue, column: str) -> NDArray[np.float32]:
    """[items, bins] smooth bins of a column of numbers.

    With w the column's width in `Catalogue.numbers`, bins are Gaussians of w / 2 around every half
    w, so that items less than w apart are alike. Rows have norm 1, or 0 without a number. What
    would need more than `MOST_BINS` (a year 0 or 9999 among others) is drawn in to the middle 98 %.
    """
    number = catalogue.table[column].cast(float).fill_null(np.nan).to_numpy()
    if np.isnan(number).all():
        return np.zeros((len(number), 0), np.float32)
    step = catalogue.numbers[column] / 2
    if np.nanmax(number) - np.nanmin(number) > MOST_BINS * step:
        number = number.clip(*np.nanpercentile(number, (1, 99)))
        step = max(step, float(np.nanmax(number) - np.nanmin(number)) / MOST_BINS)
    centres = np.arange(np.nanmin(number), np.nanmax(number) + step, step)
    bins = np.exp(-0.5 * ((number[:, None] - centres) / step) ** 2)
    return _unit(np.nan_to_num(bins))


def category_features(catalogue: Catalogue, column: str) -> NDArray[np.float32]:
    """[items, words] 1 where the item is of the category, rows of norm 1 (0 without any)."""
    sets = [set(words or ()) for words in catalogue.table[column].to_list()]
    place = {name: at for at, name in enumerate(sorted(set().union(*sets)))}
    found = np.zeros((len(sets), len(place)), np.float32)
    for item, own in enumerate(sets):
        found[item, [place[name] for name in own]] = 1
    return _unit(found)


def item_features(
    catalogue: Catalogue, E: NDArray[np.floating] | None = None, metadata: float = 1.0
) -> NDArray[np.float32]:
    """[items, features] 1, numbers and categories times `metadata`, embeddings E [items, dim]."""
    parts = [np.ones((len(catalogue.ids), 1), np.float32)]
    if metadata > 0:
        parts += [metadata * number_features(catalogue, column) for column in catalogue.numbers]
        parts += [
            metadata * category_features(catalogue, column) for column in catalogue.categories
        ]
    if E is not None:
        parts.append(E)
    return np.hstack(parts).astype(np.float32)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
