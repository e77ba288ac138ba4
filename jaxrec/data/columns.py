"""What the columns of a table are for, guessed from their names, then from what they hold."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl

from jaxrec.errors import InputError

ROLES = ("user", "item", "value", "time")
NAMES = {
    "user": "user userid uid username reviewer reviewerid customer customerid client clientid buyer"
    " buyerid member memberid visitor visitorid patron patronid reader listener viewer account"
    " accountid profile session sessionid usersha1 userindex useridx",
    "item": "item itemid iid parentasin asin movie movieid film filmid book bookid isbn isbn13"
    " product productid sku stockcode track trackid song songid artist artistid artistmbid album"
    " albumid game gameid appid anime animeid recipe recipeid news newsid article articleid video"
    " videoid business businessid listing station episode episodeid podcast show showid title"
    " itemindex itemidx",
    "stars": "rating ratings rate stars star score overall bookrating userrating reviewscore",
    "counts": "count counts plays play playcount playcounts listens listencount listeningcount"
    " weight quantity qty purchases clicks views viewcount frequency freq hours playtime scrobbles"
    " loans times nplays",
    "values": "value val vote votes preference score hoursplayed",
    "likes": "like liked likes label clicked click bought purchased watched favorite favourite",
    "time": "timestamp time datetime date day when at ts unixtime unixreviewtime reviewtime"
    " eventtime createdat created ratedat ratingtimestamp timestampms utctime playedat invoicedate"
    " orderdate",
    "words": "tag tags words remark comment",
}
"""Names of columns by what they are for, the likelier first; letters and digits alone count."""
HINTS = {
    "user": re.compile(
        r"user|customer|reviewer|member|visitor|listener|reader|patron|client|buyer"
    ),
    "item": re.compile("item|product|movie|film|book|track|song|artist|article|video|game|asin"),
}
STAMPED = re.compile(r"(?i)(^|_|[a-z])(at|on|date|time|timestamp|ts)$")
"""Names of columns that may hold times."""
TITLES = (
    "title headline booktitle itemtitle movietitle producttitle name itemname artistname trackname"
)
TITLES += " artname productname originaltitle movie book song description text"
MAKERS = "author authors bookauthor brand artist artistname director directors creator publisher"
TOPICS = "genre genres category categories class classes topic topics movieclass maincategory tags"
TOPICS += " subject subjects styles section sections"
PROSE = "description text summary overview abstract plot keywords features"
YEARS = "year releaseyear yearofpublication publicationyear originalpublicationyear movieyear"
COUNTER = re.compile(r"|unnamed.?\d*|index|column\d+")
"""Names, letters and digits alone, that a column which merely counts rows may have."""
WORDS = 100
"""Most different categories that are guessed to be categories."""
YEAR = r"\((\d{4})[^()]*\)\s*$"
"""Of `Heat (1995)` and `Doctor Who (2005-2010)`: the last bracket, its first year."""
BEFORE_BRACKET = r"^(.*?)(?:\([^(]*)?$"
"""Of `Heat (1995)`: what stands before the last bracket."""


@dataclass(frozen=True)
class Columns:
    """Columns of a table of interactions, or of remarks."""

    user: str
    item: str
    value: str | None = None
    time: str | None = None
    words: str | None = None
    """Of remarks: what was written."""

    def __post_init__(self) -> None:
        """Raise InputError if a column has two roles: what follows would be of no use."""
        twice = next((name for name in self.all if self.all.count(name) > 1), None)
        if twice is not None:
            roles = [role for role, name in vars(self).items() if name == twice]
            raise InputError(f"{' and '.join(roles)} are the same column, {twice!r}; name another")

    @property
    def all(self) -> list[str]:
        """Those that there are."""
        found = self.user, self.item, self.value, self.time, self.words
        return [name for name in found if name is not None]


@dataclass(frozen=True)
class ItemColumns:
    """Columns of a table of items."""

    id: str
    title: str | None = None
    """What people know an item by."""
    text: str | None = None
    """Template of what an encoder reads, of columns in braces."""
    categories: dict[str, str] = field(default_factory=dict)
    """Columns of words of a small vocabulary, and what separates them; nothing for lists."""
    numbers: dict[str, float] = field(default_factory=dict)
    """Columns of numbers, each with the distance at which items are no longer alike."""
    flags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """New columns of categories, each from columns that are 1 where the item is of that name."""
    extract: dict[str, tuple[str, str]] = field(default_factory=dict)
    """New columns, each from a column and the first group of a pattern in it."""
    missing: tuple[str, ...] = ()
    """What stands where nothing is known."""
    published_text: str | None = None
    """Template of a published text, if it differs."""
    nameless: str = "item"
    """The text of an item of which nothing is known."""


def plain(name: str) -> str:
    """Lower case, letters and digits alone, without RecBole's type (`user_id:token`)."""
    return re.sub(r"[\W_]", "", name.partition(":")[0].casefold())


def is_prose(name: str) -> bool:
    """Does the name of a column speak of what people write at length: reviews, descriptions?"""
    return plain(name) in [*PROSE.split(), *["review", "comment", "body", "content", "message"]]


def guess_columns(frame: pl.DataFrame, given: dict[str, str], named: bool = True) -> Columns:
    """Which columns of a table of interactions are which.

    Args:
        frame: some rows of it, as text.
        given: columns that are known, by role.
        named: has it names of its own? Else the first column is the user's, the second the item's.

    Raises:
        InputError: user or item cannot be told; the option that says it is named.
    """
    check_given(frame.columns, given)
    left = [name for name in frame.columns if name not in given.values()]
    left = [name for name in left if not (named and _counts_rows(name, frame[name]))]
    found = dict(given)

    def take(role: str, names: Iterable[str]) -> None:
        name = next(iter(names), None)
        if role not in found and name is not None:
            found[role] = name
            left.remove(name)

    for role in ("user", "item", "time"):
        take(role, _listed(left, NAMES[role]))
    take("time", (name for name in left if STAMPED.search(name) and _is_time(frame[name])))
    take(
        "value",
        _listed(left, f"{NAMES['stars']} {NAMES['counts']} {NAMES['values']} {NAMES['likes']}"),
    )
    for role, hint in HINTS.items():
        take(role, (name for name in left if hint.search(plain(name))))
    if not named:
        for role in ("user", "item"):
            take(role, list(left))
        take("time", (name for name in left if _is_time(frame[name])))
        take("value", (name for name in left if _is_number(frame[name])))
    elif len(left) == 1 and len(found) < len(ROLES):
        lacks = [role for role in ("user", "item") if role not in found]
        take(lacks[0] if len(lacks) == 1 else "", list(left))
    if found.get("user", "") == found.get("item"):
        raise InputError(f"user and item are both the column {found['user']!r}")
    for role in ("user", "item"):
        if role not in found:
            raise InputError(
                f"which column is the {role}? there are {', '.join(frame.columns)}; say --columns"
                " user=NAME,item=NAME (of `jaxrec data inspect`)"
            )
    return Columns(found["user"], found["item"], found.get("value"), found.get("time"))


def check_given(columns: Sequence[str], given: dict[str, str]) -> None:
    """Raise InputError for a role that there is not, or a column that there is not."""
    for role, name in given.items():
        if role not in ROLES:
            raise InputError(f"no role {role!r} of columns; there are {', '.join(ROLES)}")
        check_column(name, columns)


def check_column(name: str, columns: Sequence[str]) -> None:
    """Raise InputError if there is no such column."""
    if name not in columns:
        raise InputError(f"no column {name!r}; there are {', '.join(columns)}")


def kind_by_name(column: str | None) -> str | None:
    """The kind of feedback that the name of a column of values speaks of, if it does."""
    kinds = ("stars", "counts")
    name = None if column is None else plain(column)
    return next((kind for kind in kinds if name in NAMES[kind].split()), None)


def guess_item_columns(frame: pl.DataFrame, id_column: str, text: str | None = None) -> ItemColumns:
    """What the columns of a table of items are for.

    Columns that count or rate (averages of ratings, numbers of reviews) are made from who liked
    what: none of them is read.

    Args:
        frame: some rows of it.
        id_column: the one by which interactions name items.
        text: template of the texts, if it is known.
    """
    names = [name for name in frame.columns if name != id_column]
    strings = [name for name in names if frame.schema[name] == pl.String]
    title = next(iter(_listed(strings, TITLES)), None)
    if title is None:
        words = {name: frame[name].n_unique() for name in strings if not _is_number(frame[name])}
        often = max(words, key=lambda name: words[name], default=None)
        title = often if often is not None and words[often] > len(frame) / 2 else None
    categories = {}
    for name in _listed(names, TOPICS):
        separator = _category_separator(frame[name])
        if separator is not None:
            categories[name] = separator
    numbers = dict.fromkeys(_listed(names, YEARS)[:1], 10.0)
    extract: dict[str, tuple[str, str]] = {}
    if title is not None and not numbers and _has_years(frame[title]):
        numbers, extract = {"year": 10.0}, {"year": (title, YEAR)}
    if text is None:
        text = _template(names, title, list(categories))
    return ItemColumns(id_column, title, text, categories, numbers, extract=extract)


def _template(names: list[str], title: str | None, categories: list[str]) -> str | None:
    """Title, maker, categories, prose, of those that there are."""
    makers = [name for name in _listed(names, MAKERS)[:1] if name != title]
    topics = [*categories, *(name for name in _listed(names, TOPICS) if name not in categories)]
    prose = [name for name in _listed(names, PROSE)[:1] if name not in (title, *topics)]
    columns = [*([title] if title else []), *makers, *topics[:2], *prose]
    return " ".join(f"{{{name}}}" for name in dict.fromkeys(columns)) or None


def _listed(columns: Iterable[str], names: str) -> list[str]:
    """The columns of these plain names, in the order of the names."""
    wanted, there = names.split(), dict[str, str]()
    for column in columns:
        there.setdefault(plain(column), column)
    return [there[name] for name in wanted if name in there]


def _counts_rows(name: str, column: pl.Series) -> bool:
    """Is it 0, 1, 2, ... or 1, 2, 3, ... under a name that says nothing?"""
    if not COUNTER.fullmatch(plain(name)) or len(column) < 3:
        return False
    numbers = column.cast(pl.Float64, strict=False)
    steps = numbers.diff().drop_nulls()
    return numbers[0] in (0, 1) and len(steps) == len(column) - 1 and bool((steps == 1).all())


def _is_number(column: pl.Series) -> bool:
    if column.dtype.is_nested():
        return False
    return column.drop_nulls().cast(pl.Float64, strict=False).null_count() == 0


def _is_time(column: pl.Series) -> bool:
    """Seconds or milliseconds since 1980, or a date as one writes it?"""
    if _is_number(column):
        middle = column.cast(pl.Float64, strict=False).median()
        return isinstance(middle, float) and middle > 3e8
    return bool(column.drop_nulls().str.contains(r"^\d{1,4}[-./]\d\d?[-./]\d{2,4}").all())


def _has_years(titles: pl.Series) -> bool:
    """Do most titles end with a year in brackets?"""
    share = titles.str.contains(YEAR).cast(pl.Float64).mean()
    return isinstance(share, float) and share > 0.5


def _category_separator(column: pl.Series) -> str | None:
    """What separates the words of categories; "" for lists; None if they are no categories."""
    if column.dtype.is_nested():
        words = column.explode().cast(pl.String, strict=False).drop_nulls()
        return "" if 0 < words.n_unique() <= WORDS else None
    text = column.cast(pl.String).drop_nulls()
    whole = text.n_unique()
    for separator in ("|", ";", " > ", ", ", ",", " "):
        if text.str.contains(separator, literal=True).any():
            distinct = text.str.split(separator).explode().str.strip_chars().n_unique()
            if separator != " ":
                return separator if 0 < distinct <= WORDS else None
            if distinct <= min(WORDS, whole // 2):
                return separator
    return "|" if 0 < whole <= min(WORDS, len(text) // 2) else None
