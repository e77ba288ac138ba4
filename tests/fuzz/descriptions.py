"""Descriptions of data sets: `dataset.toml`, damaged, or written of anything and read again."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import tomlkit

from jaxrec.data.columns import Columns, ItemColumns
from jaxrec.errors import InputError
from jaxrec.sources.description import Description, Table, read_description, write_description
from jaxrec.sources.reading import read_dataset
from tests.fuzz.drawing import READ, REFUSED, Attempt, changed, damaged, refused, some, text

WHOLE: dict[str, Any] = {
    "name": "shop",
    "licence": "CC0",
    "core": 0,
    "interactions": {
        "files": ["events.csv"],
        "separator": ",",
        "encoding": "utf-8",
        "time_format": "s",
        "user": "user",
        "item": "item",
        "value": "rating",
        "time": "day",
    },
    "feedback": {
        "kind": "stars", "scale": [0.5, 5.0], "liked": 4.0, "disliked": 2.5, "neutral": 1.5,
        "confidence": "log", "typical": 2.0, "implicit": 0.0,
    },
    "items": {
        "files": "items.csv",
        "columns": ["item", "title", "genres", "year", "war"],
        "id": "item",
        "title": "title",
        "text": "{title} {genres}",
        "published_text": "{title}",
        "nameless": "thing",
        "missing": ["?"],
        "categories": {"genres": "|"},
        "numbers": {"year": 10.0},
        "flags": {"topics": ["war"]},
        "extract": {"short": ["title", "^(..)"]},
    },
    "remarks": {
        "files": ["tags.csv"], "user": "user", "item": "item", "words": "tag", "time": "day",
    },
}  # fmt: skip
FILES = {
    "events.csv": "user,item,rating,day\nu1,i1,4,100\nu1,i2,5,101\nu2,i1,3,102\nu2,i3,1,103\n",
    "items.csv": "i1,One (1999),Drama|War,1999,1\ni2,Two,?,,0\ni3,Three,Comedy,2001,0\n",
    "tags.csv": "user,item,tag,day\nu1,i1,good,100\nu3,i2,bad,101\n",
}
WORDS = (
    "events.csv", "items.csv", "nowhere.csv", "*.csv", "[", "user", "item", "day", "title", "stars",
    "likes", "counts", "log", "linear", "s", "ns", "%Y", "%", "%Q", "%d.%m.%Y %H", "utf-16",
    "latin-1", "rot13", "idna", "base64", "\\t", "::", "{title}", "{", "{title:>9}", "(", "(.)\\1",
    "(?P<a>.)", ".*",
)  # fmt: skip


def content(draw: Random) -> dict[str, Any]:
    """A description of which some keys are gone, and some are others."""
    found: dict[str, Any] = {}
    for part, own in WHOLE.items():
        if not isinstance(own, dict):
            found |= {part: own}
        elif part == "interactions" or draw.random() < 0.7:
            left_out = some(draw, list(own)) if draw.random() < 0.3 else []
            found[part] = {key: of for key, of in own.items() if key not in left_out}
    for _ in range(draw.randrange(3)):
        found = changed(draw, found)
        if not isinstance(found, dict):
            found = {"name": found}
    if draw.random() < 0.5:
        part = draw.choice([key for key, of in found.items() if isinstance(of, dict)] or ["name"])
        if isinstance(found.get(part), dict) and found[part]:
            found[part][draw.choice(list(found[part]))] = draw.choice(WORDS)
    return found


def as_toml(found: dict[str, Any]) -> bytes:
    """The same, without what TOML has no word for."""

    def spoken(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: spoken(of) for name, of in value.items() if of is not None}
        if isinstance(value, list):
            return [spoken(of) for of in value if of is not None]
        return value

    return tomlkit.dumps(spoken(found)).encode("utf-8", "replace")


@contextmanager
def damaged_ones(folder: Path) -> Iterator[Attempt]:
    """A description that anybody may have edited, and the tables that it speaks of."""
    for name, table in FILES.items():
        (folder / name).write_text(table)
    path = folder / "dataset.toml"
    whole = tomlkit.dumps(WHOLE).encode()

    def attempt(draw: Random) -> str:
        path.write_bytes(damaged(draw, whole) if draw.random() < 0.5 else as_toml(content(draw)))
        try:
            described = read_description(path)
            if any(part.startswith(("/", "..", "~")) for part in described.interactions.files):
                return READ  # somebody else's files
            read_dataset(described, "a test")
        except InputError as error:
            return refused(error)
        return READ

    yield attempt


@contextmanager
def written_ones(folder: Path) -> Iterator[Attempt]:
    """A description of anything comes back as it was written."""

    def attempt(draw: Random) -> str:
        def maybe(of: Any) -> Any:
            return of if draw.random() < 0.7 else None

        def named() -> str:
            return f"c{text(draw)}"

        table = Table(tuple(f"f{text(draw)}".replace("/", "-").replace("\0", "") for _ in range(2)))
        table = replace(table, separator=maybe(draw.choice((",", ";", "\t", "::", "|"))))
        of_items = ItemColumns(
            named(),
            title=maybe(named()),
            text="{title}",
            categories={named(): draw.choice(("|", ",", ""))},
            numbers={named(): 1 + draw.random()},
            extract={named(): (named(), "(a)")},
            missing=(text(draw),),
        )
        roles = Columns(named(), named(), maybe(named()), maybe(named()))
        feedback = {"kind": "stars", "scale": [0.5, 5.0], "liked": 5 * draw.random()}
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            place = Path(scratch).resolve()
            described = Description(
                place, text(draw), table, roles, feedback, table, of_items, licence=text(draw)
            )
            try:
                write_description(place / "dataset.toml", described, [text(draw), "a\nb"])
            except InputError:
                return REFUSED
            assert read_description(place / "dataset.toml") == described
        return READ

    yield attempt
