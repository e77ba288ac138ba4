"""A model folder: the same model again, anywhere, or one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxrec.errors import InputError
from jaxrec.files import write_json
from jaxrec.serving.folder import check_place, in_words, read_model, write_model
from jaxrec.serving.model import FittedModel
from tests.serving.test_model import anything


@pytest.fixture
def folder(model: FittedModel, tmp_path: Path) -> Path:
    write_model(tmp_path / "model", model)
    return tmp_path / "model"


def test_a_model_comes_back_as_it_was(model: FittedModel, folder: Path) -> None:
    again = read_model(folder)
    users = np.arange(len(model.user_ids), dtype=np.int32)
    for one, other in zip(
        model.recommend(model.asking(users), anything(model), users),
        again.recommend(again.asking(users), anything(again), users),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert again.catalogue.titles == model.catalogue.titles
    assert again.catalogue.columns == model.catalogue.columns
    assert again.feedback == model.feedback
    assert again.card["experiment"] == json.loads(json.dumps(model.card["experiment"]))


def test_writing_again_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "again", read_model(folder))
    one, other = (
        json.loads((path / "model.json").read_text()) for path in (folder, tmp_path / "again")
    )
    assert one["files"] == other["files"]


def test_no_file_names_a_path_of_this_machine_and_none_is_a_pickle(
    folder: Path, tmp_path: Path
) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".md", ".parquet", ".safetensors"}
    for path in files:
        content = path.read_bytes()
        for place in (str(tmp_path), "/somewhere/on/this/machine", str(Path.home()), "/tmp/"):
            assert place.encode() not in content, (path, place)


def test_an_encoder_goes_along_without_the_paths_on_its_cards(
    model: FittedModel, tmp_path: Path
) -> None:
    fold = tmp_path / "encoder" / "fold-0"
    fold.mkdir(parents=True)
    write_json(fold / "torch_embed.json", {"dim": 8, "card": {"model": str(tmp_path / "bert")}})
    (fold / "README.md").write_text(f"A fine-tuning of {tmp_path}")
    write_model(tmp_path / "model", model, tmp_path / "encoder")
    (copied,) = (path for path in (tmp_path / "model" / "encoder").rglob("*") if path.is_file())
    assert json.loads(copied.read_text()) == {"dim": 8, "card": {"model": "bert"}}


def test_a_model_says_whose_the_figures_are(model: FittedModel) -> None:
    fitted_on, chosen_by = in_words(model.card)
    n = model.card["data"]["interactions"]
    assert f"fitted on all {n:,} interactions of 100 users with 200 items" in fitted_on
    figure = model.card["experiment"]["figures"]["hybrid"]["metrics"]["precision@25"]
    assert f"P@25 {figure:.4f}" in chosen_by
    assert "Of this model there are none" in chosen_by


def test_a_changed_file_is_named(folder: Path) -> None:
    table = folder / "interactions.parquet"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    with pytest.raises(
        InputError, match=r"interactions\.parquet is gone, or not as it was written"
    ):
        read_model(folder)


def test_a_folder_of_something_else_is_not_replaced(model: FittedModel, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="is not empty and no model folder"):
        write_model(tmp_path / "mine", model)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_a_file_of_somebody_else_in_a_model_is_not_lost(model: FittedModel, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt is not of the model that is to be replaced"):
        write_model(folder, model)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_model_is_replaced_whole_or_not_at_all(
    model: FittedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "model.json").read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxrec.serving.folder._write_arrays", fail)
    with pytest.raises(OSError, match="No space"):
        write_model(folder, model)
    assert (folder / "model.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    read_model(folder)


def test_a_moved_model_serves_without_torch_data_set_and_experiment(
    folder: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere" / "moved"
    elsewhere.parent.mkdir()
    shutil.move(folder, elsewhere)
    code = f"""
import sys
for name in ("torch", "transformers", "flax", "optax", "optuna", "matplotlib"):
    sys.modules[name] = None  # an import fails
from pathlib import Path
from click.testing import CliRunner
import cli
done = CliRunner().invoke(cli.main, ["recommend", "--model", {str(elsewhere)!r}, "--user", "7"])
print(done.output)
assert not [name for name in sys.modules if name.startswith("jaxrec.experiment")]
sys.exit(done.exit_code)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Recommended by hybrid:" in done.stdout


def test_a_card_that_was_changed_is_refused(folder: Path) -> None:
    card = json.loads((folder / "model.json").read_text())
    card["experiment"]["figures"]["hybrid"]["metrics"]["precision@25"] = 0.99
    write_json(folder / "model.json", card)
    with pytest.raises(InputError, match=r"model\.json is not as it was written; make it again"):
        read_model(folder)


def test_a_model_set_aside_by_who_was_killed_is_put_back(folder: Path) -> None:
    folder.rename(folder.with_name(".model.before"))
    read_model(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_model_stays_where_the_new_one_cannot_be_put(
    model: FittedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fails(path: Path, target: Path) -> Path:
        if target == folder.resolve() and not path.name.endswith(".before"):
            raise OSError(16, "Device or resource busy")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="busy"):
        write_model(folder, model)
    monkeypatch.undo()
    read_model(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("place", [".", "../run/tuned", "../model/rows/deep", "../foreign"])
def test_a_place_that_cannot_become_a_model_is_refused_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    for name in ("here", "run", "foreign"):
        (folder.parent / name).mkdir()
    write_json(folder.parent / "run" / "experiment.json", {})
    write_json(folder.parent / "foreign" / "model.json", {"format": "layers-model", "files": []})
    monkeypatch.chdir(folder.parent / "here")
    with pytest.raises(InputError, match=r"where you are|lies in the|no model folder"):
        check_place(Path(place))


def test_the_root_becomes_no_model() -> None:
    with pytest.raises(InputError, match="cannot be replaced; give another"):
        check_place(Path("/"))
