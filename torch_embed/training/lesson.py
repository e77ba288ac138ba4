"""The border with jaxrec's training data: see `jaxrec/border/lesson.py` for the files."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from torch_embed.errors import InputError

NONE = -1


class Targets(NamedTuple):
    """What a linear head on embeddings regresses."""

    fold: NDArray[np.int64]
    """[n] whose model it is for."""
    items: NDArray[np.int64]
    """[n] positions."""
    targets: NDArray[np.float32]
    """[n, factors]"""
    weights: NDArray[np.float32]
    """[n]"""
    features: NDArray[np.float32]
    """[items, m] what else the head reads."""


class Pairs(NamedTuple):
    """Examples of contrastive losses; items are positions."""

    fold: NDArray[np.int64]
    """[n] whose model it is for."""
    users: NDArray[np.int64]
    """[n] user ids."""
    anchors: NDArray[np.int64]
    """[n, most] filled up with `NONE`."""
    positives: NDArray[np.int64]
    """[n]"""
    negatives: NDArray[np.int64]
    """[n] or `NONE`"""
    likes: set[tuple[int, int]]
    """(user id, position) of all that is liked."""

    def at(self, rows: NDArray[np.int64]) -> "Pairs":
        """The examples `rows`."""
        fold, users, anchors, positives, negatives, likes = self
        return Pairs(
            fold[rows], users[rows], anchors[rows], positives[rows], negatives[rows], likes
        )


class Training(NamedTuple):
    """What an encoder learns from."""

    item_ids: NDArray[np.int64]
    texts: list[str]
    plain: list[str]
    """The texts without tags."""
    fold: NDArray[np.int64]
    """[items] which model does not learn from the item; -1 where no one can."""
    pairs: Pairs | None
    targets: Targets | None
    card: dict[str, Any]


def read_training(folder: Path) -> Training:
    """Read a folder of training data.

    Raises:
        InputError: a file is absent or damaged, or names an item that has no text.
    """
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        texts = pl.read_parquet(folder / "texts.parquet")
        item_ids = texts["item_id"].to_numpy()
        by_pairs = card["kind"] is not None
        return Training(
            item_ids,
            texts["text"].to_list(),
            texts["plain"].to_list(),
            texts["fold"].to_numpy().astype(np.int64),
            _read_pairs(folder, item_ids) if by_pairs else None,
            None if by_pairs else _read_targets(folder, item_ids),
            card,
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename or folder}: no such file; `jaxrec embed --finetune` writes it"
        ) from None
    except (pl.exceptions.PolarsError, SafetensorError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder}: damaged ({reason}); write it again") from None


def _read_pairs(folder: Path, item_ids: NDArray[np.int64]) -> Pairs:
    table = pl.read_parquet(folder / "pairs.parquet")
    likes = pl.read_parquet(folder / "likes.parquet")
    lists = table["anchors"].to_list()
    anchors = np.full((len(lists), max(map(len, lists), default=1)), NONE, np.int64)
    for row, own in enumerate(lists):
        anchors[row, : len(own)] = _positions(np.array(own, np.int64), item_ids)
    negatives = table["negative"]
    there = negatives.is_not_null().to_numpy()
    negative = np.full(len(table), NONE, np.int64)
    negative[there] = _positions(negatives.drop_nulls().to_numpy(), item_ids)
    liked = _positions(likes["item_id"].to_numpy(), item_ids)
    return Pairs(
        table["fold"].to_numpy().astype(np.int64),
        table["user_id"].to_numpy(),
        anchors,
        _positions(table["positive"].to_numpy(), item_ids),
        negative,
        set(zip(likes["user_id"].to_list(), liked.tolist(), strict=True)),
    )


def _read_targets(folder: Path, item_ids: NDArray[np.int64]) -> Targets:
    arrays = load_file(folder / "targets.safetensors")
    return Targets(
        arrays["fold"].astype(np.int64),
        _positions(arrays["item_ids"], item_ids),
        arrays["targets"],
        arrays["weights"],
        arrays["features"],
    )


def _positions(ids: NDArray[np.int64], item_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(item_ids)
    place = np.minimum(np.searchsorted(item_ids, ids, sorter=order), len(item_ids) - 1)
    found = order[place]
    if not np.array_equal(item_ids[found], ids):
        unknown = int(ids[item_ids[found] != ids][0])
        raise InputError(f"training data name item {unknown}, which has no text; write it again")
    return found
