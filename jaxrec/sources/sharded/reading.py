"""Some parts of a data set that was cut by user, as a data set of their own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.data.batches import Mending
from jaxrec.data.dataset import Catalogue, Dataset, Interactions, Remarks
from jaxrec.data.feedback import Feedback
from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.sources.description import NAME, Description, read_description
from jaxrec.sources.reading import feedback_of, read_dataset, read_items
from jaxrec.sources.sharded.layout import HASH, PART, files_of, part_of, read_card
from jaxrec.sources.tables import UNREADABLE


def read_shard(folder: Path, parts: Sequence[int]) -> Dataset:
    """Read some parts.

    Args:
        folder: of the whole (see `jaxrec.sources.sharded.layout`).
        parts: their numbers.

    Returns:
        The users of these parts, one part's after the other's and in ascending id, so that of all
        parts they are in one order whoever reads which; all items, numbered alike whatever the
        parts; and what values mean, as told of the whole. There are no remarks.

    Raises:
        InputError: something is missing or malformed, rows are missing, a user lies in a part that
            is not hers, or an item is not in the shared table.
    """
    shard, described = read_card(folder), read_description(folder / NAME)
    if described.items is None:
        raise InputError(
            f"{folder / NAME}: [items] is missing: every part shares one table of them"
        )
    _check_meaning(folder, described)
    source = f"{folder}, parts {', '.join(map(str, parts))} of {shard.parts}"
    for part in parts:
        _check_rows(folder, part, shard.interactions[part])
    there = [part for part in parts if shard.interactions[part]]
    if not there:
        return _of_nobody(described, source)
    own = replace(described.interactions, files=files_of(there))
    dataset = read_dataset(replace(described, interactions=own), source)
    catalogue = _shared_items(described)
    if dataset.items > len(catalogue.ids):
        raise InputError(
            f"{folder}: item {dataset.item_ids[len(catalogue.ids)]} is not in the table that all"
            f" parts share ({', '.join(described.items.files)}); add it there"
        )
    belong = part_of(pl.Series(dataset.user_ids.names), shard.parts)
    _check_users(folder, dataset.user_ids, belong, there)
    return _part_by_part(dataset, belong)


MEANT = {"stars": {"scale", "liked", "disliked", "neutral"}, "counts": {"liked", "typical"}}
"""What has to be said of values, by kind: told of some parts it might be another."""


def _check_meaning(folder: Path, described: Description) -> None:
    kind = described.feedback.get("kind", "")
    lacks = sorted(({"kind"} if not kind else MEANT.get(kind, set())) - set(described.feedback))
    if lacks:
        raise InputError(
            f"{folder / NAME}: [feedback] does not say {', '.join(lacks)}: each process would guess"
            " by its own parts; say so there"
        )


def _check_rows(folder: Path, part: int, expected: int) -> None:
    place = folder / f"{PART}={part}"
    paths = sorted(place.glob("*.parquet"))
    try:
        rows = pl.scan_parquet(paths, glob=False).select(pl.len()).collect().item() if paths else 0
    except UNREADABLE as error:
        raise InputError(f"{place}: {str(error).splitlines()[0]}; cut the data anew") from None
    if rows != expected:
        raise InputError(
            f"{place} has {rows:,} rows, and shard.json says {expected:,}; copy it again, or cut"
            " the data anew"
        )


def _check_users(folder: Path, users: Ids, belong: NDArray[np.int32], own: Sequence[int]) -> None:
    for wrong in np.flatnonzero(~np.isin(belong, own)):
        raise InputError(
            f"{folder}: user {users[wrong]} is in one of the parts {', '.join(map(str, own))}, and"
            f" belongs in {PART}={belong[wrong]} ({HASH} of the id's text, modulo the parts)"
        )


def _part_by_part(dataset: Dataset, belong: NDArray[np.int32]) -> Dataset:
    """Users [users] in the order of the parts that they `belong` in."""
    order = np.argsort(belong, kind="stable")
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order))
    interactions = dataset.interactions
    return replace(
        dataset,
        user_ids=Ids(dataset.user_ids.names[order], "user"),
        interactions=interactions._replace(users=places[interactions.users]),
    )


def _shared_items(described: Description) -> Catalogue:
    catalogue = read_items(described, Mending())
    assert catalogue is not None
    return catalogue


def _of_nobody(described: Description, source: str) -> Dataset:
    nobody = np.zeros(0, np.int32)
    given: dict[str, Any] = feedback_of(described)
    return Dataset(
        name=described.name,
        source=source,
        user_ids=Ids([], "user"),
        catalogue=_shared_items(described),
        interactions=Interactions(
            nobody,
            nobody,
            np.zeros(0),
            None if described.columns.time is None else np.zeros(0, np.int64),
        ),
        feedback=Feedback.of(levels=np.zeros(0), **given),
        remarks=Remarks(nobody, nobody, []),
        licence=described.licence,
    )
