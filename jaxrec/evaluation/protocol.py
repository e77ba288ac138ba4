"""Evaluation protocols as data: what is held out, read, ranked, and chosen on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset
from jaxrec.errors import InputError
from jaxrec.evaluation.split import (
    FEWEST,
    FOLDS,
    VALIDATION_SHARE,
    Split,
    cold_item_split,
    cold_user_split,
    leave_one_out_split,
    pair_validation,
    per_user_validation,
    published_split,
    published_validation,
    strict_split,
    temporal_split,
    temporal_user_split,
)


@dataclass(frozen=True)
class Rules:
    """All in which protocols differ; no other module asks for a protocol's name."""

    cut: Callable[[Dataset, int, int], Split]
    """Of data, seed and fold: what is learned from, and what is held out."""
    cut_inside: Callable[[Dataset, Split, int], list[Split]]
    """Of data, split and seed: the train part cut as the whole was, for choosing."""
    split: str
    """In words; of `seed` and `fold`."""
    texts: str
    """What item texts hold, in words; of the catalogue's templates TEXT and PUBLISHED."""
    folds: int = 1
    """Of items, each of them cold in one."""
    seeded: bool = True
    """Do seeds give different splits?"""
    candidates: Literal["everything", "vocabulary", "cold"] = "everything"
    """What is ranked: all items, those with a train interaction, or those without."""
    kinds_of_texts: tuple[str, ...] = ("honest",)
    """The first is what plain embeddings are of."""
    remarks: Literal["apart", "before", "before_own", "none"] = "apart"
    """Which may be read: those `apart` from held-out pairs; of these, those written `before`
    everything that is held out, or before what is of their own author; or `none`."""
    by_user: bool = False
    """Is each user cut by herself, whoever else there is? So do several processes, each its own."""
    uncut: str | None = None
    """What data lack of which nothing can be held out, where that may be: they are refused."""
    as_published: bool = False
    """Is it the published table's, with its rows, fusion, ideal and order of equal scores?"""

    @property
    def cold_items(self) -> bool:
        """Are items cold? Then candidates are too, and the fusion is calibrated for mixed lists."""
        return self.candidates == "cold"


def _all(dataset: Dataset) -> NDArray[np.int64]:
    return np.arange(len(dataset.interactions.users))


PER_USER = f"per user (at least {FEWEST} interactions{{}}), "
WITHOUT_HELD_OUT = "TEXT and remarks, without those on held-out pairs"
PROTOCOLS = {
    "strict": Rules(
        by_user=True,
        cut=lambda data, seed, fold: strict_split(data.interactions, data.user_ids, seed),
        cut_inside=lambda data, split, seed: [
            per_user_validation(data.interactions, split, data.user_ids, seed)
        ],
        split=PER_USER.format(", others stay in train")
        + "the first ceil(0.2 n) are test, in an order drawn from seed {seed} and the user's id",
        texts=WITHOUT_HELD_OUT,
    ),
    "published": Rules(
        cut=lambda data, seed, fold: published_split(data.interactions, seed),
        cut_inside=lambda data, split, seed: [published_validation(data.interactions, split, seed)],
        split=PER_USER.format("")
        + "first ceil(0.2 n) of RandomState({seed}).permutation(n) are test",
        texts="PUBLISHED and every remark, those on held-out pairs included (published); of the"
        " rows below pmf TEXT and remarks without those",
        candidates="vocabulary",
        kinds_of_texts=("published", "honest"),
        as_published=True,
    ),
    "temporal": Rules(
        cut=lambda data, seed, fold: temporal_split(data.interactions, _all(data)),
        cut_inside=lambda data, split, seed: [
            temporal_split(data.interactions, split.train, VALIDATION_SHARE)
        ],
        split="the latest 20 % of all interactions are test, cut between different times",
        texts=WITHOUT_HELD_OUT + " or since the first that is held out",
        seeded=False,
        remarks="before",
    ),
    "temporal-user": Rules(
        by_user=True,
        cut=lambda data, seed, fold: temporal_user_split(data.interactions, _all(data)),
        cut_inside=lambda data, split, seed: [
            temporal_user_split(data.interactions, split.train, VALIDATION_SHARE, fewest=FEWEST - 1)
        ],
        split=PER_USER.format(", others stay in train")
        + "the latest 20 % are test, cut between different times",
        uncut=f"no user has {FEWEST} interactions of different times to cut between",
        texts=WITHOUT_HELD_OUT + " or since the first of their author's that is held out",
        seeded=False,
        remarks="before_own",
    ),
    "leave-one-out": Rules(
        by_user=True,
        cut=lambda data, seed, fold: leave_one_out_split(
            data.interactions, _all(data), data.user_ids.draws(seed, "test")
        ),
        cut_inside=lambda data, split, seed: [
            leave_one_out_split(
                data.interactions,
                split.train,
                data.user_ids.draws(seed, "validation"),
                fewest=FEWEST - 1,
            )
        ],
        split=PER_USER.format(", others stay in train")
        + "the latest is test; of equally late ones, and where no times are known, the first in an"
        " order drawn from seed {seed} and the user's id",
        texts=WITHOUT_HELD_OUT + " or since the first of their author's that is held out",
        remarks="before_own",
    ),
    "cold-items": Rules(
        cut=lambda data, seed, fold: cold_item_split(data.interactions, _all(data), seed, fold),
        cut_inside=lambda data, split, seed: [
            cold_item_split(data.interactions, split.train, seed + 1, fold) for fold in range(FOLDS)
        ],
        split=f"fold {{fold}} of {FOLDS} over the items that have interactions, permuted by"
        " RandomState({seed}): all interactions with its items are test",
        texts="TEXT, no remarks",
        folds=FOLDS,
        candidates="cold",
        remarks="none",
    ),
    "cold-users": Rules(
        cut=lambda data, seed, fold: cold_user_split(
            data.interactions, _all(data), data.user_ids, seed
        ),
        cut_inside=lambda data, split, seed: [
            cold_user_split(data.interactions, split.train, data.user_ids, seed + 1)
        ],
        split="20 % of the users, by RandomState({seed}), are not trained on: half of each one's"
        " interactions, in an order drawn from the seed and the user's id, are given when asked,"
        " half are test",
        texts=WITHOUT_HELD_OUT,
    ),
}
"""By name; the first is the default."""


class Protocol(NamedTuple):
    """A data set cut by the rules of a protocol, for one seed."""

    name: str
    seed: int
    split: Split
    fold: int
    """0 where the rules have one alone."""

    @classmethod
    def of(
        cls, name: str, dataset: Dataset, seed: int, fold: int = 0, *, part: bool = False
    ) -> "Protocol":
        """Cut `dataset` by the rules of the protocol called `name` (see `PROTOCOLS`).

        Args:
            name: of the protocol.
            dataset: to be cut.
            seed: of what is drawn.
            fold: of the rules that have several.
            part: are there other users elsewhere? Then of these nothing need be held out.

        Raises:
            InputError: there is none, it has no such fold, or the data do not suit it.
        """
        if name not in PROTOCOLS:
            raise InputError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
        rules = PROTOCOLS[name]
        if not 0 <= fold < rules.folds:
            raise InputError(f"no fold {fold} of protocol {name}; cold-items has 0 to {FOLDS - 1}")
        kind = dataset.feedback.kind
        if rules.as_published and kind != "stars":
            raise InputError(f"protocol {name} takes stars, and these are {kind}; take strict")
        split = rules.cut(dataset, seed, fold)
        if rules.uncut and not part and not len(split.test):
            raise InputError(f"{rules.uncut}; give --protocol strict")
        return cls(name, seed, split, fold)

    @property
    def rules(self) -> Rules:
        """In what it differs from others."""
        return PROTOCOLS[self.name]

    def validation_splits(self, dataset: Dataset) -> list[Split]:
        """The train part cut as the whole was: what is chosen is chosen on this.

        One split; where there are folds one for each of the inner folds.
        """
        return self.rules.cut_inside(dataset, self.split, self.seed)

    def calibration_split(self, dataset: Dataset) -> Split:
        """Where items are cold: interactions with cold and with warm items held out of train.

        The first inner fold is cold, and of the others a tenth is held out, each on its own.
        """
        cold = self.validation_splits(dataset)[0]
        ids = dataset.user_ids, dataset.item_ids
        warm = pair_validation(dataset.interactions, cold, *ids, self.seed)
        return Split(warm.train, np.concatenate([cold.test, warm.test]))


def readable_remarks(dataset: Dataset, protocol: Protocol) -> NDArray[np.bool_]:
    """[remarks] which ones an honest item text may hold.

    A remark betrays that its author knows the item, so one whose (user, item) pair is held out, for
    the test or for validation, may not be read. Where the held-out part is the future, what is
    written in it betrays what will be liked: of everybody, where one time is cut; where each user's
    own, only what she writes herself since her first held-out interaction, for what others do at
    any time is learned from too. Without times none may be read there. Where items are cold no
    remark may: a cold item has none, and its warm neighbours' texts should be like its own.
    """
    remarks, rule = dataset.remarks, protocol.rules.remarks
    nothing = np.zeros(len(remarks.words), bool)
    if rule == "none":
        return nothing
    validation = [split.test for split in protocol.validation_splits(dataset)]
    held = dataset.interactions.at(np.concatenate([protocol.split.test, *validation]))
    pairs = held.users.astype(np.int64) * dataset.items + held.items
    apart = ~np.isin(remarks.users.astype(np.int64) * dataset.items + remarks.items, pairs)
    if rule == "apart":
        return apart
    if remarks.times is None or held.times is None:
        return nothing
    # the last place is that of authors without interactions, whose position is -1
    first = np.full(dataset.users + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, held.users, held.times)
    if rule == "before":
        first[:] = first.min()
    return apart & (remarks.times < first[remarks.users])
