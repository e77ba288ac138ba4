from pathlib import Path

import numpy as np
import pytest

from jaxrec.errors import InputError
from jaxrec.experiment.factors_file import read_factors, write_factors
from jaxrec.files import read_json, whole_file
from jaxrec.pmf.objective import Factors


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
