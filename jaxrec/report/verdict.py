"""What a score card comes to, in a line or two: which row won, and what text did."""

from collections.abc import Iterator
from math import isnan, nan

from jaxrec.evaluation.card import RowCard, ScoreCard

SURE = 0.05
"""p from which on a difference may be chance."""


def verdict(card: ScoreCard) -> Iterator[str]:
    """Lines at the largest cut-off; none of a card that has nothing to compare."""
    k = max(card.ks)
    if len(card.measured) > 1:
        yield lead_line(card, k)
    if line := text_line(card, k):
        yield line


def lead_line(card: ScoreCard, k: int) -> str:
    """Which row has the highest precision, how far it leads the next, and how sure that is."""
    metric = f"precision@{k}"
    first, second = card.ranked(k)[:2]
    highest, next_to_it = (row.figures.metrics[metric] for row in (first, second))
    lead = f", {highest / next_to_it - 1:+.1%} on {second.name}" if next_to_it > 0 else ""
    return f"{first.name} leads: P@{k} {highest:.4f}{lead}; {_how_sure(card, first, second, k)}"


def text_line(card: ScoreCard, k: int) -> str:
    """What each row gains that is on the card without text too; empty if there is none.

    Of several fine-tunings of an encoder the first is told of.
    """
    metric, gains = f"precision@{k}", []
    for name, row in card.measured.items():
        base, plus, _ = name.partition("+")
        without = card.measured.get(base)
        if not plus or without is None or base == "text" or "-draw" in name:
            continue
        if (before := without.figures.metrics[metric]) > 0:
            p = (row.figures.p_vs_pmf or {}).get(metric, nan) if base == "pmf" else nan
            sure = "" if isnan(p) else f" (p {p:.4f})"
            gains.append(f"{name} {row.figures.metrics[metric] / before - 1:+.1%}{sure}")
    return f"text changes P@{k}: {', '.join(gains)}" if gains else ""


def _how_sure(card: ScoreCard, first: RowCard, second: RowCard, k: int) -> str:
    """Of a lead; a card compares `hybrid` with every row and every row with `pmf`, no others."""
    metric = f"precision@{k}"
    compared = {} if card.hybrid is None else card.hybrid.against.get(metric, {})
    pair = {first.name, second.name}
    (other,) = pair - {"hybrid"} if "hybrid" in pair else ("",)
    if other in compared:
        lead, mean = compared[other], second.figures.metrics[metric]
        low, high = sorted(lead.ci95) if first.name == "hybrid" else sorted(-x for x in lead.ci95)
        interval = f"95 % interval {low / mean:+.1%} to {high / mean:+.1%}, " if mean > 0 else ""
        return f"{interval}Holm's p {lead.p_holm:.4f}{_chance(lead.p_holm)}"
    if "pmf" in pair:
        (of,) = (row for row in (first, second) if row.name != "pmf")
        if (p := (of.figures.p_vs_pmf or {}).get(metric)) is not None:
            return f"p {p:.4f}{_chance(p)}"
    return "how sure that is was not tested: only `hybrid` is compared with every row"


def _chance(p: float) -> str:
    return "" if p < SURE else ": it may be chance"
