"""Files that nobody meant as tables: each costs a line, little memory and no other file."""

import gzip
import io
import json
import os
import re
import zipfile
from pathlib import Path

import polars as pl
import pytest

from jaxrec.data.dataset import Dataset
from jaxrec.data.ids import NONE, Ids
from jaxrec.errors import InputError
from jaxrec.files import read_json
from jaxrec.serving.folder import check_place
from jaxrec.sources import encodings, tables
from jaxrec.sources.description import read_description
from jaxrec.sources.guess import describe
from jaxrec.sources.library import load_dataset
from jaxrec.sources.reading import read_dataset
from jaxrec.sources.sharded.writing import write_shard
from jaxrec.sources.written.rows import json_fields
from tests.fuzz.tables import as_csv, as_lines, as_parquet

RIGHT = [("right", f"i{n}", 1.0 + n % 5, n) for n in range(12)]
WRONG = [("wrong", f"i{n}", 1.0 + n % 5, n) for n in range(12)]
TABLE = as_csv(RIGHT, ",")
KINDS = {
    "csv": lambda rows: as_csv(rows, ","),
    "jsonl": as_lines,
    "parquet": as_parquet,
}


def refused(path: Path) -> str:
    """Why, in a line."""
    with pytest.raises(InputError) as raised:
        load_dataset(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def users(data: Dataset) -> list[str]:
    return data.user_ids.names.tolist()


@pytest.mark.parametrize(
    ("name", "why"), [("a\0b", "holds a NUL character"), ("a" * 1001, "has 1,001 characters")]
)
def test_what_can_be_no_name_is_refused_with_its_line(tmp_path: Path, name: str, why: str) -> None:
    path = tmp_path / "ratings.csv"
    for user, item, role in ((name, "i1", "user"), ("right", name, "item")):
        path.write_bytes(TABLE + as_csv([(user, item, 3.0, 5)], ",").split(b"\n", 1)[1])
        line = len(RIGHT) + 2
        assert re.match(rf"{re.escape(str(path))}, line {line}: {role} 'a.*{why}", refused(path))
        described = describe(path)
        with pytest.raises(InputError, match=f"line {line}: {role} 'a"):
            write_shard(described, tmp_path / "parts", 2)
        assert not (tmp_path / "parts").exists()
    path.write_bytes(TABLE)
    (tmp_path / "items.csv").write_text(f"item,title\ni1,One\n{name},Two\n")
    with pytest.raises(InputError, match=rf"items\.csv, line 3: item 'a.*{why}"):
        read_dataset(describe(path, items=tmp_path / "items.csv"), "ratings")


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_with_brackets_is_no_pattern(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"events[1].{kind}"
    path.write_bytes(KINDS[kind](RIGHT))
    (tmp_path / f"events1.{kind}").write_bytes(KINDS[kind](WRONG))
    assert users(load_dataset(path)) == ["right"]


@pytest.mark.parametrize("inside", ["../events.csv", "/events.csv", "a/../../events.csv"])
def test_an_archive_leads_to_no_file_outside_it(tmp_path: Path, inside: str) -> None:
    path = tmp_path / "events.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(inside, TABLE)
    (tmp_path / "events.csv").write_bytes(as_csv(WRONG, ","))
    assert "which lies outside; pack it anew" in refused(path)


def test_what_is_packed_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.csv.gz"
    path.write_bytes(gzip.compress(TABLE + 50_000 * b"right,i1,1,1\n"))
    assert users(load_dataset(path)) == ["right"]
    monkeypatch.setattr(encodings, "MOST_UNPACKED", 100_000)
    monkeypatch.setattr(encodings, "MOST_TIMES", 1000)
    assert users(load_dataset(path)) == ["right"]
    monkeypatch.setattr(encodings, "MOST_TIMES", 1)
    assert "more than 100,000 bytes come out of it" in refused(path)


def test_a_bomb_within_an_archive_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("events.csv.gz", gzip.compress(TABLE + 2**22 * b"\n"))
    monkeypatch.setattr(encodings, "MOST_UNPACKED", 2**20)
    assert "come out of it" in refused(path)


def test_a_title_of_ten_megabytes_is_a_title(tmp_path: Path) -> None:
    title = 10_000_000 * "x"
    (tmp_path / "events.csv").write_bytes(TABLE)
    (tmp_path / "items.csv").write_text(f"item,title\ni1,{title}\ni2,b\ni3,c\n")
    assert load_dataset(tmp_path).titles[0] == title


def test_a_line_that_is_far_too_long_is_of_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodings, "LONGEST", 10_000)
    path = tmp_path / "events.csv"
    for content in (TABLE + 20_000 * b"x", TABLE + 20_000 * b"\xff"):
        path.write_bytes(content)
        assert "line 14: longer than 10,000; is it a table?" in refused(path)


MANY = [f"c{n}" for n in range(20_000)]


@pytest.mark.parametrize("line", [",".join(MANY), json.dumps(dict.fromkeys(MANY, 1))])
def test_more_columns_than_any_table_has_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "events.csv"
    path.write_text(line + "\n")
    assert "columns; is it a table, and how is it separated?" in refused(path)


def test_as_many_columns_as_a_table_may_have_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(TABLE)
    monkeypatch.setattr(tables, "MOST_COLUMNS", 4)
    assert users(load_dataset(path)) == ["right"]
    monkeypatch.setattr(tables, "MOST_COLUMNS", 3)
    assert "4 columns; is it a table" in refused(path)


@pytest.mark.parametrize(
    "content", [b"user,item\n", b"\n\n\n", b",\n,\n", b"user,item,rating\n,,\n"]
)
def test_a_table_without_a_row_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "events.csv").write_bytes(content)
    (tmp_path / "items.csv").write_bytes(b"item,title\n")
    for path in (tmp_path, tmp_path / "events.csv"):
        refused(path)


def test_a_parquet_file_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    whole = as_parquet(RIGHT)
    path = tmp_path / "events.parquet"
    for content in (whole[:100], whole[:-4], whole[:300] + whole[310:], b"PAR1" + bytes(50)):
        path.write_bytes(content)
        assert "not whole" in refused(path)
    path.write_bytes(gzip.compress(whole)[:-10])
    assert "damaged or cut short" in refused(path)
    path.write_bytes(gzip.compress(whole))
    assert users(load_dataset(path)) == ["right"]


def saying(content: bytes, rows: int) -> bytes:
    """A Parquet file whose footer says that it has so many rows."""
    end = int.from_bytes(content[-8:-4], "little")
    body, footer = content[: -8 - end], content[-8 - end : -8]
    own = b"\x16" + number(2 * pl.read_parquet(content).height)  # num_rows, the first i64
    footer = footer.replace(own, b"\x16" + number(2 * rows), 1)
    return body + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def number(value: int) -> bytes:
    """Seven bits a byte, as Thrift has it."""
    return bytes([value]) if value < 128 else bytes([value % 128 + 128]) + number(value // 128)


@pytest.mark.parametrize("rows", [13, 2**26, 2**32 - 2, 2**40, 2**62])
def test_a_parquet_file_that_says_it_has_other_rows_is_not_whole(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "events.parquet"
    path.write_bytes(saying(as_parquet(RIGHT), rows))
    assert re.search("not whole|rows in .* bytes; if it is a table, write it as CSV", refused(path))


@pytest.mark.parametrize("said", [30_000, 12])
def test_a_few_bytes_of_parquet_are_no_table_of_any_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: int
) -> None:
    """A row that is repeated costs nothing but memory; nor are as many that the footer hides."""
    out, path = io.BytesIO(), tmp_path / "events.parquet"
    repeated = {"user": ["right"] * 30_000, "item": ["i1"] * 30_000}
    pl.DataFrame(repeated).write_parquet(out, statistics=False)
    path.write_bytes(saying(out.getvalue(), said))
    size = path.stat().st_size
    assert users(load_dataset(path)) == ["right"]
    monkeypatch.setattr(tables, "MOST_ROWS", 29_999)
    monkeypatch.setattr(tables, "ROWS_A_BYTE", 29_999 / size)
    told = f"30,000 rows in {size:,} bytes; if it is a table, write it as CSV"
    assert told in refused(path)
    if said == 30_000:  # then none of them is read
        with pytest.raises(InputError, match=told):
            tables.sniff(path)
    monkeypatch.setattr(tables, "ROWS_A_BYTE", 30_000 / size)
    assert users(load_dataset(path)) == ["right"]


@pytest.mark.parametrize(
    "line",
    ['{"user": "\\ud800"}', "[" * 100_000, "{" * 100_000, '{"a":' * 100_000, "{[]: 1}", "{1: (}"],
)
def test_what_is_no_object_has_no_fields(line: str) -> None:
    assert json_fields(line) is None


@pytest.mark.timeout(60)
def test_a_pipe_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    """Whoever opened it would wait for ever."""
    for name in ("events.csv", "dataset.toml", "model.json"):
        os.mkfifo(tmp_path / name)
    for path in (tmp_path / "events.csv", tmp_path):
        assert "neither a file nor a folder" in refused(path)
    with pytest.raises(InputError, match="neither a file nor a folder"):
        read_description(tmp_path / "dataset.toml")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        read_json(tmp_path / "model.json")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        check_place(tmp_path)


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "no such file or folder" in refused(loop)
    (tmp_path / "events.csv").write_bytes(TABLE)
    assert users(load_dataset(tmp_path)) == ["right"]
    with pytest.raises(InputError, match="leads in a circle"):
        check_place(loop)


def test_a_folder_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.csv").mkdir()
    (tmp_path / "dataset.toml").write_text(
        '[interactions]\nfiles = "events.csv"\nuser = "user"\nitem = "item"\n'
    )
    assert "a folder, not a table" in refused(tmp_path)


def test_a_file_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv"))
    path.write_bytes(TABLE)
    assert "the name is not UTF-8" in refused(path)


def test_names_that_numpy_would_shorten_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(TABLE + b"right\0,i1,3,100\n")
    told = f"{path}, line 14: user 'right\\x00' holds a NUL character; write it without"
    assert refused(path) == told
    assert Ids(["a", "b"]).find(["a\0", "a", "\0"]).tolist() == [NONE, 0, NONE]


def test_a_nul_in_a_title_stays(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_bytes(TABLE)
    (tmp_path / "items.csv").write_bytes(b"item,title\ni1,a\0b\ni2,c\0\ni3,d\n")
    assert load_dataset(tmp_path).titles[:3] == ["a\0b", "c\0", "d"]


def test_a_table_may_be_of_any_text(tmp_path: Path) -> None:
    """Right to left, emoji, combining signs, markup, escape sequences: each comes back."""
    names = ["עברית", "👩‍👩‍👧", "e\u0301", "[red]", "<b>", "\x1b[31m", "=1+1", "ﬁ", 900 * "x"]
    rows = [(name, f"i{n}", 1.0 + n % 5, n) for n, name in enumerate(names)]
    (tmp_path / "events.csv").write_bytes(as_csv(rows, ","))
    data = load_dataset(tmp_path / "events.csv")
    assert users(data) == sorted(names)
    assert sorted(data.user_ids[data.interactions.users]) == sorted(names)
