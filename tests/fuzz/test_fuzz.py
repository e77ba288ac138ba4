"""A few inputs of each target; `python benchmarks/fuzz.py TARGET` tries as many as one has time."""

from collections.abc import Iterator
from contextlib import ExitStack
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.drawing import READ, REFUSED, Attempt
from tests.fuzz.targets import TARGETS

FEW = 40
MORE = {"cards": 10, "ids": 300, "texts": 100, "places": 100, "descriptions": 100}


@pytest.fixture(scope="module", params=sorted(TARGETS.keys() - {"requests"}))
def entered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Attempt]]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp(request.param)
        yield request.param, stack.enter_context(TARGETS[request.param](folder))


@pytest.mark.timeout(300)
def test_any_input_is_read_or_refused(entered: tuple[str, Attempt]) -> None:
    target, attempt = entered
    tried(attempt, MORE.get(target, FEW))


def tried(attempt: Attempt, inputs: int) -> None:
    """So many inputs of a target."""

    @settings(max_examples=inputs, suppress_health_check=list(HealthCheck))
    @given(seed=st.integers(0, 2**32))
    def try_one(seed: int) -> None:
        assert attempt(Random(seed)) in (READ, REFUSED)

    try_one()
