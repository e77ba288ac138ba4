"""Protocols beside the published one: what is held out, who may be ranked what."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset, Interactions, Remarks
from jaxrec.data.features import item_texts
from jaxrec.data.feedback import Feedback
from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.evaluation.protocol import PROTOCOLS, Protocol, readable_remarks
from jaxrec.evaluation.split import (
    FOLDS,
    Split,
    cold_item_split,
    cold_user_split,
    pair_validation,
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
    return make_ratings([(u, i, 4.0, 0) for u, i in pairs])


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
    split = cold_user_split(ratings, np.arange(len(ratings.users)), Ids(np.arange(10)), seed)
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


@pytest.mark.parametrize("name", OURS)
def test_a_protocol_says_whether_seeds_cut_otherwise(synthetic: Dataset, name: str) -> None:
    times = synthetic.interactions.times
    assert times is not None
    tied = replace(synthetic, interactions=synthetic.interactions._replace(times=times // 300))
    first, other = (Protocol.of(name, tied, seed).split.sha256() for seed in (3, 4))
    assert (first != other) == PROTOCOLS[name].seeded


@pytest.mark.parametrize("name", ["strict", "temporal-user", "leave-one-out"])
def test_validation_is_of_users_who_know_as_much_as_those_who_are_tested(name: str) -> None:
    """One of five interactions is test, which leaves four."""
    data = _with_tags([(u, i, 5.0, i) for u, n in enumerate((3, 4, 5)) for i in range(n)])
    protocol = Protocol.of(name, data, 1)
    (inner,) = protocol.validation_splits(data)
    users = data.interactions.users
    assert np.bincount(users[protocol.split.test], minlength=3).tolist() == [0, 0, 1]
    assert np.bincount(users[inner.test], minlength=3).tolist() == [0, 1, 1]


def test_published_ranks_what_was_trained_on(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset([(0, i, 5.0, i) for i in range(5)], users=1, items=7)
    protocol = Protocol.of("published", data, 42)
    task = evaluation_task(data, protocol)
    assert sorted(np.flatnonzero(task.catalogue)) == sorted(protocol.split.train)


def test_validation_of_cold_items_and_users_is_drawn_by_the_next_seed(synthetic: Dataset) -> None:
    ratings = synthetic.interactions
    items, users = (Protocol.of(name, synthetic, 3) for name in ("cold-items", "cold-users"))
    by_hand = [cold_item_split(ratings, items.split.train, 4, fold) for fold in range(FOLDS)]
    by_hand.append(cold_user_split(ratings, users.split.train, synthetic.user_ids, 4))
    found = [*items.validation_splits(synthetic), *users.validation_splits(synthetic)]
    assert [split.sha256() for split in found] == [split.sha256() for split in by_hand]


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


def test_calibration_holds_out_each_warm_rating_by_its_own_pair(synthetic: Dataset) -> None:
    """Whatever the others are: an encoder that must not know these learns nothing from the draw."""
    protocol = Protocol.of("cold-items", synthetic, 3)
    everything = protocol.calibration_split(synthetic)
    warm = protocol.validation_splits(synthetic)[0].train
    held = np.isin(warm, everything.test)
    assert 0.08 < held.mean() < 0.12
    ids = synthetic.user_ids, synthetic.item_ids
    half = pair_validation(synthetic.interactions, Split(warm[::2], warm[:0]), *ids, 3)
    np.testing.assert_array_equal(half.test, warm[::2][held[::2]])


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


def test_validation_of_leave_one_out_is_the_latest_before_the_test() -> None:
    data = _with_tags([(u, i, 5.0, 7 * i % 10) for u in range(6) for i in range(10)])
    protocol = Protocol.of("leave-one-out", data, 1)
    (inner,) = protocol.validation_splits(data)
    assert _times_of(data, protocol.split.test).tolist() == [9] * 6
    assert _times_of(data, inner.test).tolist() == [8] * 6
    others = (Protocol.of("leave-one-out", data, seed).split.test for seed in (2, 3))
    assert all(sorted(test) == sorted(protocol.split.test) for test in others)


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
    late = _with_tags([(u, i, 5.0, 10 * u + i) for u in range(6) for i in range(10)], turned=True)
    protocol = Protocol.of("temporal", late, 1)
    cut = _times_of(late, protocol.validation_splits(late)[0].test).min()
    readable = readable_remarks(late, protocol)
    assert late.remarks.times is not None
    assert readable.any()
    assert (late.remarks.times[readable] < cut).all()


def test_under_temporal_user_each_author_s_own_time_counts() -> None:
    """Users rate one after the other; what one tags late is before anything of the next one."""
    late = _with_tags([(u, i, 5.0, 100 * u + i) for u in range(6) for i in range(10)])
    users, times = late.remarks.users, late.remarks.times
    assert times is not None
    # on a pair nobody holds out, but written when her test has begun; and by one without ratings
    more = late.remarks._replace(
        users=np.concatenate([users, [2, 2, -1]]).astype(np.int32),
        items=np.concatenate([late.remarks.items, [0, 0, 0]]).astype(np.int32),
        words=[*late.remarks.words, "after", "before", "nobody"],
        times=np.concatenate([times, [208, 200, 10_000]]),
    )
    late = replace(late, remarks=more)
    protocol = Protocol.of("temporal-user", late, 1)
    (inner,) = protocol.validation_splits(late)
    held = np.concatenate([protocol.split.test, inner.test])
    assert sorted(held) == [10 * u + i for u in range(6) for i in (7, 8, 9)]
    read = np.array(more.words)[readable_remarks(late, protocol)].tolist()
    tags = [f"tag{u}x{i}" for u in range(6) for i in range(7)]
    assert read == [*tags, "before", "nobody"]


@pytest.mark.parametrize("name", ["temporal", "temporal-user", "leave-one-out"])
def test_where_times_are_cut_no_remark_without_one_is_read(name: str) -> None:
    data = _with_tags([(u, i, 5.0, 10 * u + i) for u in range(6) for i in range(10)])
    data = replace(data, remarks=data.remarks._replace(times=None))
    assert not readable_remarks(data, Protocol.of(name, data, 1)).any()
    assert readable_remarks(data, Protocol.of("strict", data, 1)).any()


def _times_of(dataset: Dataset, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    times = dataset.interactions.times
    assert times is not None
    return times[positions]


def _with_tags(rows: list[tuple[int, int, float, int]], turned: bool = False) -> Dataset:
    """Every pair has a tag of its time, or of the times `turned` round."""
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
            np.array([row[3] for row in rows])[:: -1 if turned else 1],
        ),
    )


def test_data_of_which_nothing_is_held_out_are_refused_but_not_a_part_of_others() -> None:
    """A process may have users alone who are too short to be cut."""
    data = _with_tags([(user, user, 4.0, user) for user in range(6)])
    with pytest.raises(InputError, match="no user has 5 interactions of different times"):
        Protocol.of("temporal-user", data, 1)
    split = Protocol.of("temporal-user", data, 1, part=True).split
    assert (len(split.train), len(split.test)) == (6, 0)


def test_an_unknown_protocol_is_refused_with_those_that_there_are(synthetic: Dataset) -> None:
    with pytest.raises(InputError, match=r"no protocol 'warm'; there are strict, "):
        Protocol.of("warm", synthetic, 1)


def test_items_are_cold_under_one_protocol_alone() -> None:
    assert {name: rules.cold_items for name, rules in PROTOCOLS.items()} == {
        name: name == "cold-items" for name in PROTOCOLS
    }


def test_a_fold_that_is_not_there_is_refused(synthetic: Dataset) -> None:
    with pytest.raises(InputError, match="no fold 5 of protocol cold-items"):
        Protocol.of("cold-items", synthetic, 1, fold=5)
    with pytest.raises(InputError, match="no fold 1 of protocol strict"):
        Protocol.of("strict", synthetic, 1, fold=1)


@pytest.mark.parametrize(("kind", "value"), [("likes", 1.0), ("counts", 7.0)])
@pytest.mark.parametrize("name", ["strict", "cold-items", "cold-users"])
def test_likes_and_counts_without_times_are_cut_and_judged(
    synthetic: Dataset, name: str, kind: str, value: float
) -> None:
    values = np.full(len(synthetic.interactions.users), value)
    data = replace(
        synthetic,
        interactions=synthetic.interactions._replace(values=values, times=None),
        remarks=synthetic.remarks._replace(times=None),
        feedback=Feedback.of(kind, values),
    )
    protocol = Protocol.of(name, data, 1)
    inner = [task for _, task in validation_tasks(data, protocol)]
    for task in (evaluation_task(data, protocol), *inner):
        assert task.relevant.lengths.sum() > 0
    assert "rating" not in " ".join(map(str, evaluation_task(data, protocol).card.values()))


def test_published_takes_stars_alone(synthetic: Dataset) -> None:
    likes = replace(synthetic, feedback=Feedback("likes"))
    with pytest.raises(InputError, match="published takes stars, and these are likes; take strict"):
        Protocol.of("published", likes, 42)


@pytest.mark.parametrize("name", OURS)
def test_nobody_is_judged_on_nothing(make_dataset: Callable[..., Dataset], name: str) -> None:
    """Half the users have one interaction, all of them in all liked; who is judged is known."""
    rows = [(u, (u + i) % 12, 5.0, 10 * u + i) for u in range(6) for i in range(10)]
    rows += [(u, u % 12, 5.0, 1000 + u) for u in range(6, 12)]
    data = make_dataset(rows, users=12, items=12)
    protocol = Protocol.of(name, data, 1)
    task = evaluation_task(data, protocol)
    judged = task.relevant.lengths > 0
    assert judged.any()
    assert (task.seen.lengths[judged] > 0).all()
    assert task.card["users_evaluated"] == judged.sum()
    assert task.card["users_excluded"] == 12 - judged.sum()
    for _, inner in validation_tasks(data, protocol):
        assert (inner.seen.lengths[inner.relevant.lengths > 0] > 0).all()


def test_equal_scores_have_an_order_of_the_items_names(synthetic: Dataset) -> None:
    """It is no other if the catalogue is turned round, and another one for another seed."""

    def names(data: Dataset, seed: int) -> list[int]:
        order = evaluation_task(data, Protocol.of("strict", data, seed)).tie_order
        assert order is not None
        return data.item_ids[order].tolist()

    catalogue, interactions = synthetic.catalogue, synthetic.interactions
    turned = replace(
        synthetic,
        catalogue=replace(
            catalogue, ids=Ids(catalogue.ids.names[::-1], "item"), table=catalogue.table[::-1]
        ),
        interactions=interactions._replace(
            items=(synthetic.items - 1 - interactions.items).astype(np.int32)
        ),
    )
    assert names(synthetic, 1) == names(turned, 1) != names(synthetic, 2)
    assert sorted(names(synthetic, 1)) == sorted(synthetic.item_ids.names.tolist())


def test_published_leaves_equal_scores_to_the_lower_item(synthetic: Dataset) -> None:
    task = evaluation_task(synthetic, Protocol.of("published", synthetic, 42))
    assert task.tie_order is None
    assert task.card["ties"] == "higher score, then lower item index"


def made() -> Dataset:
    """12 users with 9 interactions each; the first has written of an item she has not, long ago."""
    pairs = [
        (u, (7 * u + 3 * n) % 23, 4.0, u // 6 * 2 + n % 3) for u in range(12) for n in range(9)
    ]
    return Dataset(
        name="made",
        source="a test",
        user_ids=Ids([f"user {number}" for number in range(12)], "user"),
        catalogue=films(list(range(1, 24)), ["Film (2000)"] * 23, ["Drama"] * 23),
        interactions=make_ratings(pairs),
        feedback=STARS,
        remarks=Remarks(np.array([0], np.int32), np.array([2], np.int32), ["dark"], np.array([-9])),
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_remark_on_what_is_held_out_of_nobody_is_read_unless_items_are_cold(name: str) -> None:
    """Of items that are cold there is none, and their neighbours' texts are to be like theirs."""
    data = made()
    cut = Protocol.of(name, data, 3)
    assert readable_remarks(data, cut).tolist() == [name != "cold-items"]


def parts(name: str) -> str:
    """Hashes of all cuts of some data, their first digits."""
    data = made()
    protocol = Protocol.of(name, data, 3, fold=PROTOCOLS[name].folds - 1)
    cuts = [protocol.split, *protocol.validation_splits(data)]
    if protocol.rules.cold_items:
        cuts.append(protocol.calibration_split(data))
    return " ".join(cut.sha256()[:6] for cut in cuts)


FOR_EVER = {
    "strict": "0f887b 07cf12",
    "published": "4aaca5 22c0a6",
    "temporal": "b2b623 0051ee",
    "temporal-user": "f03ff2 f8b7a3",
    "leave-one-out": "f96adf 808d23",
    "cold-items": "d39235 aebd14 1aa872 371c8f 120113 0b34ea e9fc55",
    "cold-users": "25f18c 1c593b",
}
"""The cut, those inside it, and where items are cold the one that calibrates."""


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_a_seed_holds_out_is_for_ever(name: str) -> None:
    """Figures of one version are compared with those of the next."""
    assert parts(name) == FOR_EVER[name]
