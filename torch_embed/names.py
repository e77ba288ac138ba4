"""What a model is called; needs no torch, so that what it has made is found without, too."""

import re
from pathlib import Path

HUB_IDS = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "qwen3-0.6b": "Qwen/Qwen3-Embedding-0.6B",
    "qwen3-4b": "Qwen/Qwen3-Embedding-4B",
    "qwen3-8b": "Qwen/Qwen3-Embedding-8B",
}
"""Short names."""


def names_of(model: str) -> list[str]:
    """What a model's files and rows may be called, the shortest first.

    One of `HUB_IDS` has its short name; else it is the last part of the path, then the last two
    (the owner's or the parent folder's name too), and so on. Somebody else's `minilm` is not ours,
    and NAME-ft and NAME-ft-draw2 are what NAME becomes by fine-tuning: such names have two parts or
    more.
    """
    short = [name for name, hub_id in HUB_IDS.items() if hub_id == model_id(model)]
    if short:
        return short
    path = Path(model).resolve() if Path(model).is_dir() else Path(model)
    parts = [part.lower() for part in path.parts if part != path.anchor]
    names = ["-".join(parts[-count:]) for count in range(1, len(parts) + 1)]
    taken = names[0] in HUB_IDS or re.search(r"-ft(-draw\d+)?$", names[0])
    return names[1:] if taken and len(names) > 1 else names


def model_id(model: str) -> str:
    """What the card calls a model: its hub id, or its folder."""
    return str(Path(model).resolve()) if Path(model).is_dir() else HUB_IDS.get(model, model)
