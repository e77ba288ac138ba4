"""Interactions in batches: what is written becomes names, numbers and seconds, in little memory."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.data.columns import Columns
from jaxrec.data.ids import LONGEST, unfit
from jaxrec.errors import InputError

OLDEST, NEWEST = 0, 7_258_118_400
"""Seconds from 1970 to 2200: times outside are impossible."""
MISSING = ("", "null", "NULL", "None", "nan", "NaN", "NA", "N/A", "\\N")
"""What stands for a value or time that is missing."""
NOBODY = ("", "NULL", "null", "NaN", "nan", "\\N")
"""What stands for a missing name in files without types."""
WHOLE = r"^(0|-?[1-9]\d{0,18})$"
"""A whole number as one writes it."""
DECIMAL = r"^-?\d+\.\d+$"
UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Of times as numbers, in a second."""
DATES = (
    "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M", "%Y-%m-%d",
    "%Y/%m/%d %H:%M:%S", "%Y/%m/%d",
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%m %d, %Y", "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
    "%d/%m/%Y", "%Y%m%d",
)  # fmt: skip
"""Dates as people write them; without a zone they are UTC."""

Where = Callable[[int], str]
"""Names the place of a row, for people."""


@dataclass
class Mending:
    """What was mended, or is to be refused."""

    strict: bool = False
    lines: list[str] = field(default_factory=list)
    """What was found, how often, and what was done."""

    def mend(self, rows: NDArray[np.integer], what: str, rule: str, where: Where) -> None:
        """Note `rows` that are wrong in the same way, or refuse the first."""
        if not len(rows):
            return
        if self.strict:
            raise InputError(
                f"{where(int(rows[0]))}: {what} ({len(rows):,} in all); mend it, or leave"
                f" --strict-input out: then {rule}"
            )
        self.lines.append(f"{len(rows):,} x {what}: {rule} (the first: {where(int(rows[0]))})")

    def say(self, line: str) -> None:
        """Note what is not wrong, but to be known."""
        self.lines.append(line)


class Reader:
    """Takes interactions in batches, in little memory; see `give`.

    Args:
        columns: of the batches.
        written: are numbers and times written as text, in files without types?
        time: how times are written: one of `UNITS` or a date's format; guessed by default.
        where: names the place of a row.
    """

    def __init__(self, columns: Columns, written: bool, time: str | None, where: Where):
        self.columns, self.written, self.time, self.where = columns, written, time, where
        self._kinds = [pl.Categorical(pl.Categories.random()) for _ in ("user", "item")]
        self._parts: dict[str, list[pl.Series]] = {}
        self.read = 0
        """Rows so far."""
        self.either = False
        """Could dates that were guessed to be month/day as well be day/month, all of them?"""
        self.headers: list[int] = []
        """Those of them that are the header again; of nobody and nothing."""

    def take(self, batch: pl.DataFrame) -> None:
        """One more batch; InputError for a value that is no number."""
        columns, found = self.columns, {}
        batch = self._without_headers(batch)
        for role, kind in zip(("user", "item"), self._kinds, strict=True):
            self._refuse_unfit(batch[getattr(columns, role)], role)
            found[role] = names_of(batch[getattr(columns, role)], self.written, kind)
        if columns.value is not None:
            found["value"] = self._numbers(batch[columns.value])
        if columns.time is not None:
            if self.time is None:
                self.time = guess_time(batch[columns.time])
                self.either = self.time is not None and "%m/%d" in self.time
            self.either = self.either and _is_either(batch[columns.time], str(self.time))
            found["time"] = seconds(batch[columns.time], self.time)
        for role, column in found.items():
            self._parts.setdefault(role, []).append(_small(column))
        self.read += len(batch)

    def give(self, role: str) -> pl.Series | None:
        """All of a column, which is then forgotten; None where there is none.

        `user` and `item` are whole numbers or categories, `value` Float64, `time` whole seconds.
        """
        parts = self._parts.pop(role, None)
        if parts is None:
            return None
        if any(isinstance(part.dtype, pl.Categorical) for part in parts):
            kind = self._kinds[("user", "item").index(role)]
            parts = [part.cast(pl.String).cast(kind) for part in parts]
            return pl.concat(parts, rechunk=True)
        wide = pl.Float64 if role == "value" else pl.Int64
        if len({part.dtype for part in parts}) > 1:
            parts = [part.cast(wide) for part in parts]
        return pl.concat(parts, rechunk=True)

    def _without_headers(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Nothing in the place of a header: files were put one behind the other."""
        again = headers_in(batch.select(self.columns.user, self.columns.item), self.written)
        if not len(again):
            return batch
        self.headers += (self.read + again).tolist()
        return batch.select(column.clone().scatter(again, None) for column in batch)

    def _refuse_unfit(self, names: pl.Series, what: str) -> None:
        refuse_unfit(names, what, lambda row: self.where(self.read + row))

    def _numbers(self, column: pl.Series) -> pl.Series:
        values, bad = as_numbers(column)
        if bad is not None:
            raise InputError(
                f"{self.where(self.read + bad)}: {column.name} is {column[bad]!r};"
                " expected a number"
            )
        return values


def refuse_unfit(names: pl.Series, what: str, where: Where) -> None:
    """Raise InputError for text that can be no name (`jaxrec.data.ids`), with its place."""
    if names.dtype != pl.String:
        return
    rows = ((names.str.len_bytes() > LONGEST) | names.str.contains("\0", literal=True)).arg_true()
    for row in rows:
        if (why := unfit(names[row].strip(), what)) is not None:
            raise InputError(f"{where(row)}: {why}")


def headers_in(table: pl.DataFrame, written: bool) -> NDArray[np.int64]:
    """Rows that hold the names of the columns, in files without types."""
    if not written or any(dtype != pl.String for dtype in table.dtypes):
        return np.zeros(0, np.int64)
    same = [column.str.strip_chars() == column.name for column in table]
    return np.flatnonzero(np.all([column.fill_null(False).to_numpy() for column in same], 0))


def _small(column: pl.Series) -> pl.Series:
    """Whole numbers in four bytes a row, if they fit."""
    if column.dtype != pl.Int64:
        return column
    low, high = column.min(), column.max()
    fits = low is None or (low >= -(2**31) and high < 2**31)  # type: ignore[operator]
    return column.cast(pl.Int32) if fits else column


def names_of(column: pl.Series, written: bool, kind: pl.DataType | None = None) -> pl.Series:
    """Names as whole numbers if all are, as one writes them, else as text; null where missing.

    Args:
        column: as it was read.
        written: are numbers written as text, in files without types?
        kind: of text; String by default.
    """
    if column.dtype == pl.Int32:
        return column
    if column.dtype.is_integer():
        top = column.max()
        if not isinstance(top, int) or top < 2**63:
            return column.cast(pl.Int64)
    if column.dtype.is_float():  # numbers beside which some were missing
        column = column.fill_nan(None)
        if (column.drop_nulls() % 1 == 0).all():
            return column.cast(pl.Int64)
    text = column.cast(pl.String)
    text = text.str.strip_chars() if written else text
    text = text.set(text.is_in(NOBODY if written else ("",)), None)
    if written and bool(text.str.contains(WHOLE).all()):
        numbers = text.cast(pl.Int64, strict=False)
        if numbers.null_count() == text.null_count():
            return numbers
    return text if kind is None else text.cast(kind)


def as_numbers(column: pl.Series) -> tuple[pl.Series, int | None]:
    """Float64, null where missing; and the first place of what is no number."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        values = column.cast(pl.Float64)
        bad = values.is_infinite()
        return values.fill_nan(None), int(bad.arg_true()[0]) if bad.any() else None
    column = column.cast(pl.String).str.strip_chars()
    values = column.cast(pl.Float64, strict=False)
    if values.null_count() > column.null_count():
        values = values.fill_null(_with_commas(column).cast(pl.Float64, strict=False))
    bad = (values.is_null() & column.is_not_null() & ~column.is_in(MISSING)) | values.is_infinite()
    values = values.fill_nan(None)
    return values, int(bad.arg_true()[0]) if bad.any() else None


def _with_commas(column: pl.Series) -> pl.Series:
    """Numbers that people write with commas: 3,5 or 1.234,5 or, if all are so, 1,234."""
    commas = column.filter(column.str.contains(",", literal=True))
    if commas.str.contains(r"^-?\d{1,3}(,\d{3})+(\.\d+)?$").all():
        return column.str.replace_all(",", "", literal=True)
    points = column.str.contains(r"^-?\d{1,3}(\.\d{3})+,\d+$")
    plain = column.str.replace_all(".", "", literal=True).zip_with(points, column)
    return plain.str.replace(",", ".", literal=True)


def guess_time(column: pl.Series) -> str | None:
    """How times are written: `s`, `ms`, `us`, `ns`, or a date's format; None if none are there.

    Numbers of eight digits that are dates of these centuries (20150131) are dates.
    """
    if column.dtype.is_temporal():
        return "us"
    some = column.cast(pl.String).drop_nulls().head(1000)
    some = some.filter(~some.is_in(MISSING))
    if not len(some):
        return None
    numbers = some.cast(pl.Float64, strict=False).drop_nulls()
    if len(numbers) >= len(some) / 2:
        for date, digits in (("%Y%m%d", ""), ("%Y%m%d%H%M%S", r"\d{6}")):
            if some.str.contains(rf"^(19|20)\d\d[01]\d[0-3]\d{digits}$").all():
                return date
        middle = numbers.median()
        size = middle if isinstance(middle, float) else 0.0
        return next((unit for unit, per in UNITS.items() if size < 1e11 * per), "ns")
    return max(DATES, key=lambda date: seconds(some, date).count())


def _is_either(column: pl.Series, time: str) -> bool:
    """Are as many dates understood with the day before the month?"""
    other = time.replace("%m/%d", "%d/%m")
    return seconds(column, other).count() == seconds(column, time).count()


def seconds(column: pl.Series, time: str | None) -> pl.Series:
    """Int64 seconds since 1970-01-01 UTC; null where the time is missing or impossible."""
    if time is None:
        return pl.repeat(None, len(column), dtype=pl.Int64, eager=True)
    if column.dtype.is_temporal():
        stamps = column.cast(pl.Datetime("us"))
        found = stamps.dt.epoch("s")
    elif time in UNITS:
        if column.dtype == pl.Int32 and UNITS[time] == 1:
            return column.set(column < OLDEST, None)
        numbers = column if column.dtype.is_numeric() else column.cast(pl.Int64, strict=False)
        if numbers.null_count() > column.null_count():
            numbers = column.cast(pl.Float64, strict=False)
        if numbers.dtype.is_float():
            numbers = numbers.fill_nan(None).floor()
        found = numbers // UNITS[time] if UNITS[time] > 1 else numbers
        found = found.cast(pl.Int64, strict=False)
    else:
        text = column.cast(pl.String)
        stamps = text.str.to_datetime(time, strict=False, time_unit="us")
        found = stamps.dt.epoch("s")
    return found.set((found < OLDEST) | (found > NEWEST), None)
