"""What is to be ranked for whom, what counts as a hit, and the card that says so."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset
from jaxrec.errors import InputError
from jaxrec.evaluation.protocol import PROTOCOLS, Protocol
from jaxrec.evaluation.split import Split, per_user_validation
from jaxrec.topk.item_sets import ItemSets


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
        for split in protocol.validation_splits(dataset)
    ]


def calibration_task(dataset: Dataset, protocol: Protocol) -> tuple[Split, Task]:
    """Ratings on cold and on warm items held out of such a train part, and the split.

    The first inner fold is cold, and of each user's other ratings a tenth is held out. Every unseen
    item is a candidate: here one sees what a cold item in a list costs.
    """
    cold = protocol.validation_splits(dataset)[0]
    warm = per_user_validation(dataset.interactions, cold, protocol.seed)
    split = Split(warm.train, np.concatenate([cold.test, warm.test]))
    task = _task(dataset, protocol, split, {"split": "cold and warm ratings inside train"})
    return split, task._replace(catalogue=np.ones(dataset.items, bool))


def held_out(dataset: Dataset, seed: int = 42) -> dict[str, dict[str, int] | str]:
    """What every protocol would hold out, or why it cannot, by name."""
    found: dict[str, dict[str, int] | str] = {}
    for name in PROTOCOLS:
        try:
            protocol = Protocol.of(name, dataset, seed)
            card = evaluation_task(dataset, protocol).card
            found[name] = {
                "train": len(protocol.split.train),
                "test": len(protocol.split.test),
                "users_evaluated": card["users_evaluated"],
            }
        except InputError as error:
            found[name] = str(error)
    return found


def vocabulary(dataset: Dataset, split: Split) -> NDArray[np.bool_]:
    """[items] bool: does the item have a train rating?"""
    rated = np.zeros(dataset.items, bool)
    rated[dataset.interactions.items[split.train]] = True
    return rated


def _task(dataset: Dataset, protocol: Protocol, split: Split, card: dict[str, Any]) -> Task:
    catalogue, candidates = _candidates(dataset, protocol, split)
    held_out = dataset.interactions.at(split.test).liked(dataset.feedback)
    may_count = catalogue[held_out.items]
    if protocol.rules.needs_times:
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
    if protocol.rules.candidates == "vocabulary":
        rated = vocabulary(dataset, split)
        return rated, f"the {int(rated.sum()):,} items with a train rating"
    if protocol.rules.candidates == "cold":
        cold = np.zeros(dataset.items, bool)
        cold[dataset.interactions.items[split.test]] = True
        return cold, f"the fold's {int(cold.sum()):,} cold items"
    return np.ones(dataset.items, bool), f"all {dataset.items:,} items, rated or not"


def _card(dataset: Dataset, protocol: Protocol) -> dict[str, Any]:
    split, rules = protocol.split, protocol.rules
    text, published = dataset.catalogue.text, dataset.catalogue.published_text or ""
    return {
        "protocol": protocol.name,
        "data": dataset.name,
        "data_sha256": dataset.sha256,
        "synthetic": dataset.synthetic,
        "split": rules.split.format(seed=protocol.seed, fold=protocol.fold),
        "split_sha256": split.sha256(),
        "seed": protocol.seed,
        "train_ratings": len(split.train),
        "test_ratings": len(split.test),
        "seen_filter": "items the user rated in train"
        + (" or has given" if len(split.given) else "")
        + " are not ranked",
        "relevant": f"test {dataset.feedback.liked_rule} on candidate items",
        "excluded_because": "no relevant item"
        + (", or no train rating" if rules.needs_times else ""),
        "ties": "higher score, then lower item index",
        "ndcg": "binary gains, ideal = min(K, relevant) hits at the top",
        "ndcg_retrieved": "binary gains, ideal = the retrieved hits moved to the top (published)",
        "item_texts": rules.texts.replace("TEXT", text).replace("PUBLISHED", published),
    }
