import json
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits
from usearch.index import Index as Graph

from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.serving.export import Vectors, check_format, in_words, write_vectors
from jaxrec.topk import nearest

ROW = "pmf+text"
NAMES = {"numbers": lambda n: range(7, 7 + n), "text": lambda n: [f"00{i}ä" for i in range(n)]}


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    """Of different lengths, some of them zero."""
    rng = np.random.default_rng(0)
    users, items = (rng.normal(size=(n, 8)).astype(np.float32) for n in (30, 200))
    items *= rng.lognormal(size=(200, 1)).astype(np.float32)
    items[::10] = 0
    return Vectors(users, items)


@pytest.fixture(params=NAMES)
def ids(request: pytest.FixtureRequest, vectors: Vectors) -> tuple[Ids, Ids]:
    user, item = (Ids(NAMES[request.param](len(own))) for own in vectors)
    return user, item


@pytest.fixture
def numbers(vectors: Vectors) -> tuple[Ids, Ids]:
    user, item = (Ids(range(len(own))) for own in vectors)
    return user, item


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few items make a graph too, and one thread builds it: the same each time."""
    monkeypatch.setattr(nearest, "EXACT", 0)
    monkeypatch.setattr(Graph, "add", partialmethod(Graph.add, threads=1))
    with threadpool_limits(1, "openmp"):
        yield


def best(vectors: Vectors, k: int) -> list[list[int]]:
    return np.argsort(-(vectors.users @ vectors.items.T), axis=1, kind="stable")[:, :k].tolist()


def of_index(vectors: Vectors) -> np.ndarray:
    """[users, items] what an index says, which ranks as scores do."""
    return vectors.users @ (vectors.items - vectors.items.mean(axis=0)).T


@pytest.mark.parametrize("format", ["parquet", "faiss", "usearch"])
def test_parquet_gives_names_and_vectors_back(
    format: str, vectors: Vectors, ids: tuple[Ids, Ids], tmp_path: Path
) -> None:
    files = write_vectors(tmp_path / "to", format, ROW, vectors, *ids)
    assert sorted((tmp_path / "to").iterdir()) == sorted(files)
    for side, names, own in zip(("user", "item"), ids, vectors, strict=True):
        table = pl.read_parquet(tmp_path / "to" / f"{ROW}-{side}s.parquet")
        assert table.columns == [f"{side}_id", "vector"]
        assert table[f"{side}_id"].to_list() == names.names.tolist()
        assert table.schema["vector"] == pl.Array(pl.Float32, 8)
        assert np.array_equal(table["vector"].to_numpy(), own)


def test_npz_gives_names_and_vectors_back(
    vectors: Vectors, ids: tuple[Ids, Ids], tmp_path: Path
) -> None:
    (path,) = write_vectors(tmp_path, "npz", ROW, vectors, *ids)
    assert [*tmp_path.iterdir()] == [path] == [tmp_path / f"{ROW}.npz"]
    with np.load(path, allow_pickle=False) as read:
        assert {*read} == {"user_ids", "users", "item_ids", "items"}
        for side, names, own in zip(("user", "item"), ids, vectors, strict=True):
            assert read[f"{side}_ids"].tolist() == names.names.tolist()
            assert read[f"{side}s"].dtype == np.float32
            assert np.array_equal(read[f"{side}s"], own)


@pytest.mark.parametrize("exact", [True, False])
def test_faiss_finds_the_rows_of_the_best_items(
    exact: bool, vectors: Vectors, numbers: tuple[Ids, Ids], tmp_path: Path, request: Any
) -> None:
    if not exact:
        request.getfixturevalue("graphs")
    write_vectors(tmp_path, "faiss", ROW, vectors, *numbers)
    index = faiss.read_index(str(tmp_path / f"{ROW}.faiss"))
    assert type(index) is (faiss.IndexFlatIP if exact else faiss.IndexHNSWFlat)
    scores, rows = index.search(vectors.users, 5)
    assert rows.tolist() == best(vectors, 5)
    expected = np.take_along_axis(of_index(vectors), rows, axis=1)
    assert np.allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_usearch_finds_the_rows_of_the_best_items(
    vectors: Vectors, numbers: tuple[Ids, Ids], tmp_path: Path
) -> None:
    write_vectors(tmp_path, "usearch", ROW, vectors, *numbers)
    index: Any = Graph.restore(str(tmp_path / f"{ROW}.usearch"))
    index.expansion_search = json.loads((tmp_path / f"{ROW}.usearch.json").read_text())[
        "expansion_search"
    ]
    found = index.search(vectors.users, 5)
    assert found.keys.tolist() == best(vectors, 5)
    expected = np.take_along_axis(of_index(vectors), found.keys.astype(int), axis=1)
    assert np.allclose(1 - found.distances, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", ["faiss", "usearch"])
def test_the_card_says_what_was_built_and_measured(
    format: str, vectors: Vectors, numbers: tuple[Ids, Ids], tmp_path: Path, graphs: None
) -> None:
    files = write_vectors(tmp_path, format, ROW, vectors, *numbers)
    card = json.loads((tmp_path / f"{ROW}.{format}.json").read_text())
    assert card["library"].startswith(f"{format} ")
    assert {name: card[name] for name in ("row", "method", "metric", "items", "dim", "users")} == {
        "row": ROW,
        "method": "hnsw",
        "metric": "inner product with the items less their mean",
        "items": 200,
        "dim": 8,
        "users": 30,
    }
    assert card["recall"] >= nearest.RECALL
    assert f"{card['recall']:.1%} of the exact top 25" in "\n".join(in_words(files))


def test_faiss_remembers_how_far_it_was_to_look(
    vectors: Vectors, numbers: tuple[Ids, Ids], tmp_path: Path, graphs: None
) -> None:
    write_vectors(tmp_path, "faiss", ROW, vectors, *numbers)
    card = json.loads((tmp_path / f"{ROW}.faiss.json").read_text())
    index: Any = faiss.read_index(str(tmp_path / f"{ROW}.faiss"))
    assert index.hnsw.efSearch == card["expansion_search"]


class Shallow:
    """Finds the best item only, until it looks as far as `enough`."""

    library, method = "none", "hnsw"

    def __init__(self, vectors: Vectors, enough: int):
        self.scores = vectors.users @ vectors.items.T
        self.enough = enough

    def expand(self, expansion: int) -> None:
        self.expansion = expansion

    def search(self, users: np.ndarray, k: int) -> np.ndarray:
        rows = np.argsort(-self.scores, axis=1)[:, :k]
        return rows if self.expansion >= self.enough else np.where(np.arange(k) < 1, rows, -1)

    def write(self, path: Path) -> None: ...


def test_an_index_looks_no_further_than_it_must(vectors: Vectors) -> None:
    assert nearest.measure(Shallow(vectors, 128), *vectors, k=5) == (1, 128, 30)
    assert nearest.measure(Shallow(vectors, 1_000), *vectors, k=5) == (0.2, 512, 30)


def test_who_reaches_the_recall_exactly_looks_no_further(
    vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "RECALL", 1.0)
    assert nearest.measure(Shallow(vectors, 128), *vectors, k=5) == (1, 128, 30)


def test_an_item_that_scores_as_the_last_of_the_best_is_found(vectors: Vectors) -> None:
    twice = np.repeat(vectors.items[1:3], 2, axis=0)
    one = vectors.users[:1]
    order = np.argsort(-(one @ twice.T)[0], kind="stable")
    best, worst = order[:2], order[2:]
    assert nearest.found_of(np.array([[best[1]]]), np.array([[best[0]]]), one, twice) == 1
    assert nearest.found_of(np.array([[worst[0]]]), np.array([[best[0]]]), one, twice) == 0


@pytest.mark.parametrize("items", [[1, 1 - 5e-6, 0.9999], [-1, -1 - 5e-6, -1.0001]])
def test_what_differs_by_rounding_is_as_good_as_the_last_of_the_best(items: list[float]) -> None:
    one, best = np.ones((1, 1), np.float32), np.zeros((1, 1), int)
    vectors = np.array(items, np.float32)[:, None]
    recalls = [nearest.found_of(best + row, best, one, vectors) for row in range(3)]
    assert recalls == [1, 1, 0]


def test_recall_is_by_the_last_of_each_user() -> None:
    """Whose scores are ten times as high has to be shown better ones."""
    users, items = np.array([[10.0], [1.0]], np.float32), np.arange(4, dtype=np.float32)[:, None]
    best = np.array([[3], [3]])
    assert nearest.found_of(np.array([[2], [3]]), best, users, items) == 0.5


@pytest.mark.parametrize("library", nearest.LIBRARIES.values())
@pytest.mark.parametrize("users", [1, 3])
def test_places_without_an_item_are_marked(
    library: type[nearest.Faiss] | type[nearest.Usearch], users: int, graphs: None
) -> None:
    index = library(np.eye(2, dtype=np.float32))
    found = index.search(np.tile(np.array([[2, 1]], np.float32), (users, 1)), 4)
    assert found.tolist() == [[0, 1, -1, -1]] * users


@pytest.mark.parametrize("library", nearest.LIBRARIES.values())
def test_what_all_items_have_in_common_hides_nothing(
    library: type[nearest.Faiss] | type[nearest.Usearch], graphs: None
) -> None:
    rng = np.random.default_rng(0)
    users, items = (rng.normal(size=(n, 16)).astype(np.float32) for n in (50, 1_000))
    common = np.full(16, 3, np.float32)
    found = nearest.measure(library(items + common), users, items + common)
    assert found.recall >= nearest.RECALL
    assert found.expansion == nearest.measure(library(items), users, items).expansion


def test_fewer_items_than_are_asked_for(tmp_path: Path, graphs: None) -> None:
    few = Vectors(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32))
    for format in ("faiss", "usearch"):
        write_vectors(tmp_path, format, ROW, few, Ids(range(3)), Ids(range(3)))
        card = json.loads((tmp_path / f"{ROW}.{format}.json").read_text())
        assert (card["k"], card["recall"]) == (3, 1)


def test_what_is_no_format_is_refused() -> None:
    with pytest.raises(InputError, match=r"no format 'csv'; there are parquet, npz, faiss, us"):
        check_format("csv")


@pytest.mark.parametrize("format", ["faiss", "usearch"])
def test_a_missing_package_is_named_with_its_remedy(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"{format} needs .*; pip install 'jaxrec\[index\]'"):
        check_format(format)
    check_format("npz")


def test_vectors_that_are_no_numbers_are_refused(
    vectors: Vectors, numbers: tuple[Ids, Ids], tmp_path: Path
) -> None:
    broken = vectors._replace(items=vectors.items * np.nan)
    with pytest.raises(InputError, match=r"pmf\+text: items hold what is no number; fit"):
        write_vectors(tmp_path, "npz", ROW, broken, *numbers)


@pytest.mark.parametrize(
    ("format", "owner", "write"),
    [
        ("parquet", pl.DataFrame, "write_parquet"),
        ("npz", np, "savez"),
        ("faiss", faiss, "write_index"),
        ("usearch", Graph, "save"),
    ],
)
def test_what_cannot_be_written_leaves_what_was_there(
    format: str,
    owner: Any,
    write: str,
    vectors: Vectors,
    numbers: tuple[Ids, Ids],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {
        path: path.read_bytes() for path in write_vectors(tmp_path, format, ROW, vectors, *numbers)
    }
    calls, original = [], getattr(owner, write)

    def full(*args: Any, **options: Any) -> None:
        original(*args, **options)
        calls.append(args)
        if len(calls) == (2 if format == "parquet" else 1):  # items after users
            raise OSError("no space left on device")

    monkeypatch.setattr(owner, write, full)
    with pytest.raises(OSError, match="no space"):
        write_vectors(tmp_path, format, ROW, Vectors(*(-own for own in vectors)), *numbers)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
