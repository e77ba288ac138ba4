"""What an encoder reads about each item."""

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Dataset

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
