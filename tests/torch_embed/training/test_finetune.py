"""Fine-tuning on planted tasks, with encoders made by the test."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.tiny_models import tiny_bert
from torch_embed.encoding.adapters import Lora, count, trainable, with_lora
from torch_embed.encoding.encode import batches, tokenize
from torch_embed.encoding.encoder import Encoder, load_encoder
from torch_embed.errors import InputError
from torch_embed.training.backward import _embed, backward
from torch_embed.training.examples import make_batch
from torch_embed.training.finetune import OnStep, Progress, Read, Tuned, Validate, finetune
from torch_embed.training.lesson import NONE, Lesson, Pairs, Targets
from torch_embed.training.recipe import LOSSES, Settings

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

WORDS = "abcdefghij"
ITEMS = 40
SETTINGS = Settings(
    "info-nce", epochs=3, batch=16, rate=3e-3, warmup=2, max_tokens=16, patience=None,
    checkpoint_every=2,
)  # fmt: skip


def planted(loss: str, folds: int = 1, seed: int = 0) -> Lesson:
    """The first word of a text is its kind; users like one kind and dislike the others."""
    rng = np.random.default_rng(seed)
    kind = np.arange(ITEMS) % 4
    texts = [" ".join([WORDS[k], *rng.choice(list(WORDS[4:]), 4)]) for k in kind]
    of_kind = [np.flatnonzero(kind == k) for k in range(4)]
    fold = rng.permutation(ITEMS) % 3
    lesson = Lesson(texts, texts, fold, None, None, {"kind": None})
    if loss == "alignment":
        for_fold, items = np.divmod(np.arange(folds * ITEMS), ITEMS)
        kept = (fold[items] != for_fold) | (folds == 1)
        targets = Targets(
            for_fold[kept],
            items[kept],
            rng.normal(size=(4, 6)).astype(np.float32)[kind[items[kept]]],
            np.ones(int(kept.sum()), np.float32),
            np.ones((ITEMS, 1), np.float32),
        )
        return lesson._replace(targets=targets)
    users = rng.integers(0, 12, 160)
    drawn = np.array([rng.permutation(of_kind[u % 4])[:3] for u in users])
    disliked = np.array([rng.choice(of_kind[(u + 1 + rng.integers(3)) % 4]) for u in users])
    anchors = drawn[:, :2] if loss == "triplet" else drawn[:, :1]
    negatives = np.full(len(users), NONE) if loss == "info-nce" else disliked
    likes = {(int(u), int(i)) for u in range(12) for i in of_kind[u % 4]}
    pairs = Pairs(np.zeros(160, np.int64), users, anchors, drawn[:, 2], negatives, likes)
    return lesson._replace(pairs=pairs, card={"kind": "pairs"})


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture
def bert(bert_folder: str) -> Encoder:
    return trainable(load_encoder(bert_folder, "cpu"), None)


def purity(E: NDArray[np.float32]) -> float:
    """Share of the items whose nearest neighbour is of their kind."""
    similarity = E @ E.T - 2 * np.eye(len(E))
    return float(np.mean(similarity.argmax(axis=1) % 4 == np.arange(len(E)) % 4))


def purity_of(read: Read) -> float:
    return purity(read(None))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_what_is_planted(bert: Encoder, tmp_path: Path, loss: str) -> None:
    epochs = 20 if loss == "alignment" else 5
    settings = replace(SETTINGS, loss=loss, epochs=epochs, mask=False, margin=0.5)
    found = finetune(bert, planted(loss), settings, tmp_path / "run")
    before = torch.load(tmp_path / "run" / "base.pt", weights_only=True)["embeddings"].numpy()
    assert found.history[-1]["loss"] < 0.8 * found.history[1]["loss"]
    assert purity(found.E) > max(0.9, purity(before))


def test_likes_and_equal_texts_are_no_negatives(bert: Encoder) -> None:
    lesson = planted("info-nce")
    lesson.texts[5] = lesson.texts[8]
    likes = {(1, 8), (1, 10), (2, 9), (3, 5)}
    users, anchors = np.array([1, 2, 3]), np.array([[4], [5], [6]])
    fold, none = np.zeros(3, np.int64), np.full(3, NONE)
    pairs = Pairs(fold, users, anchors, np.array([8, 9, 10]), none, likes)
    lesson = lesson._replace(pairs=pairs)
    from torch_embed.training.examples import _false_negatives

    expected = np.eye(3, dtype=bool)
    expected[1, 0] = True  # user 2's anchor reads as item 8 does
    expected[0, 2] = True  # user 1 likes item 10
    expected[1, 2] = True  # user 3 likes item 5
    np.testing.assert_array_equal(_false_negatives(lesson, pairs), expected)
    settings = replace(SETTINGS, mask=True)
    E = torch.nn.functional.normalize(torch.randn(6, 8), dim=-1)
    masked = make_batch(lesson, settings, np.arange(3), torch.device("cpu")).loss(E, E)
    plain = make_batch(
        lesson, replace(settings, mask=False), np.arange(3), torch.device("cpu")
    ).loss(E, E)
    assert masked < plain


@pytest.mark.parametrize("loss_name", ["info-nce", "alignment"])
def test_micro_batches_change_no_gradient(bert: Encoder, loss_name: str) -> None:
    """Dropout is on: the second pass must draw what the first drew."""
    lesson = planted(loss_name)
    settings = replace(SETTINGS, loss=loss_name)
    batch = make_batch(lesson, settings, np.arange(16), torch.device("cpu"))
    head = torch.full((33, 6), 0.5, requires_grad=True)
    tokens = tokenize(bert, [lesson.texts[item] for item in batch.items])
    bert.model.train()
    bert.model.zero_grad()
    loss = backward(bert, tokens, batch.loss, head, [0, 0, 1, 0], 24)
    trained = [p for p in (*bert.model.parameters(), head) if p.grad is not None]
    found = [p.grad.clone() for p in trained if p.grad is not None]
    assert (head.grad is not None) == (loss_name == "alignment")
    plan = list(batches([len(ids) for ids in tokens], 24))
    assert len(plan) > 3
    parts = [
        _embed(bert, [tokens[i] for i in own], [0, 0, 1, 0, number], False)
        for number, own in enumerate(plan)
    ]
    E = torch.cat(parts)[np.argsort(np.concatenate(plan))]
    for p in trained:
        p.grad = None
    whole = batch.loss(E, head)
    whole.backward()
    assert loss == pytest.approx(whole.item(), rel=1e-5)
    for p, gradient in zip(trained, found, strict=True):
        torch.testing.assert_close(gradient, p.grad, rtol=1e-4, atol=1e-6)


class Killed(Exception):
    pass


def stopped_after(steps: int) -> OnStep:
    def on_step(progress: Progress) -> None:
        if progress.step == steps:
            raise Killed

    return on_step


@pytest.mark.parametrize("steps", [1, 3, 10])
@pytest.mark.parametrize(("folds", "lora"), [(1, None), (3, None), (1, Lora(rank=4))])
def test_a_killed_run_ends_like_an_unbroken_one(
    bert_folder: str, tmp_path: Path, folds: int, lora: Lora | None, steps: int
) -> None:
    lesson = planted("alignment", folds)
    settings = replace(SETTINGS, loss="alignment", batch=8, patience=1)

    def run(folder: str, **more: Any) -> Tuned:
        encoder = trainable(load_encoder(bert_folder, "cpu"), lora)
        return finetune(encoder, lesson, settings, tmp_path / folder, folds, purity_of, **more)

    whole = run("whole")
    with pytest.raises(Killed):
        run("broken", on_step=stopped_after(steps))
    again = run("broken")
    np.testing.assert_array_equal(again.E, whole.E)
    assert again.history == whole.history
    for mine, theirs in zip(again.weights, whole.weights, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_a_run_killed_before_it_was_judged_ends_like_an_unbroken_one(
    bert_folder: str, tmp_path: Path
) -> None:
    """All steps of the epoch are done, dropout of fresh adapters is still on."""
    lesson, settings = planted("info-nce"), replace(SETTINGS, epochs=1, patience=1)

    def run(folder: str, judge: Validate) -> Tuned:
        encoder = trainable(load_encoder(bert_folder, "cpu"), Lora(rank=4, dropout=0.5))
        return finetune(encoder, lesson, settings, tmp_path / folder, validate=judge)

    calls: list[int] = []

    def dies(read: Read) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return purity_of(read)

    whole = run("whole", purity_of)
    with pytest.raises(Killed):
        run("broken", dies)
    np.testing.assert_array_equal(run("broken", purity_of).E, whole.E)


def test_other_settings_begin_anew(bert_folder: str, tmp_path: Path) -> None:
    lesson = planted("info-nce")
    for rate in (3e-3, 1e-3):
        encoder = trainable(load_encoder(bert_folder, "cpu"), None)
        settings = replace(SETTINGS, rate=rate, epochs=1)
        found = finetune(encoder, lesson, settings, tmp_path / "run")
        fresh = finetune(
            trainable(load_encoder(bert_folder, "cpu"), None), lesson, settings,
            tmp_path / f"fresh-{rate}",
        )  # fmt: skip
        np.testing.assert_array_equal(found.E, fresh.E)


def test_items_are_embedded_by_the_model_of_their_fold(bert_folder: str, tmp_path: Path) -> None:
    """Changing the target of an item moves every embedding but those of its own fold."""
    settings = replace(SETTINGS, loss="alignment", epochs=1)
    lesson = planted("alignment", 3)
    targets = lesson.targets
    assert targets is not None
    rated = targets.items >= 4  # nobody has rated the others: none has a target
    lesson.fold[:4] = -1
    fold, items, of_items, weights, features = targets
    targets = Targets(fold[rated], items[rated], of_items[rated], weights[rated], features)
    lesson = lesson._replace(targets=targets)
    bert, again = (trainable(load_encoder(bert_folder, "cpu"), None) for _ in range(2))
    first = finetune(bert, lesson, settings, tmp_path / "first", folds=3).E
    moved = targets._replace(targets=targets.targets.copy())
    moved.targets[targets.items == 4] += 3
    second = finetune(again, lesson._replace(targets=moved), settings, tmp_path / "second", 3).E
    same = np.abs(first - second).max(axis=1) == 0
    own = lesson.fold == lesson.fold[4]
    np.testing.assert_array_equal(same, own)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)


def test_the_best_epoch_is_kept_and_patience_ends_the_run(bert: Encoder, tmp_path: Path) -> None:
    figures = iter([0.1, 0.3, 0.5, 0.4, 0.45, 0.9])
    seen: list[NDArray[np.float32]] = []

    def judge(read: Read) -> float:
        seen.append(read(None))
        return next(figures)

    settings = replace(SETTINGS, epochs=5, patience=2)
    found = finetune(bert, planted("info-nce"), settings, tmp_path / "run", validate=judge)
    assert found.epoch == 2
    assert [of["validation"] for of in found.history] == [0.1, 0.3, 0.5, 0.4, 0.45]
    np.testing.assert_array_equal(found.E, seen[2])


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    bert: Encoder, tmp_path: Path
) -> None:
    lesson = planted("alignment")
    assert lesson.targets is not None
    order = np.random.default_rng([0, 0, 2]).permutation(ITEMS)  # of the second epoch
    settings = replace(SETTINGS, loss="alignment", batch=10)
    weights = lesson.targets.weights.copy()
    broken = lesson._replace(targets=lesson.targets._replace(weights=weights))

    def spoil(progress: Progress) -> None:
        if progress.step == 4:
            weights[order[25]] = np.nan

    with pytest.raises(FloatingPointError, match="the loss is not finite in batch 3 of epoch 2"):
        finetune(bert, broken, settings, tmp_path / "run", on_step=spoil)
    state = torch.load(tmp_path / "run" / "fold-0.pt", weights_only=True)
    assert (state["epoch"], state["step"]) == (2, 2)
    assert all(torch.isfinite(weight).all() for weight in state["weights"].values())


def test_tag_dropout_reads_texts_without_tags(
    bert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = planted("alignment")._replace(plain=["j"] * ITEMS)
    seen: list[list[int]] = []

    def watched(encoder: Encoder, tokens: list[list[int]], *rest: Any) -> float:
        seen.extend(tokens)
        return backward(encoder, tokens, *rest)

    monkeypatch.setattr("torch_embed.training.finetune.backward", watched)
    settings = replace(SETTINGS, loss="alignment", tag_dropout=0.5, batch=ITEMS, epochs=1)
    finetune(bert, lesson, settings, tmp_path)
    assert len(seen) == ITEMS
    without = sum(len(ids) == 3 for ids in seen)  # [CLS] j [SEP]
    assert 8 < without < 32


def test_a_batch_that_nobody_fills_is_said(bert: Encoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="160 examples do not fill a batch of 200"):
        finetune(bert, planted("info-nce"), replace(SETTINGS, batch=200, drop_last=True), tmp_path)


def test_adapters_train_little(bert_folder: str) -> None:
    model = with_lora(load_encoder(bert_folder, "cpu").model, Lora(rank=4))
    # two layers, queries and values, 32 x 4 and 4 x 32 each
    trained, total = count(model)
    assert trained == 2 * 2 * 2 * 32 * 4
    assert total == trained + sum(
        p.numel() for name, p in model.named_parameters() if "lora" not in name
    )
    with pytest.raises(InputError, match="no attention projection 'q_proj' in this model; it has"):
        with_lora(load_encoder(bert_folder, "cpu").model, Lora(modules=("q_proj",)))
