"""What the value of an interaction means: the only place that knows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.data.batches import Mending, Where
from jaxrec.data.columns import kind_by_name
from jaxrec.errors import InputError

KINDS = ("stars", "likes", "counts")
CONFIDENCES = ("log", "linear")
Values = NDArray[np.floating]

SCALES = ((1, 5), (0.5, 5), (0, 1), (-1, 1), (0, 5), (1, 10), (0, 10), (-10, 10), (0, 100))
"""Scales of stars that are common, the likelier first."""
REPEATED = 0.05
"""If more pairs than this share come again, interactions without values are to be counted."""
IMPLICIT_SHARE = 0.3
"""Zeros that are so many, below a scale that starts at 1, are no ratings (Book-Crossing)."""
LIKED_SHARE = 0.7
"""Of the scale: stars from there on are liked."""
MANY_LEVELS = 100
"""So many different stars are a continuous scale, not a ladder."""


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
    confidence: str = "log"
    """How confidence grows with a count v: `log` (1 + v) or `linear` (Hu 2008)."""

    typical: float = 1.0
    """A count of so much has the confidence 1."""
    implicit: float | None = None
    """A value that was no rating but an interaction: such have the value `liked_from`."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"no feedback {self.kind!r}; there are {', '.join(KINDS)}")
        if self.confidence not in CONFIDENCES:
            raise InputError(
                f"no confidence {self.confidence!r}; there are {', '.join(CONFIDENCES)}"
            )
        if self.kind == "stars" and not (
            self.scale[0] < self.scale[1] and self.neutral < self.liked_from
        ):
            raise InputError(
                f"stars of scale {self.scale} with {self.liked_from} liked and {self.neutral}"
                " neutral; a scale rises, and what is liked lies above what is neutral"
            )
        if self.kind == "counts" and not (self.liked_from > 0 and self.typical > 0):
            raise InputError(
                f"counts are liked from {self.liked_from:g} and {self.typical:g} is typical; both"
                " must be above 0"
            )

    @classmethod
    def of(
        cls,
        kind: str,
        levels: Values,
        often: NDArray[np.integer] | None = None,
        **given: Any,
    ) -> "Feedback":
        """What values of a kind mean, where it is not given.

        Stars: the first of `SCALES` that has room for the values, the highest of them liked, else
        their own ends; liked is the upper 30 % of the scale, disliked its lower half, each moved up
        to a value that occurs. Counts: every one is liked, the median is typical. Like the scale,
        that is told from all values.

        Args:
            kind: of feedback.
            levels: [n] the values that occur, ascending, each once.
            often: [n] how often each does; once by default.
            given: fields that are known; None is not.
        """
        given = {name: value for name, value in given.items() if value is not None}
        if kind != "stars":
            guessed: dict[str, Any] = {"scale": (1.0, 1.0)}
            positive = levels[levels > 0]
            if kind == "counts" and len(positive):
                weights = np.ones(len(levels)) if often is None else often
                half = np.cumsum(weights[levels > 0])
                typical = positive[np.searchsorted(half, half[-1] / 2)]
                ends = float(positive[0]), float(positive[-1])
                guessed = {"scale": ends, "liked_from": ends[0], "typical": float(typical)}
            return cls(kind, **guessed | given)
        low, high = given.pop("scale", None) or _scale(levels)
        ladder = 1 < len(levels) <= MANY_LEVELS

        def level(share: float) -> float:
            wanted = low + share * (high - low)
            above = levels[levels >= wanted - 1e-9]
            return float(above[0]) if ladder and len(above) else wanted

        liked = given.get("liked_from", level(LIKED_SHARE))
        known = {
            "liked_from": liked,
            "disliked_below": level(0.5),
            "neutral": low + (liked - low) * 2 / 7,  # 1.5 of 0.5 to 5 where 4 is liked
        }
        return cls(kind, (float(low), float(high)), **known | given)

    def liked(self, values: Values) -> NDArray[np.bool_]:
        """[n] is it liked?"""
        return values >= self.liked_from

    def disliked(self, values: Values) -> NDArray[np.bool_]:
        """[n] is it disliked?"""
        return values < self.disliked_below

    def graded(self, values: Values) -> Values:
        """[n] how much an interaction says: 1 on what is just liked.

        Stars: targets, 0 on `neutral` and linear between and beyond. Counts: confidences. Likes: 1.
        """
        if self.kind == "stars":
            return (values - self.neutral) / (self.liked_from - self.neutral)
        if self.kind == "likes":
            return np.ones(len(values))
        if self.confidence == "log":
            return np.log1p(values) / np.log1p(self.typical)
        return values / self.typical

    def unit(self, values: Values) -> Values:
        """[n] values scaled so that the scale spans [0, 1]."""
        low, high = self.scale
        return (values - low) / (high - low) if high > low else np.ones(len(values))

    @property
    def has_grades(self) -> bool:
        """Does a value say how much something is liked? Of likes it does not."""
        return self.kind != "likes"

    def written(self, value: float) -> str:
        """A value as people write it; nothing of a like."""
        return {"stars": f"{value:.1f}", "likes": "", "counts": f"{value:g}"}[self.kind]

    @property
    def best(self) -> float:
        """What somebody who likes an item gives: the most stars, or what is typical."""
        return self.scale[1] if self.kind == "stars" else self.typical

    @property
    def liked_rule(self) -> str:
        """In words, what is liked."""
        if self.kind == "stars":
            return f"ratings of at least {self.liked_from} stars"
        return "interactions" if self.kind == "likes" else f"counts of at least {self.liked_from:g}"


def meaning(
    column: pl.Series | None,
    rows: int,
    again: float,
    given: dict[str, Any],
    name: str,
    mending: Mending,
    where: Where,
) -> tuple[NDArray[np.float64], Feedback]:
    """Values, and what they mean; `given` as in `interactions`.

    `again` is the share of the rows whose pair of user and item has been there before.
    """
    if column is None:
        return np.ones(rows), without_values(again, given)
    values = column.to_numpy()
    levels, counts = levels_of(values)

    def first(wanted: Values) -> tuple[str, float]:
        row = int(np.flatnonzero(np.isin(values, wanted))[0])
        return where(row), float(values[row])

    feedback = told(levels, counts, given, name, mending, first)
    if feedback.kind == "likes":
        return np.ones(rows), feedback
    if feedback.implicit is not None:
        values = np.where(values == feedback.implicit, feedback.liked_from, values)
    return values, feedback


def without_values(again: float, given: dict[str, Any]) -> Feedback:
    """What interactions without values mean; arguments as those of `meaning`."""
    kind = given.get("kind") or ("counts" if again > REPEATED else "likes")
    return Feedback.of(kind, np.ones(1), **without_none(given))


First = Callable[[Values], tuple[str, float]]
"""Names the place of the first row with one of some values, and gives that value."""


def told(
    levels: Values,
    counts: NDArray[np.int64],
    given: dict[str, Any],
    name: str,
    mending: Mending,
    first: First,
) -> Feedback:
    """What values mean, from those that there are.

    Args:
        levels: [n] the values that occur, ascending, each once.
        counts: [n] how often each does.
        given: as in `interactions`.
        name: of their column.
        mending: told what is to be known.
        first: where to look at what is refused.
    """
    kind, implicit, given = given.get("kind"), given.get("implicit"), without_none(given)
    named = "stars" if "scale" in given else kind_by_name(name) if len(levels) > 1 else None
    kind = kind or named or guess_kind(levels, counts)
    if kind == "likes":
        if len(levels) > 1:
            mending.say(f"values of {name} are not read: every interaction is a like")
        return Feedback.of(kind, np.ones(1), **given)
    if implicit is None and kind == "stars" and "scale" not in given:
        implicit = _implicit(levels, counts)
    is_rating = np.ones(len(levels), bool) if implicit is None else levels != implicit
    rated, often = levels[is_rating], counts[is_rating]
    feedback = Feedback.of(kind, rated, **given, implicit=implicit)
    low, high = feedback.scale
    if kind == "stars" and "scale" not in given:
        _refuse_outliers(levels, counts, name, first)
        if rated[0] == 0 and len(rated) > 2 and rated[1] >= 1:
            mending.say(f"{name} 0 is taken as the worst; if it is no rating, say implicit = 0")
    off = rated[(rated < low) | (rated > high)]
    if kind == "stars" and len(off):
        place, value = first(off)
        raise InputError(
            f"{place}: {name} is {value:g}; the scale is {low:g} to {high:g} (a dataset.toml says"
            " another: scale, or that the value is no rating: implicit)"
        )
    liked = int(often[feedback.liked(rated)].sum())
    if implicit is not None:
        without = int(counts.sum() - often.sum())
        liked += without
        mending.say(
            f"{without:,} values of {implicit:g} are interactions without a rating: they"
            f" count as just liked ({feedback.liked_from:g})"
        )
    share = liked / int(counts.sum())
    if kind == "stars" and counts.sum() >= 100 and not 0.02 <= share <= 0.98:
        mending.say(f"{share:.1%} are liked, from {feedback.liked_from:g} on: is that so?")
    return feedback


def _implicit(levels: Values, counts: NDArray[np.int64]) -> float | None:
    """A value below a scale that starts at 1 which is no rating: -1, or 0 if it is often there."""
    if len(levels) < 3 or levels[1] < 1:
        return None
    often = levels[0] == 0 and counts[0] > IMPLICIT_SHARE * counts.sum()
    return float(levels[0]) if often or levels[0] == -1 else None


def _refuse_outliers(levels: Values, counts: NDArray[np.int64], name: str, first: First) -> None:
    """Refuse a few values far above all others, which would stretch the scale."""
    far = levels > 5 * levels[np.searchsorted(np.cumsum(counts), 0.99 * counts.sum())]
    if far.any() and levels[0] >= 0:
        place, value = first(levels[far])
        raise InputError(
            f"{place}: {name} is {value:g}, and 99 % of them are at most"
            f" {levels[~far][-1]:g}; mend it, or say scale or kind"
        )


def without_none(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Feedback` that are known."""
    return {
        field: value
        for field, value in given.items()
        if value is not None and field not in ("kind", "implicit")
    }


def guess_kind(levels: Values, counts: NDArray[np.integer]) -> str:
    """The kind of feedback that values look like, where their column's name says nothing.

    All alike are likes. What is never below 0 and goes beyond 100 is counts; so are whole numbers
    from 1 on of which 1 is the commonest by a fifth, a few below 0 (given back) among them or not.
    All else is stars.

    Args:
        levels: [n] the values that occur, ascending, each once.
        counts: [n] how often each does.
    """
    if len(levels) <= 1:
        return "likes"
    whole, ones = bool((levels == np.round(levels)).all()), counts[levels == 1].sum()
    lead = ones >= 1.2 * counts[levels != 1].max() and levels[-1] > 1
    given_back = counts[levels < 0].sum() <= 0.2 * counts.sum() and not (levels == 0).any()
    lead = lead and (levels[0] >= 1 or given_back)
    if (whole and lead) or (levels[0] >= 0 and levels[-1] > 100):
        return "counts"
    return "stars"


def levels_of(values: Values) -> tuple[Values, NDArray[np.int64]]:
    """The values that occur, ascending, and how often each does; halves without sorting."""
    low = 2 * float(values.min())
    most = int(min(2 * float(values.max()) - low, 10_000)) + 1
    counts = np.zeros(most, np.int64)
    for start in range(0, len(values), 2**16):  # in the processor's cache
        steps = 2 * values[start : start + 2**16] - low
        if steps.max() >= most or not np.array_equal(whole := steps.astype(np.int64), steps):
            return np.unique(values, return_counts=True)
        counts += np.bincount(whole, minlength=most)
    return (np.flatnonzero(counts) + low) / 2, counts[counts > 0]


def _scale(levels: Values) -> tuple[float, float]:
    """The likeliest scale on which all `levels` lie, ascending, and the highest is liked."""
    if not len(levels):
        return SCALES[0]
    lowest, highest = float(levels[0]), float(levels[-1])
    for low, high in SCALES:
        liked = low + LIKED_SHARE * (high - low)
        if low <= lowest and liked < highest <= high and (low < 0) == (lowest < 0):
            return low, high
    return lowest, highest if highest > lowest else lowest + 1
