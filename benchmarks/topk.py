"""Top-25 of all users, seen filtered, beside implicit. Run: python benchmarks/topk.py MEASURE

The two take turns, medians of five; 64 factors; needs the `bench` extra.

| measure    | what                                                              |
|------------|-------------------------------------------------------------------|
| topk-small | ml-latest-small, published split, liked ratings                   |
| topk-large | 138,493 x 26,744, the power-law matrix of benchmarks/large.py     |
"""

import click
import numpy as np
from harness import interleave, report, seconds
from large import ITEMS, USERS, power_law
from peers import THREADS, matrix
from pmf import published_train

from jaxrec import Interactions, ItemSets, product, top_k
from jaxrec.sources.synthetic import STARS


def ranked(measure: str, train: Interactions, users: int, items: int) -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    rng = np.random.default_rng(0)
    U, V = (rng.normal(size=(rows, 64)).astype(np.float32) for rows in (users, items))
    everyone, catalogue = np.arange(users, dtype=np.int32), np.ones(items, bool)
    scorer, seen = product(U, V), ItemSets.of(train, users)
    pairs = matrix(train, users, items)
    peer = AlternatingLeastSquares(factors=64, num_threads=THREADS)
    peer.user_factors, peer.item_factors = U, V

    def ours() -> np.ndarray:
        return top_k(scorer, everyone, seen, catalogue, 25)[0]

    def theirs() -> np.ndarray:
        return peer.recommend(everyone, pairs, N=25)[0]

    print(f"first call, with compilation: {seconds(ours):.2f} s")
    print(f"places alike: {np.mean(ours() == theirs()):.4%}")
    medians = interleave({"ours": ours, "implicit": theirs}, repeats=5)
    report(measure, medians["ours"], medians["implicit"], "implicit recommend", "s")


@click.command()
@click.argument("measure", type=click.Choice(["topk-small", "topk-large"]))
def main(measure: str) -> None:
    if measure == "topk-small":
        train, users, items = published_train()
        ranked(measure, train.liked(STARS), users, items)
    else:
        ranked(measure, power_law(), USERS, ITEMS)


if __name__ == "__main__":
    main()
