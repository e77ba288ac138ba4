"""Fine-tunes an encoder, epoch by epoch, so that a run killed at any moment goes on.

With folds, one model a fold learns from examples made without the fold's items; they go through
their epochs side by side. An item is embedded by the model of its fold, which has seen none of its
ratings, and an item without ratings by the unit mean of all. After each epoch the caller's
validation judges these embeddings; the best epoch's are kept.

Dropout is seeded by step and group of texts. So a batch too large for the memory can go through the
encoder twice, first without gradients to get the loss of all embeddings together, then again group
by group to carry its gradient on (Gao et al. 2021, GradCache); several processes share the groups
and take the steps that one would; and a resumed run draws what an unbroken one draws.
"""

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from torch_embed import processes
from torch_embed.encode import batches, encode, pool, tokenize
from torch_embed.encoder import Encoder
from torch_embed.errors import InputError
from torch_embed.examples import Batch, examples_of, first_head, make_batch, unit_mean
from torch_embed.settings import Settings
from torch_embed.training_files import Training

LARGEST_GRADIENT = 1.0
"""Gradients are scaled down to this norm."""
GROUP_TOKENS = 512
"""Padded tokens of texts of similar length; more of them together are mostly padding."""
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
Validate = Callable[[NDArray[np.float32]], float]
"""A figure of merit of embeddings [items, dim]; the larger the better."""


class Tuned(NamedTuple):
    """What fine-tuning gives."""

    E: NDArray[np.float32]
    """[items, dim] of the best epoch."""
    weights: list[dict[str, Tensor]]
    """The trained tensors of each fold's model."""
    epoch: int
    """The best one, from 1."""
    history: list[dict[str, float]]
    """Of epochs 0 (before) to the last: mean `loss` (from 1) and, if validated, `validation`."""


def finetune(
    encoder: Encoder,
    training: Training,
    settings: Settings,
    folder: Path,
    folds: int = 1,
    validate: Validate | None = None,
    on_step: OnStep = lambda progress: None,
) -> Tuned:
    """Fine-tune the parameters of `encoder` that require gradients.

    Args:
        encoder: the base model; it ends with the weights of the last fold.
        training: what to learn from.
        settings: how.
        folder: of checkpoints; what is there of the same run is gone on with.
        folds: models for cross-fitting; 1 for none.
        validate: judges the embeddings after every epoch; without it the last epoch is kept.
        on_step: told of every step.

    Raises:
        InputError: there is nothing to learn from.
        FloatingPointError: a loss or gradient is not finite; the last good checkpoint stays.
    """
    return _Run(encoder, training, settings, folder, folds, validate, on_step).run()


class _Run:
    def __init__(
        self,
        encoder: Encoder,
        training: Training,
        settings: Settings,
        folder: Path,
        folds: int,
        validate: Validate | None,
        on_step: OnStep,
    ):
        self.encoder, self.training, self.settings = encoder, training, settings
        self.folder, self.folds, self.validate, self.on_step = folder, folds, validate, on_step
        self.tokens = [
            tokenize(encoder, texts, settings.max_tokens)
            for texts in (training.texts, training.plain)
        ]
        self.rows = [examples_of(training, fold) for fold in range(folds)]
        self.steps = [self._steps_of(len(rows)) for rows in self.rows]
        self.parameters = {
            name: parameter
            for name, parameter in encoder.model.named_parameters()
            if parameter.requires_grad
        }
        if not self.parameters:
            raise InputError(f"{encoder.model_id}: no parameter to train")

    def _steps_of(self, examples: int) -> int:
        batch = self.settings.batch
        steps = examples // batch if self.settings.drop_last else math.ceil(examples / batch)
        if not steps:
            raise InputError(f"{examples} examples do not fill a batch of {batch}")
        return steps

    def run(self) -> Tuned:
        self._own_folder()
        history = self._history()
        base = {name: p.detach().cpu().clone() for name, p in self.parameters.items()}
        before = self._base_embeddings()
        heads = [first_head(self.training, rows, before) for rows in self.rows]
        if not history:
            history = [self._judged(before)]
            self._write_history(history)
        while len(history) <= self.settings.epochs and not self._is_over(history):
            epoch = len(history)
            loss = [
                self._epoch(fold, epoch, base, torch.from_numpy(heads[fold]))
                for fold in range(self.folds)
            ]
            E = self._embed_all(before)
            history = [*history, {"loss": float(np.mean(loss))} | self._judged(E)]
            if _best(history) == epoch and processes.is_first():
                self._keep(E)
            self._write_history(history)
            processes.wait()
        best = self.folder / "best"
        return Tuned(
            load_file(best / "embeddings.safetensors")["embeddings"],
            [_load(best / f"fold-{fold}.pt")["weights"] for fold in range(self.folds)],
            _best(history),
            history,
        )

    def _judged(self, E: NDArray[np.float32]) -> dict[str, float]:
        if self.validate is None:
            return {}
        figure = self.validate(E) if processes.is_first() else 0.0
        return {"validation": processes.share(figure)}

    def _is_over(self, history: list[dict[str, float]]) -> bool:
        patience = self.settings.patience
        if patience is None or self.validate is None or len(history) < 2:
            return False
        return len(history) - 1 - _best(history) >= patience

    def _base_embeddings(self) -> NDArray[np.float32]:
        """Those of the untouched encoder; kept, for a resumed run begins with them too."""
        path = self.folder / "base.safetensors"
        self.encoder.model.eval()
        if not path.exists():
            E = encode(self.encoder, self.training.texts)
            if processes.is_first():
                _whole(path, partial(save_file, {"embeddings": E}))
            processes.wait()
        return load_file(path)["embeddings"]

    def _embed_all(self, before: NDArray[np.float32]) -> NDArray[np.float32]:
        self.encoder.model.eval()  # adapters begin in training mode
        of_all = self.training.fold < 0
        E, each = np.empty_like(before), []
        for fold in range(self.folds):
            put_weights(self.encoder.model, _load(self._checkpoint(fold))["weights"])
            if self.folds == 1:
                return encode(self.encoder, self.training.texts)
            own = np.flatnonzero((self.training.fold == fold) | of_all)
            E[own] = encode(self.encoder, [self.training.texts[item] for item in own])
            each.append(E[of_all])
        E[of_all] = unit_mean(each)
        return E

    def _epoch(self, fold: int, epoch: int, base: dict[str, Tensor], head: Tensor) -> float:
        """One epoch of one fold's model, or what is left of it; returns the mean loss."""
        path, model, settings = self._checkpoint(fold), self.encoder.model, self.settings
        state = _load(path) if path.exists() else None
        if state is not None and state["epoch"] > epoch:
            return state["loss"]
        put_weights(model, base if state is None else state["weights"])
        head = head if state is None else state["weights"][HEAD]
        head = head.to(model.device).requires_grad_()
        optimiser = torch.optim.AdamW(
            [
                {"params": list(self.parameters.values()), "peak": settings.rate},
                {"params": [head] if head.numel() else [], "peak": settings.head_rate},
            ],
            weight_decay=settings.weight_decay,
            fused=True,
        )
        if state is not None:
            optimiser.load_state_dict(state["optimiser"])
        first, total = (state["step"], state["total"]) if state is not None else (0, 0.0)
        rows = np.random.default_rng([settings.seed, fold, epoch]).permutation(self.rows[fold])
        model.train()
        done = sum(self.steps) * (epoch - 1) + sum(self.steps[:fold])
        since, tokens = time.perf_counter(), 0
        for step in range(first, self.steps[fold]):
            seed = [settings.seed, fold, epoch, step]
            of_batch = rows[step * settings.batch : (step + 1) * settings.batch]
            batch = make_batch(self.training, settings, of_batch, model.device)
            rate = self._rate(fold, epoch, step)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["peak"]
            optimiser.zero_grad()
            loss, seen = self._backward(batch, head, seed)
            trained = [*self.parameters.values(), *([head] if head.numel() else [])]
            norm = torch.nn.utils.clip_grad_norm_(trained, LARGEST_GRADIENT)
            if not (math.isfinite(loss) and math.isfinite(norm.item())):
                what = "gradient" if math.isfinite(loss) else "loss"
                raise FloatingPointError(
                    f"the {what} is not finite in batch {step + 1} of epoch {epoch}"
                )
            optimiser.step()
            total, tokens = total + loss, tokens + seen
            last = step + 1 == self.steps[fold]
            if last or (step + 1) % settings.checkpoint_every == 0:
                self._save(fold, optimiser, head, epoch, step + 1, total, last)
            speed = tokens / (time.perf_counter() - since)
            self.on_step(
                Progress(
                    epoch,
                    fold,
                    done + step + 1,
                    sum(self.steps) * settings.epochs,
                    loss,
                    rate * settings.rate,
                    speed,
                )
            )
        model.eval()
        return total / self.steps[fold]

    def _rate(self, fold: int, epoch: int, step: int) -> float:
        """Share of the learning rate: linear warm-up, then linear to zero."""
        now, end = (epoch - 1) * self.steps[fold] + step, self.settings.epochs * self.steps[fold]
        warmup = min(self.settings.warmup, end - 1)
        return now / warmup if now < warmup else (end - now) / (end - warmup)

    def _backward(self, batch: Batch, head: Tensor, seed: list[int]) -> tuple[float, int]:
        """Gradients of a batch's loss into the parameters; the loss, and tokens embedded."""
        plain = np.random.default_rng(seed).random(len(batch.items)) < self.settings.tag_dropout
        tokens = [
            self.tokens[int(p)][item]
            for p, item in zip(plain.tolist(), batch.items.tolist(), strict=True)
        ]
        most = self.settings.micro_tokens
        plan = list(batches([len(ids) for ids in tokens], min(most, GROUP_TOKENS)))
        place, size = processes.place()
        seen = sum(map(len, tokens))
        if size == 1 and sum(len(own) * len(tokens[own[0]]) for own in plan) <= most:
            each = [
                self._embed([tokens[i] for i in own], [*seed, number])
                for number, own in enumerate(plan)
            ]
            loss = batch.loss(torch.cat(each)[np.argsort(np.concatenate(plan))], head)
            loss.backward()
            return loss.item(), seen
        own = [number for number in range(len(plan)) if number % size == place]
        parts: dict[int, Tensor] = {}
        with torch.no_grad():
            for number in own:
                texts = [tokens[i] for i in plan[number]]
                parts[number] = self._embed(texts, [*seed, number])
        E = torch.zeros(len(tokens), self.encoder.dim, device=head.device)
        for number, part in parts.items():
            E[plan[number]] = part
        E = processes.sum_over(E).requires_grad_()
        loss = batch.loss(E, head)
        loss.backward()
        assert E.grad is not None
        for number in own:
            part = self._embed([tokens[i] for i in plan[number]], [*seed, number])
            part.backward(E.grad[plan[number]])
        for parameter in self.parameters.values() if size > 1 else ():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            processes.sum_over(parameter.grad)
        return loss.item(), seen

    def _embed(self, tokens: list[list[int]], seed: list[int]) -> Tensor:
        """[texts, dim] unit embeddings, dropout drawn from `seed`."""
        encoder = self.encoder
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        padded = encoder.tokenizer.pad({"input_ids": tokens}, return_tensors="pt")
        padded = padded.to(encoder.model.device)
        device = encoder.model.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.settings.bfloat16):
            hidden = encoder.model(**padded).last_hidden_state
        pooled = pool(hidden.float(), padded["attention_mask"], encoder.pooling)
        return torch.nn.functional.normalize(pooled[:, : encoder.dim], dim=-1)

    def _checkpoint(self, fold: int) -> Path:
        return self.folder / f"fold-{fold}.pt"

    def _save(
        self,
        fold: int,
        optimiser: torch.optim.Optimizer,
        head: Tensor,
        epoch: int,
        step: int,
        total: float,
        last: bool,
    ) -> None:
        """The state after `step` steps of `epoch`, or at the beginning of the next one."""
        if processes.is_first():
            weights = {name: p.detach().cpu() for name, p in self.parameters.items()}
            state = {
                "epoch": epoch + 1 if last else epoch,
                "step": 0 if last else step,
                "total": 0.0 if last else total,
                "loss": total / step,
                "weights": weights | {HEAD: head.detach().cpu()},
                "optimiser": optimiser.state_dict(),
            }
            _whole(self._checkpoint(fold), partial(torch.save, state))
        processes.wait()

    def _keep(self, E: NDArray[np.float32]) -> None:
        best = self.folder / "best"
        best.mkdir(exist_ok=True)
        for fold in range(self.folds):
            weights = {"weights": _load(self._checkpoint(fold))["weights"]}
            _whole(best / f"fold-{fold}.pt", partial(torch.save, weights))
        _whole(
            best / "embeddings.safetensors",
            partial(save_file, {"embeddings": E}),
        )

    def _own_folder(self) -> None:
        """Begin anew if what is there is of another run."""
        identity = {
            "settings": asdict(self.settings),
            "folds": self.folds,
            "group_tokens": GROUP_TOKENS,  # dropout is drawn by group
            "training": self.training.card,
            "encoder": self.encoder.card(),
            "trained": {name: list(p.shape) for name, p in sorted(self.parameters.items())},
            "lora": str(getattr(self.encoder.model, "peft_config", None)),
        }
        path = self.folder / "run.json"
        if processes.is_first():
            text = json.dumps(identity, indent=2)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                clear(self.folder)
                self.folder.mkdir(parents=True, exist_ok=True)
                _whole(path, lambda place: place.write_text(text, encoding="utf-8"))
        processes.wait()

    def _history(self) -> list[dict[str, float]]:
        path = self.folder / "history.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []

    def _write_history(self, history: list[dict[str, float]]) -> None:
        if processes.is_first():
            text = json.dumps(history, indent=2)
            path = self.folder / "history.json"
            _whole(path, lambda place: place.write_text(text, encoding="utf-8"))


def put_weights(model: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Give the trained parameters of a model the values of `weights`, by name."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])


def clear(folder: Path) -> None:
    """Remove checkpoints, first of all what says whose they are: half of them are nobody's."""
    (folder / "run.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _best(history: list[dict[str, float]]) -> int:
    """The epoch of the best validation figure, the first of equal ones; else the last epoch."""
    if "validation" not in history[-1]:
        return len(history) - 1
    epochs = range(1, len(history))
    return max(epochs, key=lambda epoch: history[epoch]["validation"], default=0)


def _load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


def _whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the place, then rename: whole or absent."""
    beside = path.with_name(f".{path.name}.partial")
    write(beside)
    beside.replace(path)
