import pytest

from jaxrec.border.draws import Taught


@pytest.mark.parametrize("base", ["bert", "qwen3-0.6b", "my-ft"])
@pytest.mark.parametrize("draw", [1, 2, 10])
def test_a_name_says_what_was_taught_and_which_draw_it_is(base: str, draw: int) -> None:
    taught = Taught(base, draw)
    assert Taught.read(taught.name) == taught


@pytest.mark.parametrize("name", ["bert", "-ft", "bert-ft-draw", "bert-ft-draw0", "bert-ft-other"])
def test_other_names_say_nothing(name: str) -> None:
    assert Taught.read(name) is None
