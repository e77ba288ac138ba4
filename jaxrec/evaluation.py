"""Ranks the whole catalogue for every user of a task and measures the lists."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxrec import metrics
from jaxrec.errors import InputError
from jaxrec.protocol import Task
from jaxrec.topk import MEMORY, Scorer, check_k, check_scores, membership, rank, user_blocks


class Evaluation(NamedTuple):
    """Figures of one scorer on one task."""

    users: NDArray[np.int32]
    """[n] the users evaluated."""
    per_user: dict[str, NDArray[np.float32]]
    """[n] each: `precision@K`, `recall@K`, `ndcg@K`, `ndcg_retrieved@K` for every cut-off K."""
    hits: int
    """Relevant items found within the largest cut-off, over all users."""

    @property
    def metrics(self) -> dict[str, float]:
        """Means over the users."""
        return {name: float(np.mean(v, dtype=np.float64)) for name, v in self.per_user.items()}


def evaluate(
    scorer: Scorer, task: Task, ks: tuple[int, ...] = (25,), memory: int = MEMORY
) -> Evaluation:
    """Measure a scorer.

    Args:
        scorer: see `jaxrec.topk`.
        task: whom to serve and what counts.
        ks: cut-offs, each between 1 and the catalogue's size.
        memory: bytes that a block of users' arrays may take.

    Raises:
        InputError: a cut-off is out of range, or nobody can be evaluated.
        ValueError: a score is not a number.
    """
    items = len(task.catalogue)
    for k in ks:
        check_k(k, items)
    users = np.flatnonzero(task.relevant.lengths).astype(np.int32)
    if not len(users):
        raise InputError("no user has a relevant item in the held-out part; nothing to evaluate")
    blocks = user_blocks(users, items, memory)
    most_seen, most_relevant = task.seen.most_pairs(blocks), task.relevant.most_pairs(blocks)
    figures = [
        _measure_block(
            scorer,
            block,
            task.seen.pairs(block, most_seen),
            task.relevant.pairs(block, most_relevant),
            task.catalogue,
            tuple(ks),
        )
        for block in blocks
    ]
    joined = jax.tree.map(lambda *parts: np.concatenate(parts)[: len(users)], *figures)
    check_scores(joined.pop("best_score"))
    hits = int(joined.pop("hits").sum())
    return Evaluation(users, joined, hits)


@partial(jax.jit, static_argnames="ks")
@jax.default_matmul_precision("highest")
def _measure_block(
    scorer: Scorer,
    users: Array,
    seen: tuple[Array, Array],
    relevant: tuple[Array, Array],
    catalogue: Array,
    ks: tuple[int, ...],
) -> dict[str, Array]:
    """Per-user figures [block] of one block of users."""
    shape = len(users), len(catalogue)
    top_items, top_scores = rank(scorer, users, seen, catalogue, max(ks))
    is_relevant = membership(relevant, *shape)
    hits = jnp.take_along_axis(is_relevant, jnp.maximum(top_items, 0), axis=1) & (top_items >= 0)
    count = jnp.sum(is_relevant, axis=1)
    figures = {"hits": jnp.sum(hits, axis=1), "best_score": jnp.max(top_scores, axis=1)}
    for k in ks:
        figures[f"precision@{k}"] = metrics.precision(hits, k)
        figures[f"recall@{k}"] = metrics.recall(hits, count, k)
        figures[f"ndcg@{k}"] = metrics.ndcg(hits, count, k)
        figures[f"ndcg_retrieved@{k}"] = metrics.ndcg_retrieved(hits, k)
    return figures
