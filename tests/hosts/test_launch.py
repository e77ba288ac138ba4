"""Several processes as one, each a subprocess as a shell or a launcher starts it."""

import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.evaluation.protocol import Protocol
from jaxrec.files import read_json
from jaxrec.hosts.launch import LOST, Place, dead, place_of
from jaxrec.models.factorization import pmf_settings
from jaxrec.models.registry import MODELS
from jaxrec.pmf.objective import ridges, training_pairs
from jaxrec.sources.guess import describe
from jaxrec.sources.library import load_dataset
from jaxrec.sources.sharded.writing import write_shard
from tests.hosts.processes import ends_of, jaxrec, start
from tests.sources.formats import FORMATS

PROGRAM = """
import errno, os, signal, sys
import jaxrec.hosts.launch
from jaxrec.errors import InputError
from jaxrec.hosts.launch import joined, place_of, together

jaxrec.hosts.launch.HEARTBEAT = 10
if sys.argv[4:] == ["alone"]:
    jaxrec.hosts.launch.MEETING = 5
place = place_of(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
with joined(place):
    print("sum", together(10 ** place.process))
    print("heard", file=sys.stderr)
    if sys.argv[4:] == ["mistake"] and place.process == 1:
        raise InputError("part=1: damaged")
    if sys.argv[4:] == ["full disk"] and place.process == 1:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "part=1")
    while sys.argv[4:]:
        if together(1) and sys.argv[4] == str(place.process):
            os.kill(os.getppid(), signal.SIGKILL)
        if sys.argv[4] == f"interrupt {place.process}":
            os.kill(os.getppid(), signal.SIGINT)
"""


def test_processes_reckon_together_and_the_first_speaks() -> None:
    first, second = ends_of(start(2, PROGRAM))
    assert first == (0, "sum 11\n", "heard\n")
    assert second == (0, "", "heard\n")  # an error is heard from each


@pytest.mark.parametrize("killed", [0, 2])
def test_a_killed_process_ends_the_others_with_a_line_that_names_it(killed: int) -> None:
    for process, (status, _, errors) in enumerate(ends_of(start(3, PROGRAM, str(killed)))):
        if process == killed:
            assert status == -signal.SIGKILL
            continue
        assert status == LOST
        heard, line = errors.splitlines()
        assert heard == "heard"
        assert line.startswith(f"jaxrec: process {killed} of 3 has died; start all 3 again")
        assert f"here, process {process}: `jaxrec localhost:" in line


def test_an_interrupted_process_ends_and_the_other_names_it() -> None:
    """As a launcher interrupts it: what it has started hears of it, and nobody else."""
    first, second = ends_of(start(2, PROGRAM, "interrupt 1"))
    assert (first[0], second[0]) == (LOST, 130)
    assert "process 1 of 2 has died" in first[2]


def test_others_who_never_come_are_not_told_dead() -> None:
    first, second = start(2, PROGRAM, "alone")
    second.kill()
    ((status, _, errors),) = ends_of([first])
    second.communicate()
    assert status == 2
    assert errors.startswith("jaxrec: process 0 has not met the others at localhost:")
    assert errors.endswith("is each of the 2 started, and may its port be reached?\n")


@pytest.mark.parametrize(
    ("what", "line"),
    [("mistake", "part=1: damaged"), ("full disk", "part=1: No space left on device")],
)
def test_a_mistake_of_one_is_told_by_it_and_ends_the_other(what: str, line: str) -> None:
    first, second = ends_of(start(2, PROGRAM, what))
    assert second == (2, "", f"heard\njaxrec: process 1: {line}\n")
    assert first[0] == LOST
    assert "process 1 of 2 has died" in first[2]


def test_two_shells_minimise_the_objective_of_the_very_same_split_as_one(tmp_path: Path) -> None:
    path, _ = FORMATS["Goodbooks"](tmp_path)
    write_shard(describe(path), tmp_path / "cut", 3)
    given = "--data", str(tmp_path / "cut"), "--run", str(tmp_path / "run")
    first, second = ends_of(jaxrec(2, "train-pmf", *given, "--factors", "4"))
    assert (first[0], second[0]) == (0, 0), (first, second)

    whole = load_dataset(path)
    train = whole.interactions.at(Protocol.of("strict", whole, 42).split.train)
    density = len(train.users) / (whole.users * whole.items)
    settings = pmf_settings(MODELS["pmf"].settings | {"factors": 4}, density)
    pairs = training_pairs(train, whole.feedback, settings)
    assert f"{len(pairs.users):,} pairs of {whole.users} users, in 2 processes" in first[2]
    assert first[1] == second[1] == second[2] == ""

    vectors = tmp_path / "run" / "vectors"
    U = of_all(vectors, "pmf-users-*.parquet", "user_id", whole.user_ids)
    V = of_all(vectors, "pmf-items.parquet", "item_id", whole.item_ids)
    x = np.sum(U[pairs.users] * V[pairs.items], axis=1)
    found = pairs.weights @ (pairs.targets - x) ** 2
    found += settings.w0 * np.sum((U.T @ U) * (V.T @ V))
    for X, of, others, side in ((U, pairs.users, V, "users"), (V, pairs.items, U, "items")):
        weights = ridges(np.bincount(of, minlength=len(X)), len(others), settings, side)
        found += weights @ np.sum(X**2, axis=1)
    card = read_json(vectors / "pmf.json")
    losses = card["losses"]
    assert len(losses) == settings.sweeps
    each = (int(item) + 1 for item in train.items)
    bits = train.values.astype(np.float64).view(np.uint64).tolist()
    assert card["checksum"] == sum(a * (b | 1) for a, b in zip(each, bits, strict=True)) % 2**31
    assert losses[-1] == pytest.approx(found, rel=1e-4)
    assert not (tmp_path / "run" / "checkpoints" / "pmf-together").exists()


def test_the_run_folder_of_one_process_is_left_alone(tmp_path: Path) -> None:
    path, _ = FORMATS["Goodbooks"](tmp_path)
    write_shard(describe(path), tmp_path / "cut", 2)
    run = tmp_path / "run"
    run.mkdir()
    (run / "experiment.json").write_text("{}")
    given = "--data", str(tmp_path / "cut"), "--run", str(run)
    ended = ends_of(jaxrec(2, "train-pmf", *given))
    assert all(status in (2, LOST) for status, _, _ in ended), ended
    assert f"{run} is the run folder of an experiment" in "".join(errors for *_, errors in ended)
    assert [place.name for place in run.iterdir()] == ["experiment.json"]


def of_all(folder: Path, pattern: str, name: str, ids: Ids) -> NDArray[np.float64]:
    """[ids, dim] the vectors of some files, in the order of the names; each is there once."""
    table = pl.concat(pl.read_parquet(path) for path in sorted(folder.glob(pattern)))
    X = np.zeros((len(ids), 4))
    places = ids.positions(table[name].to_list())
    assert len(set(places.tolist())) == len(places)
    X[places] = np.stack(list(table["vector"].to_numpy()))
    return X


def test_a_launcher_says_where_a_process_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place_of() == Place(0, 1, None)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")  # srun of one task is no company
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert place_of() == Place(0, 1, None)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert place_of() == Place(3, 4, None)
    assert place_of("head:1234") == Place(3, 4, "head:1234")
    assert place_of("head:1234", 2, 1) == Place(1, 2, "head:1234")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (("head:1234", None, None), "go together"),
        ((None, 2, 0), "go together"),
        (("head", 2, 0), "--coordinator head: expected HOST:PORT"),
        (("head:1234", 2, 2), "--process 2: they are 0 to 1"),
    ],
)
def test_what_does_not_go_together_is_refused(
    told: tuple[str | None, int | None, int | None], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        place_of(*told)


def test_last_words_that_name_nobody_are_not_taken_for_a_death() -> None:
    assert dead("*** Check failure stack trace: ***") is None
