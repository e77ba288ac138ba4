"""The score card: which rows there are, how each is made, and what they say."""

from typing import Any, NamedTuple

from rich.table import Table

from jaxrec.evaluation import Evaluation

LABELS = {
    "minilm": "MiniLM base",
    "minilm-ft": "MiniLM fine-tuned",
    "qwen3-4b": "Qwen3-4B base",
    "qwen3-4b-ft": "Qwen3-4B fine-tuned (NF4 LoRA)",
}
"""Embeddings of the published table, in its order."""


class Row(NamedTuple):
    """One line of the score card."""

    name: str
    """`pmf`, `mf`, `mf+NAME` or `text+NAME`."""
    label: str
    factors: str | None = None
    """Whose factors it needs, if any: `mf` or `pmf`."""
    embeddings: str | None = None
    """Which embeddings it needs, if any."""


def rows_with(embeddings: list[str]) -> list[Row]:
    """Published rows in their order, text alone beside each, any other embeddings, then `pmf`."""
    rows = [Row("mf", "MF only", "mf")]
    for name in [*LABELS, *(name for name in embeddings if name not in LABELS)]:
        label = LABELS.get(name, name)
        rows.append(Row(f"mf+{name}", f"MF + {label}", "mf", name))
        if name in embeddings:
            rows.append(Row(f"text+{name}", f"{label} alone", None, name))
    return [*rows, Row("pmf", "PMF of train-pmf", "pmf")]


def measured(row: Row, evaluation: Evaluation, mf: dict[str, float] | None) -> dict[str, Any]:
    """JSON of a row: users, hits within the largest cut-off, metrics, relative gains over `mf`."""
    metrics = evaluation.metrics
    return {
        "name": row.name,
        "label": row.label,
        "users": len(evaluation.users),
        "hits": evaluation.hits,
        "metrics": metrics,
        "gain_over_mf": {
            name: metrics[name] / mf[name] - 1 for name in metrics if mf and mf[name] > 0
        },
    }


def absent(row: Row, command: str) -> dict[str, Any]:
    """JSON of a row that cannot be measured yet, with the command that would make it."""
    return {"name": row.name, "label": row.label, "absent": command}


def table(card: dict[str, Any], rows: list[dict[str, Any]], k: int) -> Table:
    """The score card at one cut-off, for the terminal."""
    data = f"{card['data']}{' (SYNTHETIC DATA)' if card['synthetic'] else ''}"
    shown = Table(title=f"{data}, protocol {card['protocol']}, seed {card['seed']}")
    shown.add_column("row", no_wrap=True)
    headings = ("hits", f"P@{k}", f"R@{k}", f"NDCG@{k}", "retr. ideal", "P over MF")
    for heading in headings:
        shown.add_column(heading, justify="right")
    for row in rows:
        if "absent" in row:
            shown.add_row(row["name"], "absent", style="dim")
            continue
        figures = [
            f"{row['metrics'][f'{metric}@{k}']:.4f}"
            for metric in ("precision", "recall", "ndcg", "ndcg_retrieved")
        ]
        gain = row["gain_over_mf"].get(f"precision@{k}")
        gained = "" if gain is None or row["name"] == "mf" else f"{gain:+.1%}"
        hits = round(row["metrics"][f"precision@{k}"] * k * row["users"])
        shown.add_row(row["name"], str(hits), *figures, gained)
    return shown


def card_lines(card: dict[str, Any]) -> list[str]:
    """The protocol card, one line an item."""
    return [f"{name.replace('_', ' ')}: {value}" for name, value in card.items()]
