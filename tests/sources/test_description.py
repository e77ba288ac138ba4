import re
from pathlib import Path

import pytest

from jaxrec.data.columns import Columns
from jaxrec.errors import InputError
from jaxrec.sources.description import read_description
from jaxrec.sources.library import load_dataset

TOML = """
name = "library"
licence = "CC0"
[interactions]
files = ["loans-*.csv"]
separator = ";"
columns = ["card", "shelf", "book", "times"]
user = "card"
item = "book"
value = "times"
[feedback]
kind = "counts"
confidence = "linear"
typical = 1
[items]
files = "books.csv"
id = "no"
title = "name"
text = "{name} by {by}. {subjects}"
categories = { subjects = "," }
numbers = { year = 20 }
missing = ["?"]
"""
BOOKS = """no,name,by,subjects,year
1,Emma,Austen,"Love, England",1815
2,Ran,?,?,?
3,It,King,War,1986
"""


def write(folder: Path, toml: str = TOML) -> Path:
    (folder / "dataset.toml").write_text(toml)
    (folder / "loans-1.csv").write_text("a;9;1;2\na;9;2;1\n")
    (folder / "loans-2.csv").write_text("b;9;1;7\n")
    (folder / "books.csv").write_text(BOOKS)
    return folder / "dataset.toml"


def test_a_described_data_set_is_read_as_described(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path))
    assert (data.name, data.users, data.items) == ("library", 2, 3)
    assert data.interactions.values.tolist() == [2, 1, 7]
    assert data.feedback.graded(data.interactions.values).tolist() == [2, 1, 7]
    table = data.catalogue.table
    assert table["subjects"].to_list() == [["Love", "England"], [], ["War"]]
    assert table["year"].to_list() == [1815, None, 1986]
    assert table["by"].to_list() == ["Austen", None, "King"]
    assert data.catalogue.numbers == {"year": 20}


def test_a_folder_with_a_description_is_what_it_says(tmp_path: Path) -> None:
    assert load_dataset(write(tmp_path).parent).sha256 == load_dataset(tmp_path).sha256
    assert load_dataset(tmp_path).name == "library"


def test_a_description_is_plain_data(tmp_path: Path) -> None:
    described = read_description(write(tmp_path))
    assert described.columns == Columns("card", "book", "times")
    assert described.interactions.columns == ("card", "shelf", "book", "times")
    assert described.licence == "CC0"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "library"', "name = library", "not TOML"),
        ('licence = "CC0"', 'license = "CC0"', "no 'license'; there are feedback, interactions"),
        ('user = "card"', 'usr = "card"', "[interactions] has no 'usr'; there are files, columns"),
        ('user = "card"\n', "", "[interactions] lacks 'user': column of users"),
        ('id = "no"\n', "", "[items] lacks 'id'"),
        ('user = "card"', "user = 3", "[interactions] user is 3; expected text"),
        ('kind = "counts"', 'kind = "thumbs"', "no feedback 'thumbs'; there are stars, likes"),
        ('kind = "counts"', "scale = 5", "[feedback] scale is 5; expected two numbers"),
        ('id = "no"', 'id = "number"', "no column 'number'; there are no, name, by"),
        ('user = "card"', 'user = "reader"', "no column 'reader'; there are card, shelf, book"),
        ("{name} by {by}", "{name} by {author}", "no column 'author'; there are no, name, by"),
        ("{name} by {by}", "{name by", "is malformed"),
        ("loans-*.csv", "lent.csv", "lent.csv: no such file"),
        ("loans-*.csv", "lent-*.csv", "lent-*.csv: no such files"),
        ('"card", "shelf", ', '"card", ', "4 fields, and 3 names of columns (card, book, times)"),
        ('separator = ";"', 'separator = ";"\nencoding = "latin-9000"', "no encoding 'latin-9000'"),
    ],
)
def test_what_is_wrong_with_a_description_is_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in TOML
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        load_dataset(write(tmp_path, TOML.replace(old, new)))
    assert "\n" not in str(raised.value)
