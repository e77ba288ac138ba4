"""An experiment of several processes, beside the same by one: figures, lists, vectors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import cli
from jaxrec.console.session import Session
from jaxrec.console.terminal import Terminal
from jaxrec.data.dataset import Dataset
from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.evaluation import significance
from jaxrec.evaluation.card import RowCard, read_card
from jaxrec.evaluation.measure import beyond_accuracy, evaluate, user_thirds
from jaxrec.evaluation.protocol import Protocol
from jaxrec.evaluation.task import evaluation_task
from jaxrec.files import read_json, sealed
from jaxrec.hosts.fusing import best_row
from jaxrec.hosts.launch import Place
from jaxrec.hosts.own import Own
from jaxrec.sources.guess import describe
from jaxrec.sources.sharded.reading import read_shard
from jaxrec.sources.sharded.writing import write_shard
from jaxrec.topk.scorer import product
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
        (2, "fit", *of, *run, "--row", "pmf", "--out", model),
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
    whole = read_shard(shared / "cut", range(PARTS))
    task = evaluation_task(whole, Protocol.of("strict", whole, 42))
    liked = task.item_counts * 0.0
    train = whole.interactions.at(Protocol.of("strict", whole, 42).split.train)
    np.add.at(liked, train.liked(whole.feedback).items, 1)
    scorers = {
        "popularity": product(np.ones((whole.users, 1)), liked[:, None]),
        **{
            row: product(*vectors_of(shared / "run" / "vectors", row, whole))
            for row in ("pmf", "pmf+text")
        },
    }
    found = {row: evaluate(scorer, task, (5, 10)) for row, scorer in scorers.items()}
    cards = significance.row_cards(found, dict.fromkeys(found, ""), task.seen.lengths)
    card = read_card(shared / "run" / "results.json")
    assert list(card.measured) == list(found)
    for expected in cards:
        beyond = beyond_accuracy(found[expected.name], task)
        close(card.measured[expected.name], replace(expected, beyond_accuracy=beyond))
    assert card.protocol["train_interactions"] == len(train.users)
    assert card.protocol["users_evaluated"] == cards[0].users
    assert sealed(card.to_json()) == json.loads((shared / "card.json").read_text())


def close(found: RowCard, expected: RowCard) -> None:
    given, wanted = (dict(numbers_in(card.to_json(), "")) for card in (found, expected))
    assert given == pytest.approx(wanted, rel=1e-9, abs=1e-12, nan_ok=True)


def numbers_in(json: object, name: str) -> list[tuple[str, float]]:
    if isinstance(json, dict):
        return [leaf for key, of in json.items() for leaf in numbers_in(of, f"{name}/{key}")]
    if isinstance(json, list | tuple):
        return [leaf for key, of in enumerate(json) for leaf in numbers_in(of, f"{name}/{key}")]
    return [(name, json)] if isinstance(json, int | float) else []


def test_lists_of_three_are_the_best_of_all_that_each_user_lacks(shared: Path) -> None:
    whole = read_shard(shared / "cut", range(PARTS))
    U, V = vectors_of(shared / "model", "pmf", whole)
    scores = U.astype(np.float64) @ V.T
    scores[whole.interactions.users, whole.interactions.items] = -np.inf
    lists = pl.concat(pl.read_parquet(path) for path in sorted(shared.glob("lists-*.parquet")))
    assert len(list(shared.glob("lists-*.parquet"))) == 3
    assert len(lists) == 10 * whole.users
    users = whole.user_ids.positions(lists["user_id"].to_list()).reshape(-1, 10)
    items = whole.item_ids.positions(lists["item_id"].to_list()).reshape(-1, 10)
    best = -np.sort(-scores, axis=1)[users[:, 0], :10]
    assert np.allclose(scores[users, items], best, atol=1e-5)


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


def own(folder: Path, protocol: str | None = None, run: str = "other", **more: bool) -> Own:
    session = Session(folder / run, str(folder / "cut"), protocol, None, Terminal(-1), **more)
    return Own(session, Place())


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
