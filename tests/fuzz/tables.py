"""Tables of interactions and of items, in every format, whole and damaged."""

import bz2
import csv
import gzip
import io
import json
import lzma
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import polars as pl
import zstandard

from jaxrec.data.columns import Columns
from jaxrec.errors import InputError
from jaxrec.sources.description import Description, Table
from jaxrec.sources.library import load_dataset
from jaxrec.sources.reading import read_dataset
from tests.fuzz.drawing import READ, Attempt, damaged, name, refused, text

HEADER = ("user", "item", "rating", "timestamp")
Rows = list[tuple[str, str, float, int]]


def rows_of(draw: Random, names: Callable[[Random], str]) -> Rows:
    """Pairs of user and item, each once, with stars and seconds."""
    users = [names(draw) for _ in range(draw.randrange(1, 6))]
    items = [names(draw) for _ in range(draw.randrange(1, 8))]
    pairs = sorted({(u, i) for u in users for i in items if draw.random() < 0.8})
    return [(u, i, draw.randrange(1, 11) / 2, 10**9 + draw.randrange(10**6)) for u, i in pairs]


def as_csv(rows: Rows, separator: str, end: str = "\n") -> bytes:
    written = io.StringIO()
    out = csv.writer(written, delimiter=separator, lineterminator=end)
    out.writerow(HEADER)
    out.writerows(rows)
    return written.getvalue().encode()


def as_lines(rows: Rows) -> bytes:
    objects = (dict(zip(HEADER, row, strict=True)) for row in rows)
    return "\n".join(map(json.dumps, objects)).encode()


def as_parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    kinds = (pl.String, pl.String, pl.Float64, pl.Int64)
    pl.DataFrame(
        [pl.Series(name, own, kind) for name, own, kind in zip(HEADER, columns, kinds, strict=True)]
    ).write_parquet(out)
    return out.getvalue()


INSIDE = ("events.csv", "events.csv", "a/events.csv", "../events.csv", "/events.csv")
"""Names of a file in an archive."""


def zipped(content: bytes, inside: str = INSIDE[0]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(inside, content)
    return out.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": lambda content: gzip.compress(content, 1),
    ".zst": lambda content: zstandard.ZstdCompressor(1).compress(content),
    ".bz2": lambda content: bz2.compress(content, 1),
    ".xz": lambda content: lzma.compress(content, preset=0),
    ".zip": zipped,
}


def table(draw: Random) -> tuple[str, bytes]:
    """Name and content of a table that was whole once."""
    rows = rows_of(draw, text if draw.random() < 0.5 else name)
    kind = draw.choice((".csv", ".csv", ".csv", ".tsv", ".jsonl", ".parquet"))
    if kind == ".csv":
        ends = draw.choice(("\n", "\n", "\r\n", "\r"))
        content = as_csv(rows, draw.choice(",;|\t"), ends)
    elif kind == ".tsv":
        content = as_csv(rows, "\t")
    else:
        content = as_lines(rows) if kind == ".jsonl" else as_parquet(rows)
    if kind in (".csv", ".tsv") and draw.random() < 0.1:
        codes = ("utf-16", "utf-16-le", "utf-8-sig", "latin-1")
        content = content.decode().encode(draw.choice(codes), "replace")
    packing = draw.choice(("", "", "", *PACKED))
    if draw.random() < 0.5:
        content = damaged(draw, content)
    zip_ = packing == ".zip"
    content = zipped(content, draw.choice(INSIDE)) if zip_ else PACKED[packing](content)
    if draw.random() < 0.2:
        content = damaged(draw, content)
    if draw.random() < 0.05:
        content = draw.randbytes(draw.choice((1, 7, 100, 5000)))
    return f"events{kind}{'' if zip_ else packing}", content


@contextmanager
def guessed(folder: Path) -> Iterator[Attempt]:
    """A table of which all is guessed, alone or beside one of items."""

    def attempt(draw: Random) -> str:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            place = Path(scratch)
            called, content = table(draw)
            (place / called).write_bytes(content)
            if draw.random() < 0.2:
                (place / "items.csv").write_bytes(items(draw))
                called = ""
            try:
                found = load_dataset(place / called, strict=draw.random() < 0.1)
            except InputError as error:
                return refused(error)
        assert len(found.interactions.users) > 0
        assert found.interactions.users.max() < found.users
        assert found.interactions.items.max() < found.items
        assert len(found.sha256) == 64
        return READ

    yield attempt


def items(draw: Random) -> bytes:
    """A table of items that knows no item of the others, or some."""
    written = io.StringIO()
    out = csv.writer(written)
    out.writerow(("item", "title", "genres", "year"))
    for _ in range(draw.randrange(1, 6)):
        year = draw.choice(("1995", "", text(draw)))
        out.writerow((draw.choice((name(draw), text(draw))), text(draw), text(draw), year))
    content = written.getvalue().encode()
    return damaged(draw, content) if draw.random() < 0.5 else content


@contextmanager
def described(folder: Path) -> Iterator[Attempt]:
    """A whole table, read as it is described: what comes back is what was written."""
    written: dict[str, Callable[[Rows, str], bytes]] = {
        "events.csv": as_csv,
        "events.jsonl": lambda rows, separator: as_lines(rows),
        "events.parquet": lambda rows, separator: as_parquet(rows),
    }

    def attempt(draw: Random) -> str:
        names = name if draw.random() < 0.5 else plain_text
        rows = rows_of(draw, names) or [("u", "i", 3.0, 10**9)]
        called, separator = draw.choice(list(written)), draw.choice(",;")
        packing = draw.choice(list(PACKED))
        content = PACKED[packing](written[called](rows, separator))
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            (Path(scratch) / called).write_bytes(content)
            columns = Columns("user", "item", "rating", "timestamp")
            how = Table((called,), separator=separator if called == "events.csv" else None)
            scale = {"kind": "stars", "scale": [0.5, 5.0]}
            try:
                found = read_dataset(Description(Path(scratch), "n", how, columns, scale), "a test")
            except InputError as error:
                if "NUL" in str(error) and any("\0" in part for row in rows for part in row[:2]):
                    return refused(error)
                raise AssertionError(f"whole, and refused: {error}") from None
        read = found.interactions
        assert read.times is not None
        back = zip(
            map(str, found.user_ids[read.users].tolist()),
            map(str, found.item_ids[read.items].tolist()),
            read.values.tolist(),
            read.times.tolist(),
            strict=True,
        )
        assert sorted(back) == sorted(rows), "what was read is not what was written"
        return READ

    yield attempt


def plain_text(draw: Random) -> str:
    """Any text that means itself: what tables strip, or take for nothing, is not at its ends."""
    return f"m{text(draw, 6)[:900]}n".replace("\\", "/")
