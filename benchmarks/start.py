"""Whole processes, from the shell and back. Run: python benchmarks/start.py MEASURE

The system's cache of files is warm and so is JAX's of programs: one run before those that count,
medians of seven; each in a new run folder.

| measure   | what                                             |
|-----------|--------------------------------------------------|
| help      | `jaxrec --help`, bar 0.1 s                       |
| train-pmf | `jaxrec train-pmf` on ml-latest-small, bar 3 s   |
| imports   | what `train-pmf` imports, beside `import jax`    |
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from harness import interleave, report

RUNS = 7
JAXREC = "from jaxrec.cli import main; main()"
IMPORTED = "import jaxrec.cli, jaxrec.experiment.fitting, jaxrec.experiment.scoring"


def python(code: str, *arguments: str) -> None:
    """A process of its own, that must succeed."""
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def train_pmf() -> None:
    with TemporaryDirectory() as scratch:
        python(JAXREC, "train-pmf", "--run", str(Path(scratch) / "run"))


def command(measure: str, work: Callable[[], object], bar: float) -> None:
    work()
    report(measure, interleave({"ours": work}, RUNS)["ours"], bar, "bar", "s")


def imports() -> None:
    works: dict[str, Callable[[], object]] = {
        "ours": lambda: python(IMPORTED),
        "jax": lambda: python("import jax"),
    }
    works["ours"]()
    medians = interleave(works, RUNS)
    report("imports", medians["ours"], medians["jax"], "import jax", "s")


MEASURES: dict[str, Callable[[], None]] = {
    "help": lambda: command("help", lambda: python(JAXREC, "--help"), 0.1),
    "train-pmf": lambda: command("train-pmf", train_pmf, 3.0),
    "imports": imports,
}


@click.command()
@click.argument("measure", type=click.Choice(list(MEASURES)))
def main(measure: str) -> None:
    MEASURES[measure]()


if __name__ == "__main__":
    main()
