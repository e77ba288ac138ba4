"""Learns to fuse several signals: by a convex combination of them, and by the gate.

The weights of the convex combination are searched on the simplex: from the best signal or from
equal weights, a share of one signal's weight goes to another as long as validation NDCG@25 grows,
the shares becoming smaller (`SHARES`). A signal that tells no candidates apart has no weight. The
gate starts there and is learned by softmax cross-entropy over each user's candidates: the gain is
the log-probability of drawing the user's held-out liked items. Those ratings must be unknown to the
models behind the signals (out-of-fold), or whoever has memorised them is trusted.

Both are learned on each four fifths of the users and measured on the others, and what is best so,
cross-fitted, is kept: the gate, the convex combination, whose weights are then the mean of those of
the folds, or one signal alone.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from numpy.typing import NDArray

from jaxrec.devices import Mesh, placement
from jaxrec.evaluation import metrics
from jaxrec.evaluation.task import Task, judges
from jaxrec.fusion.gate import WINNERS, Familiarity, Learned, Weights, gated, standardised
from jaxrec.topk.blocks import MEMORY, over_users
from jaxrec.topk.ranking import membership, rank
from jaxrec.topk.scorer import AnyScorer, Scorer, worked_out

STEPS = 20
"""Of L-BFGS; the loss is convex in the gate's weights."""
PENALTY = 0.01
"""L2 weight of the gate's distance from the convex combination."""
DEPTH = 500
"""Candidates of a user that the gate is learned on: the best by the mean of the signals."""
LEARNERS = 5000
"""At most so many users teach the gate."""
UNITS = 20
"""The weights of a convex combination are multiples of 1/20."""
SHARES = (4, 2, 1)
"""Units that go from one signal to another in the search."""
FOLDS = 5
K = 25


class Gate(nnx.Module):
    """The weights of `jaxrec.fusion.gate`, at first those of the convex combination `a`."""

    def __init__(self, a: Array, user_features: int, item_features: int):
        self.a = nnx.Param(a)
        self.b = nnx.Param(jnp.zeros((len(a), user_features)))
        self.d = nnx.Param(jnp.zeros((len(a), item_features)))
        self.h = nnx.Param(jnp.zeros(item_features))
        self.H = nnx.Param(jnp.zeros((user_features, item_features)))

    def __call__(self, z: Array, users: Array, items: Array) -> Array:
        """Fused scores; see `jaxrec.fusion.gate.gated`."""
        return gated(nnx.to_pure_dict(nnx.state(self)), z, users, items)


class Part(NamedTuple):
    """Signals and what they are judged by."""

    signals: tuple[AnyScorer, ...]
    """Models that do not know the relevant items of `task`."""
    familiarity: Familiarity
    """How much those models know."""
    task: Task
    """Of validation."""


class Drawn(NamedTuple):
    """Users that a fusion is learned on, and their candidates; on the host, a user a row."""

    who: NDArray[np.int32]
    """[n] her number: of several parts each may have drawn her."""
    z: NDArray[np.float32]
    """[n, signals, depth] see `Examples` for this and what follows."""
    users: NDArray[np.float32]
    items: NDArray[np.float32]
    there: NDArray[np.bool_]
    relevant: NDArray[np.bool_]
    relevant_in_all: NDArray[np.integer]


class Examples(NamedTuple):
    """Candidates of the users that the gate is learned on."""

    z: Array
    """[signals, users, depth]"""
    users: Array
    """[users, user features]"""
    items: Array
    """[users, depth, item features]"""
    there: Array
    """[users, depth] bool: a candidate?"""
    relevant: Array
    """[users, depth] bool"""
    relevant_in_all: Array
    """[users]"""


def learn_fusion(parts: Sequence[Part], seed: int, memory: int = MEMORY) -> Learned:
    """Learn the convex combination and the gate, and keep what is best cross-fitted.

    Args:
        parts: each with two or more signals.
        seed: of the users' folds.
        memory: bytes that the arrays of a block of users may take.
    """
    most = LEARNERS // len(parts)
    each = [draw(part, judges(part.task, seed, most), memory) for part in parts]
    return learn_from(Drawn(*map(np.concatenate, zip(*each, strict=True))), seed)


def learn_from(drawn: Drawn, seed: int) -> Learned:
    """`learn_fusion` on users who were drawn already; `seed` is that of their folds."""
    examples, learners = _examples(drawn), len(drawn.who)
    # a user who is in several parts is in one fold
    users, place = np.unique(drawn.who, return_inverse=True)
    folds = min(FOLDS, len(users))
    fold = (np.random.default_rng(seed).permutation(len(users)) % folds)[place]
    signals = UNITS * np.eye(len(examples.z), dtype=int)
    speaks = np.array([np.ptp(of[drawn.there]) > 0 for of in np.moveaxis(drawn.z, 1, 0)])
    features = drawn.users.shape[-1], drawn.items.shape[-1]

    @cache
    def convex(units: tuple[int, ...]) -> NDArray[np.floating]:
        """[users]"""
        a = jnp.asarray(units, jnp.float32) / UNITS
        return np.asarray(_convex_ndcg(a, examples))[:learners]

    alone = np.stack([convex(tuple(units)) for units in signals.tolist()])  # [signals, users]
    alone *= speaks[:, None]  # else the order of the candidates would speak
    found: dict[str, NDArray[np.floating]] = {name: np.zeros(len(fold)) for name in WINNERS}
    searched = []
    for held in range(folds):
        own, others = fold == held, (fold != held) | (folds == 1)
        units = _search(partial(_mean_of, convex, others), signals, np.flatnonzero(speaks))
        start = _start(jnp.asarray(units, jnp.float32) / UNITS, features)
        gate = _ndcg(_learn(start, examples, _weight(others, examples)), examples)[:learners]
        best = alone[:, others].mean(axis=1).argmax()
        for name, ndcg in zip(WINNERS, (alone[best], convex(units), gate), strict=True):
            found[name][own] = np.asarray(ndcg)[own]
        searched.append(units)
    ndcg = {name: float(of_users.mean()) for name, of_users in found.items()}
    winner, a = max(WINNERS, key=ndcg.__getitem__), np.mean(searched, axis=0) / UNITS
    one = np.eye(len(a))[alone.mean(axis=1).argmax()]
    weights = _start(jnp.asarray(one if winner == "signal" else a, jnp.float32), features)
    if winner == "gate":
        weights = _learn(weights, examples, _weight(np.ones(learners, bool), examples))
    rest = a * (1 - np.eye(len(a)))  # [signals, signals] of each the combination without it
    rest /= np.maximum(rest.sum(axis=1, keepdims=True), 1e-9)
    whole, *without = (
        float(jnp.mean(_convex_ndcg(jnp.asarray(of, jnp.float32), examples)[:learners]))
        for of in (a, *rest)
    )
    return Learned(
        winner,
        jax.tree.map(lambda w: w.tolist(), weights),
        a.tolist(),
        [whole - less for less in without],
        alone.mean(axis=1).tolist(),
        ndcg,
        {},
    )


def _mean_of(
    each: Callable[[tuple[int, ...]], NDArray[np.floating]],
    users: NDArray[np.bool_],
    units: tuple[int, ...],
) -> float:
    return float(each(units)[users].mean())


def _search(
    ndcg: Callable[[tuple[int, ...]], float],
    signals: NDArray[np.integer],
    speaking: NDArray[np.integer],
) -> tuple[int, ...]:
    """[signals] units from where no `SHARES` to another signal are a gain.

    Args:
        ndcg: of units.
        signals: [signals, signals] the units of each alone.
        speaking: those that tell candidates apart; if there are none, the first is taken.
    """
    units = max(map(tuple, signals[speaking].tolist()), key=ndcg, default=tuple(signals[0]))
    reached, even = ndcg(units), np.zeros(len(signals), int)
    even[speaking] = UNITS // max(len(speaking), 1)
    even += (UNITS - even.sum()) * np.array(units) // UNITS
    if (mixed := ndcg(tuple(even.tolist()))) > reached:
        units, reached = tuple(even.tolist()), mixed
    for share in SHARES:
        gained = True
        while gained:
            gained = False
            for to, source in itertools.permutations(speaking, 2):
                given, other = min(share, units[source]), list(units)
                other[to] += given
                other[source] -= given
                if given and (now := ndcg(tuple(other))) > reached + 1e-6:
                    units, reached, gained = tuple(other), now, True
    return units


def _start(a: Array, features: tuple[int, int]) -> Weights:
    return nnx.to_pure_dict(nnx.state(Gate(a, *features)))


def _gate(weights: Weights) -> Gate:
    gate = Gate(weights["a"], *weights["H"].shape)
    nnx.update(gate, weights)
    return gate


def _weight(users: NDArray[np.bool_], of: Examples) -> Array:
    """[users] 1 of these, 0 of others and of those that fill up."""
    weight = np.pad(users.astype(np.float32), (0, len(of.users) - len(users)))
    return jax.device_put(weight, of.relevant_in_all.sharding)


def _examples(drawn: Drawn) -> Examples:
    """Of all drawn users, cut over the accelerators if there are several, the last one repeated
    until each has as many.
    """
    _, z, users, items, there, relevant, in_all = drawn
    # a feature that is the same everywhere would weigh on items that were never seen here
    items = items * (np.ptp(items[there], axis=0) > 1e-6)
    z, of_users, place = np.moveaxis(z, 1, 0), (users, items, there, relevant, in_all), placement()
    if isinstance(place, Mesh):
        return Examples(place.spread(z, 1), *(place.spread(array, 0) for array in of_users))
    return Examples(jnp.asarray(z), *map(jnp.asarray, of_users))


def draw(part: Part, users: NDArray[np.int32], memory: int) -> Drawn:
    """Candidates of some users [n] of a part, within `memory` bytes at a time."""
    signals, familiarity, task = part
    depth = min(DEPTH, len(task.catalogue))
    of_users, of_items = np.asarray(familiarity.users)[users], np.asarray(familiarity.items)
    if not len(users):
        features = np.zeros((0, depth, of_items.shape[1]), np.float32)
        none = np.zeros((0, depth), bool)
        z = np.zeros((0, len(signals), depth), np.float32)
        return Drawn(users, z, of_users, features, none, none, task.relevant.lengths[users])

    def find(block: NDArray[np.int32], *pairs: Any) -> tuple[Array, Array, Array, Array]:
        here = worked_out(signals, block)
        return _best_candidates(here, block, *pairs, task.catalogue, task.tie_order, depth)

    z, items, there, relevant = over_users(
        find,
        users,
        len(task.catalogue),
        (task.seen, task.relevant),
        memory // (1 + len(signals)),
    )
    features = of_items[np.maximum(items, 0)]
    return Drawn(users, z, of_users, features, there, relevant, task.relevant.lengths[users])


@partial(jax.jit, static_argnames="depth")
@jax.default_matmul_precision("highest")
def _best_candidates(
    scorers: tuple[Scorer, ...],
    users: Array,
    seen: tuple[Array, Array],
    relevant: tuple[Array, Array],
    catalogue: Array,
    tie_order: Array | None,
    depth: int,
) -> tuple[Array, Array, Array, Array]:
    """Of each user the `depth` best by the mean of the signals: signals [block, signals, depth],
    items, whether they are candidates, and whether relevant [block, depth].

    They are in the order in which equal scores are ranked, if there is one: were they left in that
    of the mean, a combination that ranks items alike would borrow from it.
    """
    shape = len(users), len(catalogue)
    candidates = catalogue & ~membership(seen, *shape)
    z = standardised(scorers, users, candidates)
    mean = jnp.mean(z, axis=0)
    items, _ = rank(lambda *_: mean, users, seen, catalogue, depth, tie_order)
    if tie_order is not None:
        place = jnp.zeros_like(tie_order).at[tie_order].set(jnp.arange(len(tie_order)))
        last = jnp.where(items >= 0, place[items], len(tie_order))
        items = jnp.take_along_axis(items, jnp.argsort(last, axis=1), axis=1)
    place = jnp.maximum(items, 0)
    hits = jnp.take_along_axis(membership(relevant, *shape), place, axis=1) & (items >= 0)
    best = jnp.moveaxis(jnp.take_along_axis(z, place[None], axis=2), 0, 1)
    return best, items, items >= 0, hits


@jax.jit
def _ndcg(weights: Weights, of: Examples) -> Array:
    """[users] NDCG@25 of a gate within the candidates."""
    return _ndcg_of(_gate(weights)(of.z, of.users, of.items), of)


@jax.jit
def _convex_ndcg(a: Array, of: Examples) -> Array:
    """[users] NDCG@25 of a combination `a` [signals] within the candidates."""
    return _ndcg_of(jnp.einsum("c,cud->ud", a, of.z), of)


def _ndcg_of(y: Array, of: Examples) -> Array:
    y = jnp.where(of.there, y, -jnp.inf)
    _, best = jax.lax.top_k(y, min(K, y.shape[1]))
    return metrics.ndcg(
        jnp.take_along_axis(of.relevant, best, axis=1), of.relevant_in_all, best.shape[1]
    )


@jax.jit
def _learn(start: Weights, of: Examples, weight: Array) -> Weights:
    """The gate's weights, users weighted by `weight` [users]."""
    count = weight * jnp.sum(of.relevant, axis=1)

    def loss(weights: Weights) -> Array:
        y = _gate(weights)(of.z, of.users, of.items)
        total = jax.nn.logsumexp(jnp.where(of.there, y, -jnp.inf), axis=1)
        gained = weight * jnp.sum(jnp.where(of.relevant, y, 0), axis=1)
        away = jax.tree.map(lambda now, before: jnp.sum((now - before) ** 2), weights, start)
        entropy = jnp.sum(count * total - gained) / jnp.maximum(jnp.sum(count), 1)
        return entropy + PENALTY * sum(jax.tree.leaves(away))

    optimiser = optax.lbfgs()

    def step(_: Array, state: tuple) -> tuple:
        weights, memory = state
        value, gradient = optax.value_and_grad_from_state(loss)(weights, state=memory)
        updates, memory = optimiser.update(
            gradient, memory, weights, value=value, grad=gradient, value_fn=loss
        )
        return optax.apply_updates(weights, updates), memory

    weights, _ = jax.lax.fori_loop(0, STEPS, step, (start, optimiser.init(start)))
    return weights
