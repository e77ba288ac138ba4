"""What there is to compute on, and how work is spread over it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from jaxrec.side_by_side import cores

Work = TypeVar("Work")
Result = TypeVar("Result")
Rows = TypeVar("Rows")


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


AXIS = "devices"
"""The one axis of a mesh."""


class Mesh(NamedTuple):
    """Devices of one host or of many, that compute one program together, each on its own part.

    An array that is cut has as many rows of each device, one device after the other. A process
    names and reads those of its own devices alone. Programs with collectives must not be started
    side by side: each one is waited for.
    """

    devices: jax.sharding.Mesh
    """One axis, `AXIS`."""

    @classmethod
    def of(cls, devices: Sequence[jax.Device] | None = None) -> "Mesh":
        """Of some devices; by default of all, those of other processes too."""
        devices = jax.devices() if devices is None else devices
        auto = (jax.sharding.AxisType.Auto,)
        return cls(jax.make_mesh((len(devices),), (AXIS,), auto, devices=devices))

    @property
    def parallel(self) -> int:
        """A block for each device of this process at once."""
        return len(self.own)

    def each(self, work: Callable[[Work], Result], blocks: Sequence[Work]) -> list[Result]:
        """What `work` makes of each block, in their order: block b on this process's device b."""
        own = [self.devices.devices.flat[place] for place in self.own]

        def on_device(numbered: tuple[int, Work]) -> Result:
            number, block = numbered
            with jax.default_device(own[number % len(own)]):
                return work(block)

        return list(_threads(len(own)).map(on_device, enumerate(blocks)))

    @property
    def size(self) -> int:
        """How many devices there are."""
        return self.devices.size

    @property
    def own(self) -> list[int]:
        """The places of this process's devices among all."""
        mine = jax.process_index()
        return [
            place
            for place, device in enumerate(self.devices.devices.flat)
            if device.process_index == mine
        ]

    @property
    def processes(self) -> list[int]:
        """Those that have a device here."""
        return sorted({device.process_index for device in self.devices.devices.flat})

    def cut(self, parts: Any) -> Any:
        """A pytree of [own devices, rows, ...], sent to them: arrays [all devices x rows, ...]."""
        sharding = NamedSharding(self.devices, PartitionSpec(AXIS))

        def send(part: NDArray) -> Array:
            rows = part.reshape(-1, *part.shape[2:])
            shape = (self.size * part.shape[1], *rows.shape[1:])
            return jax.make_array_from_process_local_data(sharding, rows, shape)

        return jax.tree.map(send, parts)

    def spread(self, array: NDArray, axis: int) -> Array:
        """One process's array, cut along an axis, whose last entry is repeated to fill up."""
        padding = [(0, 0)] * array.ndim
        padding[axis] = (0, -array.shape[axis] % self.size)
        spec = PartitionSpec(*[None] * axis, AXIS)
        filled = np.pad(array, padding, mode="edge")
        return jax.device_put(filled, NamedSharding(self.devices, spec))

    def parts(self, array: Array) -> NDArray:
        """[own devices, rows, ...] of an array that is cut."""
        shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
        return np.stack([np.asarray(shard.data) for shard in shards])

    def whole(self, array: Array) -> NDArray:
        """All of an array that is cut, to every process."""
        return np.asarray(jax.block_until_ready(_whole(array, self.devices)))

    def summed(self, values: NDArray) -> NDArray:
        """The sum of each value over the processes, in the precision that they have."""
        rows = np.zeros((self.parallel, *values.shape), values.dtype)
        rows[0] = values
        return self._over_processes(rows, "sum")

    def largest(self, values: NDArray) -> NDArray:
        """The largest of each value over the processes."""
        rows = np.broadcast_to(values, (self.parallel, *values.shape))
        return self._over_processes(rows, "max")

    def of_each(self, values: Any) -> NDArray[np.int64]:
        """[processes, ...] whole numbers of every process, in their order."""
        own = np.asarray(values, np.int64)
        mine = np.zeros((len(self.processes), *own.shape), np.int64)
        mine[self.processes.index(jax.process_index())] = own
        return self.summed(mine)

    def gathered(self, rows: Rows) -> Rows:
        """A pytree of arrays [n, ...], n differing: those of all processes, in their order."""
        if len(self.processes) == 1:
            return rows
        from jax.experimental.multihost_utils import process_allgather

        counts = self.of_each(len(jax.tree.leaves(rows)[0]))

        def every(own: NDArray) -> NDArray:
            filled = np.zeros((counts.max(), *own.shape[1:]), own.dtype)
            filled[: len(own)] = own
            found = process_allgather(filled)
            return np.concatenate([of[:n] for of, n in zip(found, counts, strict=True)])

        return jax.tree.map(every, rows)

    def _over_processes(self, rows: NDArray, reduction: str) -> NDArray:
        if len(self.processes) == 1:
            return rows[0]
        with jax.enable_x64(True):
            return np.asarray(jax.block_until_ready(_reduced(self.cut(rows), self, reduction)))

    def together(self, work: Callable[..., Any], cut: tuple[bool, ...], out: Any) -> Any:
        """`work` on every device at once.

        Args:
            work: of pytrees of arrays; of one that is cut a device sees its rows.
            cut: which of them are; the others are given whole to all devices.
            out: pytree of bools, or one for all: is this result cut, or the same on all devices?
        """
        whole, rows = PartitionSpec(), PartitionSpec(AXIS)
        return jax.shard_map(
            work,
            mesh=self.devices,
            in_specs=tuple(rows if is_cut else whole for is_cut in cut),
            out_specs=jax.tree.map(lambda is_cut: rows if is_cut else whole, out),
            check_vma=False,
        )


@partial(jax.jit, static_argnames="devices")
def _whole(array: Array, devices: jax.sharding.Mesh) -> Array:
    return jax.lax.with_sharding_constraint(array, NamedSharding(devices, PartitionSpec()))


@partial(jax.jit, static_argnames=("mesh", "reduction"))
def _reduced(rows: Array, mesh: Mesh, reduction: str) -> Array:
    reduce = jax.lax.psum if reduction == "sum" else jax.lax.pmax
    return mesh.together(lambda row: reduce(row, AXIS), (True,), False)(rows)


def added_up(numbers: Any, mesh: Mesh | None) -> Any:
    """A pytree of numbers, each the sum over the processes of a mesh; without one as they are."""
    if mesh is None:
        return numbers
    leaves, form = jax.tree.flatten(numbers)
    return jax.tree.unflatten(form, mesh.summed(np.array(leaves, np.float64)).tolist())


@cache
def _libraries() -> ThreadpoolController:
    """Those of NumPy and SciPy; to look for them takes milliseconds."""
    return ThreadpoolController()


@cache
def _threads(number: int) -> ThreadPoolExecutor:
    """Kept for all calls: to JAX and to the allocator every new thread is a cold one."""
    return ThreadPoolExecutor(number, "jaxrec")


def on_the_host(work: Callable[[Work], Result], of: Sequence[Work], idle: bool) -> Iterator[Result]:
    """What `work` makes of each, by the host: all at once where its cores are `idle`.

    Else one after the other, each when it is asked for: no more memory is held than one takes.
    """
    return iter(_threads(len(of)).map(work, of) if idle else map(work, of))


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
    """A thread a core; one thread where an accelerator does the work, one each where several do."""
    devices = workers()
    if devices[0].platform != "cpu" and len(devices) > 1:
        return Mesh.of(devices)
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
    return devices[:1] * len(cores())
