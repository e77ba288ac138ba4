"""Cuts a data set of any size by user, in little memory: it is read twice, batch by batch.

The first reading finds what must be known of the whole: the items, whether ids are numbers, which
values there are. The second writes every row into its part.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from jaxrec.data.assemble import index
from jaxrec.data.batches import Mending, Reader
from jaxrec.data.columns import Columns, ItemColumns
from jaxrec.data.feedback import Feedback, told, without_none, without_values
from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.files import owner_of, real
from jaxrec.sources.description import NAME, Description, Table, write_description
from jaxrec.sources.inspection import meaning_of
from jaxrec.sources.reading import (
    Opened,
    feedback_of,
    named_columns,
    numbers_of,
    of_one_value,
    read_all,
    read_items,
)
from jaxrec.sources.sharded.layout import ITEMS, PART, Shard, files_of, part_of, write_card
from jaxrec.sources.tables import OnBytes, nobody


@dataclass
class Whole:
    """What is known of all interactions."""

    rows: int = 0
    left_out: int = 0
    """Rows without a user, an item or a value."""
    kinds: dict[str, pl.DataType] = field(default_factory=dict)
    """Of users and items: Int64, or String once one of them is no number."""
    items: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.Int64))
    """Each once."""
    levels: pl.DataFrame | None = None
    """`value`, ascending, and how often (`len`); None where there are no values."""
    oldest: int | None = None
    """Of the times; None where none is understood."""


def write_shard(
    described: Description, folder: Path, parts: int, on_bytes: OnBytes = nobody
) -> tuple[Shard, list[str]]:
    """Cut a data set into a folder (see `jaxrec.sources.sharded.layout`).

    Memory is that of a batch of rows, of the items, and of the parts' rows that wait to be written;
    where values are counts, or there are none, that of one part's pairs of user and item, too.

    Args:
        described: what is cut.
        folder: of the parts; it appears only when all is written.
        parts: how many.
        on_bytes: told how much has been read, twice over.

    Returns:
        The counts of the parts, and what is to be known, in lines.

    Raises:
        InputError: the folder is there, the description asks for a core, no row is whole, or what
            cannot be mended.
    """
    _check(described, folder)
    opened, mending = Opened(described.folder, described.interactions), Mending()
    whole = _looked_at(_batches(opened, described, partial(_half, on_bytes, 0)))
    if not whole.rows:
        raise InputError(f"{opened.paths[0]}: no row has a user, an item and a value")
    if whole.left_out:
        mending.say(f"{whole.left_out:,} x no user, no item or no value: left out")
    if described.columns.time is not None and whole.oldest is None:
        mending.say(f"no time of {described.columns.time} is understood: taken as unknown")
    if described.remarks is not None:
        mending.say("remarks are left out: no model of many processes reads texts of users")
    columns = (
        described.columns if whole.oldest is not None else replace(described.columns, time=None)
    )
    cut = replace(
        described,
        interactions=Table(("part=*/*.parquet",), time_format="s" if columns.time else None),
        columns=columns,
        items=Table((ITEMS,)),
        remarks=None,
        remark_columns=None,
    )
    with _whole_folder(folder) as made:
        own = _write_items(described, whole.items, made / ITEMS, mending)
        rows = _batches(opened, described, partial(_half, on_bytes, 1))
        _write_parts(rows, columns, whole, made, parts)
        counts = [_count(made, part, columns) for part in range(parts)]
        shard = Shard(*zip(*counts, strict=True))
        feedback = _feedback(described, whole, made, shard, mending)
        meaning = meaning_of(feedback) | described.feedback
        if feedback.kind == "counts":
            meaning["scale"] = list(feedback.scale)
        cut = replace(cut, folder=made, item_columns=own, feedback=meaning)
        write_description(made / NAME, cut, [f"cut by user into {parts} parts", *mending.lines])
        write_card(made, shard)
    return shard, mending.lines


def _check(described: Description, folder: Path) -> None:
    if folder.exists():
        raise InputError(f"{folder} is there already; remove it, or give another --out")
    if (owner := owner_of(real(folder).parent)) is not None:
        raise InputError(f"{folder} lies in {owner}; give a place outside it")
    if described.core:
        raise InputError(
            f"core = {described.core} needs all interactions at once; take it out of the"
            " description, or cut the data to their core before"
        )
    if PART in described.columns.all:
        raise InputError(f"a column is called {PART!r} as the folders are; give it another name")


def _half(on_bytes: OnBytes, half: int, read: int, size: int) -> None:
    on_bytes(half * size + read, 2 * size)


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` only if the block succeeds."""
    made = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        yield made
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _batches(
    opened: Opened, described: Description, on_bytes: OnBytes
) -> Iterator[tuple[pl.DataFrame, int]]:
    """Rows that are whole as `user`, `item`, `value`, `time`; and how many others stood there."""
    columns, time, done = described.columns, described.interactions.time_format, 0
    for batch in opened.batches(columns.all, numbers_of(opened, columns), on_bytes):

        def place(row: int, done: int = done) -> str:
            return opened.place(done + row)

        reader = Reader(columns, opened.written, time, place)
        reader.take(of_one_value(batch, columns))
        time, done = reader.time, done + len(batch)
        roles = {role: reader.give(role) for role in ("user", "item", "value", "time")}
        found = pl.DataFrame({role: column for role, column in roles.items() if column is not None})
        found = found.with_columns(pl.col(pl.Categorical).cast(pl.String))
        kept = found.drop_nulls([role for role in ("user", "item", "value") if role in found])
        yield kept, len(found) - len(kept)


def _looked_at(batches: Iterator[tuple[pl.DataFrame, int]]) -> Whole:
    whole = Whole()
    for batch, left_out in batches:
        whole.left_out += left_out
        if not len(batch):
            continue
        whole.rows += len(batch)
        for role in ("user", "item"):
            if whole.kinds.setdefault(role, pl.Int64()) == pl.Int64:
                whole.kinds[role] = pl.Int64() if batch[role].dtype.is_integer() else pl.String()
        kind = whole.kinds["item"]
        both = whole.items.cast(kind), batch["item"].unique().cast(kind)
        whole.items = pl.concat(both).unique()
        if "value" in batch:
            levels = batch.group_by("value").len()
            if whole.levels is not None:
                levels = pl.concat([whole.levels, levels]).group_by("value").agg(pl.sum("len"))
            whole.levels = levels.sort("value")
        if "time" in batch and batch["time"].min() is not None:
            oldest: Any = batch["time"].min()
            whole.oldest = int(oldest) if whole.oldest is None else min(whole.oldest, int(oldest))
    return whole


def _write_items(
    described: Description, found: pl.Series, path: Path, mending: Mending
) -> ItemColumns:
    """Write the table of all items, those that the described one lacks behind; say its columns."""
    catalogue = read_items(described, Mending())
    ids, _ = index(_comparable(found), None if catalogue is None else catalogue.ids, "item")
    if described.items is None or described.item_columns is None or catalogue is None:
        columns = ItemColumns(described.columns.item)
        pl.DataFrame({columns.id: ids.names.tolist()}).write_parquet(path)
        return columns
    if len(ids) > len(catalogue.ids):
        mending.say(
            f"{len(ids) - len(catalogue.ids):,} items that no table of items has: known by their"
            " ids alone"
        )
    columns, opened = described.item_columns, Opened(described.folder, described.items)
    table = read_all(opened, named_columns(columns, opened.layouts[0].columns))
    key, names = "position", table[columns.id].cast(pl.String)
    if opened.written:
        names = names.str.strip_chars()
    of_row = Ids(ids.names, "item").find(names.fill_null("").to_list())
    table = table.with_columns(pl.Series(key, of_row))
    listed = pl.DataFrame({columns.id: ids.names.tolist()}).with_row_index(key)
    listed = listed.with_columns(pl.col(key).cast(pl.Int32))
    rest = table.drop(columns.id).unique(key, keep="first")
    whole = listed.join(rest, on=key, how="left", maintain_order="left").drop(key)
    whole.select(table.drop(key).columns).write_parquet(path)
    return columns


def _comparable(names: pl.Series) -> pl.Series:
    """Names as `index` takes them: text as categories."""
    return names if names.dtype.is_integer() else names.cast(pl.Categorical(pl.Categories.random()))


def _write_parts(
    batches: Iterator[tuple[pl.DataFrame, int]],
    columns: Columns,
    whole: Whole,
    folder: Path,
    parts: int,
) -> None:
    """Write every row into its part, in the order in which they were read."""
    kinds = whole.kinds | {"value": pl.Float64(), "time": pl.Int64()}
    roles = [role for role in kinds if getattr(columns, role) is not None]
    names = {role: getattr(columns, role) for role in roles}
    schema = {names[role]: kinds[role] for role in roles} | {PART: pl.Int32()}

    def rows(*_: object) -> Iterator[pl.DataFrame]:
        for batch, _left_out in batches:
            typed = batch.select(pl.col(role).cast(kinds[role]) for role in roles)
            if "time" in roles:
                typed = typed.with_columns(pl.col("time").fill_null(whole.oldest))
            part = pl.Series(PART, part_of(typed["user"], parts), pl.Int32)
            yield typed.rename(names).with_columns(part)

    to = pl.PartitionBy(folder, key=PART, include_key=False, approximate_bytes_per_file=None)
    register_io_source(rows, schema=schema).sink_parquet(to)


def _count(folder: Path, part: int, columns: Columns) -> tuple[int, int]:
    """Interactions and users of a part."""
    scanned = _scanned(folder, part)
    if scanned is None:
        return 0, 0
    counted = scanned.select(pl.len().alias("rows"), pl.col(columns.user).n_unique().alias("users"))
    return counted.collect(engine="streaming").row(0)


def _scanned(folder: Path, part: int) -> pl.LazyFrame | None:
    paths = sorted(folder.glob(*files_of([part])))
    return pl.scan_parquet(paths, hive_partitioning=False, glob=False) if paths else None


def _feedback(
    described: Description, whole: Whole, folder: Path, shard: Shard, mending: Mending
) -> Feedback:
    """What the values of all parts mean, told as of a data set that is read at once."""
    given, columns = feedback_of(described), described.columns
    if whole.levels is None:
        again: Any = 0.0
        if given.get("kind") is None:
            pairs = sum(_sums(folder, part, columns)["len"].sum() for part in range(shard.parts))
            again = 1 - pairs / whole.rows
        feedback = without_values(again, given)
    else:
        levels, counts = (column.to_numpy() for column in whole.levels)
        where = str(Opened(described.folder, described.interactions).paths[0])
        name = columns.value or ""
        feedback = told(
            levels, counts, given, name, mending, lambda wanted: (where, float(wanted[0]))
        )
    if feedback.kind != "counts":
        return feedback
    sums = pl.concat(_sums(folder, part, columns) for part in range(shard.parts))
    sums = sums.group_by("value").agg(pl.sum("len")).filter(pl.col("value") > 0).sort("value")
    levels, counts = sums["value"].to_numpy(), sums["len"].to_numpy()
    return Feedback.of("counts", levels, counts, **without_none(given))


def _sums(folder: Path, part: int, columns: Columns) -> pl.DataFrame:
    """What the counts of each pair of a part add up to (`value`), and how often (`len`)."""
    scanned, count = (
        _scanned(folder, part),
        pl.len() if columns.value is None else pl.sum(columns.value),
    )
    if scanned is None:
        return pl.DataFrame(schema={"value": pl.Float64, "len": pl.UInt32})
    pairs = scanned.group_by(columns.user, columns.item).agg(count.cast(pl.Float64).alias("value"))
    return pairs.group_by("value").len().collect(engine="streaming")
