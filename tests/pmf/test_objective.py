"""What each likelihood observes, what shrinks a vector, and which settings make an objective."""

from typing import Any

import numpy as np
import pytest

from jaxrec.data.feedback import Feedback
from jaxrec.errors import InputError
from jaxrec.pmf.objective import (
    Observed,
    PmfSettings,
    check_kind,
    check_settings,
    dtype_of,
    link_of,
    observe,
    ridges,
    training_pairs,
)
from tests.conftest import make_ratings

STARS = Feedback("stars", (1.0, 5.0), liked_from=4.0, disliked_below=3.0, neutral=2.0)
RATINGS = make_ratings([(0, 7, 5.0, 0), (1, 3, 4.0, 0), (1, 2, 1.0, 0)])
PLAIN = PmfSettings("gaussian", w0=0.0)


def as_lists(observed: Observed) -> list[list[float]]:
    return [np.asarray(column).tolist() for column in observed]


@pytest.mark.parametrize(
    ("settings", "feedback", "expected"),
    [
        (PLAIN, STARS, [[0, 1, 1], [7, 3, 2], [5, 4, 1], [1, 1, 1]]),
        # of the scale from 1 to 5
        (
            PLAIN._replace(likelihood="logistic"),
            STARS,
            [[0, 1, 1], [7, 3, 2], [1, 0.75, 0], [1, 1, 1]],
        ),
        # 0 at 2 stars, 1 at 4
        (PmfSettings(), STARS, [[0, 1, 1], [7, 3, 2], [1.5, 1, -0.5], [1, 1, 1]]),
        (PmfSettings(target="liked"), STARS, [[0, 1], [7, 3], [1, 1], [1, 1]]),
        # confidence c = 1 + w / w0, t = c / (c - 1)
        (
            PmfSettings(w0=0.5),
            Feedback("counts", confidence="linear", typical=2.0),
            [[0, 1, 1], [7, 3, 2], [1.2, 1.25, 2], [2.5, 2, 0.5]],
        ),
        (PmfSettings(), Feedback("likes"), [[0, 1, 1], [7, 3, 2], [1, 1, 1], [1, 1, 1]]),
    ],
    ids=["gaussian", "logistic", "graded", "liked", "counts", "likes"],
)
def test_what_is_observed(
    settings: PmfSettings, feedback: Feedback, expected: list[list[float]]
) -> None:
    assert as_lists(observe(RATINGS, feedback, settings)) == expected
    assert as_lists(training_pairs(RATINGS, feedback, settings)) == expected


@pytest.mark.parametrize("likelihood", ["gaussian", "logistic"])
@pytest.mark.parametrize("kind", ["likes", "counts"])
def test_a_likelihood_of_stars_meets_no_other_feedback(likelihood: str, kind: str) -> None:
    with pytest.raises(InputError, match=f"the {likelihood} likelihood is one of stars"):
        check_kind(Feedback(kind), likelihood)
    with pytest.raises(InputError, match="is one of stars"):
        observe(RATINGS, Feedback(kind), PLAIN._replace(likelihood=likelihood))
    check_kind(STARS, likelihood)
    check_kind(Feedback(kind), "all-pairs")


def test_where_nothing_is_observed_there_is_nothing_to_learn_from() -> None:
    none = make_ratings([])
    with pytest.raises(InputError, match="no training ratings"):
        training_pairs(none, STARS, PLAIN)
    disliked = RATINGS._replace(values=np.ones(3))
    assert len(observe(disliked, STARS, PmfSettings(target="liked")).users) == 0
    with pytest.raises(InputError, match=r"no ratings of at least 4.0 stars to learn from"):
        training_pairs(disliked, STARS, PmfSettings(target="liked"))


def test_what_shrinks_a_vector_grows_with_its_ratings() -> None:
    """Lambda (n + w0 N)^nu, by hand; items may have their own."""
    settings = PmfSettings(lambda_=2.0, nu=0.5, w0=0.25, item_lambda=3.0, item_nu=2.0)
    lengths = np.array([8, 0])
    assert ridges(lengths, 4, settings, "users").tolist() == [2 * 3, 2]
    assert ridges(lengths, 4, settings, "items").tolist() == [3 * 81, 3]
    shared = settings._replace(item_lambda=None, item_nu=None)
    assert ridges(lengths, 4, shared, "items").tolist() == [2 * 3, 2]
    none = settings._replace(item_lambda=0.0, item_nu=0.0)
    assert ridges(lengths, 4, none, "items").tolist() == [0, 0]
    assert ridges(lengths[:0], 4, settings, "users").tolist() == []


@pytest.mark.parametrize("nu", [20.0, 1e6])
def test_a_weight_beyond_single_precision_is_refused(nu: float) -> None:
    """And beyond double precision without a warning."""
    settings = PmfSettings(lambda_=1.0, nu=nu, w0=0.5)
    with pytest.raises(InputError, match=r"lambda 1, nu .* and w0 0.5 make an L2 weight of"):
        ridges(np.array([1, 100]), 2, settings, "users")
    assert ridges(np.array([1]), 0, settings, "users").tolist() == [1]


LEAST: dict[str, Any] = {
    "factors": 1, "sweeps": 1, "lambda_": 0, "nu": 0, "item_lambda": 0, "item_nu": 0,
    "lambda_w": 1e-6,
}  # fmt: skip


@pytest.mark.parametrize("name", LEAST)
def test_each_setting_has_a_least_value(name: str) -> None:
    check_settings(PmfSettings()._replace(**{name: LEAST[name]}))
    told = f"{name.removesuffix('_')} is .*; it must be at least {LEAST[name]}"
    for value in (LEAST[name] - 1e-9, np.inf, np.nan):
        wrong: dict[str, Any] = {name: value}
        with pytest.raises(InputError, match=told):
            check_settings(PmfSettings()._replace(**wrong))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"likelihood": "poisson"}, "no likelihood 'poisson'; there are: gaussian, logistic, all-"),
        ({"target": "stars"}, "no target 'stars'; there are: liked, graded"),
        ({"solver": "magic"}, "no solver 'magic'; there are: alternating, gradient"),
        ({"likelihood": "gaussian"}, "w0 is 0.1; only the all-pairs likelihood weighs all pairs"),
        ({"likelihood": "logistic"}, "w0 is 0.1; only the all-pairs likelihood weighs all pairs"),
        ({"w0": 0.0}, "w0 is 0; the all-pairs likelihood needs it above 0"),
        ({"w0": -1.0}, "w0 is -1; it must be at least 0"),
    ],
)
def test_what_makes_no_objective_is_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_settings(PmfSettings()._replace(**change))


def test_all_that_there_is_to_choose_makes_an_objective() -> None:
    for likelihood, w0 in (("gaussian", 0.0), ("logistic", 0.0), ("all-pairs", 1e-3)):
        for target in ("liked", "graded"):
            for solver in ("alternating", "gradient"):
                settings = PmfSettings(likelihood, target=target, solver=solver, w0=w0)
                check_settings(settings)
                assert link_of(settings) == ("logistic" if likelihood == "logistic" else "identity")
    assert dtype_of(PmfSettings(float64=True)) is np.float64
    assert dtype_of(PmfSettings()) is np.float32


def test_the_defaults_are_those_that_were_published() -> None:
    """A model that is fitted without a setting is compared with others that were."""
    assert PmfSettings() == (
        "all-pairs", 128, 0.3, 0.5, 0.1, "graded", False, 15, 0.0, "alternating", False, None,
        None, 1.0,
    )  # fmt: skip
