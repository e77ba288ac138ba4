"""A Qwen3 with random weights, NF4 + LoRA, beside sentence-transformers + PEFT, in one run.

Run: python benchmarks/qwen3.py MEASURE [--size SIZE]. A GPU is wanted for 4b; `tiny` runs anywhere
and shows that the benchmark works. Each side has a model of its own from the same files, and the
published settings: 16 pairs a step, rank 16 on q_proj and v_proj, InfoNCE at scale 20.

| measure     | what                                                               |
|-------------|--------------------------------------------------------------------|
| training-64 | tokens/s of training steps, texts of 64 tokens                      |
| training-256 | the same at 256 tokens                                              |
| encoding-64 | tokens/s of encoding                                               |
| encoding-256 | the same at 256 tokens                                              |
"""

import gc
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from harness import report
from peft import LoraConfig, TaskType
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses, modules
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, PreTrainedTokenizerFast, Qwen3Config

from torch_embed.encoding.adapters import Lora, trainable
from torch_embed.encoding.encode import encode
from torch_embed.encoding.encoder import default_device, load_encoder
from torch_embed.encoding.nf4 import quantisation
from torch_embed.encoding.shapes import QWEN3, SHARED
from torch_embed.hub import silence
from torch_embed.training.finetune import Progress, finetune
from torch_embed.training.lesson import NONE, Lesson, Pairs
from torch_embed.training.recipe import PUBLISHED

TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2} | {
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16
}  # fmt: skip
SIZES = {"tiny": TINY} | {name.removeprefix("qwen3-"): shape for name, shape in QWEN3.items()}
BATCH, STEPS, WARM = 16, 12, 3


def build(size: str, folder: Path) -> None:
    """Random weights and a tokenizer whose words are numbers, one token each."""
    shape = SHARED | SIZES[size] | ({"vocab_size": 4096} if size == "tiny" else {})
    config = Qwen3Config(**shape)
    torch.manual_seed(0)
    with torch.device(default_device()):
        AutoModel.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    vocabulary = {"[PAD]": 0, "[END]": 1} | {str(n): n for n in range(2, 4096)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [END]", special_tokens=[("[END]", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", padding_side="left", model_max_length=512
    ).save_pretrained(folder)


def texts(count: int, tokens: int) -> list[str]:
    words = np.random.default_rng(0).integers(2, 4096, (count, tokens - 1))
    return [" ".join(map(str, row)) for row in words]


def our_training(folder: str, tokens: int, scratch: Path) -> list[float]:
    """Seconds of each step."""
    n = BATCH * STEPS
    pairs = Pairs(
        np.zeros(n, np.int64),
        np.arange(n),
        np.arange(n)[:, None],
        n + np.arange(n),
        np.full(n, NONE),
        set(),
    )
    own = texts(2 * n, tokens)
    of_no_fold, card = np.full(2 * n, -1), {"kind": "liked"}
    lesson = Lesson(own, own, of_no_fold, pairs, None, card)
    settings = replace(
        PUBLISHED.settings, epochs=1, max_tokens=tokens, bfloat16=True, checkpoint_every=10**6
    )
    encoder = trainable(load_encoder(folder, nf4=True), Lora())
    stamps: list[float] = []

    def on_step(progress: Progress) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            if progress.step == WARM:
                torch.cuda.reset_peak_memory_stats()
        stamps.append(time.perf_counter())

    finetune(encoder, lesson, settings, scratch, on_step=on_step)
    return np.diff(stamps)[WARM - 1 :].tolist()


def their_model(folder: str, tokens: int) -> SentenceTransformer:
    transformer = modules.Transformer(
        folder,
        max_seq_length=tokens,
        model_args={"quantization_config": quantisation(), "dtype": torch.bfloat16}
        | {"device_map": default_device()},
    )
    width = transformer.get_word_embedding_dimension()
    pooling = modules.Pooling(width, pooling_mode="lasttoken")
    return SentenceTransformer(
        modules=[transformer, pooling, modules.Normalize()], device=default_device()
    )


def their_training(folder: str, tokens: int) -> list[float]:
    model = their_model(folder, tokens)
    model.add_adapter(
        LoraConfig(
            task_type=TaskType.FEATURE_EXTRACTION,
            r=16,
            lora_alpha=32,
            lora_dropout=0.1,
            target_modules=["q_proj", "v_proj"],
        )
    )
    model.train()
    loss = losses.MultipleNegativesRankingLoss(model, scale=20)
    optimiser = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=2e-5, weight_decay=0.01
    )
    own, spent = texts(2 * BATCH * STEPS, tokens), []
    device = torch.device(default_device())
    for step in range(STEPS):
        if torch.cuda.is_available() and step == WARM:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        halves = (own[(2 * step + half) * BATCH : (2 * step + half + 1) * BATCH] for half in (0, 1))
        features = [
            {name: value.to(device) for name, value in model.tokenize(half).items()
             if isinstance(value, torch.Tensor)}
            for half in halves
        ]  # fmt: skip
        with torch.autocast(device.type, torch.bfloat16):
            value = loss(features, None)
        value.backward()
        optimiser.step()
        optimiser.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return spent[WARM:]


def encoding(work: Any, own: list[str]) -> float:
    work(own[:32])
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    work(own)
    return time.perf_counter() - start


def peak() -> str:
    if not torch.cuda.is_available():
        return "no GPU"
    found = torch.cuda.max_memory_allocated() / 1e9
    gc.collect()
    torch.cuda.empty_cache()
    return f"{found:.2f} GB at the peak"


@click.command()
@click.argument(
    "measure", type=click.Choice(["training-64", "training-256", "encoding-64", "encoding-256"])
)
@click.option("--size", type=click.Choice(list(SIZES)), default="4b", show_default=True)
def main(measure: str, size: str) -> None:
    silence()
    what, tokens = measure.split("-")[0], int(measure.split("-")[1])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        build(size, folder)
        if what == "training":
            ours = float(np.median(our_training(str(folder), tokens, Path(scratch) / "run")))
            print(f"ours: a step {ours:.4f} s, {peak()}")
            theirs = float(np.median(their_training(str(folder), tokens)))
            print(f"sentence-transformers + PEFT: a step {theirs:.4f} s, {peak()}")
            count = 2 * BATCH * tokens
        else:
            own = texts(512 if torch.cuda.is_available() else 64, tokens)
            encoder = load_encoder(str(folder), nf4=True)
            ours = encoding(lambda some: encode(encoder, some), own)
            print(f"ours: {peak()}")
            del encoder
            peer = their_model(str(folder), tokens).eval()
            theirs = encoding(lambda some: peer.encode(some, batch_size=BATCH), own)
            print(f"sentence-transformers: {peak()}")
            count = len(own) * tokens
    report(
        f"qwen3-{size} {measure}",
        count / ours,
        count / theirs,
        "sentence-transformers + PEFT",
        "tokens/s",
    )


if __name__ == "__main__":
    main()
