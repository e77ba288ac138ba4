"""Several score cards as one, for the terminal."""

from collections.abc import Iterator

from rich.table import Table

from jaxrec.evaluation.card import Summary
from jaxrec.report.tables import figure, half_width, table_of_rows

LEAD = ("lead", "95 % interval", "in the splits", "p", "hits")
"""Headings of `lead_cells`."""


def tables(summary: Summary, k: int) -> Iterator[Table]:
    """Means at one cut-off, then the leads of `hybrid` by each figure that it is compared in."""
    yield summary_table(summary, k)
    for compared, rows in (summary.against or {}).items():
        if compared.endswith(f"@{k}"):
            shown = table_of_rows(f"hybrid, {compared.replace('_', ' ')}, over", LEAD)
            for row in rows:
                shown.add_row(row, *lead_cells(summary, compared, row))
            yield shown


def summary_table(summary: Summary, k: int) -> Table:
    """Means at one cut-off, and on how many hits recall on the tail rests."""
    headings = (f"P@{k}", "±", f"R@{k}", f"NDCG@{k}", "tail R", "tail hits")
    shown = table_of_rows(summary.title, headings)
    shown.caption = f"± and p: {summary.intervals}"
    if summary.left_out:
        shown.caption += f"\nnot measured in every run: {', '.join(summary.left_out)}"
    for row, means in summary.rows.items():
        shown.add_row(
            row,
            figure(means[f"precision@{k}"].mean),
            half_width(means[f"precision@{k}"].ci95),
            *(figure(means[f"{name}@{k}"].mean) for name in ("recall", "ndcg", "tail_recall")),
            f"{summary.hits[row][f'tail_hits@{k}']:,.0f}",
        )
    return shown


def lead_cells(summary: Summary, compared: str, row: str) -> tuple[str, ...]:
    """How `hybrid` stands against a row in one figure, by the headings `LEAD`.

    Leads are shares of the row's mean; hits are those of `hybrid` and of the row in all run
    folders, on the part of the items that the figure is of.
    """
    assert summary.against is not None
    lead, mean = summary.against[compared][row], summary.rows[row][compared].mean
    tail, k = "tail_" * compared.startswith("tail_"), compared.rpartition("@")[2]
    hits = (f"{summary.hits[of][f'{tail}hits@{k}']:,.0f}" for of in ("hybrid", row))
    shares = ("", "", "")
    if mean > 0:
        interval, splits = (
            f"{a / mean:+z.1%} to {b / mean:+z.1%}" for a, b in (lead.ci95, lead.range)
        )
        shares = f"{lead.relative:+z.1%}", interval, splits
    return *shares, f"{lead.p_holm:.4f}", " / ".join(hits)
