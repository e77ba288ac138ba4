"""Whatever people have is read as it is."""

from pathlib import Path

import pytest

from jaxrec.errors import InputError
from jaxrec.sources.description import read_description, write_description
from jaxrec.sources.guess import describe
from jaxrec.sources.inspection import as_found
from jaxrec.sources.library import load_dataset
from tests.sources.formats import FORMATS, differences


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    path, truth = FORMATS[name](tmp_path)
    assert differences(load_dataset(path), truth) == []


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_understood_can_be_written_down_and_read_back(tmp_path: Path, name: str) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere" / "dataset.toml"
    data.mkdir()
    path, _ = FORMATS[name](data)
    before = load_dataset(path)
    write_description(elsewhere, as_found(before, describe(path)), ["as it is"])
    assert load_dataset(elsewhere).sha256 == before.sha256
    assert read_description(elsewhere).name == before.name


def test_texts_hold_what_people_know_and_nothing_made_from_ratings(tmp_path: Path) -> None:
    path, _ = FORMATS["Goodbooks"](tmp_path)
    catalogue = load_dataset(path).catalogue
    assert catalogue.text == "{title} {authors}"
    assert catalogue.numbers == {"original_publication_year": 10.0}


def test_genres_of_flags_are_categories(tmp_path: Path) -> None:
    path, _ = FORMATS["MovieLens 100K (u.data, u.item)"](tmp_path)
    table = load_dataset(path).catalogue.table
    assert table["genres"][:3].to_list() == [["unknown"], ["Action"], ["Adventure"]]
    assert table["name"][0] == "Story 0"
    assert table["year"][3] == 1995


def test_what_is_implicit_is_said(tmp_path: Path) -> None:
    path, _ = FORMATS["Book-Crossing (;, latin-1, 0 is implicit)"](tmp_path)
    data = load_dataset(path)
    assert (data.feedback.scale, data.feedback.liked_from) == ((1, 10), 8)
    assert any("interactions without a rating: they count as just liked" in m for m in data.mended)


def test_what_is_no_table_of_interactions_is_named_with_a_remedy(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("colour,size\nred,1\n")
    with pytest.raises(
        InputError, match=r"no table of who did what .*a.csv: colour, size.*--columns"
    ):
        describe(tmp_path)
    with pytest.raises(InputError, match=r"a.csv: which column is the user\? there are"):
        describe(tmp_path / "a.csv")
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        describe(tmp_path / "nowhere")
