import datetime

import numpy as np
import polars as pl
import pytest

import jaxrec
from jaxrec.data.columns import ItemColumns
from jaxrec.data.feedback import Feedback
from jaxrec.errors import InputError

ROWS = {
    "user_id": ["007", "7", "7", "x"],
    "item_id": ["a", "a", "b", "c"],
    "rating": [1.0, 4.0, 5.0, 3.0],
    "when": [datetime.datetime(2020, 1, day) for day in (1, 2, 3, 4)],
}
BOOKS = {
    "item_id": ["b", "a", "z"],
    "title": ["Emma", "Ran", "It"],
    "genres": [["Love"], None, ["War", "Love"]],
}


def frames(kind: str) -> tuple[object, object]:
    if kind == "polars":
        return pl.DataFrame(ROWS), pl.DataFrame(BOOKS)
    if kind == "lazy":
        return pl.LazyFrame(ROWS), pl.LazyFrame(BOOKS)
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(ROWS), pandas.DataFrame(BOOKS)


@pytest.mark.parametrize("kind", ["polars", "lazy", "pandas"])
def test_frames_of_any_library_become_a_data_set(kind: str) -> None:
    interactions, items = frames(kind)
    data = jaxrec.Dataset.from_frames(
        interactions, items, columns={"time": "when"}, text="{title}. {genres}", name="books"
    )
    assert data.user_ids.names.tolist() == ["007", "7", "x"]
    assert data.item_ids.names.tolist() == ["b", "a", "z", "c"]
    assert data.interactions.users.tolist() == [0, 1, 1, 2]
    assert data.interactions.items.tolist() == [1, 1, 0, 3]
    assert data.interactions.values.tolist() == [1, 4, 5, 3]
    first = int(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC).timestamp())
    assert data.interactions.times is not None
    assert data.interactions.times.tolist() == [first + 86_400 * day for day in range(4)]
    assert data.feedback == Feedback.of("stars", np.array([1.0, 3, 4, 5]))
    assert jaxrec.item_texts(data) == ["Emma. Love", "Ran.", "It. War Love", "."]
    assert data.mended[0].startswith("1 x an item that no table of items has (1 items)")


def test_numbers_that_lack_some_are_numbers_still() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": [1, 2, None], "item": [5, 6, 7], "plays": [1, 300, 2]})
    data = jaxrec.Dataset.from_frames(frame)
    assert data.user_ids.names.tolist() == [1, 2]
    assert data.feedback.kind == "counts"
    assert data.mended[0].startswith("1 x no user or no item: left out")


def test_what_values_mean_may_be_said() -> None:
    frame = pl.DataFrame(ROWS)
    likes = jaxrec.Dataset.from_frames(frame, feedback="likes")
    assert likes.interactions.values.tolist() == [1, 1, 1, 1]
    strict = Feedback("stars", (1, 5), liked_from=5, disliked_below=2, neutral=1)
    assert jaxrec.Dataset.from_frames(frame, feedback=strict).feedback == strict


def test_columns_of_items_may_be_said() -> None:
    books = pl.DataFrame({"no": ["a", "b", "c"], "words": ["x y", "x", ""]})
    columns = ItemColumns("no", text="{words}", categories={"words": " "})
    data = jaxrec.Dataset.from_frames(pl.DataFrame(ROWS), books, item_columns=columns)
    assert data.catalogue.table["words"].to_list() == [["x", "y"], ["x"], []]


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(InputError, match="interactions are a list; give a table of Polars"):
        jaxrec.Dataset.from_frames([1, 2])
    with pytest.raises(InputError, match=r"which column is the user\? there are a, b"):
        jaxrec.Dataset.from_frames(pl.DataFrame({"a": [1], "b": [2]}))
    with pytest.raises(InputError, match="interactions, row 3: no user or no item"):
        jaxrec.Dataset.from_frames(
            pl.DataFrame({"user": [1, 2, None], "item": [1, 2, 3]}), strict=True
        )
