"""What whole commands take as data grow. Run: python benchmarks/scale.py MEASURE

| measure | what                                                                            |
|---------|---------------------------------------------------------------------------------|
| sports  | `jaxrec run` on amazon-sports                                                   |
| run     | `jaxrec run` on the power-law matrix of benchmarks/large.py with made titles;    |
|         | given several --users: seconds grow with interactions^x                         |
| ml32m   | `train-pmf` and `eval --row pmf+text` on 200,948 x 87,585 with 32 M stars       |
| card    | `jaxrec eval` on ml-latest-small, embeddings and factors of `pmf` given         |

Each command is a process of its own, whose seconds and peak memory the operating system tells.
Encoding is apart: `jaxrec embed` goes before. In a made matrix nobody has a taste, so no figure of
quality is printed.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from harness import report
from large import ITEMS, USERS, power_law, write_folder

from jaxrec.evaluation.card import AbsentRow, read_card

JAXREC = [sys.executable, "-c", "from jaxrec.cli import main; main()"]
GROWTH, CARD, TRAIN, EVALUATE, MEMORY = 1.05, 20.0, 90.0, 300.0, 6.0
"""Targets: an exponent, seconds, and GB."""
ML32M = 200_948, 87_585, 4.33
"""Users, items, and what makes 32 million interactions of them."""


class Took(NamedTuple):
    """What a process has taken."""

    seconds: float
    peak: float
    """GB."""

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {self.peak:.2f} GB"


def jaxrec(command: str, *options: str | Path) -> Took:
    """One command; its errors are shown."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [*JAXREC, command, *map(str, options)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)  # of this one child, not of the largest so far
    process.returncode = os.waitstatus_to_exitcode(status)
    took = Took(time.perf_counter() - start, usage.ru_maxrss / 1e6)
    if process.returncode:
        raise click.ClickException(f"jaxrec {command}: {errors}")
    print(f"jaxrec {command}: {took}", flush=True)
    return took


def run_on(data: str | Path, path: Path, *options: str) -> Took:
    """`embed`, then `run`, in a fresh run folder; prints which rows were measured."""
    jaxrec("embed", "--data", data, "--run", path, "--seed", "7")
    took = jaxrec("run", "--run", path, *options)
    card = read_card(path / "results.json")
    print(f"measured: {', '.join(card.measured)}")
    for row in card.rows:
        if isinstance(row, AbsentRow):
            print(f"absent: {row.name}, {row.why}")
    return took


def made(scratch: Path, users: int, items: int) -> tuple[Path, int]:
    """A folder of so many users' data, and how many interactions they have."""
    folder, found = scratch / f"users-{users}", power_law(users, items)
    write_folder(folder, found, items)
    print(f"{users:,} x {items:,}, {len(found.users):,} interactions")
    return folder, len(found.users)


@click.group()
def main() -> None:
    """See the module."""


out_option = click.option(
    "--out",
    "scratch",
    required=True,
    type=click.Path(path_type=Path, exists=False),
    help="Folder for data and run folders; it must not be there.",
)
items_option = click.option("--items", default=ITEMS, show_default=True)


@main.command()
@out_option
def sports(scratch: Path) -> None:
    """All rows of amazon-sports."""
    run_on("amazon-sports", scratch / "run")


@main.command()
@out_option
@click.option("--users", "sizes", multiple=True, default=(USERS,), show_default=True)
@items_option
@click.option("--memory", help="Of `jaxrec run`.")
def run(scratch: Path, sizes: tuple[int, ...], items: int, memory: str | None) -> None:
    """All rows of a made matrix; of several sizes, how seconds grow."""
    counts, seconds, options = [], [], ("--memory", memory) if memory else ()
    for users in sizes:
        folder, count = made(scratch, users, items)
        counts.append(count)
        seconds.append(run_on(folder, scratch / f"run-{users}", *options).seconds)
    if len(sizes) > 1:
        exponent = float(np.polyfit(np.log(counts), np.log(seconds), 1)[0])
        report("growth of run", exponent, GROWTH, "target", "exponent")


@main.command()
@out_option
@click.option("--share", default=1.0, show_default=True, help="Of the users and of the items.")
def ml32m(scratch: Path, share: float) -> None:
    """The collaborative branch, and everybody ranked with text."""
    users, items, typical = int(ML32M[0] * share), int(ML32M[1] * share), ML32M[2]
    found = power_law(users, items, typical=typical)
    print(f"{users:,} x {items:,}, {len(found.users):,} interactions")
    write_folder(scratch / "data", found, items, stars=True)
    path = scratch / "run"
    jaxrec("embed", "--data", scratch / "data", "--run", path, "--seed", "7")
    for target, *command in ((TRAIN, "train-pmf"), (EVALUATE, "eval", "--row", "pmf+text")):
        took = jaxrec(*command, "--run", path)
        print(f"memory to stay within {MEMORY} GB: {took.peak:.2f}")
        report(f"ml32m {command[0]}", took.seconds, target, "target", "s")


@main.command()
@out_option
@click.option("--data", default="ml-latest-small", show_default=True)
@click.option("--times", default=3, show_default=True)
def card(scratch: Path, data: str, times: int) -> None:
    """All rows of the score card, with embeddings and factors given; nothing else is kept."""
    path = scratch / "run"
    jaxrec("embed", "--data", data, "--run", path, "--seed", "7")
    jaxrec("train-pmf", "--run", path)
    kept = {entry.name for entry in path.iterdir()}
    spent = []
    for _ in range(times + 1):
        for entry in [entry for entry in path.iterdir() if entry.name not in kept]:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        spent.append(jaxrec("eval", "--run", path).seconds)
    print(f"with programs to compile {spent[0]:.1f} s")
    report("card", statistics.median(spent[1:]), CARD, "target", "s")


if __name__ == "__main__":
    main()
