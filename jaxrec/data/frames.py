"""A data set of tables in memory, whoever's tables they are."""

from dataclasses import asdict
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from jaxrec.data.assemble import catalogue_of, interactions
from jaxrec.data.batches import Mending, Reader
from jaxrec.data.columns import Columns, ItemColumns, guess_columns, guess_item_columns
from jaxrec.data.dataset import Dataset, Remarks
from jaxrec.data.feedback import Feedback
from jaxrec.errors import InputError


def dataset_of_frames(
    found: Any,
    items: Any,
    given: dict[str, str],
    item_columns: ItemColumns | None,
    text: str | None,
    feedback: Feedback | str | None,
    time: str | None,
    name: str,
    strict: bool,
) -> Dataset:
    """See `Dataset.from_frames`."""
    mending, rows = Mending(strict), to_polars(found, "interactions")
    columns = guess_columns(_as_text(rows.head(1000)), given)
    catalogue = None
    if items is not None:
        table = to_polars(items, "items")
        if item_columns is None:
            id_column = _id_column(table, columns)
            item_columns = guess_item_columns(table, id_column, text)
        catalogue = catalogue_of(table, item_columns, False, mending, _row("items"))
    reader = Reader(columns, False, time, _row("interactions"))
    reader.take(rows)
    meaning = asdict(feedback) if isinstance(feedback, Feedback) else {"kind": feedback}
    user_ids, catalogue, read, known = interactions(reader, catalogue, meaning, mending)
    nobody = np.zeros(0, np.int32)
    return Dataset(
        name=name,
        source="tables in memory",
        user_ids=user_ids,
        catalogue=catalogue,
        interactions=read,
        feedback=known,
        remarks=Remarks(nobody, nobody, []),
        mended=tuple(mending.lines),
    )


def to_polars(frame: Any, what: str) -> pl.DataFrame:
    """A frame of any library that narwhals knows, as Polars'; InputError for another thing."""
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    try:
        known = nw.from_native(frame, eager_only=True)
    except TypeError:
        raise InputError(
            f"{what} are a {type(frame).__name__}; give a table of Polars, pandas or PyArrow"
        ) from None
    return pl.DataFrame([_column(known[column]) for column in known.columns])


def _column(column: Any) -> pl.Series:
    """Numbers and times as they are, all else as text or lists; None and NaN are missing."""
    if column.dtype.is_numeric() or column.dtype.is_temporal():
        return pl.Series(column.name, column.to_numpy(), nan_to_null=True)
    values = [None if value != value else value for value in column.to_list()]
    lists = any(isinstance(value, list | tuple | np.ndarray) for value in values)
    if lists:
        return pl.Series(column.name, [None if v is None else list(map(str, v)) for v in values])
    return pl.Series(
        column.name, [None if value is None else str(value) for value in values], pl.String
    )


def _as_text(frame: pl.DataFrame) -> pl.DataFrame:
    flat = [name for name, kind in frame.schema.items() if not kind.is_nested()]
    return frame.select(pl.col(flat).cast(pl.String))


def _id_column(table: pl.DataFrame, columns: Columns) -> str:
    if columns.item in table.columns:
        return columns.item
    return guess_columns(
        _as_text(table.head(1000)).with_columns(pl.lit("nobody").alias("user")), {}
    ).item


def _row(what: str) -> Any:
    return lambda row: f"{what}, row {row + 1}"
