"""What there is to compute on, and how work is spread over it."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple, Protocol, TypeVar

import jax
from threadpoolctl import ThreadpoolController

Work = TypeVar("Work")
Result = TypeVar("Result")


class Placement(Protocol):
    """Where blocks of users are worked on."""

    @property
    def parallel(self) -> int:
        """How many blocks are under way at once; they share the memory."""

    def each(self, work: Callable[[Work], Result], blocks: Sequence[Work]) -> list[Result]:
        """What `work` makes of each block, in their order."""


class Cores(NamedTuple):
    """Threads of one processor, each of which keeps a core busy."""

    parallel: int

    def each(self, work: Callable[[Work], Result], blocks: Sequence[Work]) -> list[Result]:
        """What `work` makes of each block, in their order."""
        if self.parallel == 1 or len(blocks) < 2:
            return [work(block) for block in blocks]
        with _libraries().limit(limits=1):  # of BLAS: the cores are busy already
            return list(_threads(self.parallel).map(work, blocks))


@cache
def _libraries() -> ThreadpoolController:
    """Those of NumPy and SciPy; to look for them takes milliseconds."""
    return ThreadpoolController()


@cache
def _threads(number: int) -> ThreadPoolExecutor:
    """Kept for all calls: to JAX and to the allocator every new thread is a cold one."""
    return ThreadPoolExecutor(number, "jaxrec")


_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def one_program_at_a_time() -> Iterator[None]:
    """In this thread: a server answers many, and compiled programs side by side may deadlock."""
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)


def placement() -> Placement:
    """A thread a core; one thread where an accelerator does the work."""
    devices = workers()
    return Cores(len(devices) if devices[0].platform == "cpu" else 1)


def workers() -> list[jax.Device]:
    """Every accelerator; without one, the CPU once per core that this process may use.

    XLA's CPU runtime works off a program's operations one after the other, so that cores are kept
    busy by several programs, each started from its own thread.
    """
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        return devices
    if _alone.get():
        return devices[:1]
    # macOS and Windows cannot confine a process to cores
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return devices[:1] * (cores or 1)
