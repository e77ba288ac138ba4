"""From the folder of a lesson to a fine-tuned encoder, its embeddings and their card."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from torch_embed import processes
from torch_embed.encoding.adapters import count, trainable
from torch_embed.encoding.encode import check, too_long
from torch_embed.encoding.encode import in_words as embedded
from torch_embed.encoding.encoder import Encoder, weights_sha256
from torch_embed.encoding.layout import read_layout
from torch_embed.encoding.saved import prove, save_encoder
from torch_embed.files import Texts, into, write_embeddings
from torch_embed.training.finetune import OnStep, Tuned, Validate, finetune, put_weights
from torch_embed.training.lesson import Lesson, read_lesson
from torch_embed.training.recipe import Recipe
from torch_embed.training.state import clear


def learn(
    encoder: Encoder,
    folder: Path,
    recipe: Recipe,
    out: Path,
    encoders: Path,
    validate: Validate | None = None,
    on_step: OnStep = lambda progress: None,
) -> dict[str, Any]:
    """Fine-tune, save, prove that what was saved embeds as what was trained, write embeddings.

    Args:
        encoder: the base model.
        folder: of the lesson (see `torch_embed.training.lesson`); what the training has reached
            goes into its `checkpoints` until all is done.
        recipe: how to train.
        out: where the embeddings go, which are called so; what is there is replaced at the end, and
            by a whole file.
        encoders: where the fine-tuned encoder is saved, with folds a folder for each.
        validate: judges the embeddings after every epoch, if the recipe is watched.
        on_step: told of every step.

    Returns:
        The card of the embeddings.

    Raises:
        InputError: the lesson cannot be read or holds no example, or a folder that is written into
            vanishes.
        FloatingPointError: a loss or gradient is not finite.
        RuntimeError: the saved encoder is not what was trained, or training changed nothing.
    """
    lesson = read_lesson(folder)
    for place in (out, encoders):
        place.parent.mkdir(parents=True, exist_ok=True)
    encoder = trainable(encoder, recipe.lora)
    reached = folder / "checkpoints"
    judge = validate if recipe.watched else None
    found = finetune(encoder, lesson, recipe.settings, reached, recipe.folds, judge, on_step)
    card = _card(encoder, lesson, recipe, found)
    if processes.is_first():
        hashes = _save_proved(encoder, lesson, found, encoders, card)
        texts = Texts(lesson.texts, lesson.card["texts_sha256"], lesson.card["data"])
        named = replace(encoder, name=out.stem)
        card = (
            named.card()
            | {"weights_sha256": hashes, "encoder": str(encoders.resolve())}
            | card
            | too_long(encoder, lesson.texts)
            | {"data": texts.data, "items": len(texts.texts), "texts_sha256": texts.sha256}
        )
        folds = range(recipe.folds if lesson.judged_apart else 0)
        write_embeddings(out, texts, found.E, card, map(found.read, folds))
        clear(reached)
    processes.wait()
    return card


def in_words(card: dict[str, Any]) -> str:
    """What was trained, by the card that `learn` returns."""
    trained, of = card["trained_parameters"], card["parameters"]
    share = f"trained {trained:,} of {of:,} parameters ({trained / of:.3%})"
    return f"{share}, best epoch {card['best_epoch']}; {embedded(card)}"


def _card(encoder: Encoder, lesson: Lesson, recipe: Recipe, found: Tuned) -> dict[str, Any]:
    """How the encoder came about."""
    trained, total = count(encoder.model)
    card: dict[str, Any] = {
        "finetuned_from": encoder.model_id,
        "settings": asdict(recipe.settings),
        "lora": None if recipe.lora is None else asdict(recipe.lora),
        "folds": recipe.folds,
        "best_epoch": found.epoch,
        "history": found.history,
        "trained_parameters": trained,
        "parameters": total,
        "training": lesson.card,
    }
    if "validation" in found.history[0]:
        card["validation"] = {
            "before": found.history[0]["validation"],
            "best": found.history[found.epoch]["validation"],
        }
    return card


def _save_proved(
    encoder: Encoder, lesson: Lesson, found: Tuned, encoders: Path, card: dict[str, Any]
) -> list[str]:
    """Save the encoder, with folds each one's, into `encoders`: proved, or not at all.

    Returns:
        The hash of each one's weights.
    """
    beside = encoders.with_name(f".{encoders.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    folds = len(found.weights)
    saved = [beside / f"fold-{fold}" for fold in range(folds)] if folds > 1 else [beside]
    with into(encoders.parent):
        beside.mkdir()
    for weights, place in zip(found.weights, saved, strict=True):
        put_weights(encoder.model, weights)
        encoder.model.eval()
        check(encoder, lesson.texts)
        save_encoder(encoder, place, card, str(encoders.name / place.relative_to(beside)))
    exact = encoder.model.dtype == torch.float32
    with into(beside):
        prove(saved, lesson.texts, lesson.fold, found.E, found.base, exact)
    hashes = [weights_sha256(read_layout(str(place))) for place in saved]
    shutil.rmtree(encoders, ignore_errors=True)
    beside.rename(encoders)
    return hashes
