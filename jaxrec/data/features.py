"""What is known of an item beside its interactions: as text, and as numbers."""

import string
from collections.abc import Iterator
from typing import Any, NamedTuple

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
    return [
        " ".join(filter(None, [filled, *own])).strip() or catalogue.nameless
        for filled, own in zip(_all_filled(catalogue, published), words, strict=True)
    ]


def template_texts(catalogue: Catalogue) -> list[str]:
    """[items] texts of items on which nobody has remarked."""
    return [filled.strip() or catalogue.nameless for filled in _all_filled(catalogue, False)]


def _all_filled(catalogue: Catalogue, published: bool) -> Iterator[str]:
    template = (catalogue.published_text if published else None) or catalogue.text
    rows = catalogue.table.select(columns_of(template)).iter_rows(named=True)
    return (_filled(template, row) for row in rows)


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


class FeatureSpace(NamedTuple):
    """What the numbers and categories of a catalogue are written in, for further items too."""

    centres: dict[str, NDArray[np.float64]]
    """Of the bins of each column of numbers; none where no item has a number."""
    words: dict[str, list[str]]
    """Of each column of categories, ascending."""

    @classmethod
    def of(cls, catalogue: Catalogue) -> "FeatureSpace":
        """That of a catalogue's own columns.

        Bins lie at every half of a column's width in `Catalogue.numbers`. What would need more than
        `MOST_BINS` (a year 0 or 9999 among others) is drawn in to the middle 98 %.
        """
        numbers = {name: _centres(catalogue, name) for name in catalogue.numbers}
        words = {name: _vocabulary(catalogue, name) for name in catalogue.categories}
        return cls(numbers, words)

    def numbers(self, catalogue: Catalogue, column: str) -> NDArray[np.float32]:
        """[items, bins] smooth bins of a column of numbers.

        Bins are Gaussians as wide as they are apart, so that near items are alike. Rows have norm
        1, or 0 without a number; a number outside all bins is taken as the outermost.
        """
        centres, number = self.centres[column], _numbers(catalogue, column)
        if not len(centres):
            return np.zeros((len(number), 0), np.float32)
        step = centres[1] - centres[0] if len(centres) > 1 else catalogue.numbers[column] / 2
        number = number.clip(centres[0], centres[-1])
        bins = np.exp(-0.5 * ((number[:, None] - centres) / step) ** 2)
        return _unit(np.nan_to_num(bins))

    def categories(self, catalogue: Catalogue, column: str) -> NDArray[np.float32]:
        """[items, words] 1 where the item is of a known category, rows of norm 1 (or 0)."""
        place = {name: at for at, name in enumerate(self.words[column])}
        listed = catalogue.table[column].to_list()
        found = np.zeros((len(listed), len(place)), np.float32)
        for item, own in enumerate(listed):
            found[item, [place[name] for name in own or () if name in place]] = 1
        return _unit(found)

    def features(
        self, catalogue: Catalogue, E: NDArray[np.floating] | None = None, metadata: float = 1.0
    ) -> NDArray[np.float32]:
        """[items, features] 1, numbers and categories times `metadata`, embeddings E [items, dim].

        Args:
            catalogue: whose columns are as those of the catalogue that the space is of.
            E: of its items.
            metadata: without effect where it is 0; then numbers and categories are left out.
        """
        parts = [np.ones((len(catalogue.ids), 1), np.float32)]
        if metadata > 0:
            parts += [metadata * self.numbers(catalogue, column) for column in self.centres]
            parts += [metadata * self.categories(catalogue, column) for column in self.words]
        if E is not None:
            parts.append(E)
        return np.hstack(parts).astype(np.float32)


def item_features(
    catalogue: Catalogue, E: NDArray[np.floating] | None = None, metadata: float = 1.0
) -> NDArray[np.float32]:
    """[items, features] of a catalogue in its own space; see `FeatureSpace.features`."""
    return FeatureSpace.of(catalogue).features(catalogue, E, metadata)


def category_shares(catalogue: Catalogue) -> NDArray[np.float32] | None:
    """[items, words] an item's categories, alike and 1 in all (0 without any), of all columns.

    None where no item has a category.
    """
    space = FeatureSpace.of(catalogue)
    columns = [space.categories(catalogue, column) > 0 for column in space.words]
    there = np.hstack(columns) if columns else np.zeros((len(catalogue.ids), 0), bool)
    if not there.any():
        return None
    return there / np.maximum(there.sum(axis=1, keepdims=True), 1).astype(np.float32)


def _numbers(catalogue: Catalogue, column: str) -> NDArray[np.float64]:
    return catalogue.table[column].cast(float).fill_null(np.nan).to_numpy()


def _centres(catalogue: Catalogue, column: str) -> NDArray[np.float64]:
    number = _numbers(catalogue, column)
    if np.isnan(number).all():
        return np.zeros(0)
    step = catalogue.numbers[column] / 2
    if np.nanmax(number) - np.nanmin(number) > MOST_BINS * step:
        number = number.clip(*np.nanpercentile(number, (1, 99)))
        step = max(step, float(np.nanmax(number) - np.nanmin(number)) / MOST_BINS)
    return np.arange(np.nanmin(number), np.nanmax(number) + step, step)


def _vocabulary(catalogue: Catalogue, column: str) -> list[str]:
    return sorted(set().union(*(words or () for words in catalogue.table[column].to_list())))


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
