"""Ids, item texts and titles: names that nobody would give, found and shown."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from jaxrec.console.characters import shown
from jaxrec.console.terminal import Plain
from jaxrec.data.dataset import Catalogue, columns_of
from jaxrec.data.features import template_texts
from jaxrec.data.ids import NONE, Ids
from jaxrec.errors import InputError
from jaxrec.titles import Titles
from tests.fuzz.drawing import NUMBERS, READ, REFUSED, Attempt, refused, text

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@contextmanager
def ids(folder: Path) -> Iterator[Attempt]:
    """Every name has its own place, and what is no name has none."""

    def attempt(draw: Random) -> str:
        numbers = [int(n) for n in NUMBERS if isinstance(n, int)]
        some = (lambda: draw.choice(numbers)) if draw.random() < 0.2 else (lambda: text(draw, 8))
        names = list(dict.fromkeys(some() for _ in range(draw.randrange(1, 12))))
        try:
            made = Ids(names, "item")
        except InputError as error:
            return refused(error)
        assert made.find(names).tolist() == list(range(len(names)))
        assert list(map(str, made.names.tolist())) == list(map(str, names))
        others = [other for other in (text(draw), "") if other not in map(str, names)]
        assert made.find(others).tolist() == [NONE] * len(others)
        assert len(made.sha256) == 64
        assert len(made.draws(1, "test")) == len(names)
        return READ

    yield attempt


@contextmanager
def texts(folder: Path) -> Iterator[Attempt]:
    """Texts of items by any template; titles found by any words, and shown on any terminal."""

    def attempt(draw: Random) -> str:
        titles = [text(draw) for _ in range(draw.randrange(1, 8))]
        words = [[text(draw) for _ in range(draw.randrange(3))] for _ in titles]
        kinds = {"title": pl.String(), "a b": pl.List(pl.String)}
        table = pl.DataFrame({"title": titles, "a b": words}, schema=kinds)
        template = "{title}: {a b}" if draw.random() < 0.5 else text(draw) + "{title}" + text(draw)
        try:
            columns_of(template)
            catalogue = Catalogue(Ids(range(len(titles)), "item"), table, "title", template)
        except InputError:
            return REFUSED
        if template == "{title}: {a b}":
            joined = [" ".join(word.strip() for word in own) for own in words]
            made = [f"{t.strip()}: {w}".strip() for t, w in zip(titles, joined, strict=True)]
            assert template_texts(catalogue) == made
        else:
            template_texts(catalogue)
        asked = draw.choice((text(draw), titles[0][:3]))
        found = Titles(titles, np.ones(len(titles), int))
        for few in (found.starting(asked, 3), found.close_to(asked), found.called(asked)):
            assert set(few) <= set(range(len(titles)))
        with suppress(InputError):
            assert 0 <= catalogue.find(asked) < len(titles)
        _show(draw, titles)
        return READ

    yield attempt


def _show(draw: Random, titles: list[str]) -> None:
    """What a terminal is given steers nothing and takes no markup from a title."""
    for title in titles:
        line = shown(title, draw.choice(("utf-8", "ascii", "latin-1", "nonsense")))
        assert not CONTROL.search(line)
        assert "\n" not in line
    file = io.StringIO()
    terminal: Console = Plain(file=file, width=draw.choice((20, 80, 10_000)), force_terminal=False)
    told = Table(title=titles[0])
    told.add_column(titles[-1])
    for title in titles:
        told.add_row(title)
    terminal.print(titles[0])
    terminal.print(told)
    assert not CONTROL.search(file.getvalue())
    if (marked := [title for title in titles if re.fullmatch(r"\[\w+\]", title)]) and (
        terminal.width > 9_999
    ):
        assert all(title in file.getvalue() for title in marked)


@contextmanager
def places(folder: Path) -> Iterator[Attempt]:
    """Paths of data that nobody would give."""
    from jaxrec.sources.library import load_dataset

    (folder / "loop").symlink_to(folder / "loop")
    (folder / "folder").mkdir()
    (folder / "empty.csv").touch()

    def attempt(draw: Random) -> str:
        there = draw.choice(("loop", "folder", "empty.csv", text(draw)))
        name = draw.choice((f"{folder}/{there}", there, f"{folder}/{there}/{text(draw)}"))
        if ".." in name or str(folder) not in name:
            name = f"{folder}/{name.replace('/', '-').replace('..', '-')}"
        try:
            load_dataset(Path(name) if draw.random() < 0.5 else name)
        except InputError as error:
            return refused(error)
        except OSError as error:
            return refused(error)  # a line at the command line
        raise AssertionError(f"{name!r} was read")

    yield attempt
