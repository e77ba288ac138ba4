"""The published rows. Run: python benchmarks/evaluation.py MEASURE [--run DIR]

Needs a run folder that `jaxrec run` has made on ml-latest-small.

| measure         | what                                                                          |
|-----------------|-------------------------------------------------------------------------------|
| published-rows  | hits and metrics of both rows beside the published ones                       |
| published-speed | seconds to evaluate both rows (scores, fusion, top-25, metrics; compiled),    |
|                 | beside the published loop's time on its authors' machine                      |
| popularity      | hits of a list of the films liked most often in train, beside the MF row      |
"""

import statistics
from collections.abc import Callable
from pathlib import Path

import click
import jax.numpy as jnp
import numpy as np
from harness import report, seconds
from jax import Array
from jax.tree_util import Partial

from jaxrec.evaluation import evaluate
from jaxrec.protocol import evaluation_task
from jaxrec.run_folder import RunFolder, open_run
from jaxrec.scorers import content_profiles, hybrid_scorer, mf_scorer
from jaxrec.steps import PUBLISHED_FUSION, score_card

PUBLISHED = {"mf": (739, 0.049, 0.088, 0.277), "mf+minilm": (712, 0.048, 0.091, 0.278)}
PUBLISHED_SECONDS = 6.9 + 55


def published_rows(run: RunFolder) -> None:
    rows = {row["name"]: row for row in score_card(run)["rows"]}
    for name, published in PUBLISHED.items():
        metrics = rows[name]["metrics"]
        shown = ("precision@25", "recall@25", "ndcg_retrieved@25")
        figures = ", ".join(
            f"{metric} {metrics[metric]:.4f} ({figure})"
            for metric, figure in zip(shown, published[1:], strict=True)
        )
        print(f"{name}: {rows[name]['hits']} hits ({published[0]}), {figures}")
    hits = sum(rows[name]["hits"] for name in PUBLISHED)
    report("published-rows", hits, sum(row[0] for row in PUBLISHED.values()), "published", "hits")


def published_speed(run: RunFolder) -> None:
    task = evaluation_task(run.dataset, run.protocol)
    train = run.dataset.ratings.at(run.protocol.split.train)
    factors, _ = run.read_factors("mf")
    E = run.read_embeddings("minilm").E

    def both_rows() -> None:
        evaluate(mf_scorer(factors), task)
        profiles = content_profiles("published", train, E, run.dataset.users)
        alpha = PUBLISHED_FUSION.alpha
        assert alpha is not None
        evaluate(hybrid_scorer("published", factors, profiles, E, task.catalogue, alpha), task)

    print(f"first call, with compilation: {seconds(both_rows):.2f} s")
    spent = [seconds(both_rows) for _ in range(5)]
    report(
        "published-speed",
        statistics.median(spent),
        PUBLISHED_SECONDS,
        "published loop, as printed by its authors",
        "s",
    )


def most_liked(counts: Array, users: Array, candidates: Array) -> Array:
    return jnp.broadcast_to(counts, candidates.shape)


def popularity(run: RunFolder) -> None:
    train = run.dataset.ratings.at(run.protocol.split.train)
    counts = np.bincount(train.liked.items, minlength=run.dataset.items)
    scorer = Partial(most_liked, jnp.asarray(counts, jnp.float32))
    task = evaluation_task(run.dataset, run.protocol)
    mf = evaluate(mf_scorer(run.read_factors("mf")[0]), task)
    report("popularity", evaluate(scorer, task).hits, mf.hits, "MF only", "hits")


MEASURES: dict[str, Callable[[RunFolder], None]] = {
    "published-rows": published_rows,
    "published-speed": published_speed,
    "popularity": popularity,
}


@click.command()
@click.argument("measure", type=click.Choice(list(MEASURES)))
@click.option("--run", "path", type=click.Path(path_type=Path), default=Path("jaxrec-run"))
def main(measure: str, path: Path) -> None:
    MEASURES[measure](open_run(path))


if __name__ == "__main__":
    main()
