"""What a text embedding should say of an item: its PMF factors, as users tell them apart.

A wrong v in place of V_i changes the scores of all users by U (v - V_i), whose mean square is
(v - V_i)^T C (v - V_i) with C = U^T U / users. With C = L L^T that is |L^T v - L^T V_i|^2, so an
encoder that regresses the targets L^T V_i by plain least squares has its error in scores.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec.pmf.objective import Factors

JITTER = 1e-6
"""Share of the mean variance that keeps C positive."""


class Targets(NamedTuple):
    """Regression targets of the items that have ratings."""

    items: NDArray[np.int32]
    """[n] positions in the catalogue."""
    targets: NDArray[np.float32]
    """[n, factors] L^T V_i, scaled to a weighted mean square of 1."""
    weights: NDArray[np.float32]
    """[n] fourth root of the number of ratings, mean 1.

    Flatter than what is known of V_i: the many items with few ratings teach what few will like.
    """


def alignment_targets(factors: Factors, counts: NDArray[np.integer]) -> Targets:
    """Targets of every item with a rating.

    Args:
        factors: of train.
        counts: [items] train ratings of each item.
    """
    U, V = (np.asarray(part, np.float64) for part in factors)
    items = np.flatnonzero(counts)
    C = U.T @ U / len(U)
    C += JITTER * (np.trace(C) / len(C) or 1.0) * np.eye(len(C))
    targets = V[items] @ np.linalg.cholesky(C)
    weights = counts[items] ** 0.25
    weights /= weights.mean()
    targets /= np.sqrt((weights[:, None] * targets**2).mean()) or 1.0  # factors may be all zero
    return Targets(items.astype(np.int32), targets.astype(np.float32), weights.astype(np.float32))
