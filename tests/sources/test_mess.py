"""What is wrong with data is mended by a stated rule and counted, or refused by file and line."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxrec.data.dataset import Dataset
from jaxrec.errors import InputError
from jaxrec.sources.library import load_dataset

MOVIES = 'movieId,title,genres\n10,"Heat, The (1995)",Crime|Drama\n7,Up (2009),(no genres listed)\n'
RATINGS = "userId,movieId,rating,timestamp\n5,10,4.5,100\n5,7,3.0,101\n2,7,0.5,99\n"
TAGS = "userId,movieId,tag,timestamp\n5,10,Pacino,100\n9,7,balloons,102\n"


def read(folder: Path, strict: bool = False, **files: Any) -> Dataset:
    contents = {"movies": MOVIES, "ratings": RATINGS, "tags": TAGS} | files
    for stem, content in contents.items():
        encoded = content if isinstance(content, bytes) else content.encode()
        (folder / f"{stem}.csv").write_bytes(encoded)
    return load_dataset(folder, strict=strict)


def test_ids_become_positions_in_file_order(tmp_path: Path) -> None:
    data = read(tmp_path)
    assert data.item_ids.names.tolist() == [10, 7]
    assert data.user_ids.names.tolist() == [2, 5]
    assert data.titles == ["Heat, The (1995)", "Up (2009)"]
    assert data.interactions.users.tolist() == [1, 1, 0]
    assert data.interactions.items.tolist() == [0, 1, 1]
    assert data.interactions.values.tolist() == [4.5, 3.0, 0.5]
    assert data.interactions.users.dtype == data.interactions.items.dtype == np.int32
    assert data.mended == ()


def test_the_author_of_a_tag_need_not_have_rated(tmp_path: Path) -> None:
    data = read(tmp_path)
    assert data.remarks.users.tolist() == [1, -1]
    assert data.remarks.words == ["Pacino", "balloons"]


def test_tags_are_optional(tmp_path: Path) -> None:
    read(tmp_path)
    (tmp_path / "tags.csv").unlink()
    assert load_dataset(tmp_path).remarks.words == []


def test_text_may_be_empty(tmp_path: Path) -> None:
    data = read(tmp_path, movies=MOVIES + "11,,\n")
    assert (data.titles[2], data.catalogue.table["genres"][2].to_list()) == ("", [])


def test_the_hash_sees_every_rating(tmp_path: Path) -> None:
    before = read(tmp_path).sha256
    after = read(tmp_path, ratings=RATINGS.replace("3.0", "3.5")).sha256
    assert before != after


@pytest.mark.parametrize(
    ("files", "said", "rows"),
    [
        (
            {"ratings": RATINGS + "5,7,4.0,5\n2,7,1.5,200\n"},
            "2 x a pair of user and item given again: the latest is kept",
            [(5, 10, 4.5), (5, 7, 3.0), (2, 7, 1.5)],
        ),
        (
            {"ratings": RATINGS + ",10,4.0,5\n2,,4.0,5\n"},
            "2 x no user or no item: left out",
            [(5, 10, 4.5), (5, 7, 3.0), (2, 7, 0.5)],
        ),
        (
            {"ratings": RATINGS + "2,10,,5\n9,10,NULL,5\n9,7,nan,5\n"},
            "3 x no value: left out",
            [(5, 10, 4.5), (5, 7, 3.0), (2, 7, 0.5)],
        ),
        (
            {"ratings": RATINGS + "2,11,4.0,5\n"},
            r"1 x an item that no table of items has \(1 items\): kept, known by its id alone",
            [(5, 10, 4.5), (5, 7, 3.0), (2, 7, 0.5), (2, 11, 4.0)],
        ),
        (
            {"ratings": RATINGS + "2,10,4.0,-5\n9,7,4.0,9999999999999\n9,10,4.0,\n"},
            "3 x a time missing or impossible: taken as the oldest",
            [(5, 10, 4.5), (5, 7, 3.0), (2, 7, 0.5), (2, 10, 4.0), (9, 7, 4.0), (9, 10, 4.0)],
        ),
        (
            {"movies": MOVIES + "10,Ran (1985),War\n"},
            "1 x an item given again: the first is kept",
            [(5, 10, 4.5), (5, 7, 3.0), (2, 7, 0.5)],
        ),
        (
            {"movies": MOVIES + ",Ran (1985),War\n"},
            "1 x an item without id: left out",
            [(5, 10, 4.5), (5, 7, 3.0), (2, 7, 0.5)],
        ),
        (
            {"tags": TAGS + "5,12,slow,103\n"},
            "1 x a remark on an item that is not known: left out",
            [(5, 10, 4.5), (5, 7, 3.0), (2, 7, 0.5)],
        ),
        (
            {"tags": TAGS + "5,10,,103\n"},
            "1 x a remark without words: left out",
            [(5, 10, 4.5), (5, 7, 3.0), (2, 7, 0.5)],
        ),
    ],
)
def test_mess_is_mended_and_counted_or_refused_by_the_strict(
    tmp_path: Path, files: dict[str, Any], said: str, rows: list[tuple[int, int, float]]
) -> None:
    data = read(tmp_path, **files)
    (line,) = data.mended
    assert re.match(said, line), line
    found = data.interactions
    names = zip(data.user_ids[found.users], data.item_ids[found.items], found.values, strict=True)
    assert list(names) == rows
    what = said.split(" x ")[1].split(":")[0]
    with pytest.raises(InputError, match=rf"csv, line \d+: {what}.*--strict-input"):
        read(tmp_path, strict=True, **files)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ratings": ""}, "ratings.csv, line 1: the file is empty"),
        ({"ratings": RATINGS + "2,10,4.0,5,6\n"}, "ratings.csv, line 5: 5 fields; expected 4"),
        ({"ratings": RATINGS + "2,10,good,5\n"}, "line 5: rating is 'good'; expected a number"),
        ({"ratings": RATINGS + "2,10,inf,5\n"}, "line 5: rating is 'inf'; expected a number"),
        ({"ratings": RATINGS + "2,10,5.5,5\n"}, "line 5: rating is 5.5; the scale is 0.5 to 5"),
        ({"ratings": RATINGS + "2,10,0,5\n"}, "line 5: rating is 0; the scale is 0.5 to 5"),
    ],
)
def test_what_cannot_be_mended_is_named_by_file_and_line(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read(tmp_path, **files)
    assert "\n" not in str(raised.value)


def test_names_of_items_are_read_as_those_of_interactions_are(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("user,item\nu1,a\nu2,a\nu1,b\nu3, b\n")
    (tmp_path / "items.csv").write_text("item,title\na,One\na ,Two\nNULL,Three\n b,Four\n")
    data = load_dataset(tmp_path)
    assert data.item_ids.names.tolist() == ["a", "b"]
    assert data.titles == ["One", "Four"]
    assert [line.split(" (")[0] for line in data.mended] == [
        "1 x an item without id: left out",
        "1 x an item given again: the first is kept",
    ]


def test_blank_lines_are_passed_over_but_counted(tmp_path: Path) -> None:
    assert len(read(tmp_path, ratings=RATINGS + "\n\n").interactions.users) == 3
    data = read(tmp_path, ratings=RATINGS + "\n5,7,4.0,5\n")
    assert "the first: " in data.mended[0]
    assert data.mended[0].endswith("line 6)")


def test_a_title_over_two_lines_moves_the_lines_below(tmp_path: Path) -> None:
    movies = MOVIES + '11,"Two\nlines (1999)",Drama\n7,Up (2009),Drama\n'
    assert read(tmp_path, movies=movies).mended[0].endswith("movies.csv, line 6)")


def test_where_most_lines_are_utf_8_another_is_damaged(tmp_path: Path) -> None:
    movies = (MOVIES + "11,Amélie,Drama\n12,Été,Drama\n").encode() + b"13,Caf\xe9,Drama\n"
    with pytest.raises(InputError, match=r"movies.csv, line 6: not UTF-8 text, though 2 other"):
        read(tmp_path, movies=movies)


def test_counts_are_added_up_and_what_was_given_back_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("customer,sku,quantity\na,x,1\na,x,4\nb,x,200\nb,y,3\nb,y,-3\nc,y,1\n")
    data = load_dataset(path)
    assert data.feedback.kind == "counts"
    assert data.interactions.values.tolist() == [5, 200, 1]
    assert (data.feedback.scale, data.feedback.typical) == ((1, 200), 5)
    assert [line.split(" (")[0] for line in data.mended] == [
        "2 x a pair of user and item given again: their counts are added up",
        "1 x a count of 0 or less: left out",
    ]


def test_constant_values_are_likes(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user,item,rating\na,x,5\na,y,5\nb,x,5\n")
    data = load_dataset(path)
    assert data.feedback.kind == "likes"
    assert data.interactions.values.tolist() == [1, 1, 1]


def test_ids_are_names(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    big = 2**63
    path.write_text(f"user,item\n007,{big}\n7,a\n7,{big}\n-0,a\n")
    data = load_dataset(path)
    assert data.user_ids.names.tolist() == ["-0", "007", "7"]
    assert data.item_ids.names.tolist() == [str(big), "a"]


def test_a_name_that_is_no_number_may_come_late(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    rows = [f"{n},{n % 7}\n" for n in range(600_000)]
    path.write_text("user,item\n" + "".join(rows) + "x1,3\n")
    data = load_dataset(path)
    assert data.users == 600_001
    assert data.user_ids.names.dtype.kind == "U"
    assert data.interactions.items[-1] == data.interactions.items[3]


def test_times_that_are_all_impossible_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item,rating,timestamp\na,x,5,soon\na,y,4,later\n")
    data = load_dataset(path)
    assert data.interactions.times is None
    (line,) = data.mended
    assert line.startswith("2 x no time of timestamp is understood: taken as unknown; say how")


@pytest.mark.parametrize("rows", [2, 3_000])
def test_files_put_one_behind_the_other_have_one_header(tmp_path: Path, rows: int) -> None:
    """It comes again within the beginning that tells of the table, or behind that."""
    first, second = (
        "".join(f"{n % 90},{10 if part else 7},4.0,{n}\n" for n in range(rows)) for part in (0, 1)
    )
    (header, *_), (films, *_) = RATINGS.splitlines(True), MOVIES.splitlines(True)
    data = read(tmp_path, ratings=header + first + header + second, movies=MOVIES + films)
    assert data.user_ids.names.tolist() == list(range(min(rows, 90)))
    assert data.item_ids.names.tolist() == [10, 7]
    again = [line for line in data.mended if line.startswith("1 x the header again: left out")]
    assert [line.rpartition("line ")[2] for line in again] == ["4)", f"{rows + 2})"]


def test_times_of_another_unit_are_said(tmp_path: Path) -> None:
    header = "userId,movieId,rating,timestamp\n"
    rows = [f"5,{item},4.0,{1_500_000_000_000 + item}\n" for item in range(5)]
    data = read(tmp_path, ratings=header + "".join(rows) + "5,7,4.0,1500000000\n")
    assert any(
        line.startswith("1 times of timestamp lie in 1970, and others after 1979: are they written")
        and line.endswith("ratings.csv, line 7)")
        for line in data.mended
    )


@pytest.mark.parametrize(("last", "either"), [("04/05/2020", True), ("25/05/2020", False)])
def test_dates_that_are_read_in_two_ways_are_said(tmp_path: Path, last: str, either: bool) -> None:
    path = tmp_path / "events.csv"
    path.write_text(f"user,item,date\na,x,01/02/2020\na,y,03/02/2020\nb,x,{last}\n")
    said = [line for line in load_dataset(path).mended if "could be day/month" in line]
    assert bool(said) == either


def test_a_scale_is_told_by_values_that_are_not_half_stars(tmp_path: Path) -> None:
    header = "userId,movieId,rating,timestamp\n"
    data = read(tmp_path, ratings=header + "5,10,80,100\n5,7,100,101\n2,7,20,99\n2,10,60,99\n")
    assert (data.feedback.kind, data.feedback.scale) == ("stars", (0, 100))


@pytest.mark.filterwarnings("error")
def test_a_huge_value_is_refused_without_a_warning(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 5: rating is 1e\+300; the scale is 0.5 to 5"):
        read(tmp_path, ratings=RATINGS + "2,10,1e300,5\n")
