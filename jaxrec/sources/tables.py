"""One table as it is written: CSV and its relatives, JSON lines or Parquet, compressed or not.

What polars cannot read as it stands (compressed, not UTF-8, separated by `::`, quotes escaped by
backslashes) is first written as plain CSV to a temporary file. polars reads at full speed; only
when something is wrong does a second, slow reading find the line to name.
"""

import ast
import csv
import json
import mmap
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from jaxrec.errors import InputError
from jaxrec.sources.encodings import encoding_of, is_packed, open_bytes, open_text

SAMPLE = 2000
"""Rows that are looked at to see how a table is written."""
CACHED = 2**18
"""Bytes that are looked at at once: they stay in the processor's cache."""
ROWS = 500_000
"""Of a batch."""
SEPARATORS = ("::", "\t", "|", ";", ",", " ")
"""In the order in which they are tried; a blank has to be in all lines alike."""
PLAIN = "\x1f"
"""Takes the place of a separator of several characters."""
BACKSLASHED = re.compile(r'(?<!\\)\\"')
TYPED = re.compile(r".+:(token|float)(_seq)?")
NUMBER = re.compile(r"\s*-?\d+([.,]\d+)?([eE][+-]?\d+)?\s*")

OnBytes = Callable[[int, int], None]
"""Told how many bytes have been read, of how many."""


def nobody(read: int, size: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Layout:
    """How a table is written."""

    format: str = "csv"
    """`csv` (whatever separates), `jsonl` or `parquet`."""
    columns: tuple[str, ...] = ()
    """All its columns, in order."""
    header: bool = True
    """Does the first line name them?"""
    separator: str = ","
    quoted: bool = True
    """May double quotes enclose a field?"""
    backslashes: bool = False
    """Is a quote within quotes escaped by a backslash, not doubled?"""
    encoding: str = "utf-8"


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
        InputError: it is absent, empty, or in no encoding that is recognised.
    """
    with open_bytes(path) as file:
        start = file.read(4)
    if start == b"PAR1":
        try:
            with open_bytes(path) as file:
                return Layout("parquet", tuple(pl.read_parquet_schema(file)))
        except pl.exceptions.PolarsError as error:
            raise InputError(f"{path}: {str(error).splitlines()[0]}; fetch it again") from None
    encoding = encoding or encoding_of(path)
    with open_text(path, encoding) as text:
        lines = [line for line in islice(text, SAMPLE) if line.strip()]
    if not lines:
        raise InputError(f"{path}, line 1: the file is empty")
    if lines[0].lstrip().startswith("["):
        raise InputError(f"{path}, line 1: a JSON list; write its objects one a line (JSON lines)")
    if lines[0].lstrip().startswith("{"):
        fields = dict.fromkeys(name for line in lines for name in _object(line) or ())
        return Layout("jsonl", tuple(fields), encoding=encoding)
    separator = separator or _separator(lines)
    quoted = _is_quoted(lines, separator)
    layout = Layout(
        separator=separator,
        quoted=quoted,
        backslashes=quoted and any(BACKSLASHED.search(line) for line in lines),
        encoding=encoding,
    )
    rows = list(_sample_rows(lines, layout))
    if columns is not None and len(columns) != len(rows[0]):
        raise InputError(
            f"{path}, line 1: {len(rows[0])} fields, and {len(columns)} names of columns"
            f" ({', '.join(columns)})"
        )
    header = columns is None and is_header(rows)
    if columns is None:
        named = rows[0] if header else [f"column_{n + 1}" for n in range(len(rows[0]))]
        columns = distinct(named)
    return replace(layout, columns=columns, header=header)


def sample(path: Path, layout: Layout, rows: int = SAMPLE) -> pl.DataFrame:
    """The first rows of a table: all its columns, as text where they are no lists."""
    if layout.format == "parquet":
        with open_bytes(path) as file:
            frame = pl.read_parquet(file, n_rows=rows)
        flat = [name for name, kind in frame.schema.items() if not kind.is_nested()]
        return frame.with_columns(pl.col(flat).cast(pl.String, strict=False))
    found = list(islice((row for _, row in lines_of(path, layout)), rows))
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

    Raises:
        InputError: the table is malformed; file and line are named.
    """
    for column in wanted:
        if column not in layout.columns:
            raise InputError(f"{path}: no column {column!r}; there are {', '.join(layout.columns)}")
    with _plain(path, layout) as (place, simple):
        typed = numbers if numbers and simple.format == "csv" else {}
        if typed and _has_odd_numbers(place, simple.separator):
            typed = {}
        done, size, a_row = 0, place.stat().st_size, _bytes_a_row(place)
        while True:
            frame = _scan(place, simple, typed, wanted)
            frame = frame.slice(done) if done else frame
            try:
                for batch in frame.collect_batches(maintain_order=True, chunk_size=ROWS):
                    yield batch
                    done += len(batch)
                    on_bytes(min(int(done * a_row), size), size)
            except pl.exceptions.PolarsError as error:
                if not typed:
                    raise _named(path, layout, error) from None
                typed = {}  # what is no number comes late: go on with text from here
                continue
            on_bytes(size, size)
            return


def place_of(path: Path, layout: Layout, row: int) -> str:
    """File and line of a data row, for people; slow."""
    if layout.format == "parquet":
        return f"{path}, row {row + 1}"
    line, _ = next(islice(lines_of(path, layout), row, None), (None, []))
    return str(path) if line is None else f"{path}, line {line}"


def lines_of(path: Path, layout: Layout) -> Iterator[tuple[int, list[str | None]]]:
    """Number of the line on which each data row ends, and its fields; slow.

    Raises:
        InputError: a line is not JSON, or quotes are not closed.
    """
    with open_text(path, layout.encoding) as text:
        if layout.format == "jsonl":
            for number, line in enumerate(text, start=1):
                if line.strip():
                    found = _object(line)
                    if found is None:
                        raise InputError(f"{path}, line {number}: not a JSON object")
                    yield number, [_written(found.get(name)) for name in layout.columns]
            return
        rows = _csv(text, layout)
        try:
            for index, row in enumerate(row for row in rows if any(map(str.strip, row))):
                if index or not layout.header:
                    yield rows.line_num, [field or None for field in row]
        except csv.Error as error:
            raise InputError(f"{path}, line {rows.line_num}: {error}") from None


def is_header(rows: list[list[str]]) -> bool:
    """Does the first row name the columns? A name is no number, and not repeated below itself."""
    first, below = rows[0], rows[1:]
    if any(NUMBER.fullmatch(name) for name in first):
        return False
    columns = list(zip(*(row for row in below if len(row) == len(first)), strict=True))
    if not columns:
        return True
    numeric = [all(NUMBER.fullmatch(field) for field in column if field) for column in columns]
    typed = all(":" in name for name in first if name)  # RecBole's
    words = all(re.fullmatch(r"[\w :./-]{0,40}", name) for name in first)
    return words and (any(numeric) or typed or not any(
        name in column for name, column in zip(first, columns, strict=True) if name
    ))  # fmt: skip


def distinct(names: list[str]) -> tuple[str, ...]:
    """Names of columns, stripped, each once: an empty one is `column_N`, a second one `NAME_N`.

    RecBole's types (`user_id:token`) are taken off.
    """
    if all(TYPED.fullmatch(name.strip()) for name in names):
        names = [name.partition(":")[0] for name in names]
    found: list[str] = []
    for number, given in enumerate(names, start=1):
        name = given.strip().lstrip("\ufeff").strip() or f"column_{number}"
        found.append(name if name not in found else f"{name}_{number}")
    return tuple(found)


def _separator(lines: list[str]) -> str:
    """The separator that most lines hold equally often, the likelier one of equals."""
    best, most = ",", 0.0
    for separator in SEPARATORS:
        counts = [line.count(separator) for line in lines[:200]]
        if not counts[0]:
            continue
        alike = sum(count == counts[0] for count in counts) / len(counts)
        if alike > most and (separator != " " or alike == 1):
            best, most = separator, alike
    return best


def _is_quoted(lines: list[str], separator: str) -> bool:
    """Do quotes enclose fields? Between commas and semicolons they do, else if they are closed."""
    edge = re.escape(separator)
    opened = sum(len(re.findall(rf'(?:^|{edge})"', line)) for line in lines)
    closed = sum(len(re.findall(rf'"(?={edge}|\r?\n?$)', line)) for line in lines)
    return len(separator) == 1 and (separator in ",;" or 0 < opened == closed)


def _sample_rows(lines: list[str], layout: Layout) -> Iterator[list[str]]:
    """The rows of lines that may end within one."""
    rows = _csv(iter(lines), layout)
    try:
        yield from filter(None, rows)
    except csv.Error:
        if rows.line_num < len(lines):
            raise


def _csv(lines: Iterator[str], layout: Layout) -> Any:
    if len(layout.separator) > 1:
        lines = (line.replace(layout.separator, PLAIN) for line in lines)
    return csv.reader(
        lines,
        delimiter=PLAIN if len(layout.separator) > 1 else layout.separator,
        quoting=csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE,
        escapechar="\\" if layout.backslashes else None,
        strict=layout.quoted and not layout.backslashes,
    )


def _object(line: str) -> dict[str, Any] | None:
    """A line as JSON, or as the Python dictionary that some publishers take for it; else None."""
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(line.strip())
        except (ValueError, SyntaxError):
            continue
        return found if isinstance(found, dict) else None
    return None


def _written(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


@contextmanager
def _plain(path: Path, layout: Layout) -> Iterator[tuple[Path, Layout]]:
    """A file that polars can read, and how that one is written."""
    long, simple = len(layout.separator) > 1, replace(layout, encoding="utf-8")
    as_it_is = layout.encoding == "utf-8" and not is_packed(path)
    if layout.format == "parquet" and as_it_is:
        yield path, layout
        return
    if layout.format == "jsonl":
        with open_text(path, layout.encoding) as text:
            as_it_is &= not next(filter(str.strip, text), "").lstrip().startswith("{'")
    if as_it_is and not long and not layout.backslashes:
        yield path, simple
        return
    with tempfile.TemporaryDirectory(prefix="jaxrec-") as scratch:
        place = Path(scratch) / "plain"
        if layout.format == "parquet":
            with open_bytes(path) as file, place.open("wb") as out:
                shutil.copyfileobj(file, out)
            yield place, layout
            return
        with (
            open_text(path, layout.encoding) as text,
            place.open("w", encoding="utf-8", newline="") as plain,
        ):
            if layout.format == "jsonl":
                for _, row in lines_of(path, layout):
                    found = zip(layout.columns, row, strict=True)
                    plain.write(json.dumps({k: v for k, v in found if v is not None}) + "\n")
            elif layout.backslashes:
                rows = csv.writer(plain, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
                rows.writerows(row for _, row in lines_of(path, layout))
                simple = replace(simple, header=False, separator=",", backslashes=False)
            else:
                for line in text:
                    plain.write(line.replace(layout.separator, PLAIN) if long else line)
                simple = replace(simple, separator=PLAIN) if long else simple
        yield place, simple


def _scan(
    place: Path, layout: Layout, typed: dict[str, pl.DataType], wanted: list[str]
) -> pl.LazyFrame:
    if layout.format == "parquet":
        return pl.scan_parquet(str(place)).select(wanted)
    if layout.format == "jsonl":
        return pl.scan_ndjson(str(place), schema=dict.fromkeys(wanted, pl.String)).select(wanted)
    return (
        pl.scan_csv(
            place,
            schema={name: typed.get(name, pl.String()) for name in layout.columns},
            has_header=False,
            skip_rows=int(layout.header),
            separator=layout.separator,
            quote_char='"' if layout.quoted else None,
            glob=False,
        )
        .select(wanted)
        .filter(~pl.all_horizontal(pl.all().is_null()))
    )  # blank lines


def _named(path: Path, layout: Layout, error: Exception) -> InputError:
    """What is wrong with a table that polars refuses, its line named."""
    if layout.format != "parquet":
        for line, row in lines_of(path, layout):
            if len(row) != len(layout.columns):
                return InputError(
                    f"{path}, line {line}: {len(row)} fields; expected {len(layout.columns)}"
                    f" ({', '.join(layout.columns)}); mend the line, or quote it"
                )
    return InputError(f"{path}: {str(error).splitlines()[0]}")


def _bytes_a_row(place: Path) -> float:
    with place.open("rb") as file:
        start = file.read(2**18)
    return len(start) / max(start.count(b"\n"), 1)


def _has_odd_numbers(place: Path, separator: str) -> bool:
    """Does a field begin like a number that is not written as one writes it: 007, +7, -0?"""
    size = place.stat().st_size
    if not size:
        return False
    edges = [ord(separator), ord("\n"), ord('"')]
    with place.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:

        def odd(start: int) -> bool:
            block = text[max(start - 1, 0) : start + CACHED + 1]
            if b"+" in block or (b"-" in block and b"-0" in block):
                return True
            b = np.frombuffer(block if start else b"\n" + block, np.uint8)
            edge = b[:-2] == edges[0]
            for other in edges[1:]:
                edge |= b[:-2] == other
            edge &= b[1:-1] == ord("0")
            edge &= b[2:] - ord("0") < 10  # unsigned: what is below 0 wraps around
            return bool(edge.any())

        with ThreadPoolExecutor() as pool:
            return any(pool.map(odd, range(0, size, CACHED)))
