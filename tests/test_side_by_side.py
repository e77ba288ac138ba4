"""Jobs in processes of their own: what they answer, what one that fails costs, what ends them."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jaxrec.errors import InputError
from jaxrec.side_by_side import CONFINES, cores, shares, side_by_side

pytestmark = pytest.mark.timeout(120)
SCRIPT = """
import sys
import polars  # whose handler of SIGINT wakes nobody
polars.DataFrame({"a": [1]}).lazy().select("a").collect()
from jaxrec.side_by_side import cores, side_by_side
from tests.test_side_by_side import answer
print("a script runs once")
places = [cores()[:1]] * 2
try:
    for news in side_by_side(answer, 1, sys.argv[1:], places):
        print(news.job, news.kind, news.value, flush=True)
except KeyboardInterrupt:
    print("interrupted")
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}


def answer(shared: int, job: str, tell: Callable[[Any], None]) -> Any:
    """What the processes of these tests do."""
    if job == "cores":
        return cores()
    if job == "raise":
        raise InputError(f"no {job}")
    if job == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "drop":  # the collector calls back, and Python drops what is raised there
        gc.callbacks.append(lambda *_: signal.raise_signal(signal.SIGTERM))
        gc.collect()
        signal.pause()
    if job == "print":
        os.write(1, b"a library speaks")
    while job.startswith("wait"):
        tell(os.getpid())
        signal.pause()
    tell(job.upper())
    return shared + len(job)


def ends(jobs: list[str], places: list[list[int]]) -> dict[str, tuple[str, Any]]:
    news = side_by_side(answer, 1, jobs, places)
    return {job: (kind, value) for job, kind, value in news if kind in ("done", "failed")}


def test_a_job_begins_tells_and_is_done_and_the_first_is_first() -> None:
    told = list(side_by_side(answer, 1, ["print", "ab"], [cores()[:1]]))
    assert [tuple(news) for news in told] == [
        ("print", "begun", None),
        ("print", "told", "PRINT"),
        ("print", "done", 6),
        ("ab", "begun", None),
        ("ab", "told", "AB"),
        ("ab", "done", 3),
    ]


@pytest.mark.skipif(not CONFINES, reason="the system confines no process")
def test_a_process_has_its_own_cores() -> None:
    place = cores()[-1:]
    assert ends(["cores"], [place]) == {"cores": ("done", place)}


def test_all_cores_are_shared_out_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxrec.side_by_side.cores", lambda: list(range(7)))
    assert shares(3) == [[0, 1], [2, 3], [4, 5, 6]]


def test_where_the_system_confines_nobody_a_process_is_told_how_many_cores_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jaxrec.side_by_side.CONFINES", False)
    monkeypatch.setenv("JAXREC_CORES", "3")
    assert cores() == [0, 1, 2]


def test_a_job_that_fails_or_whose_process_is_killed_costs_no_other() -> None:
    found = ends(["raise", "die", "ab"], [cores()[:1]])
    assert found["ab"] == ("done", 3)
    kinds = {job: (kind, type(value)) for job, (kind, value) in found.items()}
    assert kinds["raise"] == kinds["die"] == ("failed", InputError)
    assert str(found["raise"][1]) == "no raise"
    assert str(found["die"][1]).startswith("its process was ended (Killed)")


def test_a_process_ends_that_is_told_to_while_the_collector_calls_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    kind, why = ends(["drop"], [cores()[:1]])["drop"]
    assert (kind, str(why)) == ("failed", "its process has ended with status 0")
    assert capfd.readouterr().err == ""


def test_none_is_under_way_once_it_is_closed() -> None:
    with closing(side_by_side(answer, 1, ["wait"], [cores()[:1]])) as happens:
        next(happens)
        process = next(happens).value
        os.kill(process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_script_without_a_guard_may_call_it() -> None:
    done = subprocess.run(
        [sys.executable, "-", "ab"],
        input=SCRIPT, env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "a script runs once", "ab begun None", "ab told AB", "ab done 3",
    ]  # fmt: skip
    assert done.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_all_end_with_their_parent_and_say_nothing(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "wait", "wait more"],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        said = [next(parent.stdout) for _ in range(5)]
        assert sum("told" in line for line in said) == 2
        if number == signal.SIGINT:  # no job would say anything more
            os.killpg(parent.pid, number)  # as a terminal does
        else:
            parent.send_signal(number)
        # standard error is at its end once nobody has it open any more
        rest, errors = parent.communicate()
    assert errors == ""
    assert rest == ("interrupted\n" if number == signal.SIGINT else "")
