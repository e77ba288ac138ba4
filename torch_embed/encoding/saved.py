"""Saves a fine-tuned encoder for others to load, and proves that it is what was trained.

A folder holds a whole model, or an adapter in PEFT's own format; tokenizer; what
sentence-transformers needs to embed as we do, the layers after the pooling and the prompt included;
`torch_embed.json`, which has the hashes of all these, sealed; and a model card, which has none.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torch_embed.encoding.encoder import Encoder
from torch_embed.encoding.layout import OTHER_NAMES, POOLING_FLAGS, TRAINED
from torch_embed.encoding.nf4 import is_nf4
from torch_embed.encoding.pooling import save_layers
from torch_embed.files import file_sha256, into, sealed

MODEL_CARD = "README.md"
"""As the hub calls it; PEFT writes one as well."""
SAMPLE = 64
"""Texts that are embedded again."""
EXACT_NOISE, NOISE = 1e-4, 1e-2
"""By how much embeddings of unit length differ from batch to batch, in float32 and in bfloat16."""
AWAY = 0.25
"""In bfloat16 what was saved must be so much nearer to what was trained than the base model is."""
LAUNCHED = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}
"""What a launcher of several processes sets; the fresh process is alone."""
SAVED_NAMES = {ours: theirs for theirs, ours in OTHER_NAMES.items()}


def save_encoder(encoder: Encoder, folder: Path, card: dict[str, Any], name: str) -> None:
    """Write the encoder as it is now; `card` says how it came about, `name` where it will lie."""
    with into(folder.parent):
        folder.mkdir(exist_ok=True)
    for adapter in getattr(encoder.model, "peft_config", {}).values():
        adapter.base_model_name_or_path = encoder.model_id  # not a path of this machine's packages
    encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    layers = save_layers(encoder.layers, folder)
    last = f"{2 + len(layers)}_Normalize"
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), *layers, (last, "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(parts)
    ]
    prompted = {"prompts": {"document": encoder.prompt}, "default_prompt_name": "document"}
    trained = {"nf4": is_nf4(encoder.model), "dim": encoder.dim, "long": encoder.long}
    for file, content in (
        ("modules.json", modules),
        ("1_Pooling/config.json", _pooling_config(encoder)),
        ("sentence_bert_config.json", {"max_seq_length": encoder.max_length}),
        ("config_sentence_transformers.json", prompted if encoder.prompt else {}),
    ):
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    # but for the model card, which is for people, to be written and rewritten
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    written = [path for path in written if path != folder / MODEL_CARD]
    files = {path.relative_to(folder).as_posix(): file_sha256(path) for path in written}
    whole = sealed(trained | {"card": card, "files": files})
    (folder / TRAINED).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    (folder / last).mkdir(exist_ok=True)
    (folder / MODEL_CARD).write_text(_model_card(encoder, folder, card, name), encoding="utf-8")


def _pooling_config(encoder: Encoder) -> dict[str, Any]:
    """The flags that every version of sentence-transformers reads, if they can say the order."""
    modes = encoder.pooling.split("+")
    width = {"word_embedding_dimension": encoder.model.config.hidden_size}
    config = width | {flag: mode in modes for flag, mode in POOLING_FLAGS.items()}
    if modes != [mode for mode in POOLING_FLAGS.values() if mode in modes]:
        config = width | {"pooling_mode": [SAVED_NAMES.get(mode, mode) for mode in modes]}
    return config if encoder.include_prompt else config | {"include_prompt": False}


def _model_card(encoder: Encoder, folder: Path, card: dict[str, Any], name: str) -> str:
    adapter = (folder / "adapter_config.json").exists()
    what = "A PEFT adapter for" if adapter else "A fine-tuning of"
    cut = encoder.dim < encoder.width
    loading = f"""from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}"{f", truncate_dim={encoder.dim}" if cut else ""})
E = model.encode(texts{", normalize_embeddings=True" if cut else ""})
"""
    if adapter:
        loading += f"""
# or with PEFT alone
from peft import PeftModel
from transformers import AutoModel

model = PeftModel.from_pretrained(AutoModel.from_pretrained("{encoder.model_id}"), "{name}")
"""
    rows = "\n".join(f"| {name} | {value} |" for name, value in card.items())
    head = {"base_model": encoder.model_id, "library_name": "peft" if adapter else "transformers"}
    front = "\n".join(f"{key}: {value}" for key, value in head.items())
    return f"""---
{front}
pipeline_tag: feature-extraction
---

# {name}

{what} {encoder.model_id}, made by jaxrec from who liked what.
Pooling: {encoder.pooling}; embeddings of unit length, {encoder.dim} dimensions; padding on the
{encoder.tokenizer.padding_side}; prompt before every text: {encoder.prompt!r}.

```python
{loading}```

| | |
|---|---|
{rows}
"""


def prove(
    folders: list[Path],
    texts: list[str],
    fold: NDArray[np.integer],
    E: NDArray[np.float32],
    base: NDArray[np.float32],
    exact: bool,
) -> None:
    """Load what was saved in a fresh process: it must embed as in memory, and not as the base does.

    Args:
        folders: a saved encoder for each fold.
        texts: [items] what was embedded.
        fold: [items] which of several encoders embeds an item; -1 where none does alone.
        E: [items, dim] embeddings as trained.
        base: [items, dim] of the base model.
        exact: were they computed in float32?

    Raises:
        RuntimeError: the saved encoder gives other embeddings, or the base model's.
    """
    for number, folder in enumerate(folders):
        own = fold == number if len(folders) > 1 else np.ones(len(E), bool)
        items = np.flatnonzero(own)[:SAMPLE]
        again = _embedded_elsewhere(folder, [texts[item] for item in items])
        moved = float(np.linalg.norm(E[items] - base[items], axis=1).mean())
        gap = float(np.linalg.norm(again - E[items], axis=1).mean())
        if moved < (EXACT_NOISE if exact else NOISE):
            raise RuntimeError(
                f"{folder.name}: training changed nothing (embeddings moved by {moved:.2g}); raise"
                " --rate or --epochs"
            )
        if gap > (EXACT_NOISE if exact else AWAY * moved):
            raise RuntimeError(
                f"{folder.name}: what was saved gives other embeddings than what was trained (by"
                f" {gap:.2g}, training moved them by {moved:.2g})"
            )


def _embedded_elsewhere(folder: Path, texts: list[str]) -> NDArray[np.float32]:
    with tempfile.TemporaryDirectory() as scratch:
        asked, out = Path(scratch) / "texts.json", Path(scratch) / "E.npy"
        asked.write_text(json.dumps(texts), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "torch_embed.encoding.saved",
            str(folder),
            str(asked),
            str(out),
        ]
        alone = {name: value for name, value in os.environ.items() if name not in LAUNCHED}
        done = subprocess.run(command, capture_output=True, text=True, env=alone)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise RuntimeError(f"{folder}: what was saved cannot be loaded ({reason})")
        return np.load(out)


def _main(folder: str, asked: str, out: str) -> None:
    from torch_embed.encoding.encode import encode
    from torch_embed.encoding.encoder import load_encoder

    torch.set_grad_enabled(False)
    texts = json.loads(Path(asked).read_text(encoding="utf-8"))
    np.save(out, encode(load_encoder(folder), texts))


if __name__ == "__main__":
    _main(*sys.argv[1:])
