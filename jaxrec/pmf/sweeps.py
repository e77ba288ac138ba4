"""Repeats a training sweep; can be interrupted at any moment and resumed with the same result."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax
import numpy as np

from jaxrec.errors import InputError
from jaxrec.files import Form, check_there, file_sha256, read_sealed, refused_as, write_sealed

State = TypeVar("State")

OnSweep = Callable[[int, float], None]
"""Called after each sweep with the number of sweeps done and the loss."""


class Keeper(Protocol[State]):
    """What saves the state of a fit, and gives it back."""

    @property
    def alone(self) -> bool:
        """Can it be saved by this process at any moment?"""

    def restore(self, state: State) -> tuple[State, list[float]]:
        """The saved state and losses, or `state` and none."""

    def save(self, state: State, losses: list[float]) -> None:
        """Save now, unless it is saved already."""

    def due(self) -> bool:
        """Is it time to save?"""


class Checkpoints:
    """Where a fit saves its state with orbax, at most once in `every` seconds.

    `identity` says what is being fitted (settings and data). A checkpoint of another identity is
    discarded: it cannot be continued.
    """

    alone = True

    def __init__(self, folder: Path, identity: dict[str, Any], every: float = 5.0):
        self.folder = folder.absolute()
        self.identity = identity
        self.every = every
        self._saved_at = time.monotonic()
        self._saved_sweep = 0

    def restore(self, state: State) -> tuple[State, list[float]]:
        """The saved state and losses, or `state` and none; the time to the next save begins."""
        saved, losses = self.saved()
        if saved is None:
            return state, []
        self.refuse_damaged()
        # orbax takes most of a second to import; only a fit that was interrupted pays for it
        from orbax.checkpoint import PyTreeCheckpointer

        arrays = PyTreeCheckpointer().restore(saved)
        restored = [arrays[leaf] for leaf in sorted(arrays)]
        return jax.tree.unflatten(jax.tree.structure(state), restored), losses

    def saved(self) -> tuple[Path | None, list[float]]:
        """Where orbax has saved a state, if it has, and the losses until then."""
        self._saved_at = time.monotonic()
        saved = self._card()
        if saved.get("identity") != self.identity:
            self.clear()
            return None, []
        self._saved_sweep = len(saved["losses"])
        return self.folder / saved["state"], saved["losses"]

    def refuse_damaged(self) -> None:
        """Raise InputError if a file of what is saved is not as it was written."""
        card = self._card()
        folder = self.folder / card["state"]
        for name, sha256 in card.get("files", {}).items():
            if not (folder / name).exists() or file_sha256(folder / name) != sha256:
                raise InputError(
                    f"{folder / name}: not as it was written; delete {self.folder}, and the fit"
                    " begins anew"
                )

    def _card(self) -> dict[str, Any]:
        """What is said of the saved state; empty if there is none."""
        path = self.folder / "checkpoint.json"
        form: Form = {"identity": dict, "state": str, "losses": list}
        remedy = f"delete {self.folder}, and the fit begins anew"
        return read_sealed(path, remedy, form) if path.exists() else {}

    def save(self, state: State, losses: list[float]) -> None:
        """Save now, unless it is saved already."""
        from orbax.checkpoint import PyTreeCheckpointer

        leaves = jax.tree.leaves(state)
        arrays = {f"{number:02}": np.asarray(leaf) for number, leaf in enumerate(leaves)}
        self.keep(losses, lambda path: PyTreeCheckpointer().save(path, arrays, force=True))

    def keep(self, losses: list[float], write: Callable[[Path], None], first: bool = True) -> None:
        """`write` a state, unless it is saved already.

        The card is written when the new state is whole and before the old one is deleted, so what
        it names is there at every moment. Of processes that write one together, the `first` does
        that.
        """
        if len(losses) == self._saved_sweep:
            return
        check_there(self.folder)
        # before it is: who interrupts this would have it written again, over what is half written
        self._saved_sweep = len(losses)
        name = f"sweep-{len(losses)}"
        logging.getLogger("absl").setLevel(logging.CRITICAL)  # what orbax logs it raises, too
        with refused_as(self.folder / name, self.folder / name):
            write(self.folder / name)
        if first:
            files = {
                path.relative_to(self.folder / name).as_posix(): file_sha256(path)
                for path in sorted((self.folder / name).rglob("*"))
                if path.is_file()
            }
            card = {"identity": self.identity, "state": name, "losses": losses, "files": files}
            write_sealed(self.folder / "checkpoint.json", card)
            for older in self.folder.glob("sweep-*"):
                if older.name != name:
                    shutil.rmtree(older)
        self._saved_at = time.monotonic()

    def due(self) -> bool:
        """Have `every` seconds passed since the last save?"""
        return time.monotonic() - self._saved_at >= self.every

    def clear(self) -> None:
        """Delete what was saved; called once the result itself is on disk."""
        shutil.rmtree(self.folder, ignore_errors=True)


def run_sweeps(
    sweep: Callable[[State], tuple[State, Any]],
    state: State,
    sweeps: int,
    checkpoints: Keeper[State] | None = None,
    on_sweep: OnSweep = lambda sweep, loss: None,
    tolerance: float = 0.0,
) -> tuple[State, list[float]]:
    """Apply `sweep` until it has run `sweeps` times, those before an interruption counted.

    Args:
        sweep: returns the next state (a pytree of arrays) and the loss; leaves its argument be.
        state: where to start from if there is no checkpoint.
        sweeps: how many sweeps in all.
        checkpoints: where to save and resume; saved also when Ctrl-C stops the loop of one process.
        on_sweep: told of every sweep; sweeps done before an interruption are told at once.
        tolerance: stop early when a sweep lowers the loss by less than this share of it; 0 never
            stops early.

    Returns:
        The last state and the loss of every sweep.

    Raises:
        FloatingPointError: the loss is not finite; the message says in which sweep.
    """
    losses: list[float] = []
    if checkpoints is not None:
        state, losses = checkpoints.restore(state)
        if losses:
            on_sweep(len(losses), losses[-1])
    try:
        while len(losses) < sweeps and not _converged(losses, tolerance):
            following, loss = sweep(state)
            if not np.isfinite(loss):
                raise FloatingPointError(f"the loss is {float(loss)} in sweep {len(losses) + 1}")
            state, losses = following, [*losses, float(loss)]
            on_sweep(len(losses), losses[-1])
            if checkpoints is not None and checkpoints.due():
                checkpoints.save(state, losses)
    except KeyboardInterrupt:
        if checkpoints is not None and losses and checkpoints.alone:
            checkpoints.save(state, losses)
        raise
    return state, losses


def _converged(losses: list[float], tolerance: float) -> bool:
    return (
        tolerance > 0 and len(losses) > 1 and losses[-2] - losses[-1] <= tolerance * abs(losses[-2])
    )
