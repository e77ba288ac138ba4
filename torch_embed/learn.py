"""From the folder of a lesson to a fine-tuned encoder, its embeddings and their card."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from torch_embed import processes
from torch_embed.encoding.adapters import Lora, count, trainable
from torch_embed.encoding.encode import check
from torch_embed.encoding.encoder import Encoder, weights_sha256
from torch_embed.encoding.saved import prove, save_encoder
from torch_embed.files import Texts, write_embeddings
from torch_embed.training.checkpoints import clear
from torch_embed.training.finetune import OnStep, Validate, finetune, put_weights
from torch_embed.training.lesson import read_lesson
from torch_embed.training.recipe import Settings


def learn(
    encoder: Encoder,
    folder: Path,
    settings: Settings,
    out: Path,
    encoders: Path,
    lora: Lora | None = None,
    folds: int = 1,
    validate: Validate | None = None,
    on_step: OnStep = lambda progress: None,
) -> dict[str, Any]:
    """Fine-tune, save, prove that what was saved embeds as what was trained, write embeddings.

    Args:
        encoder: the base model.
        folder: of the lesson (see `torch_embed.training.lesson`); checkpoints go into its
            `checkpoints` until all is done.
        settings: how to train.
        out: where the embeddings go; what is there is replaced at the end, and by a whole file.
        encoders: where the fine-tuned encoder is saved, with folds a folder for each.
        lora: train adapters; None trains every weight.
        folds: models for cross-fitting; 1 for none.
        validate: judges the embeddings after every epoch.
        on_step: told of every step.

    Returns:
        The card of the embeddings.

    Raises:
        InputError: the lesson cannot be read or holds no example.
        FloatingPointError: a loss or gradient is not finite.
        RuntimeError: the saved encoder is not what was trained, or training changed nothing.
    """
    lesson = read_lesson(folder)
    encoder = trainable(encoder, lora)
    trained, total = count(encoder.model)
    checkpoints = folder / "checkpoints"
    found = finetune(encoder, lesson, settings, checkpoints, folds, validate, on_step)
    card: dict[str, Any] = {
        "finetuned_from": encoder.model_id,
        "settings": asdict(settings),
        "lora": None if lora is None else asdict(lora),
        "folds": folds,
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
    beside = encoders.with_name(f".{encoders.name}.partial")
    saved = [beside / f"fold-{fold}" for fold in range(folds)] if folds > 1 else [beside]
    named = replace(encoder, name=f"{encoder.name}-ft")
    if processes.is_first():
        shutil.rmtree(beside, ignore_errors=True)
        for weights, place in zip(found.weights, saved, strict=True):
            put_weights(encoder.model, weights)
            encoder.model.eval()
            check(encoder, lesson.texts)
            save_encoder(encoder, place, card, str(encoders.name / place.relative_to(beside)))
        exact = encoder.model.dtype == torch.float32
        prove(saved, lesson.texts, lesson.fold, found.E, found.base, exact)
        texts = Texts(
            lesson.texts,
            lesson.card["texts_sha256"],
            lesson.card["data"],
        )
        card = (
            named.card()
            | {
                "weights_sha256": [weights_sha256(place) for place in saved],
                "encoder": str(encoders.resolve()),
            }
            | card
            | {"data": texts.data, "items": len(texts.texts), "texts_sha256": texts.sha256}
        )
        shutil.rmtree(encoders, ignore_errors=True)
        beside.rename(encoders)
        write_embeddings(out, texts, found.E, card)
        clear(checkpoints)
    processes.wait()
    return card
