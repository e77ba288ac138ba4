import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

import jaxrec
from jaxrec.data.columns import ItemColumns
from jaxrec.data.feedback import Feedback
from jaxrec.data.frames import to_polars
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


def column(values: Any, kind: Any = None) -> list[Any]:
    """What becomes of a column of pandas."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": pandas.Series(values, dtype=kind)})
    return to_polars(frame, "interactions")["x"].to_list()


def refusal(interactions: Any, items: Any = None, **said: Any) -> str:
    """The line in which tables are refused."""
    with pytest.raises(InputError) as error:
        jaxrec.Dataset.from_frames(interactions, items, **said)
    line = str(error.value)
    assert "\n" not in line
    assert "--" not in line
    return line


def test_big_numbers_beside_missing_ones_are_not_rounded() -> None:
    pandas = pytest.importorskip("pandas")
    users = pandas.array([2**60 + 1, pandas.NA, 2**60 + 2], "Int64")
    data = jaxrec.Dataset.from_frames(pandas.DataFrame({"user": users, "item": [1, 2, 3]}))
    assert data.user_ids.names.tolist() == [2**60 + 1, 2**60 + 2]
    assert column([2**63 + 1, None, 7], "UInt64") == [2**63 + 1, None, 7]


def test_ids_that_were_rounded_already_are_refused() -> None:
    frame = pl.DataFrame({"user": [2.0**60, None, 2.0**60 + 256], "item": [1, 2, 3]})
    assert refusal(frame).startswith(
        "interactions: user are floats beyond 2**53, which are rounded"
    )


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_times_of_any_unit_and_zone_are_seconds(unit: str, zone: str | None) -> None:
    pandas = pytest.importorskip("pandas")
    times = pandas.Series(["2020-01-01 09:00:01", None, "2020-01-02 09:00:00"])
    kind = f"datetime64[{unit}]"
    when = times.astype(kind)
    if zone is not None:
        when = when.dt.tz_localize(zone)
    data = jaxrec.Dataset.from_frames(
        pandas.DataFrame({"user": [1, 2, 3], "item": [1, 2, 3], "when": when})
    )
    first = int(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC).timestamp())
    early = first + (9 * 3600 if zone is None else 0)
    assert data.interactions.times is not None
    assert data.interactions.times.tolist() == [early + 1, early + 1, early + 86_400]


def test_missing_values_of_pandas_are_missing() -> None:
    assert column(["a", None, "b"], "string") == ["a", None, "b"]
    assert column([True, None, False], "boolean") == [True, None, False]
    assert column([1.5, None, 2], "Float64") == [1.5, None, 2]
    assert column([5, None, 7], "category") == [5, None, 7]
    assert column([float("nan"), "a", None], object) == [None, "a", None]


def test_objects_of_one_kind_are_of_that_kind_and_others_text() -> None:
    day, noon = datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 12)
    east = datetime.timezone(datetime.timedelta(hours=2))
    assert column([1, None, 2**60 + 1], object) == [1, None, 2**60 + 1]
    assert column([1, 2**70], object) == ["1", str(2**70)]
    assert column([np.bool_(False), None, True], object) == [False, None, True]
    assert column([1, "a", 2.5, True], object) == ["1", "a", "2.5", "True"]
    objects = pl.DataFrame({"x": pl.Series([{1}, None, "a"], dtype=pl.Object)})
    assert to_polars(objects, "items")["x"].to_list() == ["{1}", None, "a"]
    assert column([Decimal("1.50"), None], object) == ["1.50", None]
    assert column([day, noon.replace(tzinfo=east), None], object) == [
        datetime.datetime(2020, 1, 2),
        datetime.datetime(2020, 1, 2, 10),
        None,
    ]
    first = datetime.datetime(1, 1, 1)
    assert column([first.replace(tzinfo=east)], object) == [first]
    assert column([["a", "b"], np.array(["c", "d"]), "ef", 5, None], object) == [
        ["a", "b"],
        ["c", "d"],
        ["ef"],
        ["5"],
        None,
    ]


def test_values_may_be_true_and_false_or_decimals() -> None:
    pandas = pytest.importorskip("pandas")
    for values in ([True, False, True], [Decimal(1), Decimal(0), Decimal("1.0")]):
        frame = pandas.DataFrame({"user": [1, 2, 3], "item": [1, 2, 3], "liked": values})
        data = jaxrec.Dataset.from_frames(frame, feedback="stars")
        assert data.interactions.values.tolist() == [1, 0, 1]


def test_columns_may_be_called_by_numbers() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["u", "a", 3], ["v", "b", 5]])
    data = jaxrec.Dataset.from_frames(frame, columns={"user": 0, "item": 1, "value": 2})  # type: ignore[dict-item]
    assert data.user_ids.names.tolist() == ["u", "v"]
    assert data.interactions.values.tolist() == [3, 5]


@pytest.mark.parametrize("names", [["user", "item", "item"], ["user", 1, "1"]])
def test_two_columns_of_one_name_are_refused(names: list[Any]) -> None:
    pandas = pytest.importorskip("pandas")
    line = refusal(pandas.DataFrame([["u", "a", "b"]], columns=names))
    assert line == f"interactions: two columns are called {names[2]}; rename one, or drop it"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([datetime.timedelta(hours=1)] * 2, "lengths of time; give numbers (seconds, say)"),
        ([datetime.time(1)] * 2, "times of a day; give dates"),
        ([b"\xff"] * 2, "bytes; decode them"),
    ],
)
def test_what_nothing_is_read_from_is_refused_where_it_is_used(values: list, why: str) -> None:
    rows = pl.DataFrame({"user": [1, 2], "item": [1, 2], "odd": values})
    assert jaxrec.Dataset.from_frames(rows.rename({"odd": "unused_1"})).users == 2
    for role in ("user", "value", "time"):
        assert refusal(rows, columns={role: "odd"}) == f"interactions: odd holds {why}"
    items = pl.DataFrame({"item": [1, 2], "title": ["a", "b"], "description": values})
    assert jaxrec.Dataset.from_frames(rows, items).titles == ["a", "b"]
    assert jaxrec.Dataset.from_frames(rows, items.with_columns(title="description")).items == 2
    assert refusal(rows, items, text="{description}") == f"items: description holds {why}"


def test_lengths_of_time_of_pandas_are_refused_where_they_are_used() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": [1, 2], "item": [1, 2], "plays": [5, 6]})
    for unit in ("s", "ns"):
        plays = pandas.to_timedelta(frame["plays"], "s").astype(f"timedelta64[{unit}]")
        assert refusal(frame.assign(plays=plays)) == (
            "interactions: plays holds lengths of time; give numbers (seconds, say)"
        )


def test_half_a_character_is_refused() -> None:
    pandas = pytest.importorskip("pandas")
    rows = pandas.DataFrame({"user": [1], "item": pandas.Series(["a\udc80"], dtype=object)})
    line = refusal(rows)
    assert line == r"interactions: a text holds '\udc80', half a character; mend it"


def test_remedies_are_those_of_python() -> None:
    line = refusal(pl.DataFrame({"a": [1], "b": [2]}))
    assert line.endswith('say columns={"user": NAME, "item": NAME}')
    missing = pl.DataFrame({"user": [1, 2, None], "item": [1, 2, 3]})
    assert "leave strict=True out" in refusal(missing, strict=True)
    assert refusal(missing.clear()) == "interactions, row 1: no interactions"
    words = pl.DataFrame({"user": [1, 2], "item": [1, 2], "time": ["soon", "later"]})
    assert "say how they are written (time)" in jaxrec.Dataset.from_frames(words).mended[0]
    far = pl.DataFrame({"user": range(200), "item": range(200), "rating": [3.0, *[5.0] * 198, 99]})
    assert refusal(far).endswith("mend it, or say feedback")


def test_a_role_in_the_index_is_asked_for() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS)
    for index in (["user_id"], ["user_id", "item_id"]):
        line = refusal(frame.set_index(index))
        assert line == "interactions: the user is in the index; give interactions.reset_index()"
    line = refusal(
        frame.rename(columns={"user_id": "who"}).set_index("who"), columns={"user": "who"}
    )
    assert line.startswith("no column 'who'; there are item_id, rating, when; what is in an index")
    assert line.endswith("reset_index() makes columns of it")
    assert "reset_index() makes columns" in refusal(
        frame.set_index("user_id").groupby(level=0).size()
    )
    kept = frame.set_index("user_id", drop=False)
    assert jaxrec.Dataset.from_frames(kept).users == 3


def test_the_id_of_items_is_what_names_most_of_the_interactions_items() -> None:
    rows = pl.DataFrame({"user": [1, 2, 3], "item": [11, 12, 13]})
    books = pl.DataFrame({"title": ["a", "b", "c"], "year": [11, 2000, 2001], "code": [13, 12, 11]})
    data = jaxrec.Dataset.from_frames(rows, books)
    assert data.item_ids.names.tolist() == [13, 12, 11]
    assert data.titles == ["a", "b", "c"]
    data = jaxrec.Dataset.from_frames(rows, books.rename({"year": "item"}))
    assert data.item_ids.names.tolist() == [13, 12, 11]


def test_a_column_that_counts_rows_does_not_stand_for_the_ids_of_that_name() -> None:
    rows = pl.DataFrame({"user": [1, 2, 3], "item": [0, 1, 2]})
    books = pl.DataFrame({"rank": [0, 1, 2], "item": [2, 1, 7], "title": ["a", "b", "c"]})
    data = jaxrec.Dataset.from_frames(rows, books)
    assert data.item_ids.names.tolist() == [2, 1, 7, 0]


def test_items_that_the_interactions_do_not_name_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    rows = pandas.DataFrame(ROWS)
    books = pandas.DataFrame({"title": ["Emma", "Ran"]}, index=["b", "a"])
    line = refusal(rows, books)
    assert line.startswith("items: title names no item of the interactions such as a; say")
    assert "item_columns=ItemColumns(id=NAME)" in line
    assert line.endswith("reset_index() makes columns of it")
    books.index.name = "item_id"
    assert refusal(rows, books) == "items: the item is in the index; give items.reset_index()"
    assert jaxrec.Dataset.from_frames(rows, books.reset_index()).titles[:2] == ["Emma", "Ran"]
    other = pl.DataFrame({"no": [1, 2], "title": ["Emma", "Ran"]})
    assert refusal(pl.DataFrame(ROWS), other, item_columns=ItemColumns("no")).startswith(
        "items: no names no item of the interactions"
    )
    assert refusal(pl.DataFrame(ROWS), pl.DataFrame()) == "items have no column of ids"
