"""Items by words of their titles, whatever the case and the accents; built once for many questions.

Postings lie word by word in alphabetical order, so that all words that begin alike are one slice.
An item is named by its place in order of popularity, so that the first found are the best known.
"""

import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

WORDS = re.compile(r"\w+")
MOST_WORDS = 8
"""Of a query; the others are left out."""
LAST = chr(0x10FFFF)
"""Behind whatever continues a prefix."""


def plain(text: str) -> str:
    """Without case and accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in apart if not unicodedata.combining(sign))


class Titles:
    """Of one catalogue; items are positions in it."""

    def __init__(self, titles: Sequence[str], counts: NDArray[np.integer]):
        """Both [items]; `counts` say how well known items are."""
        self._best_known = np.argsort(-counts, kind="stable").astype(np.int32)
        places = defaultdict[str, list[int]](list)
        self._whole = defaultdict[str, list[int]](list)
        for place, item in enumerate(self._best_known.tolist()):
            title = plain(titles[item])
            self._whole[title].append(item)
            for word in set(WORDS.findall(title)):
                places[word].append(place)
        self._words = sorted(places)
        self._starts = np.cumsum([0, *(len(places[word]) for word in self._words)])
        self._places = np.array([at for word in self._words for at in places[word]], np.int32)

    def starting(self, query: str, limit: int) -> list[int]:
        """Items each of whose asked words begins a word of the title, the best known first."""
        found = np.ones(len(self._best_known), bool)
        for word in WORDS.findall(plain(query))[:MOST_WORDS]:
            found &= self._with(word)
        return self._best_known[np.flatnonzero(found)[:limit]].tolist()

    def close_to(self, asked: str, limit: int = 5) -> list[int]:
        """Items whose titles share the most words with what is asked, or words spelt much alike."""
        shared = np.zeros(len(self._best_known), np.int32)
        for word in WORDS.findall(plain(asked))[:MOST_WORDS]:
            shared += self._with(word) | self._with(self._spelt_like(word))
        best = np.argsort(-shared, kind="stable")[:limit]
        return self._best_known[best[shared[best] > 0]].tolist()

    def called(self, asked: str) -> list[int]:
        """The items of a title, else the two best known whose words begin so."""
        whole = self._whole.get(plain(asked), []) if asked.strip() else []
        return whole or (self.starting(asked, 2) if WORDS.search(asked) else [])

    def _with(self, prefix: str) -> NDArray[np.bool_]:
        """[items] by place: does a word begin so?"""
        found = np.zeros(len(self._best_known), bool)
        first, last = (bisect_left(self._words, end) for end in (prefix, prefix + LAST))
        found[self._places[self._starts[first] : self._starts[last]]] = True
        return found

    def _spelt_like(self, word: str) -> str:
        """Of the words with the same first letters the nearest, or the word itself."""
        first, last = (bisect_left(self._words, word[:2] + end) for end in ("", LAST))
        return next(iter(get_close_matches(word[:40], self._words[first:last], 1, 0.75)), word)
