"""Will it fit, and how long will it take? Answered from a model's shape, before it is loaded."""

import json
import time
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import torch
from transformers import PretrainedConfig

from torch_embed.encoding.encoder import default_device
from torch_embed.encoding.shapes import parameters, shape_of
from torch_embed.errors import InputError
from torch_embed.names import HUB_IDS
from torch_embed.training.recipe import Recipe

TOKENS_OF_WORD = 1.5
TEXTS_OF_EXAMPLE = {"alignment": 1, "info-nce": 2, "contrastive": 3, "triplet": 7}
"""A triplet holds the five films of a profile, too."""
REACHED = 0.3
"""Share of a large matrix product's speed that a step reaches (MiniLM, short texts, 2 cores)."""
SPARE = 0.9
"""Share of the free memory that may be planned for."""


@dataclass(frozen=True)
class Plan:
    """What is to be done with a model."""

    model: str
    nf4: bool
    lora_rank: int | None
    """None to train every weight."""
    micro_tokens: int
    """Padded tokens in the encoder at once."""
    tokens: float
    """Padded tokens of the whole training."""


def preflight(model: str, recipe: Recipe, lesson: Path, left: float = inf) -> str:
    """One line that says what the fine-tuning of a model takes.

    Args:
        model: as the user calls it.
        recipe: how.
        lesson: the folder with what it learns from.
        left: seconds that it may take.

    Raises:
        InputError: it does not fit, or will not be done in time; the line says what would.
    """
    return check_fits(plan_of(model, recipe, lesson), left=left)


def plan_of(model: str, recipe: Recipe, lesson: Path) -> Plan:
    """What there is to do; the tokens are an estimate."""
    settings = recipe.settings
    texts = pl.read_parquet(lesson / "texts.parquet", glob=False)["text"]
    examples = json.loads((lesson / "card.json").read_text(encoding="utf-8"))["examples"]
    words = np.array([len(text.split()) for text in texts])
    lengths = np.minimum(settings.max_tokens, 2 + TOKENS_OF_WORD * words)
    of_example = TEXTS_OF_EXAMPLE[settings.loss]
    long = settings.batch * of_example * float(np.quantile(lengths, 0.95))
    return Plan(
        model,
        recipe.nf4,
        None if recipe.lora is None else recipe.lora.rank,
        min(settings.micro_tokens, round(long)),
        settings.epochs * examples * of_example * float(lengths.mean()),
    )


def bytes_needed(config: PretrainedConfig, plan: Plan) -> int:
    """Memory of weights, gradients, optimiser and activations, at the peak of a step."""
    linear, other = parameters(config)
    layers, hidden = config.num_hidden_layers, config.hidden_size
    # what a layer keeps for a token: inputs of its products, normalised inputs, gate and product
    of_layer = 10 * hidden + 3 * config.intermediate_size
    if plan.lora_rank is None:
        weights, trained, width = 4 * (linear + other), linear + other, 4
        kept = layers * of_layer
    else:
        weights = int(0.52 * linear) + 2 * other if plan.nf4 else 4 * (linear + other)
        trained = 4 * plan.lora_rank * hidden * layers
        width = 2 if plan.nf4 else 4
        kept = layers * hidden + 2 * of_layer  # the rest is computed again
    optimiser = trained * (4 + 8 + 4)  # gradient, two moments, the weights to go back to
    # in the end a second process loads what was saved
    return max(weights + optimiser + plan.micro_tokens * kept * width, 2 * weights)


def bytes_kept(model: str, recipe: Recipe) -> int:
    """What a fine-tuning writes at most: of each fold a checkpoint, its best, the saved encoder.

    Raises:
        InputError: nobody knows the model's shape.
    """
    config = shape_of(model)
    trained = sum(parameters(config))
    if recipe.lora is not None:
        trained = 4 * recipe.lora.rank * config.hidden_size * config.num_hidden_layers
    checkpoint = 12 * trained  # weights and two moments
    return recipe.folds * (checkpoint + 8 * trained) + checkpoint


def seconds_needed(config: PretrainedConfig, plan: Plan, flops: float | None = None) -> float:
    """How long the steps take at `flops`; by default what this machine's products let expect."""
    linear, _ = parameters(config)
    per_weight = 8 if plan.lora_rank is not None else 6  # forward, again, and backward
    return per_weight * linear * plan.tokens / (flops or REACHED * _measured_flops(plan.nf4))


def check_fits(plan: Plan, free: int | None = None, left: float = inf) -> str:
    """One line that says what the plan takes.

    Raises:
        InputError: it does not fit, or will not be done in the seconds that are `left`.
    """
    free = _free_memory() if free is None else free
    config = shape_of(plan.model)
    needed = bytes_needed(config, plan)
    if needed > SPARE * free:
        smaller = [
            ("--nf4", replace(plan, nf4=True, lora_rank=plan.lora_rank or 16)),
            ("--micro-tokens 1024", replace(plan, micro_tokens=1024)),
            (
                "--nf4 --micro-tokens 1024",
                replace(plan, nf4=True, lora_rank=plan.lora_rank or 16, micro_tokens=1024),
            ),
            *((f"--model {name}", replace(plan, model=name)) for name in HUB_IDS),
        ]
        fitting = [
            option
            for option, other in smaller
            if other != plan and _fits(other, config if other.model == plan.model else None, free)
        ]
        raise InputError(
            f"fine-tuning {plan.model} takes about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are"
            f" free; {'would fit: ' + ', '.join(fitting) if fitting else 'nothing smaller fits'}"
        )
    minutes = seconds_needed(config, plan) / 60
    if 60 * minutes > left:
        raise InputError(
            f"fine-tuning {plan.model} takes about {minutes:.1f} min of steps, and"
            f" {max(left, 0) / 60:.1f} are left; give a longer --budget"
        )
    return (
        f"about {needed / 2**30:.1f} GiB of {free / 2**30:.1f} free, about {minutes:.0f} min"
        " of steps"
    )


def _fits(plan: Plan, config: PretrainedConfig | None, free: int) -> bool:
    try:
        needed = bytes_needed(shape_of(plan.model) if config is None else config, plan)
    except InputError:  # its shape is out of reach, and so is the model
        return False
    return needed <= SPARE * free


def _free_memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info(default_device())[0]
    return psutil.virtual_memory().available


def _measured_flops(nf4: bool, size: int = 1024) -> float:
    dtype = torch.bfloat16 if torch.cuda.is_available() and nf4 else torch.float32
    a = torch.ones(size, size, dtype=dtype, device=default_device())
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
