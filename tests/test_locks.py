import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cli
from jaxrec.errors import InputError
from jaxrec.files import write_json
from jaxrec.locks import held, of_model, of_run

pytestmark = pytest.mark.usefixtures("small_synthetic")

KILLED = """
import os, signal, sys
from pathlib import Path
from jaxrec.locks import held, of_run

with held(of_run(Path(sys.argv[1])), Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def jaxrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--row", "popularity"),
        ("tune", "--row", "ease"),
        ("train-pmf",),
        ("eval", "--row", "popularity"),
        ("embed",),
        ("embed", "--finetune"),
    ],
)
def test_who_would_write_is_told_who_does(run: Path, command: tuple[str, ...]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with held(of_run(run), run):
        done = jaxrec(command[0], "--run", run, *command[1:])
    assert done.exit_code == 2
    assert f"{run} is being written by process {os.getpid()} on " in done.output
    assert "wait until that ends, or give another" in done.output
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.parametrize("command", [("recommend", "--user", 1), ("similar", "--item", 1)])
def test_who_reads_waits_for_nobody(run: Path, command: tuple[object, ...]) -> None:
    with held(of_run(run), run):
        done = jaxrec(command[0], "--run", run, "--row", "popularity", *command[1:])
    assert "is being written" not in done.output
    assert done.exit_code == 0 or command[0] == "similar"  # popularity has no vectors


def test_a_run_folder_of_a_study_is_held_too(run: Path, tmp_path: Path) -> None:
    cell = tmp_path / "study" / "seed-1"
    with held(of_run(cell), cell):
        study = ("run", "--run", tmp_path / "study", "--data", "synthetic", "--seeds", 2)
        done = jaxrec(*study, "--row", "popularity")
    assert done.exit_code == 2
    assert f"{cell} is being written" in done.output


def test_a_model_folder_is_held_before_the_fit(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    with held(of_model(out), out):
        done = jaxrec("fit", "--run", run, "--row", "popularity", "--out", out)
    assert done.exit_code == 2
    assert f"{out} is being written by process {os.getpid()}" in done.output


def test_what_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", KILLED, str(run)]
    assert subprocess.run(command, cwd=Path(cli.__file__).parent).returncode == -9
    assert of_run(run).exists()
    with held(of_run(run), run):
        pass
    assert not tmp_path.joinpath("run", ".lock").exists()


def test_nothing_of_a_lock_is_left(tmp_path: Path) -> None:
    run = tmp_path / "new" / "run"
    done = jaxrec("eval", "--run", run, "--data", tmp_path / "nothing")
    assert done.exit_code == 2
    assert list(tmp_path.iterdir()) == []
    with held(of_run(run), run):
        (run / "kept").touch()
    assert [path.name for path in run.iterdir()] == ["kept"]


def test_what_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "run"
    with pytest.raises(InputError, match="cannot be written"), held(of_run(folder), folder):
        pass


def test_a_folder_that_vanishes_is_said_and_not_made_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with held(of_run(run), run):
        shutil.rmtree(run)
        with pytest.raises(InputError, match=r"run was removed while this command wrote into it"):
            write_json(run / "models" / "a.json", {})
    assert not run.exists()
    write_json(run / "a.json", {})  # nobody holds it any more
