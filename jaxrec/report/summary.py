"""Several score cards as one, for the terminal."""

from rich.table import Table

from jaxrec.evaluation.card import Summary
from jaxrec.report.tables import figure, half_width, table_of_rows


def summary_table(summary: Summary, k: int) -> Table:
    """Means at one cut-off, and the lead of `hybrid` with its p."""
    headings = (f"P@{k}", "±", f"R@{k}", f"NDCG@{k}", "tail R", "hybrid +P", "p")
    shown = table_of_rows(summary.title, headings)
    if summary.left_out:
        shown.caption = f"not measured in every run: {', '.join(summary.left_out)}"
    precision = f"precision@{k}"
    lead = (summary.against or {}).get(precision, {})
    for row, means in summary.rows.items():
        shown.add_row(
            row,
            figure(means[precision].mean),
            half_width(means[precision].ci95),
            *(figure(means[f"{name}@{k}"].mean) for name in ("recall", "ndcg", "tail_recall")),
            f"{lead[row].relative:+.1%}" if row in lead else "",
            f"{lead[row].p_holm:.4f}" if row in lead else "",
        )
    return shown
