"""What is kept in a run folder, and when it is made again."""

from pathlib import Path

import numpy as np
import pytest

from jaxrec.errors import InputError
from jaxrec.experiment.kept import Arrays, hash_on_card, keep, read, write
from jaxrec.files import json_sha256


def test_arrays_come_back_with_their_card(tmp_path: Path) -> None:
    path = tmp_path / "factors.safetensors"
    write(path, {"U": np.ones((2, 3)), "V": np.zeros((4, 3), np.float32)}, {"seed": 7})
    arrays, card = read(path, "mend")
    assert arrays["U"].tolist() == np.ones((2, 3)).tolist()
    assert (arrays["U"].dtype, arrays["V"].dtype) == (np.float64, np.float32)
    assert (card["seed"], card["sha256"]) == (7, hash_on_card(path))


def test_arrays_that_are_not_those_of_the_card_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "factors.safetensors"
    write(path, {"U": np.ones((2, 3)), "V": np.ones((4, 3))}, {})
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match=r"not the file that factors.json describes; run `mend`"):
        read(path, "mend")


def test_what_has_its_identity_is_kept_and_everything_else_made_again(tmp_path: Path) -> None:
    path, made, said = tmp_path / "models" / "row.safetensors", list[int](), list[str]()

    def make() -> Arrays:
        made.append(len(made))
        return {"scores": np.full(3, len(made), np.float32)}

    identity = {"row": "row", "settings": {"factors": (8, 16)}, "seed": 1}
    for _ in range(2):
        assert keep(path, identity, make, said.append)["scores"].tolist() == [1, 1, 1]
    assert (made, said) == ([0], [])
    keep(path, identity | {"seed": 2}, make, said.append)
    assert (made, said) == ([0, 1], ["row: was made from something else; made again"])
    path.with_suffix(".json").unlink()  # as if killed between the two files
    keep(path, identity | {"seed": 2}, make, said.append)
    assert len(made) == 3


def test_an_identity_is_its_content() -> None:
    assert json_sha256({"a": 1, "b": 2}) == json_sha256({"b": 2, "a": 1})
    assert json_sha256({"a": 1}) != json_sha256({"a": 2})
