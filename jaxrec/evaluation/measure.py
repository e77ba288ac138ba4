"""Ranks the whole catalogue for every user of a task and measures the lists."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.devices import Mesh, added_up, placement
from jaxrec.errors import InputError
from jaxrec.evaluation import metrics
from jaxrec.evaluation.task import Task
from jaxrec.topk.blocks import MEMORY, over_users
from jaxrec.topk.ranking import best, broken, check_k, check_scores, membership, unseen_scores
from jaxrec.topk.scorer import AnyScorer, Scorer, worked_out

ITEM_THIRDS = ("head", "middle", "tail")
USER_THIRDS = ("fewest", "some", "most")

METRICS = ("precision", "recall", "ndcg", "ndcg_retrieved", "mrr", "map", "hit_rate")
"""What each user's list is measured by."""

BLOCK = 4096
"""Users whose lists are gone through at once on the host."""

NOBODY = "no user has a relevant item in the held-out part; nothing to evaluate"
PerUser = dict[str, NDArray[np.float32]]


class Evaluation(NamedTuple):
    """Figures of one scorer on one task."""

    users: NDArray[np.int32]
    """[n] the users evaluated."""
    lists: NDArray[np.int32]
    """[n, largest K] items recommended, best first; -1 where nothing was left."""
    per_user: PerUser
    """[n] each: `METRIC@K`, of `METRICS`, for every cut-off K."""
    by_item_third: dict[str, PerUser]
    """The same where only hits on head, middle or tail count; NaN for a user without any relevant
    item there."""
    catalogue: NDArray[np.bool_]
    """[items] that could be recommended."""
    item_thirds: NDArray[np.int8]
    """[items] see `item_thirds`."""
    tied: NDArray[np.bool_]
    """[n] has an item of the list exactly the score of another one on it, or of one left out?"""

    @property
    def metrics(self) -> dict[str, float]:
        """Means over the users, and `coverage@K`."""
        return means(self.per_user) | self.coverage()

    @property
    def tied_share(self) -> float:
        """Share of the lists that equal scores have a part in, so that the tie rule does too."""
        return float(np.mean(self.tied))

    @property
    def ks(self) -> tuple[int, ...]:
        """The cut-offs, in the order in which they were asked for."""
        names = (name.partition("@") for name in self.per_user)
        return tuple(int(k) for metric, _, k in names if metric == "precision")

    @property
    def hits(self) -> int:
        """Relevant items found within the largest cut-off, over all users."""
        k = self.lists.shape[1]
        return round(float(np.sum(self.per_user[f"precision@{k}"], dtype=np.float64) * k))

    def listed(self, users: NDArray[np.bool_] | None = None) -> dict[int, NDArray[np.bool_]]:
        """[items] is the item on anybody's list, by cut-off; on the lists of `users` [n] only."""
        lists = self.lists if users is None else self.lists[users]
        found = {}
        for k in self.ks:
            on_list = np.zeros(len(self.catalogue) + 1, bool)
            on_list[lists[:, :k]] = True
            found[k] = on_list[:-1]  # the last stands for -1, an empty place
        return found

    def coverage(
        self, listed: dict[int, NDArray[np.bool_]] | None = None, third: int | None = None
    ) -> dict[str, float]:
        """`coverage@K`: the share of the candidates that is on anybody's list.

        Args:
            listed: of some users; see the method.
            third: only items of this one of `ITEM_THIRDS`.
        """
        of = self.catalogue if third is None else self.catalogue & (self.item_thirds == third)
        listed = self.listed() if listed is None else listed
        candidates = max(int(of.sum()), 1)
        return {f"coverage@{k}": int((on & of).sum()) / candidates for k, on in listed.items()}


def beyond_accuracy(
    found: Evaluation,
    task: Task,
    E: NDArray[np.floating] | None = None,
    categories: NDArray[np.floating] | None = None,
    mesh: Mesh | None = None,
) -> dict[str, float]:
    """What lists are beside their hits; see `jaxrec.evaluation.metrics` for the formulas.

    Everything is worked out from sums over a list, so that nothing is of items x items.

    Args:
        found: the lists.
        task: of which they are; what is known of users says what items are known for.
        E: [items, dim] unit vectors of the items, by which they are unlike.
        categories: [items, categories] shares of each item's own; see `category_shares`.
        mesh: whose processes have other users each, if there are several.

    Returns:
        For every cut-off K means over the lists: `novelty@K` in bits, `popularity@K` (known
        interactions of an item), with E `diversity@K`, with categories `miscalibration@K` in nats;
        and `gini@K` over the candidates. NaN where no list has a figure.
    """
    items, seen, lengths = len(task.catalogue), task.seen, task.seen.lengths
    counts = np.bincount(seen.items, minlength=items)
    counts = counts if mesh is None else mesh.summed(counts)
    known = int(added_up((lengths > 0).sum(), mesh))
    tells = np.stack([metrics.self_information(counts, known), counts], axis=1)
    per_user: dict[str, list[NDArray[np.floating]]] = {}
    times = {k: np.zeros(items, np.int64) for k in found.ks}
    for start in range(0, max(len(found.lists), 1), BLOCK):
        lists, users = (of[start : start + BLOCK] for of in (found.lists, found.users))
        has = None
        if categories is not None:
            _, own = seen.pairs(users, int(lengths[users].sum()))
            has = _matrix(lengths[users], own, items) @ categories
        for k in found.ks:
            there = lists[:, :k] >= 0
            n = there.sum(axis=1)
            L = _matrix(n, lists[:, :k][there], items)
            times[k] += np.bincount(L.indices, minlength=items)
            novelty, popularity = (L @ tells).T / np.where(n > 0, n, np.nan)
            figures = {"novelty": novelty, "popularity": popularity}
            if E is not None:
                figures["diversity"] = metrics.diversity(L @ E, n)
            if categories is not None and has is not None:
                figures["miscalibration"] = metrics.miscalibration(has, L @ categories)
            for name, values in figures.items():
                per_user.setdefault(f"{name}@{k}", []).append(values)
    if mesh is not None:
        times = dict(zip(times, mesh.summed(np.stack(list(times.values()))), strict=True))
    ginis = {f"gini@{k}": metrics.gini(listed[found.catalogue]) for k, listed in times.items()}
    return means({name: np.concatenate(values) for name, values in per_user.items()}, mesh) | ginis


def _matrix(
    lengths: NDArray[np.integer], listed: NDArray[np.int32], items: int
) -> sparse.csr_array:
    """[n, items] 1 for each of the items `listed`, of which the rows have so many."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ones = np.ones(len(listed), np.float32)
    return sparse.csr_array((ones, listed, starts), shape=(len(lengths), items))


def places_differing(
    mine: NDArray[np.int32],
    theirs: NDArray[np.int32],
    users: int = BLOCK,
    mesh: Mesh | None = None,
) -> float:
    """Share of the places of lists [n, K] that hold an item which is not on the other's list.

    `users` are compared at once; -1 is no item. On a mesh it is that of all processes' lists.
    """
    differing = 0
    for start in range(0, len(mine), users):
        own, other = mine[start : start + users], theirs[start : start + users]
        on_both = (own[:, :, None] == other[:, None, :]).any(axis=2)
        differing += int(((own >= 0) & ~on_both).sum())
    differing, places = added_up((differing, mine.size), mesh)
    return differing / max(places, 1)


def means(per_user: PerUser, mesh: Mesh | None = None) -> dict[str, float]:
    """Means over the users that have a figure, on a mesh over all its processes'; else NaN."""
    sums = {}
    for name, values in per_user.items():
        there = values[~np.isnan(values)]
        sums[name] = float(np.sum(there, dtype=np.float64)), float(len(there))
    return {
        name: total / count if count else float("nan")
        for name, (total, count) in added_up(sums, mesh).items()
    }


def item_thirds(
    counts: NDArray[np.integer], tie_order: NDArray[np.int32] | None = None
) -> NDArray[np.int8]:
    """[items] 0 head, 1 middle, 2 tail: each third holds a third of the interactions.

    Items are sorted by their interactions `counts` [items], most first; ties as in `tie_order`
    [items], ascending by default. An item belongs to the third in which its first interaction
    falls, one without to the tail.
    """
    tied = np.arange(len(counts)) if tie_order is None else tie_order
    order = tied[np.argsort(-counts[tied], kind="stable")]
    before = np.cumsum(counts[order]) - counts[order]
    third = np.minimum(3 * before // max(int(counts.sum()), 1), 2)
    thirds = np.empty(len(counts), np.int8)
    thirds[order] = np.where(counts[order] > 0, third, 2)
    return thirds


def user_thirds(counts: NDArray[np.integer], mesh: Mesh | None = None) -> NDArray[np.int8]:
    """[n] 0 for the third of the users with the fewest ratings, 1, 2 for that with the most.

    On a mesh it is a third of all processes' users, one process's after the other's.
    """
    order = np.argsort(counts, kind="stable")
    ascending, n = counts[order], len(counts)
    places = np.empty(n, np.int64)
    places[order] = np.arange(n)
    if mesh is not None:
        most = int(mesh.largest(np.array([counts.max(initial=0)]))[0])
        of_each = mesh.of_each(np.bincount(counts, minlength=most + 1))
        everywhere, mine = of_each.sum(axis=0), mesh.processes.index(jax.process_index())
        fewer = np.cumsum(everywhere) - everywhere  # and of as many, those of processes before
        first = fewer + of_each[:mine].sum(axis=0)
        places += first[counts] - np.searchsorted(ascending, counts)
        n = int(everywhere.sum())
    first_third = -(-n // 3)  # of what cannot be shared out the first ones have more
    ends = [first_third, first_third + -(-(n - first_third) // 2)]
    return np.searchsorted(ends, places, side="right").astype(np.int8)


def evaluate(
    scorer: AnyScorer, task: Task, ks: tuple[int, ...] = (25,), memory: int = MEMORY
) -> Evaluation:
    """Measure a scorer.

    Args:
        scorer: see `jaxrec.topk.scorer`.
        task: whom to serve and what counts.
        ks: cut-offs, at least 1 each; where candidates are fewer, lists are filled up with -1 and
            K stays what figures are divided by.
        memory: bytes that a block of users' arrays may take.

    Raises:
        InputError: a cut-off is below 1, or nobody can be evaluated.
        ValueError: a score is not a number.
    """
    items = len(task.catalogue)
    for k in ks:
        check_k(k)
    users = np.flatnonzero(task.relevant.lengths).astype(np.int32)
    if not len(users):
        raise InputError(NOBODY)
    thirds, catalogue = item_thirds(task.item_counts, task.tie_order), task.catalogue
    order = np.arange(items, dtype=np.int32) if task.tie_order is None else task.tie_order

    def measure(
        block: NDArray[np.int32], seen: tuple[Any, Any], relevant: tuple[Any, Any]
    ) -> tuple[Array, Array, Array, dict[str, Array]]:
        scores, lost = _scores(worked_out(scorer, block), block, seen, catalogue)
        how = catalogue, thirds, order, tuple(ks)
        return lost, *_measure_block(_in_order(scores, order), relevant, *how)

    sets = task.seen, task.relevant
    # what is to be compiled is compiled by the first block, before other threads ask for it too
    lost, lists, tied, figures = over_users(
        measure, users, items, sets, memory, placement(), first_alone=True
    )
    check_scores(lost)
    everything = {name: values[:, 0] for name, values in figures.items()}
    by_third = {
        third: {name: values[:, number] for name, values in figures.items()}
        for number, third in enumerate(ITEM_THIRDS, start=1)
    }
    return Evaluation(users, lists, everything, by_third, task.catalogue, thirds, tied)


def nobody(task: Task, ks: tuple[int, ...]) -> Evaluation:
    """What `evaluate` would find of a task in which no user has a relevant item."""
    nothing = np.zeros(0, np.float32)
    figures = {f"{metric}@{k}": nothing for k in ks for metric in METRICS}
    return Evaluation(
        users=np.zeros(0, np.int32),
        lists=np.zeros((0, max(ks)), np.int32),
        per_user=figures,
        by_item_third=dict.fromkeys(ITEM_THIRDS, figures),
        catalogue=task.catalogue,
        item_thirds=item_thirds(task.item_counts, task.tie_order),
        tied=np.zeros(0, bool),
    )


# a program of its own, so that what is long to compile is not compiled for every kind of scorer
@jax.jit
@jax.default_matmul_precision("highest")  # an accelerator's default would reorder the lists
def _scores(
    scorer: Scorer, users: Array, seen: tuple[Array, Array], catalogue: Array
) -> tuple[Array, Array]:
    scores = unseen_scores(scorer, users, seen, catalogue)
    return scores, broken(scorer, users, scores, catalogue)


# on its own too: within what measures, XLA would look scores up anew, and one by one, for each use
@jax.jit
def _in_order(scores: Array, order: Array) -> Array:
    return scores[:, order]


@partial(jax.jit, static_argnames="ks")
def _measure_block(
    scores: Array,
    relevant: tuple[Array, Array],
    catalogue: Array,
    thirds: Array,
    order: Array,
    ks: tuple[int, ...],
) -> tuple[Array, Array, dict[str, Array]]:
    """Lists [block, K], whether equal scores have a part in the list [block], figures [block, all
    and each third of the items]; of `scores` in `order` [items].
    """
    places, top_scores = best(scores, catalogue[order], max(ks) + 1)
    top_items = jnp.where(places >= 0, order[places], -1)
    equal = (top_scores[:, :-1] == top_scores[:, 1:]) & (top_items[:, 1:] >= 0)
    top_items = top_items[:, :-1]
    listed = jnp.maximum(top_items, 0)
    is_relevant = membership(relevant, *scores.shape)
    hits = jnp.take_along_axis(is_relevant, listed, axis=1) & (top_items >= 0)
    of_list = thirds[listed]
    hits = jnp.stack([hits, *(hits & (of_list == n) for n in range(len(ITEM_THIRDS)))], axis=1)
    # the pairs are few: to count them is far less than to go through [block, items]
    place, item = relevant
    by_third = jnp.zeros((len(scores), len(ITEM_THIRDS)), jnp.int32)
    by_third = by_third.at[place, thirds[item]].add(1, mode="drop")
    count = jnp.concatenate([by_third.sum(axis=1, keepdims=True), by_third], axis=1)
    figures: dict[str, Array] = {}
    for k in ks:
        figures |= {
            f"precision@{k}": metrics.precision(hits, k),
            f"recall@{k}": metrics.recall(hits, count, k),
            f"ndcg@{k}": metrics.ndcg(hits, count, k),
            f"ndcg_retrieved@{k}": metrics.ndcg_retrieved(hits, k),
            f"mrr@{k}": metrics.reciprocal_rank(hits, k),
            f"map@{k}": metrics.average_precision(hits, count, k),
            f"hit_rate@{k}": metrics.hit_rate(hits, k),
        }
    figures = {name: jnp.where(count > 0, values, jnp.nan) for name, values in figures.items()}
    return top_items, jnp.any(equal, axis=1), figures
