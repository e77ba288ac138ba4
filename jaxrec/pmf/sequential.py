"""Logistic PMF by the published sequential RMSProp: one rating after the other.

For a rating r (scaled to [0, 1]) of item i by user u, with s = U_u . V_i and p = sigmoid(s):

    d = r - p,   e = d p (1 - p)
    g = e V_i - lambda U_u,  cache_u = 0.9 cache_u + 0.1 g^2,  U_u += eta g / (sqrt(cache_u) + eps)
    g = e U_u - lambda V_i,  cache_i = 0.9 cache_i + 0.1 g^2,  V_i += eta g / (sqrt(cache_i) + eps)

where the second line uses the *updated* U_u. The order matters, so nothing may be reordered; but a
user rates an item once, hence within one user's consecutive ratings every V_i is read before it is
written, and all V_i can be written together once the chain of U_u has run. The chain is the only
sequential part; it carries a single vector of factors.

XLA's CPU runtime starts every operation of a loop body as a task of its own, which costs three
times the arithmetic of a 100-factor vector. Two attributes on the chain's call ask for one compiled
function instead. They change speed alone: without them the result is the same to the bit.

Factors are float64. The published program holds its constants, targets and sigmoids, and the
exponentials within them, in single precision, and 200 sweeps magnify a last bit into a few hits:
so these roundings, and the order of operations, are part of the definition here. On ml-latest-small
all factors equal the published program's to the last bit after 200 sweeps.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental.xla_metadata import set_xla_metadata
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.data.feedback import Feedback
from jaxrec.pmf.objective import Factors, check_kind, check_some
from jaxrec.pmf.sweeps import Checkpoints, OnSweep, run_sweeps

DECAY = np.float64(np.float32(0.9))
EPSILON = 1e-8
INITIAL_SCALE = 0.001
"""Standard deviation of the initial factors."""
EXP2_CUBIC = (0.6931471806916203, 0.2402284522445722, 0.05550361559341535)
"""2^r = 1 + c1 r + c2 r^2 + c3 r^3 for |r| <= 1/64."""
BLOCK = 64
"""Consecutive ratings of one user per step of the outer loop; faster than 128."""


class RmsPropState(NamedTuple):
    """Factors and running mean squares of their gradients, float64."""

    U: Array
    V: Array
    cache_U: Array
    cache_V: Array


class Blocks(NamedTuple):
    """Interactions in training order, cut into blocks of consecutive ratings of one user."""

    user: Array
    """[blocks]"""
    items: Array
    """[blocks, BLOCK] filled up with the number of items, an index out of range."""
    targets: Array
    """[blocks, BLOCK] ratings scaled to [0, 1]."""
    length: Array
    """[blocks] ratings in the block."""


def fit_sequential(
    ratings: Interactions,
    feedback: Feedback,
    users: int,
    items: int,
    *,
    factors: int = 100,
    sweeps: int = 200,
    learning_rate: float = 0.005,
    lambda_: float = 0.001,
    seed: int = 42,
    checkpoints: Checkpoints | None = None,
    on_sweep: OnSweep = lambda sweep, loss: None,
) -> tuple[Factors, list[float]]:
    """Fit logistic PMF (Salakhutdinov & Mnih 2008) as the published reports did.

    Args:
        ratings: to train on, each user's together, in the order to visit them.
        feedback: the scale of their values.
        users: rows of U; a user without a rating gets zeros.
        items: rows of V; an item without a rating gets zeros.
        factors: columns of U and V.
        sweeps: passes over the ratings.
        learning_rate: eta above.
        lambda_: L2 weight of both factors, applied at every rating.
        seed: of the initial factors, drawn from N(0, 0.001^2) for U, then for V with items in
            order of first appearance.
        checkpoints: where to save and resume.
        on_sweep: told the sweep and its loss after each sweep.

    Returns:
        Factors (float64) whose products are logits, and the loss of every sweep: the sum over
        ratings of d^2 + lambda (|U_u|^2 + |V_i|^2) as met on the way.

    Raises:
        InputError: there are no ratings, or they are no stars.
        FloatingPointError: the loss is not finite.
    """
    check_some(ratings)
    check_kind(feedback, "logistic")
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        blocks = _blocks(ratings, feedback, items)
        state = _initial_state(ratings, users, items, factors, seed)

        def sweep(state: RmsPropState) -> tuple[RmsPropState, Array]:
            return _sweep(state, blocks, _single(learning_rate), _single(lambda_), np.int64(0))

        state, losses = run_sweeps(sweep, state, sweeps, checkpoints, on_sweep)
    return Factors(np.asarray(state.U), np.asarray(state.V)), losses


def _single(x: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Round to single precision, kept in double."""
    return np.asarray(x, np.float32).astype(np.float64)


def _blocks(ratings: Interactions, feedback: Feedback, items: int) -> Blocks:
    boundary = np.flatnonzero(np.diff(ratings.users, prepend=-1))
    starts = np.concatenate(
        [
            np.arange(first, last, BLOCK)
            for first, last in zip(boundary, [*boundary[1:], len(ratings.users)], strict=True)
        ]
    )
    length = np.minimum(np.diff(starts, append=len(ratings.users)), BLOCK)
    places = starts[:, None] + np.arange(BLOCK)
    inside = np.arange(BLOCK) < length[:, None]
    places = np.where(inside, places, 0)
    return Blocks(
        user=jnp.asarray(ratings.users[starts]),
        items=jnp.asarray(np.where(inside, ratings.items[places], items)),
        targets=jnp.asarray(_single(feedback.unit(ratings.values[places]))),
        length=jnp.asarray(length),
    )


def _initial_state(
    ratings: Interactions, users: int, items: int, factors: int, seed: int
) -> RmsPropState:
    rng = np.random.RandomState(seed)
    rated_by = np.unique(ratings.users)
    first_seen, place = np.unique(ratings.items, return_index=True)
    in_order = first_seen[np.argsort(place)]

    def draw(rows: NDArray[np.integer], count: int) -> Array:
        start = np.zeros((count, factors))
        start[rows] = rng.normal(0.0, INITIAL_SCALE, (len(rows), factors))
        return jnp.asarray(start)

    U, V = draw(rated_by, users), draw(in_order, items)
    return RmsPropState(U, V, jnp.zeros_like(U), jnp.zeros_like(V))


def _rounded(x: Array) -> Array:
    """Round to single precision, kept in double; XLA is allowed to drop a pair of astype."""
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=23)


def _expf(x: Array) -> Array:
    """exp(x) in single precision, kept in double: the bits of the GNU C library's expf.

    With z = 32 x / ln 2, k = round(z), r = z - k: 2^(k/32) times a cubic for 2^(r/32).
    """
    z = x * (32 / math.log(2))
    k = jnp.round(z)
    r = (z - k) / 32
    c1, c2, c3 = EXP2_CUBIC
    return _rounded(((c3 * r + c2) * r**2 + (c1 * r + 1)) * jnp.exp2(k / 32))


def _sigmoid(s: Array) -> Array:
    s = _rounded(s)
    return _rounded(jnp.where(s > 6, 1.0, jnp.where(s < -6, 0.0, 1 / (1 + _expf(-s)))))


@jax.jit
def _sweep(
    state: RmsPropState, blocks: Blocks, learning_rate: Array, lambda_: Array, zero: Array
) -> tuple[RmsPropState, Array]:
    """One pass over all ratings; returns the state and the loss met on the way."""

    def product(a: Array | np.float64, b: Array) -> Array:
        """Round a * b before anything is added to it.

        The compiler would contract product and sum into one instruction that rounds once. Integer
        arithmetic on the bits stops it, with a zero that it cannot know.
        """
        bits = jax.lax.bitcast_convert_type(a * b, jnp.int64) ^ zero
        return jax.lax.bitcast_convert_type(bits, jnp.float64)

    def gradient(e: Array, other: Array, row: Array) -> Array:
        return product(e, other) - product(lambda_, row)

    def step(g: Array, row: Array, cache: Array) -> tuple[Array, Array]:
        cache = product(DECAY, cache) + product(1 - DECAY, g**2)
        return row + product(learning_rate, g / (jnp.sqrt(cache) + EPSILON)), cache

    @jax.jit
    def chain(
        V_i: Array, targets: Array, length: Array, U_u: Array, cache_u: Array
    ) -> tuple[Array, Array, Array, Array, Array]:
        """Update U_u rating by rating; also return sum d^2, and e and the new U_u of each."""

        def body(t: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
            U_u, cache_u, loss, e_all, U_all = carry
            p = _sigmoid(jnp.sum(U_u * V_i[t]))
            d = targets[t] - p
            e = d * p * (1 - p)
            U_u, cache_u = step(gradient(e, V_i[t], U_u), U_u, cache_u)
            return U_u, cache_u, loss + d**2, e_all.at[t].set(e), U_all.at[t].set(U_u)

        start = (U_u, cache_u, jnp.zeros(()), jnp.zeros_like(targets), jnp.zeros_like(V_i))
        return jax.lax.fori_loop(0, length, body, start)

    def block(
        carry: tuple[RmsPropState, Array], x: Blocks
    ) -> tuple[tuple[RmsPropState, Array], None]:
        (U, V, cache_U, cache_V), loss = carry
        V_i = V.at[x.items].get(mode="fill", fill_value=0)
        cache_i = cache_V.at[x.items].get(mode="fill", fill_value=0)
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            U_u, cache_u, squared_error, e, U_all = chain(
                V_i, x.targets, x.length, U[x.user], cache_U[x.user]
            )
        V_i, cache_i = step(gradient(e[:, None], U_all, V_i), V_i, cache_i)
        inside = (jnp.arange(BLOCK) < x.length)[:, None]
        loss += squared_error + lambda_ * jnp.sum(inside * (U_all**2 + V_i**2))
        state = RmsPropState(
            U.at[x.user].set(U_u),
            V.at[x.items].set(V_i, mode="drop"),
            cache_U.at[x.user].set(cache_u),
            cache_V.at[x.items].set(cache_i, mode="drop"),
        )
        return (state, loss), None

    (state, loss), _ = jax.lax.scan(block, (state, jnp.zeros(())), blocks)
    return state, loss
