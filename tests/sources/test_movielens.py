import re
from pathlib import Path

import numpy as np
import pytest

from jaxrec.errors import InputError
from jaxrec.sources.synthetic import read_movielens

MOVIES = 'movieId,title,genres\n10,"Heat, The (1995)",Crime|Drama\n7,Up (2009),(no genres listed)\n'
RATINGS = "userId,movieId,rating,timestamp\n5,10,4.5,100\n5,7,3.0,101\n2,7,0.5,99\n"
TAGS = "userId,movieId,tag,timestamp\n5,10,Pacino,100\n9,7,balloons,102\n"


def write(folder: Path, **files: str | bytes) -> Path:
    contents = {"movies": MOVIES, "ratings": RATINGS, "tags": TAGS} | files
    for stem, content in contents.items():
        encoded = content if isinstance(content, bytes) else content.encode()
        (folder / f"{stem}.csv").write_bytes(encoded)
    return folder


def test_ids_become_positions_in_file_order(tmp_path: Path) -> None:
    data = read_movielens(write(tmp_path))
    assert data.item_ids.names.tolist() == [10, 7]
    assert data.user_ids.names.tolist() == [2, 5]
    assert data.titles == ["Heat, The (1995)", "Up (2009)"]
    assert data.interactions.users.tolist() == [1, 1, 0]
    assert data.interactions.items.tolist() == [0, 1, 1]
    assert data.interactions.values.tolist() == [4.5, 3.0, 0.5]
    assert data.interactions.users.dtype == data.interactions.items.dtype == np.int32


def test_the_author_of_a_tag_need_not_have_rated(tmp_path: Path) -> None:
    data = read_movielens(write(tmp_path))
    assert data.remarks.users.tolist() == [1, -1]
    assert data.remarks.words == ["Pacino", "balloons"]


def test_tags_are_optional(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "tags.csv").unlink()
    assert read_movielens(tmp_path).remarks.words == []


def test_text_may_be_empty(tmp_path: Path) -> None:
    data = read_movielens(write(tmp_path, movies=MOVIES + "11,,\n", tags=TAGS + "5,10,,1\n"))
    assert (data.titles[2], data.catalogue.table["genres"][2].to_list()) == ("", [])
    assert data.remarks.words[2] == ""


def test_the_hash_sees_every_rating(tmp_path: Path) -> None:
    before = read_movielens(write(tmp_path)).sha256
    after = read_movielens(write(tmp_path, ratings=RATINGS.replace("3.0", "3.5"))).sha256
    assert before != after


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ratings": ""}, "ratings.csv, line 1: the file is empty"),
        ({"ratings": RATINGS.splitlines()[0] + "\n"}, "ratings.csv: no rows below the header"),
        ({"ratings": RATINGS.replace("rating,", "stars,")}, "ratings.csv, line 1: columns"),
        ({"ratings": RATINGS + "2,10,4.0\n"}, "ratings.csv, line 5: 3 fields; expected 4"),
        ({"ratings": RATINGS + "2,10,4.0,5,6\n"}, "ratings.csv, line 5: 5 fields; expected 4"),
        ({"ratings": RATINGS + "2,10,good,5\n"}, "line 5: rating is 'good'; expected a number"),
        ({"ratings": RATINGS + "x,10,4.0,5\n"}, "line 5: userId is 'x'; expected a whole number"),
        ({"ratings": RATINGS + "2,10,,5\n"}, "line 5: rating is ''; expected a number"),
        ({"ratings": RATINGS + "2,10,5.5,5\n"}, "line 5: rating is 5.5 stars; the scale is"),
        ({"ratings": RATINGS + "2,10,0,5\n"}, "line 5: rating is 0 stars; the scale is"),
        ({"ratings": RATINGS + "2,10,nan,5\n"}, "line 5: rating is not a number"),
        ({"ratings": RATINGS + "2,11,4.0,5\n"}, "line 5: movieId 11 is not in movies.csv"),
        ({"ratings": RATINGS + "5,7,4.0,5\n"}, "line 5: second rating .* first on line 3"),
        ({"movies": MOVIES + "10,Ran (1985),War\n"}, "movies.csv, line 4: second movie id"),
        ({"movies": MOVIES + "11,Ran (1985)\n"}, "movies.csv, line 4: 2 fields; expected 3"),
        ({"movies": MOVIES.encode() + b"11,Am\xe9lie,Drama\n"}, "movies.csv, line 4: not UTF-8"),
        ({"tags": TAGS + "5,12,slow,103\n"}, "tags.csv, line 4: movieId 12 is not in movies.csv"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(
    tmp_path: Path, files: dict[str, str | bytes], message: str
) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read_movielens(write(tmp_path, **files))
    assert "\n" not in str(raised.value)


def test_blank_lines_are_passed_over_but_counted(tmp_path: Path) -> None:
    data = read_movielens(write(tmp_path, ratings=RATINGS + "\n\n"))
    assert len(data.interactions.users) == 3
    with pytest.raises(InputError, match="line 6: second rating"):
        read_movielens(write(tmp_path, ratings=RATINGS + "\n5,7,4.0,5\n"))


def test_a_title_over_two_lines_moves_the_lines_below(tmp_path: Path) -> None:
    movies = MOVIES + '11,"Two\nlines (1999)",Drama\n7,Up (2009),Drama\n'
    with pytest.raises(InputError, match="line 6: second movie id"):
        read_movielens(write(tmp_path, movies=movies))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "movies.csv").unlink()
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "movies.csv"))):
        read_movielens(tmp_path)
