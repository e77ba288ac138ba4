"""What each interaction gives a score, beside the formulas in NumPy."""

import numpy as np
import pytest
from numpy.typing import NDArray

from jaxrec.models.factorization import of_factors, shares_of_factors
from jaxrec.models.linear.neighbours import arrays_of, item_neighbours
from jaxrec.models.model import NOBODY, Arrays, Asking, Settings, said
from jaxrec.models.registry import ask, shares
from jaxrec.pmf.objective import Factors, PmfSettings
from jaxrec.sources.synthetic import STARS
from tests.conftest import make_ratings
from tests.models.test_baselines import some_matrix
from tests.scored import scores_by

KNOWN = make_ratings([(0, 7, 5.0, 0), (0, 2, 4.0, 0), (0, 9, 0.5, 0), (0, 4, 2.0, 0)])
ASKING = Asking(KNOWN, np.array([NOBODY], np.int32), STARS)
ITEMS = np.array([0, 11, 5])
GRADED, LIKED = said(KNOWN, STARS, "graded"), np.array([1.0, 1, 0, 0])


def drawn(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def test_what_interactions_say_is_what_stands_in_x() -> None:
    X = ASKING.matrix(12, "graded").toarray()[0]
    np.testing.assert_array_equal(X[KNOWN.items], GRADED)
    assert said(KNOWN, STARS, "liked").tolist() == LIKED.tolist()


@pytest.mark.parametrize(("target", "x"), [("graded", GRADED), ("liked", LIKED)])
def test_of_weights_each_interaction_gives_its_row(target: str, x: NDArray[np.floating]) -> None:
    W = item_neighbours(some_matrix(40, 12), 5, 0.5)
    settings: Settings = {"target": target}
    found = shares("itemknn", arrays_of(W), ASKING, ITEMS, settings)
    expected = x[:, None] * W.toarray()[KNOWN.items][:, ITEMS]
    np.testing.assert_allclose(found.of_known, expected, rtol=1e-6)
    assert not found.of_item.any()


@pytest.mark.parametrize("placed", [0, 3])
def test_of_weights_beside_low_rank_both_count(placed: int) -> None:
    """Items placed later have no row and column in W."""
    W, left, right = drawn(12 - placed, 12 - placed), drawn(12, 2), drawn(2, 12).T
    arrays: Arrays = {"weights": W, "left": left, "right": right, "of_item": np.ones(12)}
    found = shares("ease-graded+text", arrays, ASKING, ITEMS).of_known
    B = np.pad(W, (0, placed)) + left @ right.T
    np.testing.assert_allclose(found, GRADED[:, None] * B[KNOWN.items][:, ITEMS], rtol=1e-5)


def test_of_products_each_interaction_gives_its_own() -> None:
    left, right = drawn(12, 3), drawn(3, 12).T
    found = shares("ease", {"left": left, "right": right}, ASKING, ITEMS).of_known
    expected = LIKED[:, None] * (left[KNOWN.items] @ right[ITEMS].T)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_of_a_set_each_gives_its_vector_over_the_norm_and_the_bias_is_the_item_s() -> None:
    v, w = drawn(12, 3), drawn(4, 12).T
    found = shares("set", {"inward": v, "right": w}, ASKING, ITEMS)
    rows = np.maximum(GRADED, 0)[:, None] * v[KNOWN.items]
    expected = rows @ w[ITEMS, :3].T / np.linalg.norm(rows.sum(axis=0))
    np.testing.assert_allclose(found.of_known, expected, rtol=1e-5)
    np.testing.assert_allclose(found.of_item, w[ITEMS, 3])


def test_of_content_each_gives_its_direction_over_the_norm() -> None:
    right = drawn(12, 3)
    found = shares("content", {"right": right}, ASKING, ITEMS).of_known
    rows = LIKED[:, None] * right[KNOWN.items]
    expected = rows @ right[ITEMS].T / np.linalg.norm(rows.sum(axis=0))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("row", ["set", "content", "itemknn", "ease", "popularity"])
def test_of_nothing_nobody_gives_anything(row: str) -> None:
    arrays: dict[str, Arrays] = {
        "set": {"inward": drawn(12, 3), "right": drawn(12, 4)},
        "content": {"right": drawn(12, 3)},
        "itemknn": arrays_of(item_neighbours(some_matrix(40, 12), 5, 0.5)),
        "ease": {"left": drawn(12, 3), "right": drawn(12, 3)},
        "popularity": {"liked": np.arange(12)},
    }
    nothing = ASKING._replace(known=KNOWN.at(np.zeros(0, int)))
    found = shares(row, arrays[row], nothing, ITEMS)
    scores = scores_by(ask(row, arrays[row], nothing), np.arange(1), 12)
    assert found.of_known.shape == (0, 3)
    np.testing.assert_allclose(found.of_item, scores[0, ITEMS])


@pytest.mark.parametrize("target", ["graded", "liked"])
def test_of_factors_each_gives_its_term_of_the_normal_equations(target: str) -> None:
    V, rated = drawn(12, 4), np.arange(12) % 4 > 0
    how = PmfSettings(factors=4, target=target, w0=0.2)
    arrays = of_factors(Factors(drawn(1, 4), V), rated, how.w0)
    found = shares_of_factors(arrays, ASKING, V[ITEMS], how).of_known
    t, heard = (GRADED, np.ones(4, bool)) if target == "graded" else (LIKED, LIKED > 0)
    own, all_pairs = V[KNOWN.items[heard]], how.w0 * V[rated].T @ V[rated]
    ridge = how.lambda_ * (heard.sum() + how.w0 * 12) ** how.nu
    A = own.T @ own + all_pairs + ridge * np.eye(4)
    expected = t[:, None] * (V[KNOWN.items] @ np.linalg.solve(A, V[ITEMS].T))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("row", "settings"),
    [
        ("pmf", {"likelihood": "all-pairs"}),
        ("pmf", {"likelihood": "gaussian"}),
        ("pmf", {"likelihood": "logistic"}),
        ("ials", {"target": "liked"}),
        ("ials", {"target": "graded"}),
    ],
)
def test_of_whoever_is_folded_in_the_terms_add_up_to_the_score(
    row: str, settings: Settings
) -> None:
    V, how = drawn(12, 4), settings | {"factors": 4}
    w0 = 0.2 if settings.get("likelihood", "all-pairs") == "all-pairs" else 0.0
    arrays = of_factors(Factors(drawn(1, 4), V), np.ones(12, bool), w0)
    scores = scores_by(ask(row, arrays, ASKING, how), np.arange(1), 12)[0, ITEMS]
    found = shares(row, arrays, ASKING, ITEMS, how).of_known.sum(axis=0)
    np.testing.assert_allclose(found, scores, rtol=1e-3, atol=1e-4)
