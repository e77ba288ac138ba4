"""Protocols beside the published one: what is held out, who may be ranked what."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.data.dataset import Dataset, Interactions, Remarks
from jaxrec.data.ids import Ids
from jaxrec.data.texts import item_texts
from jaxrec.errors import InputError
from jaxrec.evaluation.protocol import PROTOCOLS, Protocol, readable_remarks
from jaxrec.evaluation.split import (
    FOLDS,
    cold_item_split,
    cold_user_split,
    strict_split,
    temporal_split,
)
from jaxrec.evaluation.task import calibration_task, evaluation_task, unseen_task, validation_tasks
from jaxrec.sources.synthetic import STARS, films
from tests.conftest import make_ratings

OURS = [name for name in PROTOCOLS if name != "published"]


@st.composite
def some_ratings(draw: st.DrawFn) -> Interactions:
    pairs = draw(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 14)), min_size=1, unique=True)
    )
    times = draw(st.lists(st.integers(0, 5), min_size=len(pairs), max_size=len(pairs)))
    return make_ratings([(u, i, 4.0, t) for (u, i), t in zip(pairs, times, strict=True)])


@given(some_ratings(), st.integers(0, 1000))
def test_strict_keeps_every_rating_and_holds_out_a_fifth_of_each_user(
    ratings: Interactions, seed: int
) -> None:
    split = strict_split(ratings, seed)
    assert sorted(np.concatenate(split)) == list(range(len(ratings.users)))
    counts = np.bincount(ratings.users, minlength=10)
    held = np.bincount(ratings.users[split.test], minlength=10)
    assert held.tolist() == [int(np.ceil(0.2 * n)) if n >= 5 else 0 for n in counts]


@given(some_ratings())
def test_temporal_holds_out_the_latest_fifth(ratings: Interactions) -> None:
    split = temporal_split(ratings, np.arange(len(ratings.users)))
    assert len(split.test) == int(np.ceil(0.2 * len(ratings.users)))
    assert sorted(np.concatenate(split)) == list(range(len(ratings.users)))
    if len(split.train):
        assert ratings.times[split.train].max() <= ratings.times[split.test].min()


@given(some_ratings(), st.integers(0, 1000))
def test_every_item_is_cold_once(ratings: Interactions, seed: int) -> None:
    everything = np.arange(len(ratings.users))
    folds = [cold_item_split(ratings, everything, seed, fold) for fold in range(FOLDS)]
    assert sorted(np.concatenate([split.test for split in folds])) == everything.tolist()
    for split in folds:
        assert not set(ratings.items[split.train]) & set(ratings.items[split.test])
        assert len(split.train) + len(split.test) == len(everything)


@given(some_ratings(), st.integers(0, 1000))
def test_a_cold_user_is_not_trained_on_and_half_given(ratings: Interactions, seed: int) -> None:
    split = cold_user_split(ratings, np.arange(len(ratings.users)), seed)
    assert sorted(np.concatenate(split)) == list(range(len(ratings.users)))
    cold = set(ratings.users[split.given]) | set(ratings.users[split.test])
    assert len(cold) == np.ceil(0.2 * len(np.unique(ratings.users)))
    assert not cold & set(ratings.users[split.train])
    given_, test = (np.bincount(ratings.users[p], minlength=10) for p in (split.given, split.test))
    for user in cold:
        n = given_[user] + test[user]
        assert test[user] == (np.ceil(n / 2) if n > 1 else 0)


@pytest.mark.parametrize("name", OURS)
def test_validation_is_cut_from_train_alone(synthetic: Dataset, name: str) -> None:
    protocol = Protocol.of(name, synthetic, 3)
    for inner in protocol.validation_splits(synthetic):
        assert sorted(np.concatenate(inner)) == sorted(protocol.split.train)
        assert len(inner.test)
        assert len(inner.train)


def test_every_warm_item_is_cold_in_one_inner_fold(synthetic: Dataset) -> None:
    protocol = Protocol.of("cold-items", synthetic, 3, fold=1)
    tests = [inner.test for inner in protocol.validation_splits(synthetic)]
    assert sorted(np.concatenate(tests)) == sorted(protocol.split.train)


def test_calibration_holds_out_warm_ratings_and_cold_items(synthetic: Dataset) -> None:
    protocol = Protocol.of("cold-items", synthetic, 3)
    split, task = calibration_task(synthetic, protocol)
    assert sorted(np.concatenate(split)) == sorted(protocol.split.train)
    assert task.catalogue.all()
    rated = task.item_counts[task.relevant.items] > 0
    assert 0 < rated.sum() < len(rated)


@pytest.mark.parametrize("name", OURS)
def test_nothing_known_is_to_be_found(synthetic: Dataset, name: str) -> None:
    protocol = Protocol.of(name, synthetic, 3)
    inner = [task for _, task in validation_tasks(synthetic, protocol)]
    for task in (evaluation_task(synthetic, protocol), *inner):
        assert task.relevant.lengths.sum() > 0
        for user in range(synthetic.users):
            seen, relevant = (
                set(rows.items[rows.starts[user] : rows.starts[user + 1]])
                for rows in (task.seen, task.relevant)
            )
            assert not seen & relevant
        assert task.catalogue[task.relevant.items].all()


def test_cold_items_have_two_sets_of_candidates(synthetic: Dataset) -> None:
    protocol = Protocol.of("cold-items", synthetic, 1, fold=2)
    task, unseen = evaluation_task(synthetic, protocol), unseen_task(synthetic, protocol)
    warm = np.unique(synthetic.interactions.items[protocol.split.train])
    assert not task.catalogue[warm].any()
    assert unseen.catalogue.all()
    assert task.item_counts[task.catalogue].sum() == 0


def test_strict_may_recommend_what_nobody_rated(synthetic: Dataset) -> None:
    assert evaluation_task(synthetic, Protocol.of("strict", synthetic, 1)).catalogue.all()


def test_temporal_leaves_out_users_without_a_past(make_dataset: Callable[..., Dataset]) -> None:
    rows = [(0, i, 5.0, i) for i in range(8)] + [(1, 0, 5.0, 100), (1, 1, 5.0, 101)]
    dataset = make_dataset(rows, users=2, items=8)
    task = evaluation_task(dataset, Protocol.of("temporal", dataset, 1))
    assert task.relevant.lengths.tolist() == [0, 0]


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_a_held_out_tag_never_reaches_a_text(name: str, seed: int) -> None:
    """Every rating's author also tags the film, with a word that names the pair."""
    rng = np.random.default_rng(seed)
    users, items = np.divmod(rng.permutation(60)[:40], 10)
    rows = list(zip(users.tolist(), items.tolist(), [5.0] * 40, range(40), strict=True))
    dataset = _with_tags(rows)
    protocol = Protocol.of(name, dataset, seed)
    texts = item_texts(dataset, readable_remarks(dataset, protocol))
    ratings = dataset.interactions
    held = [protocol.split.test, protocol.validation_splits(dataset)[0].test]
    for position in np.concatenate(held):
        user, item = ratings.users[position], ratings.items[position]
        assert f"tag{user}x{item}" not in texts[item].split()
    if name != "cold-items":
        kept = sum(text.count("tag") for text in texts)
        assert kept == len(ratings.users) - sum(map(len, held))


def test_under_temporal_no_tag_of_a_later_time_is_read() -> None:
    """Not even one on a pair that nobody holds out."""
    dataset = _with_tags([(u, i, 5.0, 10 * u + i) for u in range(6) for i in range(10)])
    tags = dataset.remarks._replace(times=dataset.remarks.times[::-1])
    late = replace(dataset, remarks=tags)
    protocol = Protocol.of("temporal", late, 1)
    validation = protocol.validation_splits(late)[0].test
    cut = late.interactions.times[validation].min()
    readable = readable_remarks(late, protocol)
    assert readable.any()
    assert (tags.times[readable] < cut).all()


def _with_tags(rows: list[tuple[int, int, float, int]]) -> Dataset:
    return Dataset(
        name="tiny",
        source="a test",
        user_ids=Ids(np.arange(6), "user"),
        catalogue=films(list(range(10)), [f"Film {i} (2000)" for i in range(10)], ["Drama"] * 10),
        interactions=make_ratings(rows),
        feedback=STARS,
        remarks=Remarks(
            np.array([row[0] for row in rows], np.int32),
            np.array([row[1] for row in rows], np.int32),
            [f"tag{row[0]}x{row[1]}" for row in rows],
            np.array([row[3] for row in rows]),
        ),
    )


def test_a_fold_that_is_not_there_is_refused(synthetic: Dataset) -> None:
    with pytest.raises(InputError, match="no fold 5 of protocol cold-items"):
        Protocol.of("cold-items", synthetic, 1, fold=5)
    with pytest.raises(InputError, match="no fold 1 of protocol strict"):
        Protocol.of("strict", synthetic, 1, fold=1)
