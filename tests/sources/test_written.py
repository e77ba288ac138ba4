"""Tables that begin, are quoted or are nested as people write them; places are named rightly."""

import zipfile
from dataclasses import replace
from datetime import time, timedelta
from pathlib import Path

import polars as pl
import pytest

from jaxrec.data.dataset import Dataset
from jaxrec.errors import InputError
from jaxrec.sources.guess import describe
from jaxrec.sources.library import load_dataset
from jaxrec.sources.reading import read_dataset
from jaxrec.sources.tables import Layout, place_of, read, sample, sniff

ROWS = "a,x,3\nb,x,4\nb,y,5\n"
BAD = "b,z,good\n"


def load(folder: Path, content: str, name: str = "shop.csv") -> Dataset:
    (folder / name).write_bytes(content.encode())
    return load_dataset(folder / name)


def rows_of(data: Dataset) -> list[tuple[object, object, float]]:
    found = data.interactions
    names = data.user_ids[found.users].tolist(), data.item_ids[found.items].tolist()
    return list(zip(*names, found.values.tolist(), strict=True))


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("\n\nuser,item,rating\n", 7),
        ("user,item,rating\n\n", 6),
        ("user,item,rating\n\n \n\n", 8),
        ("sep=,\nuser,item,rating\n", 6),
        ("# made on Monday\n\n# by hand, with care\nuser,item,rating\n", 8),
        ("#user,item,rating\n", 5),
        ('user,"item\nid",rating\n', 6),
    ],
)
def test_what_comes_before_the_rows_is_passed_over_and_counted(
    tmp_path: Path, before: str, line: int
) -> None:
    assert rows_of(load(tmp_path, before + ROWS)) == [("a", "x", 3), ("b", "x", 4), ("b", "y", 5)]
    with pytest.raises(InputError, match=rf"shop.csv, line {line}: .* is 'good'"):
        load(tmp_path, before + ROWS + BAD)


def test_a_comment_above_rows_without_a_header_is_passed_over(tmp_path: Path) -> None:
    assert rows_of(load(tmp_path, "# by hand\n" + ROWS))[0] == ("a", "x", 3)


def test_excel_is_told_the_separator(tmp_path: Path) -> None:
    data = load(tmp_path, 'sep=;\nuser;item;rating\na;"x, y; z";3,5\nb;x;4,0\n')
    assert rows_of(data) == [("a", "x, y; z", 3.5), ("b", "x", 4)]


@pytest.mark.parametrize("name", ["price ($)", "rating (1-5)", "stars; " + 40 * "very "])
def test_words_above_numbers_are_a_header_whatever_they_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / "shop.csv"
    path.write_text(f'user,item,"{name}"\n{ROWS}')
    assert sniff(path).columns == ("user", "item", name.strip())


def test_what_is_missing_above_numbers_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("a (1),x,\nb (2),x,4\nb (3),y,5\n")
    assert not sniff(path).header


def test_names_that_are_given_may_be_in_the_file_too(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("u,i,v\n" + ROWS)
    layout = sniff(path, ("u", "i", "v"))
    assert (layout.header, layout.skip) == (True, 1)
    assert not sniff(path, ("who", "what", "stars")).header


def many(line: str, at: int = 2500) -> str:
    rows = [f"u{n % 50},i{n},{n % 5 + 1}\n" for n in range(3000)]
    return "user,item,rating\n" + "".join([*rows[:at], line, *rows[at:]])


def test_a_stray_quote_is_a_letter(tmp_path: Path) -> None:
    data = load(tmp_path, many('u1,He"at,3\n').replace("i2700,", 'Co"ld,'))
    assert len(data.interactions.users) == 3001
    assert {'He"at', 'Co"ld', "i2999"} <= set(data.item_ids.names.tolist())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('u1,"Heat,3\n', "line 2502: unexpected end of data"),
        ('u1,"He"at,3\n', "line 2502: ',' expected after"),
        ('u1,He"at,3,4\n', "line 2502: 4 fields; expected 3"),
    ],
)
def test_a_quote_that_does_not_close_is_named_where_it_opens(
    tmp_path: Path, line: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as raised:
        load(tmp_path, many(line))
    assert "\n" not in str(raised.value)


def test_quotes_between_tabs_that_come_late_are_letters(tmp_path: Path) -> None:
    data = load(tmp_path, many('u1,"Heat",3\n').replace(",", "\t"), "shop.tsv")
    assert '"Heat"' in data.item_ids.names.tolist()


def test_a_long_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("user,item,rating,text\na,x,3," + 200_000 * "a" + "\nb,x,4,b\n")
    assert len(sample(path, sniff(path))["text"][0]) == 200_000
    assert load_dataset(path).users == 2


def test_lines_of_an_old_mac(tmp_path: Path) -> None:
    data = load(tmp_path, ("user,item,rating\n" + ROWS).replace("\n", "\r"))
    assert rows_of(data) == [("a", "x", 3), ("b", "x", 4), ("b", "y", 5)]
    lines = '{"user": 1, "item": 2, "rating": 3}\r{"user": 2, "item": 2, "rating": 4}\r'
    assert rows_of(load(tmp_path, lines, "a.jsonl")) == [(1, 2, 3), (2, 2, 4)]
    with pytest.raises(InputError, match=r"shop.csv, line 5: rating is 'good'"):
        load(tmp_path, ("user,item,rating\n" + ROWS + BAD).replace("\n", "\r"))


def test_fields_within_json_objects_are_columns(tmp_path: Path) -> None:
    lines = [
        '{"user": {"id": "a", "at": {"city": "Bonn"}}, "item": {"id": 1.5}, "rating": 3}',
        '{"user": {"id": "b", "at": null}, "item": {"id": 2}, "rating": 4}',
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    layout = sniff(path)
    assert layout.columns == ("user.id", "user.at", "user.at.city", "item.id", "rating")
    (batch,) = read(path, layout, ["user.at.city", "item.id", "rating"])
    assert batch.rows() == [("Bonn", "1.5", "3"), (None, "2", "4")]
    assert rows_of(load_dataset(path)) == [("a", "1.5", 3), ("b", "2", 4)]


def test_an_object_of_many_fields_is_one_column(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"id": {n}, "rank": {{"shelf {n}": {n}}}}}\n' for n in range(60)))
    assert sniff(path).columns == ("id", "rank")


def test_a_json_field_may_come_late(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    early = [f'{{"user": {n}, "item": {n % 9}}}\n' for n in range(3000)]
    path.write_text("".join([*early, '{"user": 1, "item": 1, "rating": 4}\n']))
    assert sniff(path).columns == ("user", "item", "rating")
    late = Layout("jsonl", ("user", "item"))
    (batch,) = read(path, late, ["user", "rating"])
    assert batch["rating"].drop_nulls().to_list() == ["4"]
    with pytest.raises(InputError, match="no column 'stars'; there are user, item"):
        list(read(path, late, ["user", "stars"]))


def test_nan_in_json_is_missing(tmp_path: Path) -> None:
    lines = '{"user": 1, "item": 2, "rating": 3}\n{"user": 1, "item": 3, "rating": NaN}\n'
    lines += '{"user": NaN, "item": 3, "rating": 5}\n{"user": 2, "item": 3, "rating": 4}\n'
    data = load(tmp_path, lines, "a.jsonl")
    assert rows_of(data) == [(1, 2, 3), (2, 3, 4)]
    user, value = data.mended
    assert user.startswith("1 x no user or no item: left out")
    assert value.startswith("1 x no value: left out")
    assert value.endswith("a.jsonl, line 2)")


@pytest.mark.parametrize("yes", ["true", "True"])
def test_values_that_are_true_or_false_are_1_and_0(tmp_path: Path, yes: str) -> None:
    no = {"true": "false", "True": "False"}[yes]
    data = load(tmp_path, f"user,item,stars\na,x,{yes}\nb,x,{no}\nb,y,{yes}\n")
    assert [value for _, _, value in rows_of(data)] == [1, 0, 1]
    lines = f'{{"user": 1, "item": 2, "stars": {yes.lower()}}}\n{{"user": 2, "item": 2, "stars": '
    data = load(tmp_path, f"{lines}{no.lower()}}}\n", "a.jsonl")
    assert [value for _, _, value in rows_of(data)] == [1, 0]


def parquet(folder: Path, **columns: object) -> Path:
    frame = {"user": ["a", "b"], "item": ["x", "x"], "rating": [3, 4]} | columns
    pl.DataFrame(frame).write_parquet(folder / "a.parquet")
    return folder / "a.parquet"


ODD = {"bytes": [b"\xff", b"a"], "took": [timedelta(1), None], "clock": [time(1), time(2)]}


def test_columns_of_parquet_that_nobody_wants_do_no_harm(tmp_path: Path) -> None:
    path = parquet(tmp_path, **ODD)
    assert load_dataset(path).users == 2
    assert sample(path, sniff(path))["took"][0] == "P1D"


def test_columns_of_parquet_are_text_or_are_named(tmp_path: Path) -> None:
    path = parquet(tmp_path, item=ODD["clock"])
    assert load_dataset(path).item_ids.names.tolist() == ["01:00:00", "02:00:00"]
    path = parquet(tmp_path, item=[b"x", b"y"])
    assert load_dataset(path).item_ids.names.tolist() == ["x", "y"]
    described = describe(path)
    for wrong, message in (
        ({"item": ODD["bytes"]}, r"column 'item' \(Binary\) is no text in UTF-8; write it as text"),
        ({"rating": ODD["took"]}, "a.parquet, row 1: rating is 'P1D'; expected a number"),
        ({"user": [[1], [2]]}, r"column 'user' \(List\(Int64\)\) holds several values"),
    ):
        with pytest.raises(InputError, match=message):
            read_dataset(replace(described, folder=parquet(tmp_path, **wrong).parent), "here")


def test_a_damaged_list_of_an_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "shop.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("shop.csv", "user,item\n" + 200 * "a,b\n")
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x09\x09"))
    with pytest.raises(InputError, match=r"shop.zip: damaged or cut short .*; fetch it again"):
        load_dataset(path)
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(InputError, match=r"shop.zip: no table of who did what"):
        load_dataset(path)


def test_rows_without_what_is_wanted_are_counted(tmp_path: Path) -> None:
    more = "user,item,rating,device\na,x,3,\n,,,later\n \nb,y,4,\n"
    *_, line = load(tmp_path, more).mended
    assert line.startswith("1 x no user or no item: left out")
    assert line.endswith("shop.csv, line 4)")
    with pytest.raises(InputError, match=r"shop.csv, line 6: rating is 'good'"):
        load(tmp_path, more + "b,z,good,\n")


def test_a_place_is_right_below_a_row_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text('\nuser,item\n\na,"x\ny"\nb,z\n')
    assert place_of(path, sniff(path), 1, ["item"]) == f"{path}, line 6"
