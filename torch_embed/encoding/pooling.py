"""From a transformer's hidden states to one vector a text, as sentence-transformers computes it."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from torch_embed.encoding.layout import Module
from torch_embed.errors import InputError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Where a module keeps its weights; the first that is there counts."""


def pool(hidden: Tensor, mask: Tensor, pooling: str, skip: int = 0) -> Tensor:
    """Reduce [texts, tokens, width] to [texts, width x modes].

    Args:
        hidden: of each token.
        mask: [texts, tokens], 1 on real tokens, 0 on padding, on whichever side.
        pooling: a mode, or several joined by `+`, whose vectors are joined in this order.
        skip: so many of a text's first tokens are not pooled (those of the prompt).
    """
    count = mask.cumsum(1)
    read = mask * (count > skip) if skip else mask
    return torch.cat([_pool(hidden, read, count, mode) for mode in pooling.split("+")], dim=-1)


def _pool(hidden: Tensor, mask: Tensor, count: Tensor, mode: str) -> Tensor:
    """`mask` is 1 on tokens to pool, `count` numbers a text's tokens from 1."""
    if mode in ("cls", "last"):
        column = mask.argmax(1) if mode == "cls" else (mask * count).argmax(1)
        return hidden[torch.arange(len(hidden), device=hidden.device), column]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    if mode == "max":
        return hidden.masked_fill(weights == 0, float("-inf")).amax(1)
    if mode == "weightedmean":
        weights = weights * count.unsqueeze(-1)
    total, tokens = (hidden * weights).sum(1), weights.sum(1).clamp(min=1e-9)
    return total / (tokens.sqrt() if mode == "mean_sqrt_len" else tokens)


class Dense(torch.nn.Module):
    """A linear layer and an activation."""

    def __init__(self, module: Module):
        super().__init__()
        self.config = config = module.config
        source = f"{module.place.source}: Dense in {module.place.path}"
        if config.get("use_residual"):
            raise InputError(f"{source} adds a residual, which is not known here; give another")
        self.linear = torch.nn.Linear(
            config["in_features"], config["out_features"], bias=config.get("bias", True)
        )
        self.activation = _activation(config.get("activation_function"), source)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.linear(x))


class LayerNorm(torch.nn.Module):
    """Layer normalisation with weights."""

    def __init__(self, module: Module):
        super().__init__()
        self.config = module.config
        self.norm = torch.nn.LayerNorm(module.config["dimension"])

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class Normalize(torch.nn.Module):
    """Scales to length 1."""

    def __init__(self, module: Module):
        super().__init__()
        self.config = module.config

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.normalize(x, dim=-1)


KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Dense, LayerNorm, Normalize)}


def _activation(name: str | None, source: str) -> torch.nn.Module:
    """One of torch's by its full name, as `torch.nn.modules.activation.Tanh`, the default."""
    home, _, kind = (name or "torch.nn.modules.activation.Tanh").rpartition(".")
    found: Any = getattr(torch.nn, kind, None) if home.startswith("torch.nn.modules") else None
    try:
        activation = found()
    except TypeError:  # none, or one that wants arguments
        activation = None
    if not isinstance(activation, torch.nn.Module):
        raise InputError(
            f"{source} has the activation {name}, which is none of torch's; give another encoder"
        )
    return activation


def load_layers(modules: list[Module], width: int) -> tuple[torch.nn.Sequential, int]:
    """The modules after the pooling, in float32 and not to be trained, and the width they give.

    Embeddings are normalised in the end in any case (see `encode`), so that a `Normalize` that
    comes last is left out.

    Args:
        modules: in their order.
        width: of what is pooled.

    Raises:
        InputError: a module's weights are absent or are not those of its configuration, or it
            computes what is not known here, or of another width.
    """
    if modules and modules[-1].kind == "Normalize":
        modules = modules[:-1]
    for module in modules:
        wanted = module.config.get("in_features", module.config.get("dimension", width))
        if wanted != width:
            raise InputError(
                f"{module.place.source}: {module.kind} in {module.place.path} takes {wanted}"
                f" dimensions, but gets {width}; copy the folder again"
            )
        width = module.config.get("out_features", width)
    layers = torch.nn.Sequential(*map(_load, modules))
    return layers.eval().requires_grad_(False), width


def _load(module: Module) -> torch.nn.Module:
    layer = KINDS[module.kind](module)
    if not layer.state_dict():
        return layer
    path = weights_of(module)
    safe = path.suffix == ".safetensors"
    weights = load_file(path) if safe else torch.load(path, "cpu", weights_only=True)
    try:
        layer.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: not the weights of {module.kind} in config.json beside it ({reason}); copy"
            " the folder again"
        ) from None
    return layer.float()


def weights_of(module: Module) -> Path:
    """The file of a module's weights; InputError if there is none."""
    for name in WEIGHTS:
        if path := module.place.file(name):
            return path
    raise InputError(
        f"{module.place.source}: {module.place.path} has no weights ({' or '.join(WEIGHTS)}); copy"
        " the folder again"
    )


def describe(layer: Any) -> dict[str, Any]:
    """For the card: the layer's kind and configuration."""
    return {"type": type(layer).__name__} | layer.config


def save_layers(layers: torch.nn.Sequential, folder: Path) -> list[tuple[str, str]]:
    """Write each layer into a folder of its own, as sentence-transformers does.

    Returns:
        Path and kind of each.
    """
    saved = []
    for number, layer in enumerate(layers, 2):
        kind = type(layer).__name__
        place = folder / f"{number}_{kind}"
        place.mkdir(exist_ok=True)
        (place / "config.json").write_text(json.dumps(layer.config, indent=2) + "\n", "utf-8")
        if weights := layer.state_dict():
            save_file(weights, place / WEIGHTS[0])
        saved.append((place.name, kind))
    return saved
