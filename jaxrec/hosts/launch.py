"""Several processes as one: how they find one another, who speaks, and what ends them all.

Slurm and Open MPI are seen by what they put into the environment, as `jax.distributed.initialize`
sees them; elsewhere each process is told. A process is watched by its parent, which is what the
launcher has started: JAX ends a process whose peer is gone by an abort that no Python sees, and the
parent says in one line who it was and how to go on.
"""

import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO, NamedTuple, NoReturn

from jaxrec.errors import InputError, refused

HEARTBEAT = 20
"""Seconds without a sign of life after which a process counts as dead."""
MEETING = 300
"""Seconds within which all have to be there."""
LOST = 3
"""Exit status where another process has died."""
NUMBERS = {
    "Slurm": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    "Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
}
"""Where each launcher says how many processes there are, and which this is."""
JOINED = "jaxrec: all are there\n"
"""What a process writes beside JAX's words once it has met the others."""
UNHEALTHY = re.compile(r"unhealthy[^\n]*:\n((?:.*task:)?\d+)")
"""How JAX's coordination service names who is dead."""


class Place(NamedTuple):
    """Which process this is, of how many."""

    process: int = 0
    processes: int = 1
    coordinator: str | None = None
    """Address of process 0; None where the launcher tells JAX."""

    @property
    def speaks(self) -> bool:
        """Does it print and write?"""
        return self.process == 0


def place_of(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> Place:
    """Where this process stands, by what it is told, else by its launcher; alone without either.

    Raises:
        InputError: something is told, and something lacks; or the number is out of range.
    """
    if processes is None and process is None:
        for many, which in NUMBERS.values():
            if many in os.environ and which in os.environ:
                processes, process = int(os.environ[many]), int(os.environ[which])
                if processes > 1 or coordinator is not None:
                    return _checked(Place(process, processes, coordinator))
        if coordinator is None:
            return Place()
    if coordinator is None or processes is None or process is None:
        raise InputError(
            "--coordinator HOST:PORT, --processes N and --process I go together: the address of"
            " process 0, how many there are, and which this is, from 0"
        )
    return _checked(Place(process, processes, coordinator))


def _checked(place: Place) -> Place:
    if place.coordinator is not None and not re.fullmatch(r".+:\d+", place.coordinator):
        raise InputError(f"--coordinator {place.coordinator}: expected HOST:PORT of process 0")
    if not 0 <= place.process < place.processes:
        raise InputError(f"--process {place.process}: they are 0 to {place.processes - 1}")
    return place


@contextmanager
def joined(place: Place) -> Iterator[None]:
    """Around what the processes do together; no JAX may have computed before. Alone, it is nothing.

    It goes on in a child of this process, and the parent ends as the child does: with status `LOST`
    and a line where another process has died. All come to the end of the block, or none.

    Raises:
        InputError: the others are not there within `MEETING`, or the system forks no process.
    """
    if place.processes == 1:
        yield
        return
    if not hasattr(os, "fork"):
        raise InputError("several processes work as one on Linux and macOS alone; start one")
    own_error = os.dup(2)
    log = TemporaryFile()  # noqa: SIM115 - parent and child both read it
    alive = os.pipe()
    child = os.fork()
    if child:
        os.close(alive[0])
        _watch(child, place, log)
    os.close(alive[1])
    os.setpgid(0, 0)  # a terminal tells the parent alone, which passes it on
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it may wait for another process
    threading.Thread(target=_end_with, args=(alive[0],), daemon=True).start()
    # C++ speaks to descriptors: it is heard only where something went wrong
    os.dup2(log.fileno(), 2)
    sys.stderr = os.fdopen(own_error, "w", buffering=1)
    try:
        _join(place, log)
        yield
        _leave()
    except BaseException as error:
        _end_wrongly(error, place)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _join(place: Place, log: IO[bytes]) -> None:
    import jax

    sys.stdout.flush()
    out = os.dup(1)
    os.dup2(log.fileno(), 1)  # gloo greets there
    try:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
        jax.distributed.initialize(
            place.coordinator,
            place.processes,
            place.process,
            initialization_timeout=MEETING,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
        wait("joined")
        os.write(2, JOINED.encode())
    except RuntimeError as error:
        raise InputError(f"{alone(place)} ({str(error).splitlines()[0]})") from None
    finally:
        os.dup2(out if place.speaks else os.open(os.devnull, os.O_WRONLY), 1)
        os.close(out)


def wait(name: str) -> None:
    """Until every process is here; `name` is the same in all."""
    from jax.experimental.multihost_utils import sync_global_devices

    sync_global_devices(name)


def together(count: int) -> int:
    """The sum of every process's count."""
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather

    return int(process_allgather(np.int32(count)).sum(dtype=np.int64))


def _leave() -> None:
    import jax

    wait("done")
    jax.distributed.shutdown()


def _end_with(alive: int) -> None:
    """End this process when the one that watches it is gone."""
    os.read(alive, 1)
    os._exit(LOST)


def _end_wrongly(error: BaseException, place: Place) -> NoReturn:
    """End by what went wrong here; where that is the death of another, JAX will end this."""
    import traceback

    status = 1
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else 1
    elif isinstance(error, InputError):
        print(f"jaxrec: process {place.process}: {error}", file=sys.stderr)
        status = 2
    elif isinstance(error, OSError) and error.strerror is not None:
        print(f"jaxrec: process {place.process}: {refused(error)}", file=sys.stderr)
        status = 2
    elif isinstance(error, KeyboardInterrupt):
        status = 130
    else:
        if re.search("Gloo|NCCL|UNAVAILABLE|Connection", str(error)):
            time.sleep(2 * HEARTBEAT)
        traceback.print_exception(error, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _watch(child: int, place: Place, log: IO[bytes]) -> NoReturn:
    """End as the child ends; say who has died, if that is why."""

    def pass_on(number: int, frame: object) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    _, ended = os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(ended)
    log.seek(0)
    said = log.read().decode(errors="replace")
    if status >= 0:
        os._exit(status)
    if status == -signal.SIGABRT and JOINED not in said:
        print(f"jaxrec: {alone(place)}", file=sys.stderr, flush=True)
        os._exit(2)
    if status == -signal.SIGABRT and (who := dead(said)) is not None:
        print(f"jaxrec: {in_words(who, place)}", file=sys.stderr, flush=True)
        os._exit(LOST)
    if status != -signal.SIGTERM:
        print(said, file=sys.stderr, end="", flush=True)
    os._exit(128 - status)


def dead(said: str) -> str | None:
    """The process that JAX's last words say is gone; None if they speak of something else."""
    if (found := UNHEALTHY.search(said)) is not None:
        return found[1].rpartition(":")[2]
    return "0" if "JAX distributed service detected fatal errors" in said else None


def alone(place: Place) -> str:
    """What to say where the others have not come, in a line."""
    at = "" if place.coordinator is None else f" at {place.coordinator}"
    return (
        f"process {place.process} has not met the others{at}, for whom it waits {MEETING} s at"
        f" most; is each of the {place.processes} started, and may its port be reached?"
    )


def in_words(who: str, place: Place) -> str:
    """What to say of a process that has died, in a line."""
    command = shlex.join(["jaxrec", *sys.argv[1:]])
    return (
        f"process {who} of {place.processes} has died; start all {place.processes} again as before,"
        f" and they go on from the last checkpoint (here, process {place.process}: `{command}`)"
    )
