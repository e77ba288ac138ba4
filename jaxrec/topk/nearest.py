"""Indices of item vectors, which find the best items of a user without scoring all of them.

What is sought is the largest inner product, and vectors differ in length. Both libraries take it as
it is: a graph of neighbours (HNSW, Malkov and Yashunin 2018, arXiv:1603.09320) by inner product.
Making distances of it by one more dimension (Bachrach et al. 2014, doi:10.1145/2645710.2645741)
finds fewer of the best items in as much time (benchmarks/LOG.md), and every query would need that
dimension too. What vectors have in common leads all paths to the same few items, and says nothing
of which are best: an index holds items less their mean, so that a user's scores are all less by the
same, and their order stays.

With fewer than `EXACT` items FAISS scores all: a quarter of a millisecond a query at 128
dimensions, and nothing is missed. A graph is built by all cores at once, so that two built from the
same vectors differ in a few edges.
"""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from jaxrec.errors import InputError
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.ranking import top_k
from jaxrec.topk.scorer import product

EXACT = 10_000
"""Items from which on a graph is worth what it misses."""
CONNECTIVITY = 32
"""Edges of an item to its neighbours (M), in each layer but the lowest, which has twice as many."""
EXPANSION_ADD = 128
"""Candidates kept while an item's neighbours are sought (efConstruction)."""
EXPANSIONS = (32, 64, 128, 256, 512)
"""Candidates kept while a user's items are sought (efSearch): the fewest that reach `RECALL`."""
RECALL = 0.97
"""Of the exact best `K`: 0.95 with room for users who are not in the sample."""
K = 25
SAMPLE = 256
"""Users by whom an index is measured, evenly spaced."""
ROUNDING = 1e-5
"""Of the last exact score: what lies closer to it is as good."""


class Index(Protocol):
    """Item vectors, less their mean, in a library's index; its numbers are their rows."""

    library: str
    """Name and version."""
    method: str
    """`exact` or `hnsw`."""

    def expand(self, expansion: int) -> None:
        """Keep so many candidates while searching."""

    def search(self, users: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Rows [n, k] of the best items of users [n, dim], best first; -1 where none was found."""

    def write(self, path: Path) -> None:
        """Write the index in the library's own format."""


def centred(items: NDArray[np.float32]) -> NDArray[np.float32]:
    """Items [items, dim] less their mean."""
    return items - items.mean(axis=0)


class Faiss:
    """An index of FAISS: exact, or a graph that remembers its expansion in its file."""

    def __init__(self, items: NDArray[np.float32]):
        """Index items [items, dim]."""
        import faiss

        self._faiss: Any = faiss  # its types know no numpy arguments
        self.library = f"faiss {faiss.__version__}"
        self.method = "exact" if len(items) < EXACT else "hnsw"
        dim = items.shape[1]
        if self.method == "exact":
            self._index = self._faiss.IndexFlatIP(dim)
        else:
            inner = self._faiss.METRIC_INNER_PRODUCT
            self._index = self._faiss.IndexHNSWFlat(dim, CONNECTIVITY, inner)
            self._index.hnsw.efConstruction = EXPANSION_ADD
        self._index.add(centred(items))

    def expand(self, expansion: int) -> None:
        """See `Index`."""
        self._index.hnsw.efSearch = expansion

    def search(self, users: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """See `Index`."""
        return self._index.search(users, k)[1]

    def write(self, path: Path) -> None:
        """See `Index`."""
        self._faiss.write_index(self._index, str(path))


class Usearch:
    """An index of usearch: a graph, whose file does not hold the expansion."""

    def __init__(self, items: NDArray[np.float32]):
        """Index items [items, dim]."""
        from usearch.index import Index as Graph

        self.library = f"usearch {version('usearch')}"
        self.method = "hnsw"
        self._index: Any = Graph(  # its types say that expansions are read-only
            ndim=items.shape[1],
            metric="ip",
            dtype="f32",  # else half precision, where the processor has it
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION_ADD,
        )
        self._index.add(np.arange(len(items), dtype=np.uint64), centred(items))

    def expand(self, expansion: int) -> None:
        """See `Index`."""
        self._index.expansion_search = expansion

    def search(self, users: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """See `Index`."""
        found = self._index.search(users, k)
        keys = np.atleast_2d(found.keys).astype(np.int64)
        if len(users) > 1:  # one user's are as many as were found
            keys[np.arange(k) >= found.counts[:, None]] = -1
        return np.pad(keys, ((0, 0), (0, k - keys.shape[1])), constant_values=-1)

    def write(self, path: Path) -> None:
        """See `Index`."""
        self._index.save(str(path))


LIBRARIES: dict[str, type[Faiss] | type[Usearch]] = {"faiss": Faiss, "usearch": Usearch}
"""By the name under which they are imported, which is also the ending of their files."""


def check_library(name: str) -> None:
    """InputError, with the remedy, if a library is not installed; imports nothing."""
    if find_spec(name) is None:
        raise InputError(f"format {name} needs a package; pip install 'jaxrec[index]'")


class Measured(NamedTuple):
    """How much of the exact top `K` an index finds."""

    recall: float
    """Mean over the sample's users, 0 to 1."""
    expansion: int | None
    """With how many candidates; None of an exact index."""
    users: int
    """How many were asked for."""


def measure(
    index: Index, users: NDArray[np.float32], items: NDArray[np.float32], k: int = K
) -> Measured:
    """Leave `index` with the fewest candidates of `EXPANSIONS` that reach `RECALL`, or the most.

    Args:
        index: of `items`.
        users: [users, dim], of which `SAMPLE` are asked for.
        items: [items, dim].
        k: how many items are sought; all, where there are fewer.
    """
    sample = users[np.unique(np.linspace(0, len(users) - 1, SAMPLE).astype(int))]
    everyone, k = np.arange(len(sample), dtype=np.int32), min(k, len(items))
    nothing = ItemSets(np.zeros(len(sample) + 1, np.int64), np.zeros(0, np.int32))
    catalogue = np.ones(len(items), bool)
    best, _ = top_k(product(sample, items), everyone, nothing, catalogue, k)

    def recall() -> float:
        return found_of(index.search(sample, k), best, sample, items)

    if index.method == "exact":
        return Measured(recall(), None, len(sample))
    for expansion in EXPANSIONS:
        index.expand(expansion)
        if (reached := recall()) >= RECALL:
            break
    return Measured(reached, expansion, len(sample))


def found_of(
    found: NDArray[np.integer],
    best: NDArray[np.integer],
    users: NDArray[np.float32],
    items: NDArray[np.float32],
) -> float:
    """Recall of the rows `found` [n, k], the exact `best` [n, k] being known.

    A row whose score equals that of the last of the best is as good as it.
    """

    def scores(rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return np.einsum("nd,nkd->nk", users, items[rows])

    last = scores(best).min(axis=1, keepdims=True)
    return float(np.mean((found >= 0) & (scores(found) >= last - ROUNDING * np.abs(last))))
