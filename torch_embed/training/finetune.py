"""Fine-tunes an encoder, epoch by epoch, so that a run killed at any moment goes on.

With folds, one model a fold learns from examples made without the fold's items; they go through
their epochs side by side. An item is embedded by the model of its fold, which has seen none of its
ratings, and an item without ratings by the unit mean of all. After each epoch the caller's
validation judges these embeddings; the best epoch's are kept. A lesson whose folds are what is
judged on says so (`Lesson.judged_apart`): then it reads what each model alone makes of all items.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_embed import processes
from torch_embed.encoding.encode import encode, tokenize
from torch_embed.encoding.encoder import Encoder
from torch_embed.errors import InputError
from torch_embed.training.backward import GROUP_TOKENS, backward
from torch_embed.training.examples import examples_of, first_head, make_batch, unit_mean
from torch_embed.training.lesson import Lesson
from torch_embed.training.recipe import Settings
from torch_embed.training.state import TrainingState

LARGEST_GRADIENT = 1.0
"""Gradients are scaled down to this norm."""
HEAD = "head"


class Progress(NamedTuple):
    """Told after every step."""

    epoch: int
    fold: int
    step: int
    """Steps done of this run, all epochs and folds together."""
    steps: int
    """In all."""
    loss: float
    rate: float
    tokens_per_second: float


OnStep = Callable[[Progress], None]
Read = Callable[[int | None], NDArray[np.float32]]
"""Gives embeddings [items, dim]: by the model of one fold, or None for each item by its own."""
Validate = Callable[[Read], float]
"""A figure of merit of embeddings; the larger the better."""


class Tuned(NamedTuple):
    """What fine-tuning gives."""

    E: NDArray[np.float32]
    """[items, dim] of the best epoch, each item by the model of its fold."""
    read: Read
    """The same, and if the lesson's folds are judged on, by one fold's model alone."""
    base: NDArray[np.float32]
    """[items, dim] of the untouched encoder."""
    weights: list[dict[str, Tensor]]
    """The trained tensors of each fold's model."""
    epoch: int
    """The best one, from 1."""
    history: list[dict[str, float]]
    """Of epochs 0 (before) to the last: mean `loss` (from 1) and, if validated, `validation`."""


def finetune(
    encoder: Encoder,
    lesson: Lesson,
    settings: Settings,
    folder: Path,
    folds: int = 1,
    validate: Validate | None = None,
    on_step: OnStep = lambda progress: None,
) -> Tuned:
    """Fine-tune the parameters of `encoder` that require gradients.

    Args:
        encoder: the base model; it ends with the weights of the last fold.
        lesson: what to learn from.
        settings: how.
        folder: of checkpoints; what is there of the same run is gone on with.
        folds: models for cross-fitting; 1 for none.
        validate: judges the embeddings after every epoch; without it the last epoch is kept.
        on_step: told of every step.

    Raises:
        InputError: there is nothing to learn from.
        FloatingPointError: a loss or gradient is not finite; the last good checkpoint stays.
    """
    return _Run(encoder, lesson, settings, folder, folds, validate, on_step).run()


class _Run:
    """One fine-tuning: what it learns from and how, and what it has reached."""

    def __init__(
        self,
        encoder: Encoder,
        lesson: Lesson,
        settings: Settings,
        folder: Path,
        folds: int,
        validate: Validate | None,
        on_step: OnStep,
    ):
        self.encoder, self.lesson, self.settings = encoder, lesson, settings
        self.folds, self.validate, self.on_step = folds, validate, on_step
        self.tokens = [
            tokenize(encoder, texts, settings.max_tokens) for texts in (lesson.texts, lesson.plain)
        ]
        self.examples = [examples_of(lesson, fold) for fold in range(folds)]
        self.steps = [self._steps_of(len(own)) for own in self.examples]
        self.parameters = {
            name: parameter
            for name, parameter in encoder.model.named_parameters()
            if parameter.requires_grad
        }
        if not self.parameters:
            raise InputError(f"{encoder.model_id}: no parameter to train")
        self.state = TrainingState(folder, self._identity())

    def _steps_of(self, examples: int) -> int:
        batch = self.settings.batch
        steps = examples // batch if self.settings.drop_last else math.ceil(examples / batch)
        if not steps:
            raise InputError(f"{examples} examples do not fill a batch of {batch}")
        return steps

    def run(self) -> Tuned:
        self.encoder.model.eval()  # adapters begin in training mode
        history = self.state.history()
        weights = {name: p.detach().cpu().clone() for name, p in self.parameters.items()}
        base = self.state.base(lambda: encode(self.encoder, self.lesson.texts))
        heads = [torch.from_numpy(first_head(self.lesson, own, base)) for own in self.examples]
        if not history:
            history = [self._judged(lambda fold: base)]
            self.state.write_history(history)
        folds = range(self.folds)
        while len(history) <= self.settings.epochs and not self._is_over(history):
            epoch = len(history)
            loss = [self._epoch(fold, epoch, weights | {HEAD: heads[fold]}) for fold in folds]
            self._embed_all()
            history = [*history, {"loss": float(np.mean(loss))} | self._judged(self.state.read)]
            if _best(history) == epoch:
                self.state.keep(self.folds)
            self.state.write_history(history)
        read, best = self.state.best(self.folds)
        return Tuned(read(None), read, base, best, _best(history), history)

    def _judged(self, read: Read) -> dict[str, float]:
        if self.validate is None:
            return {}
        figure = self.validate(read) if processes.is_first() else 0.0
        return {"validation": processes.share(figure)}

    def _is_over(self, history: list[dict[str, float]]) -> bool:
        patience = self.settings.patience
        if patience is None or self.validate is None or len(history) < 2:
            return False
        return len(history) - 1 - _best(history) >= patience

    def _embed_all(self) -> None:
        """Write the embeddings of all items, each by the model of its fold, and what is judged."""
        fold_of = self.lesson.fold if self.folds > 1 else np.zeros_like(self.lesson.fold)
        of_all, apart = fold_of < 0, self.lesson.judged_apart
        E = np.empty((len(of_all), self.encoder.dim), np.float32)
        each = []
        for fold in range(self.folds):
            put_weights(self.encoder.model, self.state.weights(fold))
            own = np.flatnonzero((fold_of == fold) | of_all | apart)
            found = encode(self.encoder, [self.lesson.texts[item] for item in own])
            if apart:
                self.state.write_embeddings(found, fold)
            mine = fold_of[own] == fold
            E[own[mine]] = found[mine]
            each.append(found[of_all[own]])
        if of_all.any():
            E[of_all] = unit_mean(each)
        self.state.write_embeddings(E)

    def _epoch(self, fold: int, epoch: int, start: dict[str, Tensor]) -> float:
        """One epoch of one fold's model, or what is left of it; returns the mean loss.

        `start` holds the weights of the fold's first epoch.
        """
        reached = self.state.of_fold(fold)
        if reached is not None and reached["epoch"] > epoch:
            return reached["loss"]
        model, settings, steps = self.encoder.model, self.settings, self.steps[fold]
        weights = start if reached is None else reached["weights"]
        put_weights(model, weights)
        head = weights[HEAD].to(model.device).requires_grad_()
        optimiser = self._optimiser(head)
        first, total = 0, 0.0
        if reached is not None:
            optimiser.load_state_dict(reached["optimiser"])
            first, total = reached["step"], reached["total"]
        rng = np.random.default_rng([settings.seed, fold, epoch])
        examples = rng.permutation(self.examples[fold])
        model.train()
        before = sum(self.steps) * (epoch - 1) + sum(self.steps[:fold])
        since, tokens = time.perf_counter(), 0
        for step in range(first, steps):
            of_step = examples[step * settings.batch : (step + 1) * settings.batch]
            rate = self._rate(fold, epoch, step)
            loss, read = self._step([fold, epoch, step], of_step, optimiser, head, rate)
            total, tokens = total + loss, tokens + read
            if step + 1 == steps or (step + 1) % settings.checkpoint_every == 0:
                self._save(fold, optimiser, head, epoch, step + 1, total)
            self.on_step(
                Progress(
                    epoch,
                    fold,
                    before + step + 1,
                    sum(self.steps) * settings.epochs,
                    loss,
                    rate * settings.rate,
                    tokens / (time.perf_counter() - since),
                )
            )
        model.eval()
        return total / steps

    def _optimiser(self, head: Tensor) -> torch.optim.Optimizer:
        settings = self.settings
        return torch.optim.AdamW(
            [
                {"params": list(self.parameters.values()), "peak": settings.rate},
                {"params": [head] if head.numel() else [], "peak": settings.head_rate},
            ],
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def _step(
        self,
        which: list[int],
        examples: NDArray[np.int64],
        optimiser: torch.optim.Optimizer,
        head: Tensor,
        rate: float,
    ) -> tuple[float, int]:
        """Learn from `examples`, by number; returns their loss and the number of tokens read.

        `which` is fold, epoch and step; `rate` the share of the learning rates.
        """
        settings, seed = self.settings, [self.settings.seed, *which]
        batch = make_batch(self.lesson, settings, examples, self.encoder.model.device)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["peak"]
        optimiser.zero_grad()
        texts = self._read(batch.items, seed)
        most, bfloat16 = settings.micro_tokens, settings.bfloat16
        loss = backward(self.encoder, texts, batch.loss, head, seed, most, bfloat16)
        trained = [*self.parameters.values(), *([head] if head.numel() else [])]
        norm = torch.nn.utils.clip_grad_norm_(trained, LARGEST_GRADIENT)
        if not (math.isfinite(loss) and math.isfinite(norm.item())):
            what = "gradient" if math.isfinite(loss) else "loss"
            _, epoch, step = which
            raise FloatingPointError(
                f"the {what} is not finite in batch {step + 1} of epoch {epoch}"
            )
        optimiser.step()
        return loss, sum(map(len, texts))

    def _rate(self, fold: int, epoch: int, step: int) -> float:
        """Share of the learning rate: linear warm-up, then linear to zero."""
        now, end = (epoch - 1) * self.steps[fold] + step, self.settings.epochs * self.steps[fold]
        warmup = min(self.settings.warmup, end - 1)
        return now / warmup if now < warmup else (end - now) / (end - warmup)

    def _read(self, items: NDArray[np.int64], seed: list[int]) -> list[list[int]]:
        """Tokens of the items' texts, of a share drawn by `seed` without tags."""
        plain = np.random.default_rng(seed).random(len(items)) < self.settings.tag_dropout
        return [
            self.tokens[int(without)][item]
            for without, item in zip(plain.tolist(), items.tolist(), strict=True)
        ]

    def _save(
        self,
        fold: int,
        optimiser: torch.optim.Optimizer,
        head: Tensor,
        epoch: int,
        step: int,
        total: float,
    ) -> None:
        """What is reached after `step` steps of `epoch`: its end is the beginning of the next."""
        last = step == self.steps[fold]
        trained = self.parameters.items() if processes.is_first() else ()  # who writes them
        weights = {name: p.detach().cpu() for name, p in trained}
        reached = {
            "epoch": epoch + 1 if last else epoch,
            "step": 0 if last else step,
            "total": 0.0 if last else total,
            "loss": total / step,
            "weights": weights | {HEAD: head.detach().cpu()},
            "optimiser": optimiser.state_dict(),
        }
        self.state.save(fold, reached)

    def _identity(self) -> dict[str, Any]:
        """All that decides what comes out."""
        return {
            "settings": asdict(self.settings),
            "folds": self.folds,
            "group_tokens": GROUP_TOKENS,  # dropout is drawn by group
            "training": self.lesson.card,
            "encoder": self.encoder.card(),
            "trained": {name: list(p.shape) for name, p in sorted(self.parameters.items())},
            "lora": str(getattr(self.encoder.model, "peft_config", None)),
        }


def put_weights(model: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Give the trained parameters of a model the values of `weights`, by name."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in weights.keys() - {HEAD}:
            parameters[name].copy_(weights[name])


def _best(history: list[dict[str, float]]) -> int:
    """The epoch of the best validation figure, the first of equal ones; else the last epoch."""
    if "validation" not in history[-1]:
        return len(history) - 1
    epochs = range(1, len(history))
    return max(epochs, key=lambda epoch: history[epoch]["validation"], default=0)
