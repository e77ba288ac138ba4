"""Jobs side by side in processes of this machine, each with its own share of the cores.

JAX can be neither forked nor confined once it is imported. Python's pools, and loky's, do not end
with a parent that is killed and leave semaphores behind, and Python's imports the script anew that
started it. A process here hears its jobs on its standard input and ends with that, however its
parent ends; of the parent's script it knows nothing.
"""

import _thread
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from queue import Empty, SimpleQueue
from typing import IO, Any, Literal, NamedTuple

from jaxrec.errors import InputError
from jaxrec.interruption import listen, speak_apart

CONFINES = hasattr(os, "sched_setaffinity")
"""Does the system confine a process to cores? macOS and Windows do not."""
CORES = "JAXREC_CORES"
"""How many a process takes where it does not."""
THREADS = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Where XLA and BLAS then look for how many threads to start."""
HEARING = 0.2
"""Seconds after which a parent that waits hears Ctrl-C: Polars' handler does not interrupt it."""
GRACE = 1.0
"""Seconds in which a process may end in order; compiled code does not hear."""
# Ctrl-C in a terminal is told to all processes, and it is the parent that ends the others
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from jaxrec.side_by_side import serve
serve()
"""

Kind = Literal["begun", "told", "done", "failed"]
Work = Callable[[Any, str, Callable[[Any], None]], Any]
"""Of what all jobs share, the name of a job, and what tells the parent how far it is."""


class News(NamedTuple):
    """Of a job."""

    job: str
    kind: Kind
    value: Any = None
    """What it told or returned, or the exception by which it failed."""


@dataclass(frozen=True, eq=False)
class Process:
    """One that does jobs."""

    of_system: subprocess.Popen
    hears: IO[bytes]
    says: IO[bytes]
    place: list[int]
    """Its cores."""


def cores() -> list[int]:
    """Those that this process may use."""
    if CONFINES:
        return sorted(os.sched_getaffinity(0))
    return list(range(int(os.environ.get(CORES) or os.cpu_count() or 1)))


def shares(processes: int) -> list[list[int]]:
    """The cores of each of so many processes: all that there are, none twice."""
    there = cores()
    cuts = [len(there) * process // max(processes, 1) for process in range(processes + 1)]
    return [there[begin:end] for begin, end in pairwise(cuts)]


def side_by_side(
    work: Work, shared: Any, jobs: Sequence[str], places: list[list[int]]
) -> Generator[News]:
    """Do jobs, the first first; when this ends, or is closed, none is under way any more.

    Args:
        work: a function that a module has; each process imports it.
        shared: what it works on; every process gets a copy.
        jobs: their names.
        places: the cores of each process.

    Yields:
        How far each job is: in the end that it is done, or that it has failed, by the exception it
        raised or an InputError where its process is gone, which costs no other job.
    """
    asked = pickle.dumps((work, shared), pickle.HIGHEST_PROTOCOL)
    waiting, messages = deque(jobs), SimpleQueue[tuple[Process, Kind | None, Any]]()
    under_way: dict[Process, str] = {}
    started: dict[Process, threading.Thread] = {}

    def take(place: list[int], process: Process | None = None) -> Generator[News]:
        """The next job, by a process that is there or a new one."""
        if not waiting:
            if process is not None:
                _dismiss(process)
            return
        if process is None:
            process = _start(place)
            started[process] = threading.Thread(target=_relay, args=(process, messages))
            started[process].start()
            _send(process, sys.path, place, asked)
        job = under_way[process] = waiting.popleft()
        _send(process, job)
        yield News(job, "begun")

    try:
        for place in places:
            yield from take(place)
        while under_way:
            try:
                process, kind, value = messages.get(timeout=HEARING)
            except Empty:
                continue
            if process not in under_way:
                continue  # it was dismissed, and is gone
            if kind == "told":
                yield News(under_way[process], kind, value)
                continue
            job, gone = under_way.pop(process), kind is None
            value = InputError(_why_gone(process)) if gone else value
            yield News(job, kind or "failed", value)
            yield from take(process.place, None if gone else process)
    finally:
        for process in started:
            _dismiss(process)
        for process, listener in started.items():
            try:
                process.of_system.wait(2 * GRACE)
            except subprocess.TimeoutExpired:
                process.of_system.kill()
            listener.join()
            process.of_system.wait()
            process.says.close()


def _start(place: list[int]) -> Process:
    own = {} if CONFINES else dict.fromkeys((CORES, *THREADS), str(len(place)))
    command, pipe = [sys.executable, "-P", "-c", PROGRAM], subprocess.PIPE
    of_system = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=os.environ | own)
    assert of_system.stdin is not None
    assert of_system.stdout is not None
    return Process(of_system, of_system.stdin, of_system.stdout, place)


def _send(process: Process, *messages: Any) -> None:
    with suppress(OSError):  # of one that is gone `_relay` says so
        for message in messages:
            pickle.dump(message, process.hears)
        process.hears.flush()


def _dismiss(process: Process) -> None:
    with suppress(OSError):
        process.hears.close()


def _relay(process: Process, messages: SimpleQueue) -> None:
    """In a thread of the parent: what a process says, until it is gone."""
    with suppress(EOFError, pickle.UnpicklingError):
        while True:
            messages.put((process, *pickle.load(process.says)))
    messages.put((process, None, None))


def _why_gone(process: Process) -> str:
    status = process.of_system.wait()
    if status >= 0:
        return f"its process has ended with status {status}"
    return (
        f"its process was ended ({signal.strsignal(-status)}), as a system does where memory is at"
        " an end; free some, or ask for less"
    )


def serve() -> None:
    """What a process does: the jobs that it hears, until nobody tells it any more."""
    heard, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer

    def say(kind: Kind, value: Any) -> None:
        answers.write(pickle.dumps((kind, value)))
        answers.flush()

    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        place = pickle.load(heard)
        if CONFINES:
            os.sched_setaffinity(0, place)  # before a library counts the cores
        work, shared = pickle.loads(pickle.load(heard))
        speak_apart()
        listen([signal.SIGTERM])
        jobs: SimpleQueue[str | None] = SimpleQueue()
        threading.Thread(target=_hear, args=(heard, jobs), daemon=True).start()
        while (job := jobs.get()) is not None:
            try:
                answer: tuple[Kind, Any] = "done", work(shared, job, partial(say, "told"))
            except Exception as error:
                answer = "failed", _portable(error)
            say(*answer)
    os._exit(0)


def _hear(heard: IO[bytes], jobs: SimpleQueue) -> None:
    """In a thread of a process: its jobs, until nobody tells any more."""
    with suppress(EOFError, pickle.UnpicklingError):
        while True:
            jobs.put(pickle.load(heard))
    jobs.put(None)
    _thread.interrupt_main(signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(0)


def _portable(error: Exception) -> Exception:
    """The exception, or what it says if it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
