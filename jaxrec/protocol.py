"""Evaluation protocols: what is held out, who is ranked what, and the card that says so."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.dataset import LIKED, Dataset
from jaxrec.errors import InputError
from jaxrec.sparse_rows import Rows
from jaxrec.split import FEWEST_RATINGS, Split, published_split, validation_split

PROTOCOLS = ("published",)


class Task(NamedTuple):
    """What is to be ranked for whom, and what counts as a hit."""

    seen: Rows
    """Items that are not recommended again."""
    relevant: Rows
    """Items that count as hits; users without any are not evaluated."""
    catalogue: NDArray[np.bool_]
    """[items] which items may be recommended at all."""
    card: dict[str, Any]
    """The protocol card: everything a reader needs to know to compare the figures."""


class Protocol(NamedTuple):
    """A data set cut for one protocol and seed."""

    name: str
    seed: int
    split: Split

    @classmethod
    def of(cls, name: str, dataset: Dataset, seed: int) -> "Protocol":
        """Cut `dataset` by the rules of the protocol called `name` (see `PROTOCOLS`)."""
        if name not in PROTOCOLS:
            raise InputError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
        return cls(name, seed, published_split(dataset.ratings, seed))


def evaluation_task(dataset: Dataset, protocol: Protocol) -> Task:
    """The task that is reported: train ratings are known, test ratings are to be found."""
    return _published_task(dataset, protocol.split, _card(dataset, protocol))


def validation_task(dataset: Dataset, protocol: Protocol) -> tuple[Split, Task]:
    """The task on which settings are chosen, inside the train part, and its split."""
    split = validation_split(dataset.ratings, protocol.split, protocol.seed)
    return split, _published_task(dataset, split, {"split": "validation inside train"})


def vocabulary(dataset: Dataset, split: Split) -> NDArray[np.bool_]:
    """[items] bool: does the item have a train rating?"""
    known = np.zeros(dataset.items, bool)
    known[dataset.ratings.items[split.train]] = True
    return known


def _published_task(dataset: Dataset, split: Split, card: dict[str, Any]) -> Task:
    known = vocabulary(dataset, split)
    held_out = dataset.ratings.at(split.test).liked
    held_out = held_out.at(np.flatnonzero(known[held_out.items]))
    relevant = Rows.of(held_out, dataset.users)
    evaluated = int((relevant.lengths > 0).sum())
    return Task(
        seen=Rows.of(dataset.ratings.at(split.train), dataset.users),
        relevant=relevant,
        catalogue=known,
        card=card
        | {
            "candidates": f"the {int(known.sum()):,} items with a train rating",
            "users_evaluated": evaluated,
            "users_excluded": dataset.users - evaluated,
        },
    )


def _card(dataset: Dataset, protocol: Protocol) -> dict[str, Any]:
    train, test = protocol.split
    return {
        "protocol": protocol.name,
        "data": dataset.name,
        "data_sha256": dataset.sha256,
        "synthetic": dataset.synthetic,
        "split": (
            f"per user (at least {FEWEST_RATINGS} ratings), first ceil(0.2 n) of"
            f" RandomState({protocol.seed}).permutation(n) are test"
        ),
        "split_sha256": protocol.split.sha256(),
        "seed": protocol.seed,
        "train_ratings": len(train),
        "test_ratings": len(test),
        "seen_filter": "items the user rated in train are not ranked",
        "relevant": f"test ratings of at least {LIKED} stars on candidate items",
        "excluded_because": "no relevant item",
        "ties": "higher score, then lower item index",
        "ndcg": "binary gains, ideal = min(K, relevant) hits at the top",
        "ndcg_retrieved": "binary gains, ideal = the retrieved hits moved to the top (published)",
        "item_texts": "title, genres and every tag, those on held-out pairs included (published)",
    }
