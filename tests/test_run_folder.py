import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jaxrec.errors import InputError
from jaxrec.run_folder import RunFolder, open_run
from jaxrec.steps import DEFAULTS, factors_are_fresh, score_card, train_pmf

pytestmark = pytest.mark.timeout(120)

QUICK = DEFAULTS["logistic"]._replace(factors=4, sweeps=2)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return open_run(tmp_path / "run", "synthetic")


def test_a_folder_keeps_data_protocol_and_seed(tmp_path: Path) -> None:
    made = open_run(tmp_path / "run", "synthetic", seed=0)
    again = open_run(tmp_path / "run")
    assert again.protocol.seed == 0
    assert again.protocol.split.sha256() == made.protocol.split.sha256()
    assert again.data_sha256 == made.data_sha256


def test_the_split_is_written_with_external_ids(run: RunFolder) -> None:
    table = pl.read_parquet(run.path / "split.parquet")
    train = table.filter(pl.col("part") == "train")
    ratings = run.dataset.ratings.at(run.protocol.split.train)
    assert train["user_id"].to_list() == run.dataset.user_ids[ratings.users].tolist()
    assert train["item_id"].to_list() == run.dataset.item_ids[ratings.items].tolist()
    assert (table["part"] == "test").sum() == len(run.protocol.split.test)


def test_a_seed_that_contradicts_the_folder_is_refused(run: RunFolder) -> None:
    with pytest.raises(InputError, match="made with seed 42, not 7; leave --seed out"):
        open_run(run.path, seed=7)


def test_data_that_contradict_the_folder_are_refused(run: RunFolder, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "movies.csv").write_text("movieId,title,genres\n1,Up (2009),Drama\n")
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4.0,1\n")
    with pytest.raises(InputError, match="made with other data"):
        open_run(run.path, str(folder))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not empty and no run folder"):
        open_run(tmp_path, "synthetic")


def test_factors_of_another_split_are_refused(run: RunFolder, tmp_path: Path) -> None:
    other = open_run(tmp_path / "other", "synthetic", seed=1)
    train_pmf(other, QUICK)
    for suffix in (".safetensors", ".json"):
        source = other.factors_path.with_suffix(suffix)
        run.factors_path.with_suffix(suffix).write_bytes(source.read_bytes())
    with pytest.raises(InputError, match=f"another split; run `jaxrec train-pmf --run {run.path}"):
        score_card(run)


def test_without_factors_the_command_that_makes_them_is_named(run: RunFolder) -> None:
    with pytest.raises(InputError, match=f"run `jaxrec train-pmf --run {run.path}`"):
        score_card(run)


def test_training_again_with_the_same_settings_gives_the_same_bytes(run: RunFolder) -> None:
    train_pmf(run, QUICK)
    first = run.factors_path.read_bytes()
    assert factors_are_fresh(run, QUICK)
    assert not factors_are_fresh(run, QUICK._replace(factors=5))
    train_pmf(run, QUICK)
    assert run.factors_path.read_bytes() == first


def test_results_of_other_factors_are_set_aside(run: RunFolder) -> None:
    train_pmf(run, QUICK)
    score_card(run, ks=(5,))
    train_pmf(run, QUICK)
    assert run.set_stale_results_aside() is None
    train_pmf(run, QUICK._replace(factors=5))
    assert run.set_stale_results_aside() == run.path / "results.stale.json"
    assert not run.results_path.exists()


def test_test_ratings_change_nothing_that_is_trained(run: RunFolder) -> None:
    """Permuting the stars of the test part leaves factors as they were."""
    train_pmf(run, QUICK)
    before = run.read_factors()[0]
    stars = run.dataset.ratings.stars
    test = run.protocol.split.test
    kept = stars.copy()
    stars[test] = np.random.default_rng(0).permutation(stars[test])
    try:
        train_pmf(run, QUICK)
    finally:
        stars[:] = kept
    assert run.read_factors()[0].V.tobytes() == before.V.tobytes()


def test_the_protocol_card_is_whole(run: RunFolder) -> None:
    train_pmf(run, QUICK)
    results = score_card(run, ks=(5, 10))
    assert json.loads(run.results_path.read_text())["rows"] == results["rows"]
    assert set(results["protocol"]) >= {
        "protocol", "data", "data_sha256", "split", "split_sha256", "candidates", "seen_filter",
        "relevant", "ties", "ndcg", "ndcg_retrieved", "users_evaluated", "users_excluded",
    }  # fmt: skip
