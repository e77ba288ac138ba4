"""What a model is called; needs no torch, so that what it has made is found without, too."""

import re
from pathlib import Path

from torch_embed.errors import InputError

HUB_IDS = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "qwen3-0.6b": "Qwen/Qwen3-Embedding-0.6B",
    "qwen3-4b": "Qwen/Qwen3-Embedding-4B",
    "qwen3-8b": "Qwen/Qwen3-Embedding-8B",
}
"""Short names."""
OF_A_MODEL = ("config.json", "modules.json", "adapter_config.json")
"""Files of which the folder of a model has one."""


def check_model(model: str) -> None:
    """Raise InputError for what is no model, in reach of the hub or not."""
    if Path(model).is_dir():
        if not any((Path(model) / name).exists() for name in OF_A_MODEL):
            raise InputError(
                f"no model in the folder {model}: none of {', '.join(OF_A_MODEL)}; give another"
            )
    elif model not in HUB_IDS and not re.fullmatch(r"\w[\w.-]*/[\w.-]+", model):
        raise InputError(
            f"no model {model!r}: neither a folder, nor a hub id, nor one of {', '.join(HUB_IDS)}"
        )


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
