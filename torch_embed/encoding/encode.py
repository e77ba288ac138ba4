"""Encodes texts in batches of similar length, and checks the encoder before trusting it.

A text that is longer than the encoder reads is cut, or read in windows whose embeddings are
averaged: `Encoder.long` says which. A plain BERT on a CPU computes without padding (`bert`), a
batch a core; every other encoder is transformers' own, batch after batch.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from torch_embed import bert, processes
from torch_embed.encoding.encoder import Encoder
from torch_embed.encoding.pooling import pool
from torch_embed.errors import InputError
from torch_embed.files import read_encoded, read_texts, text_hash, write_embeddings

BATCH_TOKENS = 2048
"""Padded tokens per batch; of 1,024 to 8,192 the fastest on two cores."""

LONG = ("cut", "mean")
"""What becomes of long texts: only their beginning is read, or the mean of windows."""

PACKED_TOKENS = 1024
"""Tokens of a batch without padding: a core's share of the cache."""

SAMPLED = 4
"""Batches that tell how long all will take."""

TOLERANCE = {"float32": 1e-4, "int8": 1e-1}
"""By how much an entry of an embedding may depend on the batch; else 0.03."""

OnBatch = Callable[[float], None]
"""Called after each batch with its work, in texts of mean length: of n texts, n in all."""


class Windows(NamedTuple):
    """What the encoder reads of some texts, at least one window of each, in their order."""

    tokens: list[list[int]]
    """Token ids of each window, prompt and special tokens included."""
    text: NDArray[np.int64]
    """[windows] of which text."""
    weight: NDArray[np.float32]
    """[windows] how many tokens it has of the text itself."""


def encode(
    encoder: Encoder, texts: list[str], on_batch: OnBatch = lambda texts: None
) -> NDArray[np.float32]:
    """[len(texts), dim] unit embeddings, in the order of `texts`; equal ones are encoded once.

    Texts are sorted by tokens, so that a batch holds hardly any padding.
    """
    different = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    windows = _windows(encoder, list(different), every=encoder.long == "mean")
    first = np.diff(windows.text, prepend=-1) > 0
    E = np.zeros((len(first), encoder.dim), np.float32)
    place, size = processes.place()
    plan = _plan(encoder, [len(ids) for ids in windows.tokens])[place::size]
    work = [sum(len(windows.tokens[i]) for i in batch) for batch in plan]
    encoded = _encode_all(encoder, [[windows.tokens[i] for i in batch] for batch in plan])
    for batch, rows, tokens in zip(plan, encoded, work, strict=True):
        E[batch] = rows
        on_batch(len(texts) * tokens / sum(work))
    if size > 1:
        E = processes.sum_over(torch.from_numpy(E).to(encoder.model.device)).cpu().numpy()
    return _of_texts(E, windows, first)[[different[text] for text in texts]]


def _of_texts(
    E: NDArray[np.float32], windows: Windows, first: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """[texts, dim] of windows' [windows, dim]: their mean by tokens of the text, of unit length."""
    whole = E[first]
    several = np.bincount(windows.text) > 1
    if several.any():
        sums = np.zeros_like(whole)
        np.add.at(sums, windows.text, windows.weight[:, None] * E)
        lengths = np.linalg.norm(sums[several], axis=1, keepdims=True)
        whole[several] = sums[several] / lengths
    return whole


def tokenize(encoder: Encoder, texts: list[str], most: int | None = None) -> list[list[int]]:
    """Token ids of each text, prompt and special tokens included.

    They are cut at the model's length, or at `most` beside the prompt.
    """
    return _windows(encoder, texts, every=False, most=most).tokens


def token_counts(encoder: Encoder, texts: list[str]) -> list[int]:
    """How many tokens each text has, prompt and special tokens included, uncut."""
    return [len(ids) for ids in _uncut(encoder, texts)]


def _uncut(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    prompted = [encoder.prompt + text for text in texts]
    return encoder.tokenizer(prompted, return_attention_mask=False)["input_ids"]


def _windows(encoder: Encoder, texts: list[str], every: bool, most: int | None = None) -> Windows:
    """All windows of the texts, or only each text's first.

    A window is what stands before the text (special tokens and the prompt), consecutive tokens
    of the text, and the special tokens after it.
    """
    opening, before, after = _frame(encoder)
    tokens: list[list[int]] = []
    of_text, weight = [], []
    for text, ids in enumerate(_uncut(encoder, texts)):
        end = len(ids) - after
        start = min(_in_common(opening, ids), end)
        length = min(encoder.max_length, (most or encoder.max_length) + start - before)
        room = length - start - after
        if room < 1:
            raise InputError(
                f"{encoder.model_id}: of {length} tokens the prompt leaves none to the texts; give"
                " a shorter --prompt"
            )
        for at in range(start, max(end, start + 1), room) if every else (start,):
            part = ids[at : min(at + room, end)]
            tokens.append([*ids[:start], *part, *ids[end:]])
            of_text.append(text)
            weight.append(len(part))
    return Windows(tokens, np.array(of_text, np.int64), np.array(weight, np.float32))


def _frame(encoder: Encoder) -> tuple[list[int], int, int]:
    """What every text begins with, and how many special tokens stand before and after it."""
    probe = encoder.tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
    before, after = probe.index(0), probe[::-1].index(0)
    (prompt,) = _uncut(encoder, [""])
    return prompt[: len(prompt) - after], before, after


def _in_common(opening: list[int], ids: list[int]) -> int:
    """How many tokens of the opening a text has: its first may have joined the prompt's last."""
    differ = (i for i, (a, b) in enumerate(zip(opening, ids, strict=False)) if a != b)
    return next(differ, min(len(opening), len(ids)))


def batches(lengths: list[int], most: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Positions in batches of at most `most` padded tokens, longest texts first."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, most // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def _plan(encoder: Encoder, lengths: list[int]) -> list[list[int]]:
    """Batches as `_encode_all` computes them best: so many that no core waits, if there can be."""
    if not bert.is_plain(encoder.model):
        return list(batches(lengths))
    a_core = sum(lengths) // torch.get_num_threads()
    return list(batches(lengths, max(PACKED_TOKENS // 8, min(PACKED_TOKENS, a_core))))


def _encode_all(encoder: Encoder, batches: list[list[list[int]]]) -> Iterator[NDArray[np.float32]]:
    """[texts, dim] of each batch, in order; those of a plain BERT a core each."""
    if not bert.is_plain(encoder.model):
        yield from (_encode_batch(encoder, batch) for batch in batches)
        return
    weights, cores = bert.read(encoder.model, encoder.int8), torch.get_num_threads()
    packed = partial(_encode_packed, encoder, weights)
    if min(len(batches), cores) < 2:
        yield from map(packed, batches)
        return
    try:  # products of one batch by several cores would wait for each other after each layer
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(packed, batches)
    finally:
        torch.set_num_threads(cores)  # of threads yet to come


@torch.inference_mode()
def _encode_batch(encoder: Encoder, tokens: list[list[int]]) -> NDArray[np.float32]:
    return embed(encoder, tokens).cpu().numpy()


@torch.inference_mode()
def _encode_packed(
    encoder: Encoder, weights: bert.Bert, tokens: list[list[int]]
) -> NDArray[np.float32]:
    lengths = [len(ids) for ids in tokens]
    hidden = pad_sequence(list(bert.forward(weights, tokens).split(lengths)), batch_first=True)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return _pooled(encoder, hidden, mask).numpy()


def embed(encoder: Encoder, tokens: list[list[int]], bfloat16: bool = False) -> torch.Tensor:
    """[texts, dim] unit embeddings of one batch: pooled, through the layers, cut to `dim`, scaled.

    Sentence-transformers' `truncate_dim` cuts there too, after all modules.

    Args:
        encoder: with gradients, if they are on.
        tokens: ids of each text.
        bfloat16: compute the transformer in bfloat16 where that is safe (autocast).
    """
    device = encoder.model.device
    padded = encoder.tokenizer.pad({"input_ids": tokens}, return_tensors="pt").to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        hidden = encoder.model(**padded).last_hidden_state
    return _pooled(encoder, hidden, padded["attention_mask"])


def _pooled(encoder: Encoder, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    skip = 0 if encoder.include_prompt or not encoder.prompt else len(_frame(encoder)[0])
    pooled = pool(hidden.float(), mask, encoder.pooling, skip)
    return torch.nn.functional.normalize(encoder.layers(pooled)[:, : encoder.dim], dim=-1)


def check(encoder: Encoder, texts: list[str]) -> None:
    """Refuse an encoder whose embeddings depend on the batch, are not finite or not of norm 1.

    The wrong padding side is the commonest silent error of embedding code, and a batch of one
    hides it: so texts of different lengths are encoded together by transformers and one by one as
    `encode` does it.

    Raises:
        InputError: the check failed.
    """
    ranked = sorted(tokenize(encoder, texts), key=len)
    sample = [ranked[round(q * (len(ranked) - 1) / 4)] for q in range(5)]
    together = _encode_batch(encoder, sample)
    alone = np.concatenate(list(_encode_all(encoder, [[tokens] for tokens in sample])))
    tolerance = TOLERANCE.get(encoder.dtype, 3e-2)
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
    """How long `encode` will take, from some batches of its plan, long texts and short ones."""
    start = time.perf_counter()
    tokens = _windows(encoder, list(dict.fromkeys(texts)), every=encoder.long == "mean").tokens
    reading = time.perf_counter() - start
    plan = [[tokens[i] for i in batch] for batch in _plan(encoder, [len(ids) for ids in tokens])]
    some = [plan[round(q * (len(plan) - 1) / (SAMPLED - 1))] for q in range(SAMPLED)]
    list(_encode_all(encoder, some[:1]))  # the first call allocates
    start = time.perf_counter()
    list(_encode_all(encoder, some))
    seconds_per_token = (time.perf_counter() - start) / sum(len(ids) for b in some for ids in b)
    return reading + seconds_per_token * sum(map(len, tokens))


def expected_time(encoder: Encoder, texts_path: Path, reuse: Sequence[Path] = ()) -> float | None:
    """Seconds that `embed_file` will take on a CPU, about; None where there is little to do."""
    if encoder.model.device.type != "cpu" or any(made.exists() for made in reuse):
        return None
    return estimate_seconds(encoder, read_texts(texts_path).texts)


def too_long(encoder: Encoder, texts: list[str]) -> dict[str, int]:
    """For the card: how many texts are longer than the encoder reads, and the longest's tokens."""
    counts = token_counts(encoder, texts)
    return {
        "too_long": sum(count > encoder.max_length for count in counts),
        "longest": max(counts, default=0),
    }


def in_words(card: dict[str, Any]) -> str:
    """What was embedded and what became of long texts, by the card of embeddings."""
    what = f"embeddings of {card['dim']} dimensions"
    many, items, reads = card["too_long"], f"{card['items']:,}", f"{card['max_length']:,}"
    if not many:
        return what
    longest = f"the longest has {card['longest']:,} tokens"
    if card["long"] == "mean":
        how = f"were read in windows of {reads} tokens: {longest}"
    else:
        how = (
            f"were cut: {longest}, the encoder reads {reads}; --long mean reads all of them in"
            " windows"
        )
    return f"{what}; {many:,} of {items} texts {how}"


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
        InputError: the texts cannot be read, or the encoder fails `check`, or the folder of `out`
            vanishes.
    """
    read = read_texts(texts_path)
    out.parent.mkdir(parents=True, exist_ok=True)
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
    card = (
        encoder.card()
        | too_long(encoder, read.texts)
        | {
            "dim": E.shape[1],
            "data": read.data,
            "items": len(read.texts),
            "texts_sha256": read.sha256,
        }
    )
    if processes.is_first():
        write_embeddings(out, read, E, card)
    processes.wait()
    return card
