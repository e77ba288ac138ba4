"""What a shell is told that may be typed: names of rows, models and data sets. Opens no data."""

import os
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

ROWS = (
    "popularity", "itemknn", "rp3beta", "slim", "content", "ease", "ease-graded", "ease+text",
    "ease-graded+text", "add-ease", "l3ae", "sparse-ease", "sparse-ease+text", "ials", "pmf",
    "text", "pmf+text", "set", "hybrid", "mf", "mf+minilm",
)  # fmt: skip
MODELS = "minilm", "qwen3-0.6b", "qwen3-4b", "qwen3-8b"
DATA = "ml-latest-small", "synthetic"


def rows(context: click.Context, option: click.Parameter, typed: str) -> list[CompletionItem]:
    """Rows of a score card."""
    return _beginning(typed, ROWS)


def models(context: click.Context, option: click.Parameter, typed: str) -> list[CompletionItem]:
    """Short names of encoders, or a folder."""
    return _beginning(typed, MODELS) or _path(typed, "dir")


def data_sets(context: click.Context, option: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names, those in `$JAXREC_DATA` among them, or a path."""
    folder = Path(os.environ.get("JAXREC_DATA") or os.devnull)
    there = set[str]()
    with suppress(OSError):  # no folder, or nobody's to read
        there = {place.name for place in folder.iterdir()}
    # a shell takes each line for a name, and names that are no text for nothing
    told = sorted(name for name in {*DATA, *there} if name.isprintable())
    return _beginning(typed, told) or _path(typed, "file")


def _path(typed: str, kind: str) -> list[CompletionItem]:
    """What the shell completes by itself; nothing where what is typed is no text."""
    return [CompletionItem(typed, type=kind)] if typed.isprintable() else []


def _beginning(typed: str, names: tuple[str, ...] | list[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(typed)]
