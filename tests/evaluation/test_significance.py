import numpy as np
import pytest
from scipy.stats import bootstrap

from jaxrec.evaluation import significance
from jaxrec.evaluation.measure import ITEM_THIRDS, Evaluation
from jaxrec.evaluation.significance import (
    MANY,
    Crossed,
    against,
    bootstrap_means,
    holm,
    how_sure,
    interval,
    interval_and_p,
    p_value,
    row_cards,
    spread,
)


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


def figures(users: int, seed: int = 0) -> np.ndarray:
    """[users, 3] as metrics are: of few values, lopsided, and one that most users lack."""
    rng = np.random.default_rng(seed)
    often, seldom = rng.random((users, 25)) < 0.1, rng.random((users, 25)) < 0.002
    here = rng.random(users) < 0.3
    return np.stack([often.mean(1), seldom.mean(1), np.where(here, seldom.any(1), np.nan)], axis=1)


def test_moments_say_what_draws_say() -> None:
    """Intervals to some percent of their width, which is what another seed changes too."""
    values = figures(2000)
    low, high = interval(bootstrap_means(values))
    by_moments = spread(values).interval()
    assert np.abs((by_moments - [low, high]) / (high - low)).max() < 0.03
    lopsided = spread(values)._replace(skew=np.zeros(3)).interval()
    assert np.abs((lopsided - [low, high]) / (high - low)).max() > 0.03


def test_p_by_moments_is_that_of_draws() -> None:
    values = figures(2000)
    means = np.nanmean(values, axis=0)
    sd = spread(values).sd
    for far in (-2.5, -1.0, 0.5, 2.0):
        moved = values - means - far * sd
        by_draws = p_value(bootstrap_means(moved))
        assert spread(moved).p_value() == pytest.approx(by_draws, rel=0.2, abs=0.002)


def test_p_is_below_a_twentieth_just_where_the_interval_excludes_0() -> None:
    values = figures(300)
    edges = spread(values).interval()
    for edge in edges:
        for off, excludes in ((-1e-6, False), (1e-6, True)):
            beyond = off if (edge > edges.mean(axis=0)).all() else -off
            assert ((spread(values - edge - beyond).p_value() < 0.05) == excludes).all()


def test_by_moments_too_nobody_has_no_interval_and_p_is_never_zero() -> None:
    nobody, alike, zero, far = np.nan, 0.3, 0.0, np.linspace(1, 1.01, 50)
    values = np.stack([np.broadcast_to(x, 50) for x in (nobody, alike, zero, far)], axis=1)
    found = spread(values)
    assert np.isnan(found.interval()[:, 0]).all()
    assert found.interval()[:, 1] == pytest.approx([0.3, 0.3])
    assert found.p_value() == pytest.approx([1, 2 / 10_001, 1, 2 / 10_001])


def evaluations(users: int, seed: int = 0) -> dict[str, Evaluation]:
    rng = np.random.default_rng(seed)
    here = rng.random((users, 4)) < [1, 0.9, 0.6, 0.4]

    def one() -> Evaluation:
        columns = np.where(here, rng.random((users, 4)) ** 4, np.nan).astype(np.float32)
        parts = [{"precision@5": column} for column in columns.T]
        return Evaluation(
            users=np.arange(users, dtype=np.int32),
            lists=rng.integers(-1, 40, (users, 5), dtype=np.int32),
            per_user=parts[0],
            by_item_third=dict(zip(ITEM_THIRDS, parts[1:], strict=True)),
            catalogue=rng.random(50) < 0.8,
            item_thirds=np.arange(50, dtype=np.int8) % 3,
            tied=np.zeros(users, bool),
        )

    return {"pmf": one(), "hybrid": one()}


def test_a_card_by_moments_is_a_card_by_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every part, in blocks of which the last is ragged."""
    rows, known = evaluations(700), np.arange(700) % 90
    labels = {row: row for row in rows}
    drawn = row_cards(rows, labels, known)
    monkeypatch.setattr("jaxrec.evaluation.significance.MANY", 700)
    monkeypatch.setattr("jaxrec.evaluation.significance.BLOCK", 64)
    for one, other in zip(drawn, row_cards(rows, labels, known), strict=True):
        parts = {"": one.figures} | one.by_item_third | one.by_user_third
        others = {"": other.figures} | other.by_item_third | other.by_user_third
        for part, mine in parts.items():
            theirs = others[part]
            assert theirs.metrics == pytest.approx(mine.metrics, rel=1e-6)
            low, high = mine.ci95["precision@5"]
            assert theirs.ci95["precision@5"] == pytest.approx((low, high), abs=0.05 * (high - low))
            assert mine.p_vs_pmf is not None
            assert theirs.p_vs_pmf == pytest.approx(mine.p_vs_pmf, abs=0.02)
        assert one.gains["pmf"] == pytest.approx(other.gains["pmf"], rel=1e-6)


def test_a_process_in_which_nobody_is_measured_adds_nothing_to_the_moments() -> None:
    rows = evaluations(9)
    everybody = significance._by_moments(rows, (np.arange(9) % 3).astype(np.int8), None)
    nobody = {
        row: found._replace(
            per_user={name: values[:0] for name, values in found.per_user.items()},
            by_item_third={
                third: {name: values[:0] for name, values in of.items()}
                for third, of in found.by_item_third.items()
            },
        )
        for row, found in rows.items()
    }
    none = significance._by_moments(nobody, np.zeros(0, np.int8), None)
    assert none.keys() == everybody.keys()
    for row, parts in none.items():
        assert parts.keys() == everybody[row].keys()
        assert all(np.isnan(list(of.metrics.values())).all() for of in parts.values())


def test_a_comparison_by_moments_is_one_by_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = evaluations(700).items()
    per_user = {row: found.per_user["precision@5"][None, :, None] for row, found in rows}
    drawn = against(per_user, ["precision@5"])["precision@5"]["pmf"]
    monkeypatch.setattr("jaxrec.evaluation.significance.MANY", 700)
    found = against(per_user, ["precision@5"])["precision@5"]["pmf"]
    assert found.difference == drawn.difference
    assert found.ci95 == pytest.approx(drawn.ci95, abs=0.05 * np.ptp(drawn.ci95))
    assert found.p_holm == pytest.approx(drawn.p_holm, abs=0.02)


def test_the_card_says_how_sure_it_is_made() -> None:
    assert "10,000 draws" in how_sure(MANY - 1)
    assert "moments" in how_sure(MANY)
    assert "users and splits drawn anew" in how_sure(MANY, 5)


def test_figures_and_rows_are_one_family() -> None:
    rng = np.random.default_rng(0)
    rows = {row: rng.normal(lead, 1, (1, 200, 2)) for row, lead in (("pmf", 0), ("text", 0.1))}
    found = against(rows | {"hybrid": rows["pmf"] + 0.2}, ["precision@5", "recall@5"])
    p = {(figure, row): of.p for figure, by in found.items() for row, of in by.items()}
    assert len(p) == 4
    assert {key: found[key[0]][key[1]].p_holm for key in p} == holm(p)
    by_figure = {row: of.p for row, of in found["recall@5"].items()}
    assert found["recall@5"]["text"].p_holm > holm(by_figure)["text"]


def crossed_effects(
    shape: tuple[int, int, int], users: float, splits: float, seed: int = 0
) -> np.ndarray:
    """[splits, users, columns] of mean 0: effects of so much, and noise of 1."""
    rng = np.random.default_rng(seed)
    s, u, columns = shape
    of_users, of_splits = rng.normal(size=(1, u, columns)), rng.normal(size=(s, 1, columns))
    return users * of_users + splits * of_splits + rng.normal(size=shape)


@pytest.mark.parametrize("splits", [3, 5])
@pytest.mark.parametrize(("of_users", "of_splits"), [(0, 0), (1, 0.1), (0.3, 0.1), (0.3, 1)])
def test_without_an_effect_a_twentieth_is_significant_at_most(
    splits: int, of_users: float, of_splits: float
) -> None:
    """Of 2,000 samples, to within three standard errors; and by users alone far more."""
    values = crossed_effects((splits, 100, 2000), of_users, of_splits)
    ci95, p = interval_and_p(values)
    rejected = np.mean(p < 0.05)
    assert rejected == pytest.approx(np.mean((ci95[0] > 0) | (ci95[1] < 0)), abs=0.001)
    assert rejected < 0.065
    assert np.mean(p < 0.005) < 0.01
    if of_splits == 1:  # the interval is no wider than it must be
        assert rejected > 0.035
        assert np.mean(spread(values.mean(axis=0)).p_value() < 0.05) > 0.3


def test_variances_are_those_of_the_analysis_of_variance() -> None:
    """Where everybody is in each split: variances of means by those of the effects."""
    values = crossed_effects((4, 700, 3), 1, 0.2)  # two blocks of users
    found, (s, u) = Crossed.of(values), values.shape[:2]
    of_users, of_splits = values.mean(axis=0), values.mean(axis=1)
    noise = values - of_users - of_splits[:, None] + values.mean(axis=(0, 1))
    error = (noise**2).sum(axis=(0, 1)) / ((s - 1) * (u - 1))
    np.testing.assert_allclose(found.mean, values.mean(axis=(0, 1)))
    np.testing.assert_allclose(found.splits, of_splits.var(axis=0, ddof=1) / s)
    np.testing.assert_allclose(found.users, (of_users.var(axis=0, ddof=1) - error / s) / u)


def test_a_split_counts_once_however_many_users_it_has() -> None:
    x = np.array([[0.0, 0.4, 0.8, np.nan], [0.3, np.nan, 0.7, np.nan]])[..., None]
    found = Crossed.of(x)
    assert found.by_split[:, 0] == pytest.approx([0.4, 0.5])
    assert found.mean == pytest.approx([0.45])
    assert found.splits == pytest.approx([2 * 0.05**2 / 2])
    # users are off by -0.4 and -0.2, by 0, by 0.4 and 0.2; each place counts 1/6 and 1/4
    adds = (0.4 / 6 + 0.2 / 4) ** 2 - 0.02 * (1 / 36 + 1 / 16)
    assert found.users == pytest.approx([2 * adds * 3 / 2])


def test_a_split_in_which_nobody_has_a_figure_has_no_part() -> None:
    values = np.random.default_rng(0).random((3, 20, 1))
    values[2] = np.nan
    with_it, without = Crossed.of(values), Crossed.of(values[:2])
    for part in ("mean", "users", "splits", "freedom"):
        np.testing.assert_allclose(getattr(with_it, part), getattr(without, part))


def test_what_one_split_has_alone_is_not_known_to_be_sure() -> None:
    values = np.full((3, 50, 2), 0.3)
    values[1:, :, 0] = np.nan
    ci95, p = interval_and_p(values)
    assert np.isnan(ci95[:, 0]).all()
    assert ci95[:, 1] == pytest.approx([0.3, 0.3])
    assert p == pytest.approx([1, 1e-6])


def test_coverage_is_of_the_lists_of_a_part() -> None:
    rows, known = evaluations(30), np.arange(30)
    found = rows["pmf"]
    card = row_cards({"pmf": found}, {"pmf": "pmf"}, known)[0]
    for third, part in enumerate(card.by_user_third.values()):
        on = np.unique(found.lists[known * 3 // 30 == third])
        share = found.catalogue[on[on >= 0]].sum() / found.catalogue.sum()
        assert part.metrics["coverage@5"] == share
    for third, part in enumerate(card.by_item_third.values()):
        of = found.catalogue & (found.item_thirds == third)
        on = np.unique(found.lists)
        assert part.metrics["coverage@5"] == of[on[on >= 0]].sum() / of.sum()
