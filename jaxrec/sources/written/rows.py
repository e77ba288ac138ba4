"""The rows of a text, with the line on which each ends; slow: `tables` reads at full speed."""

import ast
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from jaxrec.errors import InputError
from jaxrec.sources.encodings import LONGEST, open_text

csv.field_size_limit(LONGEST)  # texts may be long; what is longer has quotes that do not close
PYTHON = 2**20
"""Characters of the longest value that is read as Python: its tree takes a hundredfold."""

PLAIN = "\x1f"
"""Takes the place of a separator of several characters."""


@dataclass(frozen=True)
class Layout:
    """How a table is written."""

    format: str = "csv"
    """`csv` (whatever separates), `jsonl` or `parquet`."""
    columns: tuple[str, ...] = ()
    """All its columns, in order."""
    header: bool = True
    """Does a line of it name them?"""
    separator: str = ","
    quoted: bool = True
    """May double quotes enclose a field?"""
    backslashes: bool = False
    """Is a quote within quotes escaped by a backslash, not doubled?"""
    encoding: str = "utf-8"
    returns: bool = False
    """Do lines end with a carriage return alone, as on old Macs?"""
    skip: int = field(default=0, compare=False)
    """Lines before the first row: the header, and what is blank, a comment or `sep=;`."""

    @property
    def long(self) -> bool:
        """Has the separator more than the one byte that polars takes?"""
        return len(self.separator.encode()) > 1


def lines_of(path: Path, layout: Layout) -> Iterator[tuple[int, list[str | None]]]:
    """Number of the line on which each data row ends, and its fields; slow.

    Raises:
        InputError: a line is not JSON, or quotes are not closed.
    """
    with open_text(path, layout.encoding) as text:
        if layout.format == "jsonl":
            for number, line in enumerate(text, start=1):
                if line.strip():
                    found = json_fields(line)
                    if found is None:
                        raise InputError(f"{path}, line {number}: not a JSON object")
                    yield number, [_written(found.get(name)) for name in layout.columns]
            return
        rows, end = csv_rows(islice(text, layout.skip, None), layout), layout.skip
        try:
            for row in rows:
                end = layout.skip + rows.line_num
                if any(row):
                    yield end, [field or None for field in row]
        except csv.Error as error:
            raise unclosed(path, end + 1, error) from None


def unclosed(path: Path, line: int, error: csv.Error) -> InputError:
    """What is wrong with the quotes of a row that begins on a line."""
    return InputError(f"{path}, line {line}: {error}; close the quotes, and double those within")


def csv_rows(lines: Iterator[str], layout: Layout) -> Any:
    """A reader of Python's for lines."""
    if layout.long:
        lines = (line.replace(layout.separator, PLAIN) for line in lines)
    return csv.reader(
        lines,
        delimiter=PLAIN if layout.long else layout.separator,
        quoting=csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE,
        escapechar="\\" if layout.backslashes else None,
        strict=layout.quoted and not layout.backslashes,
    )


def json_fields(line: str) -> dict[str, Any] | None:
    """The fields of a JSON object, those of objects within it beside them as `user.id`.

    The line may be a Python dictionary, which some publishers take for JSON; None if it is neither.
    """
    try:
        found = literal(line.strip())
        return dict(_fields(found)) if isinstance(found, dict) else None
    except (ValueError, RecursionError):
        return None


def literal(text: str) -> Any:
    """What is written as JSON, or as Python writes it.

    Raises:
        ValueError: it is neither, or holds half a character.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if len(text) > PYTHON:
            raise ValueError("not JSON") from None
        try:
            found = ast.literal_eval(text)
        except (SyntaxError, TypeError, MemoryError, RecursionError):
            raise ValueError("neither JSON nor Python") from None
    if "\\u" in text:
        json.dumps(found, ensure_ascii=False, skipkeys=True, default=str).encode()
    return found


def _fields(found: dict[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in found.items():
        yield f"{within}{name}", value
        if isinstance(value, dict):
            yield from _fields(value, f"{within}{name}.")


def _written(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return (
        json.dumps(value, skipkeys=True, default=str) if value == value else None
    )  # NaN is nothing
