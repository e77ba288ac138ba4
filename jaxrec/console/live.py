"""The rows of a score card while they are measured: a live table, or lines where none can be."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Group
from rich.live import Live
from rich.table import Table

from jaxrec.budget import Stage, in_bytes, in_time
from jaxrec.console.terminal import Terminal

FIRM = 10.0
"""Seconds for which the estimates stand until rows have shown better: the first may take one."""


@contextmanager
def rows_told(terminal: Terminal, k: int) -> Iterator[Callable[[Stage], None]]:
    """Tell how far the rows of a score card are; yields what `on_row` takes.

    A terminal gets a table that begins with the first row told, so that bars may go before, and
    stays. What is none gets a line when a row begins; with -v one when it is over, too.

    Args:
        terminal: where to.
        k: the cut-off whose figures are shown.
    """
    if terminal.verbosity < 0:
        yield lambda stage: None
    elif not terminal.err.is_interactive:
        yield lambda stage: _tell(terminal, stage, k)
    else:
        stages: dict[str, Stage] = {}
        began = time.monotonic()

        def drawn() -> Group:
            now, spent = list(stages.values()), time.monotonic() - began
            return Group(table(now, spent, k), left_in_words(now, spent))

        with ExitStack() as after:

            def on_row(stage: Stage) -> None:
                nonlocal began
                if stage.under_way:
                    began = time.monotonic()
                first, stages[stage.row] = not stages, stage
                if first:
                    live = Live(console=terminal.err, get_renderable=drawn, refresh_per_second=2)
                    after.enter_context(live)

            yield on_row


def table(stages: list[Stage], spent: float, k: int) -> Table:
    """Every row: what it takes, then its figures and the seconds it took, or why it is absent.

    Args:
        stages: of the rows, in order.
        spent: seconds on the row that is under way.
        k: the cut-off of the figures.
    """
    shown = Table(box=None, padding=(0, 2, 0, 0))
    shown.add_column("row", no_wrap=True, overflow="crop")
    for heading in ("memory", "time", f"P@{k}", f"NDCG@{k}"):
        shown.add_column(heading, justify="right", no_wrap=True, overflow="crop")
    shown.add_column("", no_wrap=True, overflow="crop", ratio=1)  # what is too long is cut
    for stage in stages:
        takes = in_bytes(stage.expected.memory), in_time(stage.expected.seconds)
        if stage.absent is not None:
            shown.add_row(stage.row, "", "", "", "", f"absent: {stage.absent}", style="dim")
        elif stage.under_way:
            shown.add_row(stage.row, *takes, "", "", f"{spent:.0f} s so far", style="bold")
        else:
            took = "" if stage.took is None else f"took {in_time(stage.took)}"
            shown.add_row(stage.row, *takes, *_figures(stage, k), took)
    return shown


def seconds_left(stages: list[Stage], spent: float) -> float:
    """What the rows to come are expected to take, as the measured ones kept to their estimates.

    Args:
        stages: of the rows.
        spent: seconds on the row that is under way.
    """
    over = [stage for stage in stages if stage.took is not None and stage.absent is None]
    expected = sum(stage.expected.seconds for stage in over)
    pace = (FIRM + sum(stage.took or 0.0 for stage in over)) / (FIRM + expected)
    left = 0.0
    for stage in stages:
        if stage.took is None and stage.absent is None:
            own = pace * stage.expected.seconds
            left += max(own - spent, 0.0) if stage.under_way else own
    return left


def left_in_words(stages: list[Stage], spent: float) -> str:
    """`seconds_left`; nothing once all rows are over."""
    if all(stage.took is not None or stage.absent is not None for stage in stages):
        return ""
    return f"about {in_time(seconds_left(stages, spent))} left"


def _tell(terminal: Terminal, stage: Stage, k: int) -> None:
    if stage.under_way:
        terminal.say(f"{stage.row}: takes {stage.expected}")
    elif stage.absent is not None:
        terminal.detail(f"{stage.row} is absent: {stage.absent}")
    elif stage.took is not None:
        precision, ndcg = _figures(stage, k)
        took = in_time(stage.took)
        terminal.detail(f"{stage.row}: P@{k} {precision}, NDCG@{k} {ndcg}, took {took}")


def _figures(stage: Stage, k: int) -> list[str]:
    """P@K and NDCG@K of a row, nothing before it is measured."""
    names = (f"{metric}@{k}" for metric in ("precision", "ndcg"))
    return [f"{stage.metrics[name]:.4f}" if name in stage.metrics else "" for name in names]
