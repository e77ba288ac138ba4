"""What excuses a part, and what does not."""

import numpy as np
import pytest

from jaxrec.errors import InputError, excused, grouped


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (InputError("too large; take less"), "too large; take less"),
        (MemoryError(), "it does not fit in memory (MemoryError); free some"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nx"), "memory (RESOURCE_EXHAUSTED: Out"),
        (RuntimeError("CUDA out of memory. Tried to"), "it does not fit in memory (CUDA out"),
    ],
)
def test_what_is_impossible_is_told_in_a_line(error: Exception, why: str) -> None:
    told: list[str] = []
    with excused(told.append):
        raise error
    (line,) = told
    assert why in line
    assert "\n" not in line


def test_an_array_that_no_memory_holds_is_impossible() -> None:
    told: list[str] = []
    with excused(told.append):
        np.zeros((2**40, 2**10))
    assert "Unable to allocate" in told[0]


@pytest.mark.parametrize("error", [ValueError("NaN"), RuntimeError("wrong"), KeyError("x")])
def test_a_mistake_of_the_program_is_no_excuse(error: Exception) -> None:
    with pytest.raises(type(error)), excused(lambda why: None):
        raise error


def test_an_excuse_is_said_once() -> None:
    assert grouped({"a": "x", "b": "y", "c": "x"}) == "a, c: x; b: y"
