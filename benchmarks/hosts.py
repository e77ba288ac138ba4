"""A process of several is killed: do all end, and go on to the same factors?

    python benchmarks/hosts.py --count 50

`jaxrec train-pmf` over made-up data cut into parts, with a checkpoint after every sweep. At a
random moment a random one of its processes, or the one that watches it, gets SIGKILL, SIGTERM or
SIGINT in turn. The others have to end within a minute; then all are started again, and perhaps
killed again, until they end by themselves, and vectors are compared with those of an unbroken run.
Before all have met nobody can tell a process that is dead from one that is late: the others wait
`MEETING`, here `PATIENCE`, and say so.

The last line is JSON: what was done how often, and what came of it. The status is 1 if anything was
lost, or wrong.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import click
import numpy as np
import polars as pl
import psutil
from harness import machine

sys.path.insert(0, str(Path(__file__).parent.parent))

from jaxrec.hosts.launch import LOST
from jaxrec.sources.guess import describe
from jaxrec.sources.sharded.writing import write_shard
from tests.faults.deaths import LONG, SIGNALS, small_data
from tests.hosts.processes import begun, free_address

MINUTE = 60
PATIENCE = 20
"""Seconds that processes wait for one another here."""
PROGRAM = f"""
from jaxrec.interruption import told_to_end

with told_to_end():
    import jaxrec.hosts.launch
    from jaxrec.__main__ import main
    from jaxrec.pmf.sweeps import Checkpoints

    jaxrec.hosts.launch.MEETING = {PATIENCE}
    Checkpoints.due = lambda self: True
    main()
"""


class Ends(NamedTuple):
    """How processes ended: status and errors of each, and seconds since the signal."""

    statuses: list[int]
    said: list[str]
    seconds: float


class Bench:
    """Where some processes are started again and again."""

    def __init__(self, scratch: Path, processes: int):
        self.run, self.processes = scratch / "run", processes
        data = small_data(scratch / "data", users=300, items=200)
        write_shard(describe(data), scratch / "cut", 2 * processes)
        self._command = (
            *("train-pmf", "--data", str(scratch / "cut"), "--run", str(self.run)),
            *("--factors", "8", "--sweeps", "30"),
        )

    def begun(self) -> list[subprocess.Popen[str]]:
        """All of them."""
        which = "--coordinator", free_address(), "--processes", str(self.processes)
        return [
            begun(PROGRAM, *self._command, *which, "--process", str(process))
            for process in range(self.processes)
        ]

    def ended(self) -> list[int]:
        """The statuses of all, unbroken."""
        return [(one.communicate(timeout=LONG), one.returncode)[1] for one in self.begun()]

    def whole(self) -> tuple[dict[str, pl.DataFrame], float]:
        """What an unbroken run learns, and the seconds that it takes."""
        for _ in range(2):  # the first compiles
            shutil.rmtree(self.run, ignore_errors=True)
            start = time.monotonic()
            statuses = self.ended()
            seconds = time.monotonic() - start
            assert not any(statuses), statuses
        return self.vectors(), seconds

    def vectors(self) -> dict[str, pl.DataFrame]:
        """By file what was learned."""
        return {
            path.name: pl.read_parquet(path)
            for path in sorted((self.run / "vectors").glob("*.parquet"))
        }

    def differing(self, whole: dict[str, pl.DataFrame]) -> Iterator[str]:
        """What is not as after an unbroken run."""
        found = self.vectors()
        if found.keys() != whole.keys():
            yield f"{sorted(found)} instead of {sorted(whole)}"
            return
        for name, table in whole.items():
            if not found[name].equals(table):
                yield f"{name} differs"
        if (self.run / "checkpoints" / "pmf-together").exists():
            yield "a checkpoint was left"


def broken(bench: Bench, moment: float, victim: int, number: signal.Signals, one_of: int) -> Ends:
    """Started, and after some seconds one of the victim's two processes gets the signal."""
    started = bench.begun()
    time.sleep(moment)
    with suppress(psutil.NoSuchProcess):  # it has just ended
        both = psutil.Process(started[victim].pid)
        pair = [both, *both.children()]
        pair[one_of % len(pair)].send_signal(number)
    since = time.monotonic()
    ends = [(one.communicate(timeout=LONG)[1], one.returncode) for one in started]
    return Ends(
        [status for _, status in ends], [said for said, _ in ends], time.monotonic() - since
    )


def wrong_in(ends: Ends, victim: int, number: signal.Signals) -> Iterator[str]:
    """What does not end as docs/hosts.md says: who was killed by its signal, the others with 3."""
    if ends.seconds > MINUTE and any(ends.statuses):
        yield f"all ended after {ends.seconds:.0f} s only"
    dead = f"process {victim} of {len(ends.said)} has died"
    expected = {LOST: dead, 2: "has not met the others"}
    for process, (status, said) in enumerate(zip(ends.statuses, ends.said, strict=True)):
        if process == victim and status == -number:
            continue  # killed itself, or before Python listened
        right = status == 0 or (status in expected and expected[status] in said)
        if process == victim:
            right = status in (0, 128 + number)
        if "Traceback" in said or not right:
            yield f"process {process} of which {victim} got {number.name}: {status}, {said[-2000:]}"


@click.command()
@click.option("--count", default=50)
@click.option("--processes", default=3)
@click.option("--seed", default=0)
def main(count: int, processes: int, seed: int) -> None:
    rng, outcomes, wrong, done = np.random.default_rng(seed), Counter[str](), list[str](), 0
    longest = 0.0
    with TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), processes)
        whole, seconds = bench.whole()
        click.echo(f"unbroken: {seconds:.1f} s")
        while done < count:
            shutil.rmtree(bench.run, ignore_errors=True)
            statuses = [1]
            while any(statuses) and done < count:
                victim, number = int(rng.integers(processes)), SIGNALS[done % len(SIGNALS)]
                moment, one_of = float(rng.uniform(0, seconds)), int(rng.integers(2))
                ends = broken(bench, moment, victim, number, one_of)
                statuses, done, longest = ends.statuses, done + 1, max(longest, ends.seconds)
                others = sorted({*statuses[:victim], *statuses[victim + 1 :]})
                outcomes[f"{number.name}: {statuses[victim]}, the others {others}"] += 1
                lines = [*wrong_in(ends, victim, number)]
                wrong += lines
                click.echo(
                    "\n".join([f"{done}: {number.name} after {moment:.1f} s to process {victim}:"
                               f" {statuses}, {ends.seconds:.0f} s", *lines])
                )  # fmt: skip
            if any(statuses):
                statuses = bench.ended()
            lines = [f"run again: {statuses}"] if any(statuses) else [*bench.differing(whole)]
            outcomes["resumed, " + ("not the same" if lines else "the same")] += 1
            wrong += lines
            click.echo("\n".join(lines))
    told = {"measure": "kills of several processes", "kills": done, "processes": processes}
    told |= {"outcomes": outcomes, "longest_s": longest, "wrong": len(wrong)}
    click.echo(json.dumps(told | {"machine": machine()}))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
