"""Score cards small enough to be read in a test."""

from math import isnan
from typing import Any

from jaxrec.evaluation.card import AbsentRow, Figures, RowCard, ScoreCard

PROTOCOL = {"protocol": "strict", "data": "tiny", "data_sha256": "0", "synthetic": True, "seed": 7}


def figures(precision: float, k: int = 5) -> Figures:
    """Every metric of the table is `precision`, known to 0.1; of ten users."""
    names = [f"{name}@{k}" for name in ("precision", "recall", "ndcg", "ndcg_retrieved")]
    hits = 0 if isnan(precision) else round(precision * k * 10)
    return Figures(
        dict.fromkeys(names, precision) | {f"hits@{k}": hits},
        dict.fromkeys(names, (precision - 0.1, precision + 0.1)),
    )


def row_card(
    name: str, precision: float = 0.4, k: int = 5, tied: float = 0.0, **more: Any
) -> RowCard:
    """A row of ten users."""
    all_of = figures(precision, k)
    hits = int(all_of.metrics[f"hits@{k}"])
    thirds = {"head": all_of, "middle": all_of, "tail": all_of}
    return RowCard(name, f"label of {name}", 10, hits, all_of, thirds, {}, tied, **more)


def score_card_of(*rows: RowCard | AbsentRow, **more: Any) -> ScoreCard:
    """A card of these rows."""
    protocol = PROTOCOL | more.pop("protocol", {})
    return ScoreCard(protocol, rows, {"factors": {}, "embeddings": {}}, **more)
