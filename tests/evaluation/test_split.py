import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from math import ceil
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset, Interactions
from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.evaluation.split import (
    NONE,
    Split,
    cold_user_split,
    leave_one_out_split,
    per_user_validation,
    published_split,
    published_validation,
    splitmix64,
    strict_split,
    temporal_split,
    temporal_user_split,
)
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
def test_published_validation_is_the_published_cut_of_train_with_the_next_seed(
    counts: list[int],
) -> None:
    ratings = ratings_of(counts)
    split = published_split(ratings)
    inner = published_validation(ratings, split, seed=42)
    assert sorted(np.concatenate(inner)) == sorted(split.train)
    for user in np.unique(ratings.users[split.train]):
        own = split.train[ratings.users[split.train] == user]
        held = int(np.ceil(0.1 * len(own)))
        order = np.random.RandomState(43).permutation(len(own))
        mine = inner.test[ratings.users[inner.test] == user]
        assert mine.tolist() == own[order[:held]].tolist()


def test_of_no_interactions_none_is_late() -> None:
    """A process of several may have none."""
    none = ratings_of([])
    assert [part.tolist() for part in temporal_user_split(none, everything(none))] == [[], [], []]
    with pytest.raises(InputError, match="all interactions to be cut are of one time"):
        temporal_split(none, everything(none))


def test_no_ratings_make_empty_parts() -> None:
    split = published_split(ratings_of([0]))
    assert [len(part) for part in split] == [0, 0, 0]


@pytest.mark.parametrize("seed", [0, 41])
def test_another_seed_is_another_split_with_another_hash(seed: int) -> None:
    ratings = ratings_of([40])
    assert published_split(ratings, seed).sha256() != published_split(ratings).sha256()


@st.composite
def some_interactions(draw: st.DrawFn) -> Interactions:
    """Few users, items and times, in any order."""
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, 4), st.integers(0, 14)), min_size=1, max_size=60, unique=True
        )
    )
    times = draw(st.lists(st.integers(-3, 3), min_size=len(pairs), max_size=len(pairs)))
    return make_ratings([(u, i, 4.0, t) for (u, i), t in zip(pairs, times, strict=True)])


NAMES = Ids([f"user {number}" for number in range(5)], "user")


def everything(ratings: Interactions) -> NDArray[np.int64]:
    return np.arange(len(ratings.users))


def numbers_of(state: int) -> Iterator[int]:
    """SplitMix64 as its authors write it, in whole numbers of Python."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


def test_the_generator_gives_the_numbers_that_are_published() -> None:
    """Of the state 1234567, as implementations in many languages are checked with."""
    seeds, places = np.full(3, 1234567, np.uint64), np.arange(3)
    assert splitmix64(seeds, places).tolist() == list(islice(numbers_of(1234567), 3))
    assert splitmix64(seeds, places)[0] == 6457827717110365317


@given(some_interactions(), st.integers(0, 1000))
def test_strict_by_the_rule_in_words(ratings: Interactions, seed: int) -> None:
    split = strict_split(ratings, NAMES, seed)
    key = hashlib.sha256(f"{seed} test".encode()).digest()
    for user in range(5):
        own = np.flatnonzero(ratings.users == user)
        name = hashlib.blake2b(f"user {user}".encode(), digest_size=8, key=key).digest()
        drawn = [z >> 32 for z in islice(numbers_of(int.from_bytes(name, "little")), len(own))]
        held = ceil(len(own) / 5) if len(own) >= 5 else 0
        order = own[np.array(sorted(range(len(own)), key=drawn.__getitem__), int)]
        assert split.test[ratings.users[split.test] == user].tolist() == order[:held].tolist()
        assert split.train[ratings.users[split.train] == user].tolist() == order[held:].tolist()


def test_the_strict_split_of_a_seed_is_for_ever() -> None:
    """The same on every platform and with every version of NumPy."""
    split = strict_split(ratings_of([10, 4, 10]), NAMES, 1)
    assert split.sha256() == "b74cd015d5eb2e0e225ac18d973d42631451df122c0154a4c4382c6dc397e51a"


def test_equal_draws_leave_the_order_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of four thousand million are seldom equal; here each second one is."""
    monkeypatch.setattr(
        "jaxrec.evaluation.split.splitmix64",
        lambda seed, place: (place % 2).astype(np.uint64) << np.uint64(63),
    )
    cut = strict_split(ratings_of([100, 100]), NAMES, 1)
    # the users take turns in the file, and of each one's every second is held out
    assert cut.test.tolist() == [*range(0, 80, 4), *range(1, 80, 4)]


def test_users_with_equally_many_interactions_have_orders_of_their_own() -> None:
    users = 50
    ratings = ratings_of([20] * users)
    test = ratings.at(strict_split(ratings, Ids(np.arange(users)), 1).test)
    held = {tuple(sorted(test.items[test.users == user])) for user in range(users)}
    assert len(held) > 0.9 * users


def test_a_file_sorted_by_stars_holds_out_all_of_them_alike() -> None:
    """Of 2000 users with ten interactions, the first of a user is the worst: ranks are drawn."""
    users = 2000
    ratings = ratings_of([10] * users)
    ranks = ratings.items[strict_split(ratings, Ids(np.arange(users)), 7).test]
    counts = np.bincount(ranks, minlength=10)
    assert counts.sum() == 2 * users
    assert np.abs(counts - users / 5).max() < 5 * np.sqrt(users * 0.2 * 0.8)


@given(some_interactions(), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_who_else_there_is_and_where_does_not_matter(
    ratings: Interactions, seed: int, random: Random
) -> None:
    """Other users come in another order and under other names; user 0 is cut as before."""
    order = np.array(random.sample(range(len(ratings.users)), len(ratings.users)))
    order[ratings.users[order] == 0] = np.flatnonzero(ratings.users == 0)
    others, place = Ids(["else", "user 0", "and", "more", "people"], "user"), [1, 4, 2, 0, 3]
    moved = ratings.at(order)
    moved = moved._replace(users=np.array(place, np.int32)[moved.users])
    for cut in (
        lambda data, names: strict_split(data, names, seed),
        lambda data, names: per_user_validation(data, Split(everything(data), NONE), names, seed),
        lambda data, names: leave_one_out_split(data, everything(data), names.draws(seed, "test")),
    ):
        before, after = ratings.at(cut(ratings, NAMES).test), moved.at(cut(moved, others).test)
        assert before.items[before.users == 0].tolist() == after.items[after.users == 1].tolist()


def test_a_number_and_its_text_are_cut_alike() -> None:
    ratings = ratings_of([30])
    as_number, as_text = (strict_split(ratings, Ids([name], "user"), 1) for name in (7, "7"))
    assert as_number.sha256() == as_text.sha256()


@given(some_interactions(), st.integers(0, 1000))
def test_validation_leaves_every_user_something_to_train_on(
    ratings: Interactions, seed: int
) -> None:
    inner = per_user_validation(ratings, Split(everything(ratings), NONE), NAMES, seed)
    assert sorted(np.concatenate(inner)) == everything(ratings).tolist()
    counts = np.bincount(ratings.users, minlength=5)
    held = np.bincount(ratings.users[inner.test], minlength=5)
    assert held.tolist() == [ceil(n / 10) if n > 3 else 0 for n in counts]


def nearest_cut(times: list[int], share: float) -> int | None:
    """How many of these are early: every boundary is tried, the later first."""
    ordered = sorted(times)
    wanted = len(times) - ceil(share * len(times))
    cuts = [at for at in range(1, len(times)) if ordered[at - 1] < ordered[at]]
    return min(reversed(cuts), key=lambda at: abs(at - wanted), default=None)


@given(some_interactions(), st.sampled_from([0.2, 0.1]))
def test_temporal_cuts_between_times_nearest_to_the_share(
    ratings: Interactions, share: float
) -> None:
    times = ratings.times
    assert times is not None
    cut = nearest_cut(times.tolist(), share)
    if cut is None:
        with pytest.raises(InputError, match="of one time; give --protocol strict"):
            temporal_split(ratings, everything(ratings), share)
        return
    split = temporal_split(ratings, everything(ratings), share)
    assert sorted(np.concatenate(split)) == everything(ratings).tolist()
    assert len(split.train) == cut
    assert times[split.train].max() < times[split.test].min()


@given(some_interactions(), st.sampled_from([(0.2, 5), (0.1, 2)]))
def test_temporal_user_cuts_each_user_s_own_times(
    ratings: Interactions, rule: tuple[float, int]
) -> None:
    share, fewest = rule
    times = ratings.times
    assert times is not None
    own = [times[ratings.users == user] for user in range(5)]
    cuts = [nearest_cut(of.tolist(), share) if len(of) >= fewest else None for of in own]
    split = temporal_user_split(ratings, everything(ratings), share, fewest)
    assert sorted(np.concatenate(split)) == everything(ratings).tolist()
    for user, cut in enumerate(cuts):
        train, test = (times[p[ratings.users[p] == user]] for p in (split.train, split.test))
        assert len(train) == (len(own[user]) if cut is None else cut)
        if cut is not None:
            assert train.max() < test.min()


def test_of_two_cuts_as_near_the_later_wins() -> None:
    """Of ten the cut wanted is before the ninth, and to be had are the eighth and the tenth."""
    ratings = make_ratings([(0, i, 4.0, t) for i, t in enumerate([1] * 7 + [2] * 2 + [3])])
    assert temporal_split(ratings, everything(ratings)).test.tolist() == [9]


@given(some_interactions(), st.booleans(), st.integers(0, 1000), st.sampled_from([5, 2]))
def test_leave_one_out_by_the_rule_in_words(
    ratings: Interactions, timed: bool, seed: int, fewest: int
) -> None:
    """The latest is test; of the latest, or of all without times, the one that draws the least."""
    times = ratings.times if timed else None
    ratings = ratings._replace(times=times)
    positions = everything(ratings)[: 2 * len(ratings.users) // 3 + 1]
    split = leave_one_out_split(ratings, positions, NAMES.draws(seed, "test"), fewest)
    assert sorted(np.concatenate(split)) == positions.tolist()
    for user, key in enumerate(NAMES.draws(seed, "test").tolist()):
        own = positions[ratings.users[positions] == user].tolist()
        drawn = dict(zip(own, (z >> 32 for z in numbers_of(key)), strict=False))
        late = own if times is None else [at for at in own if times[at] == max(times[own])]
        held = [min(late, key=drawn.__getitem__)] if len(own) >= fewest else []
        assert split.test[ratings.users[split.test] == user].tolist() == held


@pytest.mark.parametrize("cut", [temporal_split, temporal_user_split])
def test_without_times_there_is_no_cut_by_them(cut: Callable[..., Split]) -> None:
    ratings = ratings_of([9])._replace(times=None)
    with pytest.raises(InputError, match="no times to cut by; give --protocol strict"):
        cut(ratings, everything(ratings))


@given(some_interactions(), st.integers(0, 1000))
def test_a_cold_user_s_half_is_drawn_for_her_alone(ratings: Interactions, seed: int) -> None:
    split = cold_user_split(ratings, everything(ratings), NAMES, seed)
    assert sorted(np.concatenate(split)) == everything(ratings).tolist()
    given_, test = (np.bincount(ratings.users[p], minlength=5) for p in (split.given, split.test))
    for user in set(ratings.users[split.given]):
        n = given_[user] + test[user]
        assert test[user] == (ceil(n / 2) if n > 1 else 0)
