"""A described data set is read: its files, batch by batch, into a `Dataset`."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from jaxrec.data.assemble import catalogue_of, interactions, remarks_of
from jaxrec.data.batches import DECIMAL, WHOLE, Mending, Reader
from jaxrec.data.columns import Columns, ItemColumns
from jaxrec.data.dataset import Catalogue, Dataset, Remarks, columns_of
from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.files import refuse_written
from jaxrec.sources.description import Description, Table
from jaxrec.sources.encodings import LATIN, members
from jaxrec.sources.tables import OnBytes, nobody, place_of, read, sample, sniff
from jaxrec.sources.written.rows import literal

FLAGS = {"true": "1", "True": "1", "TRUE": "1", "false": "0", "False": "0", "FALSE": "0"}
"""What people and programs write for yes and no."""


class Opened:
    """The files of a table, and how they are written."""

    def __init__(self, folder: Path, table: Table):
        """Raises InputError if a file is absent, written otherwise than was said, or an output."""
        self.paths = [path for name in table.files for path in _expanded(folder, name)]
        refuse_written(self.paths)
        self.layouts = [
            sniff(path, table.columns, table.separator, table.encoding) for path in self.paths
        ]
        self.written = all(layout.format != "parquet" for layout in self.layouts)
        self._rows: list[int] = []
        self._wanted: list[str] = []

    def batches(
        self,
        wanted: list[str],
        numbers: dict[str, pl.DataType] | None = None,
        on_bytes: OnBytes = nobody,
    ) -> Iterator[pl.DataFrame]:
        """The wanted columns of all files, see `tables.read`."""
        sizes = [path.stat().st_size if path.is_file() else 0 for path in self.paths]
        done, size = 0, sum(sizes)
        self._rows, self._wanted = [], wanted
        for path, layout, own in zip(self.paths, self.layouts, sizes, strict=True):

            def told(read: int, of: int, done: int = done, own: int = own) -> None:
                on_bytes(done + own * read // max(of, 1), size)

            self._rows.append(0)
            for batch in read(path, layout, wanted, numbers, told):
                self._rows[-1] += len(batch)
                yield batch
            done += own

    def place(self, row: int) -> str:
        """File and line of a row of all that was read."""
        for path, layout, rows in zip(self.paths, self.layouts, self._rows, strict=False):
            if row < rows or path == self.paths[len(self._rows) - 1]:
                return place_of(path, layout, row, self._wanted)
            row -= rows
        return str(self.paths[0])


def read_dataset(
    described: Description, source: str, strict: bool = False, on_bytes: OnBytes = nobody
) -> Dataset:
    """Read a data set.

    Args:
        described: its files, and what their columns are for.
        source: what it is to be called when it is asked for again.
        strict: refuse whatever is not right, instead of mending it by a stated rule (see
            `jaxrec.data.assemble`).
        on_bytes: told how much of the interactions has been read.

    Returns:
        Users in ascending id, items in the order of their table, interactions in that of theirs.

    Raises:
        InputError: something is missing or malformed; the message names file and line.
    """
    mending = Mending(strict)
    catalogue = read_items(described, mending)
    opened = Opened(described.folder, described.interactions)
    for path, layout in zip(opened.paths, opened.layouts, strict=True):
        if layout.encoding == LATIN and described.interactions.encoding is None:
            mending.say(f"{path} is not UTF-8: read as {LATIN} (latin-1)")
    columns, wanted = described.columns, described.columns.all
    reader = Reader(columns, opened.written, described.interactions.time_format, opened.place)
    for batch in opened.batches(wanted, numbers_of(opened, columns), on_bytes):
        reader.take(of_one_value(batch, columns))
    user_ids, catalogue, found, feedback = interactions(
        reader, catalogue, feedback_of(described), mending
    )
    dataset = Dataset(
        name=described.name,
        source=source,
        user_ids=user_ids,
        catalogue=catalogue,
        interactions=found,
        feedback=feedback,
        remarks=_read_remarks(described, user_ids, catalogue.ids, mending),
        mended=tuple(mending.lines),
        licence=described.licence,
    )
    return dataset.to_core(described.core) if described.core else dataset


def of_one_value(batch: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Interactions with 1 and 0 for a value of true and false; InputError for lists."""
    for column in batch:
        if column.dtype.is_nested():
            raise InputError(
                f"column {column.name!r} ({column.dtype}) holds several values a row; name another"
            )
    value = columns.value
    if value is None or batch.schema[value] != pl.String:
        return batch
    return batch.with_columns(pl.col(value).replace(FLAGS))


def feedback_of(described: Description) -> dict[str, object]:
    """What the description says of the feedback, by the fields of `Feedback`."""
    fields = {"liked": "liked_from", "disliked": "disliked_below"}
    found = {fields.get(key, key): value for key, value in described.feedback.items()}
    if "scale" in found:
        low, high = found["scale"]
        found["scale"] = float(low), float(high)
    return found


def numbers_of(opened: Opened, columns: Columns) -> dict[str, pl.DataType]:
    """The columns that look like numbers from the start, and their types; decimals are no names."""
    if not opened.written:
        return {}
    some = sample(opened.paths[0], opened.layouts[0], 100)
    found: dict[str, pl.DataType] = {}
    for name in columns.all:
        column = some[name].drop_nulls() if name in some.columns else pl.Series(dtype=pl.String)
        if len(column) and column.str.contains(WHOLE).all():
            short = column.cast(pl.Int32, strict=False).null_count() == 0
            found[name] = pl.Int32() if short else pl.Int64()
        elif name == columns.value and len(column) and column.str.contains(DECIMAL).all():
            found[name] = pl.Float64()
    return found


def read_all(opened: Opened, wanted: list[str]) -> pl.DataFrame:
    """The wanted columns of a table that is small; JSON lists become lists."""
    frame = in_one(opened.batches(wanted), wanted)
    return frame.with_columns(_lists(column) for column in frame if _holds_lists(column))


def in_one(batches: Iterable[pl.DataFrame], wanted: list[str]) -> pl.DataFrame:
    """Batches of these columns as one, which may be empty."""
    none = pl.DataFrame({name: pl.Series([], dtype=pl.String) for name in wanted})
    return pl.concat(list(batches) or [none], how="vertical_relaxed")


def read_items(described: Description, mending: Mending) -> Catalogue | None:
    if described.items is None or described.item_columns is None:
        return None
    opened, columns = Opened(described.folder, described.items), described.item_columns
    frame = read_all(opened, named_columns(columns, opened.layouts[0].columns))
    if described.items.files == described.interactions.files:  # what is said of them beside
        frame = frame.unique(columns.id, keep="first", maintain_order=True)
    return catalogue_of(frame, columns, opened.written, mending, opened.place)


def needed(columns: ItemColumns) -> list[str]:
    """The columns that a table of items must have beside its ids."""
    texts = [*columns_of(columns.text or ""), *columns_of(columns.published_text or "")]
    flags = [flag for own in columns.flags.values() for flag in own]
    taken = [column for column, _ in columns.extract.values()]
    title = columns.title or columns.id
    roles = [title, *texts, *columns.categories, *columns.numbers, *flags, *taken]
    made = {*columns.extract, *columns.flags, columns.id}
    if columns.title is None:  # then it may be called so, and need not be there
        made.add("title")
    return list(dict.fromkeys(name for name in roles if name not in made))


def named_columns(columns: ItemColumns, there: tuple[str, ...]) -> list[str]:
    """The columns of a table of items that have a role."""
    title = ["title"] if columns.title is None and "title" in there else []
    return list(dict.fromkeys([columns.id, *title, *needed(columns)]))


def _read_remarks(
    described: Description, user_ids: Ids, item_ids: Ids, mending: Mending
) -> Remarks:
    columns = described.remark_columns
    if described.remarks is None or columns is None or columns.words is None:
        nobody_ = np.zeros(0, np.int32)
        return Remarks(nobody_, nobody_, [])
    opened = Opened(described.folder, described.remarks)
    reader = Reader(columns, opened.written, described.remarks.time_format, opened.place)
    words = []
    for batch in opened.batches(columns.all):
        reader.take(batch)
        words.append(batch[columns.words].cast(pl.String))
    if not words:
        return Remarks(np.zeros(0, np.int32), np.zeros(0, np.int32), [])
    return remarks_of(reader, pl.concat(words), user_ids, item_ids, mending)


def _expanded(folder: Path, name: str) -> list[Path]:
    """The files of a name with patterns, in order; within archives too."""
    path = Path(os.path.normpath(folder / name))
    if any(sign in name for sign in "*?[") and not path.exists():
        given = Path(name)
        start = Path(given.anchor) if given.is_absolute() else folder
        try:
            found = sorted(start.glob(str(given.relative_to(given.anchor))))
        except ValueError as error:
            raise InputError(f"{path}: no pattern of files ({error})") from None
        if not found:
            raise InputError(f"{path}: no such files")
        return found
    return members(path) if path.is_file() else [path]


def _holds_lists(column: pl.Series) -> bool:
    if column.dtype != pl.String:
        return False
    some = column.drop_nulls().head(100)
    return len(some) > 0 and bool((some.str.starts_with("[") & some.str.ends_with("]")).all())


def _lists(column: pl.Series) -> pl.Series:
    """Lists of words of JSON or Python lists, nested ones too; text that is none is one word."""

    def words(text: str | None) -> list[str]:
        try:
            return _flat(literal(text)) if text else []
        except (ValueError, RecursionError):
            return [text or ""]

    return pl.Series(column.name, [words(text) for text in column], dtype=pl.List(pl.String))


def _flat(value: object) -> list[str]:
    if isinstance(value, list):
        return [word for inner in value for word in _flat(inner)]
    return [] if value is None else [str(value)]
