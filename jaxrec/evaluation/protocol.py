"""Evaluation protocols as data: what is held out, read, ranked, and chosen on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset, Interactions
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


@dataclass(frozen=True)
class Rules:
    """All in which protocols differ; no other module asks for a protocol's name."""

    cut: Callable[[Interactions, int, int], Split]
    """Of interactions, seed and fold: what is learned from, and what is held out."""
    cut_inside: Callable[[Interactions, Split, int], list[Split]]
    """Of interactions, split and seed: the train part cut as the whole was, for choosing."""
    split: str
    """In words; of `seed` and `fold`."""
    texts: str
    """What item texts hold, in words; of the catalogue's templates TEXT and PUBLISHED."""
    folds: int = 1
    """Of items, each of them cold in one."""
    seeded: bool = True
    """Do seeds give different splits?"""
    needs_times: bool = False
    """Is it about times? Then remarks are read up to the first interaction of validation, and users
    without a past are not evaluated."""
    candidates: Literal["everything", "vocabulary", "cold"] = "everything"
    """What is ranked: all items, those with a train interaction, or those without."""
    kinds_of_texts: tuple[str, ...] = ("honest",)
    """The first is what plain embeddings are of."""
    remarks_read: bool = True
    """May any remark be read?"""
    as_published: bool = False
    """Is it the published table's, with its rows, fusion and ideal?"""

    @property
    def cold_items(self) -> bool:
        """Are items cold? Then candidates are too, and the fusion is calibrated for mixed lists."""
        return self.candidates == "cold"


def _inside(interactions: Interactions, split: Split, seed: int) -> list[Split]:
    return [per_user_validation(interactions, split, seed)]


def _all(interactions: Interactions) -> NDArray[np.int64]:
    return np.arange(len(interactions.users))


PER_USER = (
    f"per user (at least {FEWEST_RATINGS} ratings{{}}), first ceil(0.2 n) of"
    " RandomState({{seed}}).permutation(n) are test"
)
WITHOUT_HELD_OUT = "TEXT and remarks, without those on held-out pairs"
PROTOCOLS = {
    "strict": Rules(
        cut=lambda ratings, seed, fold: strict_split(ratings, seed),
        cut_inside=_inside,
        split=PER_USER.format(", others stay in train"),
        texts=WITHOUT_HELD_OUT,
    ),
    "published": Rules(
        cut=lambda ratings, seed, fold: published_split(ratings, seed),
        cut_inside=_inside,
        split=PER_USER.format(""),
        texts="PUBLISHED and every remark, those on held-out pairs included (published); of the"
        " rows below pmf TEXT and remarks without those",
        candidates="vocabulary",
        kinds_of_texts=("published", "honest"),
        as_published=True,
    ),
    "temporal": Rules(
        cut=lambda ratings, seed, fold: temporal_split(ratings, _all(ratings)),
        cut_inside=lambda ratings, split, seed: [
            temporal_split(ratings, split.train, VALIDATION_SHARE)
        ],
        split="the latest 20 % of all ratings are test",
        texts=WITHOUT_HELD_OUT,
        seeded=False,
        needs_times=True,
    ),
    "cold-items": Rules(
        cut=lambda ratings, seed, fold: cold_item_split(ratings, _all(ratings), seed, fold),
        cut_inside=lambda ratings, split, seed: [
            cold_item_split(ratings, split.train, seed + 1, fold) for fold in range(FOLDS)
        ],
        split=f"fold {{fold}} of {FOLDS} over the items that have ratings, permuted by"
        " RandomState({seed}): all ratings of its items are test",
        texts="TEXT, no remarks",
        folds=FOLDS,
        candidates="cold",
        remarks_read=False,
    ),
    "cold-users": Rules(
        cut=lambda ratings, seed, fold: cold_user_split(ratings, _all(ratings), seed),
        cut_inside=lambda ratings, split, seed: [cold_user_split(ratings, split.train, seed + 1)],
        split="20 % of the users, by RandomState({seed}), are not trained on: half of each one's"
        " ratings are given when asked, half are test",
        texts=WITHOUT_HELD_OUT,
    ),
}
"""By name; the first is the default."""


class Protocol(NamedTuple):
    """A data set cut by the rules of a protocol, for one seed."""

    name: str
    seed: int
    split: Split
    fold: int = 0
    """Where the rules have several."""

    @classmethod
    def of(cls, name: str, dataset: Dataset, seed: int, fold: int = 0) -> "Protocol":
        """Cut `dataset` by the rules of the protocol called `name` (see `PROTOCOLS`)."""
        if name not in PROTOCOLS:
            raise InputError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
        rules = PROTOCOLS[name]
        if not 0 <= fold < rules.folds:
            raise InputError(f"no fold {fold} of protocol {name}; cold-items has 0 to {FOLDS - 1}")
        return cls(name, seed, rules.cut(dataset.interactions, seed, fold), fold)

    @property
    def rules(self) -> Rules:
        """In what it differs from others."""
        return PROTOCOLS[self.name]

    def validation_splits(self, dataset: Dataset) -> list[Split]:
        """The train part cut as the whole was: what is chosen is chosen on this.

        One split; where there are folds one for each of the inner folds.
        """
        return self.rules.cut_inside(dataset.interactions, self.split, self.seed)


def readable_remarks(dataset: Dataset, protocol: Protocol) -> NDArray[np.bool_]:
    """[remarks] which ones an honest item text may hold.

    A remark betrays that its author knows the item, so one whose (user, item) pair is held out, for
    the test or for validation, may not be read; under a protocol about times none that was written
    since the first interaction of validation. Where items are cold no remark may: a cold item has
    none, and its warm neighbours' texts should be like its own.
    """
    remarks = dataset.remarks
    if not protocol.rules.remarks_read:
        return np.zeros(len(remarks.words), bool)
    validation = [split.test for split in protocol.validation_splits(dataset)]
    held = dataset.interactions.at(np.concatenate([protocol.split.test, *validation]))
    pairs = held.users.astype(np.int64) * dataset.items + held.items
    readable = ~np.isin(remarks.users.astype(np.int64) * dataset.items + remarks.items, pairs)
    if protocol.rules.needs_times and len(held.times):
        readable &= remarks.times < held.times.min()
    return readable
