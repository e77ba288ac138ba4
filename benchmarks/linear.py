"""EASE, its precision and its relatives. Run: python benchmarks/linear.py MEASURE

| measure   | what                                                                              |
|-----------|-----------------------------------------------------------------------------------|
| ease      | `ease` learned and everybody ranked, beside NumPy's inverse in double precision    |
| precision | inverses of single and double precision, by LAPACK and by JAX, and eigenvectors    |
| relatives | exact EASE, sparse EASE, ELSA and SANSA on validation, of run folders              |

`ease` reads the test part of `strict`, seed 7, of amazon-sports; each of the two has a process of
its own, one after the other, and NumPy's needs 8 GB for all items (`--users`, `--items` take
fewer). `precision` and `relatives` read validation only. `relatives` takes folders in which `jaxrec
embed --seed 7` was called; SANSA is there if it can be imported (`sansa` needs SuiteSparse).
"""

import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import click
import jax
import jax.numpy as jnp
import numpy as np
from elsa import elsa
from harness import report
from numpy.typing import NDArray
from scipy import linalg, sparse

from jaxrec.data.dataset import Dataset
from jaxrec.data.ids import Ids
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.protocol import Protocol
from jaxrec.evaluation.task import Task, evaluation_task, validation_tasks
from jaxrec.experiment.choices import evidence
from jaxrec.experiment.folder import open_run
from jaxrec.models.linear.ease import inverse
from jaxrec.models.model import Evidence
from jaxrec.models.registry import MODELS, ask, learn
from jaxrec.sources.library import load_dataset
from jaxrec.topk.scorer import AnyScorer, Linear
from jaxrec.topk.scorer import product as product_of

K, SEED, LAMBDA = 25, 7, 200.0
PEER = "NumPy, double precision"
TARGET = 0.3
"""Of NumPy's time."""
BLOCK = 1024
"""Users that NumPy scores at a time."""


def cut(dataset: Dataset, users: int | None, items: int | None) -> Dataset:
    """The first users, and the items with the most interactions, in their order."""
    chosen = np.argsort(-np.bincount(dataset.interactions.items, minlength=dataset.items))[:items]
    there, place = np.zeros(dataset.items, bool), np.zeros(dataset.items, np.int32)
    there[chosen] = True
    place[there] = np.arange(there.sum())
    users = dataset.users if users is None else users
    kept = there[dataset.interactions.items] & (dataset.interactions.users < users)
    columns = dataset.interactions.at(np.flatnonzero(kept))
    catalogue = replace(
        dataset.catalogue,
        ids=Ids(dataset.item_ids.names[there], "item"),
        table=dataset.catalogue.table.filter(there),
    )
    return replace(
        dataset,
        user_ids=Ids(dataset.user_ids.names[:users], "user"),
        catalogue=catalogue,
        interactions=columns._replace(items=place[columns.items]),
    )


class Spent(NamedTuple):
    """What one of the two has taken."""

    learning: float
    """Seconds."""
    ranking: float
    ndcg: float
    peak: float
    """GB that the process held at most."""


def reported(data: str, users: int | None, items: int | None) -> tuple[Evidence, Task]:
    """What is learned from, and the test part."""
    dataset = cut(load_dataset(data), users, items)
    protocol = Protocol.of("strict", dataset, SEED)
    return Evidence(dataset, protocol.split, None, SEED, {}), evaluation_task(dataset, protocol)


def ours(*what: Any) -> Spent:
    own, task = reported(*what)
    start = time.perf_counter()
    arrays = learn("ease", own, {"lambda_": LAMBDA})
    learned = time.perf_counter()
    found = evaluate(ask("ease", arrays, own.asking), task, (K,))
    return spent(start, learned, found.metrics[f"ndcg@{K}"])


def numpy_s(*what: Any) -> Spent:
    """Steck's lines, and a ranking by blocks of users."""
    own, task = reported(*what)
    X = own.matrix("liked")
    start = time.perf_counter()
    G = (X.T @ X).toarray()
    G[np.diag_indices(len(G))] += LAMBDA
    B = np.linalg.inv(G)
    del G
    B /= -np.diag(B)
    np.fill_diagonal(B, 0)
    learned = time.perf_counter()
    figures, gains = [], 1 / np.log2(np.arange(K) + 2)
    asking = np.flatnonzero(task.relevant.lengths)
    for block in (asking[i : i + BLOCK] for i in range(0, len(asking), BLOCK)):
        scores = X[block] @ B
        scores[X[block].nonzero()] = -np.inf
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        best = np.take_along_axis(best, order, axis=1)
        for user, listed in zip(block, best, strict=True):
            first = task.relevant.starts[user]
            relevant = task.relevant.items[first : first + task.relevant.lengths[user]]
            figures.append(gains[np.isin(listed, relevant)].sum() / gains[: len(relevant)].sum())
    return spent(start, learned, float(np.mean(figures)))


def spent(start: float, learned: float, ndcg: float) -> Spent:
    now = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return Spent(learned - start, now - learned, ndcg, peak)


def alone(work: Callable[..., Spent], *what: Any) -> Spent:
    """In a process of its own, of which the peak is known."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *what).result()


@click.group()
def main() -> None:
    """See the module."""


data_option = click.option("--data", default="amazon-sports", show_default=True)


@main.command()
@data_option
@click.option("--users", type=click.IntRange(min=1), help="Only so many.  [default: all]")
@click.option("--items", type=click.IntRange(min=K + 1), help="Only so many.  [default: all]")
def ease(data: str, users: int | None, items: int | None) -> None:
    """Learned and everybody ranked, beside NumPy."""
    found = {}
    for name, work in (("ours", ours), (PEER, numpy_s)):
        found[name] = own = alone(work, data, users, items)
        print(
            f"{name}: learned in {own.learning:.1f} s, ranked in {own.ranking:.1f} s,"
            f" NDCG@{K} {own.ndcg:.4f}, {own.peak:.1f} GB at most"
        )
    here, there = found["ours"], found[PEER]
    print(f"NDCG@{K} differs by {abs(here.ndcg - there.ndcg):.1e}; ratio to reach {TARGET}")
    took, peer = (own.learning + own.ranking for own in (here, there))
    report("ease", took, peer, PEER, "s")


@main.command()
@data_option
@click.option("--items", "sizes", multiple=True, default=(4096, 8192), show_default=True)
def precision(data: str, sizes: tuple[int, ...]) -> None:
    """Of an inverse: seconds, and what becomes of weights and figures."""
    for items in sizes:
        dataset = cut(load_dataset(data), None, items)
        ((split, task),) = validation_tasks(dataset, Protocol.of("strict", dataset, SEED))
        X = Evidence(dataset, split, None, SEED, {}).matrix("liked")
        took: dict[str, float] = {}
        exact = None
        for name, invert in inverses(X).items():
            if name.startswith("JAX"):
                invert()  # compiled
            start = time.perf_counter()
            B = invert()
            took[name] = time.perf_counter() - start
            B /= -np.diagonal(B)
            np.fill_diagonal(B, 0)
            exact = B if exact is None else exact
            scorer = Linear(X.astype(np.float32), B.astype(np.float32))
            ndcg = evaluate(scorer, task, (K,)).metrics[f"ndcg@{K}"]
            print(
                f"{items:,} items, {name}: {took[name]:.2f} s, B differs by"
                f" {np.abs(B - exact).max():.1e} at most, NDCG@{K} {ndcg:.5f}"
            )
        single = took["LAPACK, single"]
        G = gramian(X, np.float32)
        start = time.perf_counter()
        w, Q = linalg.eigh(G, overwrite_a=True, driver="evd")
        once, start = time.perf_counter() - start, time.perf_counter()
        (Q / (w + LAMBDA)) @ Q.T
        again = time.perf_counter() - start
        pays = f"after {once / (single - again):.0f}" if again < single else "never"
        print(
            f"{items:,} items: eigenvectors {once:.2f} s, an inverse by them {again:.2f} s; they"
            f" pay {pays} values of lambda"
        )
        report(f"precision-{items}", single, took["LAPACK, double"], "double precision", "s")


def gramian(X: sparse.csr_array, precision: Any) -> NDArray[np.floating]:
    return sparse.csr_array(X.T @ X).toarray().astype(precision)


def inverses(X: sparse.csr_array) -> dict[str, Callable[[], NDArray[np.floating]]]:
    """Ways to (X^T X + lambda)^-1; the first is the most exact."""
    eye = np.eye(X.shape[1], dtype=np.float32)

    @jax.jit
    def by_cholesky(G: jax.Array) -> jax.Array:
        return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(G), eye)

    def through_jax(work: Callable[[jax.Array], jax.Array]) -> NDArray[np.floating]:
        return np.array(work(jnp.asarray(gramian(X, np.float32) + LAMBDA * eye)))

    return {
        "LAPACK, double": partial(inverse, X.astype(np.float64), LAMBDA),
        "LAPACK, single": partial(inverse, X.astype(np.float32), LAMBDA),
        "JAX, inv": partial(through_jax, jax.jit(jnp.linalg.inv)),
        "JAX, Cholesky": partial(through_jax, by_cholesky),
    }


class Relative(NamedTuple):
    """One that has learned."""

    scorer: AnyScorer
    size: int
    """Bytes of what is kept of it."""


def row(name: str, own: Evidence, settings: dict[str, Any]) -> Relative:
    """One of ours."""
    arrays = learn(name, own, settings)
    scorer = ask(name, arrays, own.asking, settings)
    return Relative(scorer, sum(array.nbytes for array in arrays.values()))


def elsa_of(A: NDArray[np.float32], X: sparse.csr_array) -> Relative:
    """Of an unseen item x (A A^T - 1) is x A A^T."""
    return Relative(product_of(X @ A, A), A.nbytes)


def sansa(X: sparse.csr_array, lambda_: float, neighbours: int) -> Relative:
    """SANSA (Spisak et al. 2023), as its authors wrote it, with so many weights an item."""
    from sansa import (
        SANSA,
        CHOLMODGramianFactorizerConfig,
        SANSAConfig,
        UMRUnitLowerTriangleInverterConfig,
    )

    how = CHOLMODGramianFactorizerConfig(), UMRUnitLowerTriangleInverterConfig()
    model = SANSA(SANSAConfig(lambda_, neighbours / X.shape[1], *how))
    first, second = map(sparse.csr_array, model.fit(sparse.csr_matrix(X)).weights)
    size = sum(part.nbytes for W in (first, second) for part in (W.data, W.indices, W.indptr))
    return Relative(Linear(sparse.csr_array(X @ first), second), size)


@main.command()
@click.option("--run", "paths", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--neighbours", multiple=True, default=(20, 50, 100), show_default=True)
@click.option("--rank", "ranks", multiple=True, default=(256, 512), show_default=True)
@click.option("--epochs", default=30, show_default=True)
@click.option("--only", default="", help="Relatives whose name holds this.")
def relatives(
    paths: tuple[Path, ...],
    neighbours: tuple[int, ...],
    ranks: tuple[int, ...],
    epochs: int,
    only: str,
) -> None:
    """Figures, seconds and bytes of each."""
    for path in paths:
        run = open_run(path)
        ((split, task),) = validation_tasks(run.dataset, run.protocol)
        own = evidence(run, split)
        target = "graded" if run.dataset.feedback.has_grades else "liked"
        exact = "ease-graded" if target == "graded" else "ease"
        X, E = own.matrix(target), own.features(1.0)
        print(run.title)
        works: dict[str, Callable[[], Relative]] = {}
        for text in ("", "+text"):
            settings = MODELS[exact + text].settings
            works[exact + text] = partial(row, exact + text, own, settings)
            for k in neighbours:
                like = settings | {"neighbours": k}
                works[f"sparse-ease{text} {k}"] = partial(row, f"sparse-ease{text}", own, like)
        for k in neighbours if find_spec("sansa") else ():
            works[f"sansa {k}"] = partial(sansa, X, MODELS[exact].settings["lambda_"], k)
        for text, k in product(("", "+text"), ranks):
            with_text = E if text else None
            works[f"elsa{text} {k}"] = partial(best_elsa, X, k, epochs, with_text, task)
        for name, work in works.items():
            if only not in name:
                continue
            start = time.perf_counter()
            found = work()
            learned = time.perf_counter()
            ndcg = ndcg_of(found, task)
            print(
                f"{name:>20}: NDCG@{K} {ndcg:.4f}, learned in {learned - start:.1f} s, ranked in"
                f" {time.perf_counter() - learned:.1f} s, {found.size / 1e6:.0f} MB",
                flush=True,
            )


def ndcg_of(found: Relative, task: Task) -> float:
    return evaluate(found.scorer, task, (K,)).metrics[f"ndcg@{K}"]


def best_elsa(
    X: sparse.csr_array, rank: int, epochs: int, E: NDArray[np.floating] | None, task: Task
) -> Relative:
    """Of the epoch that is best; three that are worse end it. Its seconds count judging too."""
    best, best_ndcg, worse = None, -1.0, 0
    for epoch, A in enumerate(elsa(X, rank, epochs, E), start=1):
        ndcg = ndcg_of(found := elsa_of(A, X), task)
        if ndcg > best_ndcg:
            best, best_ndcg, worse = found, ndcg, 0
            print(f"epoch {epoch}: {ndcg:.4f}", flush=True)
        elif (worse := worse + 1) == 3:
            break
    assert best is not None
    return best


if __name__ == "__main__":
    main()
