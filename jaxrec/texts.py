"""What an encoder reads about each item, and the file that carries it to torch_embed."""

import hashlib
from pathlib import Path

import polars as pl

from jaxrec.dataset import Dataset
from jaxrec.files import whole_file, write_json

NO_GENRES = "(no genres listed)"
EMPTY = "movie"


def item_texts(dataset: Dataset) -> list[str]:
    """[items] the published text of each item.

    The title cut at its last `(`, the genres, the item's tags in lower case and file order,
    duplicates kept, joined by blanks; `movie` where nothing is left. Every tag is used, as
    published, also those on held-out pairs.
    """
    tags: list[list[str]] = [[] for _ in range(dataset.items)]
    for item, word in zip(dataset.tags.items, dataset.tags.words, strict=True):
        tags[item].append(word.lower())
    texts = []
    for title, genres, words in zip(dataset.titles, dataset.genres, tags, strict=True):
        without_year = title.rsplit("(", 1)[0].strip()
        genre_words = "" if genres == NO_GENRES else genres.replace("|", " ")
        texts.append(" ".join(filter(None, [without_year, genre_words, *words])).strip() or EMPTY)
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
