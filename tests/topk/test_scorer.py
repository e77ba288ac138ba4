"""Scorers give what NumPy gives."""

import numpy as np
import pytest
from scipy import sparse

from jaxrec.topk.scorer import Linear, Scores, product, worked_out
from tests.scored import scores_by

USERS = np.array([2, 0, 2], np.int32)
ITEMS = np.array([6, 0, 4])


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("first", [5, 7])
def test_weights_of_the_first_items_and_a_product_of_all_add_up(form: type, first: int) -> None:
    rng = np.random.default_rng(0)
    X, W = rng.integers(0, 3, (4, 7)).astype(np.float32), rng.normal(size=(first, first))
    left, right = rng.normal(size=(2, 7, 2))
    weights = left @ right.T
    weights[:first, :first] += W
    linear = Linear(sparse.csr_array(X), form(W), left, right)
    np.testing.assert_allclose(scores_by(linear, USERS, 7), (X @ weights)[USERS], rtol=1e-5)
    np.testing.assert_allclose(linear.at(ITEMS), (X @ weights)[:, ITEMS], rtol=1e-12)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_weights_alone_score_what_they_know(form: type) -> None:
    rng = np.random.default_rng(0)
    X, W = rng.integers(0, 3, (4, 7)).astype(np.float32), rng.normal(size=(7, 7))
    linear = Linear(sparse.csr_array(X), form(W))
    np.testing.assert_allclose(scores_by(linear, USERS, 7), (X @ W)[USERS], rtol=1e-5)
    np.testing.assert_allclose(linear.at(ITEMS), (X @ W)[:, ITEMS], rtol=1e-12)
    few = Linear(sparse.csr_array(X), form(W[:5, :5]))
    assert (few.at(ITEMS)[:, 0] == 0).all()  # an item that came later


def test_a_product_of_some_items_is_in_double_precision() -> None:
    scorer = product(np.array([[1.0, 2**-30]]), np.array([[2.0, 0.0], [1.0, 1.0], [3.0, 1.0]]))
    assert scorer.left.dtype == scorer.right.dtype == np.float32
    assert scorer.at(np.array([2, 1])).tolist() == [[3 + 2**-30, 1 + 2**-30]]


def test_only_what_lies_on_the_host_is_worked_out() -> None:
    linear = Linear(sparse.csr_array(np.eye(3)), np.eye(3))
    other = product(np.ones((3, 1)), np.ones((2, 1)))
    found = worked_out({"linear": linear, "product": other}, USERS)
    assert isinstance(found["linear"], Scores)
    assert found["linear"].scores.tolist() == np.eye(3)[USERS].tolist()
    assert found["product"].left is other.left
