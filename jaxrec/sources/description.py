"""`dataset.toml`: what a data set is made of, and what its columns are for."""

import os
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import polars as pl
import tomlkit

from jaxrec.data.batches import UNITS, seconds
from jaxrec.data.columns import Columns, ItemColumns
from jaxrec.data.dataset import columns_of
from jaxrec.errors import InputError
from jaxrec.files import is_stream, real, refuse_devices, whole_file

NAME = "dataset.toml"

WRITTEN = {
    "files": "beside this file; * stands for any text; gzip, zstandard and zip are undone",
    "columns": "names of the columns, since the file does not give them",
    "separator": "between fields",
    "encoding": "of the text: utf-8, utf-16, windows-1252 (latin-1), ...",
    "time_format": "s, ms, us or ns since 1970, or a pattern of a date such as %Y-%m-%d",
}
"""How a table is written, and what to say of it."""
SAYS = {
    "interactions": WRITTEN
    | {
        "user": "column of users",
        "item": "column of items",
        "value": "column of stars or counts; without it every interaction is a like",
        "time": "column of times",
    },
    "feedback": {
        "kind": "stars, likes or counts",
        "scale": "lowest and highest star",
        "liked": "from here on a value is liked: it is relevant, and what encoders learn from",
        "disliked": "below, it is disliked",
        "neutral": "here the graded target is 0; at `liked` it is 1",
        "confidence": "how it grows with counts: log or linear",
        "typical": "a count of so much has the confidence 1",
        "implicit": "a value that is no rating but an interaction",
    },
    "items": WRITTEN
    | {
        "id": "the column by which interactions name items",
        "title": "what people know an item by",
        "text": "what an encoder reads: columns in braces",
        "published_text": "the same, in a published report",
        "nameless": "the text of an item of which nothing is known",
        "missing": "what stands where nothing is known",
        "categories": "columns of words of a small vocabulary, and what separates the words",
        "numbers": "columns of numbers, each with the distance at which items are unlike",
        "flags": "new columns of categories, from columns that are 0 or 1",
        "extract": "new columns: from a column, the first group of a pattern",
    },
    "remarks": WRITTEN
    | {
        "user": "column of their authors",
        "item": "column of items",
        "words": "column of what was written: held out together with the interaction",
        "time": "column of times",
    },
}
"""The keys of every part of the file, and what to say of each."""

CORE = "leave out users and items with fewer interactions than so many, until all have them"

EXAMPLES = {
    "value": '"rating"',
    "time": '"timestamp"',
    "time_format": '"%d.%m.%Y"',
    "implicit": "0",
    "id": '"item_id"',
    "title": '"title"',
    "text": '"{title} by {author}. {genres}"',
    "categories": '{ genres = "|" }',
    "numbers": "{ year = 10.0 }",
}
"""What to write for keys that are worth a line though nothing was found for them."""


@dataclass(frozen=True)
class Table:
    """A table of one or several files, and how they are written where that is not to be guessed."""

    files: tuple[str, ...]
    """Beside the description; with patterns."""
    columns: tuple[str, ...] | None = None
    """Their names, where the file has none."""
    separator: str | None = None
    encoding: str | None = None
    time_format: str | None = None


@dataclass(frozen=True)
class Description:
    """What a data set is made of."""

    folder: Path
    """Of the files."""
    name: str
    interactions: Table
    columns: Columns
    feedback: dict[str, Any] = field(default_factory=dict)
    """Keys of `SAYS["feedback"]`; what is absent is guessed from the values."""
    items: Table | None = None
    item_columns: ItemColumns | None = None
    remarks: Table | None = None
    remark_columns: Columns | None = None
    licence: str | None = None
    core: int = 0
    """To which the data are cut (`Dataset.to_core`); 0 for all that there is."""


def read_description(path: Path) -> Description:
    """Read a `dataset.toml`.

    Raises:
        InputError: it is not TOML, or a key is missing, unknown or of another type.
    """
    refuse_devices(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML ({error})") from None
    known = {"name", "licence", "core", *SAYS}
    for key in content:
        _check(path, key in known, f"no {key!r}; there are {', '.join(sorted(known))}")
    for key in ("name", "licence"):
        _check(
            path, _is_text(content.get(key, "")), f"{key} is {content.get(key)!r}; expected text"
        )
    core = content.get("core", 0)
    whole = isinstance(core, int) and not isinstance(core, bool) and core >= 0
    _check(path, whole, f"core is {core!r}; expected a whole number")
    parts = {part: content.get(part, {}) for part in SAYS}
    for part, keys in parts.items():
        _check(path, isinstance(keys, dict), f"{part} is to be a table: [{part}]")
        for key, value in keys.items():
            says = ", ".join(SAYS[part])
            _check(path, key in SAYS[part], f"[{part}] has no {key!r}; there are {says}")
            _check_value(path, part, key, value)
    given, items, remarks = parts["interactions"], parts["items"], parts["remarks"]
    needed = {
        "interactions": "files user item",
        "items": "files id",
        "remarks": "files user item words",
    }
    for part, keys in needed.items():
        for key in keys.split() if parts[part] or part == "interactions" else ():
            _check(path, key in parts[part], f"[{part}] lacks {key!r}: {SAYS[part][key]}")
    return Description(
        path.parent,
        content.get("name", real(path).parent.name),
        _table(given),
        Columns(given["user"], given["item"], given.get("value"), given.get("time")),
        parts["feedback"],
        _table(items) if items else None,
        _item_columns(items) if items else None,
        _table(remarks) if remarks else None,
        Columns(remarks["user"], remarks["item"], None, remarks.get("time"), remarks["words"])
        if remarks
        else None,
        content.get("licence"),
        core,
    )


def write_description(path: Path, described: Description, found: list[str]) -> None:
    """Write a `dataset.toml` with a comment at each line; `found` are lines to begin with."""

    def named_from_there(table: Table) -> Table:
        here = None if is_stream(path) else path.parent
        return replace(table, files=tuple(_from(here, described.folder, table.files)))

    described = replace(
        described,
        interactions=named_from_there(described.interactions),
        items=described.items and named_from_there(described.items),
        remarks=described.remarks and named_from_there(described.remarks),
    )
    with whole_file(path) as partial:
        lines = _lines(described, found)
        text = "\n".join(lines) + "\n"
        partial.write_text(text, encoding="utf-8", errors="replace")  # what is typed may be no text


def _from(here: Path | None, folder: Path, files: tuple[str, ...]) -> Iterator[str]:
    """Names of files in `folder` as they are called from `here`: relative, if that is near."""
    for file in files:
        place = real(folder / file)
        relative = str(place) if here is None else os.path.relpath(place, real(here))
        yield str(place) if relative.startswith(f"..{os.sep}..") else relative


def _lines(described: Description, found: list[str]) -> Iterator[str]:
    yield "# What jaxrec understood of these files; edit it, keep it, and give it to --data."
    yield from (f"# {_commented(line)}" for line in found)
    yield f"name = {_toml(described.name)}"
    yield f"licence = {_toml(described.licence or '')}"
    yield f"{'' if described.core else '# '}core = {described.core or 5}  # {CORE}"
    columns, items, of_items = described.columns, described.items, described.item_columns
    parts: dict[str, dict[str, Any]] = {
        "interactions": vars(described.interactions)
        | {role: getattr(columns, role) for role in ("user", "item", "value", "time")},
        "feedback": described.feedback,
    }
    if items is not None and of_items is not None:
        parts["items"] = vars(items) | vars(of_items)
    if described.remarks is not None and described.remark_columns is not None:
        roles = {role: getattr(described.remark_columns, role) for role in SAYS["remarks"] if (
            role not in WRITTEN)}  # fmt: skip
        parts["remarks"] = vars(described.remarks) | roles
    for part, values in parts.items():
        yield f"\n[{part}]"
        for key, says in SAYS[part].items():
            value = values.get(key)
            if value is not None and value not in ((), {}):
                yield f"{key} = {_toml(value)}  # {says}"
            elif key in EXAMPLES and (part == "interactions" or key != "time_format"):
                yield f"# {key} = {EXAMPLES[key]}  # {says}"
    if items is None:
        yield "\n# [items]  # a table of the items, for their texts"
        yield '# files = ["items.csv"]'
        yield from (f"# {key} = {EXAMPLES[key]}" for key in ("id", "title", "text"))


def _commented(line: str) -> str:
    """A line, which may quote anybody's field, as a comment: TOML allows no controls there."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(line.split()))


def _toml(value: Any) -> str:
    """A value as TOML, dictionaries in one line."""
    if isinstance(value, dict):
        inside = tomlkit.inline_table()
        inside.update({k: list(v) if isinstance(v, tuple) else v for k, v in value.items()})
        return inside.as_string()
    return tomlkit.item(list(value) if isinstance(value, tuple) else value).as_string()


def _table(keys: dict[str, Any]) -> Table:
    files = keys["files"]
    return Table(
        tuple([files] if isinstance(files, str) else files),
        tuple(keys["columns"]) if "columns" in keys else None,
        *(keys.get(key) for key in ("separator", "encoding", "time_format")),
    )


def _item_columns(keys: dict[str, Any]) -> ItemColumns:
    own = {key: value for key, value in keys.items() if key not in WRITTEN}
    for key in ("flags", "extract"):
        own[key] = {name: tuple(value) for name, value in own.get(key, {}).items()}
    return ItemColumns(**own | {"missing": tuple(own.get("missing", ()))})


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_names(value: Any) -> bool:
    return _are_texts(value) and len(set(value)) == len(value)


def _by_name(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(right, value.values()))


TEXT = (_is_text, "text")
NUMBER = (_is_number, "a number")
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "files": (
        lambda value: (
            bool(value) and (_is_text(value) or _are_texts(value)) and "\0" not in "".join(value)
        ),
        "the name of a file, or a list of names",
    ),
    "columns": (_are_names, "a list of different names"),
    "separator": (
        lambda value: _is_text(value) and bool(value) and not set(value) & set('"\r\n'),
        "what stands between fields, as in ','",
    ),
    "time_format": (
        lambda value: _is_text(value) and (value in UNITS or "%" in value),
        WRITTEN["time_format"],
    ),
    "missing": (_are_texts, "a list of texts"),
    "scale": (
        lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)),
        "two numbers, the lowest and the highest",
    ),
    **dict.fromkeys(("liked", "disliked", "neutral", "typical", "implicit"), NUMBER),
    "categories": (_by_name(_is_text), "a table of separators, as in { genres = '|' }"),
    "numbers": (
        _by_name(lambda value: _is_number(value) and value > 0),
        "a table of distances above 0, as in { year = 10 }",
    ),
    "flags": (
        _by_name(lambda value: _are_names(value) and bool(value)),
        "a table of different columns, as in { genres = ['War', 'Crime'] }",
    ),
    "extract": (
        _by_name(lambda value: _are_texts(value) and len(value) == 2),
        "a column and a pattern for each name, as in { year = ['title', '([0-9]{4})'] }",
    ),
}
"""What the value of a key has to be, where that is not `TEXT`, and how to say so."""


def _check_value(path: Path, part: str, key: str, value: Any) -> None:
    """Refuse a value that its key cannot have."""
    right, wanted = KINDS.get(key, TEXT)
    _check(path, right(value), f"[{part}] {key} is {value!r}; expected {wanted}")
    if key in ("text", "published_text"):
        try:
            columns_of(value)
        except InputError as error:
            raise InputError(f"{path}: [{part}] {error}") from None
    if key == "time_format":
        try:
            seconds(pl.Series(["1"]), value)
        except pl.exceptions.PolarsError as error:
            raise InputError(f"{path}: [{part}] {key} {value!r}: {_last(error)}") from None
    for name, (_, pattern) in value.items() if key == "extract" else ():
        try:
            groups = len(pl.Series([""]).str.extract_groups(pattern).struct.fields)
        except pl.exceptions.PolarsError as error:
            wrong = _last(error)
        else:
            wrong = "" if groups else "no group in brackets"
        _check(path, not wrong, f"[{part}] {key}: {name} has a bad pattern {pattern!r} ({wrong})")


def _last(error: Exception) -> str:
    """What polars says last of what it was given."""
    return str(error).strip().splitlines()[-1]


def _check(path: Path, right: bool, wrong: str) -> None:
    if not right:
        raise InputError(f"{path}: {wrong}")
