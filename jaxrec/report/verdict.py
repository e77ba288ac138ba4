"""A score card in three lines: what won and how surely, what text did, what to do next."""

from math import isnan
from shlex import join

from jaxrec.evaluation.card import Comparison, ScoreCard, data_name
from jaxrec.report.charts import SURE


def three_lines(card: ScoreCard, k: int, run: str, data: str) -> list[str]:
    """By NDCG at one cut-off.

    Args:
        card: of the run folder.
        k: cut-off.
        run: the run folder, for the command to go on with.
        data: what it was made of, likewise.
    """
    won, sure = _won(card, k)
    return [won, _text(card, k), _next(card, k, run, data, sure)]


def ranked(card: ScoreCard, k: int) -> list[str]:
    """The measured rows, the best NDCG first."""
    ndcg = {name: row.figures.metrics[f"ndcg@{k}"] for name, row in card.measured.items()}
    known = [name for name, value in ndcg.items() if not isnan(value)]
    return sorted(known, key=lambda name: -ndcg[name])


def _won(card: ScoreCard, k: int) -> tuple[str, bool]:
    """Which row has the best NDCG, and whether its lead over the next is more than chance."""
    metric, order = f"ndcg@{k}", ranked(card, k)
    if not order:
        return f"No row has an NDCG@{k}: no user has anything to find.", False
    best, users = order[0], card.measured[order[0]].users
    of = card.measured[best].figures
    low, high = of.ci95[metric]
    line = (
        f"Won: {best}, NDCG@{k} {of.metrics[metric]:.4f} (95 % interval {low:.4f} to {high:.4f},"
        f" {users:,} users)"
    )
    if len(order) == 1:
        return f"{line}; nothing else was measured.", False
    second = order[1]
    gain = of.metrics[metric] / card.measured[second].figures.metrics[metric] - 1
    line += f", {gain:+.1%} over {second}"
    against = {} if card.hybrid is None else card.hybrid.against.get(metric, {})
    compared = {best: against.get(second), second: against.get(best)}.get("hybrid")
    if compared is None:
        p = None if of.p_vs_pmf is None else of.p_vs_pmf.get(metric)
        if second != "pmf" or p is None:
            return f"{line}; the two were not compared by a test.", False
        return f"{line} (p {_p(p)}{'' if p < SURE else ': it may be chance'}).", p < SURE
    sure = compared.p_holm < SURE
    line += f" (p {_p(compared.p_holm)} after Holm{'' if sure else ': it may be chance'})"
    clear = _first_clear(against, order) if best == "hybrid" and not sure else None
    return line + (f", and clearly ahead of {clear} and what is below." if clear else "."), sure


def _first_clear(against: dict[str, Comparison], order: list[str]) -> str | None:
    """The best row from which on all differ surely."""
    clear = None
    for row in reversed(order[1:]):
        if row not in against or against[row].p_holm >= SURE:
            break
        clear = row
    return clear


def _text(card: ScoreCard, k: int) -> str:
    """What rows gain by reading texts."""
    ndcg, tail = f"ndcg@{k}", f"recall@{k}"
    measured, told = card.measured, []
    for name, row in measured.items():
        base = name.partition("+")[0]
        if base == name or base not in measured:
            continue
        own, other = (of.figures.metrics[ndcg] for of in (row, measured[base]))
        if not other > 0:
            continue
        line = f"{name} {own / other - 1:+.1%} over {base}"
        p = (row.figures.p_vs_pmf or {}).get(ndcg)
        if base == "pmf" and p is not None:
            line += f" (p {_p(p)})"
        now, before = (of.by_item_third["tail"].metrics.get(tail) for of in (row, measured[base]))
        if now is not None and before is not None:
            line += f", recall of tail items {now:.4f} after {before:.4f}"
        told.append(line)
    if "text" in measured:
        told.append(f"text alone reaches {measured['text'].figures.metrics[ndcg]:.4f}")
    if not told:
        return "Text: no row that reads texts was measured beside the same row without."
    return f"Text, by NDCG@{k}: {'; '.join(told)}."


def _next(card: ScoreCard, k: int, run: str, data: str, sure: bool) -> str:
    """The command that is worth most now."""
    if card.protocol["synthetic"]:
        what = data_name(card.protocol["data"], True)
        return f"Next: {what} say nothing about yours; `jaxrec run --data YOURS` does."
    if not any("text" in row or "+" in row for row in card.measured):
        return f"Next: let rows read the texts: `{join(['jaxrec', 'embed', '--run', run])}`."
    protocol = str(card.protocol["protocol"])
    other = protocol if protocol != "published" else "strict"
    splits = ["jaxrec", "run", "--seeds", "5", "--data", data, "--protocol", other]
    seeds = join([*splits, "--run", f"{run}-seeds"])
    if not sure and other == protocol:
        return f"Next: settle it over several splits: `{seeds}`."
    best = [row for row in ranked(card, k) if not row.startswith("mf")]
    if not best:
        return f"Next: measure rows that can serve, under protocol strict: `{seeds}`."
    fit = join(["jaxrec", "fit", "--run", run, "--row", best[0], "--out", "MODEL"])
    return f"Next: fit {best[0]} on everything, to serve it: `{fit}`."


def _p(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.3f}"
