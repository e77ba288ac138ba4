"""Lists as people and programs read them: lines, tables, files."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.table import Table

from jaxrec.data.dataset import Catalogue, Interactions
from jaxrec.data.feedback import Feedback
from jaxrec.data.ids import NONE
from jaxrec.errors import InputError
from jaxrec.explanation.words import as_json, in_short, in_tables
from jaxrec.files import whole_file
from jaxrec.models.model import NOBODY, Asking
from jaxrec.serving.model import FittedModel, Lists, Wanted
from jaxrec.topk.blocks import BYTES, MEMORY

FORMATS = (".csv", ".parquet", ".jsonl")
"""Suffixes of files of lists."""
LATEST = 5
"""Interactions shown beside a recommendation."""


def in_lines(
    catalogue: Catalogue,
    items: NDArray[np.int32],
    scores: NDArray[np.floating],
    why: Sequence[str] = (),
) -> list[str]:
    """A list in lines: rank, score, id, title; under each, if that is given, why."""
    shown = items[items >= 0]
    names = [str(catalogue.ids[item]) for item in shown]
    width, titles = max(map(len, names), default=0), catalogue.titles
    lines = []
    for rank, (item, score, name) in enumerate(zip(shown, scores, names, strict=False), start=1):
        lines.append(f"{rank:>4}  {score:z8.4f}  {name:>{width}}  {titles[item]}".rstrip())
        lines += [f"{'':>{18 + width}}{reason}" for reason in why[rank - 1 : rank]]
    return lines or ["nothing is left that could be listed"]


def places(catalogue: Catalogue, found: Lists) -> list[dict[str, Any]]:
    """A single list as JSON has it: `rank`, `item_id`, `title` and `score` of each place."""
    return as_table(catalogue, np.zeros(1), found).drop("user_id").to_dicts()


class Told(NamedTuple):
    """A list as people and as programs read it."""

    lines: list[str]
    json: dict[str, Any]


def _listed(
    model: FittedModel, asking: Asking, found: Lists, explain: bool, segment: str | None = None
) -> list[str]:
    """The list of one user in lines, each explained if that is asked for."""
    items, why = found.items[0], list[str]()
    if explain and (items >= 0).any():
        how = segment, bool(found.strange[0])
        explanations = model.explain(asking, items[items >= 0], *how)
        why = [in_short(model.catalogue, explanation) for explanation in explanations]
    return in_lines(model.catalogue, items, found.scores[0], why)


def latest(catalogue: Catalogue, feedback: Feedback, own: Interactions) -> list[str]:
    """What a user did last, newest first, in lines."""
    when = np.arange(len(own.users)) if own.times is None else own.times
    order = np.argsort(-when, kind="stable")[:LATEST]
    return [
        f"  {feedback.written(own.values[at])}  {catalogue.called(own.items[at])}" for at in order
    ]


def for_user(
    model: FittedModel,
    user: str,
    wanted: Wanted,
    segment: str | None,
    memory: int = MEMORY,
    explain: bool = False,
) -> Told:
    """A user's latest interactions and list; or what those get who are unknown."""
    (position,) = model.user_ids.find([user])
    if position == NONE:
        segment = segment or model.strangers.segment_of(user)
        told = for_stranger(model, f"user {user}", wanted, segment, memory, explain)
        return told._replace(json={"user": user} | told.json)
    users = np.array([position], np.int32)
    asking = model.asking(users)
    found = model.recommend(asking, wanted, users, memory=memory)
    folded = " (folded in)" if asking.trained[0] == NOBODY else ""
    by = f"Recommended by {model.row}{folded}:"
    if found.strange[0]:
        by = f"What is known says nothing to {model.row}: {model.strangers.in_words(None)}:"
    lines = [
        *made_up(model),
        f"User {user}, latest interactions:",
        *latest(model.catalogue, model.feedback, asking.known),
        by,
        *_listed(model, asking, found, explain),
    ]
    return Told(lines, {"user": user} | _by(model, found))


def for_stranger(
    model: FittedModel,
    who: str,
    wanted: Wanted,
    segment: str | None,
    memory: int = MEMORY,
    explain: bool = False,
) -> Told:
    """What somebody gets of whom nothing is known, and why."""
    asking = model.somebody(np.zeros(0, np.int32))
    found = model.recommend(asking, wanted, segment=segment, memory=memory)
    lines = [
        *made_up(model),
        f"Nothing is known of {who}: {model.strangers.in_words(segment)}:",
        *_listed(model, asking, found, explain, segment),
    ]
    return Told(lines, {"segment": segment} | _by(model, found))


def for_somebody(
    model: FittedModel,
    liked: tuple[str, ...],
    wanted: Wanted,
    memory: int = MEMORY,
    explain: bool = False,
) -> Told:
    """What goes with what somebody from outside likes, items being asked for by id or title."""
    asking, who = somebody_who_likes(model, liked)
    found = model.recommend(asking, wanted, memory=memory)
    lines = [
        *made_up(model),
        f"For {who}, by {model.row}:",
        *_listed(model, asking, found, explain),
    ]
    return Told(lines, {"liked": list(liked)} | _by(model, found))


def _by(model: FittedModel, found: Lists) -> dict[str, Any]:
    """As JSON by which row, whether that knew nothing to go by, and the items."""
    of_stranger = bool(found.strange[0])
    return {"row": model.row, "stranger": of_stranger, "items": places(model.catalogue, found)}


def somebody_who_likes(model: FittedModel, liked: tuple[str, ...]) -> tuple[Asking, str]:
    """Who likes items that are asked for by id or title, and in words."""
    items = [model.catalogue.find(asked) for asked in liked]
    titles = "; ".join(model.catalogue.called(item) for item in dict.fromkeys(items))
    return model.somebody(np.array(items)), f"somebody who likes {titles}"


def explained(
    model: FittedModel, user: str | None, liked: tuple[str, ...], item: str, k: int
) -> tuple[dict[str, Any], list[str | Table]]:
    """Why an item, asked for by id or title, has its score: as JSON, and in lines and tables.

    Args:
        model: that scores.
        user: for whom; or None for somebody from outside.
        liked: what somebody from outside likes.
        item: to be explained.
        k: so many of the user's items are shown.

    Raises:
        InputError: there is no such user or item, or the item is not ranked.
    """
    catalogue, feedback = model.catalogue, model.feedback
    of: dict[str, Any] = {"user": user}
    if user is None:
        asking, who = somebody_who_likes(model, liked)
        of = {"liked": list(liked)}
    else:
        try:
            asking, who = model.asking(model.user_ids.positions([user])), f"user {user}"
        except InputError as error:
            raise InputError(f"{error}; --liked ITEM explains for somebody new") from None
    (explanation,) = model.explain(asking, np.array([catalogue.find(item)]))
    had = asking.known.values[asking.known.items == explanation.item]
    for value in had:
        who += f", who has it {feedback.written(value)}".rstrip()
        who += " and is scored as if that were not known"
    lines: list[str | Table] = [*made_up(model), f"For {who}:"]
    if explanation.strange:
        lines.append(f"What is known says nothing to {model.row}: the score is a stranger's")
    found = of | {"has_it": bool(len(had))} | as_json(catalogue, explanation)
    return found, [*lines, *in_tables(catalogue, feedback, explanation, k)]


def for_everybody(
    model: FittedModel, wanted: Wanted, memory: int = MEMORY
) -> Iterator[pl.DataFrame]:
    """Lists of all users as tables, so many users at a time as their scores fit the memory."""
    items, users = len(model.catalogue.ids), len(model.user_ids)
    most = max(memory // (BYTES * items), 1)
    for start in range(0, users, most):
        some = np.arange(start, min(start + most, users), dtype=np.int32)
        found = model.recommend(model.asking(some), wanted, some, memory=memory)
        yield as_table(model.catalogue, model.user_ids[some], found)


def similar_to(model: FittedModel, asked: str, k: int) -> Told:
    """What is most like an item, asked for by id or title, as each signal and the texts see it.

    Raises:
        InputError: there is no such item, or the model does not say which items are alike.
    """
    item, lines = model.catalogue.find(asked), list[str]()
    like = model.similar(item, k)
    for space, found in like.items():
        lines.append(f"Most like {model.catalogue.called(item)} by {space}:")
        lines += in_lines(model.catalogue, found.items[0], found.scores[0])
    if not lines:
        raise InputError(
            f"row {model.row} does not say what {model.catalogue.called(item)} is like; fit another"
            " row"
        )
    by = {space: places(model.catalogue, found) for space, found in like.items()}
    return Told(lines, {"item": asked, "similar": by})


def made_up(model: FittedModel) -> list[str]:
    """A line that says so, if the data were made."""
    return ["SYNTHETIC DATA made by jaxrec"] if model.synthetic else []


def as_table(catalogue: Catalogue, names: NDArray, found: Lists) -> pl.DataFrame:
    """External `user_id`, `rank` from 1, `item_id`, `title`, `score`: a row for each place."""
    place, rank = np.nonzero(found.items >= 0)
    item = found.items[place, rank]
    titles = catalogue.table[catalogue.title].fill_null("")
    return pl.DataFrame(
        {
            "user_id": names[place],
            "rank": (rank + 1).astype(np.int32),
            "item_id": catalogue.ids[item],
            "title": titles.gather(item),
            "score": found.scores[place, rank],
        }
    )


def write_table(out: Path, tables: Iterable[pl.DataFrame], data: str) -> str:
    """Write tables of lists one below the other, in the format of the suffix.

    Args:
        out: its suffix is one of `FORMATS`; CSV where it has none, as a pipe.
        tables: as `as_table` makes them.
        data: name of the data set; Parquet has room for it.

    Returns:
        In words, how many rows and of how many users.

    Raises:
        InputError: there is no such format.
    """
    form = out.suffix.lower() or FORMATS[0]
    if form not in FORMATS:
        raise InputError(f"{out}: the suffix says the format, one of {', '.join(FORMATS)}")
    table = pl.concat(tables)
    with whole_file(out) as partial:
        if form == ".parquet":
            table.write_parquet(partial, metadata={"data": data})
        elif form == ".csv":
            table.write_csv(partial)
        else:
            table.write_ndjson(partial)
    return f"{len(table):,} rows for {table['user_id'].n_unique():,} users"
