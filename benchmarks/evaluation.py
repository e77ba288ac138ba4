"""Rows of the score card. Run: python benchmarks/evaluation.py MEASURE [--run DIR]

Needs a run folder that `jaxrec run` has made on ml-latest-small, for the published measures with
`--protocol published`.

| measure         | what                                                                          |
|-----------------|-------------------------------------------------------------------------------|
| published-rows  | hits and metrics of both rows beside the published ones                       |
| published-speed | seconds to evaluate both rows (scores, fusion, top-25, metrics; compiled),    |
|                 | beside the published loop's time on its authors' machine                      |
| finetuned       | P@25 and NDCG@25 of `hybrid` beside itself without the fine-tuned embeddings, |
|                 | in DIR or in all run folders in it; what was tuned there holds for both       |
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory

import click
import polars as pl
from harness import report, seconds

from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.significance import against
from jaxrec.evaluation.task import evaluation_task
from jaxrec.experiment.folder import open_run
from jaxrec.experiment.scoring import PUBLISHED_FUSION, score_card
from jaxrec.fusion.published import content_profiles, published_fusion
from jaxrec.topk.scorer import product

PUBLISHED = {"mf": (739, 0.049, 0.088, 0.277), "mf+minilm": (712, 0.048, 0.091, 0.278)}
PUBLISHED_SECONDS = 6.9 + 55


@contextmanager
def copy_of(path: Path, *without: str) -> Iterator[Path]:
    """A run folder to measure in, so that score cards stay what their owner made."""
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / "run"
        yield Path(copytree(path, copy, ignore=ignore_patterns(*without, "training", "encoders")))


def published_rows(path: Path) -> None:
    with copy_of(path) as copy:
        card = score_card(open_run(copy), only=tuple(PUBLISHED))
    for name, published in PUBLISHED.items():
        row = card.measured[name]
        shown = ("precision@25", "recall@25", "ndcg_retrieved@25")
        figures = ", ".join(
            f"{metric} {row.figures.metrics[metric]:.4f} ({figure})"
            for metric, figure in zip(shown, published[1:], strict=True)
        )
        print(f"{name}: {row.hits} hits ({published[0]}), {figures}")
    hits = sum(card.measured[name].hits for name in PUBLISHED)
    report("published-rows", hits, sum(row[0] for row in PUBLISHED.values()), "published", "hits")


def published_speed(path: Path) -> None:
    run = open_run(path)
    task = evaluation_task(run.dataset, run.protocol)
    train = run.dataset.interactions.at(run.protocol.split.train)
    factors, _ = run.read_factors("mf")
    E = run.read_embeddings("minilm").E

    def both_rows() -> None:
        evaluate(product(*factors), task)
        profiles = content_profiles("published", train, run.dataset.feedback, E, run.dataset.users)
        alpha = PUBLISHED_FUSION.alpha
        assert alpha is not None
        evaluate(published_fusion("published", factors, profiles, E, task.catalogue, alpha), task)

    print(f"first call, with compilation: {seconds(both_rows):.2f} s")
    spent = [seconds(both_rows) for _ in range(5)]
    report(
        "published-speed",
        statistics.median(spent),
        PUBLISHED_SECONDS,
        "published loop, as printed by its authors",
        "s",
    )


def finetuned(path: Path) -> None:
    cards = sorted([*path.glob("experiment.json"), *path.glob("*/experiment.json")])
    parts = []
    for folder in (card.parent for card in cards):
        if not list(folder.glob("embeddings/**/*-ft.safetensors")):
            raise click.UsageError(f"no fine-tuned embeddings in {folder}")
        for name, without in (("hybrid", "content.json"), ("base", "*-ft*")):
            with copy_of(folder, without) as copy:
                row = score_card(open_run(copy), only=("hybrid",)).measured["hybrid"]
                print(f"{folder.name} {name}: P@25 {row.figures.metrics['precision@25']:.4f}")
                table = pl.read_parquet(copy / "per_user.parquet")
                parts.append(table.with_columns(row=pl.lit(name)).fill_nan(None))
    users = pl.concat(parts).group_by("row", "user_id").mean().sort("user_id")
    for metric in ("precision@25", "ndcg@25"):
        per_user = {
            row: users.filter(pl.col("row") == row)[metric].to_numpy()[None, :, None]
            for row in ("hybrid", "base")
        }
        found = against(per_user, [metric])[metric]["base"]
        ours, theirs = (float(figures.mean()) for figures in per_user.values())
        print(f"{metric}: {found.relative:+z.1%} (users averaged), p {found.p_holm:.4f}")
        report(f"finetuned {metric}", ours, theirs, "base embeddings", metric)


MEASURES: dict[str, Callable[[Path], None]] = {
    "published-rows": published_rows,
    "published-speed": published_speed,
    "finetuned": finetuned,
}


@click.command()
@click.argument("measure", type=click.Choice(list(MEASURES)))
@click.option("--run", "path", type=click.Path(path_type=Path), default=Path("jaxrec-run"))
def main(measure: str, path: Path) -> None:
    MEASURES[measure](path)


if __name__ == "__main__":
    main()
