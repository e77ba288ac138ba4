"""What is added to a fitted model from outside: interactions, items, wishes, segments."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.data.assemble import catalogue_of
from jaxrec.data.batches import Mending, names_of
from jaxrec.data.columns import NAMES, ItemColumns, plain
from jaxrec.data.dataset import Catalogue
from jaxrec.data.ids import NONE, Ids
from jaxrec.errors import InputError
from jaxrec.serving.model import FittedModel, Pairs, Wanted
from jaxrec.serving.strangers import Segments
from jaxrec.sources.description import Table
from jaxrec.sources.guess import describe
from jaxrec.sources.reading import Opened, read_all, read_dataset
from jaxrec.sources.tables import sniff

SAID = {"liked_from": "liked", "disliked_below": "disliked"}
"""Fields of `Feedback`, and what descriptions call them."""


def with_interactions(model: FittedModel, path: Path) -> tuple[FittedModel, list[str]]:
    """The model knowing the interactions of a table, and what is to be said of them.

    Raises:
        InputError: it cannot be read, or has none of the model's items.
    """
    described = describe(path)
    kept = {SAID.get(name, name): value for name, value in asdict(model.feedback).items()}
    rated = described.columns.value is not None or model.feedback.kind != "stars"
    described = replace(described, feedback=kept if rated else {"kind": "likes"})
    read = read_dataset(described, str(path))
    more, said = read.interactions, [f"{path}: {line}" for line in read.mended]
    if not rated:
        more = more._replace(values=np.full(len(more.users), model.feedback.liked_from))
        said.append(f"{path}: no ratings, so every interaction counts as just liked")
    items = model.catalogue.ids.find(read.item_ids.names)
    there = items[more.items] != NONE
    if not there.any():
        raise InputError(f"{path}: none of its items is one of the model's; are ids spelled alike?")
    if not there.all():
        unknown = int((items == NONE).sum())
        said.append(
            f"{path}: {int((~there).sum()):,} interactions with {unknown:,} items that the model"
            " does not know are left out (`jaxrec model add-items`)"
        )
    more = more.at(np.flatnonzero(there))
    more = more._replace(items=items[more.items])
    users, place = np.unique(more.users, return_inverse=True)
    more = more._replace(users=place.astype(np.int32))
    names = read.user_ids.names[users]
    known = model.user_ids.find(names) != NONE
    said.append(
        f"{path}: {len(more.users):,} interactions of {int(known.sum()):,} known and"
        f" {int((~known).sum()):,} new users, folded in"
    )
    return model.with_interactions(names, more), said


def new_items(model: FittedModel, path: Path) -> tuple[Catalogue, list[str]]:
    """The items of a table that the model does not know, and what is to be said of them.

    Raises:
        InputError: it cannot be read, lacks a column, or has no new item.
    """
    columns = model.catalogue.columns
    if columns is None:
        raise InputError("the model was fitted on data without a table of items; it reads none")
    opened = _open(path)
    there = list(opened.layouts[0].columns)
    frame = read_all(opened, there)
    columns = _with_id(columns, there)
    mending = Mending()
    catalogue = catalogue_of(frame, columns, opened.written, mending, opened.place)
    new = np.flatnonzero(model.catalogue.ids.find(catalogue.ids.names) == NONE)
    said = [f"{path}: {line}" for line in mending.lines]
    known = len(catalogue.ids) - len(new)
    if known:
        said.append(f"{path}: {known:,} items are in the model already, and stay as they are")
    if not len(new):
        raise InputError(f"{path}: no item that the model does not know")
    names = model.catalogue.ids.names
    if names.dtype.kind == "i" and catalogue.ids.names.dtype.kind != "i":
        raise InputError(
            f"{path}: {columns.id} holds text, as {catalogue.ids[new[0]]}, and the items of the"
            " model are whole numbers"
        )
    table = catalogue.table[new.tolist()]
    return replace(catalogue, ids=Ids(catalogue.ids.names[new], "item"), table=table), said


def _with_id(columns: ItemColumns, there: Sequence[str]) -> ItemColumns:
    """Columns of a table whose ids may be called otherwise than those that were read first."""
    if columns.id in there:
        return columns
    listed = [name for name in there if plain(name) in (*NAMES["item"].split(), "id")]
    if not listed:
        raise InputError(f"no column {columns.id!r} of ids; there are {', '.join(there)}")
    return replace(columns, id=listed[0])


def wishes(
    user_ids: Ids, item_ids: Ids, k: int, only: Path | None, exclude: Path | None
) -> tuple[Wanted, list[str]]:
    """What may be on the lists, and what is to be said of that.

    Args:
        user_ids: whom the files name.
        item_ids: what they name.
        k: how long a list is.
        only: a table of the items that may be listed; by default all.
        exclude: a table of items that may not, or of pairs of user and item.

    Raises:
        InputError: a file cannot be read, or names no item that is known.
    """
    (_, allowed, apart), said = Wanted.best(k, len(item_ids)), list[str]()
    if only is not None:
        _, items = _pairs(user_ids, item_ids, only, said)
        allowed = np.isin(np.arange(len(item_ids)), items)
    if exclude is not None:
        owners, items = _pairs(user_ids, item_ids, exclude, said)
        if owners is None:
            allowed[items] = False
        else:
            apart = Pairs(owners, items)
    return Wanted(k, allowed, apart), said


def _pairs(
    user_ids: Ids, item_ids: Ids, path: Path, said: list[str]
) -> tuple[NDArray[np.int32] | None, NDArray[np.int32]]:
    """Users, if they are named, and items of a table of wishes, as positions in the model."""
    opened = _open(path)
    frame = read_all(opened, list(opened.layouts[0].columns))
    flat = [column for column in frame if not column.dtype.is_nested()]
    found = {column.name: names_of(column, opened.written).drop_nulls() for column in flat}
    share = {name: _share(item_ids, names) for name, names in found.items()}
    listed = [name for name in share if plain(name) in NAMES["item"].split() and share[name] > 0]
    item = next(iter(listed), max(share, key=lambda name: share[name]))
    if not share[item]:
        raise InputError(f"{path}: no column names an item that is known; are ids spelled alike?")
    user = next((name for name in found if plain(name) in NAMES["user"].split()), None)
    named = names_of(frame[item], opened.written).cast(pl.String).fill_null("")
    items = item_ids.find(named.to_list())
    there = items != NONE
    owners = None
    if user is not None and user != item:
        names = names_of(frame[user], opened.written).cast(pl.String).fill_null("")
        owners = user_ids.find(names.to_list())
        there &= owners != NONE
        owners = owners[there]
    if not there.all():
        said.append(f"{path}: {int((~there).sum()):,} rows are of nobody or nothing that is known")
    return owners, items[there]


def _share(ids: Ids, names: pl.Series) -> float:
    return float((ids.find(names.to_list()) != NONE).mean()) if len(names) else 0.0


def read_segments(path: Path) -> Segments:
    """A table of users and what segment each belongs to.

    Raises:
        InputError: it cannot be read, or has not two columns.
    """
    opened = _open(path)
    there = list(opened.layouts[0].columns)
    if len(there) != 2:
        raise InputError(f"{path}: {len(there)} columns; give a user and a segment, and no more")
    frame = read_all(opened, there)
    listed = [name for name in there if plain(name) in NAMES["user"].split()]
    user = next(iter(listed), there[0])
    (segment,) = (name for name in there if name != user)
    names = names_of(frame[user], opened.written).cast(pl.String)
    rows = pl.DataFrame({"user": names, "of": frame[segment].cast(pl.String)}).drop_nulls()
    if not len(rows):
        raise InputError(f"{path}: no user has a segment")
    return Segments(segment, dict(rows.iter_rows()))


def _open(path: Path) -> Opened:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    sniff(path)
    return Opened(path.parent, Table((path.name,)))
