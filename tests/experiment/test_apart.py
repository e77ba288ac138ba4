"""Under `cold-items`: no choice reads embeddings that know the ratings it is judged by."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jaxrec.border.lesson import LessonSettings
from jaxrec.border.taught import judging_splits
from jaxrec.errors import InputError
from jaxrec.evaluation.split import Split
from jaxrec.experiment.choices import choose_embeddings, evidence, validation_ndcg
from jaxrec.experiment.fitting import refuse_taught, write_lesson
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.rows import Row
from jaxrec.experiment.scoring import Fusion, _curves_for
from jaxrec.experiment.study import adopt_taught
from jaxrec.files import read_json, sealed, write_json
from tests.tiny_models import tiny_bert
from torch_embed.encoding.adapters import trainable
from torch_embed.encoding.encoder import load_encoder
from torch_embed.files import Texts, write_embeddings
from torch_embed.training.finetune import finetune
from torch_embed.training.lesson import read_lesson
from torch_embed.training.recipe import BEST

pytestmark = pytest.mark.usefixtures("small_synthetic", "one_thread")

SETTINGS = replace(BEST.settings, epochs=1, rate=3e-3, patience=None)
INNER = 5
"""Inner folds; what calibrates comes after them."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_bert(tmp_path_factory.mktemp("bert")))


def opened(path: Path, init: int = 0, protocol: str = "cold-items") -> RunFolder:
    run = open_run(path, "synthetic", protocol, seed=1, init=init)
    write_json(run.tuned_path("pmf"), {"settings": {"factors": 8, "sweeps": 5}})
    return run


def fine_tuned(run: RunFolder, base: str, folds: int) -> RunFolder:
    """With embeddings `bert-ft`, as `jaxrec embed --finetune` writes them."""
    folder = run.lesson_path("bert-ft", "honest")
    card = write_lesson(run, folder, "honest", LessonSettings(None, folds=folds), "bert")
    encoder, lesson = trainable(load_encoder(base, "cpu"), None), read_lesson(folder)
    found = finetune(encoder, lesson, SETTINGS, folder / "checkpoints", folds)
    written(run, found.E, map(found.read, range(folds)), finetuned_from="bert", training=card)
    return run


def written(run: RunFolder, E: NDArray[np.float32], by_fold: Any, **card: Any) -> None:
    texts = Texts(run.texts("honest"), run.texts_sha256("honest"), run.dataset.name)
    card |= {"texts_sha256": texts.sha256}
    path = run.embeddings_path("bert-ft", "honest")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_embeddings(path, texts, E, card, by_fold)


def splits_of(run: RunFolder) -> list[Split]:
    return judging_splits(run.dataset, run.protocol)


def embeddings_on(run: RunFolder, split: Split) -> NDArray[np.float32]:
    E = evidence(run, split, "text").E
    assert E is not None
    return E


def test_what_judges_reaches_no_embedding_that_is_read_on_that_split(
    tmp_path: Path, base: str
) -> None:
    """Other users and other values in place of what an inner split holds out change nothing."""
    folds = 3  # fewer than inner ones: some share a model
    run = fine_tuned(opened(tmp_path / "run"), base, folds)
    splits = splits_of(run)
    assert len(splits) == INNER + 1
    for number, split in enumerate(splits):
        columns = {name: of.copy() for name, of in run.dataset.interactions._asdict().items()}
        # whom calibration holds out depends on who has what
        for name in ("values", "users") if number < INNER else ("values",):
            columns[name][split.test] = columns[name][np.roll(split.test, 7)]
        ratings = run.dataset.interactions._replace(**columns)
        path = tmp_path / str(number)
        other = replace(run, path=path, dataset=replace(run.dataset, interactions=ratings))
        write_json(other.tuned_path("pmf"), read_json(run.tuned_path("pmf")))
        fine_tuned(other, base, folds)
        now = splits_of(other)
        same = [
            np.array_equal(embeddings_on(run, splits[k]), embeddings_on(other, now[k]))
            for k in range(INNER)
        ]
        blind = number % INNER % folds
        assert same == [k % folds == blind for k in range(INNER)]
        own = embeddings_on(run, split), embeddings_on(other, now[number])
        np.testing.assert_array_equal(*own)


@pytest.fixture
def planted(tmp_path: Path) -> RunFolder:
    """Embeddings whose files differ: of all items in fold k's the axis k, else the last one."""
    run = opened(tmp_path / "run")
    lesson = write_lesson(run, tmp_path / "data", "honest", LessonSettings(None, folds=2), "bert")
    written(
        run, of_axis(run, 3), map(axis_of(run), range(2)), finetuned_from="bert", training=lesson
    )
    return run


def of_axis(run: RunFolder, axis: int) -> NDArray[np.float32]:
    return np.eye(4, dtype=np.float32)[np.full(run.dataset.items, axis)]


def axis_of(run: RunFolder) -> Callable[[int], NDArray[np.float32]]:
    return lambda axis: of_axis(run, axis)


def test_each_split_inside_train_is_read_by_one_model_and_the_whole_by_all(
    planted: RunFolder,
) -> None:
    read = [embeddings_on(planted, split)[0].argmax() for split in splits_of(planted)]
    assert read == [0, 1, 0, 1, 0, 0]
    assert embeddings_on(planted, planted.protocol.split)[0].argmax() == 3


def test_several_embeddings_are_chosen_by_what_each_split_may_read(
    planted: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = planted.embeddings_path("base", "honest")
    texts = Texts(planted.texts("honest"), planted.texts_sha256("honest"), "synthetic")
    write_embeddings(path, texts, of_axis(planted, 2), {"texts_sha256": texts.sha256})
    asked: list[list[int]] = []

    def judged(run: RunFolder, read: Callable[[Split], NDArray[np.float32]]) -> float:
        asked.append([int(read(split)[0].argmax()) for split in splits_of(run)[:INNER]])
        return float(len(asked))

    monkeypatch.setattr("jaxrec.experiment.choices.validation_ndcg", judged)
    assert choose_embeddings(planted) == "bert-ft"
    assert asked == [[2] * INNER, [0, 1, 0, 1, 0]]


def test_validation_asks_for_the_embeddings_of_every_split(
    planted: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(row: str, *rest: Any) -> None:
        raise InputError(f"{row} is not what is tested")

    monkeypatch.setattr("jaxrec.experiment.choices.fit", fit)
    asked = []

    def read(split: Split) -> NDArray[np.float32]:
        asked.append(split.sha256())
        return of_axis(planted, 0)

    with pytest.raises(InputError, match="is not what is tested"):
        validation_ndcg(planted, read)
    assert asked == [split.sha256() for split in splits_of(planted)[:INNER]]


def test_embeddings_made_before_are_refused_and_made_again(planted: RunFolder) -> None:
    """They lack what each fold's model alone embeds, or were taught for other inner folds."""
    path = planted.embeddings_path("bert-ft", "honest").with_suffix(".json")
    card = read_json(path)
    assert adopt_taught(planted, "bert-ft", "bert", ())
    older = {name: value for name, value in card.items() if name != "folds_sha256"}
    others = card | {"training": card["training"] | {"blind": {"of another version": 0}}}
    for said in (older, others):
        path.write_text(json.dumps(sealed(said)))
        for split in (planted.protocol.split, splits_of(planted)[0]):
            with pytest.raises(InputError, match="learned from the ratings on which") as refused:
                evidence(planted, split, "text")
            again = f"run `jaxrec embed --run {planted.path} --model bert --finetune`, or"
            assert again in str(refused.value)
        assert adopt_taught(planted, "bert-ft", "bert", ()) is None


def test_a_fold_s_file_that_is_another_or_gone_is_named(planted: RunFolder) -> None:
    folder = planted.embeddings_path("bert-ft", "honest").with_suffix("")
    (folder / "fold-1.safetensors").write_bytes((folder / "fold-0.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"fold-1\.safetensors: not the file that bert-ft\.json"):
        evidence(planted, splits_of(planted)[1], "text")
    (folder / "fold-1.safetensors").unlink()
    with pytest.raises(InputError, match=r"fold-1\.safetensors is not there; run `jaxrec embed"):
        evidence(planted, splits_of(planted)[1], "text")


def test_the_hash_of_embeddings_covers_what_each_fold_embeds(planted: RunFolder) -> None:
    """So what was chosen by other ones is stale."""
    path = planted.embeddings_path("bert-ft", "honest")
    card, before = read_json(path.with_suffix(".json")), path.read_bytes()
    del card["sha256"], card["folds_sha256"]
    texts = of_axis(planted, 3), [of_axis(planted, 0)]
    written(planted, *texts, **card)
    assert path.read_bytes() != before
    assert [made.name for made in path.with_suffix("").iterdir()] == ["fold-0.safetensors"]


def test_initialisations_adopt_every_fold(planted: RunFolder, tmp_path: Path) -> None:
    again = opened(tmp_path / "again", init=1)
    assert f"embeddings of {planted.path}" in str(
        adopt_taught(again, "bert-ft", "bert", [planted.path])
    )
    assert embeddings_on(again, splits_of(again)[1])[0].argmax() == 1


def test_an_encoder_that_validation_has_taught_embeds_nothing_here(
    planted: RunFolder, tmp_path: Path
) -> None:
    card = read_json(planted.embeddings_path("bert-ft").with_suffix(".json"))["training"]
    with pytest.raises(InputError, match="bert-ft was fine-tuned on the ratings on which"):
        refuse_taught(planted, "bert-ft", card)
    strict = opened(tmp_path / "strict", protocol="strict")
    lesson = write_lesson(strict, tmp_path / "kept", "honest", LessonSettings("liked"))
    refuse_taught(strict, "bert-ft", lesson)  # it has kept validation out


def test_alpha_is_not_chosen_where_the_published_recipe_has_learned_from_validation(
    tmp_path: Path,
) -> None:
    run = opened(tmp_path / "run", protocol="published")
    settings = LessonSettings("liked", per_user=2, validation=False)
    lesson = write_lesson(run, tmp_path / "data", "published", settings)
    sha256 = {"texts_sha256": run.texts_sha256("published")}
    texts = Texts(run.texts("published"), sha256["texts_sha256"], "synthetic")
    path = run.embeddings_path("bert-ft")
    write_embeddings(path, texts, of_axis(run, 0), sha256 | {"training": lesson})
    assert run.read_embeddings("bert-ft").E.shape == (run.dataset.items, 4)  # as published
    rows, absent = [Row("mf+bert-ft", "", "mf", "bert-ft")], dict[str, str]()
    assert not _curves_for(run, rows, absent, Fusion("published", None), lambda *_: None)
    assert "has learned from validation" in absent["mf+bert-ft"]
