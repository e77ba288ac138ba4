import re
from pathlib import Path

import pytest

from jaxrec.data.columns import Columns
from jaxrec.errors import InputError
from jaxrec.sources import tables
from jaxrec.sources.description import read_description, write_description
from jaxrec.sources.guess import describe
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


def test_a_field_of_items_may_come_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LOOKED_AT", 1000)
    toml = TOML.replace("books.csv", "books.jsonl").replace("{name} by {by}. {subjects}", "{blurb}")
    toml = toml.replace('title = "name"', 'title = "by.first"').partition("categories")[0]
    lines = [f'{{"no": {n}, "by": {{"first": "A{n}"}}}}\n' for n in range(1, 3000)]
    (tmp_path / "books.jsonl").write_text("".join([*lines, '{"no": 3000, "blurb": "late"}\n']))
    catalogue = load_dataset(write(tmp_path, toml)).catalogue
    assert catalogue.titles[1] == "A2"
    assert catalogue.table["blurb"][-1] == "late"


def test_the_name_of_a_file_is_no_pattern_where_there_is_one(tmp_path: Path) -> None:
    toml = write(tmp_path, TOML.replace("loans-*.csv", "loans[12].csv"))
    (tmp_path / "loans[12].csv").write_text("c;9;1;2\n")
    assert load_dataset(toml).user_ids.names.tolist() == ["c"]


def test_patterns_may_be_whole_paths(tmp_path: Path) -> None:
    folder = tmp_path / "in [brackets]"
    folder.mkdir()
    (tmp_path / "dataset.toml").write_text(
        write(folder, TOML.replace("loans-*.csv", f"{tmp_path}/in*/loans-*.csv"))
        .read_text()
        .replace("books.csv", f"{folder}/books.csv")
    )
    assert load_dataset(tmp_path).users == load_dataset(folder).users == 2


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
        (
            'licence = "CC0"',
            'license = "CC0"',
            "no 'license'; there are core, feedback, interactions",
        ),
        (
            'user = "card"',
            'user = "book"',
            "user and item are the same column, 'book'; name another",
        ),
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
        (
            "{name} by {by}",
            "{name:.2f}",
            "[items] the text '{name:.2f}. {subjects}' asks for more",
        ),
        (
            "{name} by {by}",
            "{name!r}",
            "their names alone stand in braces, as in {title}",
        ),
        ("{name} by {by}", "{0}", "names alone stand in braces"),
        ("{name} by {by}", "{name.x}", "no column 'name.x'; there are no, name, by"),
        ("{name} by {by}", "{name[0]}", "no column 'name[0]'; there are no, name, by"),
        ('"loans-*.csv"', "", "[interactions] files is []; expected the name of a file, or a list"),
        ('"loans-*.csv"', "3", "[interactions] files is [3]; expected the name of a file"),
        ('"loans-*.csv"', '"**x"', "no pattern of files"),
        ('"card", "shelf"', '"card", "card"', "expected a list of different names"),
        ('separator = ";"', 'separator = ""', "separator is ''; expected what stands between"),
        ('separator = ";"', 'encoding = "hex"', "no encoding 'hex'; utf-8, utf-16"),
        (
            'separator = ";"',
            'time_format = "%d.%m.%Y %H"',
            "[interactions] time_format '%d.%m.%Y %H",
        ),
        ('separator = ";"', 'encoding = "utf-16"', "not utf-16 text; give the encoding it has"),
        ('"loans-*.csv"', '"a\\u0000"', "expected the name of a file, or a list"),
        ('separator = ";"', 'time_format = "milliseconds"', "expected s, ms, us or ns since 1970"),
        ('subjects = ","', "subjects = 3", "expected a table of separators, as in"),
        ("year = 20", 'year = "20"', "expected a table of distances above 0"),
        ("year = 20", "year = 0", "expected a table of distances above 0"),
        ('["?"]', "[3]", "[items] missing is [3]; expected a list of texts"),
        ("missing", 'flags = { a = "year" }\nmissing', "expected a table of different columns"),
        ("missing", "flags = { a = [] }\nmissing", "expected a table of different columns"),
        ("missing", 'flags = { a = ["by", "by"] }\nmissing', "a table of different columns"),
        ("missing", 'extract = { a = "year" }\nmissing', "expected a column and a pattern"),
        ("missing", 'extract = { a = ["year"] }\nmissing', "expected a column and a pattern"),
        ("missing", 'extract = { a = ["year", "("] }\nmissing', "a has a bad pattern '('"),
        ("missing", 'extract = { a = ["year", "b"] }\nmissing', "'b' (no group in brackets)"),
        ("typical = 1", "typical = nan", "[feedback] typical is nan; expected a number"),
        ("typical = 1", "scale = [true, 5]", "expected two numbers, the lowest and the highest"),
        ('licence = "CC0"', "licence = 0", "licence is 0; expected text"),
        ('licence = "CC0"', "core = 2.5", "core is 2.5; expected a whole number"),
        ('licence = "CC0"', "core = -1", "core is -1; expected a whole number"),
        ('licence = "CC0"', "core = 3", "core 3 leaves nothing of library"),
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


def test_what_was_found_is_a_comment_whatever_it_quotes(tmp_path: Path) -> None:
    """TOML has no controls in comments."""
    described = describe(write(tmp_path, TOML))
    write_description(tmp_path / "dataset.toml", described, ["title \x1b[31m\0\x7f", "two\nlines"])
    assert read_description(tmp_path / "dataset.toml") == described
