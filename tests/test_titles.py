"""Titles by their words."""

from time import perf_counter

import numpy as np
import pytest

from jaxrec.titles import Titles

NAMES = ["Amélie (2001)", "The Godfather", "The Godfather: Part II", "Emma", "Emma"]


def titles_of(names: list[str], counts: list[int]) -> Titles:
    return Titles(names, np.array(counts))


@pytest.fixture
def titles() -> Titles:
    return titles_of(NAMES, [5, 3, 9, 1, 2])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("amelie", [0]),
        ("AMÉ", [0]),
        ("god", [2, 1]),
        ("part god", [2]),
        ("odfather", []),
        ("", [2, 0, 1, 4, 3]),
    ],
)
def test_words_begin_as_asked_the_best_known_first(
    titles: Titles, query: str, found: list[int]
) -> None:
    assert titles.starting(query, 10) == found


@pytest.mark.parametrize(
    ("asked", "found"),
    [("the godfather", [1]), ("amel", [0]), ("god", [2, 1]), ("Emma", [4, 3]), ("  ", [])],
)
def test_an_item_is_called_by_its_title_or_by_beginnings(
    titles: Titles, asked: str, found: list[int]
) -> None:
    assert titles.called(asked) == found


def test_what_is_misspelt_has_close_titles(titles: Titles) -> None:
    assert titles.close_to("Godfahter") == [2, 1]
    assert titles.close_to("xyz") == []


def test_a_large_catalogue_is_searched_at_once() -> None:
    names = [f"Title {n % 997} of the {n}" for n in range(100_000)]
    titles = titles_of(names, [1] * len(names))
    began = perf_counter()
    for _ in range(20):
        titles.starting("t o 5", 10)
    assert (perf_counter() - began) / 20 < 0.05
