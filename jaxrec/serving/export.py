"""Writes vectors for others to serve: Parquet, NumPy, or an index of nearest neighbours.

docs/nearest.md says how they are read.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.files import owner_of, read_json, real, whole_file, write_json
from jaxrec.serving.model import FittedModel
from jaxrec.topk.nearest import (
    CONNECTIVITY,
    EXPANSION_ADD,
    LIBRARIES,
    Index,
    K,
    check_library,
    measure,
)

FORMATS = ("parquet", "npz", *LIBRARIES)


class Vectors(NamedTuple):
    """The score of item i for user u is `users[u] . items[i]`."""

    users: NDArray[np.float32]
    """[users, dim]"""
    items: NDArray[np.float32]
    """[items, dim]"""


def check_format(format: str) -> None:
    """InputError for a format that is none, or whose package is not installed."""
    if format not in FORMATS:
        raise InputError(f"no format {format!r}; there are {', '.join(FORMATS)}")
    if format in LIBRARIES:
        check_library(format)


def write_vectors(
    to: Path, format: str, row: str, vectors: Vectors, user_ids: Ids, item_ids: Ids
) -> list[Path]:
    """Write the vectors of a row of the score card into the folder `to`.

    Args:
        to: made if it is not there.
        format: `parquet` writes `ROW-users.parquet` (`user_id`, `vector`) and `ROW-items.parquet`
            (`item_id`, `vector`), a vector being a list of fixed size; `npz` writes `ROW.npz`
            (`user_ids`, `users`, `item_ids`, `items`). `faiss` and `usearch` write `ROW.FORMAT`, an
            index of the items whose numbers are rows of `ROW-items.parquet`, the files of
            `parquet`, and what was measured of the index as `ROW.FORMAT.json`.
        row: whose vectors they are; begins the files' names.
        vectors: of all users and items.
        user_ids: names in the order of `vectors.users`.
        item_ids: names in the order of `vectors.items`.

    Returns:
        The files, all of which are whole; if one cannot be made, none is replaced.

    Raises:
        InputError: see `check_format`; or a vector holds what is no number.
    """
    check_format(format)
    for side, own in zip(Vectors._fields, vectors, strict=True):
        if not np.isfinite(own).all():
            raise InputError(f"vectors of {row}: {side} hold what is no number; fit {row} again")
    contents: dict[str, Callable[[Path], None]]
    if format == "npz":
        contents = {".npz": partial(_write_npz, vectors, user_ids, item_ids)}
    else:
        contents = {
            "-users.parquet": vector_table("user_id", user_ids, vectors.users).write_parquet,
            "-items.parquet": vector_table("item_id", item_ids, vectors.items).write_parquet,
        }
    if format in LIBRARIES:
        index = LIBRARIES[format](vectors.items)
        card = {"row": row} | _card(index, vectors)
        contents |= {
            f".{format}": index.write,
            f".{format}.json": partial(write_json, content=card),
        }
    files = {to / f"{row}{ending}": write for ending, write in contents.items()}
    with ExitStack() as stack:  # none is renamed before all are written
        for path, write in files.items():
            write(stack.enter_context(whole_file(path)))
    return list(files)


def export_model(model: FittedModel, to: Path, format: str) -> list[str]:
    """`write_vectors` of each signal of a model that is a product of two; returns `in_words`.

    What the model does not rank is left out.

    Raises:
        InputError: see `write_vectors`; or no signal is a product.
    """
    check_format(format)
    if (owner := owner_of(real(to))) is not None:
        raise InputError(f"{to} lies in {owner}; give a place outside it")
    rows = model.vectors()
    if not rows:
        raise InputError(
            f"row {model.row}: its scores are no product of short vectors; fit another row, as pmf"
        )
    ranked = np.flatnonzero(model.candidates)
    item_ids = Ids(model.catalogue.ids[ranked], "item")
    asking = model.asking(np.arange(len(model.user_ids)))
    wide = [row for row in model.learned if row not in rows]
    files = []
    for row in rows:
        left, right = (np.asarray(side, np.float32) for side in model.product_of(row, asking))
        vectors = Vectors(left, right[ranked])
        files += write_vectors(to, format, row, vectors, model.user_ids, item_ids)
    absent = [f"{row} is left out: its scores are no product of short vectors" for row in wide]
    return [*in_words(files), *absent]


def in_words(files: list[Path]) -> list[str]:
    """What `write_vectors` wrote, a line a file; of an index, what was measured."""
    lines = []
    for path in files:
        if path.suffix == ".json":
            card = read_json(path)
            lines.append(
                f"{path}: {card['method']}, {card['items']:,} items of {card['dim']} dimensions;"
                f" finds {card['recall']:.1%} of the exact top {card['k']}"
                f" ({card['users']:,} users)"
            )
        else:
            lines.append(str(path))
    return lines


def vector_table(name: str, ids: Ids, vectors: NDArray[np.floating]) -> pl.DataFrame:
    """Names and their vectors [names, dim], a row each."""
    return pl.DataFrame({name: ids.names, "vector": vectors})


def _write_npz(vectors: Vectors, user_ids: Ids, item_ids: Ids, path: Path) -> None:
    with path.open("wb") as file:  # a path would get a further ending
        np.savez(
            file,
            user_ids=user_ids.names,
            users=vectors.users,
            item_ids=item_ids.names,
            items=vectors.items,
        )


def _card(index: Index, vectors: Vectors) -> dict[str, Any]:
    """What one who serves an index wants to know of it."""
    found = measure(index, *vectors)
    items, dim = vectors.items.shape
    built = {
        "library": index.library,
        "method": index.method,
        "metric": "inner product with the items less their mean",
        "items": items,
        "dim": dim,
    }
    if found.expansion is not None:
        built |= {
            "connectivity": CONNECTIVITY,
            "expansion_add": EXPANSION_ADD,
            "expansion_search": found.expansion,
        }
    return built | {"k": min(K, items), "recall": found.recall, "users": found.users}
