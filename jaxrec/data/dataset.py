"""What is known: who did what with which items, and what is written about each item.

External ids stay in `Ids`; everything else speaks in the int32 positions within them.
"""

import hashlib
import re
import string
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.data.feedback import Feedback
from jaxrec.data.ids import NONE, Ids
from jaxrec.errors import InputError
from jaxrec.titles import Titles

if TYPE_CHECKING:
    from jaxrec.data.columns import ItemColumns

SHOWN = 10
"""Items that an ambiguous title lists."""


class Interactions(NamedTuple):
    """Interactions in a fixed order, one per position of the four arrays."""

    users: NDArray[np.int32]
    """[n] positions in `Dataset.user_ids`."""
    items: NDArray[np.int32]
    """[n] positions in `Dataset.item_ids`."""
    values: NDArray[np.float64]
    """[n] what `Feedback` interprets: stars, or how often."""
    times: NDArray[np.int64] | None = None
    """[n] seconds since 1970-01-01 UTC; None where none are known."""

    def at(self, positions: NDArray[np.integer]) -> "Interactions":
        """The interactions at `positions`, in that order."""
        return Interactions(
            self.users[positions],
            self.items[positions],
            self.values[positions],
            None if self.times is None else self.times[positions],
        )

    def liked(self, feedback: Feedback) -> "Interactions":
        """Those that are liked, in the same order."""
        return self.at(np.flatnonzero(feedback.liked(self.values)))


class Remarks(NamedTuple):
    """What users wrote about items (tags, reviews), in file order.

    They betray who knows what, so they are held out together with the interaction.
    """

    users: NDArray[np.int32]
    """[n] positions in `Dataset.user_ids`, -1 for an author without interactions."""
    items: NDArray[np.int32]
    """[n] positions in `Dataset.item_ids`."""
    words: list[str]
    """[n] as written."""
    times: NDArray[np.int64] | None = None
    """[n] seconds since 1970-01-01 UTC; None where none are known."""


@dataclass(frozen=True)
class Catalogue:
    """The items, their table, and what its columns are for."""

    ids: Ids
    table: pl.DataFrame
    """A row an item, in the order of `ids`."""
    title: str
    """Column that people know an item by; a title is not an id (two items may share one)."""
    text: str
    """Template of an item's text, of columns in braces: `{title} {genres}`."""
    published_text: str | None = None
    """Template of a published text, if it differs."""
    categories: tuple[str, ...] = ()
    """Columns of lists of words, of a small vocabulary."""
    numbers: dict[str, float] = field(default_factory=dict)
    """Columns of numbers, each with the distance at which items are no longer alike."""
    nameless: str = "item"
    """The text of an item of which nothing is known."""
    columns: "ItemColumns | None" = field(default=None, compare=False)
    """How a table of items became this one; None where there was none."""

    def __post_init__(self) -> None:
        """Raise InputError if a role names a column that is not there, or a text no column."""
        for template in (self.text, self.published_text or self.text):
            if not columns_of(template):
                raise InputError(f"the text {template!r} names no column, as in {{title}}")
        named = {self.title, *self.categories, *self.numbers, *columns_of(self.text)}
        for column in sorted(named | set(columns_of(self.published_text or self.text))):
            if column not in self.table.columns:
                there = ", ".join(self.table.columns)
                raise InputError(f"no column {column!r} of items; there are {there}")

    @property
    def roles(self) -> tuple[object, ...]:
        """All that is said of the columns."""
        texts = self.text, self.published_text, self.nameless
        return self.title, *texts, self.categories, sorted(self.numbers.items())

    @cached_property
    def titles(self) -> list[str]:
        """[items] empty where there is none."""
        return self.table[self.title].fill_null("").to_list()

    def called(self, item: int) -> str:
        """What people know an item by: its title, or its id where it has none."""
        return self.titles[item].strip() or str(self.ids[item])

    def find(self, asked: str) -> int:
        """Position of the item with an id, a title or a part of a title, case aside.

        Raises:
            InputError: there is none, or there are several; ids and titles of those that are close
                are listed.
        """
        (place,) = self.ids.find([asked])
        if place >= 0:
            return int(place)
        titles, wanted = [title.casefold() for title in self.titles], asked.casefold()
        matches = [item for item, title in enumerate(titles) if title == wanted]
        part = _part(wanted)
        matches = matches or [item for item, title in enumerate(titles) if part.search(title)]
        if len(matches) == 1:
            return matches[0]
        if not matches:
            close = self._listed(Titles(self.titles, np.zeros(len(self.ids), int)).close_to(asked))
            more = f"; close to it: {close}" if close else ""
            raise InputError(f"no item {asked!r}; give an id or a part of a title{more}")
        more = f" and {len(matches) - SHOWN} more" if len(matches) > SHOWN else ""
        listed = self._listed(matches[:SHOWN])
        raise InputError(f"{asked!r} is ambiguous, give an id: {listed}{more}")

    def _listed(self, items: list[int]) -> str:
        return "; ".join(f"{self.ids[item]} {self.titles[item]}" for item in items)


def _part(of: str) -> re.Pattern[str]:
    """Finds a part of a title; a number is no part of a longer one (007 of 2007)."""
    before, behind = ("(?<![0-9])" * of[:1].isdigit(), "(?![0-9])" * of[-1:].isdigit())
    return re.compile(before + re.escape(of) + behind)


def columns_of(template: str) -> list[str]:
    """The columns that a template names, each once.

    What stands in braces is a name as it is, points included (`{user.id}`).

    Raises:
        InputError: the template is malformed, or asks for more than a column's value.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InputError(f"the text {template!r} is malformed ({error})") from None
    if any(form or conversion or (name or "").isdigit() for _, name, form, conversion in parts):
        raise InputError(
            f"the text {template!r} asks for more than columns; their names alone stand in braces,"
            " as in {title}"
        )
    return list(dict.fromkeys(name for _, name, _, _ in parts if name))


@dataclass(frozen=True)
class Dataset:
    """A catalogue of items, what users did with them and what they wrote about them."""

    name: str
    """Short name, printed with every result."""
    source: str
    """Where it was read from: a folder, or how it was made."""
    user_ids: Ids
    """Ascending."""
    catalogue: Catalogue
    interactions: Interactions
    feedback: Feedback
    """What the values of the interactions mean."""
    remarks: Remarks
    synthetic: bool = False
    """True for data that was made, not observed."""
    mended: tuple[str, ...] = field(default=(), compare=False)
    """What was wrong with what was read, how often, and the rule by which it was mended."""
    licence: str | None = field(default=None, compare=False)
    """Under which it may be used, if it is known."""
    core: int = field(default=0, compare=False)
    """To which `to_core` has cut it; 0 for all that there is."""

    @classmethod
    def from_frames(
        cls,
        interactions: Any,
        items: Any = None,
        *,
        columns: dict[str, str] | None = None,
        item_columns: "ItemColumns | None" = None,
        text: str | None = None,
        feedback: Feedback | str | None = None,
        time: str | None = None,
        name: str = "frames",
        strict: bool = False,
    ) -> "Dataset":
        """A data set of tables in memory: Polars, pandas, PyArrow and others (through narwhals).

        Args:
            interactions: a row for each, of a user, an item and perhaps a value and a time.
            items: a row for each item; without it items are known by their ids alone.
            columns: of the interactions, by role (`user`, `item`, `value`, `time`); what is absent
                is guessed from names.
            item_columns: what the columns of items are for; guessed by default.
            text: template of item texts, of columns in braces: `{title} by {author}`.
            feedback: what values mean, or their kind (`stars`, `likes`, `counts`); guessed from the
                values by default.
            time: how times are written: `s`, `ms`, `us`, `ns`, or a date's pattern; guessed.
            name: what to call the data set.
            strict: refuse what is not right, instead of mending it (see `jaxrec.data.assemble`).

        Returns:
            Users in ascending id, items in the order of their table; `mended` says what was.

        Raises:
            InputError: a column cannot be told, or what cannot be mended.
        """
        from jaxrec.data.frames import dataset_of_frames  # which makes data sets of this module

        return dataset_of_frames(
            interactions, items, columns or {}, item_columns, text, feedback, time, name, strict
        )

    def to_core(self, k: int) -> "Dataset":
        """Its k-core (see `in_core`): users and items with fewer interactions are left out.

        Remarks go with the items that they are on; an author who is left out is one without
        interactions. What values mean stays as it was told of all. `mended` says how many go.

        Raises:
            InputError: nothing is left.
        """
        found, remarks = self.interactions, self.remarks
        kept = np.flatnonzero(in_core(found.users, found.items, k))
        if not len(kept):
            raise InputError(
                f"core {k} leaves nothing of {self.name}: no users and items have {k} interactions"
                " with one another; give a smaller core"
            )
        left = found.at(kept)
        users, of_users = _renumbered(left.users, self.users)
        items, of_items = _renumbered(left.items, self.items)
        on = np.flatnonzero(of_items[remarks.items] != NONE)
        authors = remarks.users[on]
        return replace(
            self,
            user_ids=Ids(self.user_ids[users], self.user_ids.what),
            catalogue=replace(
                self.catalogue,
                ids=Ids(self.item_ids[items], self.item_ids.what),
                table=self.catalogue.table[items],
            ),
            interactions=left._replace(users=of_users[left.users], items=of_items[left.items]),
            remarks=Remarks(
                np.where(authors == NONE, NONE, of_users[authors]),
                of_items[remarks.items[on]],
                [remarks.words[at] for at in on.tolist()],
                None if remarks.times is None else remarks.times[on],
            ),
            mended=(
                *self.mended,
                f"core {k}: {len(found.users) - len(kept):,} of {len(found.users):,} interactions,"
                f" {self.users - len(users):,} of {self.users:,} users and"
                f" {self.items - len(items):,} of {self.items:,} items are left out",
            ),
            core=k,
        )

    @property
    def users(self) -> int:
        """How many users have an interaction."""
        return len(self.user_ids)

    @property
    def items(self) -> int:
        """How many items the catalogue has, with interactions or without."""
        return len(self.catalogue.ids)

    @property
    def item_ids(self) -> Ids:
        """In the order of the catalogue; an item need not have an interaction."""
        return self.catalogue.ids

    @property
    def titles(self) -> list[str]:
        """[items]"""
        return self.catalogue.titles

    @cached_property
    def sha256(self) -> str:
        """Hash of everything in the data set, the same however it was stored."""
        digest = hashlib.sha256()
        for ids in (self.user_ids, self.item_ids):
            content = ids.content()
            digest.update(f"{ids.names.dtype.kind}{len(ids)} {len(content)}".encode() + content)
        remarks = self.remarks
        for array in (*self.interactions, remarks.users, remarks.items, remarks.times):
            if array is None:
                digest.update(b"None")
                continue
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        catalogue, table = self.catalogue, self.catalogue.table
        columns = [(name, str(kind)) for name, kind in table.schema.items()]
        digest.update(repr((self.feedback, *catalogue.roles, columns)).encode())
        for text in (*remarks.words, *map(repr, table.iter_rows())):
            encoded = text.encode()
            digest.update(len(encoded).to_bytes(4, "little") + encoded)
        return digest.hexdigest()


def in_core(users: NDArray[np.int32], items: NDArray[np.int32], k: int) -> NDArray[np.bool_]:
    """[n] is the interaction between a user and an item of the k-core (Seidman 1983)?

    That is what is left when users and items with fewer than `k` interactions are left out, and
    again those that have fewer for it, until none has; in which order does not matter.

    Args:
        users: [n] positions.
        items: [n] positions.
        k: the least that is enough.
    """
    left = np.arange(len(users))
    while True:
        enough = np.ones(len(left), bool)
        for side in (users[left], items[left]):
            enough &= (np.bincount(side) >= k)[side]
        if enough.all():
            break
        left = left[enough]
    found = np.zeros(len(users), bool)
    found[left] = True
    return found


def _renumbered(kept: NDArray[np.int32], n: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """The positions, of `n`, that occur among `kept`; and the new one of each, or `NONE`."""
    there = np.flatnonzero(np.bincount(kept, minlength=n))
    new = np.full(n, NONE, np.int32)
    new[there] = np.arange(len(there), dtype=np.int32)
    return there, new
