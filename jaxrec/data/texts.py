"""What an encoder reads about each item, and the file that carries it to torch_embed."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset
from jaxrec.files import whole_file, write_json

NO_GENRES = "(no genres listed)"
EMPTY = "movie"


def item_texts(
    dataset: Dataset, readable: NDArray[np.bool_] | None = None, year: bool = False
) -> list[str]:
    """[items] the text of each item, by default by the published rule.

    The title cut at its last `(`, the genres, the item's tags in lower case and file order,
    duplicates kept, joined by blanks; `movie` where nothing is left.

    Args:
        dataset: titles, genres and tags.
        readable: [tags] which tags may be read; all by default, as published.
        year: keep the whole title, with the year in its last bracket.
    """
    tags: list[list[str]] = [[] for _ in range(dataset.items)]
    may_read = np.ones(len(dataset.tags.words), bool) if readable is None else readable
    for item, word, may in zip(dataset.tags.items, dataset.tags.words, may_read, strict=True):
        if may:
            tags[item].append(word.lower())
    texts = []
    for title, genres, words in zip(dataset.titles, dataset.genres, tags, strict=True):
        name = title.strip() if year else title.rsplit("(", 1)[0].strip()
        genre_words = "" if genres == NO_GENRES else genres.replace("|", " ")
        texts.append(" ".join(filter(None, [name, genre_words, *words])).strip() or EMPTY)
    return texts


def texts_sha256(dataset: Dataset, texts: list[str]) -> str:
    """Hash of the texts and the ids they belong to."""
    digest = hashlib.sha256(dataset.item_ids.astype("<i8").tobytes())
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(4, "little") + encoded)
    return digest.hexdigest()


def write_texts(path: Path, dataset: Dataset, texts: list[str]) -> None:
    """Write `path` (Parquet: `item_id`, `text`) and its card beside it (JSON)."""
    with whole_file(path) as partial:
        pl.DataFrame({"item_id": dataset.item_ids, "text": texts}).write_parquet(partial)
    card = {"data": dataset.name, "items": len(texts), "sha256": texts_sha256(dataset, texts)}
    write_json(path.with_suffix(".json"), card)
