"""What embeddings are let in."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxrec.border.embeddings import read_embeddings
from jaxrec.errors import InputError
from jaxrec.files import file_sha256, sealed, write_json
from torch_embed.files import Texts, write_embeddings

E = np.eye(3, dtype=np.float32)


def write(path: Path, vectors: np.ndarray = E, **card: str) -> Path:
    save_file({"embeddings": vectors}, path)
    content = {"texts_sha256": "t", "sha256": file_sha256(path)} | card
    path.with_suffix(".json").write_text(json.dumps(content))
    return path


def test_embeddings_come_back(tmp_path: Path) -> None:
    read = read_embeddings(write(tmp_path / "m.safetensors"), 3, "t", "mend")
    assert read.E.tolist() == E.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts_sha256": "other"}, "embeddings of other item texts"),
        ({"sha256": "other"}, "not the file that m.json describes"),
        ({"vectors": E[:2]}, "its items are not those of the catalogue"),
        ({"vectors": E * np.array([[1], [np.nan], [1]], np.float32)}, "embedding 1 has a value"),
        (
            {"vectors": E * np.array([[1], [1], [2]], np.float32)},
            "embedding 2 has norm 2.0000",
        ),
    ],
)
def test_embeddings_that_do_not_belong_here_are_refused(
    tmp_path: Path, change: dict, message: str
) -> None:
    path = write(tmp_path / "m.safetensors", **change)
    with pytest.raises(InputError, match=f"{message}.*run `mend`"):
        read_embeddings(path, 3, "t", "mend")


def test_damaged_embeddings_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors")
    path.write_bytes(b"garbage")
    with pytest.raises(InputError, match=r"not the file that m\.json describes"):
        read_embeddings(path, 3, "t", "mend")
    write_json(path.with_suffix(".json"), {"texts_sha256": "t", "sha256": file_sha256(path)})
    with pytest.raises(InputError, match="damaged"):
        read_embeddings(path, 3, "t", "mend")


def test_a_card_is_sealed_if_torch_embed_has_written_it(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_embeddings(path, Texts(["a", "b", "c"], "t", "data"), E, {"texts_sha256": "t", "dim": 3})
    assert read_embeddings(path, 3, "t", "mend").card["dim"] == 3
    card = path.with_suffix(".json")
    assert json.loads(card.read_text()) == sealed(json.loads(card.read_text()))
    card.write_text(card.read_text().replace('"dim": 3', '"dim": 4'))
    with pytest.raises(InputError, match=r"m\.json: not as it was written; run `mend`"):
        read_embeddings(path, 3, "t", "mend")
