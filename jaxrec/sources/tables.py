"""One table as it is written: CSV and its relatives, JSON lines or Parquet, compressed or not.

What polars cannot read as it stands (compressed, not UTF-8, separated by `::`) is first written
anew to a temporary file. Where it refuses a table, as one with a quote within a field, Python reads
it row by row, and names the line that is wrong. What separates a table, and whether double
quotes enclose its fields, is told of its first lines; between commas and semicolons they always do.
"""

import csv
import glob
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from jaxrec.errors import InputError
from jaxrec.sources.encodings import encoding_of, is_packed, open_bytes, open_text
from jaxrec.sources.written.beginning import (
    beginning,
    distinct,
    is_header,
    is_quoted,
    json_columns,
    sample_rows,
)
from jaxrec.sources.written.odd_numbers import has_odd_numbers
from jaxrec.sources.written.rows import PLAIN, Layout, lines_of

SAMPLE = 2000
"""Rows that are looked at to see how a table is written."""
LOOKED_AT = 2**24
"""Characters of these, or of the JSON lines after them in which fields are looked for."""
MOST_COLUMNS = 10_000
ROWS = 500_000
"""Of a batch."""
MOST_ROWS, ROWS_A_BYTE = 2**26, 12
"""A Parquet file may have so many rows, or so many for each of its bytes: its format repeats a row
without end in a few bytes, and of what anybody did it never comes near."""
BACKSLASHED = re.compile(r'(?<!\\)\\"')

UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars raises of a damaged file; a panic is no Exception."""

OnBytes = Callable[[int, int], None]
"""Told how many bytes have been read, of how many."""


def nobody(read: int, size: int) -> None:
    """Tells nobody."""


def sniff(
    path: Path,
    columns: tuple[str, ...] | None = None,
    separator: str | None = None,
    encoding: str | None = None,
) -> Layout:
    """How the table at `path` is written, where that is not given.

    Args:
        path: the file, perhaps within a zip archive.
        columns: their names, if the file does not name them.
        separator: of the fields.
        encoding: of the text, as Python calls it.

    Raises:
        InputError: it is absent, empty, in no encoding that is recognised, or quotes do not close.
    """
    with open_bytes(path) as file:
        start = file.read(4)
    if start == b"PAR1":
        with _parquet(path) as place:
            scan = pl.scan_parquet(place, glob=False)
            _refuse_endless(path, place, scan.select(pl.len()).collect().item())
            return Layout("parquet", tuple(scan.collect_schema()))
    encoding = encoding or encoding_of(path)
    with open_text(path, encoding) as text:
        lines = _within(islice(text, SAMPLE))
        first = next(filter(str.strip, lines), "").lstrip()
        if first.startswith("{"):
            lines += _within(text)
    if not first:
        raise InputError(f"{path}, line 1: the file is empty")
    if first.startswith("["):
        raise InputError(f"{path}, line 1: a JSON list; write its objects one a line (JSON lines)")
    returns = first.endswith("\r")
    if first.startswith("{"):
        fields = json_columns(lines)
        _refuse_many(path, len(fields))
        return Layout("jsonl", fields, encoding=encoding, returns=returns)
    skip, separator = beginning(lines, separator)
    lines = lines[skip:]
    quoted = is_quoted(lines, separator)
    layout = Layout(
        separator=separator,
        quoted=quoted,
        backslashes=quoted and any(BACKSLASHED.search(line) for line in lines),
        encoding=encoding,
        returns=returns,
    )
    return _with_columns(path, layout, columns, skip, list(sample_rows(path, lines, layout, skip)))


def _refuse_endless(path: Path, place: Path, rows: int) -> None:
    """InputError for more `rows`, said or read, than the unpacked file at `place` can mean."""
    most = max(MOST_ROWS, ROWS_A_BYTE * place.stat().st_size)
    if rows > most:
        raise InputError(
            f"{path}: {rows:,} rows in {place.stat().st_size:,} bytes; if it is a table, write it"
            " as CSV"
        )


def _within(lines: Iterator[str]) -> list[str]:
    """The first lines, of `LOOKED_AT` characters or a little more."""
    found, size = list[str](), 0
    for line in lines:
        found.append(line)
        size += len(line)
        if size > LOOKED_AT:
            break
    return found


def _with_columns(
    path: Path,
    layout: Layout,
    columns: tuple[str, ...] | None,
    skip: int,
    found: list[tuple[int, list[str]]],
) -> Layout:
    """A layout with names of columns, and the lines before the first row.

    Args:
        path: of the table.
        layout: its layout so far.
        columns: their names, if they are known.
        skip: lines that come before all rows.
        found: of the first rows, the header perhaps among them, lines before each, and fields.
    """
    rows = [row for _, row in found]
    if not rows[0]:
        raise InputError(f"{path}, line {skip + 1}: no row; is the file cut short?")
    _refuse_many(path, len(rows[0]))
    if columns is not None and len(columns) != len(rows[0]):
        raise InputError(
            f"{path}, line {found[0][0] + skip + 1}: {len(rows[0])} fields, and {len(columns)}"
            f" names of columns ({', '.join(columns)})"
        )
    header = is_header(rows) if columns is None else distinct(rows[0]) == columns
    if columns is None:
        named = rows[0] if header else [f"column_{n + 1}" for n in range(len(rows[0]))]
        columns = distinct(named)
    starts = [skip + before for before, _ in found]
    return replace(layout, columns=columns, header=header, skip=starts[1 if header else 0])


def _refuse_many(path: Path, columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise InputError(f"{path}: {columns:,} columns; is it a table, and how is it separated?")


def sample(path: Path, layout: Layout, rows: int = SAMPLE) -> pl.DataFrame:
    """The first rows of a table: all its columns, as text where they are no lists."""
    if layout.format == "parquet":
        with _parquet(path) as place:
            frame = pl.scan_parquet(place, glob=False).head(rows).collect()
        flat = [column for column in frame if not column.dtype.is_nested()]
        return frame.with_columns(_text(column, path, strict=False) for column in flat)
    found, size = list[list[str | None]](), 0
    for _, row in islice(lines_of(path, layout), rows):
        found.append(row)
        size += sum(map(len, filter(None, row)))
        if size > LOOKED_AT:
            break
    schema = dict.fromkeys(layout.columns, pl.String)
    whole = [row for row in found if len(row) == len(schema)]
    return pl.DataFrame(whole, schema=schema, orient="row")


def read(
    path: Path,
    layout: Layout,
    wanted: list[str],
    numbers: dict[str, pl.DataType] | None = None,
    on_bytes: OnBytes = nobody,
) -> Iterator[pl.DataFrame]:
    """The wanted columns of a table, batch by batch, in the order of the file.

    Columns of CSV and JSON lines are text; those of `numbers` are of these types as long as they
    hold numbers, each as one writes it (`007` is none). Columns of Parquet have their own types.
    A field of JSON lines may be one that `layout` lacks, since it comes late.

    Raises:
        InputError: the table is malformed; file and line are named.
    """
    wanted = list(dict.fromkeys(wanted))
    unseen = {column for column in wanted if column not in layout.columns}
    if layout.format != "jsonl":
        _refuse(unseen, path, layout)
    done = 0
    for anew in (False, True):
        with _plain(path, layout, wanted, anew) as (place, simple):
            size, a_row = place.stat().st_size, _bytes_a_row(place)
            try:
                for batch in _batches(place, simple, wanted, numbers or {}, done):
                    if layout.format == "parquet":
                        kinds = (pl.Binary, pl.Duration, pl.Time)
                        batch = batch.with_columns(
                            _text(column, path) for column in batch if column.dtype in kinds
                        )
                        _refuse_endless(path, place, done + len(batch))
                    unseen -= {name for name in unseen if batch[name].null_count() < len(batch)}
                    yield batch
                    done += len(batch)
                    on_bytes(min(int(done * a_row), size), size)
            except pl.exceptions.PolarsError as error:
                if layout.format == "parquet":
                    raise
                if anew:
                    raise InputError(f"{path}: {str(error).splitlines()[0]}") from None
                continue
            _refuse(unseen, path, layout)
            on_bytes(size, size)
            return


def _refuse(unseen: set[str], path: Path, layout: Layout) -> None:
    for column in sorted(unseen):
        raise InputError(f"{path}: no column {column!r}; there are {', '.join(layout.columns)}")


def _batches(
    place: Path, layout: Layout, wanted: list[str], numbers: dict[str, pl.DataType], done: int
) -> Iterator[pl.DataFrame]:
    """The rows after `done` of a file that polars can read."""
    typed = numbers if layout.format == "csv" else {}
    if typed and has_odd_numbers(place, layout.separator):
        typed = {}
    while True:
        frame = _scan(place, layout, typed, wanted)
        frame = frame.slice(done) if done else frame
        try:
            for batch in frame.collect_batches(maintain_order=True, chunk_size=ROWS):
                yield batch
                done += len(batch)
        except pl.exceptions.PolarsError:
            if not typed:
                raise
            typed = {}  # what is no number comes late: go on with text from here
            continue
        return


def place_of(path: Path, layout: Layout, row: int, wanted: list[str]) -> str:
    """File and line of a row of the wanted columns, for people; slow."""
    if layout.format == "parquet":
        return f"{path}, row {row + 1}"
    places = [place for place, name in enumerate(layout.columns) if name in wanted]

    def is_read(fields: list[str | None]) -> bool:
        there = (fields[at] is not None for at in places if at < len(fields))
        return layout.format == "jsonl" or any(there)

    lines = (line for line, fields in lines_of(path, layout) if is_read(fields))
    line = next(islice(lines, row, None), None)
    return str(path) if line is None else f"{path}, line {line}"


def _text(column: pl.Series, path: Path, strict: bool = True) -> pl.Series:
    """A column of Parquet as text; InputError, or nulls, if it cannot be."""
    try:
        if column.dtype == pl.Duration:  # of which there is no cast
            return column.dt.to_string()
        return column.cast(pl.String)
    except pl.exceptions.PolarsError:
        if not strict:
            return pl.Series(column.name, [None] * len(column), dtype=pl.String)
        raise InputError(
            f"{path}: column {column.name!r} ({column.dtype}) is no text in UTF-8; write it as text"
        ) from None


@contextmanager
def _parquet(path: Path) -> Iterator[Path]:
    """A Parquet file that is not packed; InputError for what polars cannot read of it."""
    with ExitStack() as stack:
        place = path
        if is_packed(path):
            place = Path(stack.enter_context(TemporaryDirectory(prefix="jaxrec-"))) / "plain"
            with open_bytes(path) as file, place.open("wb") as out:
                shutil.copyfileobj(file, out)
        try:
            yield place
        except UNREADABLE as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: not whole ({reason}); fetch it again") from None


@contextmanager
def _plain(
    path: Path, layout: Layout, wanted: list[str], anew: bool
) -> Iterator[tuple[Path, Layout]]:
    """A file that polars can read, and how that one is written.

    Args:
        path: the table.
        layout: how it is written.
        wanted: its columns that are needed.
        anew: have Python read it row by row.
    """
    if layout.format == "parquet":
        with _parquet(path) as place:
            yield place, layout
        return
    if layout.format == "jsonl":
        with open_text(path, layout.encoding) as text:
            anew |= next(filter(str.strip, text), "").lstrip().startswith("{'")
        anew |= any("." in name for name in wanted)  # within objects
    anew |= layout.backslashes
    long = layout.long and layout.format == "csv"
    as_it_is = layout.encoding == "utf-8" and not is_packed(path)
    if as_it_is and not (anew or long or layout.returns):
        yield path, layout
        return
    with TemporaryDirectory(prefix="jaxrec-") as scratch:
        place = Path(scratch) / "plain"
        with place.open("w", encoding="utf-8", newline="") as plain:
            if anew:
                columns = tuple(wanted) if layout.format == "jsonl" else layout.columns
                rows = csv.writer(plain, lineterminator="\n")
                rows.writerows(_whole_rows(path, replace(layout, columns=columns)))
                simple = Layout(columns=columns)
            else:
                with open_text(path, layout.encoding) as text:
                    for line in text:
                        line = line.replace(layout.separator, PLAIN) if long else line
                        plain.write(line.replace("\r", "\n") if layout.returns else line)
                simple = replace(layout, separator=PLAIN if long else layout.separator)
        yield place, simple


def _whole_rows(path: Path, layout: Layout) -> Iterator[list[str | None]]:
    """Rows with all fields, null where the line ends before; InputError where it has too many."""
    for line, row in lines_of(path, layout):
        if len(row) > len(layout.columns):
            raise InputError(
                f"{path}, line {line}: {len(row)} fields; expected {len(layout.columns)}"
                f" ({', '.join(layout.columns)}); mend the line, or quote it"
            )
        yield row + [None] * (len(layout.columns) - len(row))


def _scan(
    place: Path, layout: Layout, typed: dict[str, pl.DataType], wanted: list[str]
) -> pl.LazyFrame:
    if layout.format == "parquet":
        return pl.scan_parquet(place, glob=False).select(wanted)
    if layout.format == "jsonl":  # which takes every name for a pattern
        return pl.scan_ndjson(
            glob.escape(str(place)), schema=dict.fromkeys(wanted, pl.String)
        ).select(wanted)
    return (
        pl.scan_csv(
            place,
            schema={name: typed.get(name, pl.String()) for name in layout.columns},
            has_header=False,
            skip_lines=layout.skip,
            separator=layout.separator,
            quote_char='"' if layout.quoted else None,
            glob=False,
        )
        .select(wanted)
        .filter(~pl.all_horizontal(pl.all().is_null()))  # no blank lines
    )


def _bytes_a_row(place: Path) -> float:
    with place.open("rb") as file:
        start = file.read(2**18)
    return len(start) / max(start.count(b"\n"), 1)
