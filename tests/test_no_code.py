"""Data are data: reading them runs nothing that they say."""

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from jaxrec.experiment.folder import RunFolder
from jaxrec.pmf.sweeps import Checkpoints
from tests.fuzz.artefacts import of_model_folder, of_run_folder
from tests.serving.conftest import quick
from tests.test_architecture import ROOT, imported, modules
from tests.web.tasted import made
from torch_embed.errors import InputError
from torch_embed.training.state import TrainingState

UNPICKLE = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
OURS = ROOT / "jaxrec" / "side_by_side.py"
"""Pickles what it and processes of its own tell each other over pipes; it reads no file."""
SOURCES = [ROOT / "cli.py", *modules("jaxrec"), *modules("torch_embed")]


def calls(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Every call as it is written, and its keywords' values where they are constants."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            given = {
                keyword.arg or "**": getattr(keyword.value, "value", keyword.value)
                for keyword in node.keywords
            }
            yield ast.unparse(node.func), given


def test_nothing_that_unpickles_is_imported() -> None:
    importing = [
        path for path in SOURCES if {name.partition(".")[0] for name in imported(path)} & UNPICKLE
    ]
    assert importing == [OURS]


def test_arrays_are_read_without_objects_and_models_without_code() -> None:
    loads = 0
    for path in SOURCES:
        for name, given in calls(path):
            assert name not in ("eval", "exec", "compile", "__import__"), path
            assert not {"trust_remote_code", "allow_pickle"} & given.keys(), path
            assert not name.endswith(("read_pickle", "load_module")), path
            if name == "torch.load":
                assert given.get("weights_only") is True, path
                loads += 1
    assert loads > 0


def test_no_name_of_a_parquet_file_is_taken_for_a_pattern() -> None:
    """Polars reads `model1/` for `model[1]/` unless it is told."""
    reads = 0
    for path in SOURCES:
        for name, given in calls(path):
            if name in ("pl.read_parquet", "pl.scan_parquet"):
                assert given.get("glob") is False, path
                reads += 1
    assert reads > 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small_synthetic: None) -> RunFolder:
    return quick(tmp_path_factory.mktemp("code") / "run")


@pytest.mark.timeout(300)
def test_every_artefact_is_read_without_unpickling(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefacts = [*of_run_folder(run), *of_model_folder(tmp_path / "model", made(("itemknn",)))]
    checkpoints = Checkpoints(tmp_path / "checkpoints", {"row": "pmf"})
    checkpoints.save({"U": np.ones(3)}, [1.0])
    state = TrainingState(tmp_path / "state", {"of": "a test"})
    state.save(0, {"weights": {"w": torch.ones(2)}, "step": 3})

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler", "_Unpickler", "_load", "_loads"):
        monkeypatch.setattr(pickle, name, refuse)
    for artefact in artefacts:
        artefact.read()
    restored, losses = checkpoints.restore({"U": np.zeros(3)})
    assert (restored["U"].tolist(), losses) == ([1, 1, 1], [1.0])
    reached = state.of_fold(0)
    assert reached is not None
    assert reached["step"] == 3


def test_a_checkpoint_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    state = TrainingState(tmp_path / "state", {"of": "a test"})
    torch.save({"weights": Code()}, tmp_path / "state" / "fold-0.pt")
    with pytest.raises(InputError, match=r"fold-0\.pt: damaged"):
        state.of_fold(0)
    assert not (tmp_path / "ran").exists()
