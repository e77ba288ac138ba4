"""Reads a lesson, as jaxrec wrote it: see `jaxrec/border/lesson.py` for the files.

Items and users are positions, in the catalogue and among the users.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from torch_embed.errors import InputError
from torch_embed.files import UNREADABLE, check_files, read_card, read_items

NONE = -1


class Targets(NamedTuple):
    """What a linear head on embeddings regresses."""

    fold: NDArray[np.int64]
    """[n] whose model it is for."""
    items: NDArray[np.int64]
    """[n]"""
    targets: NDArray[np.float32]
    """[n, factors]"""
    weights: NDArray[np.float32]
    """[n]"""
    features: NDArray[np.float32]
    """[items, m] what else the head reads."""


class Pairs(NamedTuple):
    """Examples of contrastive losses."""

    fold: NDArray[np.int64]
    """[n] whose model it is for."""
    users: NDArray[np.int64]
    """[n]"""
    anchors: NDArray[np.int64]
    """[n, most] filled up with `NONE`."""
    positives: NDArray[np.int64]
    """[n]"""
    negatives: NDArray[np.int64]
    """[n] or `NONE`"""
    likes: set[tuple[int, int]]
    """(user, item) of all that is liked."""

    def at(self, examples: NDArray[np.int64]) -> "Pairs":
        """Some of the examples, by their numbers."""
        return Pairs(
            self.fold[examples],
            self.users[examples],
            self.anchors[examples],
            self.positives[examples],
            self.negatives[examples],
            self.likes,
        )


class Lesson(NamedTuple):
    """What an encoder learns from."""

    texts: list[str]
    """[items]"""
    plain: list[str]
    """[items] the texts without tags."""
    fold: NDArray[np.int64]
    """[items] which model does not learn from the item; -1 where no one can."""
    pairs: Pairs | None
    targets: Targets | None
    card: dict[str, Any]

    @property
    def judged_apart(self) -> bool:
        """Are epochs judged on the folds, on each by what the model blind to it embeds?"""
        return bool(self.card.get("blind"))


def read_lesson(folder: Path) -> Lesson:
    """Read the folder of a lesson.

    Raises:
        InputError: a file is absent or damaged, or names an item that has no text.
    """
    try:
        card = read_card(folder / "card.json")
        check_files(folder, card.get("files", {}))
        table = read_items(folder / "texts.parquet", ["text", "plain", "fold"])
        by_pairs, items = card["kind"] is not None, len(table)
        return Lesson(
            table["text"].to_list(),
            table["plain"].to_list(),
            table["fold"].to_numpy().astype(np.int64),
            _read_pairs(folder, items) if by_pairs else None,
            None if by_pairs else _read_targets(folder, items),
            card,
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename or folder}: no such file; `jaxrec embed --finetune` writes it"
        ) from None
    except (
        *UNREADABLE,
        SafetensorError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder}: damaged ({reason}); write it again") from None


def _read_pairs(folder: Path, items: int) -> Pairs:
    table = pl.read_parquet(folder / "pairs.parquet", glob=False)
    likes = pl.read_parquet(folder / "likes.parquet", glob=False)
    lists = table["anchors"].to_list()
    anchors = np.full((len(lists), max(map(len, lists), default=1)), NONE, np.int64)
    for example, own in enumerate(lists):
        anchors[example, : len(own)] = own
    positives = table["positive"].to_numpy().astype(np.int64)
    negatives = table["negative"].fill_null(NONE).to_numpy().astype(np.int64)
    liked = likes["item"].to_numpy()
    for named in (anchors[anchors != NONE], positives, negatives[negatives != NONE], liked):
        _check(named, items)
    return Pairs(
        table["fold"].to_numpy().astype(np.int64),
        table["user"].to_numpy().astype(np.int64),
        anchors,
        positives,
        negatives,
        set(zip(likes["user"].to_list(), liked.tolist(), strict=True)),
    )


def _read_targets(folder: Path, items: int) -> Targets:
    arrays = load_file(folder / "targets.safetensors")
    _check(arrays["items"], items)
    return Targets(
        arrays["fold"].astype(np.int64),
        arrays["items"].astype(np.int64),
        arrays["targets"],
        arrays["weights"],
        arrays["features"],
    )


def _check(named: NDArray[np.integer], items: int) -> None:
    """Raise ValueError where something is said of an item that has no text."""
    unknown = named[(named < 0) | (named >= items)]
    if len(unknown):
        raise ValueError(f"it names item {unknown[0]}, which has no text")
