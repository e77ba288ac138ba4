"""What an encoder is worth, on warm and on cold items. Run: python benchmarks/encoders.py MODEL ...

The rows `text`, `pmf+text` and `hybrid` of ml-latest-small by each encoder (short names, hub ids or
folders), of `strict`, seed 42, and of fold 0 of `cold-items`, seed 106. The run folders, one for
each split and encoder, are made in --run; what lies there is kept. Needs the `embed` extra. Prints
a table; its line of JSON compares NDCG@25 of `hybrid` on cold items by the last encoder and the
first.
"""

from pathlib import Path

import click
import polars as pl
from harness import report

from jaxrec.evaluation.card import ScoreCard, read_card
from jaxrec.evaluation.significance import against
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.scoring import results_are_stale, score_card
from torch_embed.encoding.encode import embed_file
from torch_embed.encoding.encoder import load_encoder
from torch_embed.names import names_of

SPLITS = {"warm": ("strict", 42, None), "cold": ("cold-items", 106, 0)}
ROWS = ("text", "pmf+text", "hybrid")
METRICS = ("precision@25", "ndcg@25")


def encode(runs: list[RunFolder], model: str) -> None:
    """Embeddings of each run's texts; what one run has of them is not encoded for the next."""
    name = names_of(model)[0]
    paths = [run.embeddings_path(name) for run in runs]
    if all(path.exists() for path in paths):
        return
    encoder = load_encoder(model)
    for run, path in zip(runs, paths, strict=True):
        run.write_texts("honest")
        if not path.exists():
            embed_file(encoder, run.texts_path("honest"), path, reuse=paths)


def measured(run: RunFolder) -> ScoreCard:
    if run.results_path.exists() and not results_are_stale(run):
        return read_card(run.results_path)
    return score_card(run, only=ROWS)


def p_of(first: RunFolder, last: RunFolder, row: str) -> dict[str, float]:
    """By metric, p over users that a row is the same in both; Holm's over the metrics."""
    both = [
        pl.read_parquet(run.per_user_path).filter(pl.col("row") == row).sort("user_id")
        for run in (last, first)
    ]
    figures = [table.select(METRICS).to_numpy()[None] for table in both]
    found = against(dict(zip(("hybrid", "first"), figures, strict=True)), list(METRICS))
    return {metric: found[metric]["first"].p_holm for metric in METRICS}


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--run", "path", type=click.Path(path_type=Path), default=Path("encoders"))
def main(models: tuple[str, ...], path: Path) -> None:
    runs = {
        model: {
            split: open_run(path / f"{split}-{names_of(model)[0]}", None, protocol, seed, fold=fold)
            for split, (protocol, seed, fold) in SPLITS.items()
        }
        for model in models
    }
    for model in models:
        encode(list(runs[model].values()), model)
    cards = {model: {s: measured(run) for s, run in of.items()} for model, of in runs.items()}
    print("| items | row | encoder | P@25 | NDCG@25 |\n|---|---|---|---|---|")
    for split in SPLITS:
        for row in ROWS:
            for model in models:
                metrics = cards[model][split].measured[row].figures.metrics
                figures = " | ".join(f"{metrics[metric]:.4f}" for metric in METRICS)
                print(f"| {split} | `{row}` | {names_of(model)[0]} | {figures} |")
            if len(models) > 1:
                p = p_of(runs[models[0]][split], runs[models[-1]][split], row)
                print(f"| | | p (Holm) | {' | '.join(f'{p[metric]:.4f}' for metric in METRICS)} |")
    peer, ours = (
        cards[model]["cold"].measured["hybrid"].figures.metrics["ndcg@25"]
        for model in (models[0], models[-1])
    )
    report("encoders", ours, peer, names_of(models[0])[0], "NDCG@25")


if __name__ == "__main__":
    main()
