from math import exp, sqrt

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jaxrec.errors import InputError
from jaxrec.fusion.profiles import liked_profiles, recency_weights, weighted_profiles
from jaxrec.fusion.published import (
    FUSIONS,
    content_profiles,
    fuse_published,
    fuse_sigmoid_cosine,
    min_max,
    published_fusion,
)
from jaxrec.pmf.objective import Factors
from jaxrec.sources.synthetic import STARS
from jaxrec.topk.scorer import Scorer, product
from tests.conftest import make_ratings

E = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
RATINGS = make_ratings([(0, 0, 5.0, 100), (0, 1, 2.5, 300), (1, 2, 4.0, 50), (2, 1, 3.0, 7)])


def test_recency_weights_by_hand() -> None:
    assert recency_weights(RATINGS, STARS, 3).tolist() == pytest.approx(
        [exp(0) * 1.0, exp(1) * 0.5, exp(1) * 0.8, exp(1) * 0.6]
    )


def test_without_times_every_rating_is_as_recent() -> None:
    found = recency_weights(RATINGS._replace(times=None), STARS, 3)
    assert found.tolist() == pytest.approx([exp(1) * stars / 5 for stars in RATINGS.values])


def test_a_profile_scores_with_the_weighted_mean_of_cosines() -> None:
    weights = np.array([1.0, 3.0, 2.0, 5.0])
    profiles = weighted_profiles(RATINGS, weights, E, users=4)
    cosines = np.asarray(profiles @ E.T)
    assert cosines[0].tolist() == pytest.approx([1 / 4, 3 / 4, (1 * 0.6 + 3 * 0.8) / 4])
    assert not np.asarray(profiles[3]).any()


def test_a_profile_of_small_weights_is_a_mean_too() -> None:
    weights = np.array([1.0, 3.0, 2.0, 5.0])
    small = weighted_profiles(RATINGS, weights / 64, E, users=4)
    np.testing.assert_allclose(small, weighted_profiles(RATINGS, weights, E, users=4), rtol=1e-6)


def test_liked_profiles_leave_disliked_items_out() -> None:
    profiles = liked_profiles(make_ratings([(0, 0, 5, 0), (0, 1, 4, 0), (0, 2, 3, 0)]), STARS, E, 2)
    norm = sqrt(5**2 + 4**2)
    assert np.asarray(profiles)[0].tolist() == pytest.approx([5 / norm, 4 / norm])
    assert not np.asarray(profiles[1]).any()


def test_each_fusion_has_its_own_profiles() -> None:
    recent = weighted_profiles(RATINGS, recency_weights(RATINGS, STARS, 3), E, 3)
    liked = liked_profiles(RATINGS, STARS, E, 3)
    for fusion, expected in (("published", recent), ("sigmoid-cosine", liked)):
        found = content_profiles(fusion, RATINGS, STARS, E, 3)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_min_max_spans_the_chosen_items_only() -> None:
    scores = jnp.array([[1.0, 2.0, 5.0], [3.0, 3.0, 9.0]])
    over = jnp.array([True, True, False])
    assert min_max(scores, over).tolist() == [[0, 1, 4], [0, 0, 0]]


def test_published_fusion_by_hand() -> None:
    """Mf is scaled over the vocabulary, the seen item too; content over the candidates."""
    mf, content = jnp.array([[10.0, 0.0, 5.0, 99.0]]), jnp.array([[1.0, 0.2, 0.4, 0.9]])
    vocabulary = jnp.array([True, True, True, False])
    candidates = jnp.array([[False, True, True, False]])
    fused = fuse_published(mf, content, vocabulary, candidates, 0.85)
    assert fused[0, 1:3].tolist() == pytest.approx([0.85 * 0 + 0.15 * 0, 0.85 * 0.5 + 0.15 * 1])


def test_sigmoid_cosine_by_hand() -> None:
    fused = fuse_sigmoid_cosine(jnp.array([[0.0, 2.0]]), jnp.array([[0.5, -1.0]]), 0.8)
    assert fused[0].tolist() == pytest.approx([0.8 * 0.5 + 0.2 * 0.5, 0.8 / (1 + exp(-2)) - 0.2])


def test_the_published_scorer_by_hand() -> None:
    """Item 3 is outside the vocabulary and item 0 is seen: the one scales nothing, the other mf."""
    factors = Factors(np.array([[1.0]]), np.array([[4.0], [0.0], [2.0], [100.0]]))
    profiles = jnp.array([[1.0, 0.0]])
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], np.float32)
    vocabulary = np.array([True, True, True, False])
    scorer = published_fusion("published", factors, profiles, vectors, vocabulary, 0.85)
    scores = scorer(jnp.array([0]), jnp.array([[False, True, True, False]]))
    assert scores[0, 1:3].tolist() == pytest.approx([0.85 * 0 + 0.15 * 1, 0.85 * 0.5 + 0.15 * 0])


def test_the_sigmoid_cosine_scorer_by_hand() -> None:
    factors = Factors(np.array([[2.0]]), np.array([[1.0], [-1.0]]))
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    scorer = published_fusion(
        "sigmoid-cosine", factors, jnp.array([[0.6, 0.8]]), vectors, np.ones(2, bool), 0.7
    )
    scores = scorer(jnp.array([0]), jnp.ones((1, 2), bool))
    expected = [0.7 / (1 + exp(-2)) + 0.3 * 0.6, 0.7 / (1 + exp(2)) + 0.3 * 0.8]
    assert scores[0].tolist() == pytest.approx(expected)


def test_an_unknown_fusion_is_refused() -> None:
    with pytest.raises(InputError, match="no fusion 'sigmoid'"):
        content_profiles("sigmoid", RATINGS, STARS, E, 3)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_alpha_one_ranks_as_mf_and_alpha_zero_as_text(fusion: str) -> None:
    rng = np.random.default_rng(0)
    factors = Factors(rng.normal(size=(3, 4)), rng.normal(size=(3, 4)))
    profiles = content_profiles(fusion, RATINGS, STARS, E, 3)
    users, candidates = jnp.arange(3), jnp.ones((3, 3), bool)
    vocabulary = np.ones(3, bool)

    def order(scorer: Scorer) -> list[list[int]]:
        return np.argsort(np.asarray(scorer(users, candidates)), axis=1, kind="stable").tolist()

    def hybrid(alpha: float) -> Partial:
        return published_fusion(fusion, factors, profiles, E, vocabulary, alpha)

    assert order(hybrid(1.0)) == order(product(*factors))
    assert order(hybrid(0.0)) == order(product(profiles, E))
