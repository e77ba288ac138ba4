"""What a fit over a mesh takes beside one on cores. Run: python benchmarks/mesh.py MEASURE

| measure | what                                                                               |
|---------|------------------------------------------------------------------------------------|
| time    | a sweep of the large matrix, 64 factors: 2 processes of one device and one core each, |
|         | beside the cores of one process                                                    |
| memory  | the most that any of 4 processes holds of it, beside one process on cores          |

Every process is new, reads its own users alone, and pins itself to its share of the cores. Fits on
cores and on the mesh take turns.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from harness import report
from large import ITEMS, USERS, power_law

SWEEPS = 4
TURNS = 3


def fit_alone(path: str, port: int, processes: int, process: int) -> None:
    """One process: prints seconds of a sweep, once compiled, and its peak memory in GB."""
    import resource

    if hasattr(os, "sched_setaffinity") and processes > 1:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[process % len(cores)]})
    import jax

    from jaxrec import Observed, PmfSettings, fit_pmf
    from jaxrec.devices import Mesh

    place = None
    if processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"localhost:{port}", processes, process)
        place = Mesh.of()
    users, items = np.load(path, mmap_mode="r")
    first, end = (USERS * np.array([process, process + 1])) // processes
    mine = slice(*np.searchsorted(users, [first, end]))
    ones = np.broadcast_to(np.float32(1), mine.stop - mine.start)
    own = Observed(users[mine] - np.int32(first), np.array(items[mine]), ones, ones)
    del users, items  # and the pages of the file
    ends: list[float] = []
    fit_pmf(
        own,
        int(end - first),
        ITEMS,
        PmfSettings(factors=64, target="liked", sweeps=SWEEPS),
        on_sweep=lambda *_: ends.append(time.perf_counter()),
        placement=place,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps([statistics.median(np.diff(ends)), peak]))


def together(path: Path, processes: int) -> tuple[float, float]:
    """Seconds of a sweep of the slowest process, and GB of the largest."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--fit", str(path), str(port), str(processes), str(process)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for process in range(processes)
    ]
    said = [json.loads(one.communicate()[0].splitlines()[-1]) for one in started]
    slowest, largest = np.max(said, axis=0)
    print(f"{processes} processes: {slowest:.2f} s a sweep, {largest:.2f} GB", flush=True)
    return float(slowest), float(largest)


@click.command()
@click.argument("measure", type=click.Choice(["time", "memory"]))
def main(measure: str) -> None:
    """See the module."""
    processes, turns, unit = {"time": (2, TURNS, "s"), "memory": (4, 1, "GB")}[measure]
    which = 0 if measure == "time" else 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npy"
        train = power_law()
        np.save(path, np.stack([train.users, train.items]))
        del train
        on_cores, on_mesh = [], []
        for _ in range(turns):
            on_cores.append(together(path, 1)[which])
            on_mesh.append(together(path, processes)[which])
    ours, cores = statistics.median(on_mesh), statistics.median(on_cores)
    report(f"mesh {measure}, {processes} processes", ours, cores, "cores of one process", unit)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fit"]:
        fit_alone(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main()
