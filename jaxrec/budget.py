"""What may be spent, and what something will take, or took: bytes of memory, and seconds."""

import ctypes
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

from jaxrec.errors import InputError

SHARE = 4
"""By default a row gets so many-th part of the machine's memory."""
M_MMAP_THRESHOLD = -3
"""As malloc.h has it: what takes as many bytes is mapped on its own."""
GROUPS = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"
"""Where Linux says what a container may use."""


def give_back_at_once() -> None:
    """From now on the system gets the memory of an array of a megabyte or more when it is freed.

    The GNU C library learns to keep what arrays of up to 32 MB took, in case that more of them
    come, and holes are left between those that last.
    """
    if sys.platform == "linux":  # other C libraries than GNU's have no such option
        getattr(ctypes.CDLL(None), "mallopt", lambda option, value: 0)(M_MMAP_THRESHOLD, 2**20)


class Cost(NamedTuple):
    """What a row takes, about."""

    memory: float
    """Bytes of its arrays at the worst moment, beside the data."""
    learning: float
    """Seconds."""
    asking: float
    """Seconds until everybody's scores are ranked."""

    @property
    def seconds(self) -> float:
        """In all."""
        return self.learning + self.asking

    def __str__(self) -> str:
        return f"about {in_bytes(max(self.memory, 1e6))} and {in_time(max(self.seconds, 1))}"


@dataclass(frozen=True)
class Stage:
    """How far a row of the score card is: it waits, is under way, was measured, or is absent."""

    row: str
    expected: Cost
    """What it takes, about."""
    under_way: bool = False
    took: float | None = None
    """Seconds, once it is over."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Means over the users, once it was measured."""
    absent: str | None = None
    """Why, if it is."""


class Budget(NamedTuple):
    """What may be spent."""

    memory: int
    """Bytes that the arrays of a row may take."""
    seconds: float = math.inf
    """For everything together."""
    end: float = math.inf
    """When they are over, by `time.monotonic`."""

    @classmethod
    def of(cls, mebibytes: int | None = None, minutes: float | None = None) -> "Budget":
        """From now on; by default a quarter of the memory, and all the time in the world."""
        memory = machine_memory() // SHARE if mebibytes is None else mebibytes * 2**20
        if minutes is None:
            return cls(memory)
        return cls(memory, 60 * minutes, time.monotonic() + 60 * minutes)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    def less(self, seconds: float) -> "Budget":
        """The same where so many seconds are kept for something else."""
        return self._replace(end=self.end - seconds)

    def check(self, cost: Cost) -> None:
        """Raise InputError if this does not fit in memory, or will not be done in time."""
        if (why := self.too_large(cost) or self.too_long(cost)) is not None:
            raise InputError(why)

    def too_large(self, cost: Cost) -> str | None:
        """Why this does not fit in memory, and what would help; None where it does."""
        if cost.memory <= self.memory:
            return None
        needed = math.ceil(cost.memory / 2**20)
        return (
            f"it takes about {in_bytes(cost.memory)}, and {in_bytes(self.memory)} are allowed; give"
            f" --memory {needed}"
        )

    def too_long(self, cost: Cost) -> str | None:
        """Why this will not be done in time, and what would help; None where it will."""
        left = max(self.left, 0)
        if cost.seconds <= left:
            return None
        return (
            f"it takes about {in_time(cost.seconds)}, and {in_time(left)} are left; give a longer"
            " --budget"
        )


def machine_memory() -> int:
    """Bytes that this machine, or this container, has."""
    return min([psutil.virtual_memory().total, *container_memory()])


def container_memory() -> list[int]:
    """Bytes that this container may use, by each limit that it has."""
    said = [path.read_text().strip() for path in map(Path, GROUPS) if path.exists()]
    return [int(limit) for limit in said if limit.isdigit()]


def in_bytes(count: float) -> str:
    """As `1.4 GB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def in_time(seconds: float) -> str:
    """As `40 s` or `3 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
