"""An explanation as people and programs read it: tables, a line, JSON."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from jaxrec.data.dataset import Catalogue
from jaxrec.data.feedback import Feedback
from jaxrec.explanation.parts import Explanation

FEW = 3
"""Items that a line names."""
SMALL = 5e-5
"""Less than that is 0.0000."""
BESIDE = "how many have it"


def in_tables(
    catalogue: Catalogue, feedback: Feedback, explanation: Explanation, k: int
) -> Iterator[str | Table]:
    """Rank and score, what each signal gives, and what each item that the user has.

    Args:
        catalogue: whose titles are shown.
        feedback: what the user's values mean.
        explanation: of one item.
        k: so many of the user's items are shown, those that say most for it or against it.
    """
    yield (
        f"{catalogue.called(explanation.item)}: rank {explanation.rank:,} of"
        f" {explanation.candidates:,} by {explanation.row}, score {_figure(explanation.score)}"
    )
    if len(explanation.signals) > 1:
        yield _signals(explanation)
    yield _items(catalogue, feedback, explanation, k)


def _signals(explanation: Explanation) -> Table:
    """Weight times standardised score is a signal's part."""
    shown, whole = _table("signal", "weight", "standardised", "part", "share"), explanation.score

    def share(part: float) -> str:
        return f"{part / whole:z.0%}" if whole > 0 else ""

    for of in sorted(explanation.signals, key=lambda of: -of.part):
        figures = map(_figure, (of.weight, of.standardised, of.part))
        shown.add_row(of.signal, *figures, share(of.part))
    beside = explanation.of_familiarity
    if abs(beside) >= SMALL:
        shown.add_row(BESIDE, "", "", _figure(beside), share(beside))
    shown.add_section()
    shown.add_row("score", "", "", _figure(whole), share(whole))
    return shown


def _items(catalogue: Catalogue, feedback: Feedback, explanation: Explanation, k: int) -> Table:
    """A column of the whole and, of several signals, of each; the last line is the sum."""
    signals, known = explanation.signals, explanation.known
    of_known = np.stack([of.of_known for of in signals])  # [signals, known]
    whole = explanation.of_known
    most = np.argsort(-np.abs(whole), kind="stable")[:k]
    shown = _table(
        "what speaks for it", "value", "part", *(of.signal for of in signals if len(signals) > 1)
    )

    def add(label: str, value: str, parts: NDArray[np.floating], beside: float = 0.0) -> None:
        figures = [parts.sum() + beside, *(parts if len(signals) > 1 else ())]
        shown.add_row(label, value, *map(_figure, figures))

    for place in most[np.argsort(-whole[most], kind="stable")]:
        value = feedback.written(known.values[place])
        add(catalogue.called(known.items[place]), value, of_known[:, place])
    others = np.delete(of_known, most, axis=1)
    if others.shape[1]:
        add(f"... and {others.shape[1]:,} others", "", others.sum(axis=1))
    for label, parts in (
        ("the item itself, whoever asks", [of.of_item for of in signals]),
        ("less the mean of the candidates", [of.of_mean for of in signals]),
        ("rest: the fit ends short of its minimum", [of.rest for of in signals]),
    ):
        if np.max(np.abs(parts)) >= SMALL:
            add(label, "", np.array(parts))
    beside = explanation.of_familiarity
    if abs(beside) >= SMALL:
        shown.add_row(BESIDE, "", _figure(beside))
    shown.add_section()
    add("score", "", np.array([of.part for of in signals]), beside)
    return shown


def in_short(catalogue: Catalogue, explanation: Explanation) -> str:
    """The signal that gives most, and the items of the user's that say most for the item."""
    whole, strongest = explanation.of_known, explanation.strongest
    best = np.argsort(-whole, kind="stable")[:FEW]
    named = [
        f"{catalogue.called(explanation.known.items[at])} {_figure(whole[at])}"
        for at in best[whole[best] >= SMALL]
    ]
    told = named or ["nothing that is known of the user speaks for it"]
    if len(explanation.signals) > 1:
        told.insert(0, f"{strongest.signal} gives {_figure(strongest.part)} of it")
    return "; ".join(told)


def as_json(catalogue: Catalogue, explanation: Explanation) -> dict[str, Any]:
    """All of it by external ids, the user's items in the order of what they give."""
    signals, known, whole = explanation.signals, explanation.known, explanation.of_known

    def item(position: int) -> dict[str, Any]:
        return {
            "item_id": catalogue.ids.names[position].item(),
            "title": catalogue.titles[position],
        }

    return {
        "row": explanation.row,
        **item(explanation.item),
        "score": explanation.score,
        "rank": explanation.rank,
        "candidates": explanation.candidates,
        "strange": explanation.strange,
        "signals": [
            {
                "signal": of.signal,
                "weight": of.weight,
                "score": of.score,
                "standardised": of.standardised,
                "part": of.part,
                "of_known": float(of.of_known.sum()),
                "of_item": of.of_item,
                "of_mean": of.of_mean,
                "rest": of.rest,
            }
            for of in signals
        ],
        "of_familiarity": explanation.of_familiarity,
        "known": [
            {
                **item(known.items[at]),
                "value": float(known.values[at]),
                "part": float(whole[at]),
                "by_signal": {of.signal: float(of.of_known[at]) for of in signals},
            }
            for at in np.argsort(-whole, kind="stable")
        ],
    }


def _table(first: str, *headings: str) -> Table:
    shown = Table(padding=(0, 0))
    shown.add_column(first, no_wrap=True)
    for heading in headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    return shown


def _figure(value: float) -> str:
    """Four decimals, and none of a zero below 0."""
    return f"{value:z.4f}"
