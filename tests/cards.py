"""Score cards small enough to be read in a test."""

from typing import Any

from jaxrec.evaluation.card import AbsentRow, Figures, RowCard, ScoreCard

PROTOCOL = {"protocol": "strict", "data": "tiny", "data_sha256": "0", "synthetic": True, "seed": 7}


def figures(precision: float, k: int = 5) -> Figures:
    """Every metric of the table is `precision`, known to 0.1."""
    names = [f"{name}@{k}" for name in ("precision", "recall", "ndcg", "ndcg_retrieved")]
    return Figures(
        dict.fromkeys(names, precision),
        dict.fromkeys(names, (precision - 0.1, precision + 0.1)),
    )


def row_card(
    name: str, precision: float = 0.4, k: int = 5, tied: float = 0.0, **more: Any
) -> RowCard:
    """A row of ten users."""
    hits, all_of = round(precision * k * 10), figures(precision, k)
    thirds = {"head": all_of, "middle": all_of, "tail": all_of}
    return RowCard(name, f"label of {name}", 10, hits, all_of, thirds, {}, tied, **more)


def score_card_of(*rows: RowCard | AbsentRow, **more: Any) -> ScoreCard:
    """A card of these rows."""
    protocol = PROTOCOL | more.pop("protocol", {})
    return ScoreCard(protocol, rows, {"factors": {}, "embeddings": {}}, **more)
