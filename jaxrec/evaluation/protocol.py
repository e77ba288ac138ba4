"""Evaluation protocols: what is held out, who is ranked what, and the card that says so."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset
from jaxrec.errors import InputError
from jaxrec.evaluation.split import (
    FEWEST_RATINGS,
    FOLDS,
    VALIDATION_SHARE,
    Split,
    cold_item_split,
    cold_user_split,
    per_user_validation,
    published_split,
    strict_split,
    temporal_split,
)
from jaxrec.topk.item_sets import ItemSets

PROTOCOLS = ("strict", "published", "temporal", "cold-items", "cold-users")
"""The first is the default."""

SPLIT_RULES = {
    "strict": (
        f"per user (at least {FEWEST_RATINGS} ratings, others stay in train), first ceil(0.2 n) of"
        " RandomState({seed}).permutation(n) are test"
    ),
    "published": (
        f"per user (at least {FEWEST_RATINGS} ratings), first ceil(0.2 n) of"
        " RandomState({seed}).permutation(n) are test"
    ),
    "temporal": "the latest 20 % of all ratings are test",
    "cold-items": (
        f"fold {{fold}} of {FOLDS} over the items that have ratings, permuted by"
        " RandomState({seed}): all ratings of its items are test"
    ),
    "cold-users": (
        "20 % of the users, by RandomState({seed}), are not trained on: half of each one's ratings"
        " are given when asked, half are test"
    ),
}
EXCLUDED = {"temporal": "no relevant item, or no train rating"}


class Task(NamedTuple):
    """What is to be ranked for whom, and what counts as a hit."""

    seen: ItemSets
    """Items that are not recommended again."""
    relevant: ItemSets
    """Items that count as hits; users without any are not evaluated."""
    catalogue: NDArray[np.bool_]
    """[items] which items may be recommended at all."""
    item_counts: NDArray[np.int64]
    """[items] train ratings of each item."""
    card: dict[str, Any]
    """The protocol card: everything a reader needs to know to compare the figures."""


class Protocol(NamedTuple):
    """A data set cut for one protocol and seed."""

    name: str
    seed: int
    split: Split
    fold: int = 0
    """Of `cold-items`."""

    @classmethod
    def of(cls, name: str, dataset: Dataset, seed: int, fold: int = 0) -> "Protocol":
        """Cut `dataset` by the rules of the protocol called `name` (see `PROTOCOLS`)."""
        if name not in PROTOCOLS:
            raise InputError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
        if not 0 <= fold < (FOLDS if name == "cold-items" else 1):
            raise InputError(f"no fold {fold} of protocol {name}; cold-items has 0 to {FOLDS - 1}")
        ratings = dataset.interactions
        everything = np.arange(len(ratings.users))
        if name == "published":
            split = published_split(ratings, seed)
        elif name == "strict":
            split = strict_split(ratings, seed)
        elif name == "temporal":
            split = temporal_split(ratings, everything)
        elif name == "cold-items":
            split = cold_item_split(ratings, everything, seed, fold)
        else:
            split = cold_user_split(ratings, everything, seed)
        return cls(name, seed, split, fold)


def evaluation_task(dataset: Dataset, protocol: Protocol) -> Task:
    """The task that is reported: known ratings are given, test ratings are to be found."""
    return _task(dataset, protocol, protocol.split, _card(dataset, protocol))


def unseen_task(dataset: Dataset, protocol: Protocol) -> Task:
    """`evaluation_task` with every unseen item a candidate: the second one of `cold-items`."""
    task = evaluation_task(dataset, protocol)
    return task._replace(
        catalogue=np.ones(dataset.items, bool),
        card=task.card | {"candidates": f"all {dataset.items:,} items"},
    )


def validation_tasks(dataset: Dataset, protocol: Protocol) -> list[tuple[Split, Task]]:
    """The tasks on which settings are chosen, cut from the train part alone, and their splits."""
    return [
        (split, _task(dataset, protocol, split, {"split": "validation inside train"}))
        for split in validation_splits(dataset, protocol)
    ]


def validation_splits(dataset: Dataset, protocol: Protocol) -> list[Split]:
    """Cut the train part as the protocol cuts the whole: what is chosen is chosen on this.

    One split; under `cold-items` one for each of the inner folds.
    """
    ratings, train, seed = dataset.interactions, protocol.split.train, protocol.seed
    if protocol.name == "temporal":
        return [temporal_split(ratings, train, VALIDATION_SHARE)]
    if protocol.name == "cold-items":
        return [cold_item_split(ratings, train, seed + 1, fold) for fold in range(FOLDS)]
    if protocol.name == "cold-users":
        return [cold_user_split(ratings, train, seed + 1)]
    return [per_user_validation(ratings, protocol.split, seed)]


def calibration_task(dataset: Dataset, protocol: Protocol) -> tuple[Split, Task]:
    """Interactions on cold and on warm items held out of the train part of `cold-items`, and the split.

    The first inner fold is cold, and of each user's other ratings a tenth is held out. Every unseen
    item is a candidate: here one sees what a cold item in a list costs.
    """
    cold = validation_splits(dataset, protocol)[0]
    warm = per_user_validation(dataset.interactions, cold, protocol.seed)
    split = Split(warm.train, np.concatenate([cold.test, warm.test]))
    task = _task(dataset, protocol, split, {"split": "cold and warm ratings inside train"})
    return split, task._replace(catalogue=np.ones(dataset.items, bool))


def readable_remarks(dataset: Dataset, protocol: Protocol) -> NDArray[np.bool_]:
    """[tags] which tags an honest item text may hold.

    A tag betrays that its author has seen the movie, so one whose (user, movie) pair is held out,
    for the test or for validation, may not be read; under `temporal` none that was written since
    the first rating of validation. Under `cold-items` no tag may: a cold item has none, and its
    warm neighbours' texts should be like its own.
    """
    tags = dataset.remarks
    if protocol.name == "cold-items":
        return np.zeros(len(tags.words), bool)
    validation = [split.test for split in validation_splits(dataset, protocol)]
    held = dataset.interactions.at(np.concatenate([protocol.split.test, *validation]))
    pairs = held.users.astype(np.int64) * dataset.items + held.items
    readable = ~np.isin(tags.users.astype(np.int64) * dataset.items + tags.items, pairs)
    if protocol.name == "temporal" and len(held.times):
        readable &= tags.times < held.times.min()
    return readable


def vocabulary(dataset: Dataset, split: Split) -> NDArray[np.bool_]:
    """[items] bool: does the item have a train rating?"""
    known = np.zeros(dataset.items, bool)
    known[dataset.interactions.items[split.train]] = True
    return known


def _task(dataset: Dataset, protocol: Protocol, split: Split, card: dict[str, Any]) -> Task:
    catalogue, candidates = _candidates(dataset, protocol, split)
    held_out = dataset.interactions.at(split.test).liked(dataset.feedback)
    may_count = catalogue[held_out.items]
    if protocol.name == "temporal":
        may_count &= np.isin(held_out.users, dataset.interactions.users[split.train])
    relevant = ItemSets.of(held_out.at(np.flatnonzero(may_count)), dataset.users)
    evaluated = int((relevant.lengths > 0).sum())
    return Task(
        seen=ItemSets.of(dataset.interactions.at(split.known), dataset.users),
        relevant=relevant,
        catalogue=catalogue,
        item_counts=np.bincount(dataset.interactions.items[split.train], minlength=dataset.items),
        card=card
        | {
            "candidates": candidates,
            "users_evaluated": evaluated,
            "users_excluded": dataset.users - evaluated,
        },
    )


def _candidates(
    dataset: Dataset, protocol: Protocol, split: Split
) -> tuple[NDArray[np.bool_], str]:
    if protocol.name == "published":
        known = vocabulary(dataset, split)
        return known, f"the {int(known.sum()):,} items with a train rating"
    if protocol.name == "cold-items":
        cold = np.zeros(dataset.items, bool)
        cold[dataset.interactions.items[split.test]] = True
        return cold, f"the fold's {int(cold.sum()):,} cold items"
    return np.ones(dataset.items, bool), f"all {dataset.items:,} items, rated or not"


def _card(dataset: Dataset, protocol: Protocol) -> dict[str, Any]:
    split, published = protocol.split, protocol.name == "published"
    rule = SPLIT_RULES[protocol.name].format(seed=protocol.seed, fold=protocol.fold)
    texts = "title with year, genres and tags, without the tags on held-out pairs"
    if published:
        texts = (
            "title, genres and every tag, those on held-out pairs included (published); of the"
            " rows below pmf without those, with the year"
        )
    elif protocol.name == "cold-items":
        texts = "title with year and genres, no tags"
    return {
        "protocol": protocol.name,
        "data": dataset.name,
        "data_sha256": dataset.sha256,
        "synthetic": dataset.synthetic,
        "split": rule,
        "split_sha256": split.sha256(),
        "seed": protocol.seed,
        "train_ratings": len(split.train),
        "test_ratings": len(split.test),
        "seen_filter": "items the user rated in train"
        + (" or has given" if len(split.given) else "")
        + " are not ranked",
        "relevant": f"test {dataset.feedback.liked_rule} on candidate items".replace(
            "rating", "ratings", 1
        ),
        "excluded_because": EXCLUDED.get(protocol.name, "no relevant item"),
        "ties": "higher score, then lower item index",
        "ndcg": "binary gains, ideal = min(K, relevant) hits at the top",
        "ndcg_retrieved": "binary gains, ideal = the retrieved hits moved to the top (published)",
        "item_texts": texts,
    }
