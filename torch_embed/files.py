"""The border with jaxrec: item texts are read from Parquet, embeddings written as safetensors.

Both are in the order of the catalogue; an item is its position there.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import load, save

from torch_embed.errors import InputError

UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars raises of a damaged file; a panic is no Exception."""
SEAL = "seal"


class Texts(NamedTuple):
    """Item texts as jaxrec wrote them."""

    texts: list[str]
    """[items]"""
    sha256: str
    """Of the texts and of the ids that only jaxrec knows, from the card."""
    data: str
    """Name of the data set."""


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """JSON with a hash of all else in it, as jaxrec seals what it writes."""
    own = json.loads(json.dumps({name: of for name, of in content.items() if name != SEAL}))
    text = json.dumps(own, sort_keys=True)
    return own | {SEAL: hashlib.sha256(text.encode()).hexdigest()}


def read_card(path: Path) -> dict[str, Any]:
    """Read a JSON object, and whether it is as it was written; a seal is taken off.

    Without one it was written by an earlier version, by another tool or by hand.

    Raises:
        ValueError: it is no JSON object, or its seal is broken.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is no JSON object")
    if content.get(SEAL, None) != (sealed(content)[SEAL] if SEAL in content else None):
        raise ValueError(f"{path.name} is not as it was written")
    return {name: of for name, of in content.items() if name != SEAL}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path, hashes: dict[str, str]) -> None:
    """Raise ValueError if a file in `folder` has not its hash."""
    for name, sha256 in hashes.items():
        if file_sha256(folder / name) != sha256:
            raise ValueError(f"{name} is not as it was written")


def read_texts(path: Path) -> Texts:
    """Read the texts from a Parquet file (`item`, `text`), and its card.

    Raises:
        InputError: the file, its card or a column is missing or damaged.
    """
    card_path = path.with_suffix(".json")
    for needed in (path, card_path):
        if not needed.exists():
            raise InputError(f"{needed}: no such file; `jaxrec embed` writes it")
    try:
        card = read_card(card_path)
        if "file_sha256" in card:
            check_files(path.parent, {path.name: card["file_sha256"]})
        texts = read_items(path, ["text"])["text"].to_list()
        sha256, data = card["sha256"], card["data"]
    except (*UNREADABLE, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} or its card is damaged ({reason}); write them again") from None
    return Texts(texts, sha256, data)


def read_items(path: Path, columns: list[str]) -> pl.DataFrame:
    """Columns of a Parquet file that says something of every item, [items] each.

    Raises:
        BaseException: one of `UNREADABLE`: it cannot be read, or a column is missing.
        ValueError: `item` does not count the catalogue from 0.
    """
    table = pl.read_parquet(path, columns=["item", *columns], glob=False)
    if not np.array_equal(table["item"].to_numpy(), np.arange(len(table))):
        raise ValueError("its items are not 0, 1, 2 and so on")
    return table


def text_hash(text: str) -> bytes:
    """SHA-256 of one text."""
    return hashlib.sha256(text.encode()).digest()


def read_encoded(path: Path, encoder: dict[str, Any]) -> dict[bytes, NDArray[np.float32]]:
    """Embeddings by `text_hash`, if the encoder with the card `encoder` made them; else none.

    What it is called decides nothing.
    """
    try:
        content = path.read_bytes()
        card = read_card(path.with_suffix(".json"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}  # absent or damaged
    own = encoder | {"sha256": hashlib.sha256(content).hexdigest()}
    own.pop("name", None)
    if any(card.get(key) != value for key, value in own.items()):
        return {}
    arrays = load(content)
    if "text_sha256" not in arrays:
        return {}
    hashes = (row.tobytes() for row in arrays["text_sha256"])
    return dict(zip(hashes, arrays["embeddings"], strict=True))


@contextmanager
def into(folder: Path) -> Iterator[None]:
    """Around what is written into `folder`, which was made before the work.

    Raises:
        InputError: it has vanished, or what it lies in. It is not made again by halves.
    """
    try:
        yield
    except (OSError, RuntimeError):  # torch raises the second
        if folder.exists():
            raise
        gone = next(place for place in (folder, *folder.parents) if place.parent.exists())
        raise InputError(
            f"{gone} was removed while this command wrote into it; give it again"
        ) from None


def write_embeddings(
    path: Path,
    texts: Texts,
    E: NDArray[np.float32],
    card: dict[str, Any],
    by_fold: Iterable[NDArray[np.float32]] = (),
) -> None:
    """Write `embeddings` [items, dim] in catalogue order and `text_sha256` [items, 32].

    Before them go the embeddings of all items `by_fold`, by each fold's model alone, into a folder
    beside; then the card with all files' hashes, sealed. The hash of the file in `path` covers the
    others, which its metadata name. Each is written beside its place and renamed: whole or absent.

    Raises:
        InputError: what the folder of `path` lies in is not there.
    """
    folds = path.with_suffix("")
    numbered = ((folds / f"fold-{fold}.safetensors", own) for fold, own in enumerate(by_fold))
    made = {place: _write(place, save({"embeddings": own})) for place, own in numbered}
    if made:
        card = card | {"folds_sha256": list(made.values())}
    hashes = np.array([list(text_hash(text)) for text in texts.texts], np.uint8)
    covered = {"folds_sha256": " ".join(made.values())} if made else None
    sha256 = _write(path, save({"embeddings": E, "text_sha256": hashes}, covered))
    whole = json.dumps(sealed(card | {"sha256": sha256}), indent=2) + "\n"
    _write(path.with_suffix(".json"), whole.encode())
    for left in set(folds.glob("fold-*.safetensors")) - made.keys():
        left.unlink()


def _write(path: Path, content: bytes) -> str:
    """Write a whole file, or none; returns its hash."""
    partial = path.with_name(f".{path.name}.partial")  # what a killed one left is written over
    try:
        with into(path.parent):
            path.parent.mkdir(exist_ok=True)
            partial.write_bytes(content)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return hashlib.sha256(content).hexdigest()
