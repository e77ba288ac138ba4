import numpy as np
import pytest

from jaxrec.data.feedback import Feedback
from jaxrec.data.movielens import STARS
from jaxrec.errors import InputError

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
    assert likes.liked_rule == "ratings"


def test_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="no feedback 'thumbs'; there are stars, likes, counts"):
        Feedback("thumbs")
