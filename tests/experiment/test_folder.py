import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jaxrec.border.embeddings import Embeddings
from jaxrec.errors import InputError
from jaxrec.evaluation.card import Curve, read_card
from jaxrec.evaluation.task import validation_tasks
from jaxrec.experiment.fitting import DEFAULTS, PUBLISHED, alpha_curves, train_pmf
from jaxrec.experiment.folder import RunFolder, check_run, open_run
from jaxrec.experiment.scoring import (
    Fusion,
    results_are_stale,
    score_card,
    set_stale_results_aside,
)
from jaxrec.files import read_json, sealed, write_json
from jaxrec.serving.evaluated import of_run
from jaxrec.serving.model import Wanted

pytestmark = pytest.mark.usefixtures("small_synthetic")

QUICK = PUBLISHED._replace(factors=4, sweeps=2)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return open_run(tmp_path / "run", "synthetic", "published")


def test_who_names_no_run_folder_is_told_of_those_beside(tmp_path: Path) -> None:
    open_run(tmp_path / "my shop", "synthetic")
    with pytest.raises(InputError, match=f"makes one; beside it there is '{tmp_path}/my shop'$"):
        check_run(tmp_path / "jaxrec-run")


def test_a_folder_keeps_data_protocol_and_seed(tmp_path: Path) -> None:
    made = open_run(tmp_path / "run", "synthetic", seed=0)
    again = open_run(tmp_path / "run")
    assert again.protocol.seed == 0
    assert again.protocol.split.sha256() == made.protocol.split.sha256()
    assert again.dataset.sha256 == made.dataset.sha256


def test_the_split_is_written_with_external_ids(run: RunFolder) -> None:
    table = pl.read_parquet(run.path / "split.parquet")
    train = table.filter(pl.col("part") == "train")
    ratings = run.dataset.interactions.at(run.protocol.split.train)
    assert train["user_id"].to_list() == run.dataset.user_ids[ratings.users].tolist()
    assert train["item_id"].to_list() == run.dataset.item_ids[ratings.items].tolist()
    assert (table["part"] == "test").sum() == len(run.protocol.split.test)


def test_a_seed_that_contradicts_the_folder_is_refused(run: RunFolder) -> None:
    with pytest.raises(InputError, match="made with seed 42, not 7; leave --seed out"):
        open_run(run.path, seed=7)


def test_a_folder_keeps_its_core(tmp_path: Path) -> None:
    said: list[str] = []
    made = open_run(tmp_path / "run", "synthetic", core=12)
    assert np.bincount(made.dataset.interactions.items).min() >= 12
    again = open_run(tmp_path / "run", say=said.append)
    assert again.dataset.sha256 == made.dataset.sha256
    assert said == [*made.dataset.mended]
    assert said[0].startswith("core 12: ")
    with pytest.raises(InputError, match="made with core 12, not 5; leave --core out or give ano"):
        open_run(tmp_path / "run", core=5)
    open_run(tmp_path / "whole", "synthetic")
    with pytest.raises(InputError, match="made with core 0, not 5; leave --core out or give ano"):
        open_run(tmp_path / "whole", core=5)


def test_a_core_may_be_described_and_not_be_contradicted(tmp_path: Path) -> None:
    loans = [f"{user},{item}\n" for user in range(30) for item in range(12) if user % (item + 1)]
    (tmp_path / "loans.csv").write_text("".join(["user,item\n", *loans, "x,11\n"]))
    path, run = tmp_path / "dataset.toml", tmp_path / "run"
    table = '[interactions]\nfiles = "loans.csv"\nuser = "user"\nitem = "item"\n'
    path.write_text(f"core = 5\n{table}")
    described = open_run(run, str(path))
    assert described.dataset.core == 5
    assert "x" not in described.dataset.user_ids.names
    path.write_text(table)
    asked = open_run(tmp_path / "other", str(path), core=5)
    assert asked.dataset.sha256 == described.dataset.sha256
    path.write_text(f"core = 4\n{table}")
    for again in (run, tmp_path / "other"):
        with pytest.raises(InputError, match="toml says core = 4, and 5 is asked for, by --core"):
            open_run(again)


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
    other = open_run(tmp_path / "other", "synthetic", "published", seed=1)
    train_pmf(other, QUICK)
    for suffix in (".safetensors", ".json"):
        source = other.factors_path("mf").with_suffix(suffix)
        run.factors_path("mf").with_suffix(suffix).write_bytes(source.read_bytes())
    with pytest.raises(InputError, match=f"another split; run `jaxrec train-pmf --run {run.path}"):
        score_card(run, only=("mf",))


def test_factors_of_other_data_are_refused(run: RunFolder) -> None:
    train_pmf(run, QUICK)
    card_path = run.factors_path("mf").with_suffix(".json")
    card = json.loads(card_path.read_text())
    card_path.write_text(json.dumps(sealed(card | {"data_sha256": "other"})))
    with pytest.raises(InputError, match="fitted on another data set; run"):
        score_card(run, only=("mf",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "experiment.json: damaged, data is missing"),
        ("[", "not valid JSON"),
        ('{"protocol": "strict"}', "experiment.json: damaged"),
    ],
)
def test_a_damaged_experiment_is_one_line(run: RunFolder, content: str, message: str) -> None:
    (run.path / "experiment.json").write_text(content)
    with pytest.raises(InputError, match=message):
        open_run(run.path)


@pytest.mark.parametrize(
    "changed", [{"seed": 2}, {"protocol": "strict"}, {"data": "movielens"}, {"more": 1}]
)
def test_an_experiment_that_was_edited_is_refused(run: RunFolder, changed: dict) -> None:
    """What is in the folder was made by what it said before."""
    path = run.path / "experiment.json"
    write_json(path, json.loads(path.read_text()) | changed)
    with pytest.raises(InputError, match=r"experiment\.json: not as it was written; .*--run"):
        open_run(run.path)


def test_a_protocol_of_a_newer_version_is_one_line(run: RunFolder) -> None:
    card = json.loads((run.path / "experiment.json").read_text())
    write_json(run.path / "experiment.json", sealed(card | {"protocol": "leave-two-out"}))
    with pytest.raises(InputError, match="no protocol 'leave-two-out'"):
        open_run(run.path)


def test_a_folder_killed_while_it_was_made_is_completed(run: RunFolder) -> None:
    (run.path / "split.parquet").unlink()
    open_run(run.path)
    assert (run.path / "split.parquet").exists()


@pytest.mark.parametrize(
    ("name", "card", "options"),
    [
        ("minilm", {}, "--model minilm"),
        ("minilm", {"model": "sentence-transformers/all-MiniLM-L6-v2"}, "--model minilm"),
        ("bge-small", {"model": "BAAI/bge-small"}, "--model BAAI/bge-small"),
        ("a bert", {"model": "/of mine/A Bert"}, "--model '/of mine/A Bert'"),
        ("mine-minilm", {"model": "/mine/MiniLM"}, "--model /mine/MiniLM"),
        ("bert-ft", {}, "--model bert --finetune"),
        ("bert-ft", {"finetuned_from": "/x/bert", "model": "/y"}, "--model /x/bert --finetune"),
        ("bert-ft", {"model": "/taught/bert-ft"}, "--model /taught/bert-ft"),
        ("bert-ft-draw2", {}, "--model bert --finetune --draw 2"),
        ("bert-ft-draw2", {"finetuned_from": "/x/bert"}, "--model /x/bert --finetune --draw 2"),
        ("bert-ft-draw2", {"model": "/my/bert-ft-draw2"}, "--model /my/bert-ft-draw2"),
    ],
)
def test_embeddings_are_made_by_the_model_of_their_card(
    run: RunFolder, name: str, card: dict, options: str
) -> None:
    for kind in run.kinds_of_texts:
        if card:
            write_json(run.embeddings_path(name, kind).with_suffix(".json"), card)
        taught = "--finetune --preset published" if kind == "published" else "--finetune"
        expected = f"jaxrec embed --run {run.path} {options.replace('--finetune', taught)}"
        assert run.embed_command(name, kind) == expected


def test_factors_whose_card_lacks_a_setting_are_fitted_again(run: RunFolder) -> None:
    train_pmf(run, QUICK)
    path = run.factors_path("mf").with_suffix(".json")
    card = {key: value for key, value in read_json(path).items() if key != "nu"}
    write_json(path, sealed(card))
    with pytest.raises(InputError, match="its card lacks nu; run `jaxrec train-pmf --run"):
        run.read_factors("mf")


def test_a_fold_is_no_option_to_be_left_out(run: RunFolder) -> None:
    with pytest.raises(InputError, match="made with fold 0, not 1; give another --run"):
        open_run(run.path, fold=1)


def test_without_factors_the_command_that_makes_them_is_named(run: RunFolder) -> None:
    with pytest.raises(InputError, match=f"row pmf is absent: jaxrec train-pmf --run {run.path}"):
        of_run(run, np.array([0], np.int32), Wanted.best(5, run.dataset.items), "pmf")


def test_training_again_with_the_same_settings_gives_the_same_bytes(run: RunFolder) -> None:
    train_pmf(run, QUICK)
    first = run.factors_path("mf").read_bytes()
    train_pmf(run, QUICK)
    assert run.factors_path("mf").read_bytes() == first


def test_results_of_other_factors_are_set_aside(run: RunFolder) -> None:
    train_pmf(run, QUICK)
    score_card(run, ks=(5,), only=("mf",))
    train_pmf(run, QUICK)
    assert set_stale_results_aside(run) is None
    train_pmf(run, QUICK._replace(factors=5))
    assert str(run.path / "results.stale.json") in str(set_stale_results_aside(run))
    assert not run.results_path.exists()


def test_results_of_an_older_version_are_stale(run: RunFolder) -> None:
    train_pmf(run, QUICK)
    results = score_card(run, ks=(5,), only=("mf",))
    old = results.to_json()
    del old["version"]
    run.results_path.write_text(json.dumps(old))
    assert results_are_stale(run)
    assert set_stale_results_aside(run) is not None


def some_embeddings(run: RunFolder) -> Embeddings:
    E = np.random.default_rng(0).normal(size=(run.dataset.items, 8)).astype(np.float32)
    return Embeddings(E / np.linalg.norm(E, axis=1, keepdims=True), {})


@pytest.mark.parametrize(
    ("there", "card"),
    [
        ("embeddings/enc", {"model": "/b/enc"}),
        ("embeddings/honest/enc", {"model": "/b/enc"}),
        ("embeddings/enc", {"of": "somebody who does not say"}),
        ("embeddings/enc-ft", {"model": "/b/enc", "finetuned_from": "/b/enc"}),
        ("embeddings/enc-ft-draw2", {"model": "/b/enc", "finetuned_from": "/b/enc"}),
        ("embeddings/enc-ft", {"model": "/a/enc"}),  # a folder called so, not fine-tuned here
        ("training/honest/enc-ft/card", {"model": "/b/enc"}),
        ("training/honest/enc-ft-draw3/card", {"model": "/b/enc"}),
        ("encoders/honest/enc-ft/fold-0/torch_embed", {}),
    ],
)
def test_no_two_models_have_one_name(run: RunFolder, there: str, card: dict[str, str]) -> None:
    write_json(run.path / f"{there}.json", card)
    assert run.name_for("/a/enc", ["enc", "a-enc"]) == "a-enc"
    with pytest.raises(InputError, match="called enc; give another --run for one/enc"):
        run.name_for("one/enc", ["enc"])


def test_a_model_keeps_its_name(run: RunFolder) -> None:
    write_json(run.path / "embeddings" / "enc.json", {"model": "/a/enc"})
    assert run.name_for("/a/enc", ["enc", "a-enc"]) == "enc"
    finetuned = {"model": "/a/enc", "finetuned_from": "/a/enc"}
    write_json(run.path / "embeddings" / "honest" / "enc-ft.json", finetuned)
    write_json(run.path / "embeddings" / "enc-ft-draw2.json", finetuned)
    write_json(run.path / "embeddings" / "enc-ft-other.json", {"model": "/b/enc-ft-other"})
    run.encoder_path("enc-ft", "honest").mkdir(parents=True)
    write_json(run.lesson_path("enc-ft", "honest") / "card.json", {"model": "/a/enc"})
    assert run.name_for("/a/enc", ["enc", "a-enc"]) == "enc"


@pytest.mark.parametrize("part", ["test", "validation"])
def test_only_validation_ratings_decide_alpha_and_test_ratings_nothing(
    run: RunFolder, part: str
) -> None:
    """Shuffle items, stars and times within the part and fit and choose again."""

    def fit_and_choose() -> tuple[bytes, bytes, bytes, Curve]:
        train_pmf(run, QUICK)
        train_pmf(run, DEFAULTS["all-pairs"]._replace(factors=4))
        factors, _ = run.read_factors("mf")
        own, _ = run.read_factors("pmf")
        curves = alpha_curves(run, QUICK, "published", {"some": some_embeddings(run)})
        return factors.U.tobytes(), factors.V.tobytes(), own.V.tobytes(), curves["some"]

    before = fit_and_choose()
    inner, _ = validation_tasks(run.dataset, run.protocol)[0]
    positions = run.protocol.split.test if part == "test" else inner.test
    shuffled = np.random.default_rng(0).permutation(positions)
    for column in run.dataset.interactions[1:]:
        assert column is not None
        column[positions] = column[shuffled]
    after = fit_and_choose()
    if part == "test":
        assert after == before
    else:
        assert after[3] != before[3]


def test_validation_factors_are_those_of_the_settings(run: RunFolder) -> None:
    embeddings = {"some": some_embeddings(run)}
    alpha_curves(run, QUICK, "published", embeddings)
    path = run.path / "validation" / "factors.safetensors"
    first = path.read_bytes()
    alpha_curves(run, QUICK._replace(factors=5), "published", embeddings)
    assert path.read_bytes() != first
    path.with_suffix(".json").unlink()  # as if killed between the two files
    alpha_curves(run, QUICK, "published", embeddings)
    assert path.read_bytes() == first


def test_the_last_rows_are_those_of_the_user_s_choice(run: RunFolder) -> None:
    with pytest.raises(InputError, match="no row 'bpr'; there are mf, "):
        score_card(run, only=("bpr",))


def test_a_user_without_train_ratings_was_not_evaluated_and_is_a_stranger(run: RunFolder) -> None:
    train_pmf(run, QUICK)
    split = run.protocol.split
    others = split._replace(train=split.train[run.dataset.interactions.users[split.train] != 3])
    without = replace(run, protocol=run.protocol._replace(split=others))
    train_pmf(without, QUICK)
    asked = without, np.array([3], np.int32), Wanted.best(5, run.dataset.items), "mf"
    with pytest.raises(InputError, match="user 4 has no train interaction"):
        of_run(*asked, as_evaluated=True)
    found, how = of_run(*asked)
    assert found.strange.tolist() == [True]
    assert how["strangers"].startswith("most liked")
    rated = run.dataset.interactions
    assert not np.isin(found.items[0], rated.items[rated.users == 3]).any()


def test_a_grid_without_embeddings_fits_nothing(run: RunFolder) -> None:
    train_pmf(run, QUICK)
    score_card(run, ks=(5,), fusion=Fusion("published", None), only=("mf",))
    assert not (run.path / "validation").exists()


def test_the_protocol_card_is_whole(run: RunFolder) -> None:
    train_pmf(run, QUICK)
    results = score_card(run, ks=(5, 10), only=("mf",), library="ranx")
    assert repr(read_card(run.results_path)) == repr(results)
    assert set(results.protocol) >= {
        "protocol", "data", "data_sha256", "split", "split_sha256", "candidates", "seen_filter",
        "relevant", "mf", "ties", "ndcg", "ndcg_retrieved", "users_evaluated", "users_excluded",
        "cores",
    }  # fmt: skip
