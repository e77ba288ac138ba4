"""Whoever dies between two file operations, the same again makes what an unbroken one does."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage

from jaxrec.experiment.kept import keep
from jaxrec.experiment.tuning import Journal
from jaxrec.files import write_json, write_sealed
from jaxrec.locks import held, of_run
from jaxrec.pmf.sweeps import Checkpoints
from jaxrec.serving.folder import new_folder
from tests.faults.deaths import DIED, begun, differing, ended, operations, preload, small_data, tree
from tests.faults.deaths import often_kept as jaxrec
from torch_embed.files import Texts, write_embeddings

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.name == "nt", reason="nothing forks"),
]


def kept(folder: Path) -> None:
    """As a command: it holds its folder, and keeps two things one after the other."""
    with held(of_run(folder), folder):
        keep(folder / "models" / "a.safetensors", {"row": "a"}, lambda: {"V": np.ones(3)}, print)
        write_sealed(folder / "summary.json", {"runs": ["a"]})


def embedded(folder: Path) -> None:
    E = np.eye(3, dtype=np.float32)
    write_embeddings(folder / "a.safetensors", Texts(["a", "b", "c"], "t", "d"), E, {}, [E, E])


def fitted(folder: Path) -> None:
    """States as a fit keeps them; one that was saved is gone on from."""
    checkpoints = Checkpoints(folder / "checkpoints", {"seed": 1})
    saved, losses = checkpoints.saved()
    reached = 0.0 if saved is None else float((saved / "state").read_text())
    if saved is not None:
        checkpoints.refuse_damaged()

    def write(path: Path, reached: float) -> None:
        path.mkdir(parents=True, exist_ok=True)
        (path / "state").write_text(str(reached))

    while len(losses) < 4:
        reached, losses = reached + 1, [*losses, reached]
        checkpoints.keep(losses, partial(write, reached=reached))
    write_json(folder / "factors.json", {"reached": reached, "losses": losses})
    checkpoints.clear()


def replaced(folder: Path) -> None:
    """A model folder takes the place of another."""
    card = {"jaxrec": "1", "version": 1, "files": ["rows"]}
    with new_folder(folder / "model") as made:
        for name in ("rows", "model.json"):
            write_json(made / name, card)


def searched(folder: Path) -> None:
    """Trials drawn by their numbers, so that who has died has drawn no other ones."""
    path = folder / "a.trials"
    if path.exists() and not (written := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, written.rfind(b"\n") + 1)
    storage = JournalStorage(Journal(path))
    study = optuna.create_study(study_name="a", storage=storage, load_if_exists=True)
    finished = optuna.trial.TrialState.COMPLETE
    while (done := len(study.get_trials(states=(finished,)))) < 2:
        study.add_trial(optuna.create_trial(value=float(done), params={}, distributions={}))


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    preload("tests.faults.test_deaths", "jaxrec.cli", "jaxrec.experiment.scoring")


def check_every_step(
    begin: Callable[[Path], None],
    folder: Path,
    work: Callable[..., None],
    *arguments: object,
    most: int = 1000,
) -> None:
    """Die before each operation, or a spread of so many, and compare what comes of the next try.

    `begin` makes what is there before.
    """
    log = folder / "log"

    def ends(place: Path, dies_at: int = 0) -> int:
        filled = [place if argument is ... else argument for argument in arguments or (...,)]
        process = begun(work, *filled, log=log, dies_at=dies_at, watched=place)
        return ended(process, log)[0]

    def afresh() -> Path:
        # one path for all, which cards may name
        place = folder / "work"
        if place.exists():
            place.rename(folder / f"done-{len(list(folder.iterdir()))}")
        place.mkdir()
        begin(place)
        return place

    place = afresh()
    assert ends(place) == 0, log.read_text()
    whole, there = tree(place), operations(log)
    assert there > 1
    for step in np.unique(np.linspace(1, there, min(most, there)).astype(int)).tolist():
        place = afresh()
        assert ends(place, step) == DIED, log.read_text()
        assert ends(place) == 0, log.read_text()
        assert differing(whole, tree(place)) == [], (step, there)


@pytest.mark.parametrize("work", [kept, embedded, fitted, searched])
def test_what_is_written_anew_is_whole(tmp_path: Path, work: Callable[..., None]) -> None:
    check_every_step(lambda place: None, tmp_path, work)


def test_a_model_folder_that_is_replaced_is_whole(tmp_path: Path) -> None:
    check_every_step(replaced, tmp_path, replaced)


def test_a_command_that_died_is_done_by_the_same_command(tmp_path: Path) -> None:
    data = small_data(tmp_path / "data", users=20, items=30)
    fit = ("train-pmf", "--data", data, "--factors", 2, "--sweeps", 2, "-q", "--run", ...)
    check_every_step(lambda place: None, tmp_path, jaxrec, *fit, most=2)
