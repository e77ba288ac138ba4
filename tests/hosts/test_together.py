"""An experiment of several processes, beside the same by one: figures, lists, vectors."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import cli
from jaxrec.console.session import Session
from jaxrec.console.terminal import Terminal
from jaxrec.data.dataset import Dataset
from jaxrec.data.features import item_features
from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.evaluation import significance
from jaxrec.evaluation.card import AbsentRow, FusionCard, RowCard, read_card
from jaxrec.evaluation.measure import beyond_accuracy, evaluate, user_thirds
from jaxrec.evaluation.split import Split
from jaxrec.evaluation.task import NOBODY_LEARNS, Task, evaluation_task, validation_tasks
from jaxrec.experiment.rows import pmf_settings_of
from jaxrec.experiment.scoring import fusion_card
from jaxrec.files import read_json, sealed, write_json, write_sealed
from jaxrec.fusion.gate import familiarity, fused_scorer
from jaxrec.fusion.learning import Part, learn_fusion
from jaxrec.hosts import fusing, measuring
from jaxrec.hosts.fitting import fit, read_vectors, write_vectors
from jaxrec.hosts.fusing import best_row, read_fusion, scorer_of
from jaxrec.hosts.launch import Place
from jaxrec.hosts.own import Own
from jaxrec.pmf.fit import fit_pmf
from jaxrec.pmf.objective import Factors, PmfSettings, observe
from jaxrec.sources.guess import describe
from jaxrec.sources.sharded.reading import read_shard
from jaxrec.sources.sharded.writing import write_shard
from jaxrec.topk.scorer import product, worked_out
from tests.hosts.processes import ends_of, jaxrec
from tests.sources.formats import FORMATS

PARTS = 4


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what two processes measured and fitted on everything, and three recommended."""
    folder = tmp_path_factory.mktemp("shared")
    path, _ = FORMATS["Goodbooks"](folder)
    write_shard(describe(path), folder / "cut", PARTS)
    of = "--data", str(folder / "cut")
    run, model = ("--run", str(folder / "run")), str(folder / "model")
    lists = str(folder / "lists.parquet")
    for processes, *command in (
        (2, "run", *of, *run, "-k", "5", "-k", "10", "--json", str(folder / "card.json")),
        (2, "fit", *of, *run, "--row", "hybrid", "--out", model),
        (3, "recommend", *of, "--model", model, "--all", "--out", lists),
    ):
        ended = ends_of(jaxrec(processes, *command))
        assert [status for status, *_ in ended] == [0] * processes, ended
        assert all(output == "" for _, output, _ in ended[1:]), ended
    return folder


def vectors_of(folder: Path, row: str, whole: Dataset) -> tuple[NDArray, NDArray]:
    """U and V of a row, whoever wrote them, in the order of the whole's names."""

    def found(pattern: str, name: str, ids: Ids) -> NDArray:
        table = pl.concat(pl.read_parquet(path) for path in sorted(folder.glob(pattern)))
        vectors = table["vector"].to_numpy()
        X = np.full((len(ids), vectors.shape[1]), np.nan, vectors.dtype)
        X[ids.positions(table[name].to_list())] = vectors
        return X

    users = found(f"{row}-users-*.parquet", "user_id", whole.user_ids)
    return users, found(f"{row}-items.parquet", "item_id", whole.item_ids)


def test_the_card_is_that_of_one_process(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same vectors, ranked and measured by one process: every figure of every part."""
    monkeypatch.setattr(significance, "MANY", 0)  # moments, as several processes take them
    alone = own(shared)
    whole, folder = alone.dataset, shared / "run" / "vectors"
    task, train = evaluation_task(whole, alone.protocol), alone.train()
    U, V = vectors_of(folder, "pmf", whole)
    liked = task.item_counts * 0.0
    np.add.at(liked, train.liked(whole.feedback).items, 1)
    fusion = read_fusion(alone, folder)
    users = np.bincount(train.users, minlength=whole.users)
    signals = {
        "popularity": product(np.ones((whole.users, 1)), liked[:, None]),
        "pmf": product(U, V),
        "pmf+text": product(*vectors_of(folder, "pmf+text", whole)),
    }
    assert fusion.signals == tuple(signals)
    known = familiarity(users, task.item_counts)
    scorers = signals | {"hybrid": fused_scorer(fusion.learned, tuple(signals.values()), known)}
    found = {row: evaluate(scorer, task, (5, 10)) for row, scorer in scorers.items()}
    cards = significance.row_cards(found, dict.fromkeys(found, ""), task.seen.lengths)
    card = read_card(shared / "run" / "results.json")
    assert list(card.measured) == list(found)
    for expected in cards:
        beyond = beyond_accuracy(found[expected.name], task)
        close(card.measured[expected.name], replace(expected, beyond_accuracy=beyond))
    assert card.protocol["train_interactions"] == len(train.users)
    assert card.protocol["users_evaluated"] == cards[0].users
    assert card.hybrid is not None
    close(card.hybrid, fusion_card(fusion.learned, fusion.signals, found))
    assert sealed(card.to_json()) == json.loads((shared / "card.json").read_text())


def test_the_fusion_is_what_one_process_learns(shared: Path) -> None:
    """On signals that it fits itself, within train, by the settings of those that are fused."""
    alone = own(shared)
    data, run, shape = alone.dataset, alone.run, (alone.dataset.users, alone.dataset.items)
    ((split, task),) = validation_tasks(data, alone.protocol)
    train = data.interactions.at(split.train)
    density = len(train.users) / (data.users * data.items)
    likes = np.bincount(train.liked(data.feedback).items, minlength=data.items).astype(float)
    signals = [product(np.ones((data.users, 1)), likes[:, None])]
    for row in ("pmf", "pmf+text"):
        settings = pmf_settings_of(run, row, density)
        pairs = observe(train, data.feedback, settings)
        features = item_features(data.catalogue, None, 1.0) if row == "pmf+text" else None
        factors, _ = fit_pmf(pairs, *shape, settings, seed=run.fit_seed, item_features=features)
        signals.append(product(*factors))
    counts = [
        np.bincount(of, minlength=most)
        for of, most in zip((train.users, train.items), shape, strict=True)
    ]
    expected = learn_fusion([Part(tuple(signals), familiarity(*counts), task)], alone.protocol.seed)
    found = read_fusion(alone, shared / "run" / "vectors").learned
    assert found.winner == expected.winner
    assert found.convex == pytest.approx(expected.convex, abs=0.05)
    assert found.alone == pytest.approx(expected.alone, abs=0.01)
    assert found.ndcg == pytest.approx(expected.ndcg, abs=0.01)


def close(found: RowCard | FusionCard, expected: RowCard | FusionCard) -> None:
    given, wanted = (dict(numbers_in(card.to_json(), "")) for card in (found, expected))
    assert given == pytest.approx(wanted, rel=1e-9, abs=1e-12, nan_ok=True)


def numbers_in(json: object, name: str) -> list[tuple[str, float]]:
    if isinstance(json, dict):
        return [leaf for key, of in json.items() for leaf in numbers_in(of, f"{name}/{key}")]
    if isinstance(json, list | tuple):
        return [leaf for key, of in enumerate(json) for leaf in numbers_in(of, f"{name}/{key}")]
    return [(name, json)] if isinstance(json, int | float) else []


def test_lists_of_three_are_the_best_of_all_that_each_user_lacks(shared: Path) -> None:
    """By the fusion, which a folder is of where it has one, of what was fitted on everything."""
    alone = own(shared)
    whole, users = alone.dataset, np.arange(alone.dataset.users, dtype=np.int32)
    scorer, _ = scorer_of(alone, "hybrid", shared / "model", everything=True)
    lacks = np.ones((whole.users, whole.items), bool)
    lacks[whole.interactions.users, whole.interactions.items] = False
    scores = np.where(lacks, worked_out(scorer, users)(users, lacks), -np.inf)
    lists = pl.concat(pl.read_parquet(path) for path in sorted(shared.glob("lists-*.parquet")))
    assert len(list(shared.glob("lists-*.parquet"))) == 3
    assert len(lists) == 10 * whole.users
    who = whole.user_ids.positions(lists["user_id"].to_list()).reshape(-1, 10)
    items = whole.item_ids.positions(lists["item_id"].to_list()).reshape(-1, 10)
    best = -np.sort(-scores, axis=1)[who[:, 0], :10]
    assert np.allclose(scores[who, items], best, atol=1e-5)


def test_another_fit_makes_a_fusion_stale(shared: Path, tmp_path: Path) -> None:
    alone, folder = own(shared), tmp_path / "vectors"
    shutil.copytree(shared / "run" / "vectors", folder)
    read_fusion(alone, folder)
    card = read_json(folder / "pmf.json")
    del card["seal"]
    write_sealed(folder / "pmf.json", card | {"lambda_": 0.5})
    with pytest.raises(InputError, match=r"hybrid\.json: of other data, another split or other"):
        read_fusion(alone, folder)


def test_a_fusion_that_can_be_none_is_refused(shared: Path, tmp_path: Path) -> None:
    alone, folder = own(shared), tmp_path / "vectors"
    shutil.copytree(shared / "run" / "vectors", folder)
    card = read_json(folder / "hybrid.json")
    del card["seal"]
    for wrong in ({"winner": "vote"}, {"convex": [1.0]}):
        write_sealed(folder / "hybrid.json", card | wrong)
        with pytest.raises(InputError, match=r"hybrid\.json.*`jaxrec run` by several processes"):
            read_fusion(alone, folder)


def test_an_encoder_that_may_know_what_is_held_out_is_not_read(shared: Path) -> None:
    """No process sees the whole split, so none can tell."""
    alone = own(shared, run="taught")
    path = alone.run.embeddings_path("minilm-ft", "honest")
    path.parent.mkdir(parents=True)
    path.touch()
    write_json(path.with_suffix(".json"), {"training": {"data_sha256": "of all parts"}})
    with pytest.raises(InputError, match=r"minilm-ft\S+: its encoder was fine-tuned on inter"):
        fit(alone, "pmf+text", PmfSettings(factors=2), session(shared, "taught"))


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A cut of three users who are named by letters; two of its four parts have nobody."""
    rows = [f"{user},{item},5" for user in ("u0", "u1", "u2") for item in range(12)]
    (tmp_path / "few.csv").write_text("\n".join(["user,item,rating", *rows]))
    write_shard(describe(tmp_path / "few.csv"), tmp_path / "cut", PARTS)
    return tmp_path


def test_a_process_without_users_reads_vectors(few: Path) -> None:
    """Ids of nobody have no type, whatever those of the others are."""
    alone, folder = own(few), few / "vectors"
    factors = Factors(np.ones((3, 2), np.float32), np.ones((12, 2), np.float32))
    card = {"row": "pmf", "losses": [1.0], "w0": 1.0} | alone.identity()
    write_vectors(alone, folder, "pmf", factors, card)
    nobody = Own(session(few, "other"), Place(1, PARTS))
    assert nobody.dataset.users == 0
    nobody.identity = alone.identity  # type: ignore[method-assign] # as it is of all together
    U, V = read_vectors(nobody, folder, "pmf")
    assert U.shape == (0, 2)
    assert V.tolist() == factors.V.tolist()


def test_where_nobody_can_teach_hybrid_is_absent(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_to_find(*of: Any) -> list[tuple[Split, Task]]:
        ((split, task),) = validation_tasks(*of)
        return [(split, task._replace(relevant=task.relevant.only(np.zeros(0, int))))]

    monkeypatch.setattr(fusing, "validation_tasks", nothing_to_find)
    measuring.run(session(few, "run"), Place(), (5,), (), memory=None, json_path=None)
    card = read_card(few / "run" / "results.json")
    assert {"popularity", "pmf"} <= card.measured.keys()
    assert [row.why for row in card.rows if isinstance(row, AbsentRow)] == [NOBODY_LEARNS]


def test_a_stale_fusion_is_not_measured_and_said(few: Path) -> None:
    of = {"memory": None, "json_path": None}
    measuring.run(session(few, "run"), Place(), (5,), (), **of)
    alone, vectors = own(few, run="run"), few / "run" / "vectors"
    card = read_json(vectors / "pmf.json")
    del card["seal"]
    write_sealed(vectors / "pmf.json", card | {"lambda_": 0.5})
    measuring.evaluation(session(few, "run"), Place(), (5,), (), **of)
    rows = {row.name: row for row in read_card(alone.run.results_path).rows}
    stale = rows.pop("hybrid")
    assert isinstance(stale, AbsentRow)
    assert stale.why == "learned of other vectors; `jaxrec run` learns it anew"
    assert not any(isinstance(row, AbsentRow) for row in rows.values())


def test_what_serves_learned_from_everything(shared: Path) -> None:
    measured, served = (read_json(shared / name / "pmf.json") for name in ("run/vectors", "model"))
    assert "protocol" in measured
    assert "protocol" not in served
    everything = sum(served["interactions"])
    card = read_card(shared / "run" / "results.json").protocol
    w0 = measured["w0"] * everything / card["train_interactions"]
    assert served["w0"] == pytest.approx(w0)


def test_users_stand_in_one_order_whoever_reads_them(shared: Path) -> None:
    """So that a checkpoint of some processes goes on with others."""
    cut = shared / "cut"
    whole = read_shard(cut, range(PARTS)).user_ids.names.tolist()
    for ends in ((1,), (2,), (1, 3)):
        pieces = [read_shard(cut, part.tolist()) for part in np.split(np.arange(PARTS), ends)]
        assert [name for piece in pieces for name in piece.user_ids.names.tolist()] == whole


@pytest.mark.parametrize("users", [0, 1, 2, 3, 7, 9, 40])
def test_thirds_of_users_are_as_equal_as_can_be(users: int) -> None:
    counts = np.random.default_rng(users).integers(0, 5, users)
    thirds = user_thirds(counts)
    sizes = [len(part) for part in np.array_split(np.arange(users), 3)]
    assert np.bincount(thirds, minlength=3).tolist() == sizes
    order = np.argsort(counts, kind="stable")
    assert (np.diff(thirds[order]) >= 0).all()


def session(folder: Path, run: str, protocol: str | None = None, **more: bool) -> Session:
    return Session(folder / run, str(folder / "cut"), protocol, None, Terminal(-1), **more)


def own(folder: Path, protocol: str | None = None, run: str = "other", **more: bool) -> Own:
    return Own(session(folder, run, protocol, **more), Place())


def test_a_protocol_that_cuts_by_what_all_have_is_refused(shared: Path) -> None:
    with pytest.raises(InputError, match="cold-items is cut by what all users have"):
        own(shared, "cold-items")


def test_without_a_score_card_there_is_no_best_row(shared: Path) -> None:
    with pytest.raises(InputError, match=r"results\.json: is not there; `jaxrec run` by several"):
        best_row(own(shared))


def test_what_needs_all_data_is_refused(shared: Path) -> None:
    with pytest.raises(InputError, match="--strict-input: no process sees all data"):
        own(shared, strict=True)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["eval", "--plot", "x.png"], "--plot"),
        (["run", "--trials", "3"], "--trials"),
        (["recommend", "--user", "3"], "--user"),
    ],
)
def test_an_option_for_one_process_is_refused_before_they_meet(
    command: list[str], option: str
) -> None:
    which = ["--coordinator", "localhost:1", "--processes", "2", "--process", "0"]
    done = CliRunner().invoke(cli.main, [*command, *which])
    assert done.exit_code == 2
    assert f"{option} is not for several processes" in done.stderr
