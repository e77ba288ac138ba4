"""What a command says: results on standard output, the rest on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

MANY_BYTES = 2**26
"""Reading fewer is done before one looks."""


class Terminal:
    """Speaks as much as -v and -q ask: `verbosity` is 1, 0 or -1."""

    def __init__(self, verbosity: int):
        self.verbosity = verbosity
        self.out = Console(soft_wrap=True, highlight=False)
        self.err = Console(stderr=True, soft_wrap=True, highlight=False)

    def warn(self, line: str) -> None:
        """Tell what must not be missed, even with -q."""
        self.err.print(line, markup=False)

    def say(self, line: str | None) -> None:
        """Tell what is going on, unless -q or there is nothing to tell."""
        if self.verbosity >= 0 and line is not None:
            self.err.print(line, markup=False)

    def detail(self, line: str) -> None:
        """Tell more, with -v."""
        if self.verbosity > 0:
            self.err.print(line, markup=False)

    def result(self, shown: RenderableType) -> None:
        """Print a result, a line or a table."""
        self.out.print(shown, markup=False)

    @contextmanager
    def sweeps(
        self, what: str, total: int, figure: str = "loss"
    ) -> Iterator[Callable[[int, float], None]]:
        """A progress bar with a figure, if there is work; yields what `on_sweep` takes."""
        with self._progress(figure + " {task.fields[note]}", total > 0) as progress:
            task = progress.add_task(what, total=total, note="")

            def on_sweep(sweep: int, loss: float) -> None:
                progress.update(task, completed=sweep, note=f"{loss:.6g}")

            yield on_sweep

    @contextmanager
    def steps(self, what: str) -> Iterator[Callable[[Any], None]]:
        """A progress bar of a training; yields what `on_step` takes."""
        with self._progress("{task.fields[note]}") as progress:
            task = progress.add_task(what, total=None, note="")

            def on_step(now: Any) -> None:
                note = (
                    f"epoch {now.epoch}, loss {now.loss:.4f}, rate {now.rate:.1e},"
                    f" {now.tokens_per_second:,.0f} tokens/s"
                )
                progress.update(task, total=now.steps, completed=now.step, note=note)

            yield on_step

    @contextmanager
    def count(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar that counts; yields what `on_batch` takes."""
        with self._progress("{task.completed:.0f} of {task.total:.0f}") as progress:
            task = progress.add_task(what, total=total)
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

    def _progress(self, note: str, work: bool = True) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(note),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.err,
            disable=self.verbosity < 0 or not work,
        )
