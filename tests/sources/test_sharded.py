"""Data cut by user, and parts read again, against a data set that is read at once."""

import json
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import cli
from jaxrec.data.dataset import Dataset
from jaxrec.errors import InputError
from jaxrec.sources.guess import describe
from jaxrec.sources.library import load_dataset
from jaxrec.sources.reading import read_dataset
from jaxrec.sources.sharded.layout import part_of, read_card
from jaxrec.sources.sharded.reading import read_shard
from jaxrec.sources.sharded.writing import write_shard
from tests.sources.formats import FORMATS

Rows = set[tuple[object, object, float, int | None]]


def cut(data: Path, out: Path, parts: int) -> Result:
    line = ["data", "shard", "--data", str(data), "--out", str(out), "--parts", str(parts)]
    return CliRunner().invoke(cli.main, line)


def rows_of(dataset: Dataset) -> list[tuple[object, object, float, int | None]]:
    found = dataset.interactions
    times = [None] * len(found.users) if found.times is None else found.times.tolist()
    users, items = dataset.user_ids[found.users].tolist(), dataset.item_ids[found.items].tolist()
    return sorted(zip(users, items, found.values.tolist(), times, strict=True), key=repr)


def check_same(folder: Path, whole: Dataset, processes: int) -> None:
    """All processes together have what the whole has, and no user twice."""
    shard = read_card(folder)
    each = [read_shard(folder, shard.own(at, processes)) for at in range(processes)]
    assert sorted((row for one in each for row in rows_of(one)), key=repr) == rows_of(whole)
    users = [user for one in each for user in one.user_ids.names.tolist()]
    assert sorted(users) == whole.user_ids.names.tolist()
    for one in each:
        assert one.item_ids.names.tolist() == whole.item_ids.names.tolist()
        assert one.item_ids.names.dtype == whole.item_ids.names.dtype
        assert one.catalogue.titles == whole.catalogue.titles
        assert one.catalogue.roles == whole.catalogue.roles
        assert one.feedback == whole.feedback


def test_the_part_is_what_spark_computes() -> None:
    """The examples in Spark's documentation of `crc32` are those of 'Spark' and of 'ABC'."""
    names = pl.Series(["Spark", "ABC"])
    assert part_of(names, 2**31 - 1).tolist() == [1557323817, 2743272264 % (2**31 - 1)]
    assert part_of(pl.Series([7, -7]), 10).tolist() == [
        zlib.crc32(b"7") % 10,
        zlib.crc32(b"-7") % 10,
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_cut_and_read_again(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path, _ = FORMATS[name](tmp_path / "data")
    write_shard(describe(path), tmp_path / "cut", 3)
    check_same(tmp_path / "cut", load_dataset(path), 2)


names = st.one_of(st.integers(-3, 12).map(str), st.sampled_from(["007", "Åse", "a b", ""]))
lines = st.tuples(
    names, names, st.integers(1, 5), st.one_of(st.none(), st.integers(10**9, 10**9 + 9))
)


@given(st.lists(lines, min_size=1, max_size=40), st.integers(1, 7), st.booleans())
@settings(max_examples=60)
def test_nothing_is_lost_or_doubled(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, int, int | None]],
    parts: int,
    stars: bool,
) -> None:
    """Names missing, pairs given again, items in no table, empty parts, with values and without."""
    folder = tmp_path_factory.mktemp("rows")
    value = [f",{value}" if stars else "" for _, _, value, _ in rows]
    written = [
        f"{user},{item}{value[at]},{'' if time is None else time}"
        for at, (user, item, _, time) in enumerate(rows)
    ]
    head = f"user,item{',rating' if stars else ''},timestamp"
    (folder / "ratings.csv").write_text("\n".join([head, *written]) + "\n")
    (folder / "items.csv").write_text("item,title\n3,Drei\n1,Eins\n3,Tre\n")
    described = describe(folder / "ratings.csv", folder / "items.csv")
    try:
        whole = read_dataset(described, "at once")
    except InputError:
        with pytest.raises(InputError):
            write_shard(described, folder / "cut", parts)
        assert sorted(path.name for path in folder.iterdir()) == ["items.csv", "ratings.csv"]
        return
    write_shard(described, folder / "cut", parts)
    check_same(folder / "cut", whole, max(1, parts - 1))


def test_counts_mean_the_same_in_every_part(tmp_path: Path) -> None:
    """Purchases without values: what is usual, and what is the most, no part can tell alone."""
    bought = [f"{user},{item}" for user in range(8) for item in range(3) for _ in range(user + 1)]
    (tmp_path / "orders.csv").write_text("\n".join(["user,item", *bought]) + "\n")
    write_shard(describe(tmp_path / "orders.csv"), tmp_path / "cut", 4)
    whole = load_dataset(tmp_path / "orders.csv")
    assert (whole.feedback.kind, whole.feedback.scale) == ("counts", (1, 8))
    check_same(tmp_path / "cut", whole, 4)


@pytest.fixture
def stars(tmp_path: Path) -> Path:
    """A data set cut into four parts."""
    (tmp_path / "data").mkdir()
    path, _ = FORMATS["Goodbooks"](tmp_path / "data")
    done = cut(path, tmp_path / "cut", 4)
    assert done.exit_code == 0, done.output
    assert "interactions of 30 users in 4 parts of " in done.output
    return tmp_path / "cut"


def test_the_whole_is_a_data_set_like_any_other(stars: Path) -> None:
    assert len(rows_of(load_dataset(stars))) == sum(read_card(stars).interactions)


def test_parts_that_others_have_written_are_read(stars: Path, tmp_path: Path) -> None:
    """As Spark does: several files a part, of other names and types, and a mark beside them."""
    before = rows_of(read_shard(stars, [1, 2]))
    for place in stars.glob("part=*"):
        (path,) = place.glob("*.parquet")
        frame = pl.read_parquet(path).cast(pl.Int32, strict=True)
        path.unlink()
        for at, half in enumerate((frame[::2], frame[1::2])):
            half.write_parquet(
                place / f"part-0000{at}-5f3a.c000.snappy.parquet", compression="snappy"
            )
    (stars / "_SUCCESS").touch()
    assert rows_of(read_shard(stars, [1, 2])) == before


def test_a_user_in_the_wrong_part_is_refused(stars: Path) -> None:
    parts = [next(iter((stars / f"part={part}").glob("*.parquet"))) for part in (0, 1)]
    first, second = (path.read_bytes() for path in parts)
    parts[0].write_bytes(second), parts[1].write_bytes(first)
    card = json.loads((stars / "shard.json").read_text())
    rows = card["interactions"]
    rows[0], rows[1] = rows[1], rows[0]
    (stars / "shard.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"user \d+ is in .* and belongs in part=1 \(crc32"):
        read_shard(stars, [0])


def test_rows_that_are_missing_are_refused(stars: Path) -> None:
    (path,) = (stars / "part=2").glob("*.parquet")
    pl.read_parquet(path)[1:].write_parquet(path)
    with pytest.raises(InputError, match=r"part=2 has \d+ rows, and shard.json says \d+"):
        read_shard(stars, [2])
    read_shard(stars, [0, 1, 3])


def test_an_item_that_is_not_shared_is_refused(stars: Path) -> None:
    table = pl.read_parquet(stars / "items.parquet")
    table[:20].write_parquet(stars / "items.parquet")
    with pytest.raises(InputError, match=r"item \d+ is not in the table that all parts share"):
        read_shard(stars, [0, 1, 2, 3])


@pytest.mark.parametrize("content", ["{}", '{"parts": 2, "hash": "md5"}'])
def test_a_card_that_says_something_else_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "shard.json").write_text(content)
    with pytest.raises(InputError, match=r'shard.json: expected "parts"'):
        read_card(tmp_path)


@pytest.mark.parametrize(("leave", "lacks"), [("kind", "kind"), ("neutral", "neutral")])
def test_what_parts_might_guess_otherwise_has_to_be_said(
    stars: Path, leave: str, lacks: str
) -> None:
    path = stars / "dataset.toml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(f"{leave} = ")))
    with pytest.raises(InputError, match=rf"\[feedback\] does not say {lacks}: "):
        read_shard(stars, [0])


def test_a_folder_that_was_not_cut_is_told_how(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`jaxrec data shard --data DATA"):
        read_shard(tmp_path, [0])


def test_fewer_parts_than_processes_are_refused(stars: Path) -> None:
    with pytest.raises(InputError, match="4 parts are too few for 5 processes"):
        read_card(stars).own(0, 5)


def test_what_is_there_is_kept(stars: Path) -> None:
    before = sorted(stars.rglob("*"))
    done = cut(stars, stars, 2)
    assert done.exit_code == 2
    assert "is there already; remove it, or give another --out" in done.output
    assert sorted(stars.rglob("*")) == before


def test_a_value_that_is_no_number_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("user,item,rating\n" + "1,2,3\n" * 200 + "1,3,good\n")
    done = cut(path, tmp_path / "cut", 2)
    assert done.exit_code == 2
    assert "ratings.csv, line 202: rating is 'good'; expected a number" in done.output
    assert list(tmp_path.iterdir()) == [path]


def test_a_core_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("user,item,rating\n1,2,3\n1,3,5\n")
    (tmp_path / "dataset.toml").write_text(
        'core = 2\n[interactions]\nfiles = "ratings.csv"\nuser = "user"\nitem = "item"\n'
    )
    done = cut(tmp_path / "dataset.toml", tmp_path / "cut", 2)
    assert done.exit_code == 2
    assert "core = 2 needs all interactions at once" in done.output


def test_parts_are_about_as_large_as_each_other() -> None:
    """Users numbered in a row, which a hash of digits might treat alike."""
    counts = np.bincount(part_of(pl.Series(range(100_000)), 64), minlength=64)
    assert counts.max() < 1.1 * counts.mean()
