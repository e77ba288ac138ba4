"""What may be spent: what does not fit says so, and what would help."""

import math
from pathlib import Path

import psutil
import pytest

from jaxrec import budget
from jaxrec.budget import Budget, Cost, in_bytes, in_time, machine_memory
from jaxrec.errors import InputError
from jaxrec.experiment.scoring import _beyond_the_time

GIB = 2**30


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock shows."""
    clock = [1000.0]
    monkeypatch.setattr("jaxrec.budget.time.monotonic", lambda: clock[0])
    return clock


def test_a_row_gets_a_quarter_of_the_machine_and_all_the_time_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "machine_memory", lambda: 8 * GIB)
    assert Budget.of() == Budget(2 * GIB)
    assert Budget.of().left == math.inf
    assert Budget.of(mebibytes=3).memory == 3 * 2**20


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max\n", 8 * GIB), (f"{2 * GIB}\n", 2 * GIB), (f"{2**63 - 4096}\n", 8 * GIB)],
)
def test_a_container_has_what_it_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int
) -> None:
    class Machine:
        total = 8 * GIB

    monkeypatch.setattr(psutil, "virtual_memory", Machine)
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(budget, "GROUPS", (str(tmp_path / "memory.max"), str(tmp_path / "none")))
    assert machine_memory() == expected


def test_time_runs_out(now: list[float]) -> None:
    given = Budget.of(1, minutes=2)
    assert (given.seconds, given.left) == (120, 120)
    assert given.less(50).left == 70
    assert given.too_long(Cost(0, 100, 20)) is None
    now[0] += 90
    assert given.left == 30
    assert given.too_long(Cost(0, 20, 11)) == (
        "it takes about 31 s, and 30 s are left; give a longer --budget"
    )
    now[0] += 90
    assert "and 0 s are left" in str(given.too_long(Cost(0, 1, 0)))


def test_what_is_too_large_says_how_much_would_do() -> None:
    given = Budget.of(1000)
    assert given.too_large(Cost(1000 * 2**20, 9e9, 9e9)) is None
    assert given.too_large(Cost(1000 * 2**20 + 1, 0, 0)) == (
        "it takes about 1.0 GB, and 1.0 GB are allowed; give --memory 1001"
    )


def test_what_fits_passes_and_what_does_not_is_refused(now: list[float]) -> None:
    given = Budget.of(1, minutes=1)
    given.check(Cost(2**20, 60, 0))
    with pytest.raises(InputError, match=r"give --memory 2$"):
        given.check(Cost(2**20 + 1, 61, 0))
    with pytest.raises(InputError, match=r"give a longer --budget$"):
        given.check(Cost(2**20, 61, 0))


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 MB"), (99.4e6, "99 MB"), (1e8, "0.1 GB"), (1.44e9, "1.4 GB")]
)
def test_bytes_in_words(count: float, words: str) -> None:
    assert in_bytes(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (7200, "120 min")]
)
def test_time_in_words(seconds: float, words: str) -> None:
    assert in_time(seconds) == words


def test_a_cost_in_words() -> None:
    assert str(Cost(1.4e9, 50, 10)) == "about 1.4 GB and 60 s"


COSTS = {
    "popularity": Cost(0, 1, 1),
    "ease": Cost(0, 40, 10),
    "pmf": Cost(0, 10, 10),
    "hybrid": Cost(0, 60, 10),
}
"""142 seconds in all."""


@pytest.mark.parametrize(
    ("left", "gone"),
    [
        (142, []),
        (141, ["ease"]),  # hybrid is longer, and what a user wants most
        (92, ["ease"]),
        (91, ["ease", "pmf"]),
        (71, ["ease", "pmf", "popularity"]),
        (69, ["ease", "pmf", "popularity", "hybrid"]),
    ],
)
def test_the_longest_rows_go_first_and_hybrid_last(
    now: list[float], left: float, gone: list[str]
) -> None:
    found = _beyond_the_time(Budget(0, left, now[0] + left), COSTS)
    assert list(found) == gone
    if gone:
        assert found["ease"] == (
            "it takes about 50 s, and not all would be done within --budget; give a longer one, or"
            " --row ease"
        )


def test_an_estimate_is_never_nothing() -> None:
    assert str(Cost(0.0, 0.0, 0.2)) == "about 1 MB and 1 s"
