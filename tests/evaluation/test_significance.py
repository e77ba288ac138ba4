import numpy as np
import pytest
from scipy.stats import bootstrap

from jaxrec.evaluation.significance import bootstrap_means, holm, interval, p_value


def test_the_interval_is_scipy_s() -> None:
    values = np.random.default_rng(0).gamma(2, size=(200, 1))
    low, high = interval(bootstrap_means(values))[:, 0]
    expected = bootstrap((values[:, 0],), np.mean, method="percentile", rng=1).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.02)
    assert high == pytest.approx(expected.high, abs=0.02)


def test_columns_share_their_draws() -> None:
    values = np.random.default_rng(0).normal(size=50)
    means = bootstrap_means(np.stack([values, values + 1], axis=1), resamples=100)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 1, rtol=1e-5)


def test_batches_change_nothing_but_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(50, 2))
    whole = bootstrap_means(values, resamples=100)
    monkeypatch.setattr("jaxrec.evaluation.significance.BATCH_BYTES", 8 * 50 * 7)
    np.testing.assert_allclose(bootstrap_means(values, resamples=100), whole, rtol=1e-5)


def test_a_user_without_a_figure_has_no_part() -> None:
    values = np.array([[1.0, 1.0], [3.0, np.nan], [3.0, 3.0]])
    means = bootstrap_means(values, resamples=2000)
    nobody = np.isnan(means[:, 1])
    assert 0 < nobody.mean() < 0.1
    possible = np.array([1, 5 / 3, 2, 7 / 3, 3])
    assert np.abs(means[~nobody, 1:] - possible).min(axis=1).max() < 1e-5
    assert interval(means)[:, 1] == pytest.approx([1, 3])


def test_nobody_s_figures_have_no_interval_and_no_p() -> None:
    means = bootstrap_means(np.full((5, 1), np.nan), resamples=20)
    assert np.isnan(interval(means)).all()
    assert p_value(means)[0] == 1


def test_p_is_two_sided_and_never_zero() -> None:
    assert p_value(np.full((99, 1), 0.3))[0] == pytest.approx(2 / 100)
    assert p_value(np.array([[-1.0], [1.0], [2.0]]))[0] == 1
    assert p_value(np.zeros((10, 1)))[0] == 1


def test_p_of_noise_is_uniform() -> None:
    """Of 200 samples without an effect, about a tenth has p < 0.1."""
    rng = np.random.default_rng(2)
    p = p_value(bootstrap_means(rng.normal(size=(400, 200)), resamples=2000))
    assert 0.05 < np.mean(p < 0.1) < 0.16


def test_holm_by_hand() -> None:
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx(
        {"a": 0.06, "b": 0.03, "c": 0.06}
    )
