"""The main job on the real data: the published rows, to a digit more than is printed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from jaxrec.data.dataset import Dataset

FLAGS = ("--as-evaluated", "-q")


@pytest.fixture(scope="module")
def run(movielens: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "run"
    result = CliRunner().invoke(
        cli.main,
        ["run", "--protocol", "published", "--trials", "0", "-q"]
        + ["--run", str(folder), "--data", movielens.source]
        + [part for row in ("mf", "mf+minilm", "pmf", "hybrid") for part in ("--row", row)],
    )
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize(
    ("row", "hits", "precision", "recall", "ndcg_retrieved"),
    [("mf", 739, 0.0493, 0.0883, 0.2768), ("mf+minilm", 712, 0.0475, 0.0907, 0.2782)],
)
def test_published_rows(
    run: Path, row: str, hits: int, precision: float, recall: float, ndcg_retrieved: float
) -> None:
    rows = json.loads((run / "results.json").read_text())["rows"]
    found = next(found for found in rows if found["name"] == row)
    metrics = found["metrics"]
    assert found["users"] == 600
    assert found["hits"] == hits
    assert metrics["precision@25"] == pytest.approx(precision, abs=5e-5)
    assert metrics["recall@25"] == pytest.approx(recall, abs=5e-5)
    assert metrics["ndcg_retrieved@25"] == pytest.approx(ndcg_retrieved, abs=5e-5)


def test_our_rows_on_the_published_split(run: Path) -> None:
    """Honest texts; settings chosen on validation. Bars of the first release of each row."""
    rows = {row["name"]: row for row in json.loads((run / "results.json").read_text())["rows"]}
    hybrid = rows["hybrid"]["metrics"]
    assert hybrid["precision@25"] >= 0.174
    assert hybrid["recall@25"] >= 0.370
    assert hybrid["ndcg@25"] >= 0.356
    assert hybrid["precision@25"] > 1.03 * rows["pmf"]["metrics"]["precision@25"]
    assert rows["hybrid"]["p_vs_pmf"]["precision@25"] < 0.01


def test_the_published_case_study(run: Path) -> None:
    result = CliRunner().invoke(
        cli.main,
        ["recommend", "--run", str(run), "--user", "400", "-k", "5", "--row", "mf", *FLAGS],
    )
    assert result.output.splitlines()[1:6] == [
        "  4.5  Donnie Darko (2001)",
        "  4.5  Godfather: Part II, The (1974)",
        "  4.5  Forrest Gump (1994)",
        "  5.0  Heat (1995)",
        "  5.0  Requiem for a Dream (2000)",
    ]
    assert [line[22:] for line in result.output.splitlines()[7:]] == [
        "Reservoir Dogs (1992)",
        "Grand Day Out with Wallace and Gromit, A (1989)",
        "Fight Club (1999)",
        "Schindler's List (1993)",
        "Godfather, The (1972)",
    ]
