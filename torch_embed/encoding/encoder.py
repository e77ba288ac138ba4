"""Loads a sentence encoder; pooling, padding side and length follow its files."""

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModel, PretrainedConfig, PreTrainedTokenizerBase

from torch_embed import bert
from torch_embed.encoding.layout import Layout, longest, read_config, read_layout, read_tokenizer
from torch_embed.encoding.nf4 import is_nf4, pack_only_what_fits, quantisation
from torch_embed.encoding.pooling import describe, load_layers, weights_of
from torch_embed.errors import InputError
from torch_embed.hub import Place, hub_source, silence, unreadable
from torch_embed.names import model_id, names_of


@dataclass(frozen=True)
class Encoder:
    """A loaded model with all that decides its embeddings."""

    name: str
    """Used for files and rows; the shortest of `names_of`, unless somebody gives another."""
    model_id: str
    """Hub id or folder."""
    tokenizer: PreTrainedTokenizerBase
    model: Any
    """A transformers model, perhaps with adapters (PeftModel)."""
    int8: bool
    """Are matrix products of 8-bit integers? (Plain BERT on a CPU.)"""
    pooling: str
    """`mean` of the tokens, the `last` token, or what else `pool` knows."""
    include_prompt: bool
    """Are the prompt's tokens pooled?"""
    layers: torch.nn.Sequential
    """What follows the pooling; never trained."""
    prompt: str
    """What goes before every text."""
    long: str
    """What becomes of a text that is longer than `max_length`: one of `encode.LONG`."""
    max_length: int
    """So many tokens are read at once, prompt and special tokens included."""
    width: int
    """Of what the layers give."""
    dim: int
    """Of the embeddings: the first so many of these (Kusupati et al. 2022)."""
    weights_sha256: str
    """Of the transformer, or its adapter, and the layers."""
    lesson: dict[str, Any]
    """The card of the lesson that taught it; empty if none did, or not by us."""
    notes: tuple[str, ...]
    """What its user should know: what is assumed, what is done otherwise than its makers do."""

    @property
    def dtype(self) -> str:
        """What it computes in, as `--dtype` has it."""
        return "int8" if self.int8 else str(self.model.dtype).removeprefix("torch.")

    def told(self) -> str | None:
        """The notes, a line each; None if there is none."""
        return "\n".join(f"{self.name}: {note}" for note in self.notes) or None

    def card(self) -> dict[str, Any]:
        """What a reader of the embeddings needs to know."""
        return {
            "name": self.name,
            "model": self.model_id,
            "weights_sha256": self.weights_sha256,
            "dim": self.dim,
            "dtype": self.dtype,
            "nf4": is_nf4(self.model),
            "prompt": self.prompt,
            "pooling": self.pooling,
            "include_prompt": self.include_prompt,
            "layers": [describe(layer) for layer in self.layers],
            "padding_side": self.tokenizer.padding_side,
            "max_length": self.max_length,
            "long": self.long,
            "normalized": True,
            "notes": list(self.notes),
        } | ({"training": self.lesson} if self.lesson else {})


def load_encoder(
    model: str,
    device: str | None = None,
    dim: int | None = None,
    nf4: bool | None = None,
    dtype: str | None = None,
    prompt: str | None = None,
    long: str | None = None,
) -> Encoder:
    """Load an encoder for inference.

    Args:
        model: a short name (see `HUB_IDS`), a hub id (`owner/name`) or a local folder, of a model
            or of a PEFT adapter.
        device: torch device; a GPU if there is one, else the CPU.
        dim: of the embeddings; all of the model's by default.
        nf4: quantise the linear layers to 4 bits; by default as an adapter was trained.
        dtype: of the weights, as torch calls it; by default that of the file. `int8`: 8-bit
            integers in matrix products, of a plain BERT on a CPU; `fast`: `fastest` of these.
        prompt: what goes before every text; by default what the model's files say of documents.
        long: how to read long texts, one of `encode.LONG`; by default as it was trained, or `cut`.

    Raises:
        InputError: no such model here or on the hub, or no such `dim`, or no such arithmetic, or
            the model cannot be used as its files say.
    """
    silence()
    device = device or ("cpu" if dtype == "int8" else default_device())
    dtype = fastest(device) if dtype == "fast" else dtype
    check_dtype(dtype)
    hub_source(model)  # refuses what is no model
    try:
        layout = read_layout(model)
        layout.refuse_damaged()
        trained = layout.trained
        tokenizer, config = read_tokenizer(layout), read_config(layout.transformer)
        pooling = layout.pooling or _assumed(config)
        width = config.hidden_size * len(pooling.split("+"))
        layers, width = load_layers(layout.layers, width)
        dim = trained.get("dim") if dim is None else dim
        if dim is not None and not 0 < dim <= width:
            raise InputError(f"{model}: no {dim} dimensions; it has {width}")
        in_4_bits = trained.get("nf4", False) if nf4 is None else nf4
        tokenizer.padding_side = _padding_side(pooling, config)
        int8 = dtype == "int8"
        network = _network(layout, device, in_4_bits, "float32" if int8 else dtype)
        if int8 and not bert.is_plain(network):
            raise InputError(
                f"{model}: int8 is for a plain BERT on a CPU; leave --fast or --dtype out"
            )
        return Encoder(
            name=names_of(model)[0],
            model_id=model_id(model),
            tokenizer=tokenizer,
            model=network,
            int8=int8,
            pooling=pooling,
            include_prompt=layout.include_prompt,
            layers=layers.to(device),
            prompt=layout.prompt if prompt is None else prompt,
            long=long or trained.get("long", "cut"),
            max_length=longest(layout, tokenizer, config),
            width=width,
            dim=dim or width,
            weights_sha256=weights_sha256(layout),
            lesson=layout.lesson,
            notes=tuple(_notes(layout, pooling)),
        )
    except Exception as error:
        raise unreadable(model, error) from None


def _assumed(config: PretrainedConfig) -> str:
    """What no file says follows from the kind of model."""
    return "last" if config.model_type.startswith("qwen") else "mean"


def _padding_side(pooling: str, config: PretrainedConfig) -> str:
    """Where padding goes: before the text if its last token speaks for it.

    Only models with rotary positions (which are relative) embed a text alike wherever it begins.
    """
    relative = any(key.startswith("rope_") for key in config.to_dict())
    return "left" if pooling == "last" and relative else "right"


def _notes(layout: Layout, pooling: str) -> list[str]:
    notes = []
    if layout.pooling is None:
        notes.append(f"no file says how its tokens are pooled; {pooling} pooling is assumed")
    of_length_1 = bool(layout.layers) and layout.layers[-1].kind == "Normalize"
    alike = ("cosine", "dot", "euclidean") if of_length_1 else ("cosine",)
    if layout.similarity not in alike:
        notes.append(
            f"its makers compare its embeddings by {layout.similarity}; here they are scaled to"
            " length 1 and compared by cosine"
        )
    return notes


def default_device() -> str:
    """A GPU if there is one, that of this process if there are several, else the CPU."""
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"


def gpu_has_bfloat16() -> bool:
    """Is there a GPU that computes in bfloat16?"""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def _has_bfloat16(device: str) -> bool:
    if device != "cpu":
        return gpu_has_bfloat16()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def fastest(device: str) -> str:
    """bfloat16 where it is not emulated, else int8 on a CPU.

    Raises:
        InputError: neither is there.
    """
    if _has_bfloat16(device):
        return "bfloat16"
    if device == "cpu" and bert.engine():
        return "int8"
    raise InputError("nothing here is faster than float32; leave --fast out")


def check_dtype(dtype: str | None) -> None:
    """Refuse bfloat16 where it would be emulated, at a hundredth of float32's speed."""
    if dtype == "int8" and not bert.engine():
        raise InputError("this torch multiplies no 8-bit integers; leave --dtype out")
    if dtype == "bfloat16" and not _has_bfloat16("cuda" if torch.cuda.is_available() else "cpu"):
        raise InputError("this processor has no bfloat16 arithmetic; leave --dtype out")


def _network(layout: Layout, device: str, nf4: bool, dtype: str | None) -> Any:
    """The transformer, with its adapter if it has one, ready to encode."""
    network = _transformer(layout.transformer, device, nf4, dtype)
    if layout.adapter:
        from peft import PeftModel

        source, path = layout.adapter
        network = PeftModel.from_pretrained(network, source, subfolder=path or None)
    return network.eval()


def _transformer(place: Place, device: str, nf4: bool, dtype: str | None) -> Any:
    in_4_bits = {"quantization_config": quantisation(), "device_map": device}
    how = {"dtype": torch.bfloat16} | in_4_bits if nf4 else {"dtype": dtype or "auto"}
    network, found = AutoModel.from_pretrained(
        place.source, subfolder=place.path, output_loading_info=True, **how
    )
    drawn = sorted(name for name in found["missing_keys"] if "pooler" not in name)
    if drawn:
        raise InputError(
            f"{place.source}: its files hold no {drawn[0]} ({len(drawn)} weights are absent), so"
            f" they are not of transformers' {type(network).__name__}; give another encoder"
        )
    if not nf4:
        return network.to(device)
    pack_only_what_fits(network)
    return network


def weights_sha256(layout: Layout) -> str:
    """Hash of the weights: of the one file, or of several files' hashes, in order of name.

    First the transformer's, or its adapter's, then each layer's.
    """
    name = "adapter_config.json" if layout.adapter else "config.json"
    there = (layout.adapter or layout.transformer).file(name)
    assert there is not None
    paths = sorted([*there.parent.glob("*.safetensors"), *there.parent.glob("*.bin")])
    paths += [weights_of(module) for module in layout.layers if module.kind != "Normalize"]
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )
