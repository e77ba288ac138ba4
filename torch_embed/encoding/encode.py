"""Encodes texts in batches of similar length, and checks the encoder before trusting it."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torch_embed import processes
from torch_embed.encoding.encoder import Encoder
from torch_embed.errors import InputError
from torch_embed.files import read_encoded, read_texts, text_hash, write_embeddings

BATCH_TOKENS = 2048
"""Padded tokens per batch; of 1,024 to 8,192 the fastest on two cores."""

OnBatch = Callable[[int], None]
"""Called after each batch with its number of texts."""


def encode(
    encoder: Encoder, texts: list[str], on_batch: OnBatch = lambda texts: None
) -> NDArray[np.float32]:
    """[len(texts), dim] unit embeddings, in the order of `texts`.

    Texts are sorted by tokens, so that a batch holds hardly any padding.
    """
    tokens = tokenize(encoder, texts)
    E = np.zeros((len(texts), encoder.dim), np.float32)
    place, size = processes.place()
    for number, batch in enumerate(batches([len(ids) for ids in tokens])):
        if number % size == place:
            E[batch] = _encode_batch(encoder, [tokens[i] for i in batch])
        on_batch(len(batch))
    if size > 1:
        E = processes.sum_over(torch.from_numpy(E).to(encoder.model.device)).cpu().numpy()
    return E


def tokenize(encoder: Encoder, texts: list[str], most: int | None = None) -> list[list[int]]:
    """Token ids of each text, cut at `most` or the model's length, special tokens included."""
    length = min(encoder.max_length, most or encoder.max_length)
    return encoder.tokenizer(
        texts, truncation=True, max_length=length, return_attention_mask=False
    )["input_ids"]


def batches(lengths: list[int], most: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Positions in batches of at most `most` padded tokens, longest texts first."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, most // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


@torch.inference_mode()
def _encode_batch(encoder: Encoder, tokens: list[list[int]]) -> NDArray[np.float32]:
    padded = encoder.tokenizer.pad({"input_ids": tokens}, return_tensors="pt")
    padded = padded.to(encoder.model.device)
    hidden = encoder.model(**padded).last_hidden_state
    pooled = pool(hidden.float(), padded["attention_mask"], encoder.pooling)
    return torch.nn.functional.normalize(pooled[:, : encoder.dim], dim=-1).cpu().numpy()


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Reduce [texts, tokens, dim] to [texts, dim]; `mask` [texts, tokens] is 1 on real tokens.

    `last` expects padding on the left.
    """
    if pooling == "mean":
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1)
    return hidden[:, -1] if pooling == "last" else hidden[:, 0]


def check(encoder: Encoder, texts: list[str]) -> None:
    """Refuse an encoder whose embeddings depend on the batch, are not finite or not of norm 1.

    The wrong padding side is the commonest silent error of embedding code, and a batch of one
    hides it: so texts of different lengths are encoded together and one by one.

    Raises:
        InputError: the check failed.
    """
    ranked = sorted(tokenize(encoder, texts), key=len)
    sample = [ranked[round(q * (len(ranked) - 1) / 4)] for q in range(5)]
    together = _encode_batch(encoder, sample)
    alone = np.concatenate([_encode_batch(encoder, [tokens]) for tokens in sample])
    tolerance = 1e-4 if encoder.model.dtype == torch.float32 else 3e-2
    if not np.isfinite(together).all():
        raise InputError(f"{encoder.model_id}: embeddings are not finite; try another dtype")
    if np.abs(np.linalg.norm(together, axis=1) - 1).max() > 1e-3:
        raise InputError(f"{encoder.model_id}: embeddings are not of unit length")
    if (gap := np.abs(together - alone).max()) > tolerance:
        raise InputError(
            f"{encoder.model_id}: a text's embedding depends on its batch (by {gap:.2g}); is the"
            f" padding side {encoder.tokenizer.padding_side!r} right for {encoder.pooling} pooling?"
        )


def estimate_seconds(encoder: Encoder, texts: list[str]) -> float:
    """How long `encode` will take, from the middle batch of its plan."""
    tokens = tokenize(encoder, texts)
    plan = list(batches([len(ids) for ids in tokens]))
    middle = [tokens[i] for i in plan[len(plan) // 2]]
    _encode_batch(encoder, middle)  # the first call allocates
    start = time.perf_counter()
    _encode_batch(encoder, middle)
    seconds_per_token = (time.perf_counter() - start) / sum(map(len, middle))
    return seconds_per_token * sum(map(len, tokens))


def expected_time(encoder: Encoder, texts_path: Path, reuse: Sequence[Path] = ()) -> str | None:
    """In words, how long `embed_file` will take on a CPU; None where there is little to do."""
    if encoder.model.device.type != "cpu" or any(made.exists() for made in reuse):
        return None
    return f"about {estimate_seconds(encoder, read_texts(texts_path).texts):.0f} s on this CPU"


def embed_file(
    encoder: Encoder,
    texts_path: Path,
    out: Path,
    on_batch: OnBatch = lambda texts: None,
    reuse: Sequence[Path] = (),
) -> dict[str, Any]:
    """Check the encoder, encode a file of texts into a file of embeddings, return its card.

    Args:
        encoder: what encodes.
        texts_path: the texts.
        out: where the embeddings go.
        on_batch: told of the texts done.
        reuse: files of embeddings; a text that the same encoder has embedded in one of them is not
            encoded again.

    Raises:
        InputError: the texts cannot be read, or the encoder fails `check`.
    """
    read = read_texts(texts_path)
    check(encoder, read.texts)
    there: dict[bytes, NDArray[np.float32]] = {}
    for path in reuse:
        there |= read_encoded(path, encoder.card())
    new = sorted({text for text in read.texts if text_hash(text) not in there})
    on_batch(len(read.texts) - len(new))
    if new:
        encoded = encode(encoder, new, on_batch)
        there |= {text_hash(text): row for text, row in zip(new, encoded, strict=True)}
    E = np.stack([there[text_hash(text)] for text in read.texts])
    card = encoder.card() | {
        "dim": E.shape[1],
        "data": read.data,
        "items": len(read.texts),
        "texts_sha256": read.sha256,
    }
    if processes.is_first():
        write_embeddings(out, read, E, card)
    processes.wait()
    return card
