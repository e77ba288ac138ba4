"""Everything works where the catalogue holds fewer items than a list has places."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxrec.border.texts import texts_sha256
from jaxrec.data.dataset import Dataset
from jaxrec.data.feedback import Feedback
from jaxrec.errors import InputError
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.task import evaluation_task, validation_tasks
from jaxrec.experiment import kept
from jaxrec.experiment.choices import (
    evidence_with,
    identity_with_settings,
    learn_fusion,
    validation_ndcg,
)
from jaxrec.experiment.fitting import PUBLISHED, fitted, missing_factors, train_pmf
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.rows import rows_of, settings_of
from jaxrec.experiment.scoring import Fusion, alpha_curves, score_card
from jaxrec.experiment.tuning import tune
from jaxrec.files import write_json
from jaxrec.models.model import Arrays
from jaxrec.models.registry import MODELS, fit
from jaxrec.serving.evaluated import of_run
from jaxrec.serving.fit import model_of_train
from jaxrec.serving.model import Wanted
from jaxrec.sources.synthetic import synthetic_dataset

ITEMS = 8
QUICK = {"factors": 4, "sweeps": 3}
FITTED = [row for row in MODELS if MODELS[row].lacks is None]
NAMED = ("set", "slim", "sparse-ease", "sparse-ease+text", "add-ease", "l3ae")


def small(kind: str) -> Dataset:
    """Forty users of most of eight items; likes and counts without times."""
    made = synthetic_dataset(users=40, items=ITEMS)
    there = np.random.default_rng(0).random(len(made.interactions.users)) < 0.8
    some = made.interactions.at(np.flatnonzero(there))
    if kind == "stars":
        return replace(made, interactions=some)
    values = np.ones(len(some.users)) if kind == "likes" else np.ceil(some.values)
    some = some._replace(values=values, times=None)
    remarks = made.remarks._replace(times=None)
    return replace(made, interactions=some, remarks=remarks, feedback=Feedback.of(kind, values))


def opened(path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, protocol: str) -> RunFolder:
    data = small(kind)
    monkeypatch.setattr("jaxrec.experiment.folder.load_dataset", lambda *_: data)
    run = open_run(path, "small", protocol, seed=1)
    for row in ("pmf", "text", "pmf+text"):
        write_json(run.tuned_path(row), {"settings": QUICK})
    for row, settings in missing_factors(run, {row.factors or "" for row in rows_of(run)}).items():
        train_pmf(run, settings._replace(sweeps=3, factors=4) if row == "mf" else settings)
    return run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    return opened(tmp_path / "run", monkeypatch, "stars", "strict")


def with_embeddings(run: RunFolder) -> None:
    E = np.random.default_rng(0).normal(size=(ITEMS, 3)).astype(np.float32)
    E /= np.linalg.norm(E, axis=1, keepdims=True)
    texts = run.texts(run.kinds_of_texts[0])
    card = {"texts_sha256": texts_sha256(run.dataset, texts), "model": "some"}
    kept.write(run.embeddings_path("some"), {"embeddings": E}, card)


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        ("stars", "strict"),
        ("stars", "temporal-user"),
        ("likes", "leave-one-out"),
        ("likes", "strict"),
        ("counts", "cold-users"),
        ("likes", "cold-items"),
    ],
)
def test_a_score_card_of_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, protocol: str
) -> None:
    run = opened(tmp_path / "run", monkeypatch, kind, protocol)
    rows = [row.name for row in rows_of(run)]
    card = score_card(run, ks=(5, 25), only=(*rows, *NAMED))
    blind = {"popularity", "pmf", "itemknn", "rp3beta", "ease", "ease-graded"}
    blind |= {"slim", "sparse-ease"}  # to cold items
    absent = blind if protocol == "cold-items" else set()
    absent |= {"ease-graded", "ease-graded+text"} if kind == "likes" else set()
    assert set(card.measured) >= {*FITTED, "hybrid"} - absent
    for row in card.measured.values():
        assert row.figures.metrics["recall@25"] == pytest.approx(1)
        assert row.figures.metrics["precision@25"] == pytest.approx(row.hits / row.users / 25)
    assert card.hybrid is not None
    assert card.hybrid.places_differing.get(25, 0) == 0  # none without row pmf


def test_settings_are_tuned(run: RunFolder) -> None:
    assert 0 < tune(run, "ease", trials=1)["validation_ndcg@25"] <= 1


def test_alpha_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = opened(tmp_path / "run", monkeypatch, "stars", "published")
    with_embeddings(run)
    quick = PUBLISHED._replace(factors=4, sweeps=2)
    embeddings = {"some": run.read_embeddings("some")}
    (curve,) = alpha_curves(run, quick, "published", embeddings).values()
    assert all(0 < ndcg <= 1 for _, ndcg in curve)
    card = score_card(run, (25,), Fusion("published", None), only=("mf", "mf+some"))
    assert card.measured["mf+some"].alpha_curve


def test_the_fusion_is_learned_and_encoders_are_validated(run: RunFolder) -> None:
    assert 0 < max(learn_fusion(run).learned.ndcg.values()) <= 1
    E = np.eye(ITEMS, dtype=np.float32)
    assert 0 < validation_ndcg(run, lambda split: E) <= 1


def test_embeddings_are_judged_by_one_signal_where_no_more_fit(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jaxrec.experiment.choices._choosers", lambda _: ("pmf+text",))
    E = np.eye(ITEMS, dtype=np.float32)
    ((split, task),) = validation_tasks(run.dataset, run.protocol)
    fitted = fit("pmf+text", evidence_with(run, split, E), settings_of(run, "pmf+text"))
    expected = evaluate(fitted, task, (25,)).metrics["ndcg@25"]
    assert validation_ndcg(run, lambda split: E) == pytest.approx(expected)
    monkeypatch.setattr("jaxrec.experiment.choices._choosers", lambda _: ())
    with pytest.raises(InputError, match="no signal reads texts; give more"):
        validation_ndcg(run, lambda split: E)


def test_a_signal_that_cannot_be_made_costs_only_itself(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Arrays:
        raise InputError("no")

    said: list[str] = []
    monkeypatch.setitem(MODELS, "set", MODELS["set"]._replace(learn=fails))
    found = learn_fusion(replace(run, say=said.append))
    assert found.failed == {"set": "no"}
    assert "set" not in found.signals
    assert len(found.signals) == 5
    assert said == ["hybrid: its signal set cannot be made (no)"]
    kept = run.hybrid_path.read_bytes()
    assert learn_fusion(run) == found
    assert run.hybrid_path.read_bytes() == kept


def test_lists_hold_what_there_is(run: RunFolder) -> None:
    users = np.arange(run.dataset.users, dtype=np.int32)
    known = np.bincount(
        run.dataset.interactions.users[run.protocol.split.known], minlength=len(users)
    )
    (items, scores, _), _ = of_run(run, users, Wanted.best(10, ITEMS), "ease", as_evaluated=True)
    assert items.shape == (len(users), ITEMS)
    assert ((items >= 0).sum(axis=1) == ITEMS - known).all()
    assert (np.isinf(scores) == (items < 0)).all()
    model = model_of_train(run, rows_of(run, ("pmf+text",))[0])
    somebody = model.recommend(model.somebody(np.array([0, 1])), Wanted.best(10, ITEMS))
    assert (somebody.items >= 0).sum() == ITEMS - 2
    assert (model.similar(0, 10)["pmf+text"].items >= 0).sum() == ITEMS - 1


def test_what_is_recommended_was_measured(run: RunFolder) -> None:
    """Also where all scores are equal, as those of this model that stands for a fitted one."""
    task = evaluation_task(run.dataset, run.protocol)
    card = identity_with_settings(run, "popularity")
    kept.write(run.model_path("popularity"), {"liked": np.ones(ITEMS, np.int64)}, card)
    found = evaluate(fitted(run, "popularity"), task, (10,))
    assert found.tied_share > 0.9
    listed, _ = of_run(run, found.users, Wanted.best(10, ITEMS), "popularity", as_evaluated=True)
    assert listed.items.tolist() == found.lists[:, :ITEMS].tolist()
    assert (found.lists[:, ITEMS:] == -1).all()
