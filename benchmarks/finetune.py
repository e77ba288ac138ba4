"""What each loss is worth, on warm and on cold items. Run: python benchmarks/finetune.py LOSS

MiniLM, ml-latest-small, seed 1, by the preset `best` but for the loss; the rows `text` and
`pmf+text` with fine-tuned embeddings beside the same rows with those of the base model. Needs the
`embed` extra. Ends in a line of JSON for each row: P@25, ratio to the base, seconds of training.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from harness import report
from numpy.typing import NDArray

from jaxrec.border.lesson import LessonSettings
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.task import evaluation_task
from jaxrec.experiment.choices import evidence, settings_of, validation_ndcg
from jaxrec.experiment.fitting import write_lesson
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.models.registry import fit
from torch_embed.encoding.adapters import trainable
from torch_embed.encoding.encode import encode
from torch_embed.encoding.encoder import load_encoder
from torch_embed.training.finetune import finetune
from torch_embed.training.lesson import read_lesson
from torch_embed.training.recipe import BEST, LOSSES, PAIRS_OF


def precision(run: RunFolder, row: str, E: NDArray[np.float32]) -> float:
    model = fit(row, evidence(run, run.protocol.split)._replace(E=E), settings_of(run, row))
    return evaluate(model, evaluation_task(run.dataset, run.protocol)).metrics["precision@25"]


@click.command()
@click.argument("loss", type=click.Choice(LOSSES))
@click.option("--protocol", type=click.Choice(["strict", "cold-items"]), default="strict")
@click.option("--epochs", default=BEST.settings.epochs, show_default=True)
@click.option("--folds", default=BEST.folds, show_default=True)
@click.option("--tag-dropout", default=BEST.settings.tag_dropout, show_default=True)
@click.option("--pairs", default=BEST.per_user, show_default=True, help="Of a user.")
def main(loss: str, protocol: str, epochs: int, folds: int, tag_dropout: float, pairs: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run, data = open_run(Path(scratch) / "run", None, protocol, seed=1), Path(scratch) / "data"
        wanted = LessonSettings(PAIRS_OF[loss], pairs, BEST.popularity, folds)
        blind = write_lesson(run, data, "honest", wanted).get("blind", {})
        base = encode(load_encoder("minilm"), run.texts("honest"))
        start = time.perf_counter()
        found = finetune(
            trainable(load_encoder("minilm"), None),
            read_lesson(data),
            replace(BEST.settings, loss=loss, epochs=epochs, tag_dropout=tag_dropout),
            Path(scratch) / "checkpoints",
            folds,
            lambda read: validation_ndcg(run, lambda split: read(blind.get(split.sha256()))),
        )
        spent = time.perf_counter() - start
        print(f"{loss}: best epoch {found.epoch}, {spent:.0f} s, {found.history}")
        for row in ("text", "pmf+text"):
            ours, theirs = (precision(run, row, E) for E in (found.E, base))
            report(f"{protocol} {loss} {row}", ours, theirs, "base embeddings", "P@25")


if __name__ == "__main__":
    main()
