"""What a card or a study comes to, by NDCG: what won, what text did, what to do next."""

from collections.abc import Sequence
from math import isnan, nan
from shlex import join
from typing import NamedTuple, Self

from jaxrec.evaluation.card import Comparison, Numbers, ScoreCard, Summary

SURE = 0.05
"""p below which a difference is more than chance."""


class Standing(NamedTuple):
    """How rows stand at one cut-off, in one run folder or over several."""

    k: int
    ndcg: Numbers
    """By row; without rows that have none."""
    tail: Numbers
    """Recall of rare items by row, where there is one."""
    over_pmf: Numbers
    """p that a row's NDCG is that of `pmf`, uncorrected."""
    against: dict[str, Comparison]
    """Of `hybrid`, by row."""
    over: str
    """In words, of what figures are means."""
    protocol: str
    synthetic: bool
    seeds: int | None
    """Of the splits of a study; None of one run folder."""

    @classmethod
    def of_card(cls, card: ScoreCard, k: int) -> Self:
        """In one run folder."""
        metric, rows = f"ndcg@{k}", card.measured
        tails = {row: of.by_item_third.get("tail") for row, of in rows.items()}
        return cls(
            k=k,
            ndcg=_known({row: of.figures.metrics[metric] for row, of in rows.items()}),
            tail=_known({row: of.metrics[f"recall@{k}"] for row, of in tails.items() if of}),
            over_pmf=_known(
                {row: (of.figures.p_vs_pmf or {}).get(metric, nan) for row, of in rows.items()}
            ),
            against={} if card.hybrid is None else card.hybrid.against.get(metric, {}),
            over=f"{next(iter(rows.values())).users:,} users",
            protocol=str(card.protocol["protocol"]),
            synthetic=bool(card.protocol["synthetic"]),
            seeds=None,
        )

    @classmethod
    def of_study(cls, summary: Summary, k: int) -> Self:
        """Over several run folders."""
        metric, rows = f"ndcg@{k}", summary.rows
        return cls(
            k=k,
            ndcg=_known({row: of[metric].mean for row, of in rows.items()}),
            tail=_known({row: of[f"tail_recall@{k}"].mean for row, of in rows.items()}),
            over_pmf={},
            against=(summary.against or {}).get(metric, {}),
            over=f"{len(summary.runs)} run folders",
            protocol=summary.protocol,
            synthetic=summary.synthetic,
            seeds=summary.seeds,
        )

    @property
    def ranked(self) -> list[str]:
        """Rows, the best first."""
        return sorted(self.ndcg, key=lambda row: -self.ndcg[row])


def three_lines(of: Standing, run: str, data: Sequence[str]) -> list[str]:
    """The verdict, by NDCG.

    Args:
        of: the rows.
        run: the run folder or the study, for commands to go on with.
        data: the options that name what it was made of, likewise.
    """
    if not of.ndcg:
        return [f"No row has an NDCG@{of.k}: no user has anything to find."]
    won, sure = what_won(of)
    return [won, what_text_did(of), what_next(of, run, data, sure)]


def what_won(of: Standing) -> tuple[str, bool]:
    """Which row is best, how far it leads the next, and whether that is more than chance."""
    best, *others = of.ranked
    line = f"Won: {best}, NDCG@{of.k} {of.ndcg[best]:.4f} over {of.over}"
    if not others:
        return f"{line}; nothing else was measured.", False
    second = others[0]
    mean = of.ndcg[second]
    if mean > 0:
        line += f", {of.ndcg[best] / mean - 1:+z.1%} on {second}"
    compared = {best: of.against.get(second), second: of.against.get(best)}.get("hybrid")
    if compared is not None:
        p, by, sign = compared.p_holm, " after Holm", 1 if best == "hybrid" else -1
        low, high = sorted(sign * bound for bound in compared.ci95)
        within = f"95 % interval {low / mean:+z.1%} to {high / mean:+z.1%}, " if mean > 0 else ""
    elif second == "pmf" and best in of.over_pmf:
        p, by, within = of.over_pmf[best], "", ""
    else:
        return f"{line}; how sure that is was not tested.", False
    sure = p < SURE
    line += f" ({within}p {_p(p)}{by}{'' if sure else ': it may be chance'})"
    clear = None if sure or best != "hybrid" else _first_clear(of, others)
    return f"{line}, and surely ahead of {clear} and what is below." if clear else f"{line}.", sure


def _first_clear(of: Standing, others: list[str]) -> str | None:
    """The best row from which on `hybrid` is surely ahead of all."""
    clear = None
    for row in reversed(others):
        if row not in of.against or not of.against[row].p_holm < SURE:
            break
        clear = row
    return clear


def what_text_did(of: Standing) -> str:
    """What rows gain by reading texts; of several fine-tunings of an encoder the first."""
    told = []
    for row in of.ndcg:
        base = row.partition("+")[0]
        if base == row or "-draw" in row or not of.ndcg.get(base, 0) > 0:
            continue
        line = f"{row} {of.ndcg[row] / of.ndcg[base] - 1:+z.1%} on {base}"
        if base == "pmf" and row in of.over_pmf:
            line += f" (p {_p(of.over_pmf[row])})"
        if row in of.tail and base in of.tail:
            line += f", recall of rare items {of.tail[row]:.4f} after {of.tail[base]:.4f}"
        told.append(line)
    if "text" in of.ndcg:
        told.append(f"text alone reaches {of.ndcg['text']:.4f}")
    if not told:
        return "Text: no row that reads texts was measured beside the same row without."
    return f"Text, by NDCG@{of.k}: {'; '.join(told)}."


def what_next(of: Standing, run: str, data: Sequence[str], sure: bool) -> str:
    """The command that is worth most now."""
    if of.synthetic:
        return "Next: made-up data say nothing of yours; `jaxrec run --data YOURS` does."
    if of.seeds is None and not any("text" in row or "+" in row for row in of.ndcg):
        rows = ["--row", "pmf", "--row", "pmf+text"]  # encodes the texts where that is to be done
        return f"Next: let rows read the texts: `{join(['jaxrec', 'run', '--run', run, *rows])}`."
    protocol = of.protocol if of.protocol != "published" else "strict"
    seeds = ["jaxrec", "run", "--seeds", f"{5 * (of.seeds or 1)}", *data]
    seeds += ["--protocol", protocol, "--run", f"{run}-seeds"]
    if not sure and protocol == of.protocol:
        return f"Next: settle it over more splits: `{join(seeds)}`."
    able = [row for row in of.ranked if row.partition("+")[0] != "mf"]
    if not able:
        return f"Next: measure rows that can serve, under protocol strict: `{join(seeds)}`."
    place = run if of.seeds is None else "RUN"
    fit = join(["jaxrec", "fit", "--run", place, "--row", able[0], "--out", "MODEL"])
    return f"Next: fit {able[0]} on everything, to serve it: `{fit}`."


def _known(figures: Numbers) -> Numbers:
    return {row: value for row, value in figures.items() if not isnan(value)}


def _p(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.3f}"
