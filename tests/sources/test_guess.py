"""What is guessed: nothing is passed over in silence, and nothing betrays who wrote what."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from jaxrec.errors import InputError
from jaxrec.sources.guess import describe
from jaxrec.sources.inspection import in_words, inspect
from jaxrec.sources.library import load_dataset
from jaxrec.sources.reading import read_dataset


def reviews(path: Path, users: int = 300, items: int = 200) -> None:
    """Who rated what, with the item's name, the user's name, and what the user wrote."""
    rng = np.random.default_rng(1)
    lines = ["user_id,item_id,rating,title,nickname,summary,text\n"]
    for user in range(users):
        lines += [
            f"u{user},i{item},{rng.integers(1, 6)},Book {item},N {user},{item} by {user},{user}\n"
            for item in rng.choice(items, 8, replace=False)
        ]
    path.write_text("".join(lines))


def test_what_users_write_beside_an_interaction_is_no_text_of_the_item(tmp_path: Path) -> None:
    reviews(tmp_path / "a.csv")
    catalogue = load_dataset(tmp_path / "a.csv").catalogue
    assert (catalogue.title, catalogue.text) == ("title", "{title}")
    assert sorted(catalogue.table.columns) == ["title"]


def test_a_title_that_differs_by_user_is_no_title(tmp_path: Path) -> None:
    lines = [f"u{n % 50},i{n // 7},{n % 5 + 1},Great no {n}\n" for n in range(700)]
    (tmp_path / "a.csv").write_text("".join(["user,item,rating,title\n", *lines]))
    assert set(load_dataset(tmp_path / "a.csv").titles) == {""}


def test_without_evidence_nothing_beside_is_said_of_items(tmp_path: Path) -> None:
    lines = [f"u{n // 8},i{n},{n % 5 + 1},Great no {n}\n" for n in range(3000)]
    (tmp_path / "a.csv").write_text("".join(["user,item,rating,title\n", *lines]))
    assert set(load_dataset(tmp_path / "a.csv").titles) == {""}


def part(start: int, note: str = "", header: str = "user,item,rating,note\n") -> str:
    rows = [f"u{n % 40},i{n % 23},{n % 5 + 1},{note}\n" for n in range(start, start + 200)]
    return header + "".join(rows)


@pytest.mark.parametrize(
    "second",
    [
        part(200, "café").encode("latin-1"),
        part(200).encode("utf-8-sig"),
        part(200, '"a ""b"", c"').encode(),
        part(200, header="user,item,rating,remark\n").encode(),
    ],
)
def test_parts_that_are_written_otherwise_are_parts(tmp_path: Path, second: bytes) -> None:
    (tmp_path / "part-1.csv").write_text(part(0))
    (tmp_path / "part-2.csv").write_bytes(second)
    data = load_dataset(tmp_path)
    assert len(set(zip(data.interactions.users, data.interactions.items, strict=True))) == 400
    assert set(data.titles) == {""}


def test_files_that_are_not_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "ratings_jan.csv").write_text(part(0))
    (tmp_path / "ratings_feb.csv").write_text(part(200))
    described = describe(tmp_path)
    found = inspect(read_dataset(described, str(tmp_path)), described)
    (line,) = (line for line in in_words(found) if line.startswith("files: "))
    assert line in (
        "files: ratings_jan.csv; not read: ratings_feb.csv",
        "files: ratings_feb.csv; not read: ratings_jan.csv",
    )


def test_a_damaged_table_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(part(0))
    (tmp_path / "items.csv.gz").write_bytes(gzip.compress(b"item,title\n" + b"i1,One\n" * 99)[:-20])
    with pytest.raises(InputError, match=r"items.csv.gz: damaged"):
        load_dataset(tmp_path)


def test_numbers_and_flags_that_mean_like_and_dislike(tmp_path: Path) -> None:
    rows = [f"u{n % 40},i{n % 23},{(-1, 1, 1)[n % 3]}\n" for n in range(300)]
    (tmp_path / "a.csv").write_text("".join(["user,item,vote\n", *rows]))
    feedback = load_dataset(tmp_path / "a.csv").feedback
    assert (feedback.kind, feedback.scale, feedback.liked_from) == ("stars", (-1, 1), 1)


def test_minus_one_below_a_scale_is_no_rating(tmp_path: Path) -> None:
    rows = [f"u{n % 40},i{n % 23},{(-1, 1, 5, 8, 9, 10)[n % 6]}\n" for n in range(300)]
    (tmp_path / "a.csv").write_text("".join(["user_id,anime_id,rating\n", *rows]))
    data = load_dataset(tmp_path / "a.csv")
    assert (data.feedback.scale, data.feedback.implicit) == ((1, 10), -1)
    assert any("50 values of -1 are interactions without a rating" in line for line in data.mended)


def test_a_few_values_far_above_all_others_are_refused(tmp_path: Path) -> None:
    rows = [f"u{n % 40},i{n % 23},{n % 5 + 1}\n" for n in range(300)]
    (tmp_path / "a.csv").write_text("".join(["user,item,rating\n", *rows, "u1,i30,55\n"]))
    with pytest.raises(InputError, match="line 302: rating is 55, and 99 % of them are at most 5"):
        load_dataset(tmp_path / "a.csv")


def test_ids_with_points_are_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item\n1,2101.0001\n2,2101.00010\n3,1.10\n4,1.1\n")
    assert load_dataset(tmp_path / "a.csv").items == 4


def test_nobody_is_no_user(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item\n1,a\nNULL,a\n2,b\nnan,b\n3,None\n")
    data = load_dataset(tmp_path / "a.csv")
    assert data.user_ids.names.tolist() == [1, 2, 3]
    assert data.mended[0].startswith("2 x no user or no item: left out")
    assert "'None' is taken as the name of a item" in data.mended


def test_times_may_come_late(tmp_path: Path) -> None:
    (tmp_path / "part-1.csv").write_text("user,item,ts\na,x,\nb,y,\n")
    (tmp_path / "part-2.csv").write_text("user,item,ts\na,y,1600000000\nb,x,1600000001\n")
    times = load_dataset(tmp_path).interactions.times
    assert times is not None
    assert times.tolist() == [1_600_000_000, 1_600_000_000, 1_600_000_000, 1_600_000_001]


def test_remarks_without_a_time_are_later_than_everything(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,2,4,18\n1,3,5,19\n2,3,4,20\n"
    )
    (tmp_path / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,2,early,5\n1,3,never,\n")
    remarks = load_dataset(tmp_path).remarks
    assert remarks.times is not None
    assert remarks.times.tolist() == [5, np.iinfo(np.int64).max]
