"""How a table is written is found out; what is no table is refused in a line."""

import gzip
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jaxrec.data.columns import Columns
from jaxrec.data.dataset import Dataset
from jaxrec.errors import InputError
from jaxrec.sources import tables
from jaxrec.sources.description import Table
from jaxrec.sources.encodings import refuse_devices
from jaxrec.sources.library import load_dataset
from jaxrec.sources.reading import Opened, numbers_of, read_all
from jaxrec.sources.tables import place_of, read, sample, sniff

GOOD = "user,item,rating,ts\n" + "".join(
    f"u{n % 9},i{n % 7},{n % 5 + 1},{10**9 + n}\n" for n in range(60)
)


def load(folder: Path, content: str | bytes, name: str = "shop.csv") -> Dataset:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_dataset(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("shop.csv", "", "line 1: the file is empty"),
        ("shop.csv", " \n\n", "line 1: the file is empty"),
        ("shop.csv", "user,item,rating\n", "no interactions; is the file cut short?"),
        ("shop.csv", 'user,item\na,"b\nc,d\n', "line 2: unexpected end of data; close"),
        (
            "shop.csv",
            'user,item\na,"b"c\nd,e\n',
            "line 2: ',' expected after",
        ),
        ("shop.csv", b"PK\x03\x04garbage", "damaged or cut short"),
        ("shop.csv", b"BZh9garbage", "damaged or cut short"),
        ("shop.csv", GOOD + "a\u0000b,c,1,2,9\n", "line 62: 5 fields; expected 4"),
        ("a.jsonl", '{"a":' * 9000, "line 1"),
        ("shop.csv", "only\none\ncolumn\n", "one column only"),
        ("shop.csv", bytes(3000), "one column only"),
        ("shop.csv.gz", gzip.compress(GOOD.encode())[:-30], "damaged or cut short"),
        ("a.json", '[{"user": 1, "item": 2}]', "line 1: a JSON list; write its objects one a line"),
        ("a.jsonl", '{"user": 1, "item": 2}\nno\n', "line 2: not a JSON object"),
        ("a.parquet", b"PAR1 and nothing", "fetch it again"),
    ],
)
def test_what_is_no_table_is_refused_in_a_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as raised:
        load(tmp_path, content, name)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "users", "values"),
    [
        ("user, item, rating\n a, b, 3\na , c, 4\n", ["a"], [3, 4]),
        ("user;item;rating\na;b;3,5\nb;b;4,0\n", ["a", "b"], [3.5, 4]),
        ('user,item,rating\n"a ""x"" b",c,3\nb,"c\nd",4\n', ['a "x" b', "b"], [3, 4]),
        ('user\titem\trating\n"Weird Al" Y\tb\t3\nc\td\t4\n', ['"Weird Al" Y', "c"], [3, 4]),
        ("user,item,rating\r\na,b,3\r\n\r\nc,d,4\r\n\r\n", ["a", "c"], [3, 4]),
        ("user,item,item,rating\na,b,x,3\nc,d,x,4\n", ["a", "c"], [3, 4]),
        ("1 2 3\n4 5 4\n4 6 5\n", [1, 4], [3, 4, 5]),
    ],
)
def test_spellings(tmp_path: Path, content: str, users: list[str], values: list[float]) -> None:
    data = load(tmp_path, content)
    assert data.user_ids.names.tolist() == users
    assert data.interactions.values.tolist() == values


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (("1600000000", "1600000001"), [1_600_000_000, 1_600_000_001]),
        (("1600000000000", "1600000001500"), [1_600_000_000, 1_600_000_001]),
        (("1600000000000000", "1600000001000000"), [1_600_000_000, 1_600_000_001]),
        (("1600000000.5", "1.6e9"), [1_600_000_000, 1_600_000_000]),
        (("2020-01-01T10:00:00+02:00", "2020-01-01T10:00:00Z"), [1_577_865_600, 1_577_872_800]),
        (("2020-01-01 10:00:00", "2020-01-02 00:00"), [1_577_872_800, 1_577_872_800]),
        (("31.12.2024", "01.02.2023"), [1_735_603_200, 1_675_209_600]),
        (("20200131", "20210131"), [1_580_428_800, 1_612_051_200]),
        (("09 13, 2013", "01 2, 2014"), [1_379_030_400, 1_388_620_800]),
    ],
)
def test_times(tmp_path: Path, times: tuple[str, str], seconds: list[int]) -> None:
    lines = [f'{user},i,"{time}"\n' for user, time in zip("ab", times, strict=True)]
    found = load(tmp_path, "user,item,date\n" + "".join(lines)).interactions.times
    assert found is not None
    assert found.tolist() == seconds


def test_an_archive_is_a_folder_of_tables(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        archive.writestr("shop/ratings.csv", GOOD)
        archive.writestr(
            "shop/items.csv", "item,title\n" + "".join(f"i{n},No {n}\n" for n in range(7))
        )
        archive.writestr("__MACOSX/shop/._ratings.csv", b"\0\1")
    data = load_dataset(tmp_path / "shop.zip")
    assert (data.users, data.titles[6]) == (9, "No 6")


def test_what_is_no_number_after_all_is_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item\n" + "".join(f"{n},{n}\n" for n in range(600_000)) + "x,1\n")
    layout = sniff(path)
    kinds: dict[str, pl.DataType] = {"user": pl.Int32(), "item": pl.Int32()}
    batches = list(read(path, layout, ["user", "item"], kinds))
    assert batches[-1].schema["user"] == pl.String
    everything = [str(name) for batch in batches for name in batch["user"]]
    assert everything == [*map(str, range(600_000)), "x"]
    assert place_of(path, layout, 600_000, ["user", "item"]) == f"{path}, line 600002"


def test_odd_numbers_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for odd in ("007", "+7", "-0"):
        path.write_text(f"user,item\n1,2\n{odd},3\n")
        kinds: dict[str, pl.DataType] = {"user": pl.Int32()}
        (batch,) = read(path, sniff(path), ["user"], kinds)
        assert batch["user"].to_list() == ["1", odd]


def test_a_device_is_refused() -> None:
    with pytest.raises(InputError, match="neither a file nor a folder"):
        refuse_devices(Path(os.devnull))


def test_yes_and_no_are_read_however_they_are_spelt(tmp_path: Path) -> None:
    flags = ["true", "True", "TRUE", "false", "False", "FALSE"]
    lines = [f"u{n},i{n % 4},{flag}\n" for n, flag in enumerate(flags)]
    values = load(tmp_path, "user,item,liked\n" + "".join(lines)).interactions.values
    assert values.tolist() == [1, 1, 1, 0, 0, 0]


def test_of_several_files_all_bytes_are_told(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(GOOD)
    opened = Opened(tmp_path, Table(files=("a.csv", "b.csv")))
    told: list[tuple[int, int]] = []
    assert sum(map(len, opened.batches(["user"], on_bytes=lambda *of: told.append(of)))) == 120
    assert [read for read, _ in told] == sorted(read for read, _ in told)
    assert told[-1] == (2 * len(GOOD), 2 * len(GOOD))


def test_a_small_table_is_one_though_its_files_have_other_types(tmp_path: Path) -> None:
    for name, years in (("a.parquet", [1999, 2000]), ("b.parquet", [2001.5])):
        pl.DataFrame({"year": years}).write_parquet(tmp_path / name)
    opened = Opened(tmp_path, Table(files=("a.parquet", "b.parquet")))
    assert read_all(opened, ["year"])["year"].to_list() == [1999, 2000, 2001.5]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", "::", "\t"])
def test_what_is_read_is_what_was_written(
    tmp_path: Path, encoding: str, separator: str, end: str
) -> None:
    """Numbers as numbers where that is asked for, in whatever way polars has to be helped."""
    path = tmp_path / "a.csv"
    rows = [("user", "item", "rating"), ("é1", "7", "4.5"), ("é2", "8", "3")]
    path.write_bytes("".join(separator.join(row) + end for row in rows).encode(encoding))
    layout = sniff(path)
    assert layout.columns == rows[0]
    assert layout.header
    kinds: dict[str, pl.DataType] = {"item": pl.Int32(), "rating": pl.Float64()}
    told: list[tuple[int, int]] = []
    wanted = ["rating", "user", "rating", "item"]
    (batch,) = read(path, layout, wanted, kinds, lambda *of: told.append(of))
    assert batch.schema == {"rating": pl.Float64, "user": pl.String, "item": pl.Int32}
    assert batch.rows() == [(4.5, "é1", 7), (3.0, "é2", 8)]
    assert told[-1][0] == told[-1][1] > 0
    (text,) = read(path, layout, ["item"])
    assert text["item"].to_list() == ["7", "8"]
    assert sample(path, layout, 1).rows() == [rows[1]]
    assert place_of(path, layout, 1, ["user"]) == f"{path}, line 3"


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    """Of JSON lines it may come late."""
    path = tmp_path / "a.csv"
    path.write_text("user,item\n1,2\n")
    with pytest.raises(InputError, match="no column 'x'; there are user, item"):
        list(read(path, sniff(path), ["user", "x"]))
    path.write_text('{"user": 1}\n{"user": 2, "x": {"y": 3}}\n')
    layout = replace(sniff(path), columns=("user",))
    batches = list(read(path, layout, ["user", "x.y"]))
    assert [batch.rows() for batch in batches] == [[("1", None), ("2", "3")]]
    with pytest.raises(InputError, match="no column 'z'; there are user"):
        list(read(path, layout, ["user", "z"]))


def test_a_backslash_before_a_quote_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('user,title\n1,"the \\"best\\", of all"\n2,b\n')
    layout = sniff(path)
    assert layout.backslashes
    (batch,) = read(path, layout, ["title"])
    assert batch["title"].to_list() == ['the "best", of all', "b"]


def test_columns_that_are_said_are_as_many_as_the_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("7,8\n9,10\n")
    assert sniff(path).columns == ("column_1", "column_2")
    assert sniff(path, ("user", "item")).columns == ("user", "item")
    with pytest.raises(InputError, match=r"line 1: 2 fields, and 3 names of columns \(a, b, c\)"):
        sniff(path, ("a", "b", "c"))
    path.write_text("[1]\n")
    with pytest.raises(InputError, match="line 1: a JSON list; write its objects one a line"):
        sniff(path)


def test_parquet_keeps_its_types_but_for_those_that_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame(
        {"user": [b"a", b"b"], "item": [1, 2], "rating": [0.5, 1.0], "tags": [["x"], ["y", "z"]]}
    ).write_parquet(path)
    layout = sniff(path)
    assert layout.format == "parquet"
    (batch,) = read(path, layout, ["user", "item", "rating"])
    assert batch.rows() == [("a", 1, 0.5), ("b", 2, 1.0)]
    some = sample(path, layout, 1)
    assert some.rows() == [("a", "1", "0.5", ["x"])]
    assert place_of(path, layout, 1, ["user"]) == f"{path}, row 2"


def test_a_row_is_placed_among_all_files(tmp_path: Path) -> None:
    for name, rows in (("a.csv", 2), ("b.csv", 3), ("c.csv", 1)):
        (tmp_path / name).write_text("user,item\n" + rows * "1,2\n")
    opened = Opened(tmp_path, Table(files=("a.csv", "b.csv", "c.csv")))
    assert sum(map(len, opened.batches(["user"]))) == 6
    places = [opened.place(row).removeprefix(f"{tmp_path}/") for row in range(7)]
    assert places == [
        "a.csv, line 2", "a.csv, line 3", "b.csv, line 2", "b.csv, line 3", "b.csv, line 4",
        "c.csv, line 2", "c.csv",
    ]  # fmt: skip


def test_columns_that_look_like_numbers_are_read_as_such(tmp_path: Path) -> None:
    """From the start; a user by a decimal is a name."""
    path = tmp_path / "a.csv"
    path.write_text(f"user,item,rating,time\n1.5,{2**31},0.5,7\n2.5,8,3.0,9\n")
    opened = Opened(tmp_path, Table(files=("a.csv",)))
    columns = Columns("user", "item", "rating", "time")
    expected = {"item": pl.Int64(), "rating": pl.Float64(), "time": pl.Int32()}
    assert numbers_of(opened, columns) == expected
    path.write_text("user,item,rating,time\n1,2,3,\n")
    opened = Opened(tmp_path, Table(files=("a.csv",)))
    assert numbers_of(opened, columns) == dict.fromkeys(("user", "item", "rating"), pl.Int32())


def test_what_python_reads_anew_goes_on_where_polars_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, original = tmp_path / "a.csv", tables._batches
    path.write_text("user,item\n" + "".join(f"{n},1\n" for n in range(9)))
    begun: list[int] = []

    def fails(*given: Any) -> Iterator[pl.DataFrame]:
        begun.append(given[-1])
        for batch in original(*given):
            if len(begun) == 1:
                yield batch.head(2)
                yield batch.slice(2, 3)
                raise pl.exceptions.ComputeError("a quote")
            yield batch

    monkeypatch.setattr(tables, "_batches", fails)
    told: list[int] = []
    batches = read(path, sniff(path), ["user"], on_bytes=lambda read, size: told.append(read))
    assert [name for batch in batches for name in batch["user"]] == [str(n) for n in range(9)]
    assert begun == [0, 5]
    # by 46 bytes in ten lines, and of what is written anew all of its 36
    assert told == [9, 23, 36, 36]


def test_of_long_fields_fewer_rows_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until there are more than so many characters."""
    path = tmp_path / "a.csv"
    path.write_text("user,item\n" + 5 * "u,i\n")
    layout = sniff(path)
    monkeypatch.setattr(tables, "LOOKED_AT", 4)
    assert len(sample(path, layout)) == 3
    assert tables._within(iter(["ab", "cd", "e", "f"])) == ["ab", "cd", "e"]


def test_lists_within_a_column_are_lists(tmp_path: Path) -> None:
    """Of JSON or of Python; where one is none, all are text."""
    path = tmp_path / "items.csv"
    path.write_text('item,tags,text\n1,"[\'War\', \'Love\']",[a]\n2,"[""Ran""]",b\n3,,[c]\n')
    found = read_all(Opened(tmp_path, Table(files=("items.csv",))), ["tags", "text"])
    assert found["tags"].to_list() == [["War", "Love"], ["Ran"], []]
    assert found["text"].to_list() == ["[a]", "b", "[c]"]
