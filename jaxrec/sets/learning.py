"""Learns the set model: batches of users, Adam, and the epoch that is best on what is hidden."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from numpy.typing import NDArray
from scipy import sparse

from jaxrec.devices import Mesh, placement
from jaxrec.evaluation import metrics
from jaxrec.sets.softmax import Batch, SetModel, loss
from jaxrec.sets.vectors import FITS, SetSettings, Vectors, of_users
from jaxrec.topk.blocks import rounded
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.ranking import top_k
from jaxrec.topk.scorer import product

K = 25
JUDGES = 1000
"""At most so many users judge an epoch, and at most a tenth of all."""
HIDDEN = 0.2
"""Of what a judge has, not learned from."""
STEPS = 40
"""Of an epoch, where users suffice."""
WARM = 0.1
"""Of all steps, over which the rate rises."""
NOISE = 0.01
"""Of the vectors in dimensions that the seeds do not have."""
ADAM = optax.scale_by_adam()


def learn_vectors(
    X: sparse.csr_array,
    liked: sparse.csr_array,
    seeds: NDArray[np.float32],
    settings: SetSettings,
    seed: int,
) -> Vectors:
    """The set model of the epoch that is best for users of whom a part was hidden.

    Args:
        X: [users, items] what users have, by value (see `positive`).
        liked: [users, items] what of it they like; of this a part is hidden.
        seeds: [items, dim] vectors to begin with.
        settings: of the model and of how it learns.
        seed: of what is hidden, shown and drawn.

    Where nobody can judge, the last epoch is kept; where nobody has two items, the seeds.
    """
    rng = np.random.default_rng(seed)
    judges, X, hidden = _hide(X, liked, rng)
    counts = np.bincount(X.indices, minlength=X.shape[1])
    # were all items zero in a dimension, none would ever move
    empty = ~seeds.any(axis=0) * NOISE * rng.normal(size=seeds.shape)
    begun = jnp.asarray(seeds + empty, jnp.float32)
    frame, weights = nnx.split(SetModel(begun, settings.apart, jnp.asarray(counts, jnp.float32)))
    state, size = ADAM.init(weights), _users_of_a_step(X, settings)
    steps = settings.epochs * (int(np.sum(np.diff(X.indptr) > 1)) // size)
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.rate, int(WARM * steps), max(steps, 1))
    best, curve = weights, [_judged(nnx.merge(frame, weights), X, judges, hidden, settings)]
    done, place = 0, placement()
    mesh = place if isinstance(place, Mesh) else None
    for _ in range(settings.epochs):
        for batch in _batches(X, size, settings, rng):
            done += 1
            how = settings.temperature, rate(done)
            weights, state = _step(frame, weights, state, batch, size, *how, mesh)
        curve.append(_judged(nnx.merge(frame, weights), X, judges, hidden, settings))
        if curve[-1] >= max(curve):
            best = weights
    return Vectors(*_sides(nnx.merge(frame, best), settings), counts > 0, tuple(curve))


def _users_of_a_step(X: sparse.csr_array, settings: SetSettings) -> int:
    users = int(np.sum(np.diff(X.indptr) > 1))
    return max(min(users // STEPS, settings.batch), 1)


def _hide(
    X: sparse.csr_array, liked: sparse.csr_array, rng: np.random.Generator
) -> tuple[NDArray[np.int32], sparse.csr_array, ItemSets]:
    """Users who judge, X without what is hidden of them, and that."""
    users, own = X.shape[0], _sets(X)
    could = np.flatnonzero((own.lengths > 1) & (np.diff(liked.indptr) > 0))
    judges = np.sort(rng.choice(could, min(JUDGES, -(-len(could) // 10)), replace=False))
    kept, likes = np.ones(X.nnz, bool), _sets(liked)
    for user in judges:
        wanted = likes.items[likes.starts[user] : likes.starts[user + 1]]
        places = np.arange(own.starts[user], own.starts[user + 1])
        places = places[np.isin(own.items[places], wanted)]
        some = min(max(int(HIDDEN * len(places)), 1), own.lengths[user] - 1)
        kept[rng.choice(places, some, replace=False)] = False
    rows = np.repeat(np.arange(users), own.lengths)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows[~kept], minlength=users))])
    rest = sparse.csr_array((X.data[kept], (rows[kept], X.indices[kept])), shape=X.shape)
    return judges.astype(np.int32), rest, ItemSets(starts, own.items[~kept])


def _sets(X: sparse.csr_array) -> ItemSets:
    return ItemSets(X.indptr.astype(np.int64), X.indices.astype(np.int32))


def _batches(
    X: sparse.csr_array, size: int, settings: SetSettings, rng: np.random.Generator
) -> Iterator[Batch]:
    """Users who have two items or more in an order that is drawn, as many as fill batches."""
    places = ItemSets(X.indptr.astype(np.int64), np.arange(X.nnz, dtype=np.int32))
    order = rng.permutation(np.flatnonzero(places.lengths > 1))
    known = np.unique(X.indices)
    for start in range(0, len(order) - size + 1, size):
        users = order[start : start + size]
        pairs = int(places.lengths[users].sum())
        place, at = places.pairs(users, 1 << (pairs - 1).bit_length())  # few programs serve
        items, values = X.indices[at], X.data[at] * (place < size)
        share = rng.uniform(settings.least_shown, settings.most_shown, size)
        shown = rng.random(len(place)) < np.append(share, 1)[place]
        candidates, stands_for = _candidates(np.unique(items[~shown]), known, rng)
        where = np.zeros(X.shape[1], np.int32)
        where[candidates[::-1]] = np.arange(len(candidates))[::-1]  # the first place counts
        yield Batch(
            jnp.asarray(place),
            jnp.asarray(items, jnp.int32),
            jnp.asarray(values),
            jnp.asarray(shown),
            jnp.asarray(candidates, jnp.int32),
            jnp.asarray(where[items]),
            jnp.asarray(stands_for),
        )


def _candidates(
    wanted: NDArray[np.integer], known: NDArray[np.integer], rng: np.random.Generator
) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
    """All that are known, or what is wanted and `FITS` others who stand for all others."""
    if len(known) <= FITS:
        return known, np.ones(len(known), np.float32)
    others = np.setdiff1d(known, wanted, assume_unique=True)
    drawn = rng.choice(others, min(FITS, len(others)), replace=False)
    fill = rounded(len(wanted) + len(drawn)) - len(wanted) - len(drawn)
    each = [1, len(others) / max(len(drawn), 1), 0]
    stands_for = np.repeat(each, [len(wanted), len(drawn), fill]).astype(np.float32)
    return np.concatenate([wanted, drawn, np.zeros(fill, wanted.dtype)]), stands_for


@partial(jax.jit, static_argnames=("frame", "users", "mesh"), donate_argnames=("state",))
def _step(
    frame: nnx.GraphDef,
    weights: nnx.State,
    state: optax.OptState,
    batch: Batch,
    users: int,
    temperature: float | Array,
    rate: float | Array,
    mesh: Mesh | None,
) -> tuple[nnx.State, optax.OptState]:
    def of(weights: nnx.State) -> Array:
        return loss(nnx.merge(frame, weights), batch, users, temperature, mesh)

    updates, state = ADAM.update(jax.grad(of)(weights), state)
    return jax.tree.map(lambda w, up: w - rate * up, weights, updates), state


def _sides(model: SetModel, settings: SetSettings) -> tuple[NDArray, NDArray]:
    """`inward` and `right` of `Vectors`."""
    v, w, b = map(np.asarray, (model.inward, model.outward, model.bias[...]))
    return v, np.column_stack([w / settings.temperature, b])


def _judged(
    model: SetModel,
    X: sparse.csr_array,
    judges: NDArray[np.int32],
    hidden: ItemSets,
    settings: SetSettings,
) -> float:
    """NDCG@25 of the judges, of what is hidden of them; 0 where there are none."""
    if not len(judges):
        return 0.0
    (inward, right), own = _sides(model, settings), X[judges]
    scorer = product(of_users(own, inward), right)
    everyone, known = np.arange(len(judges), dtype=np.int32), np.zeros(X.shape[1], bool)
    known[X.indices] = True
    lists, _ = top_k(scorer, everyone, _sets(own), known, K)
    wanted = (hidden.items[hidden.starts[user] : hidden.starts[user + 1]] for user in judges)
    hits = np.stack([np.isin(row, own) for row, own in zip(lists, wanted, strict=True)])
    return float(jnp.mean(metrics.ndcg(jnp.asarray(hits), jnp.asarray(hidden.lengths[judges]), K)))
