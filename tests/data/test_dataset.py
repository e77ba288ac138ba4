"""What a data set says of itself, whatever its domain."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrec.data.dataset import Catalogue, Dataset, Interactions, Remarks, in_core
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


@pytest.mark.parametrize(
    ("asked", "close"), [("Emna", "978-0 Emma"), ("emma and dunn", "978-0 Emma; 7 Dune")]
)
def test_an_item_that_is_misspelt_has_close_titles(asked: str, close: str) -> None:
    told = f"^no item '{asked}'; give an id or a part of a title; close to it: {close}$"
    with pytest.raises(InputError, match=told):
        CATALOGUE.find(asked)


def test_an_item_is_found_by_id_title_or_part_of_it() -> None:
    assert [CATALOGUE.find(asked) for asked in ("007", "7", "emma", "un")] == [1, 2, 0, 2]
    with pytest.raises(InputError, match=r"no item '9'; give an id or a part of a title$"):
        CATALOGUE.find("9")
    with pytest.raises(InputError, match="no item '97'"):  # of 1978, an id that is not there
        replace(CATALOGUE, table=BOOKS.with_columns(name=pl.Series(["(1978)", None, ""]))).find(
            "97"
        )
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


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6))), st.integers(0, 4))
def test_the_core_is_what_is_left_when_one_after_the_other_goes(
    pairs: set[tuple[int, int]], k: int
) -> None:
    """One user or item at a time, by hand."""
    ordered, left = sorted(pairs, key=hash), set(pairs)
    while True:
        few = [
            {pair for pair in left if pair[side] == one}
            for side in (0, 1)
            for one in range(7)
            if 0 < sum(pair[side] == one for pair in left) < k
        ]
        if not few:
            break
        left -= few[0]
    users, items = (np.array([pair[side] for pair in ordered], np.int32) for side in (0, 1))
    assert in_core(users, items, k).tolist() == [pair in left for pair in ordered]


def fans() -> Dataset:
    """Anna and carl have the same two books; bert has one that nobody else has."""
    return replace(
        shop(),
        user_ids=Ids(["anna", "bert", "carl"], "user"),
        interactions=Interactions(
            np.array([2, 0, 1, 0, 2], np.int32),
            np.array([0, 0, 1, 2, 2], np.int32),
            np.arange(1.0, 6),
            np.arange(5),
        ),
        remarks=Remarks(
            np.array([-1, 2, 1, 1], np.int32),
            np.array([0, 2, 0, 1], np.int32),
            ["Wit", "Dry", "No", "Far"],
            np.arange(4),
        ),
        mended=("one line",),
    )


def test_a_data_set_is_cut_to_its_core() -> None:
    core = fans().to_core(2)
    assert core.user_ids.names.tolist() == ["anna", "carl"]
    assert core.item_ids.names.tolist() == ["978-0", "7"]
    assert core.titles == ["Emma", "Dune"]
    found = core.interactions
    assert found.users.tolist() == [1, 0, 0, 1]
    assert found.items.tolist() == [0, 0, 1, 1]
    assert found.values.tolist() == [1, 2, 4, 5]
    assert found.times is not None
    assert found.times.tolist() == [0, 1, 3, 4]
    remarks = core.remarks
    assert remarks.users.tolist() == [-1, 1, -1]  # bert has no interactions now
    assert remarks.items.tolist() == [0, 1, 0]
    assert remarks.words == ["Wit", "Dry", "No"]
    assert remarks.times is not None
    assert remarks.times.tolist() == [0, 1, 2]
    line = "core 2: 1 of 5 interactions, 1 of 3 users and 1 of 3 items are left out"
    assert core.mended == ("one line", line)
    assert core.sha256 != fans().sha256
    assert core.to_core(2).sha256 == core.sha256


def test_an_empty_core_is_one_line() -> None:
    with pytest.raises(InputError, match="core 3 leaves nothing of shop: no users and items"):
        fans().to_core(3)
