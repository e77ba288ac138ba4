"""Several processes as one: under `accelerate launch` each does its share of the micro-batches."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from torch_embed.errors import InputError

T = TypeVar("T")


def start() -> None:
    """Join the other processes, if the launcher has made any."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        from accelerate import PartialState

        # the others wait while the first one validates
        PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(hours=6))


def place() -> tuple[int, int]:
    """Number of this process, and of how many."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_first() -> bool:
    """Is this the process that prints and writes?"""
    return place()[0] == 0


def sum_over(tensor: Tensor) -> Tensor:
    """The sum of every process's `tensor`, in place."""
    if dist.is_initialized():
        with _met():
            dist.all_reduce(tensor)
    return tensor


def share(value: T) -> T:
    """The first process's `value`."""
    if not dist.is_initialized():
        return value
    shared = [value]
    with _met():
        dist.broadcast_object_list(shared)
    return shared[0]


def wait() -> None:
    """Until every process is here."""
    if dist.is_initialized():
        with _met():
            dist.barrier()


@contextmanager
def _met() -> Iterator[None]:
    """Around what all do together: an InputError where one of them is gone."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # Gloo has no kind of its own for this
        raise InputError(
            "another process has ended; start all again with the same command, and a fine-tuning"
            f" goes on from its last checkpoint ({str(error).splitlines()[0][:200]})"
        ) from error


@contextmanager
def first_ahead() -> Iterator[None]:
    """The first process goes through the block before the others do, and prepares it for them."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()
