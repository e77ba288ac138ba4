import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxrec.border.embeddings import read_embeddings
from jaxrec.errors import InputError
from jaxrec.experiment.factors_file import read_factors, write_factors
from jaxrec.files import file_sha256, read_json, whole_file
from jaxrec.pmf.objective import Factors

IDS = np.array([3, 1, 2])
E = np.eye(3, dtype=np.float32)


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    def interrupted() -> None:
        with whole_file(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(InputError, match=r"card\.json: not valid JSON"):
        read_json(tmp_path / "card.json")


def test_factors_come_back_with_their_card(tmp_path: Path) -> None:
    factors = Factors(np.ones((2, 3)), np.zeros((4, 3), np.float32))
    write_factors(tmp_path / "factors.safetensors", factors, {"seed": 7})
    read, card = read_factors(tmp_path / "factors.safetensors", "mend")
    assert read.U.tolist() == factors.U.tolist()
    assert (read.U.dtype, read.V.dtype) == (np.float64, np.float32)
    assert card["seed"] == 7


def test_factors_that_are_not_those_of_the_card_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "factors.safetensors"
    write_factors(path, Factors(np.ones((2, 3)), np.ones((4, 3))), {})
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match=r"not the file that factors.json describes; run `mend`"):
        read_factors(path, "mend")


def write(path: Path, ids: np.ndarray = IDS, vectors: np.ndarray = E, **card: str) -> Path:
    save_file({"item_ids": ids, "embeddings": vectors}, path)
    content = {"texts_sha256": "t", "sha256": file_sha256(path)} | card
    path.with_suffix(".json").write_text(json.dumps(content))
    return path


def test_embeddings_come_back(tmp_path: Path) -> None:
    read = read_embeddings(write(tmp_path / "m.safetensors"), IDS, "t", "mend")
    assert read.E.tolist() == E.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts_sha256": "other"}, "embeddings of other item texts"),
        ({"sha256": "other"}, "not the file that m.json describes"),
        ({"ids": IDS[::-1].copy()}, "its items are not those of the catalogue"),
        ({"vectors": E * np.array([[1], [np.nan], [1]], np.float32)}, "item 1 has a value"),
        ({"vectors": E * np.array([[1], [1], [2]], np.float32)}, "item 2 has norm 2.0000, not 1"),
    ],
)
def test_embeddings_that_do_not_belong_here_are_refused(
    tmp_path: Path, change: dict, message: str
) -> None:
    path = write(tmp_path / "m.safetensors", **change)
    with pytest.raises(InputError, match=f"{message}.*run `mend`"):
        read_embeddings(path, IDS, "t", "mend")


def test_damaged_embeddings_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors")
    path.write_bytes(b"garbage")
    with pytest.raises(InputError, match="damaged"):
        read_embeddings(path, IDS, "t", "mend")
