"""A sweep is repeated, saved, gone on with: of numbers instead of factors."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jaxrec.errors import InputError
from jaxrec.files import sealed, write_json
from jaxrec.pmf import sweeps
from jaxrec.pmf.sweeps import Checkpoints, run_sweeps

Told = list[tuple[int, float]]


def losing(*losses: float) -> Callable[[int], tuple[int, float]]:
    """A sweep whose state counts, with these losses."""
    return lambda state: (state + 1, losses[state])


class Memory:
    """Keeps a state in memory, and notes what is saved."""

    alone = True

    def __init__(self, due: bool = False) -> None:
        self.saved: list[tuple[int, list[float]]] = []
        self.is_due = due

    def restore(self, state: int) -> tuple[int, list[float]]:
        return self.saved[-1] if self.saved else (state, [])

    def save(self, state: int, losses: list[float]) -> None:
        self.saved.append((state, losses))

    def due(self) -> bool:
        return self.is_due


def test_so_many_sweeps_are_run_and_told() -> None:
    told: Told = []
    state, losses = run_sweeps(
        losing(5.0, 4.0, 3.0, 2.0), 0, 3, on_sweep=lambda *now: told.append(now)
    )
    assert (state, losses) == (3, [5.0, 4.0, 3.0])
    assert told == [(1, 5.0), (2, 4.0), (3, 3.0)]
    assert run_sweeps(losing(5.0), 0, 1) == (1, [5.0])


@pytest.mark.parametrize(
    ("tolerance", "sweeps"),
    [
        (0.0, 6),  # never, even if nothing is gained
        (0.1, 5),  # 64 to 60 is less than a tenth; the first sweep is before nothing
        (0.125, 4),  # so much is not more
        (0.25, 3),
    ],
)
def test_it_stops_where_a_sweep_gains_less_than_a_share(tolerance: float, sweeps: int) -> None:
    sweep = losing(128.0, 95.0, 73.0, 64.0, 60.0, 60.0)
    if tolerance == 0.125:
        sweep = losing(128.0, 96.0, 80.0, 70.0, 60.0, 60.0)
    assert len(run_sweeps(sweep, 0, 6, tolerance=tolerance)[1]) == sweeps


def test_the_share_is_of_what_is_lost_whatever_its_sign() -> None:
    assert len(run_sweeps(losing(-4.0, -6.0, -9.0, -9.5), 0, 4, tolerance=0.1)[1]) == 4
    assert len(run_sweeps(losing(-4.0, -6.0, -6.5, -9.0), 0, 4, tolerance=0.1)[1]) == 3


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_none_names_its_sweep_and_keeps_nothing(loss: float) -> None:
    keeper, told = Memory(due=True), list[Any]()
    with pytest.raises(FloatingPointError, match=rf"the loss is {loss} in sweep 2"):
        run_sweeps(losing(1.0, loss), 0, 9, keeper, lambda *now: told.append(now))
    assert keeper.saved == [(1, [1.0])]
    assert told == [(1, 1.0)]


def test_it_is_saved_when_it_is_due() -> None:
    keeper = Memory()
    run_sweeps(losing(3.0, 2.0), 0, 2, keeper)
    assert keeper.saved == []
    keeper = Memory(due=True)
    run_sweeps(losing(3.0, 2.0), 0, 2, keeper)
    assert keeper.saved == [(1, [3.0]), (2, [3.0, 2.0])]


def test_what_was_saved_is_told_and_counts() -> None:
    keeper, told = Memory(), list[Any]()
    keeper.saved = [(2, [9.0, 8.0])]
    found = run_sweeps(losing(0, 0, 7.0), 0, 3, keeper, lambda *now: told.append(now))
    assert found == (3, [9.0, 8.0, 7.0])
    assert told == [(2, 8.0), (3, 7.0)]
    assert run_sweeps(losing(), 0, 2, keeper) == (2, [9.0, 8.0])


@pytest.mark.parametrize(("alone", "sweep"), [(True, 2), (True, 1), (False, 2)])
def test_a_process_by_itself_saves_when_it_is_interrupted(alone: bool, sweep: int) -> None:
    """Of several, each would save another sweep; and of none there is nothing to save."""
    keeper = Memory()
    keeper.alone = alone

    def interrupted(state: int) -> tuple[int, float]:
        if state + 1 == sweep:
            raise KeyboardInterrupt
        return state + 1, 1.0

    for without in (None, keeper):
        with pytest.raises(KeyboardInterrupt):
            run_sweeps(interrupted, 0, 3, without)
    assert keeper.saved == ([(1, [1.0])] if alone and sweep == 2 else [])


def written(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "state").write_text(path.name)


def test_a_new_state_is_whole_before_the_old_one_goes(tmp_path: Path) -> None:
    there: list[list[str]] = []

    def write(path: Path) -> None:
        there.append(sorted(found.name for found in path.parent.glob("*")))
        written(path)

    checkpoints = Checkpoints(tmp_path / "c", {"a": 1})
    for losses in ([3.0], [3.0, 2.0], [3.0, 2.0]):
        checkpoints.keep(losses, write)
    # the second time it is saved already
    assert there == [[], ["checkpoint.json", "sweep-1"]]
    left = sorted(found.name for found in (tmp_path / "c").glob("*"))
    assert left == ["checkpoint.json", "sweep-2"]
    card = json.loads((tmp_path / "c" / "checkpoint.json").read_text())
    assert card["state"] == "sweep-2"
    assert list(card["files"]) == ["state"]
    again = Checkpoints(tmp_path / "c", {"a": 1})
    assert again.saved() == (tmp_path / "c" / "sweep-2", [3.0, 2.0])
    again.keep([3.0, 2.0], write)  # it is there
    assert len(there) == 2


def test_of_processes_that_write_together_the_first_writes_the_card(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", {})
    checkpoints.keep([1.0], written, first=False)
    assert [found.name for found in (tmp_path / "c").glob("*")] == ["sweep-1"]


def test_what_is_saved_of_another_fit_is_deleted(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "c", {"seed": 1}).keep([1.0], written)
    other = Checkpoints(tmp_path / "c", {"seed": 2})
    assert other.restore("begin") == ("begin", [])
    assert not (tmp_path / "c").exists()
    other.keep([1.0], written)
    assert other.saved()[1] == [1.0]
    other.clear()
    other.clear()
    assert other.saved() == (None, [])


def test_a_file_of_a_state_that_is_missing_or_another_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", {})
    for damage in (Path.unlink, lambda path: path.write_text("another")):
        checkpoints.clear()
        checkpoints._saved_sweep = 0
        checkpoints.keep([1.0], written)
        checkpoints.refuse_damaged()
        damage(tmp_path / "c" / "sweep-1" / "state")
        with pytest.raises(InputError, match=r"not as it was written; delete .*c, and the fit beg"):
            checkpoints.refuse_damaged()
        with pytest.raises(InputError, match="not as it was written"):
            Checkpoints(tmp_path / "c", {}).restore("begin")


def test_without_hashes_a_state_of_an_earlier_version_is_taken(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", {})
    checkpoints.keep([1.0], written)
    card = {"identity": {}, "state": "sweep-1", "losses": [1.0]}
    write_json(tmp_path / "c" / "checkpoint.json", card)
    checkpoints.refuse_damaged()


@pytest.mark.parametrize("wrong", [{"identity": 1}, {"state": 2}, {"losses": {}}])
def test_a_card_that_is_none_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    checkpoints = Checkpoints(tmp_path / "c", {})
    checkpoints.keep([1.0], written)
    path = tmp_path / "c" / "checkpoint.json"
    write_json(path, sealed(json.loads(path.read_text()) | wrong))
    with pytest.raises(
        InputError, match=rf"{next(iter(wrong))} is missing .*; delete .*c, and the"
    ):
        Checkpoints(tmp_path / "c", {}).saved()


def test_a_save_is_due_so_many_seconds_after_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(sweeps, "time", SimpleNamespace(monotonic=lambda: now[0]))
    checkpoints = Checkpoints(tmp_path / "c", {})

    def seconds_until_due() -> float:
        began = now[0]
        while not checkpoints.due() and now[0] < began + 60:
            now[0] += 0.5
        return now[0] - began

    assert seconds_until_due() == 5.0
    checkpoints.keep([1.0], written)
    assert seconds_until_due() == 5.0
    checkpoints.saved()
    assert seconds_until_due() == 5.0


def test_states_of_any_shape_come_back(tmp_path: Path) -> None:
    """More than ten arrays, too, whose names are sorted as text."""
    state = {"V": [np.full(3, float(n)) for n in range(12)], "U": np.eye(2, dtype=np.float32)}
    level = logging.getLogger("absl").level
    try:
        Checkpoints(tmp_path / "c", {}).save(state, [2.0, 1.0])
        assert logging.getLogger("absl").level == logging.CRITICAL  # it raises what it logs
    finally:
        logging.getLogger("absl").setLevel(level)
    begin = {"V": [np.zeros(3)] * 12, "U": np.zeros((2, 2), np.float32)}
    found, losses = Checkpoints(tmp_path / "c", {}).restore(begin)
    assert losses == [2.0, 1.0]
    np.testing.assert_array_equal(found["V"], state["V"])
    np.testing.assert_array_equal(found["U"], state["U"])
    assert np.asarray(found["U"]).dtype == np.float32
