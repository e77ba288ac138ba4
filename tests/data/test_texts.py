from collections.abc import Callable

import polars as pl

from jaxrec.data.columns import ItemColumns
from jaxrec.data.dataset import Dataset
from jaxrec.data.features import item_texts


def test_texts_by_hand(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset(
        [(0, 0, 4.0, 0)],
        users=1,
        items=5,
        titles=["Heat (1995)", "Seven (a.k.a. Se7en) (1995)", "Ran", " (1999)", "Up (2009)"],
        genres=["Crime|Drama", "Crime", "(no genres listed)", "(no genres listed)", "Drama"],
        tags=((0, 4, "Balloons"), (-1, 0, "Al Pacino"), (0, 0, "HEIST"), (0, 0, "heist")),
    )
    assert item_texts(data, published=True) == [
        "Heat Crime Drama al pacino heist heist",
        "Seven (a.k.a. Se7en) Crime",
        "Ran",
        "movie",
        "Up Drama balloons",
    ]


def test_our_own_texts_keep_the_year(make_dataset: Callable[..., Dataset]) -> None:
    titles = ["Heat (1995)", "Seven (a.k.a. Se7en) (1995)", " "]
    genres = ["Crime|Drama", "(no genres listed)", "(no genres listed)"]
    data = make_dataset([(0, 0, 4.0, 0)], users=1, items=3, titles=titles, genres=genres)
    assert item_texts(data) == [
        "Heat (1995) Crime Drama",
        "Seven (a.k.a. Se7en) (1995)",
        "movie",
    ]


def test_every_film_has_a_text(movielens: Dataset) -> None:
    texts = item_texts(movielens, published=True)
    assert len(texts) == 9_742
    assert texts[0] == "Toy Story Adventure Animation Children Comedy Fantasy pixar pixar fun"
    assert all(texts)


def test_braces_hold_the_name_of_a_column_as_it_is() -> None:
    items = pl.DataFrame({"id": [1, 2], "at.x": ["a", None], "b [m]": [1.5, 2.0]})
    columns = ItemColumns("id", title="at.x", text="{{{at.x}}} {b [m]}")
    pairs = pl.DataFrame({"user": [1, 1], "item": [1, 2]})
    data = Dataset.from_frames(pairs, items, item_columns=columns)
    assert item_texts(data) == ["{a} 1.5", "{} 2.0"]
