"""Where the vectors of items begin: their features, centred and projected."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Projection(NamedTuple):
    """The main axes of the features of a catalogue, for further items too."""

    mean: NDArray[np.floating]
    """[features]"""
    axes: NDArray[np.floating]
    """[features, dim], orthonormal; zero in dimensions that the features do not have."""

    @classmethod
    def of(cls, features: NDArray[np.floating], dim: int) -> "Projection":
        """Of `features` [items, features] along the `dim` axes of the greatest variance."""
        mean = features.mean(axis=0, dtype=np.float64)
        away = features - mean
        variances, axes = np.linalg.eigh(away.T @ away)
        axes = (axes * (variances > 1e-9 * variances.max()))[:, ::-1][:, :dim]
        return cls(mean, np.pad(axes, ((0, 0), (0, dim - axes.shape[1]))))

    def seeds(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """[items, dim] of `features` [items, features]; rows have norm 1, or 0 at the mean."""
        along = (features - self.mean) @ self.axes
        norms = np.linalg.norm(along, axis=1, keepdims=True)
        return (along / np.where(norms > 1e-9, norms, 1)).astype(np.float32)
