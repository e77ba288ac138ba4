"""What a fit over a mesh takes beside one on cores. Run: python benchmarks/mesh.py MEASURE

| measure | what                                                                                  |
|---------|---------------------------------------------------------------------------------------|
| time    | a sweep of the large matrix, 64 factors: 2 processes of one device and one core each, |
|         | beside the cores of one process                                                       |
| memory  | the most that any of 4 processes holds of it, beside one process on cores: resident,  |
|         | and with pages that several share, as they do libraries, shared out among them        |
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
import threading
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import psutil
from harness import report
from large import ITEMS, USERS, power_law

SWEEPS = 4
TURNS = 3
DEVICES = (1, 2, 4, 8)
USERS_OF_ONE = 60_000


class Sharing(threading.Thread):
    """Looks again and again how much memory this process has, what it shares with others divided
    by how many they are (Linux' PSS).
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self.start()

    def run(self) -> None:
        own = psutil.Process()
        while True:
            self.most = max(self.most, own.memory_full_info().pss)
            time.sleep(0.05)


def fit_alone(path: str, port: int, processes: int, process: int, watched: bool) -> None:
    """One process: prints seconds of a sweep, once compiled, and its peak memory in GB: resident,
    and if it is `watched` as `Sharing` has it.
    """
    import resource

    sharing = Sharing() if watched else None
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
    shared = 0.0 if sharing is None else sharing.most / 1e9
    print(json.dumps([statistics.median(np.diff(ends)), peak, shared]))


def together(path: Path, processes: int, watched: bool) -> list[float]:
    """Seconds of a sweep of the slowest process, and GB of the largest; see `fit_alone`."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, "--fit", str(path), str(port), str(processes)]
    started = [
        subprocess.Popen(
            [*command, str(process), str(int(watched))], stdout=subprocess.PIPE, text=True
        )
        for process in range(processes)
    ]
    said = [json.loads(one.communicate()[0].splitlines()[-1]) for one in started]
    most = [float(of) for of in np.max(said, axis=0)]
    print(
        f"{processes} processes: {most[0]:.2f} s a sweep, {most[1]:.2f} GB,"
        f" {most[2]:.2f} with shared pages shared out",
        flush=True,
    )
    return most


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
    processes, turns = {"time": (2, TURNS), "memory": (4, 1)}[measure]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npy"
        train = power_law()
        np.save(path, np.stack([train.users, train.items]))
        del train
        found = np.array(
            [
                [together(path, number, measure == "memory") for number in (1, processes)]
                for _ in range(turns)
            ]
        )
    cores, mesh = np.median(found, axis=0).tolist()
    what = f"mesh {measure}, {processes} processes"
    if measure == "time":
        report(what, mesh[0], cores[0], "cores of one process", "s")
        return
    report(what, mesh[1], cores[1], "cores of one process", "GB")
    report(f"{what}, shared pages shared out", mesh[2], cores[2], "cores of one process", "GB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fit"]:
        port, processes, process, watched = map(int, sys.argv[3:])
        fit_alone(sys.argv[2], port, processes, process, bool(watched))
    elif sys.argv[1:2] == ["--devices"]:
        fit_on_devices(int(sys.argv[2]))
    else:
        main()
