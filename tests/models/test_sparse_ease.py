"""Sparse EASE beside EASE, which it is where every item is a neighbour of every other."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.errors import InputError
from jaxrec.models.linear import sparse_ease as module
from jaxrec.models.linear.ease import ease, text_correction
from jaxrec.models.linear.sparse_ease import directions, sparse_ease, sparse_inverse
from jaxrec.models.model import NOBODY, Arrays, Asking, Settings
from jaxrec.models.registry import MODELS
from jaxrec.sources.synthetic import STARS
from tests.conftest import make_ratings
from tests.scored import scores_by

USERS, ITEMS = 90, 40
"""More items than directions that are taken out, so that something is left."""
SETTINGS: Settings = {"lambda_": 7.0, "text_weight": 0.3, "target": "liked"}


def some_matrix(share: float = 0.3) -> sparse.csr_array:
    rng = np.random.default_rng(5)
    return sparse.csr_array((rng.random((USERS, ITEMS)) < share) * rng.random((USERS, ITEMS)))


def some_features(items: int = ITEMS) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(items, 3)).astype(np.float32)


def item_weights(row: str, arrays: Arrays, items: int = ITEMS) -> NDArray[np.floating]:
    """[items, items] what `row` scores whom who has one item, by the item."""
    each = make_ratings([(item, item, 5.0, 0) for item in range(items)])
    asking = Asking(each, np.full(items, NOBODY, np.int32), STARS)
    return scores_by(MODELS[row].ask(arrays, asking, SETTINGS), np.arange(items), items)


def off_diagonal(B: NDArray[np.floating]) -> NDArray[np.floating]:
    """Without what an item says of itself, which no list shows."""
    return B - np.diag(np.diagonal(B))


@pytest.mark.parametrize("text", ["", "+text"])
@pytest.mark.parametrize(("neighbours", "share"), [(ITEMS - 1, 0.3), (1000, 0.3), (1000, 0.05)])
def test_with_all_items_as_neighbours_it_is_ease(text: str, neighbours: int, share: float) -> None:
    """Where few have two items in common, too."""
    X, E = some_matrix(share), some_features() if text else None
    found = item_weights(f"sparse-ease{text}", sparse_ease(X, 7.0, neighbours, E, 0.3))
    exact = item_weights(f"ease{text}", ease(X, 7.0, E, 0.3))
    np.testing.assert_allclose(off_diagonal(found), off_diagonal(exact), atol=1e-4)


def test_features_of_no_column_are_no_text() -> None:
    none = sparse_ease(some_matrix(), 7.0, 5, np.zeros((ITEMS, 0)))
    plain = sparse_ease(some_matrix(), 7.0, 5)
    np.testing.assert_array_equal(
        item_weights("sparse-ease", none), item_weights("sparse-ease", plain)
    )


def test_new_items_are_placed_as_ease_places_them() -> None:
    X, E = some_matrix(), some_features(ITEMS + 2)
    both = {
        "sparse-ease+text": sparse_ease(X, 7.0, ITEMS - 1, E[:ITEMS], 0.3),
        "ease+text": ease(X, 7.0, E[:ITEMS], 0.3),
    }
    placed = []
    for row, arrays in both.items():
        place = MODELS[row].place
        assert place is not None
        for e in E[ITEMS:]:  # one after the other
            arrays = place(arrays, e[None], SETTINGS)
        placed.append(off_diagonal(item_weights(row, arrays, ITEMS + 2)))
    np.testing.assert_allclose(placed[0], placed[1], atol=1e-4)


def test_what_is_taken_out_leaves_a_gramian() -> None:
    """X^T X - F F^T has no negative eigenvalue, and less to it than X^T X."""
    X = some_matrix()
    F = directions(X)
    left = np.linalg.eigvalsh((X.T @ X).toarray() - F @ F.T)
    assert left.min() > -1e-9
    assert F.shape == (ITEMS, module.DIRECTIONS)
    assert left.sum() < 0.2 * (X**2).sum()


def test_directions_are_the_largest_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DIRECTIONS", 2)
    rng = np.random.default_rng(0)
    tastes = rng.random((USERS, 2)) @ rng.random((2, ITEMS))  # two groups of users, say
    X = sparse.csr_array(100 * tastes + rng.random((USERS, ITEMS)))
    F = directions(X)
    exact = np.linalg.eigvalsh((X.T @ X).toarray())[-2:]
    np.testing.assert_allclose(np.linalg.eigvalsh(F.T @ F), exact, rtol=1e-6)


def test_an_item_s_column_is_the_inverse_over_its_neighbours() -> None:
    """By hand, with nothing taken out: over S and i alone, then the mean of both directions."""
    X, k, lambda_ = some_matrix(), 4, 7.0
    G = (X.T @ X).toarray() + lambda_ * np.eye(ITEMS)
    P = np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):
        says = np.abs(G[item]) / np.sqrt(np.diagonal(G))
        says[item] = np.inf
        S = np.argsort(-says)[: k + 1]  # the item itself is the first
        P[item, S] = np.linalg.inv(G[np.ix_(S, S)])[0]
    found = sparse_inverse(X, lambda_, k, np.zeros((ITEMS, 0)))
    np.testing.assert_allclose(found.toarray(), (P + P.T) / 2, atol=1e-6)


def test_blocks_of_items_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    X, E = some_matrix(), some_features()
    whole = sparse_ease(X, 7.0, 5, E)
    monkeypatch.setattr(module, "BLOCK", 7)
    for name, array in sparse_ease(X, 7.0, 5, E).items():
        np.testing.assert_allclose(array, whole[name], atol=1e-6, err_msg=name)


def test_the_same_data_give_the_same_bytes() -> None:
    first, second = (sparse_ease(some_matrix(), 7.0, 5, some_features()) for _ in range(2))
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name


def test_nothing_that_is_kept_is_as_large_as_all_pairs() -> None:
    X = sparse.random_array((300, 2000), density=0.01, rng=np.random.default_rng(0), format="csr")
    arrays = sparse_ease(X, 7.0, 5, np.ones((2000, 1)))
    assert max(array.size for array in arrays.values()) <= 2000 * (module.DIRECTIONS + 1)
    assert len(arrays["weights"]) <= 2 * 5 * 2000


def test_an_item_nobody_has_is_scored_nothing() -> None:
    X = some_matrix().tolil()
    X[:, 3] = 0
    B = item_weights("sparse-ease", sparse_ease(sparse.csr_array(X), 7.0, 5))
    np.testing.assert_allclose(off_diagonal(B)[:, 3], 0, atol=1e-6)


def test_settings_say_how_many_neighbours() -> None:
    few, many = (sparse_ease(some_matrix(), 7.0, k) for k in (2, 10))
    assert len(few["weights"]) <= 2 * 2 * ITEMS < len(many["weights"])
    assert MODELS["sparse-ease"].in_place_of == ("ease", "ease-graded")


@pytest.mark.parametrize("items", [1, 6])
def test_items_of_which_nobody_has_two_say_nothing_of_each_other(items: int) -> None:
    B = item_weights("sparse-ease", sparse_ease(sparse.csr_array(np.eye(items)), 10.0, 50), items)
    np.testing.assert_allclose(off_diagonal(B), 0, atol=1e-6)


def test_an_inverse_that_is_not_positive_definite_asks_for_a_larger_lambda() -> None:
    with pytest.raises(InputError, match="take a larger one"):
        text_correction(-2 * np.eye(3), np.eye(3))
