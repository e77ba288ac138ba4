"""What a command says: results on standard output, the rest on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from jaxrec.console.characters import shown
from jaxrec.console.narrow import narrowed

WHOLE = 100_000
"""Columns in which every table has room."""


class Plain(Console):
    """Prints names and titles as they are: `[v2]` is no markup, and no character steers."""

    def __init__(self, **how: Any):
        super().__init__(soft_wrap=True, highlight=False, markup=False, emoji=False, **how)

    def render_str(self, text: str, **how: Any) -> Text:
        """Every text that is printed comes by here before it is laid out, a table's too."""
        return super().render_str(shown(text, self.encoding), **how)


MANY_BYTES = 2**26
"""Reading fewer is done before one looks."""


class Terminal:
    """Speaks as much as -v and -q ask: `verbosity` is 1, 0 or -1."""

    def __init__(self, verbosity: int):
        self.verbosity = verbosity
        self.out = Plain()
        # a colour may be forced upon a pipe, but not a width
        self.width = self.out.width if self.out.file.isatty() else WHOLE
        self.out.width = WHOLE  # whatever is too wide goes on below, uncut
        self.err = Plain(stderr=True)
        if not self.err.is_terminal:
            self.err.width = WHOLE
        self._open = self._progress("")
        """The bars of sweeps that are drawn now, if it has tasks."""

    def warn(self, *lines: str) -> None:
        """Tell what must not be missed, even with -q."""
        for line in lines:
            self.err.print(line)

    def lost(self, what: str, why: str) -> None:
        """Tell what cannot be had, and that the rest goes on."""
        self.warn(f"Going on without {what}: {why}")

    def say(self, *lines: str | None) -> None:
        """Tell what is going on, unless -q or there is nothing to tell."""
        for line in lines:
            if self.verbosity >= 0 and line is not None:
                self.err.print(line)

    def detail(self, line: str) -> None:
        """Tell more, with -v."""
        if self.verbosity > 0:
            self.err.print(line)

    def result(self, *parts: str | Table) -> None:
        """Print a result: lines and tables, of which a narrow terminal gets fewer columns."""
        for part in parts:
            left_out: list[str] = []
            if isinstance(part, Table):
                part, left_out = narrowed(part, self.out, self.width)
            self.out.print(part)
            if left_out:
                self.out.print(f"(a wider terminal shows {', '.join(left_out)})")

    @contextmanager
    def sweeps(
        self, what: str, total: int, figure: str = "loss"
    ) -> Iterator[Callable[[int, float], None]]:
        """A progress bar with a figure, if there is work; yields what `on_sweep` takes.

        Of several that are open at once the one that ends is printed above the others.
        """
        if not total:
            yield lambda sweep, loss: None
            return
        if not self._open.tasks:
            self._open = self._progress("{task.fields[note]}")
            self._open.start()
        progress = self._open
        own = progress.add_task(shown(what, self.err.encoding), total=total, note=figure)

        def on_sweep(sweep: int, loss: float) -> None:
            progress.update(own, completed=sweep, note=f"{figure} {loss:.6g}")

        try:
            yield on_sweep
        finally:
            (task,) = (task for task in progress.tasks if task.id == own)
            if len(progress.tasks) == 1:
                progress.stop()
            elif not progress.disable:
                self.err.print(progress.make_tasks_table([task]))
            progress.remove_task(own)

    @contextmanager
    def steps(self, what: str) -> Iterator[Callable[[Any], None]]:
        """A progress bar of a training; yields what `on_step` takes."""
        with self._progress("{task.fields[note]}") as progress:
            task = progress.add_task(shown(what, self.err.encoding), total=None, note="")

            def on_step(now: Any) -> None:
                note = (
                    f"epoch {now.epoch}, loss {now.loss:.4f}, rate {now.rate:.1e},"
                    f" {now.tokens_per_second:,.0f} tokens/s"
                )
                progress.update(task, total=now.steps, completed=now.step, note=note)

            yield on_step

    @contextmanager
    def count(self, what: str, total: int) -> Iterator[Callable[[float], None]]:
        """A progress bar that counts; yields what `on_batch` takes."""
        with self._progress("{task.completed:.0f} of {task.total:.0f}") as progress:
            task = progress.add_task(shown(what, self.err.encoding), total=total)
            yield lambda done: progress.update(task, advance=done)

    @contextmanager
    def reading(self) -> Iterator[Callable[[int, int], None]]:
        """A progress bar of bytes, if there are many; yields what `on_bytes` takes."""
        with self._progress("{task.percentage:.0f} %") as progress:

            def on_bytes(read: int, size: int) -> None:
                if size >= MANY_BYTES and not progress.tasks:
                    progress.add_task("reading", total=size)
                for task in progress.task_ids:
                    progress.update(task, completed=read, total=size)

            yield on_bytes

    def _progress(self, note: str) -> Progress:
        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn(note, markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.err,
            disable=self.verbosity < 0,
        )
