"""How sure a score card of many users is. Run: python benchmarks/significance.py MEASURE

Evaluations are drawn at random: 12 rows, lists of 25, all metrics at 25, every third of the items.
`--users N` takes so many. What is tested over splits: users, splits and noise have normal effects.

| measure   | what                                                                               |
|-----------|------------------------------------------------------------------------------------|
| card      | a million users: seconds for all figures, intervals and p, `hybrid` against every  |
|           | row, and the table of users, beside a bar of a minute; prints the memory taken     |
| intervals | 5,000 users, the fewest whose intervals are by moments: by how much of its width   |
|           | an interval's ends are off those of 10,000 draws, beside those of another seed     |
| study     | `jaxrec run --seeds 5` of 100,000 users: seconds until the 12 rows are summarised, |
|           | beside a bar of a minute; prints the memory taken                                  |
| level     | the share of 20,000 samples without an effect that is significant at 0.05 and at   |
|           | 0.001, over 3 and 5 splits whose effect is so large: of the rule taken, of those   |
|           | that lost, and the worst of the rule taken beside 0.05                             |
"""

import resource
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from harness import report, seconds
from scipy.special import ndtr, stdtr

from jaxrec.evaluation.card import ScoreCard, write_card
from jaxrec.evaluation.measure import ITEM_THIRDS, Evaluation, item_thirds
from jaxrec.evaluation.significance import (
    COMPARED,
    MANY,
    Crossed,
    against,
    bootstrap_means,
    interval,
    row_cards,
    spread,
)
from jaxrec.experiment.scoring import _per_user_table
from jaxrec.experiment.study import summarise

ITEMS, K, ROWS = 26_744, 25, 12
METRICS = ("precision", "recall", "ndcg", "ndcg_retrieved", "mrr", "map", "hit_rate")


def evaluations(users: int, seed: int = 0) -> dict[str, Evaluation]:
    rng = np.random.default_rng(seed)
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
        names = [f"{metric}@{K}" for metric in COMPARED]
        values = {row: [found.per_user[name] for name in names] for row, found in rows.items()}
        against({row: np.stack(of, axis=1)[None] for row, of in values.items()}, names)
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


def study(users: int) -> None:
    ids = np.array([f"user-{user}" for user in range(users)])
    with TemporaryDirectory() as scratch:
        paths = [Path(scratch) / f"seed-{seed}" for seed in range(5)]
        for seed, path in enumerate(paths):
            path.mkdir()
            rows, known = evaluations(users, seed), np.arange(users)
            _per_user_table(rows, ids).sink_parquet(path / "per_user.parquet")
            cards = tuple(row_cards(rows, {row: row for row in rows}, known))
            protocol = {"protocol": "strict", "data": "drawn", "synthetic": True, "seed": seed}
            write_card(path / "results.json", ScoreCard(protocol, cards, {}))
        del rows, cards
        before = gigabytes()
        spent = seconds(lambda: summarise(paths))
    print(f"{before:.2f} GB before, {gigabytes():.2f} GB at most")
    report(f"study of {users:,} users", spent, 60.0, "bar", "s")


def level(users: int) -> None:
    """Effects of users and splits as shares of the noise of a user's figure in a split."""
    rng, worst = np.random.default_rng(0), 0.0
    effects = [(0, 0), (0.3, 0), (1, 0), (0, 0.05), (0.3, 0.05), (1, 0.15), (0.3, 0.5)]
    for splits, (of_users, of_splits) in product((3, 5), effects):
        share: dict[str, list[float]] = {}
        for _ in range(10):
            shape = splits, users, 2000
            values = rng.normal(size=shape) + of_users * rng.normal(size=(1, *shape[1:]))
            values += of_splits * rng.normal(size=(splits, 1, shape[2]))
            for name, p in rules(values).items():
                share.setdefault(name, []).extend(float(np.mean(p < a)) for a in (0.05, 0.001))
        print(f"{splits} splits, users {of_users}, splits {of_splits} of the noise:")
        for name, found in share.items():
            at = np.mean(np.reshape(found, (-1, 2)), axis=0)
            print(f"  {name}: {at[0]:.4f}, {at[1]:.5f}")
        worst = max(worst, float(np.mean(share["kept"][::2])))
    report("level", worst, 0.05, "nominal level", "share")


def rules(values: np.ndarray) -> dict[str, np.ndarray]:
    """By rule the p [columns] of figures [splits, users, columns]."""
    splits, users, _ = values.shape
    found = Crossed.of(values)
    of_users, of_splits = values.mean(axis=0).var(axis=0, ddof=1) / users, found.splits
    mean, both = np.abs(found.mean), of_users + of_splits
    freedom = both**2 / (of_users**2 / (users - 1) + of_splits**2 / (splits - 1))
    drawn = of_users + of_splits * (splits - 1) / splits
    return {
        "kept": found.p_value(),
        "users drawn alone": 2 * ndtr(-mean / np.sqrt(of_users)),
        "users and splits drawn (Owen 2007)": 2 * ndtr(-mean / np.sqrt(drawn)),
        "Student's t by Satterthwaite": 2 * stdtr(freedom, -mean / np.sqrt(both)),
        "the splits' means alone": 2 * stdtr(splits - 1, -mean / np.sqrt(of_splits)),
    }


@click.command()
@click.argument("measure", type=click.Choice(["card", "intervals", "study", "level"]))
@click.option("--users", type=int)
def main(measure: str, users: int | None) -> None:
    if measure == "card":
        card(users or 1_000_000)
    elif measure == "intervals":
        intervals(users or MANY)
    elif measure == "study":
        study(users or 100_000)
    else:
        level(users or 200)


if __name__ == "__main__":
    main()
