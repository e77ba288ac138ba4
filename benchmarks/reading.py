"""32 million ratings from CSV to a data set, beside polars. Run: python benchmarks/reading.py WHAT

The two take turns, each in a fresh process, medians of three. The file has the columns and the
order of MovieLens 32M (by user, then by item), 200,000 users and 84,000 items, every pair once, and
is made where TMPDIR says (0.9 GB); `--shuffled` gives it no order. Linux tells the memory.

| measure | what                                                                  |
|---------|-----------------------------------------------------------------------|
| seconds | `jaxrec.load_dataset` and `polars.read_csv`, imports not counted      |
| memory  | the most that each process held, beside the size of the file, in GB   |
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import polars as pl
from harness import report

WORKS = {
    "jaxrec": "import pathlib, jaxrec.sources.library as L; work = lambda: L.load_dataset(PATH)",
    "polars": "import polars, pathlib; work = lambda: polars.read_csv(PATH)",
}
ONE = """
import time
PATH = __import__("pathlib").Path({path!r})
{work}
start = time.perf_counter()
work()
spent = time.perf_counter() - start
most = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
print(spent, int(most) / 1e6)
"""


def ratings(path: Path, rows: int, shuffled: bool) -> None:
    """A file of MovieLens ratings; a few users have thousands, most have some dozens."""
    rng, users, items = np.random.default_rng(0), 200_000, 84_000
    activity = np.minimum(np.maximum((rng.pareto(1.2, users) * 32).astype(int), 20), 20_000)
    activity = (activity * (rows / activity.sum())).astype(int)
    activity[: rows - activity.sum()] += 1
    user = np.repeat(np.arange(users), activity)
    rank = np.arange(rows) - np.repeat(np.cumsum(activity) - activity, activity)
    item = (np.repeat(rng.integers(0, items, users), activity) + 37 * rank) % items  # distinct
    order = rng.permutation(rows) if shuffled else np.lexsort((item, user))
    user, item = user[order], item[order]
    pl.DataFrame(
        {
            "userId": user + 1,
            "movieId": 3 * item + 1,
            "rating": rng.integers(1, 11, rows) / 2,
            "timestamp": rng.integers(8 * 10**8, 17 * 10**8, rows),
        }
    ).write_csv(path)


@click.command()
@click.argument("measure", metavar="WHAT", type=click.Choice(["seconds", "memory"]))
@click.option("--rows", default=32_000_000, show_default=True)
@click.option("--shuffled", is_flag=True)
def main(measure: str, rows: int, shuffled: bool) -> None:
    """Print a line for every turn, then one of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        ratings(path, rows, shuffled)
        size = path.stat().st_size / 1e9
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in WORKS}
        for _ in range(3):
            for name, work in WORKS.items():
                code = ONE.format(path=str(path), work=work)
                done = subprocess.run(
                    [sys.executable, "-c", code], capture_output=True, text=True, check=True
                )
                seconds, memory = map(float, done.stdout.split())
                print(f"{name}: {seconds:.2f} s, {memory:.2f} GB of a file of {size:.2f} GB")
                found[name].append((seconds, memory))
    median = {name: statistics.median(turn[0] for turn in turns) for name, turns in found.items()}
    most = {name: max(turn[1] for turn in turns) for name, turns in found.items()}
    if measure == "seconds":
        report("reading-seconds", median["jaxrec"], median["polars"], "polars.read_csv", "s")
    else:
        report("reading-memory", most["jaxrec"], size, "the file", "GB")


if __name__ == "__main__":
    main()
