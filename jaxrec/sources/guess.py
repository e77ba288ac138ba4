"""What a folder, an archive or a table is made of, guessed: a `Description` to be looked at."""

import re
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import polars as pl

from jaxrec.data.batches import as_numbers
from jaxrec.data.columns import (
    BEFORE_BRACKET,
    NAMES,
    YEAR,
    Columns,
    ItemColumns,
    guess_columns,
    guess_item_columns,
    is_prose,
    plain,
)
from jaxrec.errors import InputError
from jaxrec.files import real
from jaxrec.sources.description import NAME, Description, Table, read_description
from jaxrec.sources.encodings import members
from jaxrec.sources.reading import Opened, in_one, read_all
from jaxrec.sources.tables import Layout, sample, sniff

FILMS_HAVE = ("movieId", "title")
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
WITHOUT_HEADER = {
    "u.data": ("userId", "movieId", "rating", "timestamp"),
    "u.item": ("movieId", "title", "release_date", "video_release_date", "url", *GENRES),
    "ratings.dat": ("userId", "movieId", "rating", "timestamp"),
    "movies.dat": ("movieId", "title", "genres"),
    "tags.dat": ("userId", "movieId", "tag", "timestamp"),
}
"""Columns of published files that do not name them: MovieLens 100K, 1M and 10M."""
FILMS = ItemColumns(
    "movieId",
    title="title",
    text="{title} {genres}",
    categories={"genres": "|"},
    numbers={"year": 10.0},
    extract={"year": ("title", YEAR), "name": ("title", BEFORE_BRACKET)},
    missing=("(no genres listed)",),
    published_text="{name} {genres}",
    nameless="movie",
)
"""Of the films of MovieLens: `Heat (1995)`, genres joined by `|`."""
HALF_STARS = ("userId", "movieId", "rating", "timestamp")
"""Header of MovieLens ratings from 0.5 to 5."""
NO_TABLES = re.compile(
    r"(?i)readme|licen[cs]e|sha256|md5|checksum|\.(md|html?|pdf|toml|py|sh|pl|kg|link|net|user)$"
    r"|^(bx-)?users?\.|^u\.(genre|info|occupation|user)$|^u[1-5ab]\.(base|test)$|links?\.csv$"
)
TABLES = re.compile(
    r"(?i)\.(csv|tsv|dat|data|item|inter|jsonl?|ndjson|parquet|pq)(\.(gz|zst|bz2|xz))?$"
)
"""Names of tables."""
LIKELY = re.compile(
    r"(?i)^(bx-book-)?(ratings?|interactions?|events?|reviews?|u\.data|user_?artists)|\.inter"
    r"|^(plays|clicks|views|loans|orders?|purchases|sales|transactions|listens|history|log)"
)
"""Names of tables of interactions."""
PARTS = 4
"""Batches that are looked at for what interactions say of items."""
FOUND = 0.01
"""Least share of the interactions' items that a table of items has."""


@dataclass(frozen=True)
class Candidate:
    """A table of a folder, looked into."""

    path: Path
    layout: Layout
    some: pl.DataFrame
    roles: Columns | None
    """If it may hold interactions."""
    words: str | None
    """Column of words, if it may hold remarks."""


def describe(
    path: Path, items: Path | None = None, columns: dict[str, str] | None = None,
    text: str | None = None,
) -> Description:  # fmt: skip
    """What a data set is made of.

    Args:
        path: a `dataset.toml`, or what is to be guessed: a folder, an archive, a table.
        items: the table of items, if it is known.
        columns: of the interactions, by role, as far as they are known.
        text: template of item texts, if it is known.

    Raises:
        InputError: it cannot be told; what would tell is named.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    toml = path / NAME if path.is_dir() else path
    if toml.suffix == ".toml" and toml.exists():
        if items is not None:
            raise InputError(f"{toml} says which table is of items; edit [items] there")
        return _told(read_description(toml), columns, text)
    given, files = columns or {}, members(path)
    alone = len(files) == 1
    there = [file for file in files if alone or not NO_TABLES.search(file.name)]
    candidates = [found for file in there if (found := _look(file, given, alone)) is not None]
    chosen = _interactions(path, candidates, items)
    assert chosen.roles is not None
    same = _alike(chosen, candidates)
    folder = path if path.is_dir() else path.parent
    half = chosen.layout.columns == HALF_STARS and chosen.layout.header and _in_half_stars(chosen)
    described = Description(
        real(folder),
        real(path).name.partition(".")[0] if path.is_file() else real(path).name,
        _table(folder, same),
        chosen.roles,
        {"scale": [0.5, 5.0]} if half else {},
    )
    described = _with_items(described, chosen, candidates, items, text)
    if text is not None and described.items is None:
        raise InputError("there is no table of items to make texts of; give one: --items FILE")
    remarks = [found for found in candidates if found.words and found not in same]
    if remarks and remarks[0].roles is not None:
        about = replace(remarks[0].roles, value=None, words=remarks[0].words)
        described = replace(described, remarks=_table(folder, remarks[:1]), remark_columns=about)
    return described


def _in_half_stars(chosen: Candidate) -> bool:
    """Do most values lie where those of MovieLens do?"""
    value = chosen.roles and chosen.roles.value
    if value is None or value not in chosen.some.columns:
        return True
    middle = as_numbers(chosen.some[value])[0].median()
    return not isinstance(middle, float) or 0.5 <= middle <= 5


def _told(described: Description, columns: dict[str, str] | None, text: str | None) -> Description:
    """A description that was written, with what is said now."""
    if columns:
        described = replace(described, columns=replace(described.columns, **columns))
    if text is not None:
        if described.item_columns is None:
            raise InputError("there is no table of items to make texts of; give one: --items FILE")
        described = replace(described, item_columns=replace(described.item_columns, text=text))
    return described


def _look(path: Path, given: dict[str, str], alone: bool) -> Candidate | None:
    """A file looked into; None if it is no table of ours. What is alone has to be one."""
    known = WITHOUT_HEADER.get(path.name.removesuffix(".gz").removesuffix(".zst"))
    try:
        layout = sniff(path, known)
        some = sample(path, layout)
    except InputError:
        if alone or TABLES.search(path.name):
            raise  # else what is damaged would be passed over in silence
        return None
    if len(layout.columns) < 2 and layout.format == "csv":
        if alone:
            raise InputError(f"{path}: one column only; is it a table, and how is it separated?")
        return None
    text = some.select(name for name in some.columns if not some.schema[name].is_nested())
    words = next((name for name in text.columns if plain(name) in NAMES["words"].split()), None)
    here = {role: name for role, name in given.items() if alone or name in text.columns}
    try:
        named = layout.header or known is not None or layout.format != "csv"
        roles = guess_columns(text, here, named)
    except InputError as error:
        if alone:
            raise InputError(f"{path}: {error}") from None
        roles = None
    return Candidate(path, layout, some, roles, words if roles is not None else None)


def _interactions(path: Path, candidates: list[Candidate], items: Path | None) -> Candidate:
    """The likeliest: by name, then whose users come again, then with values, then the largest."""
    may = [found for found in candidates if found.roles and not found.words]
    may = may or [found for found in candidates if found.roles]
    if items is not None:
        may = [found for found in may if real(found.path) != real(items)]
    if not may:
        seen = "; ".join(
            f"{found.path.name}: {', '.join(found.layout.columns)}" for found in candidates
        )
        raise InputError(
            f"{path}: no table of who did what with which item ({seen or 'no tables'}); give the"
            " file, and --columns user=NAME,item=NAME (of `jaxrec data inspect`)"
        )

    def rank(found: Candidate) -> tuple[bool, bool, bool, int]:
        assert found.roles is not None
        again = found.some[found.roles.user].n_unique() < len(found.some)
        size = found.path.stat().st_size if found.path.is_file() else len(found.some)
        likely = bool(LIKELY.search(found.path.name))
        return likely, again, found.roles.value is not None, size

    return max(may, key=rank)


def _alike(chosen: Candidate, candidates: list[Candidate]) -> list[Candidate]:
    """The parts of the table that `chosen` is one of: named alike but for a number."""

    def kind(found: Candidate) -> tuple[str, str, Columns | None]:
        return re.sub(r"\d+", "0", found.path.name), found.layout.format, found.roles

    return [found for found in candidates if kind(found) == kind(chosen)]


def _with_items(
    described: Description,
    chosen: Candidate,
    candidates: list[Candidate],
    items: Path | None,
    text: str | None,
) -> Description:
    """With the table of items: that which has most of the items, or the interactions' own."""
    assert chosen.roles is not None
    asked = set(chosen.some[chosen.roles.item].drop_nulls().cast(pl.String))
    if items is not None:
        given = _item_table(items)
        best = given, *_best_id(given, asked, chosen.roles.item)
    else:
        found = [
            (other, *_best_id(other, asked, chosen.roles.item))
            for other in candidates
            if other.roles != chosen.roles and not other.words
        ]
        best = max(found, key=lambda one: one[2], default=(chosen, chosen.roles.item, 0.0))
    table, id_column, share = best
    if items is None and share < FOUND:
        return _with_items_beside(described, chosen, text)
    if set(FILMS_HAVE) <= set(table.layout.columns):
        columns = replace(FILMS, text=text or FILMS.text)
        if set(GENRES) <= set(table.layout.columns):
            columns = replace(columns, categories={}, flags={"genres": tuple(GENRES)})
    else:
        columns = guess_item_columns(_read_listed(table), id_column, text)
    own = _table(described.folder, [table])
    return replace(described, items=own, item_columns=columns)


def _with_items_beside(described: Description, chosen: Candidate, text: str | None) -> Description:
    """What the interactions say of the items themselves, if they say anything.

    A column that is not the same wherever an item comes again is what users say: a review, a name.
    Prose is never read from beside an interaction, since it would betray who wrote it.
    """
    assert chosen.roles is not None
    item, names = chosen.roles.item, chosen.some.columns
    rest = [name for name in names if name not in chosen.roles.all and not is_prose(name)]
    rest = [name for name in rest if not chosen.some.schema[name].is_nested()]
    if not rest or chosen.layout.format == "jsonl":
        return described
    opened = Opened(described.folder, described.interactions)
    rest = [name for name in rest if all(name in layout.columns for layout in opened.layouts)]
    if not rest:
        return described
    try:
        frame = in_one(islice(opened.batches([item, *rest]), PARTS), [item, *rest])
    except InputError:
        return described  # said when what is wanted is read
    known = [name for name in rest if _is_said_of_items(frame, item, name)]
    items = frame.select(item, *known).unique(item, keep="first", maintain_order=True)
    columns = guess_item_columns(items, item, text)
    if columns.title is None:
        return described
    return replace(described, items=described.interactions, item_columns=columns)


def _is_said_of_items(frame: pl.DataFrame, item: str, name: str) -> bool:
    """Is it one wherever an item comes again, for enough items, and does it tell items apart?"""
    told = frame.select(item, name).drop_nulls().group_by(item).agg(
        pl.len().alias("rows"), pl.col(name).n_unique().alias("said"), pl.col(name).first()
    )  # fmt: skip
    again = told.filter(pl.col("rows") > 1)
    enough = len(again) >= max(10, len(told) / 5)
    return (
        enough
        and float((again["said"] == 1).sum()) >= 0.99 * len(again)
        and told[name].n_unique() >= len(told) / 2
    )


def _item_table(path: Path) -> Candidate:
    layout = sniff(path, WITHOUT_HEADER.get(path.name))
    return Candidate(path, layout, sample(path, layout), None, None)


def _best_id(table: Candidate, asked: set[str], item: str) -> tuple[str, float]:
    """The column that names most of the items asked for, and the share of them."""
    unique = [
        name
        for name in table.some.columns
        if not table.some.schema[name].is_nested() and len(table.some) > 0
        and table.some[name].n_unique() > len(table.some) / 2
    ]  # fmt: skip
    if not unique:
        return table.layout.columns[0], 0.0
    opened = Opened(table.path.parent, Table((table.path.name,), *_how(table.layout)))
    frame = in_one(opened.batches(unique), unique)

    def share(name: str) -> float:
        return len(asked & set(frame[name].drop_nulls().cast(pl.String))) / max(len(asked), 1)

    best = max(unique, key=lambda name: (share(name), plain(name) == plain(item)))
    return best, share(best)


def _read_listed(table: Candidate) -> pl.DataFrame:
    opened = Opened(table.path.parent, Table((table.path.name,), *_how(table.layout)))
    return read_all(opened, list(table.layout.columns)).head(20_000)


def _table(folder: Path, parts: list[Candidate]) -> Table:
    names = tuple(_beside(found.path, folder) for found in parts)
    ways = {_how(found.layout) for found in parts}
    return Table(names, *(ways.pop() if len(ways) == 1 else ()))


def _beside(path: Path, folder: Path) -> str:
    """The name of a file beside a folder."""
    here, there = real(path), real(folder)
    return here.relative_to(there).as_posix() if here.is_relative_to(there) else str(here)


def _how(layout: Layout) -> tuple[tuple[str, ...] | None, str | None, str | None]:
    """Columns, separator and encoding, as far as a file does not say them itself."""
    columns = None if layout.header or layout.format != "csv" else layout.columns
    separator = layout.separator if layout.format == "csv" else None
    return columns, separator, None if layout.encoding == "utf-8" else layout.encoding
