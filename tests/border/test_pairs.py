"""Training pairs: who may be in them, and how often."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.border.alignment import alignment_targets
from jaxrec.border.pairs import FEWEST_LIKED, KINDS, NONE, draw_pairs
from jaxrec.data.dataset import Interactions
from jaxrec.pmf.objective import Factors
from jaxrec.sources.synthetic import STARS
from tests.conftest import make_ratings


def some_ratings(seed: int, users: int = 12, items: int = 30) -> Interactions:
    rng = np.random.default_rng(seed)
    places = rng.permutation(users * items)[: users * items // 2]
    stars = rng.choice([0.5, 2.5, 3.0, 3.5, 4.0, 5.0], len(places))
    rows = zip(*np.divmod(places, items), stars, strict=True)
    return make_ratings([(int(u), int(i), float(s), 0) for u, i, s in rows])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), popularity=st.floats(0, 2))
def test_pairs_say_what_was_rated(kind: str, seed: int, popularity: float) -> None:
    ratings = some_ratings(seed)
    stars = {
        (u, i): s for u, i, s in zip(*(column.tolist() for column in ratings[:3]), strict=True)
    }
    pairs = draw_pairs(ratings, STARS, kind, 4, seed, popularity)
    for user, anchors, positive, negative in zip(*pairs, strict=True):
        own = anchors[anchors != NONE]
        assert len(own) >= 1
        assert len({*own, positive}) == len(own) + 1
        assert all(stars[user, item] >= 4 for item in (*own, positive))
        assert negative == NONE if kind == "liked" else stars[user, negative] < 3


def test_every_user_with_enough_likes_makes_as_many() -> None:
    rows = [(0, i, 5.0, 0) for i in range(FEWEST_LIKED)]
    rows += [(1, i, 5.0, 0) for i in range(FEWEST_LIKED - 1)] + [(1, 9, 3.5, 0)]
    pairs = draw_pairs(make_ratings(rows), STARS, "liked", 10, seed=0)
    assert pairs.users.tolist() == [0] * 10


def test_users_who_dislike_nothing_have_no_triplet() -> None:
    rows = [(u, i, 5.0, 0) for u in (0, 1) for i in range(6)] + [(1, 7, 1.0, 0)]
    assert set(draw_pairs(make_ratings(rows), STARS, "profile", 3, seed=0).users) == {1}


def test_popular_items_can_be_drawn_less() -> None:
    """Item 0 is liked by 50 users, the others by one each."""
    rows = [(u, 0, 5.0, 0) for u in range(50)]
    rows += [(u, 1 + 9 * u + i, 5.0, 0) for u in range(50) for i in range(9)]

    def share(popularity: float) -> float:
        pairs = draw_pairs(make_ratings(rows), STARS, "liked", 40, 1, popularity)
        return float(np.mean((pairs.positives == 0) | (pairs.anchors[:, 0] == 0)))

    # two of ten are drawn; with weight 1/50 beside nine ones it is 2 * 0.02 / 9.02
    assert share(0) == pytest.approx(0.2, abs=0.03)
    assert share(1) == pytest.approx(2 * 0.02 / 9.02, abs=0.004)


def test_an_error_of_targets_is_an_error_of_scores() -> None:
    rng = np.random.default_rng(0)
    U, V = rng.normal(size=(40, 4)), rng.normal(size=(6, 4))
    counts = np.array([1, 16, 0, 256, 81, 16])
    found = alignment_targets(Factors(U, V), counts)
    assert found.items.tolist() == [0, 1, 3, 4, 5]
    np.testing.assert_allclose(found.weights, np.array([1, 2, 4, 3, 2]) / 2.4, rtol=1e-6)
    scores = U @ V[found.items].T
    of_scores = np.mean((scores[:, 0] - scores[:, 1]) ** 2)
    of_targets = np.sum((found.targets[0] - found.targets[1]) ** 2)
    others = np.mean((scores[:, 2] - scores[:, 3]) ** 2)
    scale = np.sum((found.targets[2] - found.targets[3]) ** 2) / others
    assert of_targets == pytest.approx(scale * of_scores, rel=1e-4)
    assert (found.weights[:, None] * found.targets**2).mean() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("of_users", [0.0, 0.5])
def test_factors_of_nothing_make_targets_of_nothing(of_users: float) -> None:
    factors = Factors(np.full((6, 3), of_users), np.zeros((4, 3)))
    assert not alignment_targets(factors, np.ones(4, int)).targets.any()
