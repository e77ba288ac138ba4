"""What a process takes of what all have, in one process."""

from typing import Any

import jax
import numpy as np
import pytest

from jaxrec.devices import Mesh
from jaxrec.pmf.mesh import checkpoints, fit
from jaxrec.pmf.mesh.checkpoints import OnMesh


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
