"""Inputs that nobody would write, for hours. Run: python benchmarks/fuzz.py TARGET, from a clone.

The generators are those of the tests (`tests/fuzz`), where each target is tried a little. An input
is at fault if it ends in anything but an answer or a refusal, takes more than SECONDS, has the
process grow by more than MIB, or is read as something that was not written.

| target        | what is drawn                                                               |
|---------------|-----------------------------------------------------------------------------|
| guessed       | tables of every format, whole and damaged, packed or not; all is guessed    |
| described     | whole tables under hostile names: what is read is what was written          |
| descriptions  | `dataset.toml`, damaged or edited, and its tables                           |
| written       | descriptions of anything: what is read is what was written                  |
| ids           | names: each is found at its place, and nothing else is                      |
| texts         | titles and templates: filled in, found, shown on terminals                  |
| places        | paths of data                                                               |
| options       | options of every command, with any value                                    |
| artefacts     | cards, arrays and tables of run folders and models, damaged or edited       |
| requests      | HTTP: methods, paths, queries, headers, bodies                              |
"""

import collections
import faulthandler
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random

import click
import psutil
from harness import machine

import torch_embed.learn  # noqa: F401  (half a minute, which would be an input's)
from tests.fuzz import drawing
from tests.fuzz.targets import TARGETS

SHOWN = 20
"""Faults that are told apart and shown."""


class Slow(BaseException):
    """An input has taken too long."""


def limited(seconds: int) -> Callable[[drawing.Attempt, Random], str]:
    """`attempt`, ended after so many seconds; after thrice as many the process is."""

    def late(*_: object) -> None:
        raise Slow

    signal.signal(signal.SIGALRM, late)

    def attempt(one: drawing.Attempt, draw: Random) -> str:
        faulthandler.dump_traceback_later(3 * seconds, exit=True)
        signal.alarm(seconds)
        try:
            return one(draw)
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()

    return attempt


def fault(error: BaseException) -> str:
    """What faults are told apart by: kind, and the last places that were reached."""
    last = traceback.extract_tb(error.__traceback__)[-3:]
    cause = "" if error.__cause__ is None else f" of {fault(error.__cause__)}"
    said = (str(error) or "nothing said").splitlines()[0][:80]
    where = " ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in last)
    return f"{type(error).__name__} ({said}) at {where}{cause}"


@click.command()
@click.argument("target", type=click.Choice(list(TARGETS)))
@click.option("--inputs", default=10_000, show_default=True)
@click.option(
    "--seed", default=0, show_default=True, help="Of the first input; the next has one more."
)
@click.option("--seconds", default=10, show_default=True, help="That an input may take.")
@click.option("--mib", default=1024, show_default=True, help="That the process may grow by.")
def main(target: str, inputs: int, seed: int, seconds: int, mib: int) -> None:
    """Try that many inputs; print each kind of fault with a seed that repeats it, then JSON."""
    outcomes, faults = collections.Counter[str](), dict[str, list[int]]()
    one_more, process = limited(seconds), psutil.Process()
    os.environ["RUST_BACKTRACE"] = "0"
    with tempfile.TemporaryDirectory() as scratch, TARGETS[target](Path(scratch)) as attempt:
        attempt(Random(seed))  # what is imported late is no growth
        before, start = process.memory_info().rss, time.monotonic()
        for number in range(seed, seed + inputs):
            try:
                outcomes[one_more(attempt, Random(number))] += 1
                if process.memory_info().rss - before > mib * 2**20:
                    raise MemoryError(f"grown by more than {mib} MiB")
            except KeyboardInterrupt:
                break
            except BaseException as error:
                faults.setdefault(fault(error), []).append(number)
                before = max(before, process.memory_info().rss)
        spent = time.monotonic() - start
    for said, numbers in list(faults.items())[:SHOWN]:
        print(f"{len(numbers)} x {said}\n    --seed {numbers[0]} --inputs 1", file=sys.stderr)
    tried = sum(outcomes.values()) + sum(map(len, faults.values()))
    found = {
        "target": target,
        "inputs": tried,
        **outcomes,
        "faults": sum(map(len, faults.values())),
        "kinds": len(faults),
        "milliseconds": round(1000 * spent / max(tried, 1), 2),
        "machine": machine(),
    }
    print(json.dumps(found))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
