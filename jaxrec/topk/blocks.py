"""The one way to go through all users: in blocks of one length, under a byte budget."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from jaxrec.devices import Cores, Placement
from jaxrec.topk.item_sets import ItemSets

MEMORY = 2**30
"""Default byte budget of a block's arrays."""
BYTES = 32
"""A block's arrays, per user and item: about eight of four bytes."""
CACHED = 3 * 2**20
"""Most scores of a block: with its temporaries 24 MB. Beyond 32 MB the GNU C library
maps memory anew at every call, and the page faults take as long as the work."""

ALONE = Cores(1)


def user_blocks(
    users: NDArray[np.int32], items: int, memory: int, parallel: int = 1
) -> list[NDArray[np.int32]]:
    """Cut `users` into blocks of one length, the last filled up with its own last user.

    A block's arrays keep within `memory` bytes and its scores in the processor's cache. `parallel`
    blocks are worked on at once: their number is a multiple of it where users suffice.
    """
    most = min(memory // parallel // (BYTES * items), CACHED // items)
    most = int(np.clip(most, 1, max(len(users), 1)))
    rounds = math.ceil(len(users) / (most * parallel))
    block = max(math.ceil(len(users) / max(rounds * parallel, 1)), 1)
    parts = [users[start : start + block] for start in range(0, len(users), block)]
    return [np.pad(part, (0, block - len(part)), mode="edge") for part in parts]


def over_users(
    work: Callable[..., Any],
    users: NDArray[np.int32],
    items: int,
    sets: tuple[ItemSets, ...],
    memory: int = MEMORY,
    place: Placement = ALONE,
    first_alone: bool = False,
) -> Any:
    """What `work` makes of all users, block by block.

    Args:
        work: called with the users of a block [block] and, for each of `sets`, their pairs (see
            `ItemSets.pairs`) in one size for all blocks, so that one program serves them; returns a
            pytree of arrays [block, ...].
        users: [n], at least one.
        items: how many scores of a user are held at once.
        sets: of items, of every user.
        memory: bytes that the arrays of the blocks under way may take.
        place: where; by default one block after the other.
        first_alone: whether the first block is done before the others begin, which may then be at
            once: several at once would each compile a program that is new.

    Returns:
        The pytree of NumPy arrays [n, ...].
    """
    blocks = user_blocks(users, items, memory, place.parallel)
    sizes = [rounded(own.most_pairs(blocks)) for own in sets]

    def one(block: NDArray[np.int32]) -> Any:
        pairs = (own.pairs(block, size) for own, size in zip(sets, sizes, strict=True))
        return jax.tree.map(np.asarray, work(block, *pairs))

    first = [one(block) for block in blocks[:first_alone]]
    found = [*first, *place.each(one, blocks[len(first) :])]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(users)], *found)


def rounded(size: int) -> int:
    """A size or at most an eighth more, one of few, so that other users need no other program."""
    step = 1 << max(size.bit_length() - 4, 0)
    return -(-size // step) * step
