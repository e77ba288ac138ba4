"""A data set from tables, what is wrong with them mended by stated rules and counted, or refused.

| what                              | rule                                                        |
|-----------------------------------|-------------------------------------------------------------|
| a row without user or item        | left out                                                    |
| the header again, between rows    | left out                                                    |
| a value that is missing           | left out                                                    |
| a value that is no number         | refused                                                     |
| stars off a scale that was given  | refused                                                     |
| the value that means "no rating"  | an interaction like those of likes: just liked              |
| one value far above all others    | refused                                                     |
| a time missing or impossible      | taken as the oldest; where all are, times are unknown       |
| a pair given twice                | the latest is kept (the last, without times); counts add up |
| a count of 0 or less in all       | left out                                                    |
| an item that is in no table       | kept, known by its id alone                                 |
| an item given twice               | the first is kept                                           |
| an item without id                | left out                                                    |

Strict reading refuses what is mended here, but for a value that means "no rating".
"""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.data.batches import (
    MISSING,
    Mending,
    Reader,
    Where,
    as_numbers,
    headers_in,
    names_of,
    refuse_unfit,
)
from jaxrec.data.columns import ItemColumns, check_column
from jaxrec.data.dataset import Catalogue, Interactions, Remarks, columns_of
from jaxrec.data.feedback import Feedback, levels_of, meaning, without_none
from jaxrec.data.ids import NONE, Ids
from jaxrec.errors import InputError

YEAR = 31_536_000
"""Seconds; an hour of 1970 is rather one of another unit, or none, where others are of 1980 on."""
CACHED = 2**17
"""Rows that are worked on at once."""


def index(names: pl.Series, known: Ids | None, what: str) -> tuple[Ids, NDArray[np.int32]]:
    """Ids of `names` that `known` has, or of all ascending, and the position of each name.

    Names that `known` lacks are put behind it, ascending.
    """
    if names.dtype.is_integer():
        ordered, codes = _codes(names.to_numpy())
        listed: NDArray[np.int64] | list[str] = ordered
    else:
        distinct = names.unique()
        text = distinct.cast(pl.String)
        order = text.arg_sort()
        listed = text.gather(order).to_list()
        code_of = np.zeros(int(distinct.to_physical().max() or 0) + 1, np.int32)  # type: ignore
        code_of[distinct.to_physical().gather(order).to_numpy()] = np.arange(len(listed))
        codes = code_of[names.to_physical().to_numpy()]
    if known is None:
        return Ids(listed, what), codes
    found, ids = known.find(listed), known
    new = np.flatnonzero(found == NONE)
    if len(new):
        ids = Ids([*known.names.tolist(), *(listed[at] for at in new.tolist())], what)
        found[new] = len(known) + np.arange(len(new), dtype=np.int32)
    return ids, found[codes]


def _codes(names: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The different names, ascending, and the place of each of `names` among them."""
    low, high = int(names.min()), int(names.max())
    if high - low > 8 * len(names) + 1024:
        ordered, codes = np.unique(names.astype(np.int64), return_inverse=True)
        return ordered, codes.astype(np.int32)
    there = np.zeros(high - low + 1, bool)  # numbers close together need no search
    for part in _parts(len(names)):
        there[names[part] - low] = True
    ordered = np.flatnonzero(there)
    place = np.zeros(len(there), np.int32)
    place[ordered] = np.arange(len(ordered), dtype=np.int32)
    found: NDArray[np.int32] = np.empty(len(names), np.int32)
    for part in _parts(len(names)):
        found[part] = place[names[part] - low]
    return (ordered + low).astype(np.int64), found


def _parts(n: int) -> list[slice]:
    """Of n rows, so many at a time that what is made of them stays in the processor's cache."""
    return [slice(start, start + CACHED) for start in range(0, n, CACHED)]


def interactions(
    read: Reader,
    catalogue: Catalogue | None,
    given: dict[str, Any],
    mending: Mending,
) -> tuple[Ids, Catalogue, Interactions, Feedback]:
    """Users, items, interactions in the order in which they were read, and what values mean.

    Args:
        read: has read them; they are taken from it.
        catalogue: of the items; those that it lacks are put behind it.
        given: fields of `Feedback` that are known, and `implicit`, the value that is none.
        mending: what is mended.

    Raises:
        InputError: nothing is left, or what cannot be mended.
    """
    user, item, value = read.give("user"), read.give("item"), read.give("value")
    if user is None or item is None or not len(user):
        raise InputError(f"{read.where(0)}: no interactions; is the file cut short?")
    time, where = read.give("time"), read.where
    whole = user.is_not_null() & item.is_not_null()
    mending.mend(np.array(read.headers, np.int64), "the header again", "left out", where)
    nobody = np.setdiff1d((~whole).arg_true().to_numpy(), read.headers)
    mending.mend(nobody, "no user or no item", "left out", where)
    if value is not None:
        lacks = whole & value.is_null()
        mending.mend(lacks.arg_true().to_numpy(), "no value", "left out", where)
        whole &= ~lacks
    at = None
    if not whole.all():
        at = whole.arg_true().to_numpy()
        user, item = user.filter(whole), item.filter(whole)
        value = value if value is None else value.filter(whole)
        time = time if time is None else time.filter(whole)
        if not len(at):
            raise InputError(f"{where(0)}: no row has a user, an item and a value")

    def place(row: int) -> str:
        return where(int(row if at is None else at[row]))

    user_ids, users = index(user, None, "user")
    item_ids, items = index(item, None if catalogue is None else catalogue.ids, "item")
    del user, item
    for ids in (user_ids, item_ids):
        for name in set(MISSING).intersection(ids.names.tolist()):
            mending.say(f"{name!r} is taken as the name of a {ids.what}")
    catalogue = _with_all(catalogue, item_ids, items, mending, place)
    times = _times(time, read, mending, place) if time is not None else None
    del time
    pairs = None if _are_ascending(users, items) else users.astype(np.int64) * len(item_ids) + items
    again = 0.0
    if value is None and pairs is not None:
        again = 1 - len(np.unique(pairs)) / len(pairs)
    rows, name = len(users), read.columns.value or ""
    values, feedback = meaning(value, rows, again, given, name, mending, place)
    found = Interactions(users, items, values, times)
    if pairs is None:
        pairs = np.zeros(0, np.int64)
    found = _each_pair_once(found, pairs, feedback.kind == "counts", mending, place)
    if feedback.kind == "counts":  # what is typical is told when they have been added up
        feedback = Feedback.of("counts", *levels_of(found.values), **without_none(given))
    return user_ids, catalogue, found, feedback


def _with_all(
    catalogue: Catalogue | None,
    ids: Ids,
    items: NDArray[np.int32],
    mending: Mending,
    where: Where,
) -> Catalogue:
    """The catalogue of all `ids`; those that it lacks are known by their ids alone."""
    if catalogue is None:
        return nameless(ids)
    unknown = np.flatnonzero(items >= len(catalogue.ids))
    what = f"an item that no table of items has ({len(ids) - len(catalogue.ids):,} items)"
    mending.mend(unknown, what, "kept, known by its id alone", where)
    if len(unknown) > len(items) / 2:
        mending.say("most items are in no table of items: are their ids spelled alike?")
    return lengthened(catalogue, ids) if len(unknown) else catalogue


def _times(
    column: pl.Series, read: Reader, mending: Mending, where: Where
) -> NDArray[np.int64] | None:
    name, early = read.columns.time, (column < YEAR).fill_null(False)
    if early.any() and (column > 10 * YEAR).any():
        first = where(int(early.arg_true()[0]))
        mending.say(
            f"{early.sum():,} times of {name} lie in 1970, and others after 1979: are they written"
            f" alike? (the first: {first})"
        )
    if read.either:
        mending.say(
            f"dates of {name} are read as month/day, and could be day/month: say which"
            " (time_format)"
        )
    if not column.null_count():
        return column.to_numpy().astype(np.int64)
    unknown = column.is_null()
    if unknown.all():
        rule = "taken as unknown; say how they are written (time_format)"
        mending.mend(np.arange(len(column)), f"no time of {name} is understood", rule, where)
        return None
    rows = unknown.arg_true().to_numpy()
    mending.mend(rows, "a time missing or impossible", "taken as the oldest", where)
    return column.fill_null(column.min()).to_numpy().astype(np.int64)


def _are_ascending(users: NDArray[np.int32], items: NDArray[np.int32]) -> bool:
    """Are they in the order of users, then of items? Then no pair comes again."""
    for part in _parts(len(users) - 1):
        u, i = (side[part.start : part.stop + 1] for side in (users, items))
        if not ((u[1:] > u[:-1]) | ((u[1:] == u[:-1]) & (i[1:] > i[:-1]))).all():
            return False
    return True


def _each_pair_once(
    found: Interactions,
    pairs: NDArray[np.int64],
    counted: bool,
    mending: Mending,
    where: Where,
) -> Interactions:
    """The latest of each pair in the order of the rows, counts added up; then counts above 0.

    `pairs` is a number for each, or empty where none comes again.
    """
    ordered = np.sort(pairs)
    again = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    kept = None
    if len(again):
        several = np.flatnonzero(
            again[np.searchsorted(again, pairs).clip(max=len(again) - 1)] == pairs
        )
        when = several if found.times is None else found.times[several]
        order = several[np.lexsort((several, when, pairs[several]))]
        last = np.append(pairs[order][1:] != pairs[order][:-1], True)
        rule = "the latest is kept" if found.times is not None else "the last is kept"
        if counted:
            rule, starts = "their counts are added up", np.flatnonzero(np.append(True, last[:-1]))
            sums = np.add.reduceat(found.values[order], starts)
            values = found.values.copy()
            values[order[last]] = sums
            found = found._replace(values=values)
        mending.mend(np.sort(order[~last]), "a pair of user and item given again", rule, where)
        kept = np.delete(np.arange(len(pairs)), order[~last])
        found = found.at(kept)
    if counted and (found.values <= 0).any():
        nothing = np.flatnonzero(found.values <= 0)
        rows = nothing if kept is None else kept[nothing]
        mending.mend(rows, "a count of 0 or less", "left out", where)
        found = found.at(np.flatnonzero(found.values > 0))
    return found


def catalogue_of(
    table: pl.DataFrame, columns: ItemColumns, written: bool, mending: Mending, where: Where
) -> Catalogue:
    """A catalogue of a table of items.

    Args:
        table: a row an item; text, or lists of text.
        columns: what they are for.
        written: are numbers written as text, in files without types?
        mending: what is mended.
        where: names the place of a row.
    """
    numbers = [name for name in columns.numbers if name not in columns.extract]
    flags = [flag for own in columns.flags.values() for flag in own]
    taken = [name for name, _ in columns.extract.values()]
    for column in (columns.id, *columns.categories, *numbers, *flags, *taken):
        check_column(column, table.columns)
    text = table.select(name for name in table.columns if table.schema[name] == pl.String)
    headers = headers_in(text, written and columns.id in text.columns)
    mending.mend(headers, "the header again", "left out", where)
    refuse_unfit(table[columns.id], "item", where)
    names = names_of(table[columns.id].clone().scatter(headers, None), written)
    there, first = names.is_not_null(), names.is_first_distinct()
    without_id = np.setdiff1d((~there).arg_true().to_numpy(), headers)
    mending.mend(without_id, "an item without id", "left out", where)
    again = (there & ~first).arg_true().to_numpy()
    mending.mend(again, "an item given again", "the first is kept", where)
    table, names = table.filter(there & first), names.filter(there & first)
    made = _made_columns(table, columns)
    title = columns.title or "title"
    if columns.title is None and title not in table.columns:
        made[title] = pl.Series([""] * len(table), dtype=pl.String)
    template = columns.text or f"{{{title}}}"
    for name in columns_of(template):
        check_column(name, list(dict.fromkeys([*table.columns, *made])))
    wanted = [title, *columns_of(template), *columns_of(columns.published_text or template)]
    for name in wanted:
        if name not in made and name in table.columns:
            made[name] = _without(table[name], columns.missing)
    return Catalogue(
        Ids(names.to_list(), "item"),
        pl.DataFrame(made),
        title=title,
        text=template,
        published_text=columns.published_text,
        categories=(*columns.categories, *columns.flags),
        numbers=columns.numbers,
        nameless=columns.nameless,
        columns=columns,
    )


def nameless(ids: Ids) -> Catalogue:
    """A catalogue of items of which nothing is known but their ids."""
    return Catalogue(ids, pl.DataFrame({"title": [""] * len(ids)}), title="title", text="{title}")


def lengthened(catalogue: Catalogue, ids: Ids) -> Catalogue:
    """The catalogue with further items, of which nothing is known, behind its own."""
    more = catalogue.table.clear(len(ids) - len(catalogue.ids))
    return replace(catalogue, ids=ids, table=pl.concat([catalogue.table, more]))


def _made_columns(table: pl.DataFrame, columns: ItemColumns) -> dict[str, pl.Series]:
    """Columns that are not as they stand: extracted, categories, flags, numbers."""
    made = {
        name: table[column].str.extract(pattern, 1).str.strip_chars()
        for name, (column, pattern) in columns.extract.items()
    }
    for name, separator in columns.categories.items():
        made[name] = _words(table[name], separator, columns.missing)
    for name, flags in columns.flags.items():
        set_ = table.select(pl.col(flags).cast(pl.Float64, strict=False) == 1).rows()
        words = [[flag for flag, on in zip(flags, row, strict=True) if on] for row in set_]
        made[name] = pl.Series(words, dtype=pl.List(pl.String))
    for name in columns.numbers:
        made[name] = as_numbers(made[name] if name in made else table[name])[0]
    return made


def _words(column: pl.Series, separator: str, missing: tuple[str, ...]) -> pl.Series:
    """Lists of words, of lists or of text cut at a separator."""
    if not column.dtype.is_nested():
        text = column.cast(pl.String)
        text = text.set(text.is_in(missing), None)
        if separator:
            stripped = pl.element().str.strip_chars()
            cut = text.fill_null("").str.split(separator)
            return cut.list.eval(stripped.filter(stripped != ""))
        column = text.implode().explode()
    words = [[str(word).strip() for word in found or ()] for found in column.to_list()]
    return pl.Series([list(filter(None, found)) for found in words], dtype=pl.List(pl.String))


def _without(column: pl.Series, missing: tuple[str, ...]) -> pl.Series:
    """Text, or lists of it, null where it is among what stands for missing."""
    if column.dtype.is_nested():
        return column.cast(pl.List(pl.String), strict=False)
    text = column.cast(pl.String)
    return text.set(text.is_in(missing), None) if missing else text


def remarks_of(
    read: Reader,
    words: pl.Series,
    user_ids: Ids,
    item_ids: Ids,
    mending: Mending,
) -> Remarks:
    """What users wrote about items.

    Args:
        read: has read authors, items and perhaps times.
        words: what was written.
        user_ids: of the users with interactions.
        item_ids: of the catalogue; a remark on another item is left out.
        mending: what is mended.
    """
    user, item, time, where = read.give("user"), read.give("item"), read.give("time"), read.where
    assert user is not None
    assert item is not None
    users, items = _found(user, user_ids), _found(item, item_ids)
    unknown = np.flatnonzero(items == NONE)
    mending.mend(unknown, "a remark on an item that is not known", "left out", where)
    silent = np.flatnonzero((items != NONE) & words.is_null().to_numpy())
    mending.mend(silent, "a remark without words", "left out", where)
    kept = np.flatnonzero((items != NONE) & words.is_not_null().to_numpy())
    times = None
    if time is not None:  # one without a time might be later than anything that is held out
        times = time.gather(kept).fill_null(np.iinfo(np.int64).max).to_numpy().astype(np.int64)
    return Remarks(users[kept], items[kept], words.gather(kept).to_list(), times)


def _found(names: pl.Series, ids: Ids) -> NDArray[np.int32]:
    """Positions of names, `NONE` of those that are missing or not there."""
    found = np.full(len(names), NONE, np.int32)
    there = names.is_not_null()
    given = names.filter(there)
    found[there.to_numpy()] = ids.find(
        given.to_numpy() if given.dtype.is_integer() else given.cast(pl.String).to_list()
    )
    return found
