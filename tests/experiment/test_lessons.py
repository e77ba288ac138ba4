"""What reaches an encoder's training, and what must not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from jaxrec.border.lesson import LessonSettings
from jaxrec.errors import InputError
from jaxrec.experiment import kept
from jaxrec.experiment.fitting import refuse_taught, write_lesson
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.study import adopt_taught
from jaxrec.files import write_json
from torch_embed import errors
from torch_embed.training.lesson import read_lesson

pytestmark = pytest.mark.usefixtures("small_synthetic")

CASES = [
    (protocol, kind, folds)
    for protocol in ("strict", "temporal", "temporal-user", "cold-items", "cold-users")
    for kind, folds in (("liked", 1), ("profile", 3), (None, 3), (None, 1))
    if folds > 1 or protocol != "cold-items"
]


def opened(path: Path, protocol: str) -> RunFolder:
    run = open_run(path, "synthetic", protocol, seed=1)
    write_json(run.tuned_path("pmf"), {"settings": {"factors": 8, "sweeps": 5}})
    return run


@pytest.mark.parametrize(("protocol", "kind", "folds"), CASES)
def test_no_held_out_rating_reaches_the_training(
    tmp_path: Path, protocol: str, kind: str | None, folds: int
) -> None:
    """Put other ratings in place of what is held out: what encoders learn from stays."""
    run = opened(tmp_path / "run", protocol)
    settings = LessonSettings(kind, per_user=3, popularity=0.5, folds=folds)

    def written(run: RunFolder, name: str) -> dict[str, bytes]:
        folder = tmp_path / name
        write_lesson(run, folder, "honest", settings)
        # texts leave out tags on held-out pairs, and so know which these are
        files = [path for path in sorted(folder.iterdir()) if path.stem not in ("card", "texts")]
        return {path.name: path.read_bytes() for path in files}

    before = written(run, "before")
    held = [run.protocol.split.test]
    if protocol != "cold-items":  # there the folds keep validation apart
        held.append(run.protocol.validation_splits(run.dataset)[0].test)
    positions, rng = np.concatenate(held), np.random.default_rng(0)
    columns = {name: column.copy() for name, column in run.dataset.interactions._asdict().items()}
    for name in ("values",) if protocol in ("cold-items", "temporal") else ("values", "items"):
        columns[name][positions] = rng.permutation(columns[name][positions])
    ratings = run.dataset.interactions._replace(**columns)
    after = written(replace(run, dataset=replace(run.dataset, interactions=ratings)), "after")
    assert before
    assert after == before


@pytest.mark.parametrize("kind", ["profile", None])
def test_a_fold_s_model_knows_nothing_of_its_items(tmp_path: Path, kind: str | None) -> None:
    """Neither are they in its examples, nor do their ratings move anything in them."""
    run = opened(tmp_path / "run", "strict")
    settings = LessonSettings(kind, per_user=3, folds=3)
    write_lesson(run, tmp_path / "before", "honest", settings)
    before = read_lesson(tmp_path / "before")
    ratings = run.dataset.interactions
    stars, of_fold = ratings.values.copy(), before.fold[ratings.items] == 0
    stars[of_fold] = np.random.default_rng(0).permutation(stars[of_fold])
    other = replace(run, dataset=replace(run.dataset, interactions=ratings._replace(values=stars)))
    write_lesson(other, tmp_path / "after", "honest", settings)
    after = read_lesson(tmp_path / "after")
    for fold in range(3):
        if kind is None:
            assert before.targets is not None
            assert after.targets is not None
            found = [of.targets[of.fold == fold] for of in (before.targets, after.targets)]
            items = before.targets.items[before.targets.fold == fold]
        else:
            assert before.pairs is not None
            assert after.pairs is not None
            found = [of.anchors[of.fold == fold] for of in (before.pairs, after.pairs)]
            rows = before.pairs.at(np.flatnonzero(before.pairs.fold == fold))
            items = np.concatenate([rows.anchors.ravel(), rows.positives, rows.negatives])
        assert not (before.fold[items[items >= 0]] == fold).any()
        assert np.array_equal(*found) == (fold == 0)


def test_no_pair_holds_a_rating_that_is_held_out(tmp_path: Path) -> None:
    run = opened(tmp_path / "run", "strict")
    write_lesson(run, tmp_path / "data", "honest", LessonSettings("disliked", per_user=5))
    dataset, inner = run.dataset, run.protocol.validation_splits(run.dataset)[0]
    known = dataset.interactions.at(inner.train)
    rated = set(zip(known.users.tolist(), known.items.tolist(), strict=True))
    pairs = pl.read_parquet(tmp_path / "data" / "pairs.parquet")
    likes = pl.read_parquet(tmp_path / "data" / "likes.parquet")
    assert len(pairs)
    for _, user, anchors, positive, negative in pairs.iter_rows():
        assert {(user, item) for item in (*anchors, positive, negative)} <= rated
    assert set(likes.iter_rows()) <= rated


def test_folds_of_cold_items_are_the_inner_folds(tmp_path: Path) -> None:
    """So an inner cold item is embedded by a model that knows nothing of it."""
    run = opened(tmp_path / "run", "cold-items")
    for folds in (1, 6):
        with pytest.raises(InputError, match="give --folds 2 to 5"):
            write_lesson(run, tmp_path / "data", "honest", LessonSettings(None, folds=folds))
    write_lesson(run, tmp_path / "data", "honest", LessonSettings(None, folds=3))
    lesson = read_lesson(tmp_path / "data")
    for number, inner in enumerate(run.protocol.validation_splits(run.dataset)):
        cold = np.unique(run.dataset.interactions.items[inner.test])
        assert set(lesson.fold[cold]) == {number % 3}
    held_out = run.dataset.interactions.items[run.protocol.split.test]
    assert (lesson.fold[held_out] < 0).all()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    run = opened(tmp_path / "run", "strict")
    card = write_lesson(run, tmp_path / "data", "honest", LessonSettings("profile", per_user=2))
    lesson = read_lesson(tmp_path / "data")
    assert lesson.texts == run.texts("honest")
    assert lesson.pairs is not None
    assert card["examples"] == len(lesson.pairs.users)
    table = pl.read_parquet(tmp_path / "data" / "pairs.parquet")
    for row in range(5):
        own = lesson.pairs.anchors[row]
        assert own[own >= 0].tolist() == table["anchors"][row].to_list()
        assert lesson.pairs.negatives[row] == table["negative"][row]


def test_a_damaged_lesson_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match=r"card\.json: no such file; `jaxrec embed"):
        read_lesson(tmp_path)
    run = opened(tmp_path / "run", "strict")
    write_lesson(run, tmp_path, "honest", LessonSettings("liked", per_user=2))
    texts = pl.read_parquet(tmp_path / "texts.parquet")
    texts[: len(texts) // 2].write_parquet(tmp_path / "texts.parquet")
    with pytest.raises(errors.InputError, match=r"texts\.parquet is not as it was written"):
        read_lesson(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    by_hand = {name: of for name, of in card.items() if name not in ("files", "seal")}
    (tmp_path / "card.json").write_text(json.dumps(by_hand))
    with pytest.raises(errors.InputError, match="which has no text"):
        read_lesson(tmp_path)
    texts.reverse().write_parquet(tmp_path / "texts.parquet")
    with pytest.raises(errors.InputError, match="its items are not 0, 1, 2 and so on"):
        read_lesson(tmp_path)
    texts.write_parquet(tmp_path / "texts.parquet")
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1")
    with pytest.raises(errors.InputError, match="damaged"):
        read_lesson(tmp_path)


@pytest.mark.parametrize("protocol", ["strict", "cold-items"])
def test_whose_lesson_it_was(tmp_path: Path, protocol: str) -> None:
    run = opened(tmp_path / "run", protocol)
    card = write_lesson(run, tmp_path / "data", "honest", LessonSettings("liked", folds=3))
    again = open_run(tmp_path / "again", "synthetic", protocol, seed=1, init=1)
    other = open_run(tmp_path / "other", "synthetic", protocol, seed=2)
    fold = open_run(tmp_path / "fold", "synthetic", "cold-items", seed=1, fold=1)
    opened_runs = (run, again, other, fold)
    assert [of.taught_here(card) for of in opened_runs] == [True, True, False, False]
    assert [of.taught_elsewhere(card) for of in opened_runs] == [False, False, True, True]
    for none in ({}, card | {"data_sha256": "of other data"}):
        assert not other.taught_here(none)
        assert not other.taught_elsewhere(none)
    if protocol == "strict":  # where items are cold, validation has taught it: see test_apart
        refuse_taught(again, "bert", card)
    with pytest.raises(InputError, match="bert was fine-tuned on another split of this data"):
        refuse_taught(other, "bert", card)


def with_embeddings(run: RunFolder, name: str, **card: Any) -> None:
    """Embeddings of the run's honest texts."""
    E = np.eye(run.dataset.items, dtype=np.float32)
    of_texts = {"texts_sha256": run.texts_sha256("honest")}
    kept.write(run.embeddings_path(name), {"embeddings": E}, of_texts | card)


def test_embeddings_of_an_encoder_taught_on_another_split_are_refused(tmp_path: Path) -> None:
    """Where items are cold, texts have no remarks: those of another fold are the same."""
    run, other = (
        open_run(tmp_path / f"fold-{fold}", "synthetic", "cold-items", seed=1, fold=fold)
        for fold in (0, 1)
    )
    lesson = write_lesson(run, tmp_path / "data", "honest", LessonSettings("liked", folds=3))
    taught: dict[str, Any] = {"training": lesson, "folds_sha256": ["of"] * 3}
    for of in (run, other):
        with_embeddings(of, "bert-ft", model="bert", finetuned_from="bert", **taught)
        with_embeddings(of, "honest-bert-ft", model="encoders/honest/bert-ft", **taught)
    for name in ("bert-ft", "honest-bert-ft"):
        assert run.read_embeddings(name).card["training"] == lesson
        told = f"{name}.safetensors: its encoder was fine-tuned on another split"
        with pytest.raises(InputError, match=told) as refused:
            other.read_embeddings(name)
        assert str(refused.value).endswith(f"remove it and {name}.json")
        again = f"run `jaxrec embed --run {other.path} --model bert --finetune`, or"
        assert (again in str(refused.value)) is (name == "bert-ft")


def test_initialisations_of_a_split_adopt_what_one_has_made(tmp_path: Path) -> None:
    run = opened(tmp_path / "run", "strict")
    again = open_run(tmp_path / "again", "synthetic", "strict", seed=1, init=1)
    other = open_run(tmp_path / "other", "synthetic", "strict", seed=2)
    others = [other.path, run.path]
    assert adopt_taught(again, "bert-ft", "bert", others) is None
    lesson = write_lesson(run, tmp_path / "data", "honest", LessonSettings("liked"))
    for of in (run, other):  # the other's name and model are right, its lesson is not
        own = lesson | ({"split_sha256": "another"} if of is other else {})
        with_embeddings(of, "bert-ft", finetuned_from="bert", training=own)
    assert adopt_taught(again, "bert-ft", "another bert", others) is None
    assert adopt_taught(again, "bert-ft", "bert", others[:1]) is None
    assert f"embeddings of {run.path}, which has" in str(
        adopt_taught(again, "bert-ft", "bert", others)
    )
    assert again.read_embeddings("bert-ft").card == run.read_embeddings("bert-ft").card
    assert adopt_taught(again, "bert-ft", "bert", others) == (
        "bert-ft: embeddings are there already"
    )
