import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

import cli
from jaxrec import __version__
from jaxrec.budget import Cost
from jaxrec.console.outputs import Output
from jaxrec.data.feedback import Feedback
from jaxrec.evaluation.foreign_metrics import LIBRARIES
from jaxrec.evaluation.protocol import PROTOCOLS
from jaxrec.evaluation.split import Split
from jaxrec.experiment.fitting import PUBLISHED
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.files import read_sealed, sealed
from jaxrec.fusion.published import FUSIONS
from jaxrec.models.registry import MODELS
from jaxrec.pmf.objective import LIKELIHOODS, SOLVERS, TARGETS, PmfSettings
from jaxrec.serving.export import FORMATS
from jaxrec.serving.lists import FORMATS as OF_LISTS
from jaxrec.sources import library
from jaxrec.sources.synthetic import synthetic_dataset
from tests.tiny_models import tiny_bert, write_json

pytestmark = pytest.mark.usefixtures("small_synthetic")

TABLE = ("mf", "mf+minilm", "mf+minilm-ft", "mf+qwen3-4b", "mf+qwen3-4b-ft")
METRICS = (
    "precision", "recall", "ndcg", "ndcg_retrieved", "mrr", "map", "hit_rate", "coverage", "hits",
)  # fmt: skip


def jaxrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def trained(folder: Path) -> Path:
    result = jaxrec(
        "train-pmf", "--run", folder, "--data", "synthetic", "--protocol", "published",
        "--solver", "sequential", "--factors", 4, "--sweeps", 3,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("cli") / "run")


def test_version() -> None:
    assert __version__ in jaxrec("--version").output


def test_eval_writes_the_score_card(run: Path, tmp_path: Path) -> None:
    rows = [part for row in (*TABLE, "pmf", "popularity") for part in ("--row", row)]
    result = jaxrec(
        "eval", "--run", run, "-k", 10, "-k", 5, "--json", tmp_path / "card.json", *rows
    )
    assert result.exit_code == 0, result.output
    card = json.loads((tmp_path / "card.json").read_text())
    mf = card["rows"][0]
    assert (mf["name"], mf["label"]) == ("mf", "MF only")
    assert set(mf["metrics"]) == {f"{metric}@{k}" for metric in METRICS for k in (5, 10)}
    for part in (mf, *mf["by_item_third"].values(), *mf["by_user_third"].values()):
        assert set(part["metrics"]) == set(mf["metrics"])
        counted = {name for name in mf["metrics"] if name.startswith(("coverage", "hits"))}
        assert set(part["ci95"]) == set(mf["metrics"]) - counted
    for name, (low, high) in mf["ci95"].items():
        assert low <= mf["metrics"][name] <= high
    assert mf["hits"] == round(mf["metrics"]["precision@10"] * 10 * mf["users"])
    assert [row["name"] for row in card["rows"]] == [*TABLE, "popularity", "pmf"]
    assert "SYNTHETIC" in result.output
    assert f"mf+minilm is absent: jaxrec embed --run {run} --model minilm" in result.output


def test_a_table_comes_first_and_says_what_is_next(run: Path) -> None:
    common = "eval", "--run", run, "-k", 5, "--row", "popularity", "--row", "mf"
    result = jaxrec(*common)
    _, shown = result.stdout.split("protocol published, seed 42\n")
    lines = [line.partition(":")[0] for line in shown.splitlines()]
    assert lines[lines.index("Won") :][:3] == ["Won", "Text", "Next"]
    where = f"protocol card: in {run}/results.json; -v prints it above the table"
    assert where in shown.splitlines()
    assert f"See also `jaxrec report --run {run}`, `jaxrec recommend" in result.stderr
    assert "See also" not in jaxrec(*common, "-q").output
    whole = jaxrec(*common, "-v").stdout.splitlines()
    assert whole[0] == "protocol: published"
    assert where not in whole


def test_recommend_shows_what_the_user_liked_and_what_is_new(run: Path) -> None:
    result = jaxrec("recommend", "--run", run, "--user", 7, "-k", 3, "--row", "mf")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "SYNTHETIC DATA made by jaxrec" in lines
    start = lines.index("User 7, latest interactions:")
    assert lines[start + 6] == "Recommended by mf:"
    assert len(lines[start + 7 :]) == 3


def test_recommend_all_writes_k_unseen_items_a_user(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.parquet"
    result = jaxrec("recommend", "--run", run, "--all", "-k", 4, "--out", out, "--row", "mf")
    assert result.exit_code == 0, result.output
    table = pl.read_parquet(out)
    assert table.columns == ["user_id", "rank", "item_id", "title", "score"]
    assert table.group_by("user_id").len()["len"].unique().to_list() == [4]
    split = pl.read_parquet(run / "split.parquet")  # held out or not
    assert table.join(split, on=["user_id", "item_id"]).is_empty()
    scores = table.group_by("user_id", maintain_order=True).agg("score")["score"]
    assert all(row.to_list() == sorted(row, reverse=True) for row in scores)


def test_a_small_memory_changes_no_list(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jaxrec.topk.ranking.FEWEST", 64)  # so that 1 MiB asks for blocks of items
    tables = []
    for number, memory in enumerate((1, 1024)):
        out = tmp_path / f"{number}.parquet"
        result = jaxrec(
            "recommend", "--run", run, "--all", "--out", out, "--memory", memory, "--row", "mf"
        )
        assert result.exit_code == 0, result.output
        tables.append(pl.read_parquet(out).drop("score"))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recommend", "--user", "12345"], "no user 12345; there are 1 to 100"),
        (["recommend", "--user", "1", "--row", "mf+bert"], "no row 'mf+bert'"),
        (["recommend", "--user", "1", "--row", "mf+minilm"], "jaxrec embed --run"),
        (["recommend"], "give --user ID, --liked ITEM, or --all"),
        (["recommend", "--liked", "zzz"], "no item 'zzz'; give an id"),
        (["recommend", "--liked", "the"], "is ambiguous, give an id: "),
        (["recommend", "--liked", "1", "--as-evaluated", "--model", "m"], "is not for --model"),
        (
            ["recommend", "--user", "1", "--interactions", "/dev/null"],
            "--interactions needs --model",
        ),
        (["recommend", "--model", "/nowhere", "--user", "1"], "--run is not for --model"),
        (["recommend", "--all", "--out", "x.csv", "--json", "x.json"], "--json is of one user"),
        (["recommend", "--all", "--out", "x.xlsx"], "give a name that ends in .csv or"),
        (["similar", "--item", "zzz"], "no item 'zzz'; give an id"),
        (["eval", "--row", "bpr"], "no row 'bpr'; there are mf, "),
        (["tune", "--row", "mf"], "no row 'mf' to tune; there are itemknn"),
        (["run", "--seeds", "2"], "is one run folder; give another --run"),
        (["eval", "-k", "5", "-k", "10001"], "10001 is not in the range 1<=x<=10000"),
        (["run", "-k", "10001"], "10001 is not in the range 1<=x<=10000"),
        (["eval", "--plot", "/tmp/x.nothing"], "give a name that ends in .png or .pdf or .svg"),
        (["eval", "--seed", "7"], "made with seed 42, not 7"),
        (["eval", "--alpha", "2"], "'2' is neither a number from 0 to 1 nor `grid`"),
        (["eval", "--data", "nowhere"], "no data set 'nowhere'"),
        (["embed", "--model", "gpt"], "no model 'gpt'"),
        (["recommend", "--user", "1", "--row", "mf+minilm-ft"], "--finetune --preset published"),
        (["eval", "--seed", "5000000000"], "5000000000 is not in the range"),
        (["train-pmf", "--lambda", "nan"], "nan is not a finite number"),
        (["train-pmf", "--likelihood", "gaussian", "--w0", "1"], "only the all-pairs likelihood"),
        (["train-pmf", "--solver", "sequential", "--nu", "0"], "has nu 1.0 only; leave it out"),
        (["train-pmf", "--likelihood", "logistic", "--target", "liked"], "is for all-pairs"),
        (["train-pmf", "--nu", "100"], "give smaller ones"),
        (["eval", "--row", "mf", "--json", "/proc/card.json"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run: Path, arguments: list[str], message: str) -> None:
    result = jaxrec(arguments[0], "--run", run, *arguments[1:])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_retraining_says_what_became_stale(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    jaxrec("eval", "--run", run, "--row", "mf")
    result = jaxrec("train-pmf", "--run", run, "--solver", "sequential", "--factors", 5)
    assert "is stale; it is now" in result.output.replace("\n", " ")
    assert (run / "results.stale.json").exists()


def test_quiet_prints_results_alone(run: Path) -> None:
    result = jaxrec("train-pmf", "--run", run, "--factors", 4, "--sweeps", 3, "-q", "--nu", 1)
    assert (result.exit_code, result.output) == (0, "")


def test_run_keeps_the_factors_that_are_there(run: Path) -> None:
    before = (run / "mf.safetensors").read_bytes()
    result = jaxrec("run", "--run", run, "-k", 5, "--row", "mf")
    assert result.exit_code == 0, result.output
    assert "factors are there already" in result.output
    assert (run / "mf.safetensors").read_bytes() == before


def test_somebody_new_gets_what_goes_with_what_is_liked(run: Path) -> None:
    result = jaxrec("recommend", "--run", run, "--liked", 3, "--liked", 5, "-k", 4)
    assert result.exit_code == 0, result.output
    start = next(n for n, line in enumerate(result.output.splitlines()) if "For somebody" in line)
    assert len(result.output.splitlines()[start + 1 :]) == 4


def test_similar_items_are_listed_by_space(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "similar.json"
    row = ("--row", "pmf+text")
    result = jaxrec("similar", "--run", run, "--item", 3, "-k", 2, *row, "--json", out)
    assert result.exit_code == 0, result.output
    assert "by pmf+text:" in result.output
    found = json.loads(out.read_text())
    assert found["item"] == "3"
    assert [place["rank"] for place in found["similar"]["pmf+text"]] == [1, 2]


@pytest.mark.parametrize(
    ("asked", "of"),
    [
        (("--user", 7, "--row", "mf"), {"user": "7", "row": "mf", "stranger": False}),
        (
            ("--liked", 3, "--row", "pmf+text"),
            {"liked": ["3"], "row": "pmf+text", "stranger": False},
        ),
    ],
)
def test_a_list_is_the_same_for_people_and_programs(
    run: Path, tmp_path: Path, asked: tuple, of: dict
) -> None:
    out = tmp_path / "list.json"
    result = jaxrec("recommend", "--run", run, "-k", 3, "--json", out, *asked)
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert of.items() <= found.items()
    printed = [line.split()[2] for line in result.output.splitlines()[-3:]]
    assert [str(place["item_id"]) for place in found["items"]] == printed
    assert all(set(place) == {"rank", "item_id", "title", "score"} for place in found["items"])


def test_several_seeds_make_a_summary(tmp_path: Path) -> None:
    result = jaxrec(
        "run", "--run", tmp_path, "--data", "synthetic", "--seeds", 2, "--inits", 2,
        "--trials", 2, "--row", "pmf", "--row", "popularity",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["runs"] == [f"seed-{seed}-init-{init}" for seed in (1, 2) for init in (0, 1)]
    assert set(summary["rows"]) == {"pmf", "popularity"}
    first, second = (
        json.loads((tmp_path / f"seed-1-init-{init}" / "pmf.json").read_text()) for init in (0, 1)
    )
    assert first["sha256"] != second["sha256"]
    per_run = summary["rows"]["popularity"]["precision@25"]["by_run"]
    assert per_run[0] == per_run[1] != per_run[2]
    assert summary["intervals"].startswith("users and splits drawn anew")


def test_settings_are_searched_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jaxrec.experiment.tuning.MOST", 3)
    common = ("--data", "synthetic", "--row", "itemknn", "--row", "popularity")
    result = jaxrec("run", "--run", tmp_path / "searched", *common)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "searched/tuned/itemknn.json").read_text())["trials"] == 3
    assert re.search(r"itemknn: 0\.\d+ on validation by .* of 3 trials", result.output)
    result = jaxrec("run", "--run", tmp_path / "not", *common, "--trials", 0, "-v")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "not/tuned").exists()
    assert "tuned on validation: none (defaults)" in result.output


def test_what_a_search_found_is_told_to_programs(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "tuned.json"
    common = "--run", run, "--data", "synthetic", "--row", "itemknn", "--trials", 2
    assert jaxrec("tune", *common, "--json", out).exit_code == 0
    kept = read_sealed(run / "tuned" / "itemknn.json", "", {})
    assert json.loads(out.read_text()) == {"itemknn": kept}


def test_each_initialisation_searches_by_itself(tmp_path: Path) -> None:
    result = jaxrec(
        "run", "--run", tmp_path, "--data", "synthetic", "--inits", 2, "--trials", 5,
        "--row", "itemknn", "--row", "popularity",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    tried = [
        [
            json.loads(line)["param_value_internal"]
            for line in (tmp_path / f"seed-1-init-{init}/tuned/itemknn.trials")
            .read_text()
            .splitlines()
            if '"shrinkage"' in line and "param_value_internal" in line
        ]
        for init in (0, 1)
    ]
    (*first, one), (*again, other) = tried
    assert first == again  # the defaults, and what other data prefer
    assert one != other


def test_a_report_tells_of_run_folders_and_refuses_what_is_stale(tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "page.html"
    made = jaxrec("train-pmf", "--run", run, "--data", "synthetic", "--sweeps", 1)
    assert made.exit_code == 0, made.output
    report = ("report", "--run", run, "--out", page, "--figures", tmp_path / "figures")
    refused = jaxrec(*report)
    assert (refused.exit_code, page.exists()) == (2, False)
    assert f"has no score card; run `jaxrec eval --run {run}`" in refused.output
    assert jaxrec("eval", "--run", run, "--row", "pmf", "--row", "popularity").exit_code == 0
    result = jaxrec(*report)
    assert result.exit_code == 0, result.output
    first = page.read_bytes()
    assert b"jaxrec run --run" in first
    assert first.count(b"as they were measured") == 3  # users
    assert (tmp_path / "figures" / "training-pmf.svg").exists() == (b"Factors of pmf" in first)
    assert jaxrec(*report).exit_code == 0
    assert page.read_bytes() == first
    two = jaxrec("report", "--run", run, "--run", run, "--out", page)
    assert two.exit_code == 0, two.output
    assert b"Side by side" in page.read_bytes()
    inside = jaxrec("report", "--run", run, "--out", page, "--figures", run / "figures")
    assert "in the run folder" in inside.output
    damaged = json.loads((run / "results.json").read_text())
    damaged["made_from"]["rows"]["popularity"] = "something else"
    write_json(run / "results.json", sealed(damaged))
    stale = jaxrec(*report)
    assert (stale.exit_code, len(stale.output.splitlines())) == (2, 1)
    assert f"made from something else by now; run `jaxrec eval --run {run}`" in stale.output


def test_a_study_is_a_report(tmp_path: Path) -> None:
    result = jaxrec(
        "run", "--run", tmp_path / "study", "--data", "synthetic", "--seeds", 2,
        "--trials", 0, "--row", "pmf", "--row", "popularity",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    page = tmp_path / "page.html"
    result = jaxrec("report", "--run", tmp_path / "study", "--out", page)
    assert result.exit_code == 0, result.output
    assert "Means over 2 run folders" in page.read_text()
    assert "--seed 1 --seeds 2 -k 25 --row popularity --row pmf --trials 0" in page.read_text()


def test_cold_items_are_five_folds(tmp_path: Path) -> None:
    result = jaxrec(
        "run", "--run", tmp_path, "--data", "synthetic", "--protocol", "cold-items",
        "--seed", 1, "--row", "pmf+text", "--row", "popularity",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["runs"] == [f"seed-1-fold-{fold}" for fold in range(5)]
    assert "popularity is absent: it scores every cold item alike" in result.output
    (row,) = summary["rows"]
    assert row == "pmf+text"
    assert 0 < summary["all_unseen"]["pmf+text"]["cold_share@25"] < 1
    assert [line[:4] for line in result.output.splitlines()].count("Next") == 1  # of all folds


def test_data_are_cut_to_their_core(tmp_path: Path) -> None:
    made = "eval", "--run", tmp_path / "run", "--data", "synthetic", "--row", "popularity"
    result = jaxrec(*made, "--core", 5, "--json", tmp_path / "card.json")
    assert result.exit_code == 0, result.output
    (line,) = json.loads((tmp_path / "card.json").read_text())["protocol"]["mended"].split("; ")
    assert line.startswith("core 5: ")
    assert line in result.output.splitlines()
    assert line in jaxrec("train-pmf", "--run", tmp_path / "run", "--sweeps", 1).output
    empty = jaxrec("run", "--run", tmp_path / "empty", "--data", "synthetic", "--core", 10_000)
    assert (empty.exit_code, len(empty.output.strip().splitlines())) == (2, 1)
    assert "core 10000 leaves nothing of synthetic" in empty.output
    assert not (tmp_path / "empty").exists()


def test_time_is_cut_once(tmp_path: Path) -> None:
    result = jaxrec("run", "--run", tmp_path, "--protocol", "temporal", "--seeds", 2)
    assert result.exit_code == 2
    assert "temporal has one split; give --inits instead" in result.output


@pytest.mark.usefixtures("one_thread")
def test_an_encoder_is_fine_tuned_and_used(tmp_path: Path) -> None:
    bert, run = tiny_bert(tmp_path / "bert"), tmp_path / "run"
    common = ("--run", run, "--data", "synthetic", "--model", bert)
    assert jaxrec("embed", *common).exit_code == 0
    result = jaxrec(
        "embed", *common, "--finetune", "--epochs", 2, "--folds", 2, "--rate", 0.003
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "bert-ft: trained" in result.output
    card = json.loads((run / "embeddings" / "bert-ft.json").read_text())
    assert card["settings"]["loss"] == "alignment"
    assert {"before", "best"} == set(card["validation"])
    assert (run / "encoders/honest/bert-ft/fold-1/model.safetensors").exists()
    assert not (run / "training/honest/bert-ft/checkpoints").exists()
    assert jaxrec("eval", "--run", run, "--row", "text").exit_code == 0
    content = json.loads((run / "content.json").read_text())
    figure = content["ndcg"]["bert-ft"]["validation_ndcg@25"]
    assert figure == pytest.approx(card["validation"]["best"], abs=1e-6)
    for better, used in ((1, "bert-ft"), (-1, "bert")):
        content["ndcg"]["bert"]["validation_ndcg@25"] = figure - better * 0.1
        write_json(run / "content.json", sealed(content))
        result = jaxrec("eval", "--run", run, "--row", "text", "-v")
        assert f"text rows read: {used}, year and genres" in result.output


@pytest.mark.usefixtures("one_thread")
def test_where_items_are_cold_epochs_are_judged_by_what_choices_will_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bert, seen = tiny_bert(tmp_path / "bert"), []

    def judged(run: RunFolder, read: Callable[[Split], NDArray[np.float32]]) -> float:
        seen.append([read(split) for split in run.protocol.validation_splits(run.dataset)])
        return float(len(seen))

    monkeypatch.setattr("jaxrec.experiment.choices.validation_ndcg", judged)
    result = jaxrec(
        "embed", "--finetune", "--run", tmp_path / "run", "--data", "synthetic", "--model", bert,
        "--protocol", "cold-items", "--epochs", 1, "--folds", 2, "--rate", 0.003,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    run = open_run(tmp_path / "run")
    splits = run.protocol.validation_splits(run.dataset)
    kept = [run.read_embeddings("bert-ft", "honest", split).E for split in splits]
    np.testing.assert_array_equal(seen[-1], kept)
    assert not np.array_equal(kept[0], kept[1])


@pytest.mark.usefixtures("one_thread")
def test_a_published_row_is_drawn_again(tmp_path: Path) -> None:
    """By the same pairs, and without another choice for rows that read honest texts."""
    bert, run = tiny_bert(tmp_path / "bert"), tmp_path / "run"
    common = ("embed", "--run", run, "--data", "synthetic", "--protocol", "published")
    assert jaxrec("train-pmf", *common[1:], "--solver", "sequential", "--sweeps", 3).exit_code == 0
    assert jaxrec(*common, "--model", bert).exit_code == 0
    taught = ("--model", bert, "--finetune", "--preset", "published", "--epochs", 1, "--rate", 0.01)
    for draw in ((), ("--draw", 2)):
        result = jaxrec(*common, *taught, *draw)
        assert result.exit_code == 0, result.output
    names = ("bert-ft", "bert-ft-draw2")
    cards = [json.loads((run / "embeddings" / f"{name}.json").read_text()) for name in names]
    first, second = ((card.pop("sha256"), card.pop("history")) for card in cards)
    assert first != second
    assert [card["settings"].pop("seed") for card in cards] == [42, 10_042]
    assert [card.pop("name") for card in cards] == list(names)
    assert cards[0]["training"] == cards[1]["training"]
    result = jaxrec("eval", "--run", run, "--json", tmp_path / "card.json", "-k", 5, "-v")
    assert "mf+bert-ft: 2 fine-tunings" in result.output
    assert "text rows read: bert, year and genres" in result.output
    draws = json.loads((tmp_path / "card.json").read_text())["draws"]
    assert draws["mf+bert-ft"]["rows"] == ["mf+bert-ft", "mf+bert-ft-draw2"]
    spread = draws["mf+bert-ft"]["figures"]["precision@5"]
    assert spread["lowest"] <= spread["mean"] <= spread["highest"]


@pytest.mark.usefixtures("one_thread")
def test_embedding_says_what_is_assumed_and_what_is_cut(tmp_path: Path) -> None:
    bert, run = tiny_bert(tmp_path / "bert"), tmp_path / "run"
    write_json(bert / "sentence_bert_config.json", {"max_seq_length": 4})
    common = ("embed", "--run", run, "--data", "synthetic", "--model", bert)
    result = jaxrec(*common)
    assert "bert: no file says how its tokens are pooled; mean pooling is assumed" in result.output
    assert "texts were cut: the longest has" in result.output
    result = jaxrec(*common, "--long", "mean", "--prompt", "a ")
    assert result.exit_code == 0, result.output
    assert "texts were read in windows of 4 tokens" in result.output
    card = json.loads((run / "embeddings" / "bert.json").read_text())
    assert (card["prompt"], card["long"]) == ("a ", "mean")
    result = jaxrec(*common, "--prompt", "a b c")
    assert (result.exit_code, result.output.count("give a shorter --prompt")) == (2, 1)


@pytest.mark.usefixtures("one_thread")
def test_encoders_of_one_name_have_embeddings_of_their_own(tmp_path: Path) -> None:
    """And the same one's take the place of its former, which is said."""
    run = tmp_path / "run"
    for owner in ("one", "two"):
        common = ("embed", "--run", run, "--data", "synthetic", "--model")
        bert = tiny_bert(tmp_path / owner / "bert")
        for options, told in (
            ((), ""),
            (("--dim", 8), "bert: takes the place of embeddings made with dim 32"),
            (("--fast",), "bert: takes the place of embeddings made with dim 8, dtype 'float32'"),
            ((), "bert: takes the place of embeddings made with dtype '"),
        ):
            result = jaxrec(*common, bert, *options)
            assert result.exit_code == 0, result.output
            assert told in result.output
        assert "takes the place" not in jaxrec(*common, bert).output
    models = {
        name: json.loads((run / "embeddings" / f"{name}.json").read_text())["model"]
        for name in ("bert", "two-bert")
    }
    assert models == {"bert": str(tmp_path / "one/bert"), "two-bert": str(tmp_path / "two/bert")}
    kept = jaxrec("run", "--run", run, "--model", bert, "--row", "popularity")
    assert "two-bert: embeddings are there already" in kept.output


@pytest.mark.usefixtures("one_thread")
def test_an_encoder_taught_on_another_split_is_refused(tmp_path: Path) -> None:
    bert, run = tiny_bert(tmp_path / "bert"), tmp_path / "run"
    common = ("--data", "synthetic", "--model")
    taught = run / "encoders" / "honest" / "bert-ft"
    assert jaxrec("embed", "--run", run, *common, bert, "--finetune", "--folds", 1).exit_code == 0
    assert 'SentenceTransformer("bert-ft")' in (taught / "README.md").read_text()
    assert jaxrec("embed", "--run", run, *common, taught).exit_code == 0
    other = tmp_path / "other"
    for more in ([], ["--finetune"]):
        result = jaxrec("embed", "--run", other, "--seed", 7, *common, taught, *more)
        assert result.exit_code == 2
        assert "was fine-tuned on another split of this data" in result.output
    (other / "embeddings").mkdir()
    for suffix in (".safetensors", ".json"):
        name = f"honest-bert-ft{suffix}"
        shutil.copy(run / "embeddings" / name, other / "embeddings" / name)
    result = jaxrec("eval", "--run", other, "--row", "text")
    assert result.exit_code == 2
    assert "its encoder was fine-tuned on another split of this data" in result.output


@pytest.mark.usefixtures("one_thread")
def test_initialisations_share_a_fine_tuned_encoder(tmp_path: Path) -> None:
    bert, run = tiny_bert(tmp_path / "bert"), tmp_path / "run"
    result = jaxrec(
        "run", "--run", run, "--data", "synthetic", "--model", bert, "--finetune",
        "--inits", 2, "--row", "text",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.output.count("bert-ft: trained") == 1
    first, second = (
        (run / name / "embeddings" / "bert-ft.safetensors").read_bytes()
        for name in ("seed-1-init-0", "seed-1-init-1")
    )
    assert first == second


def test_options_of_fine_tuning_need_it(tmp_path: Path) -> None:
    common = ("embed", "--run", tmp_path, "--data", "synthetic")
    result = jaxrec(*common, "--loss", "triplet")
    assert (result.exit_code, "--loss needs --finetune" in result.output) == (2, True)
    result = jaxrec(*common, "--finetune", "--full", "--nf4")
    refused = "jaxrec: --full trains no 4-bit weights; give --no-nf4 too, or --lora\n"
    assert (result.exit_code, result.output) == (2, refused)
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_cannot_be_tuned_is_said_and_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ease = MODELS["ease"]._replace(cost=lambda *_: Cost(2.0**50, 1.0, 1.0))
    monkeypatch.setitem(MODELS, "ease", ease)
    common = ("tune", "--run", tmp_path, "--data", "synthetic", "--trials", 1, "-q")
    said = "Going on without tuning ease: it takes about 1125899.9 GB"
    for rows, status in ((("ease", "rp3beta"), 0), (("ease",), 2)):
        result = jaxrec(*common, *(part for row in rows for part in ("--row", row)))
        assert (result.exit_code, said in result.output) == (status, True), result.output
        assert len(result.output.splitlines()) == 1


@pytest.mark.usefixtures("one_thread")
def test_embeddings_that_are_there_are_read_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ("--run", tmp_path / "run", "--model", tiny_bert(tmp_path / "bert"))
    assert jaxrec("embed", "--data", "synthetic", *made).exit_code == 0
    for name in ("torch_embed.hub", "torch_embed.encoding.encode"):
        monkeypatch.setitem(sys.modules, name, None)
    result = jaxrec("run", *made, "--row", "text", "--trials", 0, "-k", 5)
    assert result.exit_code == 0, result.output
    assert "bert: embeddings are there already" in result.output
    assert "Going on without" not in result.output
    refused = jaxrec("embed", *made)
    assert (refused.exit_code, "pip install 'jaxrec[embed]'" in refused.output) == (2, True)


def test_a_run_that_cannot_embed_goes_on_without_text(tmp_path: Path) -> None:
    result = jaxrec(
        "run", "--run", tmp_path, "--data", "synthetic", "--model", "no/such-model", "--finetune",
        "--row", "pmf+text", "--row", "popularity", "-k", 5, "-q",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = result.output.splitlines()[0]
    assert told.startswith("Going on without text: model 'no/such-model' cannot be loaded")
    protocol = json.loads((tmp_path / "results.json").read_text())["protocol"]
    assert protocol["text_rows_read"].startswith("no embeddings, year and genres")


@pytest.mark.usefixtures("one_thread")
def test_a_run_refuses_what_is_no_model_and_says_what_it_reads_without_one(tmp_path: Path) -> None:
    run, bert = tmp_path / "run", tiny_bert(tmp_path / "bert")
    assert jaxrec("embed", "--run", run, "--data", "synthetic", "--model", bert).exit_code == 0
    common = ("run", "--run", run, "--row", "text", "--trials", 0, "-k", 5, "-q", "--model")
    for wrong in ("nonsense", "/nowhere/bert", tmp_path):
        refused = jaxrec(*common, wrong)
        assert (refused.exit_code, len(refused.output.splitlines())) == (2, 1), refused.output
        assert re.search(r"no model ('|in the folder )" + re.escape(str(wrong)), refused.output)
    shutil.rmtree(bert)
    for gone in ("no/such-model", bert):  # what the second has embedded is there
        result = jaxrec(*common, gone)
        assert result.exit_code == 0, result.output
        told = "Going on with the embeddings that are there (bert): model 'no/such-model' cannot"
        assert (told in result.output) == (gone != bert)
        assert "without text" not in result.output


def test_an_option_that_no_row_reads_is_said(tmp_path: Path) -> None:
    common = ("eval", "--run", tmp_path, "--data", "synthetic", "-k", 5, "-q")
    named = jaxrec(*common, "--row", "popularity", "--alpha", 0.2)
    told = "--alpha: no row that is measured reads it; rows mf+NAME do, of --protocol published"
    assert (named.exit_code, named.output.startswith(f"jaxrec: {told}")) == (2, True)
    assert not (tmp_path / "results.json").exists()
    both = jaxrec(*common, "--row", "mf+minilm", "--row", "popularity", "--alpha", 0.2)
    assert (both.exit_code, "no row that is measured reads" in both.output) == (0, False)


def test_an_option_that_no_row_reads_is_said_beside_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "jaxrec.experiment.rows.MODELS", {name: MODELS[name] for name in ("popularity",)}
    )
    monkeypatch.setattr("jaxrec.experiment.rows.SIGNALS", (("popularity",),))
    common = ("eval", "--run", tmp_path, "--data", "synthetic", "-k", 5, "-q")
    result = jaxrec(*common, "--fusion", "sigmoid-cosine")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("--fusion: no row that is measured reads it")
    assert "no row that is measured reads" not in jaxrec(*common).output


def test_a_published_row_is_refused_where_somebody_is_new(tmp_path: Path) -> None:
    for command in ("run", "eval"):
        result = jaxrec(
            command, "--run", tmp_path / "run", "--data", "synthetic", "--row", "mf", "-q",
            "--protocol", "cold-users",
        )  # fmt: skip
        assert result.exit_code == 2
        (line,) = result.output.splitlines()
        assert "row 'mf' is of the published table and knows nobody new" in line


@pytest.mark.usefixtures("one_thread")
def test_a_published_row_is_measured_elsewhere_if_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = PUBLISHED._replace(factors=4, sweeps=3)
    monkeypatch.setattr("jaxrec.experiment.fitting.PUBLISHED", quick)
    bert, run = tiny_bert(tmp_path / "bert"), tmp_path / "run"
    rows = ("--row", "mf", "--row", "mf+bert", "--row", "popularity")
    result = jaxrec("run", "--run", run, "--data", "synthetic", "--model", bert, *rows)
    assert result.exit_code == 0, result.output
    found = json.loads((run / "results.json").read_text())["rows"]
    assert [row["name"] for row in found if "metrics" in row] == ["mf", "mf+bert", "popularity"]
    result = jaxrec("eval", "--run", run, "--alpha", "grid", *rows)
    assert result.exit_code == 0, result.output
    assert "mf+bert: alpha " in result.output
    listed = jaxrec("recommend", "--run", run, "--user", 1, "--row", "mf+bert", "-k", 2)
    assert "Recommended by mf+bert" in listed.output


@pytest.mark.usefixtures("one_thread")
def test_what_is_before_the_score_card_keeps_to_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch_embed.encoding.encode.estimate_seconds", lambda *_: 1e6)
    monkeypatch.setattr("jaxrec.experiment.rows.pmf", lambda *_: Cost(0.0, 2e6, 0.0))
    bert, run = tiny_bert(tmp_path / "bert"), tmp_path / "run"
    result = jaxrec(
        "run", "--run", run, "--data", "synthetic", "--model", bert, "--budget", 60, "-q",
        "--row", "popularity", "--row", "pmf", "-k", 5,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    told = "Going on without text: bert: it takes about 16667 min, and 60 min are left; give a"
    assert lines[0].startswith(told)
    assert lines[0].endswith(
        f"longer --budget, or run `jaxrec embed --run {run} --model {bert}` first"
    )
    assert lines[1].startswith("Going on without factors of pmf: it takes about 33333 min")
    found = json.loads((run / "results.json").read_text())["rows"]
    assert [row["name"] for row in found if "metrics" in row] == ["popularity"]
    assert not (run / "embeddings").exists()


@pytest.mark.usefixtures("one_thread")
def test_fine_tuning_keeps_to_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch_embed.training.preflight.seconds_needed", lambda *_: 6e6)
    bert, run = tiny_bert(tmp_path / "bert"), tmp_path / "run"
    result = jaxrec(
        "run", "--run", run, "--data", "synthetic", "--model", bert, "--finetune", "-q",
        "--budget", 60, "--row", "popularity",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = f"Going on without fine-tuning: fine-tuning {bert} takes about 100000.0 min of steps"
    assert told in result.output
    assert (run / "embeddings" / "bert.safetensors").exists()


def test_a_run_fits_no_published_factors_elsewhere(tmp_path: Path) -> None:
    result = jaxrec(
        "run", "--run", tmp_path, "--data", "synthetic", "--model", "no/such-model",
        "--row", "popularity", "--row", "pmf", "-k", 5,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert (tmp_path / "pmf.safetensors").exists()
    assert not (tmp_path / "mf.safetensors").exists()


def test_what_no_memory_holds_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr("jaxrec.experiment.fitting.fit_pmf", fit)
    result = jaxrec("train-pmf", "--run", tmp_path, "--data", "synthetic", "-q")
    assert result.exit_code == 2
    told = "it does not fit in memory (Unable to allocate 9 TiB); free some, or ask for less"
    assert result.output == f"jaxrec: {told}\n"


def test_items_without_a_title_are_called_by_their_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = synthetic_dataset(users=30, items=200)
    table = made.catalogue.table.with_columns(title=pl.lit(None, pl.String))
    bare = replace(made, catalogue=replace(made.catalogue, table=table))
    monkeypatch.setattr("jaxrec.sources.library.synthetic_dataset", lambda: bare)
    common = ("--run", tmp_path, "--data", "synthetic", "-q")
    ids = {str(name) for name in made.item_ids.names}
    result = jaxrec("recommend", *common, "--user", 3, "--row", "popularity", "-k", 4)
    listed = [line for line in result.output.splitlines() if line.startswith("  ")]
    assert len(listed) == 9
    assert {line.split()[-1] for line in listed} <= ids
    result = jaxrec("similar", *common, "--item", 7, "-k", 2, "--row", "pmf+text")
    heading, *listed = result.output.splitlines()
    assert heading == "Most like 7 by pmf+text:"
    assert {line.split()[-1] for line in listed} <= ids - {"7"}
    result = jaxrec("recommend", *common, "--liked", 7, "-k", 2, "--row", "pmf+text")
    assert "For somebody who likes 7, by pmf+text:" in result.output


def test_a_likelihood_of_stars_meets_likes_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = synthetic_dataset(users=30, items=60)
    liked = made.interactions.liked(made.feedback)
    ones = liked._replace(values=np.ones(len(liked.users)), times=None)
    likes = replace(made, interactions=ones, feedback=Feedback("likes"))
    monkeypatch.setattr("jaxrec.sources.library.synthetic_dataset", lambda: likes)
    common = ("--run", tmp_path, "--data", "synthetic", "-q")
    for refused, remedy in (
        (("train-pmf", "--likelihood", "gaussian"), "take all-pairs"),
        (("embed", "--finetune", "--loss", "triplet"), "give --loss info-nce"),
        (("embed", "--finetune", "--loss", "contrastive"), "give --loss info-nce"),
    ):
        result = jaxrec(*refused, *common)
        assert result.exit_code == 2
        (line,) = result.output.splitlines()
        assert remedy in line


def test_what_does_not_fit_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch_embed.training.preflight._free_memory", lambda: 2**30)
    result = jaxrec(
        "embed", "--run", tmp_path, "--data", "synthetic", "--finetune", "--model", "qwen3-4b"
    )
    assert result.exit_code == 2
    assert "fine-tuning qwen3-4b takes about" in result.output
    assert "Traceback" not in result.output


def test_fine_tuning_on_texts_that_a_row_does_not_read_is_said_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch_embed.training.preflight._free_memory", lambda: 1)
    bert, run = tiny_bert(tmp_path / "bert"), tmp_path / "run"
    told = "rows mf+bert-ft and text+bert-ft read embeddings of the published texts"
    for protocol in ("published", "strict"):
        result = jaxrec(
            "embed", "--run", run / protocol, "--data", "synthetic", "--protocol", protocol,
            "--model", bert, "--finetune", "--loss", "info-nce",
        )  # fmt: skip
        assert result.exit_code == 2
        assert (told in result.output.replace("\n", " ")) is (protocol == "published")


def test_a_row_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    result = jaxrec("eval", "--run", tmp_path, "--data", "synthetic", "--row", "pmf")
    assert result.exit_code == 2
    assert "nothing can be measured yet (pmf: jaxrec train-pmf" in result.output


def test_factors_are_fitted_again_once_other_settings_are_tuned(tmp_path: Path) -> None:
    """Not those whose settings the user asked for."""
    arguments = ("--run", tmp_path, "--data", "synthetic", "--row", "pmf")
    for options, told in (((), True), (("--factors", 4), False)):
        (tmp_path / "tuned" / "pmf.json").unlink(missing_ok=True)
        assert jaxrec("train-pmf", *arguments[:4], "--sweeps", 15, *options).exit_code == 0
        (tmp_path / "tuned").mkdir(exist_ok=True)
        (tmp_path / "tuned" / "pmf.json").write_text('{"settings": {"factors": 8}}')
        found = jaxrec("eval", *arguments)
        assert ("pmf: was made from something else; made again" in found.output) is told
        assert ("pmf: not fitted with the tuned settings" in found.output) is not told
        card = json.loads((tmp_path / "pmf.json").read_text())
        assert card["factors"] == (8 if told else 4)


def test_a_card_is_drawn_and_told_as_another_library_would(run: Path, tmp_path: Path) -> None:
    result = jaxrec(
        "eval", "--run", run, "--row", "popularity", "--row", "mf", "--metrics-as", "rectools",
        "--plot", tmp_path / "card.png",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert (tmp_path / "card.png").read_bytes().startswith(b"\x89PNG")
    assert "metrics as rectools defines them" in result.output


def test_choices_are_those_of_the_library() -> None:
    def choices(command: str, option: str) -> tuple[str, ...]:
        (found,) = (p.type for p in cli.main.commands[command].params if p.name == option)
        assert isinstance(found, click.Choice)
        return tuple(found.choices)

    assert choices("eval", "fusion") == FUSIONS
    assert choices("eval", "protocol") == tuple(PROTOCOLS)
    assert choices("eval", "library") == LIBRARIES
    assert choices("train-pmf", "likelihood") == LIKELIHOODS
    assert choices("train-pmf", "target") == TARGETS
    assert choices("train-pmf", "solver") == (*SOLVERS, PUBLISHED.solver)
    assert choices("export", "form") == FORMATS
    (out,) = (p.type for p in cli.main.commands["recommend"].params if p.name == "out")
    assert isinstance(out, Output)
    assert out.suffixes == OF_LISTS


def test_help_imports_nothing_that_is_slow() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "cli", "--help"]
    done = subprocess.run(command, cwd=Path(cli.__file__).parent, capture_output=True, text=True)
    imported = [line.split("|")[-1].strip() for line in done.stderr.splitlines()]
    assert not {"jax", "numpy", "polars", "torch"} & set(imported)


def test_what_was_compiled_is_kept_where_the_user_says(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli", "train-pmf", "--data", "synthetic", "--sweeps", "1"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    # what compiles too fast is not kept otherwise
    home = inherited | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    own = home | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")}
    for environment, folder in (
        (home, tmp_path / "cache" / "jaxrec" / "compiled"),
        (own, tmp_path / "own"),
    ):
        subprocess.run(
            [*command, "--run", str(folder / "run")],
            cwd=Path(cli.__file__).parent, env=environment, check=True,
            capture_output=True,
        )  # fmt: skip
        assert list(folder.glob("jit__solve_shard-*")), folder


def test_every_option_of_a_fit_is_on_its_card(tmp_path: Path) -> None:
    arguments = (
        "--data", "synthetic", "--likelihood", "all-pairs", "--target", "liked", "--factors", 3,
        "--lambda", 0.5, "--nu", 0.7, "--w0", 0.2, "--biases", "--sweeps", 2, "--tolerance", 0.1,
        "--solver", "gradient", "--float64",
    )  # fmt: skip
    result = jaxrec("train-pmf", "--run", tmp_path / "run", *arguments)
    assert result.exit_code == 0, result.output
    card = json.loads((tmp_path / "run" / "pmf.json").read_text())
    expected = PmfSettings("all-pairs", 3, 0.5, 0.7, 0.2, "liked", True, 2, 0.1, "gradient", True)
    assert PmfSettings(*(card[name] for name in PmfSettings._fields)) == expected


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_each_likelihood_makes_the_row_pmf(tmp_path: Path, likelihood: str) -> None:
    arguments = ("--likelihood", likelihood, "--factors", 4, "--sweeps", 2)
    common = ("--data", "synthetic", "--protocol", "published")
    result = jaxrec("train-pmf", "--run", tmp_path, *common, *arguments)
    assert result.exit_code == 0, result.output
    result = jaxrec("eval", "--run", tmp_path, "-k", 5, "--row", "mf", "--row", "pmf", "-v")
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows if "metrics" in row] == ["pmf"]
    assert f"mf is absent: jaxrec train-pmf --run {tmp_path} --solver sequential" in result.output
    assert f"pmf: {likelihood}" in result.output
    recommended = jaxrec("recommend", "--run", tmp_path, "--user", 3, "--row", "pmf")
    assert "Recommended by pmf" in recommended.output


def test_run_without_data_at_hand_goes_on_with_synthetic_data_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAXREC_DATA", raising=False)
    monkeypatch.setattr(library, "cache_folder", lambda: tmp_path / "cache")
    release = library.RELEASES[library.DEFAULT]._replace(url="http://127.0.0.1:9/x.zip")
    monkeypatch.setitem(library.RELEASES, library.DEFAULT, release)
    refused = jaxrec("train-pmf", "--run", tmp_path / "named", "--data", library.DEFAULT)
    assert refused.exit_code == 2
    assert not (tmp_path / "named").exists()
    rows = [part for row in ("mf", "mf+minilm", "hybrid") for part in ("--row", row)]
    rows += ["--protocol", "published"]
    result = jaxrec("run", "--run", tmp_path / "run", "-k", 10, *rows)
    assert result.exit_code == 0, result.output
    assert "Going on with SYNTHETIC data" in result.output
    experiment = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert experiment["data"]["name"] == "synthetic"
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    measured = [row["name"] for row in results["rows"] if "metrics" in row]
    assert measured == ["mf", "mf+minilm", "hybrid"]
    again = jaxrec("run", "--run", tmp_path / "run", "-k", 10, *rows)
    assert "factors are there already" in again.output
    assert "embeddings are there already" in again.output


def test_alpha_is_chosen_on_validation(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    assert jaxrec("embed", "--run", run).exit_code == 0
    result = jaxrec(
        "eval", "--run", run, "--alpha", "grid", "--fusion", "sigmoid-cosine",
        "--row", "mf", "--row", "mf+minilm",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = json.loads((run / "results.json").read_text())["rows"]
    hybrid = next(row for row in rows if row["name"] == "mf+minilm")
    curve = dict(hybrid["alpha_curve"])
    assert list(curve) == [step / 20 for step in range(21)]
    assert curve[hybrid["alpha"]] == max(curve.values())
    recommended = jaxrec("recommend", "--run", run, "--user", 1, "--row", "mf+minilm")
    assert f"fusion sigmoid-cosine, alpha {hybrid['alpha']}" in recommended.output
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(sealed(results | {"version": 0})))
    refused = jaxrec("recommend", "--run", run, "--user", 1, "--row", "mf+minilm")
    assert refused.exit_code == 2
    assert f"run `jaxrec eval --run {run}` for a new one" in refused.output
    results["made_from"]["rows"]["mf+minilm"] = "of other weights"
    (run / "results.json").write_text(json.dumps(sealed(results)))
    stale = jaxrec("embed", "--run", run)
    assert "is stale; it is now" in stale.output.replace("\n", " ")


STOPPED = """
import signal, sys
import cli
from jaxrec.pmf.sweeps import Checkpoints

stop, calls = int(sys.argv.pop(1)), 0

def due(self):
    global calls
    calls += 1
    if calls == 5:
        signal.raise_signal(stop)
    return calls == 3

Checkpoints.due = due
cli.main()
"""
"""A fit that saves its third sweep and is stopped in its fifth, however fast it goes."""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    ("stop", "status", "saved"), [(signal.SIGINT, 130, 5), (signal.SIGKILL, -9, 3)]
)
def test_a_stopped_fit_goes_on_and_ends_the_same(
    tmp_path: Path, stop: signal.Signals, status: int, saved: int
) -> None:
    """Ctrl-C saves by itself; after a kill there is what was there before."""
    options = [
        "train-pmf", "--data", "synthetic", "--factors", "4", "--solver", "sequential",
        "--sweeps", "8", "-q", "--run",
    ]  # fmt: skip
    root = Path(cli.__file__).parent
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    command = [sys.executable, "-c", STOPPED, str(int(stop)), *options, str(broken)]
    assert subprocess.run(command, cwd=root).returncode == status
    card = broken / "checkpoints" / "mf" / "checkpoint.json"
    assert len(json.loads(card.read_text())["losses"]) == saved
    for folder in (broken, unbroken):
        command = [sys.executable, "-m", "cli", *options, str(folder)]
        subprocess.run(command, cwd=root, check=True)
    assert not card.exists()
    same = [(folder / "mf.safetensors").read_bytes() for folder in (broken, unbroken)]
    assert same[0] == same[1]


INTERRUPTED = """
import signal
import cli
from jaxrec.models.registry import MODELS

def learn(*_):
    signal.raise_signal(signal.SIGINT)

MODELS["rp3beta"] = MODELS["rp3beta"]._replace(learn=learn)
cli.main()
"""
"""Ctrl-C while row `rp3beta` is under way."""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("command", ["eval", "run"])
def test_an_interrupted_score_card_keeps_what_was_measured(tmp_path: Path, command: str) -> None:
    arguments = [
        command, "--data", "synthetic", "--run", str(tmp_path / "run"), "-k", "5",
        "--row", "popularity", "--row", "rp3beta", "--row", "ease",
    ]  # fmt: skip
    if command == "run":
        arguments += ["--model", "no/such-model", "--trials", "0"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        cwd=Path(cli.__file__).parent, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 130
    last = done.stderr.splitlines()[-1]
    kept = "1 row was measured and is kept; the same command goes on from here"
    assert last == f"jaxrec: interrupted; {kept}"
    assert "Traceback" not in done.stderr
    assert re.search(r"popularity\W+[0-9]+\W0\.", done.stdout)
    assert "ease is absent: interrupted before it was measured" in done.stdout
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows if "metrics" in row] == ["popularity"]
    again = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=Path(cli.__file__).parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "is absent" not in again.stdout
