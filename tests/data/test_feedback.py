import numpy as np
import pytest

from jaxrec.data.feedback import Feedback, guess_kind
from jaxrec.errors import InputError
from jaxrec.sources.synthetic import STARS

VALUES = np.array([0.5, 1.5, 3.0, 3.5, 4.0, 5.0])


def test_stars_of_movielens() -> None:
    assert STARS.liked(VALUES).tolist() == [False, False, False, False, True, True]
    assert STARS.disliked(VALUES).tolist() == [True, True, False, False, False, False]
    assert STARS.graded(VALUES).tolist() == pytest.approx([-0.4, 0, 0.6, 0.8, 1, 1.4])
    assert STARS.unit(VALUES).tolist() == pytest.approx([0, 2 / 9, 5 / 9, 6 / 9, 7 / 9, 1])
    assert (STARS.best, STARS.liked_rule) == (5.0, "ratings of at least 4.0 stars")


def test_likes_are_all_liked_and_all_alike() -> None:
    likes, ones = Feedback("likes"), np.ones(3)
    assert likes.liked(ones).all()
    assert not likes.disliked(ones).any()
    assert likes.graded(ones).tolist() == likes.unit(ones).tolist() == [1, 1, 1]
    assert likes.liked_rule == "interactions"


def test_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="no feedback 'thumbs'; there are stars, likes, counts"):
        Feedback("thumbs")


def test_confidence_grows_with_counts_as_the_logarithm_or_as_they_do() -> None:
    counts = np.array([1.0, 2.0, 7.0])
    log, linear = Feedback("counts"), Feedback("counts", confidence="linear")
    assert log.graded(counts).tolist() == pytest.approx([1, np.log2(3), 3])
    assert linear.graded(counts).tolist() == [1, 2, 7]
    assert log.liked(counts).all()
    assert (log.best, log.liked_rule) == (1, "counts of at least 1")
    often = np.array([1, 2, 4])
    assert Feedback.of("counts", np.array([1.0, 7.0, 63.0]), often).graded(
        np.array([1.0, 63.0])
    ).tolist() == pytest.approx([1 / 6, 1])
    with pytest.raises(InputError, match="no confidence 'square'; there are log, linear"):
        Feedback("counts", confidence="square")


@pytest.mark.parametrize(
    ("levels", "scale", "liked", "disliked"),
    [
        (np.arange(1, 11) / 2, (0.5, 5), 4, 3),
        (np.arange(1, 6), (1, 5), 4, 3),
        (np.arange(1, 11), (1, 10), 8, 6),
        (np.arange(0, 11), (0, 10), 7, 5),
        (np.array([0, 1]), (0, 1), 1, 1),
        (np.array([-1, 1]), (-1, 1), 1, 1),
        (np.arange(1, 8), (1, 7), 6, 4),
        (np.arange(1, 4), (1, 3), 3, 2),
        (np.arange(0, 3), (0, 2), 2, 1),
        (np.arange(0, 5) / 4, (0, 1), 0.75, 0.5),
        (np.arange(1, 5), (1, 5), 4, 3),
        (np.linspace(-9.9, 9.9, 500), (-10, 10), 4, 0),
        (np.array([-3.0, 200.0]), (-3, 200), 200, 200),
    ],
)
def test_the_upper_30_percent_of_a_scale_are_liked(
    levels: np.ndarray, scale: tuple[float, float], liked: float, disliked: float
) -> None:
    stars = Feedback.of("stars", levels.astype(float))
    assert stars.scale == scale
    high = float(levels[-1])
    assert stars.liked_from == pytest.approx(liked)
    assert stars.disliked_below == pytest.approx(disliked)
    assert Feedback.of("stars", levels.astype(float), liked_from=high).liked_from == high


def test_stars_of_movielens_are_what_anybody_s_stars_would_be() -> None:
    assert Feedback.of("stars", np.arange(1, 11) / 2) == STARS


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 1, 1], "likes"),
        ([0], "likes"),
        ([1, 1, 1, 2, 5, 90], "counts"),
        ([3, 14, 250, 90_000], "counts"),
        ([1, 3, 4, 4, 5], "stars"),
        ([-1, 1, 1, 1, 1, 1, 2, 3], "counts"),
        ([-1, 1, 1, 1], "stars"),
        ([0.5, 4, 4], "stars"),
        ([0, 1, 1], "stars"),
        ([-3.2, 9.1, 120], "stars"),
        ([0, 0.5, 7.1, 998], "counts"),
        ([0, 35, 100], "stars"),
    ],
)
def test_a_kind_is_guessed_from_values(values: list[float], kind: str) -> None:
    assert guess_kind(*np.unique(np.array(values, float), return_counts=True)) == kind
