"""What the value of an interaction means: the only place that knows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jaxrec.errors import InputError

KINDS = ("stars", "likes", "counts")
Values = NDArray[np.floating]


@dataclass(frozen=True)
class Feedback:
    """How users say what they think: `stars` on a scale, `likes` alone, or `counts` of use."""

    kind: str
    scale: tuple[float, float] = (1.0, 1.0)
    """Lowest and highest value."""
    liked_from: float = 1.0
    """A value of so much or more is liked."""
    disliked_below: float = 0.0
    """A value below is disliked."""
    neutral: float = 0.0
    """The graded target of this value is 0, that of `liked_from` 1."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"no feedback {self.kind!r}; there are {', '.join(KINDS)}")
        if self.kind == "stars" and not (
            self.scale[0] < self.scale[1] and self.neutral < self.liked_from
        ):
            raise InputError(
                f"stars of scale {self.scale} with {self.liked_from} liked and {self.neutral}"
                " neutral; a scale rises, and what is liked lies above what is neutral"
            )

    def liked(self, values: Values) -> NDArray[np.bool_]:
        """[n] is it liked?"""
        return values >= self.liked_from

    def disliked(self, values: Values) -> NDArray[np.bool_]:
        """[n] is it disliked?"""
        return values < self.disliked_below

    def graded(self, values: Values) -> Values:
        """[n] targets: 1 on what is just liked, 0 on `neutral`, linear between and beyond."""
        if self.kind != "stars":
            return np.ones(len(values))
        return (values - self.neutral) / (self.liked_from - self.neutral)

    def unit(self, values: Values) -> Values:
        """[n] values scaled so that the scale spans [0, 1]."""
        low, high = self.scale
        return (values - low) / (high - low) if high > low else np.ones(len(values))

    @property
    def best(self) -> float:
        """What somebody who likes an item gives at most."""
        return self.scale[1]

    @property
    def liked_rule(self) -> str:
        """In words, what is liked."""
        if self.kind == "stars":
            return f"ratings of at least {self.liked_from} stars"
        return "ratings" if self.kind == "likes" else f"counts of at least {self.liked_from:g}"
