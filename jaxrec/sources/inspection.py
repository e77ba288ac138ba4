"""What was understood of a data set: for people, for machines, and for a description of it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset, Interactions, columns_of
from jaxrec.data.features import item_texts
from jaxrec.data.feedback import Feedback
from jaxrec.files import real
from jaxrec.sources.description import Description
from jaxrec.sources.encodings import members
from jaxrec.sources.reading import Opened


def inspect(dataset: Dataset, described: Description) -> dict[str, Any]:
    """What was understood of a data set, as plain JSON.

    Keys: `name`, `source`, `users`, `items`, `interactions`, `density`, `feedback` (stars, likes or
    counts), `scale`, `liked`, `liked_share`, `disliked`, `columns`, `not_read` (further ones),
    `item_columns`, `files`, `files_not_read`, `times`, `texts`, `remarks`, `mended`.
    """
    found, feedback = dataset.interactions, dataset.feedback
    n = len(found.users)
    files, left = _files(described, Path(dataset.source))
    users, items = dataset.users, dataset.items
    return {
        "name": dataset.name,
        "source": dataset.source,
        "users": dataset.users,
        "items": dataset.items,
        "interactions": n,
        "density": n / (users * items),
        "feedback": feedback.kind,
        "scale": list(feedback.scale),
        "liked": feedback.liked_from,
        "liked_share": float(feedback.liked(found.values).mean()),
        "disliked": feedback.disliked_below if feedback.kind == "stars" else None,
        "columns": {
            role: name for role, name in vars(described.columns).items() if name is not None
        },
        "not_read": _not_read(described),
        "item_columns": _item_columns(described),
        "files": files,
        "files_not_read": left,
        "interactions_a_user": _spread(np.bincount(found.users)),
        "interactions_an_item": _spread(np.bincount(found.items, minlength=dataset.items)),
        "times": None if found.times is None else _times(found, found.times),
        "texts": _texts(dataset),
        "remarks": len(dataset.remarks.words),
        "mended": list(dataset.mended),
    }


def in_words(found: dict[str, Any]) -> list[str]:
    """`inspect` in lines."""
    shares = f"{found['liked_share']:.1%} of the interactions are liked"
    meaning = {
        "stars": f"stars from {found['scale'][0]:g} to {found['scale'][1]:g}, liked from"
        f" {found['liked']:g}, disliked below {found['disliked'] or 0:g}: {shares}",
        "likes": "likes: every interaction is one",
        "counts": f"counts up to {found['scale'][1]:g}, liked from {found['liked']:g}: {shares}",
    }[found["feedback"]]
    users, items = found["interactions_a_user"], found["interactions_an_item"]
    texts, times = found["texts"], found["times"]
    columns = ", ".join(f"{role} = {name}" for role, name in found["columns"].items())
    files = ", ".join(found["files"])
    if found["files_not_read"]:
        files += f"; not read: {', '.join(found['files_not_read'])}"
    if found["not_read"]:
        columns += f"; not read: {', '.join(found['not_read'])}"
    lines = [
        f"{found['name']}: {found['source']}",
        f"files: {files}",
        f"columns: {columns}",
        *_items_in_words(found["item_columns"]),
        f"users: {found['users']:,}, with {users['median']:g} interactions in the middle"
        f" ({users['least']} to {users['most']:,}; {users['below_5']:,} have fewer than 5)",
        f"items in all: {found['items']:,}, with {items['median']:g} in the middle"
        f" ({items['none']:,} without any)",
        f"interactions: {found['interactions']:,}, {found['density']:.3%} of all pairs",
        f"feedback: {meaning}",
        "times: unknown"
        if times is None
        else f"times: {times['first']} to {times['last']}; {times['tied_share']:.1%} of a user's"
        " interactions share their time with another of the same user",
        f"texts: {texts['template']}; {texts['empty']:,} items have none,"
        f" {texts['different']:,} differ",
    ]
    if "tokens" in texts:
        long = texts["tokens"]
        lines[-1] += (
            f"; {long['median']:g} tokens in the middle, {long['most']:,} at most"
            f" ({long['cut']:,} are longer than the {long['limit']:,} that {long['model']} reads)"
        )
    if found["remarks"]:
        lines.append(f"remarks: {found['remarks']:,}, held out with what they are about")
    lines += [f"mended: {line}" for line in found["mended"] or ["nothing"]]
    for protocol, held in found.get("protocols", {}).items():
        lines.append(f"{protocol}: {held}" if isinstance(held, str) else _held(protocol, held))
    if "run" in found:
        lines.append(_run(found["run"], found["protocols"]["strict"]))
    return lines


def plain_texts(dataset: Dataset) -> list[str]:
    """[items] the texts of the items without remarks."""
    return item_texts(dataset, np.zeros(len(dataset.remarks.words), bool))


def tokens(model: str, lengths: list[int], limit: int) -> dict[str, Any]:
    """How long texts are for an encoder that reads so many tokens: a part of `texts`."""
    return {
        "model": model,
        "median": float(np.median(lengths)),
        "most": max(lengths),
        "limit": limit,
        "cut": sum(length > limit for length in lengths),
    }


def as_found(dataset: Dataset, described: Description) -> Description:
    """The description with what the values turned out to mean."""
    return replace(described, feedback=meaning_of(dataset.feedback) | described.feedback)


def meaning_of(feedback: Feedback) -> dict[str, Any]:
    """What values mean, by the keys of a description."""
    known: dict[str, Any] = {"kind": feedback.kind}
    if feedback.kind == "stars":
        known |= {
            "scale": list(feedback.scale),
            "liked": feedback.liked_from,
            "disliked": feedback.disliked_below,
            "neutral": feedback.neutral,
        }
        known |= {} if feedback.implicit is None else {"implicit": feedback.implicit}
    elif feedback.kind == "counts":
        known |= {
            "liked": feedback.liked_from,
            "confidence": feedback.confidence,
            "typical": feedback.typical,
        }
    return known


def _run(takes: dict[str, float], held: dict[str, Any] | str) -> str:
    """What `jaxrec run` takes, if it can be done under its protocol."""
    if isinstance(held, str):
        return f"`jaxrec run` cannot measure anybody: {held}"
    if not held["users_evaluated"]:
        return (
            "`jaxrec run` has nobody to measure by: strict holds out a fifth of the interactions of"
            " users with 5 or more, and nobody likes what that is"
        )
    return (
        f"`jaxrec run` takes about {takes['gigabytes']:g} GB and {max(takes['minutes'], 1):.0f} min"
        " on two cores"
    )


def _held(protocol: str, held: dict[str, Any]) -> str:
    return (
        f"{protocol}: {held['train']:,} train and {held['test']:,} test interactions,"
        f" {held['users_evaluated']:,} users evaluated"
    )


def _not_read(described: Description) -> list[str]:
    """Columns beside the interactions that have no role."""
    (first, *_) = Opened(described.folder, described.interactions).layouts
    taken = set(described.columns.all)
    if described.items == described.interactions and described.item_columns is not None:
        own = described.item_columns
        taken |= {own.title or "", *columns_of(own.text or "{}"), *own.categories, *own.numbers}
    return [name for name in first.columns if name not in taken]


def _item_columns(described: Description) -> dict[str, Any] | None:
    """What the columns of items are for, and those that are not read."""
    own = described.item_columns
    if described.items is None or own is None:
        return None
    (first, *_) = Opened(described.folder, described.items).layouts
    roles = {"id": own.id, "title": own.title, "text": own.text}
    beside = {"categories": list(own.categories), "numbers": list(own.numbers)}
    taken = {own.id, own.title, *columns_of(own.text or "{title}"), *own.categories, *own.numbers}
    taken |= {flag for flags in own.flags.values() for flag in flags}
    left = [name for name in first.columns if name not in taken]
    same = described.items == described.interactions
    return roles | beside | {"not_read": [] if same else left}


def _items_in_words(columns: dict[str, Any] | None) -> list[str]:
    if columns is None:
        return ["items: in no table; known by their ids alone"]
    said = [f"{role} = {columns[role] or 'none'}" for role in ("id", "title", "text")]
    said += [f"{role} = {', '.join(columns[role])}" for role in ("categories", "numbers")]
    line = "items: " + ", ".join(part for part in said if not part.endswith("= "))
    return [line + (f"; not read: {', '.join(columns['not_read'])}" if columns["not_read"] else "")]


def _files(described: Description, source: Path) -> tuple[list[str], list[str]]:
    """The files of the data set, and those of the folder or archive that are not read."""
    tables = described.interactions, described.items, described.remarks
    paths = [path for table in tables if table for path in Opened(described.folder, table).paths]
    beside = [] if source.suffix == ".toml" else members(source)
    read = {real(path) for path in paths}
    left = [path.name for path in beside if real(path) not in read and path.suffix != ".toml"]
    return [path.name for path in dict.fromkeys(paths)], left


def _spread(counts: NDArray[np.integer]) -> dict[str, Any]:
    return {
        "median": float(np.median(counts)),
        "least": int(counts.min()),
        "most": int(counts.max()),
        "below_5": int((counts < 5).sum()),
        "none": int((counts == 0).sum()),
    }


def _times(found: Interactions, times: NDArray[np.int64]) -> dict[str, Any]:
    order = np.lexsort((times, found.users))
    users, ordered = found.users[order], times[order]
    same = (users[1:] == users[:-1]) & (ordered[1:] == ordered[:-1])
    tied = np.append(same, False) | np.append(False, same)
    first, last = (datetime.fromtimestamp(int(at), UTC) for at in (times.min(), times.max()))
    return {
        "first": f"{first:%Y-%m-%d %H:%M:%S}",
        "last": f"{last:%Y-%m-%d %H:%M:%S}",
        "different": len(np.unique(times)),
        "tied_share": float(tied.mean()),
    }


def _texts(dataset: Dataset) -> dict[str, Any]:
    catalogue = dataset.catalogue
    texts = plain_texts(dataset)
    return {
        "template": catalogue.text,
        "columns": columns_of(catalogue.text),
        "categories": list(catalogue.categories),
        "numbers": list(catalogue.numbers),
        "empty": sum(text == catalogue.nameless for text in texts),
        "different": len(set(texts)),
    }
