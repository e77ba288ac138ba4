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
    """`mf`, `mf+NAME` or `text+NAME`."""
    label: str
    embeddings: str | None = None
    """Which embeddings it needs; none for `mf`."""


def rows_with(embeddings: list[str]) -> list[Row]:
    """Published rows in published order, with text alone beside each, then any other embeddings."""
    rows = [Row("mf", "MF only")]
    for name in [*LABELS, *(name for name in embeddings if name not in LABELS)]:
        label = LABELS.get(name, name)
        rows.append(Row(f"mf+{name}", f"MF + {label}", name))
        if name in embeddings:
            rows.append(Row(f"text+{name}", f"{label} alone", name))
    return rows


def measured(row: Row, evaluation: Evaluation, mf: dict[str, float] | None) -> dict[str, Any]:
    """JSON of a row: users, hits within the largest cut-off, metrics, relative gains over `mf`."""
    metrics = evaluation.metrics
    content = {
        "name": row.name,
        "label": row.label,
        "users": len(evaluation.users),
        "hits": evaluation.hits,
        "metrics": metrics,
    }
    if mf is not None:
        content["gain_over_mf"] = {
            name: value / mf[name] - 1 for name, value in metrics.items() if mf[name] > 0
        }
    return content


def absent(row: Row, command: str) -> dict[str, Any]:
    """JSON of a row that cannot be measured yet, with the command that would make it."""
    return {"name": row.name, "label": row.label, "absent": command}


def table(card: dict[str, Any], rows: list[dict[str, Any]], ks: tuple[int, ...]) -> Table:
    """The score card for the terminal."""
    data = f"{card['data']}{' (SYNTHETIC DATA)' if card['synthetic'] else ''}"
    shown = Table(title=f"{data}, protocol {card['protocol']}, seed {card['seed']}")
    shown.add_column("row")
    shown.add_column("", overflow="fold")
    shown.add_column("hits", justify="right")
    for k in ks:
        for heading in ("P", "R", "NDCG", "NDCG retr."):
            shown.add_column(f"{heading}@{k}", justify="right")
    shown.add_column(f"P@{ks[-1]} over MF", justify="right")
    for row in rows:
        if "absent" in row:
            shown.add_row(row["name"], f"[dim]{row['label']}: absent[/]", style="dim")
            continue
        figures = [
            f"{row['metrics'][f'{metric}@{k}']:.4f}"
            for k in ks
            for metric in ("precision", "recall", "ndcg", "ndcg_retrieved")
        ]
        gain = row.get("gain_over_mf", {}).get(f"precision@{ks[-1]}")
        gained = "" if gain is None or row["name"] == "mf" else f"{gain:+.1%}"
        shown.add_row(row["name"], row["label"], str(row["hits"]), *figures, gained)
    return shown


def card_lines(card: dict[str, Any]) -> list[str]:
    """The protocol card, one line an item."""
    return [f"{name.replace('_', ' ')}: {value}" for name, value in card.items()]
