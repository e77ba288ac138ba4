"""Learned rows in a run folder: what decides them, and what must not."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxrec.border.texts import texts_sha256
from jaxrec.budget import Budget
from jaxrec.errors import InputError
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.task import evaluation_task, validation_tasks
from jaxrec.experiment import kept
from jaxrec.experiment.choices import (
    choose_embeddings,
    chosen_embeddings,
    evidence,
    learn_fusion,
    settings_of,
)
from jaxrec.experiment.fitting import fitted, learned, train_pmf
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.rows import pmf_settings_of
from jaxrec.experiment.scoring import results_are_stale, score_card
from jaxrec.experiment.tuning import tunable, tune
from jaxrec.files import file_sha256, write_json
from jaxrec.models.registry import MODELS, fit
from jaxrec.sources.synthetic import synthetic_dataset
from jaxrec.topk.scorer import Linear, Product
from tests.scored import scores_by

pytestmark = pytest.mark.usefixtures("small_synthetic")

FITTED = [row for row in MODELS if MODELS[row].lacks is None]
QUICK = {"factors": 8, "sweeps": 5}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = open_run(tmp_path / "run", "synthetic", "strict", seed=1)
    for row in ("pmf", "text", "pmf+text"):
        write_json(run.tuned_path(row), {"settings": QUICK})
    return run


def test_every_row_beats_chance(run: RunFolder) -> None:
    task = evaluation_task(run.dataset, run.protocol)
    chance = task.relevant.lengths[task.relevant.lengths > 0].mean() / run.dataset.items
    for row in FITTED:
        assert evaluate(fitted(run, row), task, (10,)).metrics["precision@10"] > 2 * chance, row


@pytest.mark.parametrize(
    "protocol", ["strict", "temporal", "temporal-user", "leave-one-out", "cold-items", "cold-users"]
)
def test_what_is_held_out_decides_nothing(tmp_path: Path, protocol: str) -> None:
    """Put other ratings in place of the test ratings: models and choices stay."""
    made = open_run(tmp_path / "run", "synthetic", protocol, seed=1)

    def learn(run: RunFolder, folder: str) -> list:
        run = replace(run, path=tmp_path / folder)
        for row in ("pmf", "text", "pmf+text"):
            write_json(run.tuned_path(row), {"settings": QUICK})
        models = [
            fit(row, evidence(run, run.protocol.split), settings_of(run, row))
            for row in FITTED
            if row != "ials"  # its threads do not add in a fixed order
        ]
        everybody = np.arange(run.dataset.users)
        arrays = [scores_by(model, everybody, run.dataset.items) for model in models]
        tuned = tune(run, "ease", trials=2)["validation_ndcg@25"]
        texts = run.texts("honest")
        return [arrays, learn_fusion(run), tuned, texts]

    before = learn(made, "before")
    positions, rng = made.protocol.split.test, np.random.default_rng(0)
    columns = {name: column.copy() for name, column in made.dataset.interactions._asdict().items()}
    for name in ("values",) if protocol == "cold-items" else ("values", "items"):
        columns[name][positions] = rng.permutation(columns[name][positions])
    ratings = made.dataset.interactions._replace(**columns)
    after = learn(replace(made, dataset=replace(made.dataset, interactions=ratings)), "after")
    for one, other in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert before[1:3] == after[1:3]


def test_validation_decides_settings(run: RunFolder) -> None:
    before = tune(run, "ease", trials=1)["validation_ndcg@25"]
    positions = run.protocol.validation_splits(run.dataset)[0].test
    stars = run.dataset.interactions.values
    stars[positions] = np.random.default_rng(0).permutation(stars[positions])
    other = replace(run, path=run.path.with_name("other"))
    assert tune(other, "ease", trials=1)["validation_ndcg@25"] != before


def test_settings_of_another_version_are_refused(run: RunFolder) -> None:
    write_json(run.tuned_path("pmf"), {"settings": {"w0": 0.1}})
    with pytest.raises(InputError, match=r"pmf\.json has settings that pmf has not \(w0\)"):
        settings_of(run, "pmf")


def test_settings_of_another_split_are_refused(run: RunFolder, tmp_path: Path) -> None:
    tune(run, "ease", trials=1)
    other = open_run(tmp_path / "other", "synthetic", "strict", seed=2)
    again = open_run(tmp_path / "again", "synthetic", "strict", seed=1, init=1)
    for to in (other, again):
        to.tuned_path("ease").parent.mkdir()
        shutil.copy(run.tuned_path("ease"), to.tuned_path("ease"))
    assert settings_of(again, "ease") == settings_of(run, "ease")
    with pytest.raises(InputError, match=r"ease\.json was tuned on another split"):
        settings_of(other, "ease")


def test_published_rows_do_not_know_what_was_tuned(run: RunFolder) -> None:
    """The published fit has settings of its own; only rows that learn are tuned."""
    assert not {"mf", "mf+minilm"} & set(tunable())


def test_a_model_is_kept_until_something_changes(run: RunFolder) -> None:
    fitted(run, "ease")
    path = run.model_path("ease")
    first = path.stat().st_mtime_ns
    fitted(run, "ease")
    assert path.stat().st_mtime_ns == first
    before = file_sha256(path)
    write_json(run.tuned_path("ease"), {"settings": {"lambda_": 3.0}})
    fitted(run, "ease")
    assert file_sha256(path) != before


def test_the_fusion_is_kept_until_something_changes(run: RunFolder) -> None:
    first = learn_fusion(run)
    stamp, before = run.hybrid_path.stat().st_mtime_ns, file_sha256(run.hybrid_path)
    assert learn_fusion(run) == first
    assert run.hybrid_path.stat().st_mtime_ns == stamp
    write_json(run.tuned_path(first.signals[2]), {"settings": {"lambda_": 3.0}})
    learn_fusion(run)
    assert file_sha256(run.hybrid_path) != before


def test_cold_items_are_scored_by_what_their_features_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jaxrec.sources.library.synthetic_dataset", synthetic_dataset)
    run = open_run(tmp_path / "run", "synthetic", "cold-items", seed=1)
    V = learned(run, "pmf+text")["V"]
    task = evaluation_task(run.dataset, run.protocol)
    assert (np.abs(V[task.catalogue]).max(axis=1) > 0).all()
    text = evaluate(fitted(run, "pmf+text"), task).metrics["ndcg@25"]
    assert text > 1.3 * evaluate(fitted(run, "popularity"), task).metrics["ndcg@25"]


@pytest.mark.parametrize("row", [row for row in FITTED if row != "popularity"])
def test_cold_users_are_served_from_what_they_give(tmp_path: Path, row: str) -> None:
    """Two users who give the same ratings get the same scores, and not everybody does."""
    run = open_run(tmp_path / "run", "synthetic", "cold-users", seed=1)
    model = fit(row, evidence(run, run.protocol.split), QUICK if row.startswith("pmf") else None)
    users = np.unique(run.dataset.interactions.users[run.protocol.split.given]).astype(np.int32)
    scores = scores_by(model, users, run.dataset.items)
    assert np.isfinite(scores).all()
    assert np.abs(scores[0] - scores[1]).max() > 0
    task = evaluation_task(run.dataset, run.protocol)
    assert set(users) >= set(np.flatnonzero(task.relevant.lengths))


def test_a_search_goes_on_where_it_stopped(run: RunFolder) -> None:
    seen: list[int] = []
    tune(run, "ease", 2, on_trial=lambda trial, best: seen.append(trial))
    card = tune(run, "ease", 4, on_trial=lambda trial, best: seen.append(trial))
    assert seen == [1, 2, 3, 4]
    assert card["trials"] == 4
    assert settings_of(run, "ease")["lambda_"] == card["settings"]["lambda_"]


def test_nothing_to_judge_by_is_said(run: RunFolder) -> None:
    inner = run.protocol.validation_splits(run.dataset)[0]
    run.dataset.interactions.values[inner.test] = 1.0
    with pytest.raises(InputError, match="no user has a relevant item"):
        tune(run, "ease", trials=1)
    with pytest.raises(InputError, match="no user has a relevant item in the validation part"):
        learn_fusion(run)


def test_the_first_trial_is_the_default(run: RunFolder) -> None:
    split, task = validation_tasks(run.dataset, run.protocol)[0]
    default = evaluate(fit("ease", evidence(run, split)), task).metrics["ndcg@25"]
    assert tune(run, "ease", 1)["validation_ndcg@25"] == pytest.approx(default, abs=1e-7)


def test_models_that_are_products_say_so(run: RunFolder) -> None:
    assert isinstance(fitted(run, "pmf+text"), Product)
    with pytest.raises(InputError, match="is not there; run `jaxrec embed"):
        run.read_embeddings("minilm")


def with_embeddings(run: RunFolder, *names: str) -> None:
    """Embeddings of the run's texts, of other directions each."""
    sha256 = texts_sha256(run.dataset, run.texts("honest"))
    for seed, name in enumerate(names):
        E = np.random.default_rng(seed).normal(size=(run.dataset.items, 8)).astype(np.float32)
        E /= np.linalg.norm(E, axis=1, keepdims=True)
        path = run.embeddings_path(name, "honest")
        kept.write(path, {"embeddings": E}, {"texts_sha256": sha256, "model": name})


def test_reading_a_choice_fits_nothing_and_choosing_is_a_step(run: RunFolder) -> None:
    with_embeddings(run, "one", "other")
    with pytest.raises(InputError, match="has several embeddings and has not chosen among them"):
        fitted(run, "ease+text")
    fitted(run, "ease")  # reads no texts
    chosen = choose_embeddings(run)
    assert chosen in ("one", "other")
    assert chosen_embeddings(run) == chosen
    tight = replace(run, budget=Budget(1))  # in which other signals would be fused
    assert chosen_embeddings(tight) == chosen
    write_json(run.tuned_path("text"), {"settings": QUICK | {"ridge": 2.0}})
    with pytest.raises(InputError, match="has not chosen"):
        chosen_embeddings(run)


def test_every_row_is_tuned_where_embeddings_are_to_be_chosen(run: RunFolder) -> None:
    with_embeddings(run, "one", "other")
    for row in ("itemknn", "ease+text", "pmf"):
        assert tune(run, row, 1)["trials"] == 1


def test_text_reads_the_factors_of_row_pmf_or_says_that_it_does_not(run: RunFolder) -> None:
    said: list[str] = []
    run = replace(run, say=said.append)
    train_pmf(run, pmf_settings_of(run, "text"))
    alone = replace(run, path=run.path.with_name("alone"))
    write_json(alone.tuned_path("text"), {"settings": QUICK})
    found, expected = learned(run, "text"), learned(alone, "text")
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    assert said == []
    train_pmf(run, pmf_settings_of(run, "text")._replace(factors=5))
    run.model_path("text").unlink()
    fitted(run, "text")
    assert said == ["text: fits PMF anew, for the factors of row pmf have other settings"]


def test_a_row_that_is_no_product_is_kept_too(run: RunFolder) -> None:
    assert isinstance(fitted(run, "itemknn"), Linear)
    first = learned(run, "itemknn")
    stamp = run.model_path("itemknn").stat().st_mtime_ns
    again = fitted(run, "itemknn")
    assert isinstance(again, Linear)
    np.testing.assert_array_equal(learned(run, "itemknn")["weights"], first["weights"])
    assert run.model_path("itemknn").stat().st_mtime_ns == stamp


def test_a_card_is_stale_once_one_of_its_rows_is_made_of_something_else(run: RunFolder) -> None:
    score_card(run, only=("ease", "popularity"))
    write_json(run.tuned_path("itemknn"), {"settings": {"neighbours": 3}})
    assert not results_are_stale(run)
    write_json(run.tuned_path("ease"), {"settings": {"lambda_": 3.0}})
    assert results_are_stale(run)
