"""EASE by a sparse inverse, against the whole one."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.errors import InputError
from jaxrec.models.ease import ease, text_correction
from jaxrec.models.neighbours import weights_of
from jaxrec.models.sparse_ease import sparse_ease


def some_matrix(users: int, items: int, dense: float) -> sparse.csr_array:
    there = np.random.default_rng(5).random((users, items)) < dense
    return sparse.csr_array(there.astype(float))


@pytest.mark.parametrize("lambda_", [200.0, 1.0])
@pytest.mark.parametrize("text", [False, True])
def test_with_all_items_as_neighbours_it_is_ease(lambda_: float, text: bool) -> None:
    """Most items have fewer than `neighbours` items in common with anybody's."""
    X, how = some_matrix(60, 40, 0.05), (25.0,)
    E = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32) if text else None
    found = sparse_ease(X, lambda_, 39, E, *how)
    B: NDArray[np.floating] = weights_of(found).toarray()
    if text:
        B = B + found["left"] @ found["right"].T
        np.fill_diagonal(B, 0)
    np.testing.assert_allclose(B, ease(X, lambda_, E, *how)["weights"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("items", [1, 6])
def test_items_of_which_nobody_has_two_say_nothing_of_each_other(items: int) -> None:
    X = sparse.csr_array(np.eye(items))
    assert weights_of(sparse_ease(X, 10.0, 50)).nnz == 0


def test_an_inverse_that_is_not_positive_definite_asks_for_a_larger_lambda() -> None:
    with pytest.raises(InputError, match="take a larger one"):
        text_correction(-2 * np.eye(3), np.eye(3))
