"""What is to be ranked for whom, what counts as a hit, and the card that says so."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset
from jaxrec.errors import InputError
from jaxrec.evaluation.protocol import PROTOCOLS, Protocol
from jaxrec.evaluation.split import Split
from jaxrec.topk.item_sets import ItemSets

NOBODY_LEARNS = "no user has a relevant item in the validation part to learn from"


class Task(NamedTuple):
    """What is to be ranked for whom, and what counts as a hit."""

    seen: ItemSets
    """Items that are not recommended again."""
    relevant: ItemSets
    """Items that count as hits; users without any are not evaluated."""
    catalogue: NDArray[np.bool_]
    """[items] which items may be recommended at all."""
    item_counts: NDArray[np.int64]
    """[items] train interactions of each item."""
    card: dict[str, Any]
    """The protocol card: everything a reader needs to know to compare the figures."""
    tie_order: NDArray[np.int32] | None = None
    """[items] in the order in which equal scores are ranked; by position if it is None."""


def evaluation_task(dataset: Dataset, protocol: Protocol) -> Task:
    """The task that is reported: what is known is given, what is held out is to be found."""
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
    """The task of `Protocol.calibration_split`, and that split.

    Every unseen item is a candidate: here one sees what a cold item in a list costs.
    """
    split = protocol.calibration_split(dataset)
    task = _task(dataset, protocol, split, {"split": "cold and warm inside train"})
    return split, task._replace(catalogue=np.ones(dataset.items, bool))


def judges(task: Task, seed: int, most: int) -> NDArray[np.int32]:
    """At most so many of the users who have something to find, in their order.

    Raises:
        InputError: nobody has.
    """
    users = np.flatnonzero(task.relevant.lengths).astype(np.int32)
    if not len(users):
        raise InputError(NOBODY_LEARNS)
    if len(users) > most:
        users = np.sort(np.random.default_rng(seed).choice(users, most, replace=False))
    return users


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
    """[items] bool: does the item have a train interaction?"""
    rated = np.zeros(dataset.items, bool)
    rated[dataset.interactions.items[split.train]] = True
    return rated


def _task(dataset: Dataset, protocol: Protocol, split: Split, card: dict[str, Any]) -> Task:
    catalogue, candidates = _candidates(dataset, protocol, split)
    held_out = dataset.interactions.at(split.test).liked(dataset.feedback)
    seen = ItemSets.of(dataset.interactions.at(split.known), dataset.users)
    may_count = catalogue[held_out.items] & (seen.lengths[held_out.users] > 0)
    relevant = ItemSets.of(held_out.at(np.flatnonzero(may_count)), dataset.users)
    evaluated = int((relevant.lengths > 0).sum())
    return Task(
        seen=seen,
        relevant=relevant,
        catalogue=catalogue,
        item_counts=np.bincount(dataset.interactions.items[split.train], minlength=dataset.items),
        card=card
        | {
            "candidates": candidates,
            "users_evaluated": evaluated,
            "users_excluded": dataset.users - evaluated,
        },
        tie_order=None if protocol.rules.as_published else drawn_order(dataset, protocol.seed),
    )


def drawn_order(dataset: Dataset, seed: int) -> NDArray[np.int32]:
    """[items] an order drawn from the seed and the items' ids, whatever their order in a file."""
    return np.argsort(dataset.item_ids.draws(seed, "ties"), kind="stable").astype(np.int32)


def _candidates(
    dataset: Dataset, protocol: Protocol, split: Split
) -> tuple[NDArray[np.bool_], str]:
    if protocol.rules.candidates == "vocabulary":
        rated = vocabulary(dataset, split)
        return rated, f"the {int(rated.sum()):,} items with a train interaction"
    if protocol.rules.candidates == "cold":
        cold = np.zeros(dataset.items, bool)
        cold[dataset.interactions.items[split.test]] = True
        return cold, f"the fold's {int(cold.sum()):,} cold items"
    return np.ones(dataset.items, bool), f"all {dataset.items:,} items, interacted with or not"


def _card(dataset: Dataset, protocol: Protocol) -> dict[str, Any]:
    split, rules = protocol.split, protocol.rules
    text, published = dataset.catalogue.text, dataset.catalogue.published_text or ""
    return {
        "protocol": protocol.name,
        "data": dataset.name,
        "data_sha256": dataset.sha256,
        "synthetic": dataset.synthetic,
        "split": rules.split.format(seed=protocol.seed, fold=protocol.fold),
        **({"mended": "; ".join(dataset.mended)} if dataset.mended else {}),
        "split_sha256": split.sha256(),
        "seed": protocol.seed,
        "train_interactions": len(split.train),
        "test_interactions": len(split.test),
        "seen_filter": "items of the user's train"
        + (" or given" if len(split.given) else "")
        + " interactions are not ranked",
        "relevant": f"test {dataset.feedback.liked_rule} on candidate items",
        "excluded_because": "no relevant item, or nothing known of the user",
        "ties": "higher score, then "
        + (
            "lower item index"
            if rules.as_published
            else f"an order of the items drawn from seed {protocol.seed} and their ids"
        ),
        "ndcg": "binary gains, ideal = min(K, relevant) hits at the top",
        "ndcg_retrieved": "binary gains, ideal = the retrieved hits moved to the top (published)",
        "item_texts": rules.texts.replace("TEXT", text).replace("PUBLISHED", published),
    }
