"""What a fit over a mesh takes beside one on cores. Run: python benchmarks/mesh.py MEASURE

| measure | what                                                                                  |
|---------|---------------------------------------------------------------------------------------|
| time    | a sweep of the large matrix, 64 factors: 2 processes of one device and one core each, |
|         | beside the cores of one process                                                       |
| memory  | the most that any of 4 processes holds of it, beside one process on cores             |
| devices | a sweep at fixed work a device, 60,000 users of the same items, on 1, 2, 4 and 8      |
|         | devices of one process: seconds, processor seconds a device, and what of both the     |
|         | collectives take that `jaxrec.pmf.mesh.traffic` counts, run alone. What is done to    |
|         | item vectors they share: with few users a device has less to do, the more there are   |

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
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from harness import report
from large import ITEMS, USERS, power_law

SWEEPS = 4
TURNS = 3
DEVICES = (1, 2, 4, 8)
USERS_OF_ONE = 60_000


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


def fit_on_devices(number: int) -> None:
    """One process of some devices: prints what a sweep and its collectives take."""
    import jax
    from jax.sharding import PartitionSpec

    from jaxrec import Observed, PmfSettings, fit_pmf
    from jaxrec.devices import AXIS, Mesh
    from jaxrec.pmf.half_sweep import STEPS
    from jaxrec.pmf.mesh.traffic import of_sweep

    mesh, settings = Mesh.of(), PmfSettings(factors=64, target="liked", sweeps=SWEEPS + 1)
    train = power_law(users=USERS_OF_ONE * number)
    ones = np.broadcast_to(np.float32(1), len(train.users))
    ends: list[tuple[float, float]] = []
    fit_pmf(
        Observed(train.users, train.items, ones, ones),
        USERS_OF_ONE * number,
        ITEMS,
        settings,
        on_sweep=lambda *_: ends.append((time.perf_counter(), time.process_time())),
        placement=mesh,
    )
    sweep = np.median(np.diff(ends, axis=0), axis=0)

    def moved(kind: str, numbers: int) -> Callable[[], object]:
        of = {
            "all-gather": lambda part: jax.lax.all_gather(part, AXIS, tiled=True),
            "reduce-scatter": lambda part: jax.lax.psum_scatter(part, AXIS, tiled=True),
            "all-reduce": lambda part: jax.lax.psum(part, AXIS),
        }[kind]
        rows = numbers // number if kind == "all-gather" else numbers
        own = mesh.cut(np.ones((number, -(-rows // number) * number), np.float32))
        cut = PartitionSpec(AXIS)
        program = jax.jit(
            jax.shard_map(of, mesh=mesh.devices, in_specs=cut, out_specs=cut, check_vma=False)
        )
        jax.block_until_ready(program(own))
        return lambda: jax.block_until_ready(program(own))

    alone = np.zeros(2)
    padded = -(-ITEMS // number) * number
    for one in of_sweep(padded, 64, 1, STEPS["all-pairs"], all_pairs=True):
        work = moved(one.kind, one.numbers)
        before = np.array([time.perf_counter(), time.process_time()])
        for _ in range(20):
            work()
        after = np.array([time.perf_counter(), time.process_time()])
        alone += one.times * (after - before) / 20
    print(json.dumps([*sweep, *alone]))


def over_devices() -> None:
    """Prints a line for each number of devices; the ratio: most work a device to least."""
    works: dict[int, list[list[float]]] = {number: [] for number in DEVICES}
    for _ in range(TURNS):
        for number, found in works.items():
            flags = f"--xla_force_host_platform_device_count={number}"
            command = [sys.executable, __file__, "--devices", str(number)]
            environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    work = []
    for number, found in works.items():
        wall, busy, wall_moved, busy_moved = np.median(found, axis=0)
        work.append((busy - busy_moved) / number)
        print(
            f"{number} devices: {wall:.2f} s a sweep ({wall_moved:.3f} of it collectives), "
            f"{busy / number:.2f} processor seconds a device ({busy_moved / number:.3f}), "
            f"without collectives {work[-1]:.2f}"
        )
    report("work a device, 1 to 8 devices", max(work), min(work), "least", "processor seconds")


@click.command()
@click.argument("measure", type=click.Choice(["time", "memory", "devices"]))
def main(measure: str) -> None:
    """See the module."""
    if measure == "devices":
        over_devices()
        return
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
    elif sys.argv[1:2] == ["--devices"]:
        fit_on_devices(int(sys.argv[2]))
    else:
        main()
