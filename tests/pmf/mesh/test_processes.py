"""What a process takes of what all have, in one process."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from jaxrec.devices import Mesh
from jaxrec.pmf.mesh import checkpoints, fit
from jaxrec.pmf.mesh.checkpoints import OnMesh, State


def test_a_process_draws_its_users_as_one_process_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "DRAWN", 7)
    whole = np.random.default_rng(3).normal(0, 0.5, (10, 4))
    for before in (0, 3):
        found = fit.drawn(np.random.default_rng(3), before, 5, 4)
        assert found.tolist() == whole[before : before + 5].tolist()


@pytest.mark.parametrize("size", [2, 3, 7, 100])
def test_saved_rows_are_taken_by_their_numbers(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The own users are numbers 3 to 5, of whom 4 has no place; 0 is padding."""
    monkeypatch.setattr(checkpoints, "BLOCK", size)
    rows = np.arange(14.0, dtype=np.float32).reshape(7, 2)
    numbers, places = np.array([3, 0, 5, 1, 0, 6, 2], np.int32), np.array([1, -1, 0], np.int32)
    nothing: Any = None
    on_mesh = OnMesh(nothing, Mesh.of(jax.devices()[:1]), nothing)
    found = on_mesh._taken(jax.numpy.asarray(rows), jax.numpy.asarray(numbers), places, 2)
    assert found.tolist() == rows[[2, 0]].tolist()
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("processes", "restoring"),
    [([0, 1], ["looked", "waited", "looked"]), ([1, 2], ["waited", "looked"])],
)
def test_all_wait_for_the_first_to_clear_what_is_of_another_fit_and_for_each_to_save(
    processes: list[int], restoring: list[str]
) -> None:
    told: list[str] = []

    def saved() -> tuple[None, list[float]]:
        told.append("looked")
        return None, []

    def keep(losses: list[float], write: Any, first: bool) -> None:
        assert first == (processes[0] == 0)  # the number of this process
        told.append("saved")

    kept: Any = SimpleNamespace(saved=saved, keep=keep)
    mesh: Any = SimpleNamespace(processes=processes, summed=lambda _: told.append("waited"))
    nothing: Any = None
    state, on_mesh = State(nothing, nothing), OnMesh(kept, mesh, nothing)
    assert on_mesh.restore(state) == (state, [])
    assert told == restoring
    told.clear()
    on_mesh.save(state, [])
    assert told == ["saved", "waited"]
