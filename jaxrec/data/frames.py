"""A data set of tables in memory, whoever's tables they are."""

import datetime
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.exceptions import DuplicateError

from jaxrec.data.assemble import catalogue_of, interactions
from jaxrec.data.batches import Mending, Reader, names_of
from jaxrec.data.columns import (
    NAMES,
    Columns,
    ItemColumns,
    check_column,
    guess_columns,
    guess_item_columns,
    plain,
)
from jaxrec.data.dataset import Catalogue, Dataset, Remarks, columns_of
from jaxrec.data.feedback import Feedback
from jaxrec.errors import InputError

IN_PYTHON = {
    " (of `jaxrec data inspect`)": "",
    "--columns user=NAME,item=NAME": 'columns={"user": NAME, "item": NAME}',
    "leave --strict-input out": "leave strict=True out",
    "(time_format)": "(time)",
    "say scale or kind": "say feedback",
    "; if it is no rating, say implicit = 0": "; if it is no rating, leave those rows out",
    "; is the file cut short?": "",
}
"""Remedies as the command line and `dataset.toml` have them, and what they are here."""
UNREAD = {
    pl.Duration: "lengths of time; give numbers (seconds, say)",
    pl.Time: "times of a day; give dates",
    pl.Binary: "bytes; decode them",
}
"""Kinds of columns that nothing is read from, and what is wrong with them."""
PYTHON = (
    ((bool, np.bool_), pl.Boolean),
    ((int, np.integer), pl.Int64),
    ((float, np.floating), pl.Float64),
    ((datetime.date,), pl.Datetime),
    ((bytes,), pl.Binary),
    ((list, tuple, np.ndarray), pl.List),
)
"""What values of Python become if a column has no others; the rest is text."""


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
    mending = Mending(strict)
    try:
        rows = to_polars(found, "interactions")
        columns = _columns(found, rows, {role: str(column) for role, column in given.items()})
        catalogue = None
        if items is not None:
            asked = _written(rows[columns.item])
            catalogue = _catalogue(items, asked, columns.item, item_columns, text, mending)
        reader = Reader(columns, False, time, _row("interactions"))
        reader.take(rows)
        meaning = asdict(feedback) if isinstance(feedback, Feedback) else {"kind": feedback}
        user_ids, catalogue, read, known = interactions(reader, catalogue, meaning, mending)
    except InputError as error:
        raise InputError(_in_python(str(error))) from None
    nobody = np.zeros(0, np.int32)
    return Dataset(
        name=name,
        source="tables in memory",
        user_ids=user_ids,
        catalogue=catalogue,
        interactions=read,
        feedback=known,
        remarks=Remarks(nobody, nobody, []),
        mended=tuple(map(_in_python, mending.lines)),
    )


def _in_python(line: str) -> str:
    for said, here in IN_PYTHON.items():
        line = line.replace(said, here)
    return line


def _row(what: str) -> Any:
    return lambda row: f"{what}, row {row + 1}"


def _columns(found: Any, rows: pl.DataFrame, given: dict[str, str]) -> Columns:
    """Columns of the interactions by role; InputError for what cannot be read."""
    lacking = {role: NAMES[role].split() for role in ("user", "item", "time") if role not in given}
    _refuse_index(found, rows, lacking, "interactions")
    try:
        columns = guess_columns(_as_text(rows.head(1000)), given)
    except InputError as error:
        raise InputError(f"{error}{_index_hint(found)}") from None
    _refuse_unread(rows, columns.all, "interactions")
    for name in (columns.user, columns.item):
        if rows[name].dtype.is_float() and (rows[name].fill_nan(None).abs() > 2**53).any():
            raise InputError(
                f"interactions: {name} are floats beyond 2**53, which are rounded; give whole"
                " numbers (pandas' Int64) or text"
            )
    return columns


def _catalogue(
    items: Any,
    asked: set[str],
    item: str,
    columns: ItemColumns | None,
    text: str | None,
    mending: Mending,
) -> Catalogue:
    """The catalogue of a table of items; `asked` are those that the interactions name."""
    table = to_polars(items, "items")
    if columns is None:
        _refuse_index(items, table, {"item": [*NAMES["item"].split(), plain(item)]}, "items")
        id_column = _id_column(table, asked, item)
        columns = guess_item_columns(table.select(_readable(table)), id_column, text)
    read = [columns.id, columns.title, *columns.categories, *columns.numbers]
    read += columns_of(columns.text or "")
    _refuse_unread(table, [name for name in read if name in table.columns], "items")
    check_column(columns.id, _flat(table))
    if not asked & _written(table[columns.id]):
        there = f" such as {min(asked)}" if asked else ""
        raise InputError(
            f"items: {columns.id} names no item of the interactions{there}; say"
            f" item_columns=ItemColumns(id=NAME), and spell ids alike{_index_hint(items)}"
        )
    return catalogue_of(table.select(_readable(table)), columns, False, mending, _row("items"))


def _id_column(table: pl.DataFrame, asked: set[str], item: str) -> str:
    """The column that names most of the items asked for.

    One that is called as in the interactions need only name half of them: a column that counts rows
    may happen to name more.
    """
    shares = {
        name: len(asked & _written(table[name])) / max(len(asked), 1) for name in _flat(table)
    }

    def rank(name: str) -> tuple[bool, float, bool]:
        same = plain(name) == plain(item)
        return same and shares[name] >= 0.5, shares[name], same

    if not shares:
        raise InputError("items have no column of ids")
    return max(shares, key=rank)


def _written(names: pl.Series) -> set[str]:
    """The different names, as they are written."""
    return set(map(str, names_of(names.unique().drop_nulls(), False)))


def _refuse_index(frame: Any, table: pl.DataFrame, names: dict[str, list[str]], what: str) -> None:
    """Refuse a role, by the names that it may have, which is in the index of pandas alone."""
    for level in getattr(getattr(frame, "index", None), "names", ()):
        roles = [role for role, may in names.items() if plain(str(level)) in may]
        if roles and str(level) not in table.columns:
            raise InputError(f"{what}: the {roles[0]} is in the index; give {what}.reset_index()")


def _index_hint(frame: Any) -> str:
    """What to do where a column may be in an index, which only frames like pandas' have."""
    has = hasattr(frame, "reset_index")
    return "; what is in an index is not read: reset_index() makes columns of it" if has else ""


def _refuse_unread(table: pl.DataFrame, names: Iterable[str], what: str) -> None:
    for name in names:
        kind = UNREAD.get(table.schema[name].base_type())
        if kind is not None:
            raise InputError(f"{what}: {name} holds {kind}")


def _readable(frame: pl.DataFrame) -> list[str]:
    return [name for name, kind in frame.schema.items() if kind.base_type() not in UNREAD]


def _flat(frame: pl.DataFrame) -> list[str]:
    """Columns that may hold names."""
    return [name for name in _readable(frame) if not frame.schema[name].is_nested()]


def _as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns that are no lists, as text; those that cannot be read are missing."""
    unread = [
        pl.Series(name, [None] * len(frame), pl.String)
        for name in frame.columns
        if name not in _readable(frame)
    ]
    text = frame.with_columns(unread)
    return text.select(pl.col(_flat(text)).cast(pl.String))


def to_polars(frame: Any, what: str) -> pl.DataFrame:
    """A frame of any library that narwhals knows, as Polars'; names of columns become text.

    Raises:
        InputError: it is another thing, or two columns have one name.
    """
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    try:
        known = nw.from_native(frame, eager_only=True)
    except TypeError:
        raise InputError(
            f"{what} are a {type(frame).__name__}; give a table of Polars, pandas or PyArrow"
            f"{_index_hint(frame)}"
        ) from None
    except DuplicateError:
        names = list(getattr(frame, "column_names", frame.columns))
    else:
        names = known.columns
    names = list(map(str, names))
    for twice in {name for name in names if names.count(name) > 1}:
        raise InputError(f"{what}: two columns are called {twice}; rename one, or drop it")
    try:
        return pl.DataFrame([_column(known.get_column(name)) for name in known.columns])
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what}: a text holds {error.object[error.start]!r}, half a character; mend it"
        ) from None


def _column(column: Any) -> pl.Series:
    """A column without loss: whole numbers stay whole where some are missing, times are UTC."""
    name, kind, native = str(column.name), column.dtype, column.to_native()
    if isinstance(native, pl.Series) and native.dtype != pl.Object:
        return native
    if kind.is_integer():
        found = pl.Series(name, column.fill_null(0).to_numpy())
        return found.set(pl.Series(column.is_null().to_numpy()), None)
    if kind.is_float():
        return pl.Series(name, column.to_numpy(), nan_to_null=True)
    if isinstance(kind, nw.Datetime | nw.Date):
        stamps = pl.Series(name, column.dt.timestamp("us").to_numpy(), nan_to_null=True)
        return stamps.cast(pl.Int64).cast(pl.Datetime("us"))
    if isinstance(kind, nw.Duration):
        return pl.Series(name, column.to_numpy().astype("timedelta64[us]"))
    missing = column.is_null().to_list()  # None, NaN, NaT and NA, whatever stands for them
    values = [
        None if lacks else value for lacks, value in zip(missing, column.to_list(), strict=True)
    ]
    return _of_python(name, values)


def _of_python(name: str, values: list[Any]) -> pl.Series:
    """Values of one kind as that kind, all else as text."""
    there = [value for value in values if value is not None]
    kinds = {_kind(type_) for type_ in set(map(type, there))}
    if pl.List in kinds:
        return pl.Series(name, [_words(value) for value in values], pl.List(pl.String))
    kind = kinds.pop() if len(kinds) == 1 else pl.String
    if kind is pl.Int64 and not -(2**63) <= min(there) <= max(there) < 2**63:
        kind = pl.String
    if kind is pl.Datetime:
        values = [None if value is None else _utc(value) for value in values]
        return pl.Series(name, values, pl.Datetime("us"))
    if kind is pl.String:
        values = [None if value is None else str(value) for value in values]
    return pl.Series(name, values, kind)


def _kind(type_: type) -> Any:
    return next((kind for types, kind in PYTHON if issubclass(type_, types)), pl.String)


def _words(value: Any) -> list[str] | None:
    """A list of words; what is none of several is one."""
    if value is None:
        return None
    several = value if isinstance(value, list | tuple | np.ndarray) else [value]
    return [str(word) for word in several if word is not None]


def _utc(value: datetime.date) -> datetime.datetime:
    """A date as its midnight, a time of a zone in UTC; one without is UTC."""
    if not isinstance(value, datetime.datetime):
        return datetime.datetime.combine(value, datetime.time())
    try:
        return value.astimezone(datetime.UTC).replace(tzinfo=None) if value.tzinfo else value
    except OverflowError:  # the year 1 of a zone, which stands for no time
        return value.replace(tzinfo=None)
