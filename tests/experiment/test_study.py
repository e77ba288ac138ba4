"""Several run folders as one result, by hand."""

from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from jaxrec.errors import InputError
from jaxrec.evaluation.card import write_card
from jaxrec.experiment.study import summarise
from tests.cards import row_card, score_card_of


def folder(
    path: Path,
    figures: dict[str, dict[int, float]],
    protocol: str = "strict",
    seed: int = 7,
    **more: Any,
) -> Path:
    path.mkdir()
    rows = [
        {"row": row, "user_id": user, "precision@5": value, "tail_recall@5": nan}
        for row, users in figures.items()
        for user, value in users.items()
    ]
    pl.DataFrame(rows).write_parquet(path / "per_user.parquet")
    said = {"protocol": protocol, "seed": seed}
    card = score_card_of(*map(row_card, figures), protocol=said, **more)
    write_card(path / "results.json", card)
    return path


def test_splits_are_averaged_and_hits_added(tmp_path: Path) -> None:
    first = folder(tmp_path / "a", {"pmf": {1: 0.0, 2: 0.4}, "hybrid": {1: 0.2, 2: 0.6}})
    second = folder(tmp_path / "b", {"pmf": {1: 0.4}, "hybrid": {1: 0.6}})
    summary = summarise([first, second])
    assert summary.users == 2
    pmf = summary.rows["pmf"]["precision@5"]
    assert pmf.by_run == pytest.approx([0.2, 0.4])
    assert pmf.mean == pytest.approx(0.3)
    assert summary.against is not None
    lead = summary.against["precision@5"]["pmf"]
    assert lead.difference == pytest.approx(0.2)
    assert lead.ci95 == pytest.approx([0.2, 0.2])
    assert lead.relative == pytest.approx(0.5 / 0.3 - 1)
    assert lead.p_holm < 0.001
    assert lead.by_split == pytest.approx([0.2, 0.2])
    assert summary.hits == {"pmf": {"hits@5": 4}, "hybrid": {"hits@5": 7}}


def test_splits_are_drawn_and_initialisations_of_one_averaged(tmp_path: Path) -> None:
    leads = {(1, 0): 0.1, (1, 1): 0.3, (2, 0): 0.5, (2, 1): 0.5}
    users = np.linspace(0, 0.1, 30)
    paths = [
        folder(
            tmp_path / f"seed-{seed}-init-{init}",
            {"pmf": dict(enumerate(users)), "hybrid": dict(enumerate(users + lead))},
            seed=seed,
        )
        for (seed, init), lead in leads.items()
    ]
    summary = summarise(paths)
    assert summary.against is not None
    lead = summary.against["precision@5"]["pmf"]
    assert lead.range == pytest.approx((0.2, 0.5))
    assert lead.difference == pytest.approx(0.35)
    # two splits: 0.15 standard error, 12.7 of them
    assert lead.ci95 == pytest.approx((0.35 - 12.706 * 0.15, 0.35 + 12.706 * 0.15), rel=1e-4)
    hybrid = summary.rows["hybrid"]["precision@5"]
    assert len(hybrid.by_run) == 4
    assert np.ptp(hybrid.ci95) == pytest.approx(2 * 12.706 * 0.15, rel=0.01)
    assert "the 2 splits" in summary.intervals
    assert "the 2 initialisations" in summarise(paths[:2]).intervals


def test_a_figure_that_nobody_has_is_null_in_the_json(tmp_path: Path) -> None:
    found = summarise([folder(tmp_path / "a", {"pmf": {1: 0.1}})]).to_json()
    assert found["rows"]["pmf"]["tail_recall@5"]["mean"] is None
    assert found["runs"] == ["a"]
    assert not {"against", "all_unseen"} & set(found)


def test_folds_weigh_the_same_however_many_users_they_have(tmp_path: Path) -> None:
    first = folder(tmp_path / "a", {"pmf": {1: 0.0, 2: 0.4}}, folds=2)
    second = folder(tmp_path / "b", {"pmf": {3: 0.8}}, folds=2)
    assert summarise([first, second]).rows["pmf"]["precision@5"].mean == pytest.approx(0.5)


def test_what_another_version_has_written_is_named(tmp_path: Path) -> None:
    old = folder(tmp_path / "a", {"pmf": {1: 0.1}})
    (old / "results.json").write_text('{"rows": []}')
    with pytest.raises(InputError, match=f"older version.*run `jaxrec eval --run {old}`"):
        summarise([old])


def test_only_rows_that_all_folders_have_are_compared(tmp_path: Path) -> None:
    first = folder(tmp_path / "a", {"pmf": {1: 0.1}, "mf": {1: 0.1}})
    second = folder(tmp_path / "b", {"pmf": {1: 0.3}})
    summary = summarise([first, second])
    assert list(summary.rows) == ["pmf"]
    assert summary.left_out == ("mf",)
    assert summary.against is None


def test_folders_without_a_common_row_are_refused(tmp_path: Path) -> None:
    first = folder(tmp_path / "a", {"pmf": {1: 0.1}})
    second = folder(tmp_path / "b", {"ease": {1: 0.3}})
    with pytest.raises(InputError, match="no row is measured in all run folders"):
        summarise([first, second])


def test_protocols_are_not_mixed(tmp_path: Path) -> None:
    first = folder(tmp_path / "a", {"pmf": {1: 0.1}})
    second = folder(tmp_path / "b", {"pmf": {1: 0.1}}, protocol="temporal")
    with pytest.raises(InputError, match="different protocols"):
        summarise([first, second])
