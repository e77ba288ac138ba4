"""What is added to a fitted model from outside: interactions, items, wishes, segments."""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.data.assemble import catalogue_of
from jaxrec.data.batches import WHOLE, Mending, Where, names_of
from jaxrec.data.columns import NAMES, ItemColumns, plain
from jaxrec.data.dataset import Catalogue
from jaxrec.data.features import template_texts
from jaxrec.data.ids import NONE, Ids
from jaxrec.errors import InputError
from jaxrec.serving.model import FittedModel, Pairs, Wanted
from jaxrec.serving.strangers import Segments
from jaxrec.sources.description import Table
from jaxrec.sources.guess import describe
from jaxrec.sources.reading import Opened, needed, read_all, read_dataset

SAID = {"liked_from": "liked", "disliked_below": "disliked"}
"""Fields of `Feedback`, and what descriptions call them."""


def with_interactions(model: FittedModel, path: Path) -> tuple[FittedModel, list[str]]:
    """The model knowing the interactions of a table, and what is to be said of them.

    Raises:
        InputError: it cannot be read, or has none of the model's items.
    """
    try:
        described = describe(path)
    except InputError as error:
        remedy = "describe it by `jaxrec data inspect`, and give --interactions the dataset.toml"
        raise InputError(f"{str(error).partition(';')[0]}; {remedy}") from None
    kept = {SAID.get(name, name): value for name, value in asdict(model.feedback).items()}
    rated = described.columns.value is not None or model.feedback.kind != "stars"
    described = replace(described, feedback=kept if rated else {"kind": "likes"}, core=0)
    read = read_dataset(described, str(path))
    more, said = read.interactions, [f"{path}: {line}" for line in read.mended]
    there = Opened(described.folder, described.interactions).layouts[0].columns
    if unread := [name for name in there if name not in described.columns.all]:
        said.append(f"{path}: columns that are not read: {', '.join(unread)}")
    if not rated:
        more = more._replace(values=np.full(len(more.users), model.feedback.liked_from))
        said.append(f"{path}: no ratings, so every interaction counts as just liked")
    items = model.catalogue.ids.find(read.item_ids.names)
    known_items = items[more.items] != NONE
    if not known_items.any():
        raise InputError(f"{path}: none of its items is one of the model's; are ids spelled alike?")
    if not known_items.all():
        unknown = int((items == NONE).sum())
        said.append(
            f"{path}: {int((~known_items).sum()):,} interactions with {unknown:,} items that the"
            " model does not know are left out (`jaxrec model add-items`)"
        )
    more = more.at(np.flatnonzero(known_items))
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
        InputError: it cannot be read, lacks a column, or has no rows.
    """
    columns = model.catalogue.columns
    if columns is None:
        raise InputError("the model was fitted on data without a table of items; it reads none")
    opened = _open(path)
    there = list(opened.layouts[0].columns)
    frame = read_all(opened, there)
    columns, said = _with_id(columns, there, path), list[str]()
    for lacking in (name for name in needed(columns) if name not in there):
        frame = frame.with_columns(pl.lit(None, pl.String).alias(lacking))
        said.append(f"{path}: no column {lacking}: unknown of all")
    mending = Mending()
    try:
        catalogue = catalogue_of(frame, columns, opened.written, mending, opened.place)
    except InputError as error:
        named = str(error).startswith(f"{path}, ")  # which row it is
        raise InputError(str(error) if named else f"{path}: {error}") from None
    if not len(catalogue.ids):
        raise InputError(f"{path} has no rows; give a table of new items")
    new = np.flatnonzero(model.catalogue.ids.find(catalogue.ids.names) == NONE)
    said += [f"{path}: {line}" for line in mending.lines]
    known = len(catalogue.ids) - len(new)
    if known:
        said.append(f"{path}: {known:,} items are in the model already, and stay as they are")
    names = model.catalogue.ids.names
    if names.dtype.kind == "i" and catalogue.ids.names.dtype.kind != "i":
        read = catalogue.ids.names.tolist()
        text = next((name for name in read if not re.match(WHOLE, name)), read[0])
        raise InputError(
            f"{path}: {columns.id} holds text, as {text!r}, and the items of the model are whole"
            " numbers"
        )
    ids = Ids(catalogue.ids.names[new], "item")
    found = replace(catalogue, ids=ids, table=catalogue.table[new.tolist()])
    if bare := template_texts(found).count(found.nameless):
        said.append(f"{path}: {bare:,} of the new items have no text")
    return found, said


def _with_id(columns: ItemColumns, there: Sequence[str], path: Path) -> ItemColumns:
    """Columns of a table whose ids may be called otherwise than those that were read first."""
    if columns.id in there:
        return columns
    left = [name for name in there if name != columns.title]
    listed = [name for name in left if plain(name) in (*NAMES["item"].split(), "id")]
    if not listed:
        raise InputError(f"{path}: no column {columns.id!r} of ids; there are {', '.join(there)}")
    return replace(columns, id=listed[0])


def wishes(
    user_ids: Ids,
    item_ids: Ids,
    k: int,
    only: Path | None,
    exclude: Path | None,
    user: str | None = None,
) -> tuple[Wanted, list[str]]:
    """What may be on the lists, and what is to be said of that.

    Args:
        user_ids: whom the files name.
        item_ids: what they name.
        k: how long a list is.
        only: a table of the items that may be listed; by default all.
        exclude: a table of items that may not, or of pairs of user and item.
        user: the only one who asks, perhaps unknown.

    Raises:
        InputError: a file cannot be read, or its columns cannot be told.
    """
    (k, allowed, apart), said = Wanted.best(k, len(item_ids)), list[str]()
    if only is not None:
        owners, items = _named(user_ids, item_ids, only)
        if owners is not None:
            raise InputError(f"{only}: pairs of user and item; --only takes items, for everybody")
        _say_unknown(only, items == NONE, said)
        if not (items != NONE).any():
            raise InputError(f"{only}: names no item that is known; are ids spelled alike?")
        allowed = np.isin(np.arange(len(item_ids)), items)
    if exclude is not None:
        owners, items = _named(user_ids, item_ids, exclude)
        known = items != NONE
        if owners is None:
            allowed[items[known]] = False
            _say_unknown(exclude, ~known, said)
        else:
            own = known & (owners == user)
            allowed[items[own]] = False
            users = user_ids.find(owners.tolist())
            _say_unknown(exclude, ~own & ((users == NONE) | ~known), said)
            pairs = known & (users != NONE)
            apart = Pairs(users[pairs], items[pairs])
    return Wanted(k, allowed, apart), said


def _say_unknown(path: Path, unknown: NDArray[np.bool_], said: list[str]) -> None:
    if unknown.any():
        said.append(f"{path}: {int(unknown.sum()):,} rows of nobody or nothing that is known")


def _named(
    user_ids: Ids, item_ids: Ids, path: Path
) -> tuple[NDArray[np.str_] | None, NDArray[np.int32]]:
    """Users as they are written, if a table names any, and positions of its items.

    A table of one column names items. Of several, names of columns decide, or what they hold: items
    that are known in one alone, and users in another.

    Raises:
        InputError: it cannot be told which column is the item.
    """
    frame, headed, _ = _as_text(path, (user_ids, item_ids))
    names = frame.columns
    item = next((name for name in names if headed and _is_called(name, "item")), None)
    user = next((name for name in names if headed and _is_called(name, "user")), None)
    if item is None and len(names) == 1:
        (item,) = names
    elif item is None:
        may = [name for name in names if name != user and _known(item_ids, frame[name])]
        users = [name for name in names if name != user and _known(user_ids, frame[name])]
        if not headed and len(names) == 2 and names[0] in users and names[1] in may:
            user, item = names  # as interactions without a header
        elif len(may) == 1:
            (item,) = may
            user = user or next((name for name in users if name != item), None)
    if item is None:
        raise InputError(
            f"{path}: which column is the item? there are {', '.join(names)}; call it item, and"
            " that of users user"
        )
    owners = None if user is None else frame[user].to_numpy().astype(str)
    return owners, item_ids.find(frame[item].to_list())


def _is_called(name: str, role: str) -> bool:
    return plain(name) in NAMES[role].split()


def _known(ids: Ids, column: pl.Series) -> bool:
    """Is any of these names known?"""
    return bool((ids.find(column.to_list()) != NONE).any())


def _as_text(path: Path, known: tuple[Ids, ...]) -> tuple[pl.DataFrame, bool, Where]:
    """The columns of a small table, as names are written; have they names of their own; the rows'
    places.

    A first line that holds a name that is known is none of columns.
    """
    opened = _open(path)
    layout, headed = opened.layouts[0], True
    if layout.format == "csv":
        named = any(_known(ids, pl.Series(layout.columns)) for ids in known)
        headed = layout.header and not named
        if layout.header and named:
            columns = tuple(f"column {n}" for n in range(1, 1 + len(layout.columns)))
            opened = Opened(path.parent, Table((path.name,), columns))
    frame = read_all(opened, list(opened.layouts[0].columns))
    flat = [column for column in frame if not column.dtype.is_nested()]
    text = [names_of(column, opened.written).cast(pl.String).fill_null("") for column in flat]
    return pl.DataFrame(text), headed, opened.place


def read_segments(path: Path, user_ids: Ids) -> Segments:
    """A table of users and what segment each belongs to.

    Raises:
        InputError: it cannot be read, has not two columns, or names nobody who is known.
    """
    frame, headed, place = _as_text(path, (user_ids,))
    names = frame.columns
    if len(names) != 2:
        raise InputError(f"{path}: {len(names)} columns; give a user and a segment, and no more")
    called = [name for name in names if headed and _is_called(name, "user")]
    held = [name for name in names if _known(user_ids, frame[name])]
    if not held:
        raise InputError(f"{path}: none of its users is known; are ids spelled alike?")
    user = next(iter(called), held[0])
    (segment,) = (name for name in names if name != user)
    rows = frame.with_row_index("row").filter((pl.col(user) != "") & (pl.col(segment) != ""))
    twice = rows.filter(pl.col(user).is_duplicated())
    if len(twice):
        first, second = twice.filter(pl.col(user) == twice[user][0])["row"][:2]
        raise InputError(
            f"{place(second)}: user {twice[user][0]!r} stands in {place(first)} already; give each"
            " user once"
        )
    members = dict(rows.select(user, segment).iter_rows())
    return Segments(segment if headed else "their segment", members)


def _open(path: Path) -> Opened:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return Opened(path.parent, Table((path.name,)))
