"""The set model and its loss.

A user who has given items the values x_i is u = sum of x_i v_i, of norm 1, and an item's logit is

    y_i = u . w_i / temperature + b_i.

The two vectors of an item begin as one and part slowly: v = m + c d and w = m - c d, of which m and
d are learned alike. With c = 0 they are one, which is best where an item has few users; with c = 1
they are free.

A part of what a user has is shown, and the rest is to be found: the loss is the cross-entropy of
the rest under the softmax of y over the catalogue, the mean by value over all that is to be found.
Where the catalogue is large its denominator is estimated: the items that somebody of the batch is
to find count as they are, and a sample of the others for all of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from jaxrec.devices import AXIS, Mesh


class Batch(NamedTuple):
    """What users have, cut in two; padded with users out of range."""

    users: Array
    """[pairs] place of the user in the batch."""
    items: Array
    """[pairs]"""
    values: Array
    """[pairs] 0 of what fills up."""
    shown: Array
    """[pairs] bool: shown, or to be found?"""
    candidates: Array
    """[candidates] items of the denominator."""
    places: Array
    """[pairs] where among the candidates the item is, if it is to be found."""
    stands_for: Array
    """[candidates] of how many items a candidate is one; 0 of what fills up."""


class SetModel(nnx.Module):
    """m, d and b."""

    def __init__(self, seeds: Array, apart: float, rated: Array):
        """Vectors [items, dim] to begin with; biases begin with how many have an item [items]."""
        self.middle = nnx.Param(seeds)
        self.difference = nnx.Param(jnp.zeros_like(seeds))
        self.bias = nnx.Param(jnp.log(1.0 + rated))
        self.apart = apart

    @property
    def inward(self) -> Array:
        """[items, dim] v"""
        return self.middle[...] + self.apart * self.difference[...]

    @property
    def outward(self) -> Array:
        """[items, dim] w"""
        return self.middle[...] - self.apart * self.difference[...]


def unit(rows: Array) -> Array:
    """Rows of norm 1; of norm 0 as they are, and with a gradient."""
    return rows * jax.lax.rsqrt(jnp.sum(rows**2, axis=1, keepdims=True) + 1e-12)


def loss(
    model: SetModel,
    batch: Batch,
    users: int,
    temperature: float | Array,
    mesh: Mesh | None = None,
) -> Array:
    """The module's loss of one batch of so many `users`, shared out over a mesh's devices."""
    shown, found = (batch.values * part for part in (batch.shown, ~batch.shown))
    v = shown[:, None] * model.inward[batch.items]
    u = unit(jnp.zeros((users, v.shape[1])).at[batch.users].add(v, mode="drop"))
    if mesh is not None:  # and so are their logits, the largest array
        u = jax.lax.with_sharding_constraint(u, NamedSharding(mesh.devices, PartitionSpec(AXIS)))
    w, b = model.outward[batch.candidates], model.bias[...][batch.candidates]
    y = u @ w.T / temperature + b
    total = jax.nn.logsumexp(y, axis=1, b=batch.stands_for)
    logits = y.at[batch.users, batch.places].get(mode="clip")
    gained = logits - total.at[batch.users].get(mode="clip")
    return -jnp.sum(found * gained) / jnp.maximum(jnp.sum(found), 1e-9)
