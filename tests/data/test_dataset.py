"""What a data set says of itself, whatever its domain."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from jaxrec.data.dataset import Catalogue, Dataset, Interactions, Remarks
from jaxrec.data.features import item_features, item_texts
from jaxrec.data.feedback import Feedback
from jaxrec.data.ids import Ids
from jaxrec.errors import InputError

BOOKS = pl.DataFrame(
    {
        "name": ["Emma", None, "Dune"],
        "author": ["Austen", "Anon", None],
        "shelves": [["classic"], None, ["space", "sand"]],
        "pages": [474.0, 0.0, None],
    }
)
CATALOGUE = Catalogue(
    Ids(["978-0", "007", "7"], "item"),
    BOOKS,
    title="name",
    text="{name} by {author}. {pages} pages, {shelves}",
    categories=("shelves",),
    numbers={"pages": 100.0},
)


def shop(catalogue: Catalogue = CATALOGUE) -> Dataset:
    one, zero = np.ones(2, np.int32), np.zeros(2, np.int32)
    return Dataset(
        name="shop",
        source="a test",
        user_ids=Ids(["anna", "bert"], "user"),
        catalogue=catalogue,
        interactions=Interactions(zero, one, np.ones(2), np.zeros(2, np.int64)),
        feedback=Feedback("likes"),
        remarks=Remarks(zero[:1], zero[:1], ["Wit"], np.zeros(1, np.int64)),
    )


def test_a_text_is_the_template_filled_in() -> None:
    assert item_texts(shop()) == [
        "Emma by Austen. 474 pages, classic wit",
        "by Anon. 0 pages,",
        "Dune by .  pages, space sand",
    ]


def test_features_are_of_the_roles() -> None:
    features = item_features(CATALOGUE)
    norms = np.linalg.norm(features[:, 1:], axis=1) ** 2
    assert norms.tolist() == pytest.approx([2, 1, 1])  # number and shelves, number, shelves


def test_an_item_is_found_by_id_title_or_part_of_it() -> None:
    assert [CATALOGUE.find(asked) for asked in ("007", "7", "emma", "un")] == [1, 2, 0, 2]
    with pytest.raises(InputError, match="no item '9'; give an id or a part of a title"):
        CATALOGUE.find("9")
    with pytest.raises(InputError, match="'m' is ambiguous, give an id: 978-0 Emma; 7 Mm"):
        replace(CATALOGUE, table=BOOKS.with_columns(name=pl.Series(["Emma", None, "Mm"]))).find("m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "{title}"}, "no column 'title' of items; there are name, author"),
        ({"text": "book"}, "names no column"),
        ({"text": "{name"}, "is malformed"),
        ({"numbers": {"weight": 1.0}}, "no column 'weight'"),
    ],
)
def test_roles_of_columns_that_are_not_there_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CATALOGUE, **change)


def test_the_hash_knows_every_role_and_value() -> None:
    other = BOOKS.with_columns(author=pl.Series(["Austen", "Anon", "None"]))
    catalogues = [
        CATALOGUE,
        replace(CATALOGUE, numbers={"pages": 50.0}),
        replace(CATALOGUE, categories=()),
        replace(CATALOGUE, nameless="book"),
        replace(CATALOGUE, table=other),
        replace(CATALOGUE, ids=Ids(["978-0", "007", "8"], "item")),
    ]
    hashes = [shop(catalogue).sha256 for catalogue in catalogues]
    assert len(set(hashes)) == len(hashes)
    assert shop().sha256 == hashes[0]
