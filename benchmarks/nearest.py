"""Top-25 by an exported index, beside all items scored. Run: python benchmarks/nearest.py ITEMS

ITEMS is 10000, 100000 or 1000000, of 128 dimensions; needs the `index` extra. One query at a time
(200 of them) and all 1,000 at once take turns, medians of five; recall is over the 1,000, none of
whom an index was tuned on. A graph of a million items takes minutes to build: --library names one.

Vectors are like those of a real fit: `pmf` with its defaults on ml-latest-small, strict, seed 1. An
item is a real one that has ratings, drawn anew each time, moved at random within the span of its 16
nearest about as far as they lie from it, and given its own length times exp(0.1 g), g standard
normal: so directions vary as real ones do, and lengths, which go with popularity, have the real
tail (median 0.34, 99 of 100 below 1.5, the longest 2.4). Users are made of users.
"""

import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import jax.numpy as jnp
import numpy as np
from harness import interleave, machine, seconds
from numpy.typing import NDArray

from jaxrec import (
    Factors,
    ItemSets,
    PmfSettings,
    Protocol,
    fit_pmf,
    load_dataset,
    observe,
    product,
    top_k,
)
from jaxrec.topk.nearest import LIBRARIES, Faiss, Usearch, found_of, measure

K, ALONE, TOGETHER, TAUGHT = 25, 200, 1_000, 1_000
NEAR = 16
"""Neighbours that say how vectors vary about one."""

Search = Callable[[NDArray[np.float32]], NDArray[np.integer]]
Figures = dict[str, float]


def fitted() -> Factors:
    """Factors of `pmf` on the train part of ml-latest-small."""
    data = load_dataset("ml-latest-small")
    train = data.interactions.at(Protocol.of("strict", data, seed=1).split.train)
    settings = PmfSettings()
    pairs = observe(train, data.feedback, settings)
    return fit_pmf(pairs, data.users, data.items, settings)[0]


def like(real: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """[count, dim] made of `real` [n, dim]; see above."""
    lengths = np.linalg.norm(real, axis=1)
    real, lengths = real[lengths > 0], lengths[lengths > 0]
    squares = lengths**2
    far = squares[:, None] + squares - 2 * real @ real.T
    near = np.argpartition(far, NEAR, axis=1)[:, : NEAR + 1]  # itself among them
    made = np.empty((count, real.shape[1]), np.float32)
    for block in np.array_split(made, -(-count // 10_000)):
        of = rng.integers(len(real), size=len(block))
        shares = rng.normal(size=(len(block), NEAR + 1)) / np.sqrt(NEAR)
        steps = real[near[of]] - real[of][:, None]
        block[:] = real[of] + np.einsum("nk,nkd->nd", shares.astype(np.float32), steps)
        wanted = lengths[of] * np.exp(0.1 * rng.normal(size=len(block)))
        block *= (wanted / np.linalg.norm(block, axis=1))[:, None].astype(np.float32)
    return made


def ours(items: NDArray[np.float32]) -> Search:
    """`jaxrec.top_k`."""
    right, catalogue = jnp.asarray(items), np.ones(len(items), bool)

    def search(users: NDArray[np.float32]) -> NDArray[np.integer]:
        everyone = np.arange(len(users), dtype=np.int32)
        nothing = ItemSets(np.zeros(len(users) + 1, np.int64), np.zeros(0, np.int32))
        return top_k(product(users, right), everyone, nothing, catalogue, K)[0]

    return search


def flat(items: NDArray[np.float32]) -> Search:
    """FAISS, all items scored."""
    import faiss

    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    return lambda users: index.search(users, K)[1]


def exported(
    library: type[Faiss] | type[Usearch],
    items: NDArray[np.float32],
    teachers: NDArray[np.float32],
) -> tuple[Search, Figures]:
    """An index as `jaxrec export` writes it, tuned on `teachers`; seconds to build, size."""
    start = time.perf_counter()
    index = library(items)
    built = time.perf_counter() - start
    print(f"{index.library}: built in {built:.1f} s, {measure(index, teachers, items)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        index.write(path)
        size = path.stat().st_size
    return partial(index.search, k=K), {"build_s": built, "mb": size / 1e6}


def alone(search: Search, users: NDArray[np.float32]) -> None:
    """One query after the other."""
    for user in range(len(users)):
        search(users[user : user + 1])


@click.command()
@click.argument("items", type=click.Choice(["10000", "100000", "1000000"]))
@click.option("--library", "asked", multiple=True, default=list(LIBRARIES), show_default=True)
def main(items: str, asked: tuple[str, ...]) -> None:
    rng, real = np.random.default_rng(0), fitted()
    V = like(real.V, int(items), rng)
    teachers, U = like(real.U, TAUGHT, rng), like(real.U, TOGETHER, rng)
    nothing: Figures = {"build_s": 0, "mb": V.nbytes / 1e6}
    rivals = {
        "top_k": (ours(V), nothing),
        "faiss flat": (flat(V), nothing),
    }
    rivals |= {name: exported(LIBRARIES[name], V, teachers) for name in asked}
    best = rivals["top_k"][0](U)
    works: dict[str, Callable[[], object]] = {}
    for name, (search, _) in rivals.items():
        works[f"{name}, alone"] = partial(alone, search, U[:ALONE])
        works[f"{name}, together"] = partial(search, U)
        first = seconds(partial(search, U[:1]))
        print(f"{name}: first query {first:.3g} s, with compilation if there is any")
    medians = interleave(works, repeats=5)
    result = {
        name: figures
        | {
            "recall": found_of(search(U), best, U, V),
            "ms_alone": medians[f"{name}, alone"] / ALONE * 1e3,
            "ms_together": medians[f"{name}, together"] / TOGETHER * 1e3,
        }
        for name, (search, figures) in rivals.items()
    }
    print(json.dumps({"measure": f"nearest-{items}", "k": K} | result | {"machine": machine()}))


if __name__ == "__main__":
    main()
