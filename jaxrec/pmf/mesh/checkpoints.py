"""State that lies on many devices, saved by all of them and restored onto another number of them.

Each device writes its own rows, with the numbers of their users or items. On other devices, or
other processes, rows lie elsewhere: they are read in equal parts, and go round in blocks, of which
every process takes what is its own. All processes must see one folder.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec
from numpy.typing import NDArray

from jaxrec.devices import AXIS, Mesh
from jaxrec.pmf.mesh.layout import Layout
from jaxrec.pmf.sweeps import Checkpoints

BLOCK = 2**16
"""Rows that go round at once."""


class State(NamedTuple):
    """Vectors where they lie, [rows, columns] each."""

    U: Array
    V: Array


class Named(NamedTuple):
    """What is saved."""

    state: State
    users: Array
    """[rows] the number of each row's user among those of all processes, from 1; 0 is
    padding, that of a reader too."""
    items: Array


class OnMesh(NamedTuple):
    """`Checkpoints` of a fit on a mesh."""

    checkpoints: Checkpoints
    mesh: Mesh
    layout: Layout

    @property
    def alone(self) -> bool:
        """Several processes save together, after the same sweep, or not at all."""
        return len(self.mesh.processes) == 1

    @property
    def _first(self) -> bool:
        return jax.process_index() == self.mesh.processes[0]

    def due(self) -> bool:
        """Is it time, by the clock of the first process?"""
        return bool(self.mesh.summed(np.array([self._first and self.checkpoints.due()], int))[0])

    def save(self, state: State, losses: list[float]) -> None:
        """Save now, unless it is saved already."""
        from orbax.checkpoint import PyTreeCheckpointer

        def write(path: Path) -> None:
            PyTreeCheckpointer().save(path, self._named(state)._asdict(), force=True)

        self.checkpoints.keep(losses, write, first=self._first)
        self._wait()

    def restore(self, state: State) -> tuple[State, list[float]]:
        """The saved state and losses, or `state` and none."""
        if self._first:  # which clears what is of another fit
            saved, _ = self.checkpoints.saved()
            if saved is not None:
                self.checkpoints.refuse_damaged()
        self._wait()
        path, losses = self.checkpoints.saved()
        if path is None:
            return state, []
        users, items = self.layout.users, self.layout.items
        (U, V), users_of, items_of = self._read(path)
        U_own = self._taken(U, users_of, users.order.places, users.before)
        V_own = self._taken(V, items_of, items.order.places, 0)
        cut = self.mesh.cut((users.spread(U_own), items.spread(V_own)[self.mesh.own]))
        return State(*cut), losses

    def _wait(self) -> None:
        """For all processes."""
        self.mesh.summed(np.zeros(1))

    def _named(self, state: State) -> Named:
        users, items = self.layout.users, self.layout.items
        of_users = users.spread((users.order.vectors + users.before + 1).astype(np.int32))
        of_items = items.spread((items.order.vectors + 1).astype(np.int32))[self.mesh.own]
        return Named(state, *self.mesh.cut((of_users, of_items)))

    def _read(self, path: Path) -> Named:
        """As it was saved, filled up to a multiple of the devices there are now."""
        from orbax.checkpoint import ArrayRestoreArgs, PyTreeCheckpointer

        reader = PyTreeCheckpointer()
        sharding = NamedSharding(self.mesh.devices, PartitionSpec(AXIS))

        def how(saved: Any) -> ArrayRestoreArgs:
            rows = -(-saved.shape[0] // self.mesh.size) * self.mesh.size
            shape = (rows, *saved.shape[1:])
            return ArrayRestoreArgs(sharding=sharding, global_shape=shape, strict=False)

        saved = reader.metadata(path).item_metadata.tree
        found = reader.restore(path, restore_args=jax.tree.map(how, saved))
        return Named(State(**found["state"]), found["users"], found["items"])

    def _taken(self, rows: Array, numbers: Array, places: NDArray[np.int32], before: int) -> Any:
        """[own vectors, columns] in order, of rows [rows, columns] with these numbers."""
        own = np.zeros((np.count_nonzero(places >= 0), rows.shape[1]), rows.dtype)
        size = min(BLOCK, rows.shape[0])
        for start in range(0, rows.shape[0], size):
            at = {"size": size, "devices": self.mesh.devices}
            block = jax.block_until_ready(_block(rows, numbers, np.int32(start), **at))
            here, number = (np.asarray(of) for of in block)
            mine = (number > before) & (number <= before + len(places))
            own[places[number[mine] - before - 1]] = here[mine]
        return own


@partial(jax.jit, static_argnames=("size", "devices"))
def _block(
    rows: Array, numbers: Array, start: Array, *, size: int, devices: jax.sharding.Mesh
) -> tuple[Array, Array]:
    """Some rows and their numbers, to all processes; the last ones twice if need be."""
    cut = partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=size)
    found = cut(rows), cut(numbers)
    return jax.lax.with_sharding_constraint(found, NamedSharding(devices, PartitionSpec()))
