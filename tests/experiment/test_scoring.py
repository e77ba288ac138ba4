"""One impossible row costs no other: it is absent, and says why."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxrec.budget import Budget, Cost, Stage
from jaxrec.data.features import category_shares
from jaxrec.errors import InputError
from jaxrec.evaluation.card import AbsentRow, ScoreCard, read_card
from jaxrec.evaluation.measure import beyond_accuracy, evaluate
from jaxrec.evaluation.task import evaluation_task
from jaxrec.experiment import kept
from jaxrec.experiment.choices import validation_ndcg
from jaxrec.experiment.fitting import PUBLISHED, fitted, train_pmf
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.rows import rows_of
from jaxrec.experiment.scoring import INTERRUPTED, Interrupted, results_are_stale, score_card
from jaxrec.experiment.tuning import tune, tune_all
from jaxrec.files import write_json
from jaxrec.models.registry import MODELS
from jaxrec.pmf.objective import PmfSettings
from jaxrec.serving.evaluated import of_run
from jaxrec.serving.model import Wanted

pytestmark = pytest.mark.usefixtures("small_synthetic")

QUICK = {"factors": 8, "sweeps": 5}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = open_run(tmp_path / "run", "synthetic", "strict", seed=1)
    for row in ("pmf", "text", "pmf+text"):
        write_json(run.tuned_path(row), {"settings": QUICK})
    return run


TOO_LARGE = ("ease", "ease-graded", "ease+text", "ease-graded+text")


@pytest.fixture
def ease_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def cost(*_: Any) -> Cost:
        return Cost(2.0**50, 1.0, 1.0)

    for row in TOO_LARGE:
        monkeypatch.setitem(MODELS, row, MODELS[row]._replace(cost=cost))


def fails(monkeypatch: pytest.MonkeyPatch, row: str, error: Exception) -> None:
    def learn(*_: Any) -> Any:
        raise error

    monkeypatch.setitem(MODELS, row, MODELS[row]._replace(learn=learn))


def absent(card: ScoreCard) -> dict[str, str]:
    return {row.name: row.why for row in card.rows if isinstance(row, AbsentRow)}


@pytest.mark.usefixtures("ease_is_too_large")
def test_a_row_beyond_its_size_is_absent_and_the_others_are_measured(run: RunFolder) -> None:
    card = score_card(run, (5, 10), only=("ease", "popularity", "itemknn", "hybrid"))
    assert set(card.measured) == {"popularity", "itemknn", "hybrid"}
    assert card.ks == (5, 10)
    found = absent(card)
    assert found["ease"].startswith("it takes about 1125899.9 GB")
    assert found["ease"].endswith("; give --memory 1073741824")
    assert card.hybrid is not None
    assert card.hybrid.signals == ("pmf+text", "sparse-ease+text", "text", "set", "rp3beta")


@pytest.mark.usefixtures("ease_is_too_large")
def test_what_takes_the_place_of_rows_is_there_only_where_they_do_not_fit(
    run: RunFolder, tmp_path: Path
) -> None:
    assert {"sparse-ease", "sparse-ease+text"} <= {row.name for row in rows_of(run)}


def test_where_rows_fit_nothing_takes_their_place(run: RunFolder) -> None:
    assert not [row.name for row in rows_of(run) if row.name.startswith("sparse")]
    assert [row.name for row in rows_of(run, ("sparse-ease",))] == ["sparse-ease"]


@pytest.mark.usefixtures("ease_is_too_large")
def test_hybrid_recommends_as_it_was_measured_whatever_the_budget_is_now(run: RunFolder) -> None:
    score_card(run, (5,), only=("hybrid",))
    kept, more = run.hybrid_path.read_bytes(), replace(run, budget=Budget(2**60))
    users, wanted = np.arange(2, dtype=np.int32), Wanted.best(5, run.dataset.items)
    of_run(more, users, wanted, "hybrid")
    assert run.hybrid_path.read_bytes() == kept
    assert not results_are_stale(more)


def test_a_card_tells_what_lists_are_beyond_accuracy(run: RunFolder) -> None:
    """Diversity needs embeddings; by which conventions it is, the protocol card says."""
    bare = score_card(run, (5,), only=("popularity",))
    assert "diversity@5" not in bare.measured["popularity"].beyond_accuracy
    assert "diversity" not in bare.protocol["beyond_accuracy"]
    E = np.eye(5, dtype=np.float32)[np.arange(run.dataset.items) % 5]
    sha256 = run.texts_sha256("honest")
    path = run.embeddings_path("five", "honest")
    kept.write(path, {"embeddings": E}, {"texts_sha256": sha256, "model": "five"})
    card = score_card(run, (5,), only=("popularity",))
    task = evaluation_task(run.dataset, run.protocol)
    found = evaluate(fitted(run, "popularity"), task, (5,))
    figures = card.measured["popularity"].beyond_accuracy
    assert figures == beyond_accuracy(found, task, E, category_shares(run.dataset.catalogue))
    assert {"diversity@5", "miscalibration@5"} < set(figures)
    assert "diversity = 1 - cosine in five" in card.protocol["beyond_accuracy"]
    assert "miscalibration = KL of genres" in card.protocol["beyond_accuracy"]
    assert read_card(run.results_path).measured["popularity"].beyond_accuracy == figures


def test_a_row_without_memory_is_absent(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, "rp3beta", MemoryError("Unable to allocate 9 TiB"))
    card = score_card(run, (5,), only=("rp3beta", "popularity"))
    assert absent(card) == {
        "rp3beta": "it does not fit in memory (Unable to allocate 9 TiB); free some, or ask for"
        " less"
    }


def test_settings_of_another_split_cost_their_row_alone(run: RunFolder) -> None:
    train_pmf(run, PmfSettings(factors=8, sweeps=5))
    other = {"settings": {}, "made_from": {"split_sha256": "another"}}
    write_json(run.tuned_path("pmf"), other)
    write_json(run.tuned_path("ease"), other)
    card = score_card(run, (5,), only=("pmf", "ease", "popularity"))
    assert set(card.measured) == {"popularity"}
    assert all("was tuned on another split" in why for why in absent(card).values())


def test_a_mistake_of_the_program_costs_its_row_alone_and_says_where_it_is(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(monkeypatch, "ease", ValueError("shapes do not match\nat all"))
    card = score_card(run, (5,), only=("ease", "popularity"))
    assert set(card.measured) == {"popularity"}
    assert re.fullmatch(
        r"ValueError in \w+\.py, line \d+: shapes do not match", absent(card)["ease"]
    )


def test_without_any_row_the_reasons_are_one_line(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in ("ease", "rp3beta"):
        fails(monkeypatch, row, InputError("too large; take less"))
    with pytest.raises(InputError, match=r"yet \(rp3beta, ease: too large; take less\)"):
        score_card(run, (5,), only=("ease", "rp3beta"))


def test_what_is_wrong_with_the_task_ends_at_once(run: RunFolder) -> None:
    told: list[Stage] = []
    with pytest.raises(InputError, match=r"^k is 0; it must"):
        score_card(run, (0,), on_row=told.append, only=("popularity", "ease"))
    assert [stage.row for stage in told if stage.under_way] == ["popularity"]


def test_every_row_says_what_it_takes_before_any_begins_and_what_became_of_it(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(monkeypatch, "ease", ValueError("no"))
    told: list[Stage] = []
    card = score_card(run, (5,), on_row=told.append, only=("popularity", "rp3beta", "ease"))
    waiting, after = told[:3], told[3:]
    assert all(not stage.under_way and stage.took is None for stage in waiting)
    assert all(stage.expected.seconds > 0 for stage in told)
    rows = [stage.row for stage in waiting]
    assert [stage.row for stage in after] == [row for row in rows for _ in range(2)]
    assert all(stage.under_way for stage in after[::2])
    for stage in after[1::2]:
        assert stage.took is not None
        assert (stage.absent is None) is (stage.row != "ease")
    popularity = card.measured["popularity"].figures.metrics
    (measured,) = (stage.metrics for stage in after if stage.row == "popularity" and stage.metrics)
    assert measured["ndcg@5"] == popularity["ndcg@5"]


@pytest.mark.usefixtures("ease_is_too_large")
def test_a_row_that_does_not_fit_is_told_with_the_others_before_any_begins(run: RunFolder) -> None:
    told: list[Stage] = []
    score_card(run, (5,), on_row=told.append, only=("popularity", "ease"))
    popularity, ease, *after = told
    assert (popularity.row, popularity.absent) == ("popularity", None)
    assert ease.row == "ease"
    assert "give --memory" in str(ease.absent)
    assert {stage.row for stage in after} == {"popularity"}


def interrupted(monkeypatch: pytest.MonkeyPatch, row: str) -> None:
    def learn(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setitem(MODELS, row, MODELS[row]._replace(learn=learn))


def test_an_interruption_keeps_what_was_measured(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = [row.name for row in rows_of(run, ("popularity", "rp3beta", "ease"))]
    interrupted(monkeypatch, order[1])
    with pytest.raises(Interrupted) as stopped:
        score_card(run, (5,), only=tuple(order))
    assert set(stopped.value.card.measured) == {order[0]}
    assert absent(stopped.value.card) == dict.fromkeys(order[1:], INTERRUPTED)
    assert read_card(run.results_path).to_json() == stopped.value.card.to_json()


def test_an_interruption_leaves_a_fresh_card_alone(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_card(run, (5,), only=("popularity", "rp3beta"))
    before = run.results_path.read_bytes()
    interrupted(monkeypatch, "ease")
    with pytest.raises(Interrupted):
        score_card(run, (5,), only=("popularity", "rp3beta", "ease"))
    assert run.results_path.read_bytes() == before


def test_a_card_with_more_figures_is_kept_where_another_takes_its_place(run: RunFolder) -> None:
    told: list[str] = []
    run = replace(run, say=told.append)
    both = ("popularity", "rp3beta")
    score_card(run, (5, 10), only=both)
    whole = run.results_path.read_bytes(), run.per_user_path.read_bytes()
    score_card(run, (5, 10), only=both)
    score_card(run, (5, 10), only=(*both, "itemknn"))
    assert told == []
    score_card(run, (5, 10), only=("popularity",))  # fewer rows
    score_card(run, (5,), only=("popularity",))  # fewer cut-offs
    of_rows, of_cutoffs = told
    assert re.search(r"more or other figures of itemknn, rp3beta; .* kept in", of_rows)
    assert re.search(r"more or other figures of popularity; .* kept in", of_cutoffs)
    kept = [Path(line.rpartition(" ")[2]) for line in told]
    assert [set(read_card(folder / "results.json").measured) for folder in kept] == [
        {*both, "itemknn"},
        {"popularity"},
    ]
    score_card(run, (5, 10), only=both)
    assert (run.results_path.read_bytes(), run.per_user_path.read_bytes()) == whole
    score_card(run, (5, 10), only=("rp3beta",))
    again = Path(told[-1].rpartition(" ")[2])
    files = (again / "results.json", again / "per_user.parquet")
    assert tuple(file.read_bytes() for file in files) == whole


def test_an_interruption_before_any_row_is_measured_is_one_as_any(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, "ease")
    with pytest.raises(KeyboardInterrupt) as stopped:
        score_card(run, (5,), only=("ease",))
    assert not isinstance(stopped.value, Interrupted)
    assert not run.results_path.exists()


def test_what_would_not_be_done_in_time_is_left_out(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cost(*_: Any) -> Cost:
        return Cost(0.0, 1e6, 0.0)

    monkeypatch.setitem(MODELS, "ease", MODELS["ease"]._replace(cost=cost))
    hurried = replace(run, budget=Budget.of(minutes=100.0))
    told: list[Stage] = []
    card = score_card(hurried, (5,), on_row=told.append, only=("popularity", "ease"))
    assert set(card.measured) == {"popularity"}
    assert absent(card)["ease"].startswith("it takes about 16667 min, and 100 min are left; give")
    # that which a row before it has used up
    monkeypatch.setattr(Budget, "too_long", lambda budget, cost: "no time is left")
    told.clear()
    with pytest.raises(InputError, match="no time is left"):
        score_card(hurried, (5,), on_row=told.append, only=("popularity",))
    assert not any(stage.under_way for stage in told)
    assert told[-1].absent == "no time is left"


def test_a_search_keeps_to_the_time(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    late = replace(run, budget=Budget.of(minutes=1.0).less(3600.0))
    with pytest.raises(InputError, match="and 0 s are left; give a longer --budget"):
        tune(late, "rp3beta", 5)
    assert tune(run, "rp3beta", 1)["trials"] == 1
    assert tune(late, "rp3beta", 5)["trials"] == 1  # what is there counts


def test_rows_that_were_named_do_not_make_a_card_stale(run: RunFolder) -> None:
    """Those too that a card has only if they are named."""
    train_pmf(run, PUBLISHED._replace(factors=4, sweeps=2))
    card = score_card(run, (5,), only=("sparse-ease", "mf"))
    assert set(card.measured) == {"sparse-ease", "mf"}
    assert not results_are_stale(run)
    train_pmf(run, PUBLISHED._replace(factors=5, sweeps=2))
    assert results_are_stale(run)


@pytest.mark.usefixtures("ease_is_too_large")
def test_embeddings_are_judged_by_the_signals_that_can_be_made(run: RunFolder) -> None:
    E = np.random.default_rng(0).normal(size=(run.dataset.items, 4)).astype(np.float32)
    E /= np.linalg.norm(E, axis=1, keepdims=True)
    assert 0 < validation_ndcg(run, lambda split: E) < 1


@pytest.mark.usefixtures("ease_is_too_large")
def test_a_row_that_cannot_be_tuned_costs_no_other(run: RunFolder) -> None:
    from jaxrec.console.terminal import Terminal

    said: list[str] = []
    _, lost = tune_all(run, {"ease": 1, "rp3beta": 1}, Terminal(-1).sweeps, said.append)
    assert set(lost) == {"ease"}
    assert "give --memory" in lost["ease"]
    assert run.tuned_path("rp3beta").exists()
    (line,) = said
    assert line.startswith("rp3beta: 0.")


def nameless(run: RunFolder, title: str = "", year: str = "") -> RunFolder:
    """The same where every item has the same title, year and no genre; nobody tags anything."""
    from jaxrec.data.dataset import Remarks
    from jaxrec.sources.synthetic import films

    ids, nothing = run.dataset.item_ids, np.zeros(0, np.int32)
    catalogue = films(ids.names.tolist(), [title] * len(ids), [year] * len(ids))
    remarks = Remarks(nothing, nothing, [], np.zeros(0, np.int64))
    return replace(run, dataset=replace(run.dataset, catalogue=catalogue, remarks=remarks))


@pytest.mark.parametrize(
    ("title", "why"), [("", "no item has a text; give"), ("Up (2009)", "all items have the same")]
)
def test_without_texts_no_row_reads_any(run: RunFolder, title: str, why: str) -> None:
    bare = nameless(run, title)
    assert set(bare.texts("honest")) == {title or "movie"}
    card = score_card(bare, (5,))
    readers = {"content", "ease+text", "ease-graded+text", "ials", "text", "pmf+text", "set"}
    found = absent(card)
    assert set(found) == readers | {"pmf"}
    assert card.hybrid is not None
    assert card.hybrid.signals == ("pmf", "ease-graded", "ease", "rp3beta")
    assert all(found[row].startswith(why) for row in readers)
    with pytest.raises(InputError, match=f"^{why}"):
        tune(bare, "text", 1)


def test_texts_that_nobody_has_embedded_are_not_read(run: RunFolder) -> None:
    """No number and no category tells items apart, so the embeddings must."""
    bare = nameless(run)
    table = bare.dataset.catalogue.table.with_columns(title=np.array(run.dataset.titles))
    catalogue = replace(bare.dataset.catalogue, table=table)
    card = score_card(
        replace(bare, dataset=replace(bare.dataset, catalogue=catalogue)),
        (5,),
        only=("pmf+text", "popularity"),
    )
    assert absent(card) == {"pmf+text": f"jaxrec embed --run {run.path} --model minilm"}
