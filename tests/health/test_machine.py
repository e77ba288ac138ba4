"""What there is to compute on, asked of programs that may break."""

import pytest

from jaxrec.budget import Budget
from jaxrec.health import machine


def test_devices_are_seen() -> None:
    assert machine.devices("jax") == ["cpu: cpu"]
    assert machine.devices("torch")


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import os; os.abort()", "ended with status -6"),
    ],
)
def test_what_breaks_is_a_line(program: str, why: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        machine.run(program)
    assert str(caught.value) == why


def test_who_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PATIENCE", 0.2)
    with pytest.raises(RuntimeError, match=r"no answer within 0\.2 s"):
        machine.run("import time; time.sleep(60); found = []")


def test_a_row_gets_what_a_budget_has() -> None:
    memory = machine.memory()
    assert memory["budget"] == Budget.of().memory
    assert memory["budget"] <= (memory["container"] or memory["machine"] or 0) / 4
