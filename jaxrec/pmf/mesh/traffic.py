"""What moves between devices in a sweep, what they work out, and what they hold: on paper.

With I items (padding included), c columns, P devices, b bytes a number, s conjugate-gradient steps,
identity as g and no biases, a device sends, and gets, in a sweep

    (P - 1) / P b (I c (2 s + 3) + I + 4 c^2)

bytes if one tile holds all items (s more gathers of I c else): 1 + (s + 1) times I c are gathered,
(s + 1) times I c and once I sums are scattered, and two c x c are summed. That is as much whatever
the number of users.
"""

from typing import NamedTuple


class Moved(NamedTuple):
    """One kind of collective, so often a sweep."""

    kind: str
    """`all-gather`, `reduce-scatter` or `all-reduce`, as XLA calls them."""
    numbers: int
    """Of the array on all devices together."""
    times: int

    def sent(self, devices: int, itemsize: int) -> float:
        """Bytes that a device sends, all of them in a ring."""
        ways = 2 if self.kind == "all-reduce" else 1
        return ways * self.times * self.numbers * itemsize * (devices - 1) / devices


def of_users(items: int, columns: int, tiles: int, steps: int) -> list[Moved]:
    """In the users' half: item vectors once, or in every pass."""
    return [Moved("all-gather", items * columns // tiles, 1 if tiles == 1 else tiles * (steps + 1))]


def of_items(items: int, columns: int, tiles: int, steps: int) -> list[Moved]:
    """In the items' half: the first pass sums the loss too."""
    return [
        Moved("all-gather", items * columns // tiles, tiles * (steps + 1)),
        Moved("reduce-scatter", items * (columns + 1) // tiles, tiles),
        Moved("reduce-scatter", items * columns // tiles, tiles * steps),
    ]


def of_sweep(items: int, columns: int, tiles: int, steps: int, *, all_pairs: bool) -> list[Moved]:
    """In a sweep.

    Args:
        items: vectors of all devices, padding included.
        columns: of a vector.
        tiles: in which item vectors are gathered.
        steps: of conjugate gradients.
        all_pairs: is there a sum over all pairs?
    """
    of = items, columns, tiles, steps
    return of_users(*of) + of_items(*of) + [Moved("all-reduce", columns**2, 2)] * all_pairs


def flops(ratings: float, columns: int, steps: int) -> float:
    """Floating-point operations of a device's sweep on its own ratings.

    A pass over a rating is f . x and e f, in each half the residual's and one a step.
    """
    return 2 * (steps + 1) * 4 * columns * ratings


def memory(
    ratings: float, users: float, items: int, columns: int, devices: int, tiles: int, itemsize: int
) -> float:
    """Bytes of a device's arrays at the worst moment of a sweep.

    Args:
        ratings: its own, laid out by user and by item, padding included in neither.
        users: its own, whose vectors are there before and after their half.
        items: of all devices; of a tile there are vectors and their sums.
        columns: of a vector.
        devices: how many share the items, of which conjugate gradients hold six vectors.
        tiles: in which item vectors are gathered.
        itemsize: bytes a number.
    """
    layouts = 2 if tiles == 1 else 4  # a loop over tiles holds copies of the one that it reads
    pairs = layouts * ratings * (4 + 2 * itemsize)
    own = 3 * users + 6 * items / devices
    return pairs + itemsize * columns * (own + 2 * items / tiles)
