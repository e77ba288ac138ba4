"""What rows were estimated to take beside what they took. Run: python benchmarks/cost.py RUN

RUN is a run folder with embeddings (and factors, for row `pmf`). Rows are measured in a copy of it,
three times: to compile, which no estimate holds; with models kept, so that they are only asked; and
with none, so that they learn too. Memory is that of the process above what it held before the row,
looked at every 10 ms: what was freed and is used again hides what small rows take.
"""

import gc
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import psutil
from evaluation import copy_of
from harness import report

from jaxrec.budget import Cost
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.scoring import Stage, score_card

OFF = 2.0
"""So many times too much, or too little, is too far off."""
LITTLE = 3.0, 0.2e9
"""Seconds and bytes below which an estimate may be off as it likes."""
MADE = "models", "hybrid.json", "content.json"
Row = tuple[Cost, float, float]
"""What was expected, seconds, and bytes."""


@contextmanager
def peak() -> Iterator[Callable[[], int]]:
    """Tells the most bytes that this process has held since it was last asked, and holds now."""
    process, over = psutil.Process(), threading.Event()
    most = 0

    def look() -> None:
        nonlocal most
        while not over.wait(0.01):
            most = max(most, process.memory_info().rss)

    def tell() -> int:
        nonlocal most
        found, most = most, 0
        return found

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield tell
    finally:
        over.set()
        thread.join()


def rows_of(run: RunFolder, only: tuple[str, ...]) -> dict[str, Row]:
    """Of each row that was measured."""
    found: dict[str, Row] = {}
    with peak() as most:
        before = 0

        def on_row(stage: Stage) -> None:
            nonlocal before
            if stage.under_way:
                gc.collect()
                before = psutil.Process().memory_info().rss
                most()
            elif stage.took is not None and stage.absent is None:
                found[stage.row] = stage.expected, stage.took, max(most() - before, 0)

        score_card(run, on_row=on_row, only=only)
    return found


def beside(expected: float, took: float, little: float) -> str:
    """A ratio, marked where it is too far off."""
    ratio = expected / took if took else float("inf")
    far = max(expected, took) > little and not 1 / OFF <= ratio <= OFF
    return f"{ratio:6.2f}{' !' if far else '  '}"


@click.command()
@click.argument("path", metavar="RUN", type=click.Path(path_type=Path, exists=True))
@click.option("--row", "only", multiple=True, help="Only this row; may be given several times.")
def main(path: Path, only: tuple[str, ...]) -> None:
    """Print a line for every row."""
    with copy_of(path, *MADE) as copy:
        run = open_run(copy)
        rows_of(run, only)
        asked = rows_of(run, only)
        for name in MADE:
            there = copy / name
            if there.is_dir():
                shutil.rmtree(there)
            else:
                there.unlink(missing_ok=True)
        run.plain.clear()
        whole = rows_of(run, only)
    print(f"{run.title}\nexpected / taken, and how many times too much was expected")
    for name, (cost, took, memory) in whole.items():
        quick = asked[name]
        print(
            f"{name:>20}: asked {quick[0].asking:6.1f} / {quick[1]:6.1f} s"
            f" {beside(quick[0].asking, quick[1], LITTLE[0])} in all"
            f" {cost.seconds:6.1f} / {took:6.1f} s {beside(cost.seconds, took, LITTLE[0])} memory"
            f" {cost.memory / 1e9:5.2f} / {memory / 1e9:5.2f} GB"
            f" {beside(cost.memory, memory, LITTLE[1])}"
        )
    total = sum(cost.seconds for cost, _, _ in whole.values())
    report("cost", total, sum(took for _, took, _ in whole.values()), "taken", "s in all")


if __name__ == "__main__":
    main()
