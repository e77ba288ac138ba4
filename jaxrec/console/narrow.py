"""Tables on terminals that are too narrow for them: fewer columns, no figure cut."""

from copy import copy

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

STAY = 3
"""The columns on the left that never go: of a score card row, hits and precision."""


def narrowed(table: Table, console: Console, width: int) -> tuple[Table, list[str]]:
    """A table without the columns for which there is no room: the last goes first.

    Args:
        table: to be shown.
        console: where to; it lays out what is in the columns.
        width: what there is room for, in characters.

    Returns:
        The table, and the headings of what went, from left to right. Where the columns that `STAY`
        are too wide, a terminal goes on below.
    """
    shown = copy(table)
    while len(shown.columns) > STAY and _needs(shown, console) > width:
        shown.columns = shown.columns[:-1]
    return shown, [str(column.header) for column in table.columns[len(shown.columns) :]]


def _needs(table: Table, console: Console) -> int:
    """Characters, the title aside, which is wrapped."""
    return Measurement.get(console, console.options, table).maximum
