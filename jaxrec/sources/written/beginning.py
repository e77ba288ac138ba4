"""What the first lines of a text tell of the table: its columns, and how they are separated."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from jaxrec.data.batches import MISSING
from jaxrec.sources.written.rows import Layout, csv_rows, json_fields, unclosed

FIELDS = 50
"""An object of more fields than this is a dictionary: a column of its own, as text."""
SEPARATORS = ("::", "\t", "|", ";", ",", " ")
"""In the order in which they are tried; a blank has to be in all lines alike."""
TYPED = re.compile(r".+:(token|float)(_seq)?")
EXCEL = re.compile(r"(?i)\s*\"?sep=(.)\"?[\r\n]*")
"""A first line that tells Excel the separator."""
NUMBER = re.compile(r"\s*-?\d+([.,]\d+)?([eE][+-]?\d+)?\s*")


def is_header(rows: list[list[str]]) -> bool:
    """Does the first row name the columns? A name is no number, and not repeated below itself.

    Words above a column of numbers are its name, whatever they are, and however often that row
    comes: files are put one behind the other.
    """
    first = rows[0]
    below = [row for row in rows[1:] if len(row) == len(first)]
    if any(NUMBER.fullmatch(name) for name in first):
        return False
    if not below:
        return True
    others = zip(*(row for row in below if row != first), strict=True)
    above = [
        column for name, column in zip(first, others, strict=False) if name.strip() not in MISSING
    ]
    if any(map(_are_numbers, above)):
        return True
    names = list(zip(first, zip(*below, strict=True), strict=True))
    typed = all(":" in name for name in first if name)  # RecBole's
    words = all(re.fullmatch(r"[\w\s:./#-]{0,40}", name) for name in first)
    return words and (typed or not any(name in column for name, column in names if name))


def _are_numbers(column: tuple[str, ...]) -> bool:
    there = [field for field in column if field.strip() not in MISSING]
    return bool(there) and all(NUMBER.fullmatch(field) for field in there)


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


def json_columns(lines: list[str]) -> tuple[str, ...]:
    """The fields that JSON lines have, those of dictionaries (`FIELDS`) left within them."""
    found: dict[str, bool] = {}
    for line in filter(str.strip, lines):
        for name, value in (json_fields(line) or {}).items():
            found[name] = found.get(name, False) or not isinstance(value, dict)
    sizes = Counter(name.rpartition(".")[0] for name in found)

    def place(name: str) -> str:
        parts = name.split(".")
        above = (".".join(parts[:n]) for n in range(1, len(parts)))
        return next((object_ for object_ in above if sizes[object_] > FIELDS), name)

    return tuple(dict.fromkeys(place(name) for name, is_value in found.items() if is_value))


def beginning(lines: list[str], separator: str | None) -> tuple[int, str]:
    """How many lines come before the table (blank ones, comments, `sep=;`), and the separator.

    A line that begins `#name` and has as many fields as the next one is no comment.
    """
    skip = 0
    for line in lines:
        excel = EXCEL.fullmatch(line)
        if excel:
            separator = separator or excel[1]
        elif line.strip() and not line.startswith("#"):
            break
        skip += 1
    if skip == len(lines):
        return 0, separator or _separator(lines)
    separator = separator or _separator(list(filter(str.strip, lines[skip:])))
    last = lines[skip - 1] if skip else ""
    if re.match(r"#\S", last) and last.count(separator) == lines[skip].count(separator):
        skip -= 1
    return skip, separator


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


def is_quoted(lines: list[str], separator: str) -> bool:
    """Do quotes enclose fields? Between commas and semicolons they do, else if they are closed."""
    edge = re.escape(separator)
    opened = sum(len(re.findall(rf'(?:^|{edge})"', line)) for line in lines)
    closed = sum(len(re.findall(rf'"(?={edge}|\r?\n?$)', line)) for line in lines)
    return len(separator) == 1 and (separator in ",;" or 0 < opened == closed)


def sample_rows(
    path: Path, lines: list[str], layout: Layout, skip: int
) -> Iterator[tuple[int, list[str]]]:
    """Rows of lines that may end within one: how many lines come before each, and its fields."""
    rows, before = csv_rows(iter(lines), layout), 0
    try:
        for row in rows:
            if any(map(str.strip, row)):
                yield before, row
            before = rows.line_num
    except csv.Error as error:
        if rows.line_num < len(lines) or not before:
            raise unclosed(path, skip + before + 1, error) from None
    yield before, []  # where the next one may begin
