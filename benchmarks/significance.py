"""How sure a score card of many users is. Run: python benchmarks/significance.py MEASURE

Evaluations are drawn at random: 12 rows, lists of 25, all metrics at 25, every third of the items.
`--users N` takes so many.

| measure   | what                                                                               |
|-----------|------------------------------------------------------------------------------------|
| card      | a million users: seconds for all figures, intervals and p, `hybrid` against every  |
|           | row, and the table of users, beside a bar of a minute; prints the memory taken     |
| intervals | 5,000 users, the fewest whose intervals are by moments: by how much of its width   |
|           | an interval's ends are off those of 10,000 draws, beside those of another seed     |
"""

import resource
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from harness import report, seconds

from jaxrec.evaluation.measure import ITEM_THIRDS, Evaluation, item_thirds
from jaxrec.evaluation.significance import (
    MANY,
    against,
    bootstrap_means,
    interval,
    row_cards,
    spread,
)
from jaxrec.experiment.scoring import _per_user_table

ITEMS, K, ROWS = 26_744, 25, 12
METRICS = ("precision", "recall", "ndcg", "ndcg_retrieved", "mrr", "map", "hit_rate")


def evaluations(users: int) -> dict[str, Evaluation]:
    rng = np.random.default_rng(0)
    thirds = item_thirds((1e7 / (np.arange(ITEMS) + 20)).astype(np.int64))
    here = rng.random((users, 4), dtype=np.float32) < [1, 0.9, 0.6, 0.4]

    def one() -> Evaluation:
        of = {
            f"{metric}@{K}": np.where(
                here, rng.random((users, 4), dtype=np.float32) ** 8, np.float32(np.nan)
            )
            for metric in METRICS
        }
        everything, *parts = (
            {name: values[:, part] for name, values in of.items()} for part in range(4)
        )
        lists = rng.integers(0, ITEMS, (users, K), dtype=np.int32)
        by_third = dict(zip(ITEM_THIRDS, parts, strict=True))
        everyone, nobody = np.arange(users, dtype=np.int32), np.zeros(users, bool)
        return Evaluation(
            everyone, lists, everything, by_third, np.ones(ITEMS, bool), thirds, nobody
        )

    return {row: one() for row in ("pmf", "hybrid", *map(str, range(ROWS - 2)))}


def gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def card(users: int) -> None:
    rows, ids = evaluations(users), np.array([f"user-{user}" for user in range(users)])
    known, before = np.random.default_rng(1).integers(1, 500, users), gigabytes()

    def all_of_it() -> None:
        row_cards(rows, {row: row for row in rows}, known)
        for metric in ("precision", "recall", "ndcg"):
            against({row: found.per_user[f"{metric}@{K}"] for row, found in rows.items()})
        with TemporaryDirectory() as scratch:
            _per_user_table(rows, ids).sink_parquet(Path(scratch) / "per_user.parquet")

    spent = seconds(all_of_it)
    print(f"{before:.2f} GB with the evaluations, {gigabytes():.2f} GB at most")
    report(f"card of {users:,} users", spent, 60.0, "bar", "s")


def intervals(users: int) -> None:
    rng = np.random.default_rng(0)
    often = rng.random((users, K)) < rng.beta(1.2, 8, (users, 1))
    seldom = rng.random((users, K)) < 0.002
    figures = [
        f(hits) for hits in (often, seldom) for f in (lambda x: x.mean(1), lambda x: x.any(1))
    ]
    some = rng.random(users) < 0.3
    values = np.stack([*figures, *(np.where(some, x, np.nan) for x in figures)], axis=1)
    low, high = interval(bootstrap_means(values))
    others = {
        "moments": spread(values).interval(),
        "another seed": interval(bootstrap_means(values, seed=1)),
    }
    off = {name: np.abs(of - [low, high]) / (high - low) for name, of in others.items()}
    for name, by in off.items():
        print(f"{name}: mean {by.mean():.4f}, most {by.max():.4f} of the width")
    means = {name: float(by.mean()) for name, by in off.items()}
    report("intervals", means["moments"], means["another seed"], "another seed", "widths")


@click.command()
@click.argument("measure", type=click.Choice(["card", "intervals"]))
@click.option("--users", type=int)
def main(measure: str, users: int | None) -> None:
    if measure == "card":
        card(users or 1_000_000)
    else:
        intervals(users or MANY)


if __name__ == "__main__":
    main()
