import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrec.data.dataset import Dataset, Interactions
from jaxrec.evaluation.split import per_user_validation, published_split
from tests.conftest import make_ratings


def ratings_of(counts: list[int]) -> Interactions:
    """Users with so many ratings each, interleaved in file order."""
    rows = [(u, i, 3.0, i) for u, n in enumerate(counts) for i in range(n)]
    return make_ratings(sorted(rows, key=lambda row: (row[1], row[0])))


def test_the_published_split_comes_back(movielens: Dataset) -> None:
    split = published_split(movielens.interactions)
    assert len(split.train) == 80_419
    assert len(split.test) == 20_417
    assert len(np.unique(movielens.interactions.items[split.train])) == 8_965


def test_one_user_by_the_rule_in_words() -> None:
    ratings = ratings_of([7])
    order = np.random.RandomState(42).permutation(7)
    split = published_split(ratings)
    assert split.test.tolist() == order[:2].tolist()  # ceil(1.4)
    assert split.train.tolist() == order[2:].tolist()


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 2**31 - 1))
def test_parts_are_disjoint_and_hold_every_user_with_five_ratings(
    counts: list[int], seed: int
) -> None:
    ratings = ratings_of(counts)
    split = published_split(ratings, seed)
    used = np.concatenate(split)
    assert len(np.unique(used)) == len(used) == sum(n for n in counts if n >= 5)
    in_test = np.bincount(ratings.users[split.test], minlength=len(counts))
    assert in_test.tolist() == [int(np.ceil(0.2 * n)) if n >= 5 else 0 for n in counts]


@given(st.lists(st.integers(5, 12), min_size=2, max_size=5))
def test_a_user_is_cut_alike_whoever_else_there_is(counts: list[int]) -> None:
    def test_items(counts: list[int]) -> list[int]:
        ratings = ratings_of(counts)
        test = ratings.at(published_split(ratings).test)
        return test.items[test.users == 0].tolist()

    assert test_items(counts) == test_items(counts[:1])


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8))
def test_validation_is_cut_from_train_alone(counts: list[int]) -> None:
    ratings = ratings_of(counts)
    split = published_split(ratings)
    inner = per_user_validation(ratings, split, seed=42)
    assert sorted(np.concatenate(inner)) == sorted(split.train)
    assert not set(inner.test) & set(split.test)
    held_out = np.bincount(ratings.users[inner.test], minlength=len(counts))
    train = np.bincount(ratings.users[split.train], minlength=len(counts))
    assert held_out.tolist() == np.ceil(0.1 * train).astype(int).tolist()


def test_no_ratings_make_empty_parts() -> None:
    split = published_split(ratings_of([0]))
    assert [len(part) for part in split] == [0, 0, 0]


@pytest.mark.parametrize("seed", [0, 41])
def test_another_seed_is_another_split_with_another_hash(seed: int) -> None:
    ratings = ratings_of([40])
    assert published_split(ratings, seed).sha256() != published_split(ratings).sha256()
