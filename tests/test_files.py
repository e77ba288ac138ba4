from pathlib import Path

import pytest

from jaxrec.errors import InputError
from jaxrec.files import read_json, whole_file


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
